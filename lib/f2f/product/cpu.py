"""Backend "numba": decode and multiply fused, chunk by chunk, in threads.

No weight matrix is formed. Each thread walks its own share of the encoding positions and adds to
its own copy of the result, so the extra memory is O(threads*rows + cols) and a few buffers that
stay in the first-level cache. There are two ways through a chunk:

* *dense*, for one-byte weights and few columns: every decoded byte is masked and multiplied.
  Where a segment of positions advances by one row and one column at a time (order "diagonal" in
  permuted coordinates, "column", and "row" as dot products), this is a plain vector loop. Four
  segments are walked side by side, so that the result is loaded and stored once for four of them.
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
from typing import Any

import numpy as np
from numba import get_num_threads, njit

from f2f.base.intrinsics import aligned_zeros, borrowed
from f2f.decoder.gates import work_bytes
from f2f.format.operands import DIAGONAL, GOLDEN, ROW, Operands, operands
from f2f.format.places import golden_steps
from f2f.format.stages import (
    CHUNK,
    CONTRACT,
    DUE,
    chunk_bytes,
    flip_words,
    mask_bytes,
    mask_scratch,
    read_mask,
    read_planes,
)
from f2f.format.tensor import CompressedTensor
from f2f.product.cpu_sparse import CODES, add_sparse

DENSE_COLUMNS = 3  # more columns of the dense operand than this go the sparse way
SIDE_BY_SIDE = 4  # segments that the dense way walks together
THREAD_SHARE = 1 << 18  # positions that are worth another thread
SHORTEST_SEGMENT = 64  # shorter segments go the sparse way


@njit(nogil=True, cache=True, fastmath=CONTRACT, forceinline=True)
def _add_segments(y, values, at, stride, x, columns, step, count):
    """y[v] += sum over s of values[at + s*stride + v] * x[columns[s] + step*v], v < count."""
    y = y[:count]
    if step == 1 and len(columns) == 4:
        b0 = values[at : at + count]
        b1 = values[at + stride : at + stride + count]
        b2 = values[at + 2 * stride : at + 2 * stride + count]
        b3 = values[at + 3 * stride : at + 3 * stride + count]
        x0 = x[columns[0] : columns[0] + count]
        x1 = x[columns[1] : columns[1] + count]
        x2 = x[columns[2] : columns[2] + count]
        x3 = x[columns[3] : columns[3] + count]
        for v in range(count):
            total = y[v] + y.dtype.type(b0[v]) * x0[v] + y.dtype.type(b1[v]) * x1[v]
            y[v] = total + y.dtype.type(b2[v]) * x2[v] + y.dtype.type(b3[v]) * x3[v]
        return
    for s in range(len(columns)):
        b = values[at + s * stride : at + s * stride + count]
        if step == 1:
            part = x[columns[s] : columns[s] + count]
            for v in range(count):
                y[v] += y.dtype.type(b[v]) * part[v]
        else:
            factor = x[columns[s]]
            for v in range(count):
                y[v] += y.dtype.type(b[v]) * factor


@njit(nogil=True, cache=True, fastmath={"contract", "reassoc"})
def _dot(values, at, x, column, count):
    """Sum over v < count of values[at + v] * x[column + v]."""
    b, part = values[at : at + count], x[column : column + count]
    total = x.dtype.type(0)
    for v in range(count):
        total += x.dtype.type(b[v]) * part[v]
    return total


@njit(nogil=True, cache=True)
def _dense(fixed, mask, lists, flips, affine, walk, share, start, x, y, scratch):
    """Add the product of a share of the segments to y, the dense way.

    fixed: (gates, group). mask: (kind, inverted, bitmap, streams). affine: of `Operands`.
    walk: (kind, segment, cols, column step). share: (first segment, segments), of each of the
    walkers in turn. start: their (care ranks, cursors). x: (m, cols and some more), y: (m, rows),
    permuted. scratch: of `_dense_jobs`.
    """
    gates, group = fixed[0], borrowed(fixed[1])
    mask_kind, inverted, bitmap, streams = mask[0], mask[1], mask[2], borrowed(mask[3])
    lists, flips = borrowed(lists), borrowed(flips)
    ranks, cursors, x, y = borrowed(start[0]), borrowed(start[1]), borrowed(x), borrowed(y)
    buffer, values, words = borrowed(scratch[0]), borrowed(scratch[1]), borrowed(scratch[2])
    before, windows, columns = borrowed(scratch[3]), borrowed(scratch[4]), borrowed(scratch[5])
    due = borrowed(scratch[6])
    kind, segment, cols, column_step = walk
    first, segments = share
    walkers = len(ranks)
    columns = columns[:walkers]
    stride = chunk_bytes(gates.n_out)
    work = buffer[walkers * stride :]
    for begin in range(0, segments * segment, CHUNK):
        count = min(CHUNK, segments * segment - begin)
        for s in range(walkers):
            lo = (first + s * segments) * segment + begin
            cursor, at = cursors[s], s * stride
            care = read_mask(
                mask_kind, inverted, bitmap, streams, lists, cursor, lo, count, words, before
            )
            read_planes(group, gates, affine, work, windows[s], lo, count, buffer, at)
            mask_bytes(buffer, at, words, count)
            flip_words(lists, flips, cursor, words, before, ranks[s], care, due, buffer, at)
            ranks[s] += care
        at = 0
        while at < count:  # the pieces of segments
            number, along = divmod(begin + at, segment)
            length = min(segment - along, count - at)
            for s in range(walkers):
                column = first + s * segments + number
                if kind == DIAGONAL:
                    column = (column * column_step + along) % cols
                columns[s] = column
            for c in range(len(x)):
                if kind == ROW:
                    y[c, first + number] += _dot(values, at, x[c], along, length)
                else:
                    step = 1 if kind == DIAGONAL else 0
                    _add_segments(y[c, along:], values, at, stride, x[c], columns, step, length)
            at += length


def product(tensor: CompressedTensor, x: np.ndarray, threads: int | None = None) -> np.ndarray:
    """The product of a tensor of kind "encoded", n > 0, and x (cols, m), m > 0.

    x: int64, float32 or float64, the dtype of the sums and of the result (rows, m); floats if the
    weights are. threads: None takes numba's number of threads.
    """
    op = operands(tensor)
    threads = min(threads or get_num_threads(), 1 + op.rows * op.cols // THREAD_SHARE)
    dense = (
        tensor.dtype in ("int8", "uint8")
        and op.walk != GOLDEN
        and op.segment >= SHORTEST_SEGMENT
        and x.shape[1] <= DENSE_COLUMNS
        and len(op.groups) == 1
    )
    make = _dense_jobs if dense else _sparse_jobs
    jobs, results = make(op, tensor.dtype, x, threads)
    others = [_pool(threads, os.getpid()).submit(job) for job in jobs[1:]]
    jobs[0]()
    for other in others:
        other.result()
    permuted = results[0]
    for part in results[1:]:
        permuted += part
    out = np.empty((op.rows, x.shape[1]), dtype=x.dtype)
    out[op.row_order] = permuted.T if dense else permuted
    return out


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """The threads beside the caller's, kept: starting them would take as long as a small product.

    process: they do not outlive a fork.
    """
    return ThreadPoolExecutor(max(threads - 1, 1))


Jobs = tuple[list[Callable[[], None]], list[np.ndarray]]


def _dense_jobs(op: Operands, dtype: str, x: np.ndarray, threads: int) -> Jobs:
    permuted = np.ascontiguousarray(x[op.reached_columns].T)
    mask = (op.mask_kind, op.inverted, op.bitmap, op.streams)
    walk = (op.walk, op.segment, op.cols, op.column_step)
    fixed = (op.gates, op.groups[0])
    flips = op.flips.astype(np.uint8)
    stride = chunk_bytes(op.gates.n_out)
    side = 1 if op.walk == ROW else SIDE_BY_SIDE
    results = [np.zeros((x.shape[1], op.rows), dtype=x.dtype) for _ in range(threads)]

    def job(number: int) -> None:
        buffer = aligned_zeros(side * stride + work_bytes(op.gates.n_s))
        windows = np.full((side, 2), -1, dtype=np.int64)
        columns = np.empty(side, dtype=np.int64)
        due = np.empty(DUE, dtype=np.int64)
        scratch = (buffer, buffer.view(dtype), *mask_scratch(), windows, columns, due)
        for first, segments, ranks, cursors in _segment_shares(op, threads, side)[number]:
            _dense(
                fixed, mask, op.lists, flips, op.affine, walk, (first, segments),
                (ranks.copy(), cursors.copy()), permuted, results[number], scratch,
            )  # fmt: skip
            windows[:] = -1

    return [partial(job, number) for number in range(threads)], results


def _segment_shares(op: Operands, threads: int, side: int) -> list[list[Any]]:
    """For each thread its calls of `_dense`: first segment, segments, care ranks, cursors."""
    key = (threads, side)
    if key not in op.shares:
        bounds = [op.segments * t // threads for t in range(threads + 1)]
        calls: list[list[tuple[int, int, int]]] = []
        for first, end in pairwise(bounds):
            calls.append([])
            for walkers in (side, side, 1):
                each = (end - first) // walkers
                if walkers > 1 and not calls[-1]:
                    each = _spacing(each, op.column_step, op.cols)
                calls[-1].append((first, each, walkers))
                first += each * walkers
        starts = [
            (first + s * each) * op.segment
            for thread in calls
            for first, each, walkers in thread
            for s in range(walkers)
        ]
        ranks, cursors = op.start(np.array(starts, dtype=np.int64))
        op.shares[key] = []
        at = 0
        for thread in calls:
            ready = []
            for first, each, walkers in thread:
                ready.append((first, each, ranks[at : at + walkers], cursors[at : at + walkers]))
                at += walkers
            op.shares[key].append(ready)
    return op.shares[key]


def _spacing(most: int, step: int, cols: int) -> int:
    """A number of segments, at most `most` and little less, after which columns nearly repeat.

    Walkers so far apart read the same part of x, which then stays in the first-level cache.
    """
    counts = np.arange(most - most // 8, most + 1)
    offsets = counts * step % cols
    return int(counts[np.argmin(np.minimum(offsets, cols - offsets))])


def _sparse_jobs(op: Operands, dtype: str, x: np.ndarray, threads: int) -> Jobs:
    n = op.rows * op.cols
    bounds = [n * t // threads for t in range(threads)] + [n]
    key = (threads, 0)
    if key not in op.shares:
        op.shares[key] = [op.start(np.array(bounds[:-1], dtype=np.int64))]
    ranks, cursors = op.shares[key][0]
    permuted = np.ascontiguousarray(x[op.column_order])
    mask = (op.mask_kind, op.inverted, op.bitmap, op.streams)
    fixed = (op.gates, CODES[dtype])
    stride = chunk_bytes(op.gates.n_out)
    results = [np.zeros((op.rows, x.shape[1]), dtype=x.dtype) for _ in range(threads)]

    def job(number: int) -> None:
        buffer = aligned_zeros(len(op.groups) * stride + work_bytes(op.gates.n_s))
        bits = np.empty(CHUNK, dtype=np.uint32)
        scratch = (
            buffer,
            np.empty(CHUNK, dtype=x.dtype),  # weights
            *mask_scratch(),
            np.full((len(op.groups), 2), -1, dtype=np.int64),  # windows
            np.empty(CHUNK, dtype=np.int64),  # positions
            np.empty((2, CHUNK), dtype=np.int64),  # places
            bits,
            bits.view(np.float32),
            golden_steps(op),
        )
        lo, hi = bounds[number], bounds[number + 1]
        step = op.stride if op.walk == GOLDEN else op.column_step
        walk = (op.walk, op.segment, op.cols, step, lo * op.stride % n)
        add_sparse(
            fixed, op.groups, op.tables, np.uint32(op.offset), (op.raw, op.raw_bits), mask,
            op.lists, op.flips, walk, (lo, hi), (ranks[number], cursors[number].copy()),
            permuted, results[number], scratch,
        )  # fmt: skip

    return [partial(job, number) for number in range(threads)], results
