"""Products straight from the encoded form: `spmv` (a vector) and `spmm` (several columns).

Three backends compute the same product: "numpy" is Algorithm 2 of the paper as written, "numba"
decodes and multiplies chunk by chunk in threads on the CPU, "cupy" does so on a GPU. Neither of the
last two forms the dense matrix. Along diagonals, the default order, decoding and multiplying are
plain vector loops.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from f2f.base import validate
from f2f.format.orders import matrix_shape
from f2f.format.tensor import CompressedTensor
from f2f.product import cpu, gpu, paper
from f2f.product.dense import check_weights, dense_matrix, host_array, sum_dtype

BACKENDS = ("numpy", "numba", "cupy")


def spmv(
    tensor: CompressedTensor,
    x: Any,
    *,
    backend: str = "numba",
    scale: Any = None,
    threads: int | None = None,
) -> Any:
    """The product y = W x of a compressed matrix and a vector.

    Parameters
    ----------
    tensor : CompressedTensor
        Seen as (rows, cols), its first axis by all the others; it must store its mask.
    x : array, list or torch.Tensor, shape (cols,)
        Integers of up to 63 bits or real floats. Backend "cupy" also takes CuPy arrays.
    backend : {"numba", "numpy", "cupy"}
        See the module.
    scale : number or array, shape (rows,), optional
        Multiplies y, as of weights quantized by row.
    threads : int, optional
        Of "numba"; None takes numba's number of threads.

    Returns
    -------
    ndarray, shape (rows,)
        int64 for integers times integers (exact, unless a sum leaves int64) without scale, float64
        for float64 x, float32 otherwise (x is then taken as float32). Float sums differ from the
        exact ones by at most ``(cols + threads + 2) * eps * sum_j |w_ij x_j|``. A CuPy array if x
        is one.

    Raises
    ------
    ValueError
        For anything else.

    Notes
    -----
    Pruned weights of an encoded tensor take no part: where x is not finite, it reaches the rows
    that use it and no others.

    "numba" keeps a bit a weight and a copy of the corrections as long as the tensor lives, see
    `f2f.format.operands`; of one-byte weights also 5 bytes for each wrong bit.

    Examples
    --------
    >>> from f2f import compress
    >>> rng = np.random.default_rng(0)
    >>> weight = rng.integers(-127, 128, (96, 512), dtype=np.int8)
    >>> weight[rng.random(weight.shape) < 0.9] = 0
    >>> tensor = compress(weight)
    >>> x = rng.integers(-9, 10, 512)
    >>> bool((spmv(tensor, x) == weight.astype(int) @ x).all())
    True
    """
    x = _given("x", x, backend)
    if np.ndim(x) != 1:
        raise ValueError(f"x must be one-dimensional, got shape {np.shape(x)}")
    return spmm(tensor, x[:, None], backend=backend, scale=scale, threads=threads)[:, 0]


def spmm(
    tensor: CompressedTensor,
    x: Any,
    *,
    backend: str = "numba",
    scale: Any = None,
    threads: int | None = None,
) -> Any:
    """The product Y = W X with X (cols, m): as `spmv`, a column of Y (rows, m) each.

    Parameters
    ----------
    tensor, backend, scale, threads
        As for `spmv`.
    x : array, list or torch.Tensor, shape (cols, m)

    Returns
    -------
    ndarray, shape (rows, m)

    Raises
    ------
    ValueError
        For anything else.

    Examples
    --------
    >>> from f2f import compress
    >>> weight = np.diag(np.arange(1, 65, dtype=np.int8))
    >>> spmm(compress(weight), np.ones((64, 2), dtype=np.int8))[-1].tolist()
    [64, 64]
    """
    validate.instance("tensor", tensor, CompressedTensor)
    if threads is not None:
        threads = validate.integer("threads", threads, 1)
    check_weights(tensor.dtype)
    rows, cols = matrix_shape(tensor.shape)
    x = _given("x", x, backend)
    if np.ndim(x) != 2 or np.shape(x)[0] != cols:
        raise ValueError(f"x must have shape ({cols}, m) or ({cols},), got {np.shape(x)}")
    if tensor.kind == "encoded" and tensor.mask is None:
        raise ValueError('tensor must store its mask, got one compressed with mask_codec="none"')
    if scale is not None:
        scale = _given("scale", scale, backend)
        if np.shape(scale) not in ((), (rows,)):
            raise ValueError(
                f"scale must be a number or have shape ({rows},), got {np.shape(scale)}"
            )
        sum_dtype("float32", scale.dtype, "scale")
    if backend == "cupy":
        per_row = scale if scale is None or scale.ndim else np.full(rows, scale, np.float64)
        return gpu.spmm(tensor, x, per_row)
    x = np.ascontiguousarray(x, dtype=sum_dtype(tensor.dtype, x.dtype))
    if 0 in (tensor.n, x.shape[1]):
        y: np.ndarray = np.zeros((rows, x.shape[1]), dtype=x.dtype)
    elif tensor.kind == "dense":
        y = dense_matrix(tensor).astype(x.dtype) @ x
    else:
        y = (paper if backend == "numpy" else cpu).product(tensor, x, threads)
    if scale is None:
        return y
    wide = np.float64 if y.dtype == np.float64 else np.float32
    return y.astype(wide) * scale.astype(wide).reshape(-1, 1)


def _given(name: str, values: Any, backend: str) -> Any:
    """An argument as a NumPy array, or for backend "cupy" the CuPy array that it is."""
    backend = validate.choice("backend", backend, BACKENDS)
    on_device = backend == "cupy" and hasattr(values, "__cuda_array_interface__")
    return values if on_device else host_array(name, values)
