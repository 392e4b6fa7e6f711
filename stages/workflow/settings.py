"""Settings of others that would change results unseen: a stage computes without them.

What this does is done before a numeric library is imported: they read these settings then.
"""

import os

# Of Keras, TensorFlow with its compiler and oneDNN, of OpenMP and of NumPy with its OpenBLAS: which
# backend, precision and kernels, on how many threads (with TF_NUM_INTRAOP_THREADS=1 both networks
# come out different), in how many epochs. A scheduler, a profile or another project sets them.
CHANGE_RESULTS = (
    *("KERAS_", "TF_", "XLA_", "ONEDNN_", "DNNL_", "OMP_", "GOMP_"),
    *("NPY_", "OPENBLAS_", "GOTO_", "VECLIB_", "CUDA_VISIBLE_DEVICES"),
)
# Of logging, and of Terraform, which has the same beginning.
OTHERS = (
    *("TF_CPP_", "TF_ACC", "TF_CLI_", "TF_DATA_DIR", "TF_INPUT", "TF_IN_", "TF_LOG", "TF_PLUGIN_"),
    *("TF_REGISTRY_", "TF_TOKEN_", "TF_VAR_", "TF_WORKSPACE"),
)
# No GPU, on which training would not repeat bit for bit. No keras.json: neither a person's own, nor
# one that anybody put in /tmp, where Keras looks when it cannot write to the home folder.
OURS = {"CUDA_VISIBLE_DEVICES": "-1", "KERAS_HOME": os.devnull}


def put_aside() -> list[str]:
    """Take such settings from the environment of this process; say which were found."""
    found = [
        name
        for name, value in os.environ.items()
        if name.startswith(CHANGE_RESULTS)
        and not name.startswith(OTHERS)
        and OURS.get(name) != value
    ]
    for name in found:
        del os.environ[name]
    os.environ.update(OURS)
    return sorted(found)
