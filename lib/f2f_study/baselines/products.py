"""The product y = W x from what one would use instead, by name, on the CPU.

| name | stored | product |
|---|---|---|
| dense_fp32 | float32 | PyTorch (MKL) |
| csr_torch | CSR, float32, 32-bit indices | PyTorch (MKL) |
| csr_scipy | CSR, float32, 32-bit indices | SciPy, one thread |
| csr_numba | CSR, float32, 32-bit indices | Algorithm 1 (`baselines.csr`); a vector only |
| delta_csr | 4-bit gaps, weights as they are | kernel of this module; a vector only |
| bitmap | one mask bit a weight, weights as they are | kernel of this module; a vector only |

The last two are small implementations of what is published elsewhere, over the arrays of
`f2f_study.baselines.storage`, walked row by row in parallel threads.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from numba import prange

from f2f.base import validate
from f2f.base.intrinsics import trailing_zeros
from f2f.base.jit import njit
from f2f_study.baselines import csr, storage

ONE_COLUMN = ("csr_numba", "delta_csr", "bitmap")  # written for a vector only


class Prepared(NamedTuple):
    """A matrix in some format and an operand: all that a timed product needs."""

    run: Callable[[], Any]  # y, float32, (rows,) or (rows, columns), again and again
    stored_bytes: int  # of the matrix, as a product reads it; row starts are 32-bit numbers
    dtype: str  # of the stored weights
    threads: int  # that the product may use
    unpacked_bytes: int = 0  # what a product reads more, or less, than what is stored


def prepare(name: str, weight: np.ndarray, x: np.ndarray, threads: int = 1) -> Prepared:
    """Store a matrix in one of `FORMATS`, ready to multiply, with sums in float32.

    `weight` is (rows, cols), integers or floats, cols a multiple of 8 for "bitmap"; `x` is float32,
    (cols,) or (cols, columns), one column for the formats in `ONE_COLUMN`. `threads` is what
    PyTorch and numba have been set to; it is reported, not set. `ValueError` for an unknown name,
    an x of another shape, or what the format cannot store.

    >>> weight = np.array([[0, 5, 0, 0, 0, 0, 0, 2]], dtype=np.int8)
    >>> product = prepare("bitmap", weight, np.arange(8, dtype=np.float32))
    >>> product.run().tolist(), product.stored_bytes  # two starts, a byte of mask, two weights
    ([19.0], 11)
    """
    form = FORMATS[validate.choice("name", name, tuple(FORMATS))]
    if x.shape[:1] != weight.shape[1:]:
        raise ValueError(f"x must have {weight.shape[1]} rows, got shape {x.shape}")
    if name in ONE_COLUMN:
        if x.size != len(x):
            raise ValueError(f"x must be a vector for {name}, got shape {x.shape}")
        x = np.ascontiguousarray(x.reshape(-1), dtype=np.float32)
    return form(weight, x, threads)


def _dense_fp32(weight: np.ndarray, x: np.ndarray, threads: int) -> Prepared:
    import torch

    dense, operand = torch.from_numpy(weight.astype(np.float32)), torch.from_numpy(x)
    return Prepared(lambda: dense @ operand, dense.nbytes, "float32", threads)


def _csr_torch(weight: np.ndarray, x: np.ndarray, threads: int) -> Prepared:
    import torch

    packed = scipy.sparse.csr_array(weight.astype(np.float32))
    # 32-bit indices: MKL converts 64-bit ones at every product.
    parts = [torch.from_numpy(part) for part in (packed.indptr, packed.indices, packed.data)]
    with warnings.catch_warnings():  # that the interface is in beta state
        warnings.simplefilter("ignore", UserWarning)
        matrix = torch.sparse_csr_tensor(parts[0], parts[1], parts[2], packed.shape)
    operand = torch.from_numpy(x)
    return Prepared(lambda: matrix @ operand, csr.csr_bytes(packed), "float32", threads)


def _csr_scipy(weight: np.ndarray, x: np.ndarray, threads: int) -> Prepared:
    packed = scipy.sparse.csr_array(weight.astype(np.float32))
    return Prepared(lambda: packed @ x, csr.csr_bytes(packed), "float32", 1)


def _csr_numba(weight: np.ndarray, x: np.ndarray, threads: int) -> Prepared:
    packed = scipy.sparse.csr_array(weight.astype(np.float32))
    return Prepared(lambda: csr.spmv(packed, x), csr.csr_bytes(packed), "float32", threads)


def _delta_csr(weight: np.ndarray, x: np.ndarray, threads: int) -> Prepared:
    arrays = storage.pack("delta_csr", weight)
    starts, values = arrays["offsets"].astype(np.int64), arrays["values"].view(weight.dtype)

    def run() -> np.ndarray:
        y = np.empty(len(weight), dtype=np.float32)
        _delta_csr_spmv(starts, arrays["gaps"], values, x, y)
        return y

    return Prepared(run, storage.packed_bytes(arrays), str(weight.dtype), threads)


def _bitmap(weight: np.ndarray, x: np.ndarray, threads: int) -> Prepared:
    rows, cols = weight.shape
    if cols % 8:
        raise ValueError(f"weight must have a multiple of 8 columns for 'bitmap', got {cols}")
    arrays = storage.pack("bitmap", weight)
    starts, values = np.zeros(rows + 1, dtype=np.int64), arrays["values"].view(weight.dtype)
    np.cumsum(np.count_nonzero(weight, axis=1), out=starts[1:])

    def run() -> np.ndarray:
        y = np.empty(rows, dtype=np.float32)
        _bitmap_spmv(starts, arrays["mask"], values, x, y)
        return y

    stored = storage.packed_bytes(arrays) + 4 * len(starts)
    return Prepared(run, stored, str(weight.dtype), threads)


FORMATS = {
    "dense_fp32": _dense_fp32,
    "csr_torch": _csr_torch,
    "csr_scipy": _csr_scipy,
    "csr_numba": _csr_numba,
    "delta_csr": _delta_csr,
    "bitmap": _bitmap,
}


@njit(parallel=True, fastmath={"contract"})
def _delta_csr_spmv(starts, gaps, values, x, y):
    """starts: int64 (rows + 1,), the first entry of each row; gaps: two a byte, low one first."""
    for i in prange(len(y)):
        total, column = np.float32(0), -1
        for j in range(starts[i], starts[i + 1]):
            column += 1 + ((gaps[j >> 1] >> (4 * (j & 1))) & 15)
            total += np.float32(values[j]) * x[column]
        y[i] = total


@njit(parallel=True, fastmath={"contract"})
def _bitmap_spmv(starts, mask, values, x, y):
    """starts: int64 (rows + 1,), the first value of each row; mask: bits, low one first."""
    row_bytes = len(x) >> 3
    for i in prange(len(y)):
        total, j = np.float32(0), starts[i]
        for first in range(0, row_bytes, 8):
            word = np.uint64(0)
            for byte in range(first, min(first + 8, row_bytes)):
                word |= np.uint64(mask[i * row_bytes + byte]) << np.uint64(8 * (byte - first))
            while word:
                column = 8 * first + np.int64(trailing_zeros(word))
                total += np.float32(values[j]) * x[column]
                j += 1
                word &= word - np.uint64(1)
        y[i] = total
