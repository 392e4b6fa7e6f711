"""MobileNetV2 under two names: PyTorch's state dict and the layers of keras.applications."""

from collections.abc import Iterator

import numpy as np

from stages.data.errors import UserError

LAST_BLOCK = 16
NORM_WEIGHTS = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


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
    renamed, used = {}, set()
    for conv, norm, layer, norm_layer in _convolutions():
        axes = (2, 3, 0, 1) if layer.endswith("depthwise") else (2, 3, 1, 0)
        names = {f"{conv}.weight": f"{layer}/kernel"}
        names |= {f"{norm}.{old}": f"{norm_layer}/{new}" for old, new in NORM_WEIGHTS.items()}
        for old, new in names.items():
            if old not in state:
                raise UserError(f"the weights lack {old}: they are not those of a MobileNetV2")
            kernel = new.endswith("kernel")
            renamed[new] = np.ascontiguousarray(
                state[old].transpose(axes) if kernel else state[old]
            )
            used.add(old)
    left = {
        name
        for name in state.keys() - used
        if not name.startswith("classifier") and not name.endswith("num_batches_tracked")
    }
    if left:
        raise UserError(
            f"the weights have {len(left)} arrays that a MobileNetV2 has not, as {min(left)}"
        )
    return renamed


def _convolutions() -> Iterator[tuple[str, str, str, str]]:
    """PyTorch's names of each convolution and its normalization, then Keras's."""
    yield "features.0.0", "features.0.1", "Conv1", "bn_Conv1"
    for block in range(LAST_BLOCK + 1):
        parts = ["expand", "depthwise", "project"][0 if block else 1 :]
        prefix = f"block_{block}_" if block else "expanded_conv_"
        for position, part in enumerate(parts):
            # In PyTorch a block is a sequence: convolution, normalization, ReLU6, and so on.
            torch_name = f"features.{block + 1}.conv."
            conv, norm = f"{torch_name}{3 * position}", f"{torch_name}{3 * position + 1}"
            yield conv, norm, f"{prefix}{part}", f"{prefix}{part}_BN"
    yield "features.18.0", "features.18.1", "Conv_1", "Conv_1_bn"
