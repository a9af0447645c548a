"""The weights of a tensor, streamed: decoded, masked, put in place and corrected.

Decoded words go to their place in the matrix in one of three ways:

* row order: chunk by chunk, as they come;
* tiles: segments (columns, diagonals) side by side. In diagonal order, diagonals ``d_j`` with
  ``h*d_j = first + j (mod cols)`` lie in neighbouring columns. The decoded bytes of 64 of them are
  transposed, group by group of planes, to lines across them, and so are the bits of the mask; a
  line of each group is joined to 64 words, which are part of a row of the matrix;
* scattered: the words at care positions alone, one by one, for golden order and matrices too small
  for tiles.

In the first two ways, bits of planes that are wrong often are flipped as words are joined, and
others when all words of a tile or chunk are in place (`f2f.format.wrong`).
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np

from f2f.base.intrinsics import aligned_zeros, bits_at, borrowed, popcount, transpose_bits
from f2f.base.jit import njit
from f2f.base.threads import run_together
from f2f.decoder.gates import IDENTITY, SLACK, work_bytes
from f2f.format.join import join_in_order, join_line
from f2f.format.operands import Operands, make_operands, operands
from f2f.format.orders import DIAGONAL, GOLDEN, ROW
from f2f.format.places import Places, find_places
from f2f.format.stages import (
    CHUNK,
    care_before,
    care_words,
    cursors_at,
    decode_planes,
    deposit,
    make_care,
    make_chunk,
    prefetch,
)
from f2f.format.tensor import DTYPES, CompressedTensor
from f2f.format.tiles import (
    DEPTH,
    SIDE,
    copy_elements,
    line_places,
    prefetch_words,
    transpose_bytes,
)
from f2f.format.wrong import flip_places

ALONG = 2048  # positions of a segment in a tile: it stays in the second-level cache
AHEAD = 32  # lines from the one that is written to the one whose cache lines are asked for
SHORTEST = 128  # shorter segments are scattered
THREAD_SHARE = 1 << 20  # weights that are worth a thread, which takes 0.1 ms to wake and to join


class Tile(NamedTuple):
    """Buffers of a tile, of one thread, or in row order of a chunk.

    Attributes
    ----------
    decoded : ndarray of uint8
        Stored bytes along each segment, `stride` from one to the next, group after group; the first
        position lies n_out bytes behind the start.
    stride : int
    places : ndarray of int64, shape (64,)
        Number in `decoded` of each segment.
    lines : ndarray of uint8
        Lines across the segments, that of each group `apart` bytes from the last; in row order
        `decoded` itself.
    apart : int
    bits : ndarray of uint64
        The mask, a word for a line (or, before it is transposed, for 64 positions of a segment),
        and behind it, `step` words from one to the next, where each plane of `flips` is wrong.
    step : int
    flips : ndarray of uint32
    words : ndarray of unsigned integers, shape (64,)
        The words of a line that is put in place in parts.
    work : ndarray of uint8
        Of `decode_flat`.
    """

    decoded: np.ndarray
    stride: int
    places: np.ndarray
    lines: np.ndarray
    apart: int
    bits: np.ndarray
    step: int
    flips: np.ndarray
    words: np.ndarray
    work: np.ndarray


def expand(
    tensor: CompressedTensor,
    care_mask: np.ndarray | None = None,
    threads: int = 1,
    memory: np.ndarray | None = None,
) -> np.ndarray:
    """The bits of all weights, row-major, zero where pruned.

    Parameters
    ----------
    tensor : CompressedTensor
        Of kind "encoded", n > 0.
    care_mask : ndarray of bool, shape (n,), or None
        Which positions are unpruned, in encoding order, if the tensor stores no mask.
    threads : int
        Share the tiles.
    memory : ndarray of uint8, shape (memory_bytes(tensor),), or None
        For the words; may be left unused.

    Returns
    -------
    ndarray of unsigned integers, shape (n,)
        A word for each weight, as wide as the weight.

    Raises
    ------
    FormatError
        If the mask has not as many unpruned places as the tensor says.
    """
    if care_mask is None:
        op = operands(tensor)
    else:
        op = make_operands(tensor, np.packbits(care_mask, bitorder="little"))
    encoded, walk = op.encoded, op.walk
    word = np.dtype(f"u{op.itemsize}")
    if _is_scattered(op):
        out = np.zeros(op.n, dtype=word)
        chunk = make_chunk(encoded, max(len(encoded.groups), 1))
        places = Places(np.empty(CHUNK, dtype=np.int64), np.empty(CHUNK, dtype=np.int64))
        _scatter(encoded, walk, cursors_at(encoded.corrections, 0), chunk, make_care(), places, out)
        return out
    out = np.empty(op.n + SIDE, dtype=word) if memory is None else memory.view(word)
    wrong = op.wrong
    if walk.kind == ROW:
        _in_order(encoded, wrong, _make_tile(op, CHUNK, 1), out)
    else:
        threads = min(threads, max(op.n // THREAD_SHARE, 1))
        edges = [walk.cols * t // threads // SIDE * SIDE for t in range(threads)] + [walk.cols]

        def job(number: int) -> None:
            tile = _make_tile(op, min(ALONG, walk.rows), SIDE)
            _by_tiles(encoded, walk, wrong, tile, edges[number], edges[number + 1], out)

        run_together([partial(job, number) for number in range(threads)])
    return out[: op.n]


def memory_bytes(tensor: CompressedTensor) -> int:
    """Bytes of the memory that `expand` can be given."""
    return (tensor.n + SIDE) * DTYPES[tensor.dtype]


def _is_scattered(op: Operands) -> bool:
    walk, n_out = op.walk, op.encoded.gates.n_out
    if walk.kind == GOLDEN:
        return True
    if walk.kind == ROW:
        return False
    # Blocks that straddle segments are decoded twice; wide ones are not worth it.
    return min(walk.segment, ALONG) < max(SHORTEST, 2 * n_out) or walk.cols * op.itemsize < SIDE


def _make_tile(op: Operands, along: int, segments: int) -> Tile:
    """Buffers for so many positions of so many segments."""
    gates, groups = op.encoded.gates, max(len(op.encoded.groups), 1)
    along = -(-along // SIDE) * SIDE
    # An odd number of cache lines from one to the next, so that they meet in different sets.
    stride = (2 * gates.n_out + along + SLACK) // 128 * 128 + 192
    decoded = aligned_zeros(groups * segments * stride)
    return Tile(
        decoded=decoded,
        stride=stride,
        places=line_places(op.itemsize),
        lines=decoded if segments == 1 else aligned_zeros(DEPTH * groups * SIDE),
        apart=stride if segments == 1 else SIDE,
        bits=np.zeros((1 + len(op.wrong.flips)) * along * segments // SIDE, dtype=np.uint64),
        step=along * segments // SIDE,
        flips=op.wrong.flips,
        words=np.zeros(SIDE, dtype=f"u{op.itemsize}"),
        work=aligned_zeros(work_bytes(gates.n_s)),
    )


@njit
def _scatter(encoded, walk, cursors, chunk, care, places, out):
    """The words at care positions, one by one, into `out`, which is zero."""
    encoded, walk, cursors = borrowed(encoded), borrowed(walk), borrowed(cursors)
    chunk, care, places, out = borrowed(chunk), borrowed(care), borrowed(places), borrowed(out)
    rows, cols = np.uint64(walk.rows), np.uint64(walk.cols)
    row_step, column_step = np.uint64(walk.row_step), np.uint64(walk.column_step)
    rank = 0
    for lo in range(0, len(out), CHUNK):
        count = min(CHUNK, len(out) - lo)
        found = care_words(encoded, rank, cursors, lo, count, chunk, care)
        rank += found
        find_places(walk, lo, care.positions, found, places)
        for c in range(found):
            row, column = np.uint64(places.rows[c]), np.uint64(places.columns[c])
            if walk.kind == DIAGONAL:
                row, column = row * row_step % rows, column * column_step % cols
            out[row * cols + column] = care.words[c]


@njit(forceinline=True)
def _decode(encoded, lo, count, tile, first, step):
    """The stored bytes of positions lo … lo+count-1, group g's into place first + step*g."""
    n_out = encoded.gates.n_out
    start, end = lo // n_out, (lo + count + n_out - 1) // n_out
    at = first * tile.stride + n_out - (lo - start * n_out)
    for g in range(len(encoded.groups)):
        decode_planes(encoded, g, IDENTITY, start, end - start, tile.decoded, at, tile.work)
        at += step * tile.stride


@njit(forceinline=True)
def _read_bits(encoded, wrong, lo, count, tile, s, apart):
    """The bits of positions lo … lo+count-1, 64 by 64, into words s, s + apart, … of tile.bits."""
    mask, bits = encoded.mask, tile.bits
    pieces, apart = (count + 63) >> 6, np.uint64(apart)
    at, bit = np.uint64(s), np.uint64(lo)
    for _ in range(pieces):
        bits[at] = bits_at(mask, bit)
        at += apart
        bit += np.uint64(64)
    if len(tile.flips) == 0:
        return
    rank = np.uint64(care_before(mask, encoded.ranks, lo))
    for plane in range(len(tile.flips)):
        at, to = np.uint64(s), np.uint64(s + (plane + 1) * tile.step)
        where = rank + np.uint64(64 * plane * wrong.words)
        for _ in range(pieces):
            bits[to] = deposit(bits_at(wrong.often, where), bits[at])
            where += popcount(bits[at])
            at += apart
            to += apart


@njit
def _in_order(encoded, wrong, tile, out):
    """All words in encoding order."""
    encoded, wrong, tile = borrowed(encoded), borrowed(wrong), borrowed(tile)
    out = borrowed(out)
    n, offset, first = len(out) - SIDE, np.uint32(encoded.offset), encoded.gates.n_out
    for lo in range(0, n, CHUNK):
        count = min(CHUNK, n - lo)
        _decode(encoded, lo, count, tile, 0, 1)
        _read_bits(encoded, wrong, lo, count, tile, 0, 1)
        for at in range(0, count, SIDE):
            join_in_order(tile, first + at, at >> 6, encoded.maps, offset, out, lo + at)
        flip_places(wrong, lo // CHUNK, out)


@njit
def _by_tiles(encoded, walk, wrong, tile, left, end, out):
    """The words of columns left … end-1, tile by tile."""
    encoded, walk, wrong = borrowed(encoded), borrowed(walk), borrowed(wrong)
    tile, out = borrowed(tile), borrowed(out)
    rows, cols = walk.rows, walk.cols
    for first in range(left, end, SIDE):
        width = min(SIDE, cols - first)
        for begin in range(0, rows, ALONG):
            along = min(ALONG, rows - begin)
            for s in range(width):
                segment = (first + s) * walk.neighbour % cols
                lo = segment * rows + begin
                prefetch(encoded, (segment + walk.neighbour) % cols * rows + begin, along)
                _decode(encoded, lo, along, tile, tile.places[s], SIDE)
                _read_bits(encoded, wrong, lo, along, tile, s, SIDE)
            for lo in range(0, along, SIDE):
                for plane in range(len(tile.flips) + 1):
                    transpose_bits(tile.bits, plane * tile.step + lo)
            _put_in_place(encoded, walk, tile, begin, along, first, width, out)
        flip_places(wrong, first // SIDE, out)


@njit(forceinline=True)
def _put_in_place(encoded, walk, tile, begin, along, first, width, out):
    """The lines of a tile of `width` segments, joined, from place `begin` of the rows on."""
    cols, offset, groups = walk.cols, np.uint32(encoded.offset), len(encoded.groups)
    row = walk.row_step * begin % walk.rows
    column = (walk.column_step * begin + first) % cols
    row_ahead, column_ahead = row, column
    for _ in range(min(along, AHEAD)):
        prefetch_words(out, row_ahead * cols + column_ahead)
        row_ahead, column_ahead = _next_place(walk, row_ahead, column_ahead)
    for lo in range(0, along, DEPTH):
        count = min(DEPTH, along - lo)
        for _ in range(count):
            prefetch_words(out, row_ahead * cols + column_ahead)
            row_ahead, column_ahead = _next_place(walk, row_ahead, column_ahead)
        for g in range(groups):
            at = g * SIDE * tile.stride + encoded.gates.n_out + lo
            transpose_bytes(tile.decoded, at, tile.stride, tile.lines, g * SIDE, groups * SIDE)
        for i in range(count):
            line, to = i * groups * SIDE, row * cols
            whole = min(width, cols - column)
            if whole == SIDE:
                join_line(tile, line, lo + i, encoded.maps, offset, out, to + column)
            else:
                join_line(tile, line, lo + i, encoded.maps, offset, tile.words, 0)
                copy_elements(tile.words, 0, out, to + column, whole)
                copy_elements(tile.words, whole, out, to, width - whole)
            row, column = _next_place(walk, row, column)


@njit(inline="always")
def _next_place(walk, row, column):
    """Row and column of the next position of a diagonal or column."""
    row += walk.row_step
    column += walk.column_step
    return row - walk.rows * (row >= walk.rows), column - walk.cols * (column >= walk.cols)
