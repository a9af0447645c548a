"""The exact encoder (Algorithm 3 of the paper): the inputs that leave the fewest wrong care bits.

The decoder is a finite-state machine whose state before block t is the last n_s input vectors.
A dynamic programme (Viterbi) over its 2**(n_in*n_s) states keeps for every state the fewest
unmatched care bits of any input sequence that leads there; the first n_s vectors are free, so all
states start at cost 0. `encode_reference` is that in plain NumPy. `encode_viterbi` finds the same
optimum with the min-plus steps of `f2f.encoder.minplus`.

Memory of `encode_viterbi`. No back pointers are kept: the predecessor of a state follows from the
cost table before the step by looking at its 2**n_in candidates, so the tables themselves, one byte
a state and block, are enough to trace the best path back. If all fit into `TABLE_MEMORY` (256 MiB:
4093 blocks at n_in*n_s = 16) they are kept. Otherwise every K-th is kept, and those between two of
them are computed again when the trace gets there: twice the time, and K + l/K tables, with K the
larger of sqrt(l) and what fits into half of `TABLE_MEMORY`. A plane of 4 million bits at
n_out = 80, n_s = 2 (50000 blocks) takes some 0.15 GB where back pointers would take 3.3 GB.

Ties are broken towards the smallest oldest vector, and towards the smallest final state with the
newest vector in its low bits, so the result is deterministic. `encode_reference` may pick another
of several optima.

Paper symbols: N_in = `n_in`, N_out = `n_out`, N_s = `n_s`, x_t = ``inputs[t + n_s]``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import types
from numba.extending import overload

from f2f.base import validate
from f2f.base.intrinsics import borrowed, popcount
from f2f.base.jit import njit
from f2f.decoder import Decoder
from f2f.encoder import minplus

MAX_STATE_BITS = 16
MAX_REFERENCE_WINDOW = 16
TABLE_MEMORY = 1 << 28  # bytes of cost tables kept at a time
# _PARITY[x, y] = parity(x & y) of two bytes
_PARITY = (np.bitwise_count(np.arange(256)[:, None] & np.arange(256)) & 1).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Trellis:
    """All that Algorithm 3 computes for a plane of l blocks.

    A state is the last n_s vectors, a window those and the new one, both with the oldest vector in
    the low bits: window W leads from state W mod 2**(n_in*n_s) to state W >> n_in.

    Attributes
    ----------
    unmatched : ndarray of int64, (l, 2**window)
        Wrong care bits of block t if its window is W.
    cost : ndarray of int64, (l+1, states)
        Fewest unmatched care bits of any way into a state before block t.
    oldest : ndarray of int64, (l, states)
        The back pointer: x_{t-n_s} on the best way into a state after block t.
    """

    unmatched: np.ndarray
    cost: np.ndarray
    oldest: np.ndarray

    def trace(self, n_in: int, n_s: int) -> np.ndarray:
        """The inputs on the best way into the cheapest last state, uint8 (l + n_s,)."""
        state = int(self.cost[-1].argmin())
        vectors = [state >> n_in * j & ((1 << n_in) - 1) for j in range(n_s)]
        for oldest in self.oldest[::-1]:
            vectors.insert(0, int(oldest[state]))
            state = (state << n_in | vectors[0]) & ((1 << n_in * n_s) - 1)
        return np.array(vectors, dtype=np.uint8)


class Plane(NamedTuple):
    """What is to be encoded, and the decoder that it is encoded for.

    Attributes
    ----------
    target, care_mask : ndarray of uint8, (n,)
        0/1.
    rows : ndarray of uint64, (n_out,)
        `Decoder.rows`.
    columns : ndarray of int64, (n_out, window)
        The matrix, its columns in the order of a, m, c of `f2f.encoder.minplus`.
    n_in, n_out, n_s : int
    """

    target: np.ndarray
    care_mask: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    n_in: int
    n_out: int
    n_s: int


def reference_trellis(target: np.ndarray, care_mask: np.ndarray, decoder: Decoder) -> Trellis:
    """The forward pass of Algorithm 3; arguments and errors as of `encode_reference`."""
    target, care_mask = _check_plane(target, care_mask)
    if decoder.window > MAX_REFERENCE_WINDOW:
        raise ValueError(
            "decoder must have a window (n_s+1)*n_in of at most "
            f"{MAX_REFERENCE_WINDOW} bits for the reference, got {decoder.window}"
        )
    blocks, states = decoder.n_blocks(len(target)), 1 << decoder.n_in * decoder.n_s
    windows = np.arange(1 << decoder.window)
    outputs = np.bitwise_count(windows.astype(np.uint64)[:, None] & decoder.rows) & 1
    unmatched = np.empty((blocks, len(windows)), dtype=np.int64)
    cost = np.zeros((blocks + 1, states), dtype=np.int64)
    oldest = np.empty((blocks, states), dtype=np.int64)
    for t in range(blocks):
        block = slice(t * decoder.n_out, (t + 1) * decoder.n_out)
        wanted, cared = target[block], care_mask[block] == 1
        unmatched[t] = ((outputs[:, : len(wanted)] != wanted) & cared).sum(1)
        through = cost[t, windows % states] + unmatched[t]
        # Row s: the 2**n_in windows that lead into state s, by their oldest vector.
        into = through.reshape(states, 1 << decoder.n_in)
        oldest[t], cost[t + 1] = into.argmin(1), into.min(1)
    return Trellis(unmatched, cost, oldest)


def encode_reference(target: np.ndarray, care_mask: np.ndarray, decoder: Decoder) -> np.ndarray:
    """Algorithm 3 as written, for any n_s and windows of at most 16 bits.

    Takes O(l · 2^(n_in(n_s+1)) · n_out) time.

    Parameters
    ----------
    target : ndarray of 0/1, (n,)
        The wanted bits; they matter only where care_mask is 1.
    care_mask : ndarray of 0/1 or bool, (n,)
    decoder : Decoder

    Returns
    -------
    ndarray of uint8, (l + n_s,)
        The inputs, oldest first; none if n = 0.

    Raises
    ------
    ValueError
        For other values, unequal lengths or a wider window.

    Examples
    --------
    >>> decoder = Decoder(n_in=2, n_out=5, n_s=1, seed=1)
    >>> target, care_mask = np.array([1, 0, 0, 1, 1, 0]), np.array([1, 0, 1, 0, 0, 1])
    >>> inputs = encode_reference(target, care_mask, decoder)
    >>> len(inputs), bool((decoder.decode(inputs, 6) == target)[care_mask == 1].all())
    (3, True)
    """
    trellis = reference_trellis(target, care_mask, decoder)
    if not len(trellis.oldest):
        return np.zeros(0, dtype=np.uint8)
    return trellis.trace(decoder.n_in, decoder.n_s)


def encode_viterbi(target: np.ndarray, care_mask: np.ndarray, decoder: Decoder) -> np.ndarray:
    """The exact optimum for any decoder with n_in*n_s <= 16.

    Arguments and result are as of `encode_reference`, algorithm and memory as in the module.

    Raises
    ------
    ValueError
        For other values, unequal lengths or n_in*n_s > 16.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> target, care_mask = rng.integers(0, 2, 400), rng.random(400) < 0.1
    >>> decoder = Decoder(n_in=8, n_out=80, n_s=1)
    >>> inputs = encode_viterbi(target, care_mask, decoder)
    >>> wrong = (decoder.decode(inputs, 400) != target) & care_mask
    >>> len(inputs), int(wrong.sum())
    (6, 0)
    """
    target, care_mask = _check_plane(target, care_mask)
    n, n_in, n_s = len(target), decoder.n_in, decoder.n_s
    if n_in * n_s > MAX_STATE_BITS:
        raise ValueError(
            f"decoder must have n_in*n_s <= {MAX_STATE_BITS} for method viterbi, "
            f"got n_in={n_in}, n_s={n_s}"
        )
    inputs = np.zeros(decoder.n_vectors(n), dtype=np.uint8)
    if n == 0:
        return inputs
    plane = Plane(target, care_mask, decoder.rows, _columns(decoder), n_in, decoder.n_out, n_s)
    blocks, states = decoder.n_blocks(n), 1 << n_in * n_s
    dtype = _cost_dtype(care_mask, decoder)
    length = states + minplus.PAD
    table_bytes = length * dtype.itemsize
    if (blocks + 1) * table_bytes <= TABLE_MEMORY:
        segment = blocks
    else:
        segment = max(int(np.ceil(np.sqrt(blocks))), TABLE_MEMORY // 2 // table_bytes)
    tables = np.zeros((segment + 1, length), dtype=dtype)
    starts = range(0, blocks, segment)
    kept = np.zeros((len(starts), length), dtype=dtype)
    # Forwards through all segments, then backwards, each but the last computed once more.
    for i, first in enumerate(starts):
        tables[0] = kept[i]
        count = min(segment, blocks - first)
        if n_s:
            _forward(plane, first, count, tables)
        if i + 1 < len(starts):
            kept[i + 1] = tables[count]
    state = int(tables[count, :states].argmin())
    for j in range(n_s):
        inputs[blocks + j] = state >> n_in * (n_s - 1 - j) & ((1 << n_in) - 1)
    for i, first in reversed(list(enumerate(starts))):
        count = min(segment, blocks - first)
        if n_s and i + 1 < len(starts):
            tables[0] = kept[i]
            _forward(plane, first, count, tables)
        _trace(plane, first, count, tables, inputs)
    return inputs


def _check_plane(target: np.ndarray, care_mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as contiguous uint8."""
    target = validate.bits("target", target)
    return target, validate.bits("care_mask", care_mask, len(target))


def _cost_dtype(care_mask: np.ndarray, decoder: Decoder) -> np.dtype:
    """The narrowest type of cost tables that cannot overflow.

    Costs stay below the care bits of n_s + 1 blocks in a row (see `f2f.encoder.minplus`).
    """
    starts = np.arange(0, len(care_mask), decoder.n_out)
    per_block = np.add.reduceat(care_mask, starts, dtype=np.int64)
    together = decoder.n_s + 1
    total = np.concatenate([np.zeros(together, dtype=np.int64), np.cumsum(per_block)])
    highest = int((total[together:] - total[:-together]).max())
    return np.dtype(np.uint8 if highest <= 255 else np.uint32)


def _columns(decoder: Decoder) -> np.ndarray:
    """The matrix, int64 (n_out, window), columns in the order of a, m, c of `f2f.encoder.minplus`.

    The state a·M + m has its oldest vector in the high bits, so column n_in + i of a mid vector
    x_{t-1} comes first and the fresh x_t last.
    """
    matrix, n_in, n_s = decoder.matrix, decoder.n_in, decoder.n_s
    by_age = matrix.reshape(decoder.n_out, n_s + 1, n_in)
    order = [n_s, *range(1, n_s), 0] if n_s else [0]
    return np.ascontiguousarray(by_age[:, order].reshape(decoder.n_out, -1), dtype=np.int64)


@njit
def _care_rows(plane, t, found):
    """Number of care rows of block t; they go into found, int64 (n_out,)."""
    start = t * plane.n_out
    care_mask = plane.care_mask
    k = 0
    for r in range(min(plane.n_out, len(care_mask) - start)):
        if care_mask[start + r]:
            found[k] = r
            k += 1
    return k


@njit
def _terms(plane, t, found):
    """`minplus.Terms` of k-bit numbers: care row found[q] of block t is bit q."""
    size, width = 1 << plane.n_in, 1 << plane.n_in * (plane.n_s - 1)
    old, fresh = np.empty(size, dtype=np.int64), np.empty(size, dtype=np.int64)
    mid = np.empty(width, dtype=np.int64)
    _span_rows(plane, t, found, old, mid, fresh)
    return minplus.Terms(old, mid, fresh)


@njit
def _byte_terms(plane, t, found):
    """`minplus.Terms` of bytes: care row found[q] of block t is bit q mod 8 of group q // 8."""
    size, width = 1 << plane.n_in, 1 << plane.n_in * (plane.n_s - 1)
    groups = (len(found) + 7) >> 3
    old = np.empty((groups, size), dtype=np.uint8)
    fresh = np.empty((groups, size), dtype=np.uint8)
    mid = np.empty((groups, width), dtype=np.uint8)
    for g in range(groups):
        _span_rows(plane, t, found[8 * g : 8 * g + 8], old[g], mid[g], fresh[g])
    return minplus.Terms(old, mid, fresh)


@njit
def _span_rows(plane, t, found, old, mid, fresh):
    """The terms of care rows of block t, row found[q] as bit q, in the dtype of the arrays."""
    n_in, columns = plane.n_in, plane.columns
    stay = n_in * (plane.n_s - 1)
    words = np.zeros(columns.shape[1] + 1, dtype=old.dtype)  # of the columns, and the target
    for q in range(len(found)):
        for w in range(columns.shape[1]):
            words[w] |= columns[found[q], w] << q
        words[-1] |= np.int64(plane.target[t * plane.n_out + found[q]]) << q
    minplus.span(words[:n_in], words[-1] & 0, old)
    minplus.span(words[n_in : n_in + stay], words[-1], mid)
    minplus.span(words[n_in + stay : -1], words[-1] & 0, fresh)


def _step(plane, t, found, cost, new, scratch):
    """One step of the programme from table cost to table new, by the cheaper of two ways.

    found: int64 (k,), the care rows of block t.
    """


@overload(_step)
def _step_by_dtype(plane, t, found, cost, new, scratch):
    if cost.dtype == types.uint8:

        def narrow(plane, t, found, cost, new, scratch):
            if minplus.convolution_pays(len(found), plane.n_in, plane.n_s):
                terms = _terms(plane, t, found)
                minplus.convolve_step(cost, new, terms, len(found), scratch)
            else:
                minplus.direct_step(cost, new, _byte_terms(plane, t, found))

        return narrow

    def wide(plane, t, found, cost, new, scratch):
        minplus.direct_step_wide(cost, new, _byte_terms(plane, t, found))

    return wide


@njit
def _forward(plane, first, count, tables):
    """tables[i + 1] from tables[i] for blocks first…first+count-1, least cost subtracted."""
    plane = borrowed(plane)
    states = 1 << plane.n_in * plane.n_s
    found = np.empty(plane.n_out, dtype=np.int64)
    scratch = minplus.new_scratch(states)
    for i in range(count):
        k = _care_rows(plane, first + i, found)
        new = tables[i + 1]
        _step(plane, first + i, found[:k], tables[i], new, scratch)
        least = new[0]
        for s in range(states):
            least = min(least, new[s])
        if least:
            for s in range(states):
                new[s] -= least


@njit
def _trace(plane, first, count, tables, inputs):
    """Fill inputs[first…first+count-1], given the n_s vectors after them and the cost tables."""
    plane = borrowed(plane)
    n_in, n_s = plane.n_in, plane.n_s
    size = 1 << n_in
    found = np.empty(plane.n_out, dtype=np.int64)
    through = np.empty(size, dtype=np.int64)
    for i in range(count - 1, -1, -1):
        t = first + i
        m = np.int64(0)  # x_{t-n_s+1} ⌢ … ⌢ x_{t-1}, newest lowest
        later = np.uint64(0)  # the window but for its oldest vector
        for j in range(1, n_s + 1):
            later |= np.uint64(inputs[t + j]) << np.uint64(n_in * j)
            if j < n_s:
                m = m << n_in | inputs[t + j]
        for a in range(size):
            through[a] = tables[i, (a << n_in * (n_s - 1)) + m] if n_s else 0
        for q in range(_care_rows(plane, t, found)):
            row = plane.rows[found[q]]
            wanted = np.uint8(popcount(row & later) & np.uint64(1))
            wanted ^= plane.target[t * plane.n_out + found[q]]
            wrong = _PARITY[np.int64(row) & (size - 1)]
            for a in range(size):
                through[a] += wrong[a] ^ wanted
        inputs[t] = np.argmin(through)
