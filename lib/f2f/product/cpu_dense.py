"""The dense way through a chunk: every decoded byte is masked and multiplied, a pruned one as 0.

For one-byte weights and few columns, all finite (0 times infinity would be NaN);
`f2f.product.cpu` says when it is taken. Where a segment of positions advances by one row and one
column at a time (order "diagonal" in permuted coordinates, "column", and "row" as dot products),
multiplying is a plain vector loop. Four runs of segments are walked side by side, so that the
result is loaded and stored once for four of them.

Wrong bits are found by their encoding positions (`WrongBytes`), not by their ranks among the
unpruned, so that no mask bits need be counted on the way.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from f2f.base.intrinsics import borrowed, bytes_from, popcount
from f2f.base.jit import njit
from f2f.format.operands import Operands
from f2f.format.orders import DIAGONAL, ROW
from f2f.format.stages import CHUNK, Chunk, clear_pruned, prefetch, read_planes, select_bit
from f2f.product.cpu_sparse import CONTRACT

SIDE_BY_SIDE = 4  # runs that are walked together
_BEHIND = np.iinfo(np.int32).max  # a position behind every tensor's last


class WrongBytes(NamedTuple):
    """The wrong bits of one-byte weights.

    Attributes
    ----------
    positions : ndarray of int32, shape (wrong bits + 1,)
        Rising encoding positions, one for each plane that is wrong there, and one behind them all.
    flips : ndarray of uint8, shape (wrong bits,)
        What to flip there.
    """

    positions: np.ndarray
    flips: np.ndarray


class Runs(NamedTuple):
    """Buffers of the runs that are walked side by side.

    Attributes
    ----------
    values : ndarray of int8 or uint8, shape (runs, bytes)
        The memory of `Chunk.decoded`, as the weights it holds.
    columns : ndarray of int64, shape (runs,)
        The permuted column where each run is.
    wrong : ndarray of int64, shape (runs,)
        The next wrong bit of each.
    """

    values: np.ndarray
    columns: np.ndarray
    wrong: np.ndarray


def make_runs(chunk: Chunk, dtype: str) -> Runs:
    """Buffers of as many runs as the chunk has rows, of weights of a dtype."""
    runs = len(chunk.decoded)
    return Runs(
        chunk.decoded.view(dtype), np.empty(runs, dtype=np.int64), np.empty(runs, dtype=np.int64)
    )


def find_wrong_bytes(op: Operands) -> WrongBytes:
    """The wrong bits of a tensor of one-byte weights: 5 bytes each."""
    lists = [code.decode() for code in op.corrections]
    by_plane = op.encoded.corrections.flips.astype(np.uint8)
    flips = np.repeat(by_plane, [len(ranks) for ranks in lists])
    ranks = np.concatenate([*lists, np.empty(0, dtype=np.int64)])
    order = np.argsort(ranks, kind="stable")
    positions = np.full(len(ranks) + 1, _BEHIND, dtype=np.int32)
    _find_care(op.encoded.mask, ranks[order], positions)
    return WrongBytes(positions, flips[order])


@njit
def _find_care(mask, ranks, positions):
    """The positions of care ranks int64 (r,), which rise, into positions[:r]."""
    w, before = 0, np.int64(0)
    care = popcount(mask[0])
    for i in range(len(ranks)):
        while before + np.int64(care) <= ranks[i]:
            before += np.int64(care)
            w += 1
            care = popcount(mask[w])
        positions[i] = 64 * w + select_bit(mask[w], ranks[i] - before)


@njit
def add_dense(encoded, walk, wrong, parts, chunk, runs, x, y):
    """Add the product of parts of the segments to y, the dense way.

    Parameters
    ----------
    encoded, walk, wrong, chunk, runs
        NamedTuples of those names; the last two are buffers.
    parts : ndarray of int64, shape (parts, 3)
        First segment, segments of a run, and how many runs follow one another.
    x : ndarray, shape (m, cols and more), permuted
        Order "diagonal": the first columns again behind the last, for a piece of a segment.
    y : ndarray of the dtype of x, shape (m, rows), permuted
    """
    encoded, walk, wrong = borrowed(encoded), borrowed(walk), borrowed(wrong)
    chunk, runs = borrowed(chunk), borrowed(runs)
    parts, x, y = borrowed(parts), borrowed(x), borrowed(y)
    segment, values, most = walk.segment, runs.values, _chunk(encoded.gates.n_out)
    for p in range(len(parts)):
        first, length, count_runs = parts[p]
        columns = runs.columns[:count_runs]
        for s in range(count_runs):
            chunk.windows[s].first = chunk.windows[s].end = -1  # nothing is decoded yet
            begin = (first + s * length) * segment
            runs.wrong[s] = np.searchsorted(wrong.positions, begin)
        for begin in range(0, length * segment, most):
            count = min(most, length * segment - begin)
            for s in range(count_runs):
                lo = (first + s * length) * segment + begin
                _read_bytes(encoded, wrong, runs.wrong, s, lo, count, chunk)
            at = 0
            while at < count:  # the pieces of segments
                number, along = divmod(begin + at, segment)
                piece = min(segment - along, count - at)
                for s in range(count_runs):
                    columns[s] = first + s * length + number
                    if walk.kind == DIAGONAL:
                        columns[s] = (columns[s] * walk.turn + along) % walk.cols
                for c in range(len(x)):
                    if walk.kind == ROW:
                        y[c, first + number] += _dot(values, at, x[c], along, piece)
                    else:
                        step = 1 if walk.kind == DIAGONAL else 0
                        _add_pieces(y[c, along:], values, at, x[c], columns, step, piece)
                at += piece


@njit(inline="always")
def _chunk(n_out):
    """Positions of a chunk: whole blocks, four by four as they are decoded, if so many go in."""
    batch = 4 * n_out
    return CHUNK // batch * batch or CHUNK


@njit(forceinline=True)
def _read_bytes(encoded, wrong, next_wrong, run, lo, count, chunk):
    """The corrected one-byte words of a chunk, zero where pruned, into chunk.decoded[run].

    next_wrong: int64 (runs,), of each run; it moves on.
    """
    prefetch(encoded, lo + count, count)
    decoded, at = chunk.decoded, run * chunk.decoded.shape[1]
    if len(encoded.groups):
        read_planes(encoded, 0, encoded.affine, lo, count, chunk, run)
    else:
        decoded[run, :count] = encoded.affine.offset
    flat = bytes_from(decoded, 0)
    w = next_wrong[run]
    while wrong.positions[w] < lo + count:
        flat[at + wrong.positions[w] - lo] ^= wrong.flips[w]
        w += 1
    next_wrong[run] = w
    clear_pruned(flat, at, encoded.mask, lo, count, flat, at)


@njit(fastmath=CONTRACT, forceinline=True)
def _add_pieces(y, values, at, x, columns, step, count):
    """y[v] += sum over s of values[s, at + v] * x[columns[s] + step*v], v < count."""
    y = y[:count]
    if step == 1 and len(columns) == SIDE_BY_SIDE:
        b0, x0 = values[0, at : at + count], x[columns[0] : columns[0] + count]
        b1, x1 = values[1, at : at + count], x[columns[1] : columns[1] + count]
        b2, x2 = values[2, at : at + count], x[columns[2] : columns[2] + count]
        b3, x3 = values[3, at : at + count], x[columns[3] : columns[3] + count]
        for v in range(count):
            left = y[v] + y.dtype.type(b0[v]) * x0[v] + y.dtype.type(b1[v]) * x1[v]
            right = y.dtype.type(b2[v]) * x2[v] + y.dtype.type(b3[v]) * x3[v]
            y[v] = left + right
        return
    for s in range(len(columns)):
        b = values[s, at : at + count]
        if step == 1:
            part = x[columns[s] : columns[s] + count]
            for v in range(count):
                y[v] += y.dtype.type(b[v]) * part[v]
        else:
            factor = x[columns[s]]
            for v in range(count):
                y[v] += y.dtype.type(b[v]) * factor


@njit(fastmath={"contract", "reassoc"})
def _dot(values, at, x, column, count):
    """Sum over v < count of values[0, at + v] * x[column + v]."""
    b, part = values[0, at : at + count], x[column : column + count]
    total = x.dtype.type(0)
    for v in range(count):
        total += x.dtype.type(b[v]) * part[v]
    return total
