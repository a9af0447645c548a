"""Backend "numba": decode and multiply fused, chunk by chunk, in threads.

No weight matrix is formed. Each thread walks its own share of the encoding positions and adds to
its own copy of the result, so the extra memory is O(threads*rows + cols) and a few buffers that
stay in the first-level cache. There are two ways through a chunk:

* *dense* (`f2f.product.cpu_dense`), for one-byte weights and few columns, all finite: every decoded
  byte is multiplied. Kept with the tensor are 5 bytes for each wrong bit.
* *sparse* (`f2f.product.cpu_sparse`), for everything else: the care positions of the chunk are
  listed, their bytes looked up in tables (one for each group of planes) and every product added
  where it belongs.

Floats are summed in the precision of the vector, in an order that depends on the thread count:
``|error| <= (cols + threads) * eps * sum_j |w_ij x_j|``. Integers are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numba import get_num_threads

from f2f.base.threads import kept_pool
from f2f.format.operands import Operands, operands
from f2f.format.orders import DIAGONAL, GOLDEN, ROW
from f2f.format.stages import CHUNK, care_before, cursors_at, make_care, make_chunk
from f2f.format.tensor import CompressedTensor
from f2f.product.cpu_dense import SIDE_BY_SIDE, add_dense, find_wrong_bytes, make_runs
from f2f.product.cpu_sparse import Share, add_sparse, make_terms

DENSE_COLUMNS = 3  # more columns of the dense operand than this go the sparse way
# Positions that are worth a thread, which takes a tenth of a millisecond to wake up and to join.
DENSE_SHARE, SPARSE_SHARE = 1 << 21, 1 << 19
SHORTEST_SEGMENT = 64  # shorter segments go the sparse way


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
    dense = (
        tensor.dtype in ("int8", "uint8")
        and op.walk.kind != GOLDEN
        and op.walk.segment >= SHORTEST_SEGMENT
        and x.shape[1] <= DENSE_COLUMNS
        and bool(np.isfinite(x).all())
    )
    make, share = (_dense_jobs, DENSE_SHARE) if dense else (_sparse_jobs, SPARSE_SHARE)
    threads = min(threads or get_num_threads(), max(op.n // share, 1))
    others, results = [], []
    for job, result in make(tensor, op, x, threads):
        results.append(result)
        if len(results) < threads:  # it wakes up while the next job is made ready
            others.append(kept_pool(threads).submit(job))
    job()
    for other in others:
        other.result()
    permuted, *rest = results
    for part in rest:
        permuted += part
    out = np.empty((op.walk.rows, x.shape[1]), dtype=x.dtype)
    out[op.permuted.rows] = permuted.T if dense else permuted
    return out


Jobs = Iterator[tuple[Callable[[], None], np.ndarray]]  # what a thread calls, and its result
Kept = TypeVar("Kept")


def _kept(op: Operands, key: tuple[str, int], make: Callable[[], Kept]) -> Kept:
    """What products of a tensor made before, or make now and keep."""
    found: Kept | None = op.products.get(key)
    if found is None:
        found = op.products[key] = make()
    return found


def _dense_jobs(tensor: CompressedTensor, op: Operands, x: np.ndarray, threads: int) -> Jobs:
    """The dense way; results are (m, rows), permuted."""
    reach = op.walk.cols
    if op.walk.kind == DIAGONAL:  # a piece of a segment may run over the last column
        reach += min(op.walk.segment, CHUNK)
    once = x.T[:, op.permuted.columns]
    permuted = np.ascontiguousarray(np.tile(once, -(-reach // op.walk.cols)))
    runs = 1 if op.walk.kind == ROW else SIDE_BY_SIDE
    wrong = _kept(op, ("wrong", 1), lambda: find_wrong_bytes(op))
    parts = _kept(op, ("parts", threads), lambda: _dense_parts(op, threads, runs))
    for part in parts:
        chunk = make_chunk(op.encoded, runs)
        own, y = make_runs(chunk, tensor.dtype), np.zeros((x.shape[1], op.walk.rows), x.dtype)
        yield partial(add_dense, op.encoded, op.walk, wrong, part, chunk, own, permuted, y), y


def _dense_parts(op: Operands, threads: int, runs: int) -> list[np.ndarray]:
    """For each thread the parts of `add_dense`."""
    bounds = [op.segments * t // threads for t in range(threads + 1)]
    found = []
    for first, end in pairwise(bounds):
        parts: list[tuple[int, int, int]] = []  # first segment, segments of a run, runs
        for side in (runs, runs, 1):
            count = (end - first) // side
            if side > 1 and not parts:
                count = _spacing(count, op.walk.turn, op.walk.cols)
            if count:
                parts.append((first, count, side))
            first += count * side
        found.append(np.array(parts, dtype=np.int64).reshape(-1, 3))
    return found


def _spacing(most: int, step: int, cols: int) -> int:
    """A number of segments, at most `most` and little less, after which columns nearly repeat.

    Runs so far apart read the same part of x, which then stays in the first-level cache.
    """
    counts = np.arange(most - most // 8, most + 1)
    offsets = counts * step % cols
    return int(counts[np.argmin(np.minimum(offsets, cols - offsets))])


def _sparse_jobs(tensor: CompressedTensor, op: Operands, x: np.ndarray, threads: int) -> Jobs:
    """The sparse way; results are (rows, m), permuted."""
    permuted = np.ascontiguousarray(x[op.permuted.columns])
    for share in _kept(op, ("shares", threads), lambda: _sparse_shares(op, threads)):
        own = share._replace(cursors=share.cursors.copy())
        chunk, care = make_chunk(op.encoded, max(len(op.encoded.groups), 1)), make_care()
        terms = make_terms(tensor.dtype, care, x.dtype)
        y = np.zeros((op.walk.rows, x.shape[1]), x.dtype)
        yield partial(add_sparse, op.encoded, op.walk, own, chunk, care, terms, permuted, y), y


def _sparse_shares(op: Operands, threads: int) -> list[Share]:
    """The share of each thread."""
    bounds = [op.n * t // threads for t in range(threads)] + [op.n]
    encoded, shares = op.encoded, []
    for lo, hi in pairwise(bounds):
        rank = care_before(encoded.mask, encoded.ranks, lo)
        shares.append(Share(lo, hi, rank, cursors_at(encoded.corrections, rank)))
    return shares
