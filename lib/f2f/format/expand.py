"""The weights of a tensor, streamed: decoded, masked, put in place and corrected.

Decoded words go to their place in the matrix in one of three ways:

* row order: chunk by chunk, as they come;
* tiles: as many segments (columns, diagonals) side by side as fill a cache line. In diagonal
  order, diagonals ``d_j`` with ``h*d_j = first + j (mod cols)`` lie in neighbouring columns, so
  each row of the tile, transposed in registers, is a line of the matrix;
* scattered: the words at care positions alone, one by one, for golden order, raw planes and
  matrices too small for tiles.

Corrections are flipped in the matrix at the end, as their positions come in encoding order and
tiles do not.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from f2f.base.intrinsics import aligned_zeros, borrowed
from f2f.decoder.gates import IDENTITY
from f2f.format.operands import Operands, operands
from f2f.format.places import DIAGONAL, GOLDEN, ROW, Places, find_places
from f2f.format.stages import (
    CHUNK,
    advance,
    care_position,
    care_words,
    clear_pruned,
    make_care,
    make_chunk,
    read_alone,
    read_mask,
)
from f2f.format.tensor import CompressedTensor
from f2f.format.tiles import LINE, copy_line, transpose_lines

ALONG = 2048  # positions of a segment in a tile, which then stays in the second-level cache
SHORTEST = 128  # shorter segments are scattered
SPARE = 31  # elements behind the last that may be written


class Tile(NamedTuple):
    """Buffers of a tile, flat, of words as wide as a weight.

    Attributes
    ----------
    segments : ndarray of unsigned integers
        The words along each segment, `stride` elements from one to the next.
    stride : int
    lines : ndarray of unsigned integers
        What `transpose_lines` puts out.
    """

    segments: np.ndarray
    stride: int
    lines: np.ndarray


def expand(tensor: CompressedTensor) -> np.ndarray:
    """The bits of all weights, row-major, zero where pruned.

    Parameters
    ----------
    tensor : CompressedTensor
        Of kind "encoded", with its mask, n > 0.

    Returns
    -------
    ndarray of unsigned integers, shape (n,)
        A word for each weight, as wide as the weight.

    Raises
    ------
    FormatError
        If the mask has not as many unpruned places as the tensor says.
    """
    op = operands(tensor)
    encoded, walk = op.encoded, op.walk
    word = np.dtype(f"u{op.itemsize}")
    orders = (op.row_order, op.column_order)
    cursors = op.start(np.zeros(1, dtype=np.int64))[1][0]
    chunk = make_chunk(encoded, max(len(encoded.groups), 1))
    if _is_scattered(op):
        out = np.zeros(op.n, dtype=word)
        places = Places(np.empty(CHUNK, dtype=np.int64), np.empty(CHUNK, dtype=np.int64))
        _scatter(encoded, walk, orders, cursors, chunk, make_care(), places, out)
        return out
    out = np.empty(op.n + SPARE, dtype=word)
    if walk.kind == ROW:
        _in_order(encoded, chunk, out)
    else:
        _by_tiles(encoded, walk, orders[0], chunk, _make_tile(word), out)
    _correct(encoded, walk, orders, cursors, chunk, out)
    return out[: op.n]


def _is_scattered(op: Operands) -> bool:
    walk, n_out = op.walk, op.encoded.gates.n_out
    if walk.kind == GOLDEN or len(op.encoded.raw.flips):
        return True
    if walk.kind == ROW:
        return False
    # Blocks that straddle segments are decoded twice; wide ones are not worth it.
    return min(walk.segment, ALONG) < max(SHORTEST, 2 * n_out) or walk.cols * op.itemsize < LINE


def _make_tile(word: np.dtype) -> Tile:
    lines = LINE * 16 // word.itemsize
    # An odd number of cache lines from segment to segment, so that they meet in different sets.
    stride = (ALONG * word.itemsize + LINE) // word.itemsize
    segments = aligned_zeros(LINE // word.itemsize * stride * word.itemsize)
    return Tile(segments.view(word), stride, aligned_zeros(lines).view(word))


@njit(nogil=True, cache=True)
def _scatter(encoded, walk, orders, cursors, chunk, care, places, out):
    """The words at care positions, corrected, one by one into `out`, which is zero."""
    encoded, walk, cursors, chunk = (
        borrowed(encoded),
        borrowed(walk),
        borrowed(cursors),
        borrowed(chunk),
    )
    care, places, out = borrowed(care), borrowed(places), borrowed(out)
    row_order, column_order = borrowed(orders[0]), borrowed(orders[1])
    rank = 0
    for lo in range(0, len(out), CHUNK):
        count = min(CHUNK, len(out) - lo)
        found = care_words(encoded, cursors, lo, count, rank, chunk, care)
        find_places(walk, lo, count, care.positions, found, places)
        for c in range(found):
            row, column = row_order[places.rows[c]], column_order[places.columns[c]]
            out[row * walk.cols + column] = care.words[c]
        rank += found


@njit(nogil=True, cache=True)
def _in_order(encoded, chunk, out):
    """All words, not corrected, in encoding order."""
    encoded, chunk, out = borrowed(encoded), borrowed(chunk), borrowed(out)
    n = len(out) - SPARE
    for lo in range(0, n, CHUNK):
        _read_words(encoded, lo, min(CHUNK, n - lo), chunk, out, lo)


@njit(nogil=True, cache=True)
def _read_words(encoded, lo, count, chunk, out, at):
    """The words of positions lo … lo+count-1 into out[at:], not corrected, zero where pruned.

    Up to SPARE elements more are written.
    """
    read_mask(encoded.mask, lo, count, chunk)
    decoded = chunk.decoded
    if out.itemsize == 1 and len(encoded.groups) == 1:
        start = read_alone(encoded, 0, encoded.affine, lo, count, chunk, 0)
        clear_pruned(
            decoded.reshape(decoded.size), start, chunk.words, count, out.view(np.uint8), at
        )
        return
    words = out[at : at + count]
    words[:] = encoded.offset
    for g in range(len(encoded.groups)):
        start = read_alone(encoded, g, IDENTITY, lo, count, chunk, 0)
        stored, table = decoded[0, start : start + count], encoded.tables[g]
        for i in range(count):
            words[i] ^= table[stored[i]]
    clear_pruned(out, at, chunk.words, count, out, at)


@njit(nogil=True, cache=True)
def _by_tiles(encoded, walk, row_order, chunk, tile, out):
    """All words, not corrected, tile by tile."""
    encoded, walk, chunk = borrowed(encoded), borrowed(walk), borrowed(chunk)
    row_order, tile, out = borrowed(row_order), borrowed(tile), borrowed(out)
    rows, cols = walk.rows, walk.cols
    side = LINE // out.itemsize
    across = side // 4  # lines of one transposition
    for begin in range(0, rows, ALONG):
        along = min(ALONG, rows - begin)
        for left in range(0, cols, side):
            first = min(left, cols - side)  # the last tile overlaps the one before
            for s in range(side):
                segment = (first + s) * walk.neighbour % cols
                lo = segment * rows + begin
                _read_words(encoded, lo, along, chunk, tile.segments, s * tile.stride)
            column = (walk.column_step * begin + first) % cols
            for i in range(0, along, across):
                transpose_lines(tile.segments, i, tile.stride, tile.lines)
                for e in range(min(across, along - i)):
                    at = row_order[begin + i + e] * cols
                    if column + side <= cols:
                        copy_line(tile.lines, side * e, out, at + column)
                    else:
                        for s in range(side):
                            out[at + (column + s) % cols] = tile.lines[side * e + s]
                    column += walk.column_step
                    if column >= cols:
                        column -= cols


@njit(nogil=True, cache=True)
def _correct(encoded, walk, orders, cursors, chunk, out):
    """Flip the wrong bits of words that are in place."""
    encoded, walk, cursors, chunk = (
        borrowed(encoded),
        borrowed(walk),
        borrowed(cursors),
        borrowed(chunk),
    )
    row_order, column_order, out = borrowed(orders[0]), borrowed(orders[1]), borrowed(out)
    corrections, flips = encoded.corrections, encoded.corrections.flips
    n, rank = len(out) - SPARE, 0
    for lo in range(0, n, CHUNK):
        end = rank + read_mask(encoded.mask, lo, min(CHUNK, n - lo), chunk)
        for plane in range(len(flips)):
            while cursors[plane].position < end:
                position = lo + care_position(chunk, cursors[plane].position - rank)
                if walk.kind != ROW:
                    segment = np.uint64(position) // np.uint64(walk.segment)
                    along = np.uint64(position) - segment * np.uint64(walk.segment)
                    column = segment
                    if walk.kind == DIAGONAL:
                        place = segment * np.uint64(walk.turn) + along
                        column = column_order[place % np.uint64(walk.cols)]
                    position = row_order[along] * walk.cols + np.int64(column)
                out[position] ^= flips[plane]
                advance(corrections, plane, cursors)
        rank = end
