"""What every backend shares: checks, the dtype of the sums, and a tensor as a dense matrix."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from f2f.base import validate
from f2f.base.tensors import is_numeric, numpy_dtype, to_numpy
from f2f.format.codec import decompress_numpy
from f2f.format.orders import matrix_shape
from f2f.format.tensor import FLOAT8, CompressedTensor


def host_array(name: str, values: Any) -> np.ndarray:
    """Numbers given as a list, a NumPy array or a torch tensor, as a NumPy array.

    Raises
    ------
    ValueError
        They are nothing of that, or masked; the message begins with `name`.
    """
    validate.unmasked(name, values)
    try:
        return to_numpy(values) if hasattr(values, "detach") else np.asarray(values)
    except (TypeError, ValueError) as error:
        kind = type(values).__name__
        raise ValueError(f"{name} must be an array of numbers, got {kind}: {error}") from error


def check_operands(matrix: Any, x: Any, scale: Any) -> int:
    """`ValueError` unless a product with arrays x and scale (or None) is possible; returns rows.

    matrix: with attributes `shape`, of which the first axis is by all the others, and `dtype`.
    """
    rows, cols = matrix_shape(matrix.shape)
    try:
        kind = numpy_dtype(matrix.dtype)
    except TypeError:
        kind = None
    if kind is None or not is_numeric(kind) or kind.kind == "c" or kind == np.uint64:
        wanted = "integers of up to 63 bits or real floats"
        raise ValueError(f"tensor must hold {wanted}, got {matrix.dtype}")
    if x.ndim != 2 or len(x) != cols:
        raise ValueError(f"x must have shape ({cols}, m) or ({cols},), got {x.shape}")
    sum_dtype(matrix.dtype, x.dtype)
    if scale is not None:
        if scale.shape not in ((), (rows,)):
            raise ValueError(f"scale must be a number or have shape ({rows},), got {scale.shape}")
        sum_dtype("float32", scale.dtype, "scale")
    return rows


def sum_dtype(weights: str, x: np.dtype, name: str = "x") -> np.dtype:
    """The dtype in which x is taken and products are summed.

    Parameters
    ----------
    weights : str
        Dtype of the weights.
    x : dtype
    name : str
        What the message calls x.

    Returns
    -------
    dtype
        int64, float32 or float64.

    Raises
    ------
    ValueError
        If x holds neither integers of up to 63 bits nor real floats.
    """
    x = x.newbyteorder("=")
    if x == np.float64:
        return np.dtype(np.float64)
    if x.kind in "iu" and x != np.uint64:
        integers = weights.startswith(("int", "uint"))
        return np.dtype(np.int64 if integers else np.float32)
    if x in (np.float16, np.float32, ml_dtypes.bfloat16) or x.name in FLOAT8:
        return np.dtype(np.float32)
    raise ValueError(f"{name} must hold integers of up to 63 bits or real floats, got {x}")


def dense_matrix(tensor: CompressedTensor) -> np.ndarray:
    """The decompressed tensor as a NumPy matrix (rows, cols), dtypes of `ml_dtypes` as float32."""
    array = decompress_numpy(tensor).reshape(matrix_shape(tensor.shape))
    return array.astype(np.float32) if hasattr(ml_dtypes, array.dtype.name) else array
