"""Algorithm 1 of the paper: SpMV over SciPy's CSR arrays, plain and in numba.

What fixed-to-fixed encoding is measured against. Rows have different lengths, the work of a thread
depends on the data, and every weight costs an index and a gather from x.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse
from numba import prange

from f2f.base.jit import njit


def csr_bytes(matrix: scipy.sparse.csr_array) -> int:
    """Bytes of the three arrays of a CSR matrix.

    >>> csr_bytes(scipy.sparse.csr_array(np.eye(4, dtype=np.float32)))  # 4 (4 + 4) + 4 · 5
    52
    """
    return matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes


def spmv_plain(matrix: scipy.sparse.csr_array, x: np.ndarray) -> np.ndarray:
    """y = W x, line by line as in Algorithm 1: W (rows, cols), x (cols,), y (rows,).

    y has the dtype that W and x give together; `ValueError` for an x of another shape.

    >>> spmv_plain(scipy.sparse.csr_array([[0, 5, 0], [0, 0, 0], [7, 0, 9]]), np.array([1, 2, 3]))
    array([10,  0, 34])
    """
    x = _check(matrix, x)
    y = np.zeros(matrix.shape[0], dtype=np.result_type(matrix.data, x))
    for i in range(matrix.shape[0]):
        for j in range(matrix.indptr[i], matrix.indptr[i + 1]):
            y[i] += matrix.data[j] * x[matrix.indices[j]]
    return y


def spmv(matrix: scipy.sparse.csr_array, x: np.ndarray) -> np.ndarray:
    """The same in numba, rows in parallel threads; see `spmv_plain`."""
    x = _check(matrix, x)
    y = np.empty(matrix.shape[0], dtype=np.result_type(matrix.data, x))
    _spmv(matrix.indptr, matrix.indices, matrix.data, x, y)
    return y


def _check(matrix: scipy.sparse.csr_array, x: np.ndarray) -> np.ndarray:
    if np.shape(x) != (matrix.shape[1],):
        raise ValueError(f"x must have shape ({matrix.shape[1]},), got {np.shape(x)}")
    return np.ascontiguousarray(x)


@njit(parallel=True, fastmath={"contract"})
def _spmv(starts, columns, values, x, y):
    """starts: int32 (rows + 1,); columns, values: of the nonzero weights, row after row."""
    for i in prange(len(y)):
        total = y.dtype.type(0)
        for j in range(starts[i], starts[i + 1]):
            total += values[j] * x[columns[j]]
        y[i] = total
