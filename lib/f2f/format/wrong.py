"""The wrong bits of a tensor by their places, for `f2f.format.expand`; made once and kept.

Corrections are stored by rank among the unpruned weights. A plane that is wrong often (mostly one
that is taken as constant) becomes a bit for each rank, to be deposited at the unpruned places of a
tile: k / 8 bytes. Of others each wrong bit gets its index in the matrix, tile by tile, to be
flipped while the tile is in the cache: 8 bytes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from f2f.base.intrinsics import BMI2, borrowed, popcount
from f2f.base.jit import njit
from f2f.format.corrections import EliasFano
from f2f.format.places import ROW, Walk
from f2f.format.stages import CHUNK, RANK_WORDS, Encoded, select_bit
from f2f.format.tiles import SIDE

OFTEN = 64 if BMI2 else 0  # unpruned weights a wrong bit, at most, of a plane that is often wrong
_NEAR = 64  # care ranks from one whose place in `Encoded.ranks` is looked up to the next


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
        Row-major indices of other wrong bits, tile by tile.
    place_flips : ndarray of uint32
        What to flip there.
    starts : ndarray of int64, shape (tiles + 1,)
        Where those of each tile begin: a tile has 64 segments, or in row order CHUNK positions.
    """

    often: np.ndarray
    words: int
    flips: np.ndarray
    places: np.ndarray
    place_flips: np.ndarray
    starts: np.ndarray


def find_wrong(corrections: tuple[EliasFano, ...], encoded: Encoded, walk: Walk) -> Wrong:
    """The wrong bits of a tensor, of the corrections of its planes."""
    often = [p for p, code in enumerate(corrections) if code.count * OFTEN > code.universe]
    others = [p for p in range(len(corrections)) if p not in often]
    flips = encoded.corrections.flips
    words = max((corrections[p].universe // 64 + 2 for p in often), default=0)
    bits = np.zeros(len(often) * words + 1, dtype=np.uint64)
    for number, p in enumerate(often):
        corrections[p].flip(bits[number * words :])
    lists = [corrections[p].decode() for p in others]
    ranks = np.concatenate([*lists, np.empty(0, dtype=np.int64)])
    tiles = -(-walk.rows * walk.cols // CHUNK) if walk.kind == ROW else -(-walk.cols // SIDE)
    wrong = Wrong(
        bits,
        words,
        flips[often],
        np.empty(len(ranks), dtype=np.int32),
        np.empty(len(ranks), dtype=np.uint32),
        np.zeros(tiles + 1, dtype=np.int64),
    )
    _find_places(encoded, walk, ranks, np.repeat(flips[others], [len(x) for x in lists]), wrong)
    return wrong


@njit
def _find_places(encoded, walk, wanted, flips, wrong):
    """Fill in the places of care ranks int64 (r,), where uint32 (r,) is to be flipped."""
    encoded, walk, wrong = borrowed(encoded), borrowed(walk), borrowed(wrong)
    wanted, flips = borrowed(wanted), borrowed(flips)
    segment, rows, cols = np.uint64(walk.segment), np.uint64(walk.rows), np.uint64(walk.cols)
    row_step, column_step = np.uint64(walk.row_step), np.uint64(walk.column_step)
    # Columns from the start of a segment to that of the next.
    apart = np.uint64(walk.turn * max(walk.column_step, 1) % walk.cols)
    near = _near_ranks(encoded.ranks)
    places, tiles = np.empty(len(wanted), dtype=np.uint64), np.empty(len(wanted), dtype=np.uint64)
    counts = np.zeros(len(wrong.starts), dtype=np.int64)
    for i in range(len(wanted)):
        position = np.uint64(_care_position(encoded.mask, encoded.ranks, near, wanted[i]))
        number = position // segment
        along = position - number * segment
        if walk.kind == ROW:
            places[i], tiles[i] = position, position // np.uint64(CHUNK)
        else:
            start = apart * number % cols
            row, column = row_step * along % rows, (start + column_step * along) % cols
            places[i], tiles[i] = row * cols + column, start // np.uint64(SIDE)
        counts[tiles[i] + np.uint64(1)] += 1
    for tile in range(1, len(counts)):
        counts[tile] += counts[tile - 1]
        wrong.starts[tile] = counts[tile]
    for i in range(len(wanted)):
        at = counts[tiles[i]]
        counts[tiles[i]] += 1
        wrong.places[at], wrong.place_flips[at] = places[i], flips[i]


@njit(inline="always")
def _near_ranks(ranks):
    """The last index of `ranks` where it is not above _NEAR * i, for every i."""
    near = np.full(ranks[-1] // _NEAR + RANK_WORDS + 2, len(ranks) - 1, dtype=np.int32)
    i = 0
    for at in range(1, len(ranks)):
        while _NEAR * i < ranks[at]:
            near[i] = at - 1
            i += 1
    return near


@njit(inline="always")
def _care_position(mask, ranks, near, rank):
    """The encoding position of a care rank."""
    at = near[rank // _NEAR]
    while at + 1 < len(ranks) and ranks[at + 1] <= rank:
        at += 1
    w, left = RANK_WORDS * at, rank - ranks[at]
    care = np.int64(popcount(mask[w]))
    while care <= left:
        left -= care
        w += 1
        care = np.int64(popcount(mask[w]))
    return 64 * w + select_bit(mask[w], left)


@njit(forceinline=True)
def flip_places(wrong, tile, out):
    """Flip the words of `out` that are wrong in a tile, of that number."""
    for i in range(wrong.starts[tile], wrong.starts[tile + 1]):
        out[wrong.places[i]] ^= out.dtype.type(wrong.place_flips[i])
