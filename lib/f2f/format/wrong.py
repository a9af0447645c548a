"""The wrong bits of a tensor by their places, for `f2f.format.expand`; made once and kept.

Corrections are stored by rank among the unpruned weights. A plane that is wrong often (mostly one
that is taken as constant) becomes a bit for each rank, to be deposited at the unpruned places of a
tile: k / 8 bytes. Of others each wrong bit gets its index in the matrix: 8 bytes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from f2f.base.intrinsics import BMI2, borrowed, popcount
from f2f.base.jit import njit
from f2f.format.corrections import EliasFano
from f2f.format.places import DIAGONAL, ROW, Walk
from f2f.format.stages import RANK_WORDS, Encoded, select_bit

OFTEN = 64 if BMI2 else 0  # unpruned weights a wrong bit, at most, of a plane that is often wrong


class Wrong(NamedTuple):
    """Where weights are wrong, and what to flip there.

    Attributes
    ----------
    often : ndarray of uint64
        Plane after plane, `words` words each, bit r of them 1 where the weight of rank r is wrong;
        a word to spare behind them.
    words : int
    flips : ndarray of uint32, shape (planes,)
        What to flip where a plane of `often` is wrong.
    places : ndarray of int32
        Row-major indices of other wrong bits.
    place_flips : ndarray of uint32
        What to flip there.
    """

    often: np.ndarray
    words: int
    flips: np.ndarray
    places: np.ndarray
    place_flips: np.ndarray


def find_wrong(corrections: tuple[EliasFano, ...], encoded: Encoded, walk: Walk) -> Wrong:
    """The wrong bits of a tensor, of the corrections of its planes."""
    often = [p for p, code in enumerate(corrections) if code.count * OFTEN > code.universe]
    others = [p for p in range(len(corrections)) if p not in often]
    flips = encoded.corrections.flips
    words = max((corrections[p].universe // 64 + 2 for p in often), default=0)
    bits = np.zeros(len(often) * words + 1, dtype=np.uint64)
    for number, p in enumerate(often):
        corrections[p].mark(bits[number * words :])
    lists = [corrections[p].decode() for p in others]
    places = np.empty(sum(map(len, lists)), dtype=np.int32)
    wanted = np.concatenate([*lists, np.empty(0, dtype=np.int64)])
    _find_places(encoded.mask, encoded.ranks, walk, wanted, places)
    return Wrong(
        bits,
        words,
        flips[often],
        places,
        np.repeat(flips[others], [len(one) for one in lists]),
    )


@njit
def _find_places(mask, ranks, walk, wanted, places):
    """The row-major indices of care ranks, which rise but where a list ends, into places."""
    mask, ranks, walk = borrowed(mask), borrowed(ranks), borrowed(walk)
    wanted, places = borrowed(wanted), borrowed(places)
    segment, rows, cols = np.uint64(walk.segment), np.uint64(walk.rows), np.uint64(walk.cols)
    turn, row_step = np.uint64(walk.turn), np.uint64(walk.row_step)
    column_step = np.uint64(walk.column_step)
    at, last = 0, len(ranks) - 1
    density = np.float32(last / max(ranks[last], 1))
    for i in range(len(wanted)):
        rank = wanted[i]
        # A guess, which is off by one or so, instead of every step on the way.
        at += int(density * np.float32(rank - ranks[at]))
        at = min(max(at, 0), last)
        while ranks[at] > rank:
            at -= 1
        while at < last and ranks[at + 1] <= rank:
            at += 1
        w, left = RANK_WORDS * at, rank - ranks[at]
        care = np.int64(popcount(mask[w]))
        while care <= left:
            left -= care
            w += 1
            care = np.int64(popcount(mask[w]))
        position = np.uint64(64 * w + select_bit(mask[w], left))
        number = position // segment
        along = position - number * segment
        if walk.kind == ROW:
            places[i] = position
        elif walk.kind == DIAGONAL:
            row = row_step * along % rows
            column = column_step * ((turn * number + along) % cols) % cols
            places[i] = row * cols + column
        else:
            places[i] = along * cols + number


@njit
def flip_places(places, flips, out):
    """Flip words of `out` at places."""
    for i in range(len(places)):
        out[places[i]] ^= out.dtype.type(flips[i])
