"""Products from two other compressed formats on the CPU, for comparison: delta-CSR and bitmap.

Small implementations of what is published elsewhere, over the arrays of `f2f_study.baselines.sizes`. delta-CSR
replaces a column index by a 4-bit gap to the one before (a longer gap takes filler entries of
value 0); bitmap has one bit a weight and the nonzero weights one after another. Both keep weights
of any length and are walked row by row, in parallel threads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit, prange

from f2f.base.intrinsics import trailing_zeros
from f2f_study.baselines import sizes as baselines

NAMES = ("delta_csr", "bitmap")


@dataclass(frozen=True, eq=False)
class PackedMatrix:
    """A matrix (rows, cols) in one of these formats; make one with `pack_matrix`.

    starts: int64 (rows + 1,), the first entry of each row. places: uint8, two gaps a byte, or the
    mask. values: the weights.
    """

    name: str
    shape: tuple[int, int]
    starts: np.ndarray
    places: np.ndarray
    values: np.ndarray

    @property
    def nbytes(self) -> int:
        """Bytes read by a product, the row starts as 32-bit numbers."""
        return 4 * len(self.starts) + self.places.nbytes + self.values.nbytes

    def spmv(self, x: np.ndarray) -> np.ndarray:
        """y = W x, x float32 (cols,), summed in float32."""
        if np.shape(x) != (self.shape[1],):
            raise ValueError(f"x must have shape ({self.shape[1]},), got {np.shape(x)}")
        x = np.ascontiguousarray(x, dtype=np.float32)
        y = np.empty(self.shape[0], dtype=np.float32)
        if self.name == "delta_csr":
            _delta_csr(self.starts, self.places, self.values, x, y)
        else:
            _bitmap(self.starts, self.places, self.values, x, y)
        return y


def pack_matrix(name: str, matrix: np.ndarray) -> PackedMatrix:
    """Pack a matrix (rows, cols), cols a multiple of 8 for "bitmap", in format `name`."""
    if name not in NAMES:
        raise ValueError(f"name must be one of {', '.join(NAMES)}, got {name!r}")
    rows, cols = matrix.shape
    if name == "bitmap" and cols % 8:
        raise ValueError(f"matrix must have a multiple of 8 columns for 'bitmap', got {cols}")
    arrays = baselines.pack(name, matrix)
    values = arrays["values"].view(matrix.dtype)
    if name == "delta_csr":
        starts = arrays["offsets"].astype(np.int64)
        return PackedMatrix(name, (rows, cols), starts, arrays["gaps"], values)
    starts = np.zeros(rows + 1, dtype=np.int64)
    np.cumsum(np.count_nonzero(matrix, axis=1), out=starts[1:])
    return PackedMatrix(name, (rows, cols), starts, arrays["mask"], values)


@njit(nogil=True, cache=True, parallel=True, fastmath={"contract"})
def _delta_csr(starts, gaps, values, x, y):
    for i in prange(len(y)):
        total, column = np.float32(0), -1
        for j in range(starts[i], starts[i + 1]):
            column += 1 + ((gaps[j >> 1] >> (4 * (j & 1))) & 15)
            total += np.float32(values[j]) * x[column]
        y[i] = total


@njit(nogil=True, cache=True, parallel=True, fastmath={"contract"})
def _bitmap(starts, mask, values, x, y):
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
