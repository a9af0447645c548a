"""Algorithm 1 of the paper: SpMV in the CSR format, plain and in numba.

What fixed-to-fixed encoding is measured against. Rows have different lengths, the work of a thread
depends on the data, and every weight costs an index and a gather from x.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit, prange


@dataclass(frozen=True, eq=False)
class CSR:
    """A matrix in CSR: `values` and int32 `columns` of the nonzero weights, row after row.

    Row i has the entries starts[i] … starts[i+1]-1; starts: int32 (rows + 1,).
    """

    shape: tuple[int, int]
    starts: np.ndarray
    columns: np.ndarray
    values: np.ndarray

    @classmethod
    def from_dense(cls, matrix: np.ndarray) -> CSR:
        """The nonzero elements of a matrix (rows, cols).

        >>> csr = CSR.from_dense(np.array([[0, 5, 0], [0, 0, 0], [7, 0, 9]]))
        >>> csr.starts.tolist(), csr.columns.tolist(), csr.values.tolist()
        ([0, 1, 1, 3], [1, 0, 2], [5, 7, 9])
        """
        matrix = np.asarray(matrix)
        if matrix.ndim != 2:
            raise ValueError(f"matrix must be two-dimensional, got shape {matrix.shape}")
        rows, columns = np.nonzero(matrix)
        starts = np.zeros(len(matrix) + 1, dtype=np.int32)
        np.cumsum(np.bincount(rows, minlength=len(matrix)), out=starts[1:])
        return cls(matrix.shape, starts, columns.astype(np.int32), matrix[rows, columns])

    @property
    def nbytes(self) -> int:
        """Bytes of the three arrays."""
        return self.starts.nbytes + self.columns.nbytes + self.values.nbytes

    def spmv_plain(self, x: np.ndarray) -> np.ndarray:
        """y = W x, x (cols,), line by line as in Algorithm 1."""
        x = self._check(x)
        y = np.zeros(self.shape[0], dtype=np.result_type(self.values, x))
        for i in range(self.shape[0]):
            for j in range(self.starts[i], self.starts[i + 1]):
                y[i] += self.values[j] * x[self.columns[j]]
        return y

    def spmv(self, x: np.ndarray) -> np.ndarray:
        """y = W x, x (cols,): the same in numba, rows in parallel threads."""
        x = self._check(x)
        y = np.empty(self.shape[0], dtype=np.result_type(self.values, x))
        _spmv(self.starts, self.columns, self.values, x, y)
        return y

    def _check(self, x: np.ndarray) -> np.ndarray:
        if np.shape(x) != (self.shape[1],):
            raise ValueError(f"x must have shape ({self.shape[1]},), got {np.shape(x)}")
        return np.ascontiguousarray(x)


@njit(nogil=True, cache=True, parallel=True, fastmath={"contract"})
def _spmv(starts, columns, values, x, y):
    for i in prange(len(y)):
        total = y.dtype.type(0)
        for j in range(starts[i], starts[i + 1]):
            total += values[j] * x[columns[j]]
        y[i] = total
