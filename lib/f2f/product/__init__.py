"""Products straight from the encoded form: `spmv` (a vector) and `spmm` (several columns).

Three backends compute the same product: "numpy" is Algorithm 2 of the paper as written, "numba"
decodes and multiplies chunk by chunk in threads on the CPU, "cupy" does so on a GPU. Neither of the
last two forms the dense matrix. Along diagonals, the default order, decoding and multiplying are
plain vector loops.

Sums of floats are made in an order that depends on backend and threads. Whatever the order, a term
w_ij x_j passes through cols - 1 additions at most, and is rounded five times besides: w, x and the
scale to the dtype of the sums, their product, and the product with the scale. So, where nothing
over- or underflows,

    |error of y_i| <= k*u / (1 - k*u) * |scale_i| * sum_j |w_ij x_j|,   k = cols + 4,

u = 2**-24 for float32 and 2**-53 for float64 being half the distance from 1 to the next number
(Higham, Accuracy and Stability of Numerical Algorithms, section 3.1).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from f2f.base import validate
from f2f.format.tensor import CompressedTensor
from f2f.product import cpu, gpu, paper
from f2f.product.dense import check_operands, dense_matrix, host_array, sum_dtype

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
        Integers of up to 63 bits or real floats. Backend "cupy" also takes arrays on the GPU.
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
        for float64 x, float32 otherwise (x is then taken as float32); the error of floats is
        bounded in the module. A CuPy array if x lies on the GPU.

    Raises
    ------
    ValueError
        The tensor is none, stores no mask, or holds complex, boolean or unsigned 64-bit numbers; x
        or scale holds such or is of another shape; backend or threads is none of these; float8 or
        2**31 weights and more on a GPU. The message names the argument.
    FormatError
        The stored mask has not as many unpruned places as the tensor.
    RuntimeError
        Backend "cupy" without a GPU.

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
    if x.ndim != 1:
        raise ValueError(f"x must be one-dimensional, got shape {x.shape}")
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
    ValueError, FormatError, RuntimeError
        As `spmv`.

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
    x = _given("x", x, backend)
    if tensor.kind == "encoded" and tensor.mask is None:
        raise ValueError('tensor must store its mask, got one compressed with mask_codec="none"')
    if backend == "cupy":
        return gpu.spmm(tensor, x, scale)
    scale = None if scale is None else host_array("scale", scale)
    rows = check_operands(tensor, x, scale)
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
    """An argument as an array where the backend multiplies, or, for "cupy", where it lies."""
    backend = validate.choice("backend", backend, BACKENDS)
    return (gpu.given_array if backend == "cupy" else host_array)(name, values)
