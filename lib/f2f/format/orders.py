"""Encoding orders: in which sequence the weights of a tensor meet the encoder.

Pruned layers are not iid: whole rows or columns are denser than others, and a block of
consecutive weights then holds far more, or far fewer, care bits than `n_in`. A good order lets
every stretch of a few blocks sample all rows and columns alike. All orders here are O(1)
arithmetic, need no table, and are seen on the tensor as a matrix of `rows` output channels by
`cols` (everything else); encoding position k visits

* ``row``       flat index k;
* ``column``    row ``k mod rows``, column ``k div rows``;
* ``golden``    flat index ``a*k mod n`` with a ~ n / golden ratio, coprime to n;
* ``diagonal``  with ``i = k mod rows`` and ``d = k div rows``: row ``g_r*i mod rows``, column
  ``(g_c*i + h*d) mod cols``; every window of up to `rows` positions meets each row and (up to
  `cols`) each column at most once. Once the vectors of a matrix product are permuted by g_r and
  g_c, consecutive positions touch consecutive elements of both, which is what SIMD wants.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from f2f.base import validate
from f2f.base.jit import njit
from f2f.base.threads import run_together

ORDERS = ("row", "column", "golden", "diagonal")

MAX_WEIGHTS = 2**31 - 1  # so that no product of a position and a stride overflows
ABREAST = 8  # segments taken at once; the lines that more would write share a place in the cache

GOLDEN, ROW, COLUMN, DIAGONAL = 0, 1, 2, 3  # what kernels call an order
_KINDS = {"golden": GOLDEN, "row": ROW, "column": COLUMN, "diagonal": DIAGONAL}
REACH = 64  # positions of a golden walk whose distance is looked up

_GOLDEN_64 = 0x9E3779B97F4A7C15  # round(2**64 / golden ratio), odd


def golden_stride(n: int) -> int:
    """The smallest a >= n / golden ratio that is coprime to n (1 for n <= 2); exact integers."""
    a = max(1, (n * _GOLDEN_64) >> 64)
    while math.gcd(a, n) != 1:
        a += 1
    return a


def matrix_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """(rows, cols) of a tensor: first axis by all the others; 0-d and 1-d tensors are one row."""
    if len(shape) < 2:
        return 1, math.prod(shape)
    return shape[0], math.prod(shape[1:])


class Walk(NamedTuple):
    """The geometry of an encoding order.

    Attributes
    ----------
    kind : int
        GOLDEN, ROW, COLUMN or DIAGONAL.
    rows, cols : int
        Of the matrix.
    segment : int
        Positions of a segment; all of them in golden order.
    turn : int
        Permuted columns from the start of a diagonal to that of the next; 1 for other kinds.
    row_step : int
        Rows from a place of the permuted rows to the next, modulo rows.
    column_step : int
        Columns from a position of a diagonal to the next, modulo cols; 0 for other kinds.
    neighbour : int
        Segments from one that begins in a column to the one that begins in the next, modulo cols.
    stride : int
        Of golden and row order: row-major indices from a position to the next, modulo n.
    reach : ndarray of int64, shape (64,)
        Golden order: how far that is after i positions, modulo n.
    """

    kind: int
    rows: int
    cols: int
    segment: int
    turn: int
    row_step: int
    column_step: int
    neighbour: int
    stride: int
    reach: np.ndarray


@dataclass(frozen=True)
class Order:
    """A bijection from encoding positions 0…n-1 to row-major indices of a rows x cols matrix.

    Parameters
    ----------
    name : str
        One of `ORDERS`, see the module.
    rows, cols : int
        Of the matrix; rows * cols is at most 2**31-1.

    Raises
    ------
    ValueError
        An unknown name, or sizes out of range.

    Examples
    --------
    >>> Order("column", rows=2, cols=3).index(np.arange(6)).tolist()
    [0, 3, 1, 4, 2, 5]
    """

    name: str
    rows: int
    cols: int

    def __post_init__(self) -> None:
        validate.choice("order", self.name, ORDERS)
        validate.integer("rows", self.rows, 0)
        validate.integer("cols", self.cols, 0)
        validate.integer("rows * cols", self.rows * self.cols, 0, MAX_WEIGHTS)

    @property
    def n(self) -> int:
        """Number of weights."""
        return self.rows * self.cols

    @cached_property
    def stride(self) -> int:
        """Of orders "row" and "golden": position k has index ``stride*k mod n``. 0 of others."""
        return {"row": 1, "golden": golden_stride(self.n)}.get(self.name, 0)

    @cached_property
    def torus(self) -> tuple[int, int, int]:
        """(g_r, g_c, h) of orders "column" and "diagonal", see the module."""
        if self.name == "column":
            return 1, 0, 1
        g_c = golden_stride(self.cols)
        # The next diagonal starts another golden section away, so that neighbouring diagonals of
        # a matrix with few rows do not overlap in their columns.
        return golden_stride(self.rows), g_c, g_c * golden_stride(self.cols) % max(self.cols, 1)

    @cached_property
    def walk(self) -> Walk:
        """The geometry of the order, of at least one weight."""
        kind = _KINDS[self.name]
        turn, row_step, column_step, neighbour = 1, 1, 0, 1
        if kind == DIAGONAL:
            row_step, column_step, h = self.torus
            turn = h * pow(column_step, -1, self.cols) % self.cols
            neighbour = pow(h, -1, self.cols)
        segment = {GOLDEN: self.n, ROW: self.cols}.get(kind, self.rows)
        reach = np.arange(REACH) * self.stride % self.n
        return Walk(
            kind, self.rows, self.cols, segment, turn, row_step, column_step, neighbour,
            self.stride, reach,
        )  # fmt: skip

    def index(self, k: np.ndarray | int) -> np.ndarray:
        """Row-major index, int64, of each encoding position k in 0…n-1, of k's shape."""
        k = np.asarray(k, dtype=np.int64)
        if self.stride:
            return k * self.stride % self.n
        g_r, g_c, h = self.torus
        i, d = k % self.rows, k // self.rows
        return g_r * i % self.rows * self.cols + (g_c * i + h * d) % self.cols

    def take(self, flat: np.ndarray, threads: int = 1) -> np.ndarray:
        """The elements of a row-major array (n,), any dtype, in encoding order."""
        out = np.empty_like(flat, shape=self.n)
        if self.n == 0 or self.name == "row":
            out[:] = flat
            return out
        # The kernels move bytes, not numbers: NaN payloads must survive.
        word = np.dtype(f"u{flat.dtype.itemsize}")
        source = np.ascontiguousarray(flat).view(word)
        if self.stride:
            _take_stride(source, out.view(word), self.stride)
        else:
            edges = [self.cols * part // threads for part in range(threads + 1)]
            take = partial(_take_segments, source, out.view(word), self.walk)
            run_together([partial(take, *part) for part in pairwise(edges)])
        return out


@njit
def _take_stride(source, out, stride):
    n = len(out)
    index = 0
    for k in range(n):
        out[k] = source[index]
        index += stride
        if index >= n:
            index -= n


@njit
def _take_segments(source, out, walk, begin, end):
    """Take the columns or diagonals that begin in columns begin … end-1.

    ABREAST side by side: every line of the source is read for as many elements.
    """
    rows, cols, later = walk.rows, walk.cols, walk.neighbour
    starts = np.empty(ABREAST, dtype=np.int64)
    d = begin * later % cols
    for first in range(begin, end, ABREAST):
        count = min(ABREAST, end - first)
        for j in range(count):
            starts[j] = d * rows
            d += later
            if d >= cols:
                d -= cols
        row, col = 0, first
        for i in range(rows):
            for j in range(count):
                place = col + j
                if place >= cols:
                    place -= cols
                out[starts[j] + i] = source[row * cols + place]
            row += walk.row_step
            if row >= rows:
                row -= rows
            col += walk.column_step
            if col >= cols:
                col -= cols
