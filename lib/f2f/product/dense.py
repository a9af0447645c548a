"""What every backend shares: the dtype of the sums, and a tensor as a dense matrix."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from f2f.format.codec import decompress
from f2f.format.orders import matrix_shape
from f2f.format.tensor import CompressedTensor


def sum_dtype(weights: str, x: np.dtype) -> np.dtype:
    """The dtype in which x is taken and products are summed.

    Parameters
    ----------
    weights : str
        Dtype of the weights.
    x : dtype

    Returns
    -------
    dtype
        int64, float32 or float64.

    Raises
    ------
    ValueError
        If x holds neither integers of up to 63 bits nor real floats.
    """
    if x == np.float64:
        return np.dtype(np.float64)
    if x.kind in "iu" and x != np.uint64:
        integers = weights.startswith(("int", "uint"))
        return np.dtype(np.int64 if integers else np.float32)
    if x in (np.float16, np.float32, ml_dtypes.bfloat16):
        return np.dtype(np.float32)
    raise ValueError(f"x must hold integers of up to 63 bits or real floats, got {x}")


def dense_matrix(tensor: CompressedTensor) -> np.ndarray:
    """The decompressed tensor as a NumPy matrix (rows, cols); bfloat16 comes as float32."""
    values: Any = decompress(tensor)
    if tensor.library == "torch":
        values = (values.float() if tensor.dtype == "bfloat16" else values).numpy()
    array = np.asarray(values).reshape(matrix_shape(tensor.shape))
    return array.astype(np.float32) if array.dtype == ml_dtypes.bfloat16 else array
