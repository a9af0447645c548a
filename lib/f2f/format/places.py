"""Where in the matrix encoding positions are: rows and columns of the care positions of a chunk."""

from __future__ import annotations

import numpy as np
from numba import njit

from f2f.format.operands import COLUMN, ROW, Operands


def golden_steps(op: Operands) -> np.ndarray:
    """int64 (64,): how far i positions of a golden walk reach, i < 64."""
    return np.arange(64) * op.stride % (op.rows * op.cols)


@njit(nogil=True, cache=True)
def golden_places(steps, walk_index, n, cols, positions, care, count, places):
    """Rows and columns of care positions of a golden walk; returns the index of the next chunk."""
    inverse = 1.0 / cols
    word, base = 0, walk_index
    jump = (steps[63] + steps[1]) % n
    for c in range(care):
        while word < positions[c] >> 6:
            base += jump
            if base >= n:
                base -= n
            word += 1
        index = base + steps[positions[c] & 63]
        if index >= n:
            index -= n
        row = np.int64(index * inverse)  # one too small or too large at most
        if row * cols > index:
            row -= 1
        elif (row + 1) * cols <= index:
            row += 1
        places[0, c] = row
        places[1, c] = index - row * cols
    while word < count >> 6:
        base += jump
        if base >= n:
            base -= n
        word += 1
    return base


@njit(nogil=True, cache=True)
def segment_places(kind, segment, cols, step, lo, positions, care, places):
    """Rows and columns (permuted) of care positions where segments advance by constant steps."""
    number = lo // segment
    begin = number * segment - lo
    column = number * step % cols
    for c in range(care):
        while positions[c] >= begin + segment:
            begin += segment
            number += 1
            column = (column + step) % cols
        along = positions[c] - begin
        if kind == ROW:
            places[0, c], places[1, c] = number, along
        elif kind == COLUMN:
            places[0, c], places[1, c] = along, number
        else:
            place = column + along
            places[0, c], places[1, c] = along, place if place < cols else place % cols
