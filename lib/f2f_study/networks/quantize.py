"""Symmetric signed INT8 quantization, per tensor or per output channel, as PyTorch does it.

``q = clip(round(w / scale), -128, 127)`` with ``scale = max|w| / 127.5`` and zero point 0, ties to
even. This is the scale of PyTorch's symmetric min-max observers for qint8 weights, and the rounding
of ``torch.quantize_per_tensor`` and ``torch.quantize_per_channel``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from f2f.base import validate
from f2f.product.dense import host_array

# As the observers: a tensor of zeros gets this scale instead of zero.
SMALLEST_SCALE = float(np.finfo(np.float32).eps)
SCHEMES = ("tensor", "channel")


class Quantized(NamedTuple):
    """A tensor in 8 bits, about values * scale."""

    values: np.ndarray  # int8, the tensor's shape
    scale: np.ndarray  # float32, () or (size of the first axis,)

    def dequantize(self) -> np.ndarray:
        """float32 weights ``values * scale``."""
        shape = self.scale.shape + (1,) * (self.values.ndim - self.scale.ndim)
        return self.values.astype(np.float32) * self.scale.reshape(shape)


def is_float(dtype: np.dtype) -> bool:
    """Whether it is floating point, those of `ml_dtypes` too, which NumPy's kinds do not know."""
    return dtype.name.startswith(("float", "bfloat"))


def quantize(weights: Any, scheme: str = "channel") -> Quantized:
    """Quantize weights to signed 8 bits.

    Parameters
    ----------
    weights
        An array or a torch tensor, floating point, finite; the first axis is the output channels.
    scheme
        "channel" (a scale per index of the first axis) or "tensor" (one scale).

    Raises
    ------
    ValueError
        Unknown scheme, not floating point, not finite, or no axis for "channel".

    Examples
    --------
    >>> quantize(np.array([[1.0, -0.5], [0.0, 4.0]])).values
    array([[127, -64],
           [  0, 127]], dtype=int8)
    """
    validate.choice("scheme", scheme, SCHEMES)
    array = host_array("weights", weights)
    if not is_float(array.dtype):
        raise ValueError(f"weights must be floating point, got dtype {array.dtype}")
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise ValueError("weights must be finite in float32, got NaN or infinity")
    if scheme == "channel" and array.ndim == 0:
        raise ValueError("weights must have an axis of channels, got a scalar")
    channels = array.shape[0] if scheme == "channel" else 1
    rows = np.abs(array).reshape(channels, -1 if array.size else 0)
    scale = rows.max(axis=1, initial=0) / np.float32(127.5)
    scale = np.maximum(scale, np.float32(SMALLEST_SCALE))
    # torch multiplies by the reciprocal; dividing would round some ties the other way.
    inverse = (np.float32(1) / scale).reshape((-1,) + (1,) * max(array.ndim - 1, 0))
    values = np.rint(array * (inverse if scheme == "channel" else inverse.reshape(())))
    shaped = scale if scheme == "channel" else scale.reshape(())
    return Quantized(np.clip(values, -128, 127).astype(np.int8), shaped)
