"""Where encoding positions lie in the matrix, as the kernels walk through it.

Along a *segment* of an order (a row, a column, a diagonal) row and column advance by constant
steps, once rows and columns are *permuted*: in diagonal order, place i of the permuted rows is row
``g_r*i mod rows`` and place j of the permuted columns is column ``g_c*j mod cols``. The steps are
those of the order's `Walk`. Golden order has no segments.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from f2f.base.jit import njit
from f2f.format.orders import COLUMN, DIAGONAL, GOLDEN, REACH, ROW, Walk


class Places(NamedTuple):
    """Rows and columns, one by one.

    Attributes
    ----------
    rows, columns : ndarray of int64
    """

    rows: np.ndarray
    columns: np.ndarray


def permutations(walk: Walk) -> Places:
    """The row at each place of the permuted rows, and the column at each of the columns."""
    column_step = walk.column_step if walk.kind == DIAGONAL else 1
    return Places(_steps(walk.row_step, walk.rows), _steps(column_step, walk.cols))


def _steps(step: int, count: int) -> np.ndarray:
    """``step * i mod count`` for i < count, in one array's memory."""
    places = np.arange(count)
    places *= step
    places %= count
    return places


@njit
def find_places(walk, lo, positions, care, places):
    """Fill in the permuted rows and columns of care positions of a chunk.

    Parameters
    ----------
    walk : Walk
    lo : int
        The chunk's first encoding position.
    positions : ndarray of int64
        The care positions, from lo on, rising.
    care : int
        How many there are.
    places : Places
        Written.
    """
    if walk.kind == GOLDEN:
        _golden_places(walk, lo, positions, care, places)
    else:
        _segment_places(walk, lo, positions, care, places)


@njit(inline="always")
def _golden_places(walk, lo, positions, care, places):
    """Index by index: a word of 64 positions moves the base, a look-up adds what is left."""
    n, cols = walk.segment, walk.cols
    inverse = 1.0 / cols
    word, base = 0, lo * walk.stride % n
    jump = (walk.reach[REACH - 1] + walk.stride) % n
    for c in range(care):
        while word < positions[c] // REACH:
            base += jump
            if base >= n:
                base -= n
            word += 1
        index = base + walk.reach[positions[c] % REACH]
        if index >= n:
            index -= n
        row = np.int64(index * inverse)  # one too small or too large at most
        if row * cols > index:
            row -= 1
        elif (row + 1) * cols <= index:
            row += 1
        places.rows[c] = row
        places.columns[c] = index - row * cols


@njit(inline="always")
def _segment_places(walk, lo, positions, care, places):
    segment, cols = walk.segment, walk.cols
    number = lo // segment
    begin = number * segment - lo
    start = number * walk.turn % cols
    for c in range(care):
        while positions[c] >= begin + segment:
            begin += segment
            number += 1
            start = (start + walk.turn) % cols
        along = positions[c] - begin
        if walk.kind == ROW:
            places.rows[c], places.columns[c] = number, along
        elif walk.kind == COLUMN:
            places.rows[c], places.columns[c] = along, number
        else:
            column = start + along
            places.rows[c] = along
            places.columns[c] = column if column < cols else column % cols
