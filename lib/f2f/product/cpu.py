"""Backend "numba": decode and multiply fused, chunk by chunk, in threads.

No weight matrix is formed. Each thread walks its own share of the encoding positions and adds to
its own copy of the result, so the extra memory is O(threads*rows + cols) and a few buffers that
stay in the first-level cache. There are two ways through a chunk:

* *dense*, for one-byte weights and few columns, all finite: every decoded byte is masked and
  multiplied, a pruned one as 0 (times infinity that would be NaN). Where a segment
  of positions advances by one row and one column at a time (order "diagonal" in permuted
  coordinates, "column", and "row" as dot products), this is a plain vector loop. Four segments are
  walked side by side, so that the result is loaded and stored once for four of them.
* *sparse*, for everything else: the care positions of the chunk are listed, their bytes looked up
  in tables (one for each group of planes) and every product added where it belongs.

Floats are summed in the precision of the vector, in an order that depends on the thread count:
``|error| <= (cols + threads) * eps * sum_j |w_ij x_j|``. Integers are exact.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numba import get_num_threads

from f2f.base.intrinsics import borrowed
from f2f.base.jit import njit
from f2f.format.operands import Operands, operands
from f2f.format.places import DIAGONAL, GOLDEN, ROW
from f2f.format.stages import (
    CHUNK,
    Start,
    clear_pruned,
    copied,
    flip_wrong,
    forget,
    make_care,
    make_chunk,
    prefetch,
    read_mask,
    read_planes,
)
from f2f.format.tensor import CompressedTensor
from f2f.product.cpu_sparse import CONTRACT, Share, add_sparse, make_terms

DENSE_COLUMNS = 3  # more columns of the dense operand than this go the sparse way
SIDE_BY_SIDE = 4  # segments that the dense way walks together
THREAD_SHARE = 1 << 18  # positions that are worth another thread
SHORTEST_SEGMENT = 64  # shorter segments go the sparse way


class Segments(NamedTuple):
    """What one call of the dense way multiplies: runs of segments, walked side by side.

    Attributes
    ----------
    first : int
        The first segment of the first run.
    length : int
        Segments of a run; the next run begins behind it.
    start : Start
        Of each run.
    """

    first: int
    length: int
    start: Start


@njit
def _add_dense(encoded, walk, part, chunk, values, columns, x, y):
    """Add the product of runs of segments to y, the dense way.

    part: `Segments`, whose start moves on. chunk: with a row for each run; values: its
    decoded bytes as the weights they are. columns: int64 (runs,), room for where the runs are.
    x: (m, cols and some more), y: (m, rows), permuted.
    """
    encoded, walk, part, chunk = (
        borrowed(encoded), borrowed(walk), borrowed(part), borrowed(chunk)
    )  # fmt: skip
    values, x, y = borrowed(values), borrowed(x), borrowed(y)
    segment, runs = walk.segment, len(part.start.ranks)
    columns = borrowed(columns)[:runs]
    for begin in range(0, part.length * segment, CHUNK):
        count = min(CHUNK, part.length * segment - begin)
        for s in range(runs):
            lo = (part.first + s * part.length) * segment + begin
            _read_bytes(encoded, part.start, s, lo, count, chunk)
        at = 0
        while at < count:  # the pieces of segments
            number, along = divmod(begin + at, segment)
            length = min(segment - along, count - at)
            for s in range(runs):
                columns[s] = part.first + s * part.length + number
                if walk.kind == DIAGONAL:
                    columns[s] = (columns[s] * walk.turn + along) % walk.cols
            for c in range(len(x)):
                if walk.kind == ROW:
                    y[c, part.first + number] += _dot(values, at, x[c], along, length)
                else:
                    step = 1 if walk.kind == DIAGONAL else 0
                    _add_pieces(y[c, along:], values, at, x[c], columns, step, length)
            at += length


@njit(forceinline=True)
def _read_bytes(encoded, start, run, lo, count, chunk):
    """The corrected one-byte words of a chunk, zero where pruned, into chunk.decoded[run]."""
    care = read_mask(encoded.mask, lo, count, chunk)
    prefetch(encoded, lo + count, count)
    decoded, at = chunk.decoded, run * chunk.decoded.shape[1]
    if len(encoded.groups):
        read_planes(encoded, 0, encoded.affine, lo, count, chunk, run)
    else:
        decoded[run, :count] = encoded.affine.offset
    flat = decoded.reshape(decoded.size)
    clear_pruned(flat, at, chunk.words, count, flat, at)
    flip_wrong(encoded.corrections, start, run, care, count, chunk, flat, at)


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
            total = y[v] + y.dtype.type(b0[v]) * x0[v] + y.dtype.type(b1[v]) * x1[v]
            y[v] = total + y.dtype.type(b2[v]) * x2[v] + y.dtype.type(b3[v]) * x3[v]
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


def product(tensor: CompressedTensor, x: np.ndarray, threads: int | None = None) -> np.ndarray:
    """The product of a tensor of kind "encoded", n > 0, and x (cols, m), m > 0.

    Parameters
    ----------
    tensor : CompressedTensor
        With its mask.
    x : ndarray of int64, float32 or float64, shape (cols, m)
        Its dtype is that of the sums; floats if the weights are.
    threads : int or None
        None takes numba's number of threads. Small matrices take fewer.

    Returns
    -------
    ndarray, shape (rows, m), of the dtype of x
    """
    op = operands(tensor)
    threads = min(threads or get_num_threads(), 1 + op.n // THREAD_SHARE)
    dense = (
        tensor.dtype in ("int8", "uint8")
        and op.walk.kind != GOLDEN
        and op.walk.segment >= SHORTEST_SEGMENT
        and x.shape[1] <= DENSE_COLUMNS
        and len(op.encoded.raw.flips) == 0
        and bool(np.isfinite(x).all())
    )
    places = op.permuted
    make = _dense_jobs if dense else _sparse_jobs
    jobs, results = make(op, tensor.dtype, x, places.columns, threads)
    others = [_pool(threads, os.getpid()).submit(job) for job in jobs[1:]]
    jobs[0]()
    for other in others:
        other.result()
    permuted = results[0]
    for part in results[1:]:
        permuted += part
    out = np.empty((op.walk.rows, x.shape[1]), dtype=x.dtype)
    out[places.rows] = permuted.T if dense else permuted
    return out


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """The threads beside the caller's, kept: starting them would take as long as a small product.

    process: they do not outlive a fork.
    """
    return ThreadPoolExecutor(max(threads - 1, 1))


Jobs = tuple[list[Callable[[], None]], list[np.ndarray]]


def _dense_jobs(op: Operands, dtype: str, x: np.ndarray, columns: np.ndarray, threads: int) -> Jobs:
    """What each thread calls, and where its part of the result (m, rows) comes, permuted."""
    reach = op.walk.cols
    if op.walk.kind == DIAGONAL:  # a piece of a segment may run over the last column
        reach += min(op.walk.segment, CHUNK)
    permuted = np.ascontiguousarray(x[np.resize(columns, reach)].T)
    runs = 1 if op.walk.kind == ROW else SIDE_BY_SIDE
    results = [np.zeros((x.shape[1], op.walk.rows), dtype=x.dtype) for _ in range(threads)]

    def job(number: int) -> None:
        chunk = make_chunk(op.encoded, runs)
        values = chunk.decoded.view(dtype)
        places = np.empty(runs, dtype=np.int64)
        for part in _dense_parts(op, threads, runs)[number]:
            forget(chunk.windows)
            part = part._replace(start=copied(part.start))
            _add_dense(op.encoded, op.walk, part, chunk, values, places, permuted, results[number])

    return [partial(job, number) for number in range(threads)], results


def _dense_parts(op: Operands, threads: int, runs: int) -> list[list[Segments]]:
    """For each thread its calls of `_add_dense`."""
    key = ("dense", threads, runs)
    found: list[list[Segments]] | None = op.starts.get(key)
    if found is not None:
        return found
    bounds = [op.segments * t // threads for t in range(threads + 1)]
    calls: list[list[tuple[int, int, int]]] = []  # first segment, segments of a run, runs
    for first, end in pairwise(bounds):
        calls.append([])
        for side in (runs, runs, 1):
            count = (end - first) // side
            if side > 1 and not calls[-1]:
                count = _spacing(count, op.walk.turn, op.walk.cols)
            if count:
                calls[-1].append((first, count, side))
            first += count * side
    begins = [
        (first + s * count) * op.walk.segment
        for thread in calls
        for first, count, side in thread
        for s in range(side)
    ]
    start = op.start(begins)
    found, at = [], 0
    for thread in calls:
        found.append([])
        for first, count, side in thread:
            behind = slice(at, at + side)
            own = Start(start.ranks[behind], start.cursors[behind])
            found[-1].append(Segments(first, count, own))
            at += side
    op.starts[key] = found
    return found


def _spacing(most: int, step: int, cols: int) -> int:
    """A number of segments, at most `most` and little less, after which columns nearly repeat.

    Runs so far apart read the same part of x, which then stays in the first-level cache.
    """
    counts = np.arange(most - most // 8, most + 1)
    offsets = counts * step % cols
    return int(counts[np.argmin(np.minimum(offsets, cols - offsets))])


def _sparse_jobs(
    op: Operands, dtype: str, x: np.ndarray, columns: np.ndarray, threads: int
) -> Jobs:
    """What each thread calls, and where its part of the result (rows, m) comes, permuted."""
    permuted = np.ascontiguousarray(x[columns])
    results = [np.zeros((op.walk.rows, x.shape[1]), dtype=x.dtype) for _ in range(threads)]

    def job(number: int) -> None:
        share = _sparse_shares(op, threads)[number]
        share = share._replace(start=copied(share.start))
        chunk, care = make_chunk(op.encoded, max(len(op.encoded.groups), 1)), make_care()
        terms = make_terms(dtype, care, x.dtype)
        add_sparse(op.encoded, op.walk, share, chunk, care, terms, permuted, results[number])

    return [partial(job, number) for number in range(threads)], results


def _sparse_shares(op: Operands, threads: int) -> list[Share]:
    """The share of each thread."""
    key = ("sparse", threads)
    found: list[Share] | None = op.starts.get(key)
    if found is None:
        bounds = [op.n * t // threads for t in range(threads)] + [op.n]
        found = [Share(lo, hi, op.start([lo])) for lo, hi in pairwise(bounds)]
        op.starts[key] = found
    return found
