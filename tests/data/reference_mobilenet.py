"""MobileNetV2 once more, straight from the paper and PyTorch's state dict, in float64 NumPy.

Nothing of `stages` is used: no folding, no renaming, no Keras. Where PyTorch's layers and Keras's
differ (padding, epsilon), the way is an argument, so that a test can show what the wrong one costs.
"""

from collections.abc import Mapping

import numpy as np

# Stride of the depthwise convolution of each block, `features.1` to `features.17`: table 2 of
# Sandler et al., 2018.
STRIDES = (1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1)
TORCH_EPSILON = 1e-5
SYMMETRIC, KERAS_PADDING = (1, 1), (0, 1)


class Reference:
    """The convolutional layers, in inference.

    Args:
        state: a PyTorch state dict.
        epsilon: of batch normalization.
        strided_padding: zeros before and after, where a convolution of 3x3 has stride 2.
    """

    def __init__(
        self,
        state: Mapping[str, np.ndarray],
        epsilon: float = TORCH_EPSILON,
        strided_padding: tuple[int, int] = SYMMETRIC,
    ) -> None:
        self._state = {name: array.astype(np.float64) for name, array in state.items()}
        self._epsilon = epsilon
        self._strided_padding = strided_padding

    def features(self, images: np.ndarray) -> np.ndarray:
        """Pooled features float64 [n, 1280] of normalized images float [n, height, width, 3]."""
        flow = images.astype(np.float64).transpose(0, 3, 1, 2)
        flow = relu6(self._norm(self._convolution(flow, "features.0.0", 2), "features.0.1"))
        for number, stride in enumerate(STRIDES, start=1):
            flow = self._block(flow, f"features.{number}.conv", stride)
        flow = relu6(self._norm(self._pointwise(flow, "features.18.0"), "features.18.1"))
        return flow.mean(axis=(2, 3))

    def _block(self, start: np.ndarray, name: str, stride: int) -> np.ndarray:
        flow, position = start, 0
        if f"{name}.6.weight" in self._state:  # three convolutions: the first expands
            flow = relu6(self._norm(self._pointwise(flow, f"{name}.0"), f"{name}.1"))
            position = 3
        flow = self._depthwise(flow, f"{name}.{position}", stride)
        flow = relu6(self._norm(flow, f"{name}.{position + 1}"))
        flow = self._pointwise(flow, f"{name}.{position + 3}")
        flow = self._norm(flow, f"{name}.{position + 4}")
        return start + flow if stride == 1 and start.shape == flow.shape else flow

    def _norm(self, flow: np.ndarray, name: str) -> np.ndarray:
        weight, bias, mean, variance = (
            self._state[f"{name}.{part}"][:, None, None]
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (flow - mean) / np.sqrt(variance + self._epsilon) * weight + bias

    def _pointwise(self, flow: np.ndarray, name: str) -> np.ndarray:
        kernel = self._state[f"{name}.weight"][:, :, 0, 0]
        return np.einsum("oc,nchw->nohw", kernel, flow, optimize=True)

    def _depthwise(self, flow: np.ndarray, name: str, stride: int) -> np.ndarray:
        kernel = self._state[f"{name}.weight"][:, 0]
        return sum(kernel[:, y, x, None, None] * seen for y, x, seen in self._seen(flow, stride))

    def _convolution(self, flow: np.ndarray, name: str, stride: int) -> np.ndarray:
        kernel = self._state[f"{name}.weight"]
        return sum(
            np.einsum("oc,nchw->nohw", kernel[:, :, y, x], seen, optimize=True)
            for y, x, seen in self._seen(flow, stride)
        )

    def _seen(self, flow: np.ndarray, stride: int) -> list[tuple[int, int, np.ndarray]]:
        """What each of the 3x3 places of a filter sees."""
        frame = SYMMETRIC if stride == 1 else self._strided_padding
        padded = np.pad(flow, ((0, 0), (0, 0), frame, frame))
        height, width = padded.shape[2] - 2, padded.shape[3] - 2  # positions of the filter
        return [
            (y, x, padded[:, :, y : y + height : stride, x : x + width : stride])
            for y in range(3)
            for x in range(3)
        ]


def relu6(flow: np.ndarray) -> np.ndarray:
    return np.clip(flow, 0, 6)


def enlarged(images: np.ndarray, size: int) -> np.ndarray:
    """Bicubic enlargement, float64 [n, size, size, channels], from the formula.

    Keys, "Cubic convolution interpolation for digital image processing", 1981, with a = -0.5;
    pixels have their centers at halves; what lies outside the picture gets no weight (as in Pillow
    and in TensorFlow's `resize` with `half_pixel_centers`).
    """
    weights = _weights(images.shape[1], size)
    return np.einsum("yh,xw,nhwc->nyxc", weights, weights, images, optimize=True)


def _weights(before: int, after: int) -> np.ndarray:
    """Share of each old pixel in each new one, [after, before]."""
    centers = (np.arange(after) + 0.5) * before / after - 0.5
    weights = _keys_cubic(np.abs(centers[:, None] - np.arange(before)))
    return weights / weights.sum(axis=1, keepdims=True)


def _keys_cubic(x: np.ndarray, a: float = -0.5) -> np.ndarray:
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x <= 1, near, np.where(x < 2, far, 0))
