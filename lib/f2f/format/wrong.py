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
from f2f.format.orders import ROW, Walk
from f2f.format.stages import (
    CHUNK,
    RANK_WORDS,
    Encoded,
    care_before,
    next_rank,
    ranks_of,
    select_bit,
)
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


def find_wrong(encoded: Encoded, walk: Walk) -> Wrong:
    """The wrong bits of a tensor."""
    flips, counts = encoded.corrections.flips, encoded.corrections.lists["count"]
    care = care_before(encoded.mask, encoded.ranks, walk.rows * walk.cols)
    often = counts * OFTEN > care
    words = care // 64 + 2
    tiles = -(-walk.rows * walk.cols // CHUNK) if walk.kind == ROW else -(-walk.cols // SIDE)
    others = int(counts[~often].sum())
    wrong = Wrong(
        often=np.zeros(int(often.sum()) * words + 1, dtype=np.uint64),
        words=words,
        flips=flips[often],
        places=np.empty(others, dtype=np.int32),
        place_flips=np.empty(others, dtype=np.uint32),
        starts=np.zeros(tiles + 1, dtype=np.int64),
    )
    _mark_often(encoded.corrections, often, wrong)
    _find_places(encoded, walk, often, wrong)
    return wrong


@njit
def _mark_often(corrections, often, wrong):
    """Set the bits of planes that are wrong often."""
    corrections, often, wrong = borrowed(corrections), borrowed(often), borrowed(wrong)
    first = np.uint64(0)
    for plane in range(len(often)):
        if often[plane]:
            ranks = ranks_of(corrections.lists, plane)
            word = ranks.upper >> 6
            rest = corrections.bits[word]
            for index in range(ranks.length):
                word, rest, rank = next_rank(corrections.bits, ranks, word, rest, index)
                at = np.uint64(rank)
                bit = np.uint64(1) << (at & np.uint64(63))
                wrong.often[first + (at >> np.uint64(6))] |= bit
            first += np.uint64(wrong.words)


@njit
def _find_places(encoded, walk, often, wrong):
    """Fill in the places of other wrong bits, sorted by tile."""
    encoded, walk = borrowed(encoded), borrowed(walk)
    often, wrong = borrowed(often), borrowed(wrong)
    corrections = encoded.corrections
    segment, rows, cols = np.uint64(walk.segment), np.uint64(walk.rows), np.uint64(walk.cols)
    row_step, column_step = np.uint64(walk.row_step), np.uint64(walk.column_step)
    # Columns from the start of a segment to that of the next.
    apart = np.uint64(walk.turn * max(walk.column_step, 1) % walk.cols)
    near = _near_ranks(encoded.ranks)
    places = np.empty(len(wrong.places), dtype=np.uint64)
    tiles = np.empty(len(places), dtype=np.uint64)
    counts = np.zeros(len(wrong.starts), dtype=np.int64)
    found = 0
    for plane in range(len(often)):
        if often[plane]:
            continue
        ranks = ranks_of(corrections.lists, plane)
        word = ranks.upper >> 6
        rest = corrections.bits[word]
        for index in range(ranks.length):
            word, rest, rank = next_rank(corrections.bits, ranks, word, rest, index)
            position = np.uint64(_care_position(encoded.mask, encoded.ranks, near, rank))
            number = position // segment
            along = position - number * segment
            if walk.kind == ROW:
                places[found], tiles[found] = position, position // np.uint64(CHUNK)
            else:
                start = apart * number % cols
                row, column = row_step * along % rows, (start + column_step * along) % cols
                places[found], tiles[found] = row * cols + column, start // np.uint64(SIDE)
            counts[tiles[found] + np.uint64(1)] += 1
            found += 1
    for tile in range(1, len(counts)):
        counts[tile] += counts[tile - 1]
        wrong.starts[tile] = counts[tile]
    found = 0
    for plane in range(len(often)):
        if not often[plane]:
            for _ in range(corrections.lists[plane].count):
                at = counts[tiles[found]]
                counts[tiles[found]] += 1
                wrong.places[at] = places[found]
                wrong.place_flips[at] = corrections.flips[plane]
                found += 1


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
    first, left = RANK_WORDS * at, rank - ranks[at]
    # Without branches, which would go astray.
    w, care, before = first, np.int64(0), np.int64(0)
    for word in range(first, first + RANK_WORDS - 1):
        care += np.int64(popcount(mask[word]))
        passed = care <= left
        w += passed
        before = care if passed else before
    return 64 * w + select_bit(mask[w], left - before)


@njit(forceinline=True)
def flip_places(wrong, tile, out):
    """Flip the words of `out` that are wrong in a tile, of that number."""
    for i in range(wrong.starts[tile], wrong.starts[tile + 1]):
        out[wrong.places[i]] ^= out.dtype.type(wrong.place_flips[i])
