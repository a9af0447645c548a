"""The weights of a tensor, streamed: decoded, masked, put in place and corrected.

Decoded words go to their place in the matrix in one of three ways:

* row order: chunk by chunk, as they come;
* tiles: segments (columns, diagonals) side by side, as many as fill a few cache lines. In diagonal
  order, diagonals ``d_j`` with ``h*d_j = first + j (mod cols)`` lie in neighbouring columns, so
  each row of the tile, transposed in registers, is part of a row of the matrix;
* scattered: the words at care positions alone, one by one, for golden order, raw planes and
  matrices too small for tiles.

Tiles do not come in encoding order: each segment has a cursor of its own in the corrections.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from f2f.base.intrinsics import aligned_zeros, borrowed, bytes_from
from f2f.base.jit import njit
from f2f.decoder.gates import IDENTITY
from f2f.format.join import join_bytes
from f2f.format.operands import Operands, make_operands, operands
from f2f.format.places import DIAGONAL, GOLDEN, ROW, Places, find_places
from f2f.format.stages import (
    CHUNK,
    care_words,
    clear_pruned,
    flip_wrong,
    make_care,
    make_chunk,
    prefetch,
    read_alone,
    read_mask,
)
from f2f.format.tensor import CompressedTensor
from f2f.format.tiles import LINE, copy_elements, transpose_lines

ALONG = 2048  # positions of a segment in a tile
ACROSS = 256  # bytes of its rows: it stays in the second-level cache
SHORTEST = 128  # shorter segments are scattered
SPARE = 31  # elements behind the last that may be written


class Tile(NamedTuple):
    """Buffers of a tile, flat, of words as wide as a weight.

    Attributes
    ----------
    segments : ndarray of unsigned integers
        The words along each of the segments of a cache line, `stride` elements from one to the
        next.
    stride : int
    rows : ndarray of unsigned integers
        The tile, transposed, `row` elements from one position to the next.
    row : int
    """

    segments: np.ndarray
    stride: int
    rows: np.ndarray
    row: int


def expand(tensor: CompressedTensor, care_mask: np.ndarray | None = None) -> np.ndarray:
    """The bits of all weights, row-major, zero where pruned.

    Parameters
    ----------
    tensor : CompressedTensor
        Of kind "encoded", n > 0.
    care_mask : ndarray of bool, shape (n,), or None
        Which positions are unpruned, in encoding order, if the tensor stores no mask.

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
    chunk = make_chunk(encoded, max(len(encoded.groups), 1))
    if _is_scattered(op):
        out = np.zeros(op.n, dtype=word)
        places = Places(np.empty(CHUNK, dtype=np.int64), np.empty(CHUNK, dtype=np.int64))
        _scatter(encoded, walk, op.start([0]), chunk, make_care(), places, out)
        return out
    out = np.empty(op.n + SPARE, dtype=word)
    if walk.kind == ROW:
        _in_order(encoded, op.start([0]), chunk, out)
    else:
        start = op.start(np.arange(walk.cols) * walk.segment)
        _by_tiles(encoded, walk, start, chunk, _make_tile(word, walk.segment), out)
    return out[: op.n]


def _is_scattered(op: Operands) -> bool:
    walk, n_out = op.walk, op.encoded.gates.n_out
    if walk.kind == GOLDEN or len(op.encoded.raw.flips):
        return True
    if walk.kind == ROW:
        return False
    # Blocks that straddle segments are decoded twice; wide ones are not worth it.
    return min(walk.segment, ALONG) < max(SHORTEST, 2 * n_out) or walk.cols * op.itemsize < LINE


def _make_tile(word: np.dtype, segment: int) -> Tile:
    size, along = word.itemsize, -(-min(segment, ALONG) // 32) * 32  # groups that are written
    # An odd number of cache lines from one to the next, so that they meet in different sets.
    stride, row = (along * size + LINE) // size, (ACROSS + LINE) // size
    segments = aligned_zeros(LINE // size * stride * size)
    rows = aligned_zeros(along * row * size)
    return Tile(segments.view(word), stride, rows.view(word), row)


@njit
def _scatter(encoded, walk, start, chunk, care, places, out):
    """The words at care positions, one by one, into `out`, which is zero."""
    encoded, walk, start, chunk = (
        borrowed(encoded), borrowed(walk), borrowed(start), borrowed(chunk)
    )  # fmt: skip
    care, places, out = borrowed(care), borrowed(places), borrowed(out)
    rows, cols = np.uint64(walk.rows), np.uint64(walk.cols)
    row_step, column_step = np.uint64(walk.row_step), np.uint64(walk.column_step)
    for lo in range(0, len(out), CHUNK):
        count = min(CHUNK, len(out) - lo)
        found = care_words(encoded, start, lo, count, chunk, care)
        find_places(walk, lo, care.positions, found, places)
        for c in range(found):
            row, column = np.uint64(places.rows[c]), np.uint64(places.columns[c])
            if walk.kind == DIAGONAL:
                row, column = row * row_step % rows, column * column_step % cols
            out[row * cols + column] = care.words[c]


@njit
def _in_order(encoded, start, chunk, out):
    """All words in encoding order."""
    encoded, start, chunk = borrowed(encoded), borrowed(start), borrowed(chunk)
    out = borrowed(out)
    n = len(out) - SPARE
    for lo in range(0, n, CHUNK):
        _read_words(encoded, start, 0, lo, min(CHUNK, n - lo), chunk, out, lo)


@njit(forceinline=True)
def _read_words(encoded, start, which, lo, count, chunk, out, at):
    """The words of positions lo … lo+count-1 into out[at:]; SPARE elements more may be written.

    start: `Start`, whose cursors `which` stand at lo, and move on.
    """
    care = read_mask(encoded.mask, lo, count, chunk)
    if out.itemsize == 1 and len(encoded.groups) == 1:
        begin = read_alone(encoded, 0, encoded.affine, lo, count, chunk, 0)
        decoded = bytes_from(chunk.decoded, 0)
        clear_pruned(decoded, begin, chunk.words, 0, count, out.view(np.uint8), at)
    else:
        begin = 0
        for g in range(len(encoded.groups)):
            begin = read_alone(encoded, g, IDENTITY, lo, count, chunk, g)
        join_bytes(chunk.decoded, begin, encoded.maps, encoded.offset, out, at, count)
        clear_pruned(out, at, chunk.words, 0, count, out, at)
    flip_wrong(encoded.corrections, start, which, care, count, chunk, out, at)


@njit
def _by_tiles(encoded, walk, start, chunk, tile, out):
    """All words, tile by tile. start: of each segment."""
    encoded, walk, start = borrowed(encoded), borrowed(walk), borrowed(start)
    chunk, tile, out = borrowed(chunk), borrowed(tile), borrowed(out)
    rows, cols = walk.rows, walk.cols
    side = LINE // out.itemsize
    across = side // 4  # lines of one transposition
    for begin in range(0, rows, ALONG):
        along = min(ALONG, rows - begin)
        for left in range(0, cols, ACROSS // out.itemsize):
            width = min(ACROSS // out.itemsize, cols - left)
            for first in range(0, width, side):
                for s in range(min(side, width - first)):
                    segment = (left + first + s) * walk.neighbour % cols
                    lo = segment * rows + begin
                    prefetch(encoded, (segment + walk.neighbour) % cols * rows + begin, along)
                    at = s * tile.stride
                    _read_words(encoded, start, segment, lo, along, chunk, tile.segments, at)
                for i in range(0, along, across):
                    to = i * tile.row + first
                    transpose_lines(tile.segments, i, tile.stride, tile.rows, to, tile.row)
            row = walk.row_step * begin % rows
            column = (walk.column_step * begin + left) % cols
            for i in range(along):
                at, to = i * tile.row, row * cols
                ahead = min(width, cols - column)
                copy_elements(tile.rows, at, out, to + column, ahead)
                if ahead < width:
                    copy_elements(tile.rows, at + ahead, out, to, width - ahead)
                row += walk.row_step
                if row >= rows:
                    row -= rows
                column += walk.column_step
                if column >= cols:
                    column -= cols
