"""One step of the exact encoder: the min-plus product at the heart of Algorithm 3.

With a = x_{t-n_s} the input vector that leaves the window, m = x_{t-n_s+1} ⌢ … ⌢ x_{t-1} those that
stay and c = x_t the new one, a step of the dynamic programme is

    new[m, c] = min_a  cost[a, m] + popcount(A_old·a ⊕ A_mid·m ⊕ A_new·c ⊕ target)

where A_old, A_mid, A_new are the columns of M for a, m, c restricted to the k care rows of the
block. Tables lie flat as uint8 with the last index contiguous: ``cost[a*M + m]``, ``new[m*A + c]``
with A = 2**n_in and M = 2**(n_in*(n_s-1)) (M = 1 for n_s = 1).

`convolve_step` (few care rows) sees a min-plus convolution over GF(2)^k for every m. It scatters
``F[A_old·a ⊕ A_mid·m ⊕ target] = cost[a, m]`` (least of equals), then k butterflies
``F[v] = min(F[v], F[v ⊕ e_i] + 1)`` make F[v] the least cost of reaching v with any bits wrong, and
``new[m, c] = F[A_new·c]``. Thirty-two values of m lie side by side in a vector, so a chunk of F is
2**k vectors. The index differs from lane to lane: whole vectors are scattered to the index of the
first lane, then five passes exchange lanes between F[v] and F[v ⊕ A_mid·2**i]. When A_old has a
kernel, the minimum over its cosets first leaves 2**rank vectors. In all some (k + 6)·2**k
vector operations for the 32·A·A transitions of a chunk.

`direct_step` (many care rows) visits all A·M·A transitions, 32 values of c in a vector, with the
popcount split into groups of eight care rows: table T_g[y][c] = popcount(y ⊕ A_new,g·c).

Costs need only uint8: any state follows from the best one within n_s steps, so after the least
cost has been subtracted no cost exceeds the care bits of the last n_s blocks. Planes where those
and the block's own could pass 255 take `direct_step_wide`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from f2f.base.intrinsics import borrowed
from f2f.base.jit import njit
from f2f.encoder.lanes import (
    LANES,
    GroupSums,
    butterflies_1,
    butterflies_2,
    butterflies_3,
    copy,
    exchange_0,
    exchange_1,
    exchange_2,
    exchange_3,
    exchange_4,
    least_sums_1,
    least_sums_8,
    minimum,
    transpose_16,
)

MAX_CONVOLVE = 12  # most care rows of `convolve_step`: F is 2**12 vectors, 128 KiB
PAD = 32  # bytes behind a table that vector stores may overwrite


class Terms(NamedTuple):
    """What the vectors of a window add to the care bits of a block, one bit a care row.

    For `convolve_step` k-bit numbers, int64 (A,), (M,), (A,); for the direct steps bytes of eight
    care rows, uint8 (groups, A), (groups, M), (groups, A).

    Attributes
    ----------
    old : ndarray
        A_old·a for every vector a that leaves the window.
    mid : ndarray
        A_mid·m ⊕ target for all m of those that stay.
    fresh : ndarray
        A_new·c for every new vector c.
    """

    old: np.ndarray
    mid: np.ndarray
    fresh: np.ndarray


class Scratch(NamedTuple):
    """Room for the tables of `convolve_step`; what they hold does not outlast a step.

    Attributes
    ----------
    minima : ndarray of uint8, (A*M,)
        Minima of the costs over the cosets of the kernel of A_old.
    table : ndarray of uint8, (LANES << MAX_CONVOLVE,)
        F of the module's text: 2**k vectors of LANES values of m.
    """

    minima: np.ndarray
    table: np.ndarray


@njit
def new_scratch(states):
    """Room for steps over `states` = A*M states."""
    return Scratch(
        np.empty(states, dtype=np.uint8), np.empty(LANES << MAX_CONVOLVE, dtype=np.uint8)
    )


@njit
def span(columns, offset, out):
    """out[x] = offset ⊕ XOR of columns[i] over the set bits i of x, x < 2**len(columns)."""
    out[0] = offset
    for i in range(len(columns)):
        half = 1 << i
        for x in range(half):
            out[half + x] = out[x] ^ columns[i]


@njit
def convolution_pays(k, n_in, n_s):
    """True if `convolve_step` is possible and needs fewer vector operations than `direct_step`."""
    size, width = 1 << n_in, 1 << n_in * (n_s - 1)
    chunks = (width + LANES - 1) // LANES
    vectors, groups = (size + LANES - 1) // LANES, (k + 7) >> 3
    direct = size * width * vectors * (groups + 1) + 768 * groups * vectors
    return k <= MAX_CONVOLVE and ((k + 6) << k) * chunks < direct


@njit
def kernel_minimum(cost, width, old, minima):
    """Minimum of the costs over the cosets of the kernel of A_old, in the row of one a of each.

    old: `Terms.old`; width: M; cost and minima: uint8 (A*M,), where the other rows of minima are
    undefined. Returns the bits of a that are zero in every such row, and the rank of A_old. If
    there are no such bits, the kernel is trivial and `minima` is untouched.
    """
    n_in = 0
    while 1 << n_in < len(old):
        n_in += 1
    pivots = np.zeros(n_in, dtype=np.int64)
    combinations = np.zeros(n_in, dtype=np.int64)
    rank = 0
    free = 0
    for i in range(n_in):
        value, combination = old[1 << i], np.int64(1) << i
        for p in range(rank):
            # pivots fall, so this tests their leading bits
            if value ^ pivots[p] < value:
                value ^= pivots[p]
                combination ^= combinations[p]
        if value:
            p = rank
            while p > 0 and pivots[p - 1] < value:
                pivots[p] = pivots[p - 1]
                combinations[p] = combinations[p - 1]
                p -= 1
            pivots[p] = value
            combinations[p] = combination
            rank += 1
            continue
        # `combination` is in the kernel; bit i is the only bit of it that is not a pivot's.
        source = minima if free else cost
        free |= 1 << i
        for a in range(1 << n_in):
            if a & free == 0:
                p, q = a * width, (a ^ combination) * width
                if width < LANES:
                    for m in range(width):
                        minima[p + m] = min(source[p + m], source[q + m])
                else:
                    for m in range(0, width, LANES):
                        minimum(source, p + m, source, q + m, minima, p + m)
    return free, rank


@njit
def _shift_lanes(table, vectors, bit, delta):
    """table[v] = table[v ⊕ delta] in the lanes whose number has `bit` set."""
    top = 1
    while top <= delta >> 1:
        top <<= 1
    for block in range(0, vectors, 2 * top):
        for v in range(block, block + top):
            p, q = v * LANES, (v ^ delta) * LANES
            if bit == 0:
                exchange_0(table, p, q)
            elif bit == 1:
                exchange_1(table, p, q)
            elif bit == 2:
                exchange_2(table, p, q)
            elif bit == 3:
                exchange_3(table, p, q)
            else:
                exchange_4(table, p, q)


@njit
def _spread_errors(table, k):
    """table[v] = min over u of table[u] + popcount(u ⊕ v), for 2**k vectors: k butterflies."""
    stride, done = LANES, 0
    while done < k:
        dims = min(k - done, 3)
        for block in range(0, LANES << k, stride << dims):
            for at in range(block, block + stride, LANES):
                if dims == 3:
                    butterflies_3(table, at, stride)
                elif dims == 2:
                    butterflies_2(table, at, stride)
                else:
                    butterflies_1(table, at, stride)
        stride <<= dims
        done += dims


@njit
def _scatter(source, free, terms, first, table):
    """Costs of `LANES` values of m, from `first` on, to where those of the first belong in F.

    a that have a bit of `free` set are skipped: they represent no coset.
    """
    width = len(terms.mid)
    n_lanes = min(LANES, width)
    for a in range(len(terms.old)):
        if a & free == 0:
            start, at = a * width + first, (terms.old[a] ^ terms.mid[first]) * LANES
            if n_lanes == LANES:
                copy(source, start, table, at)
            else:
                for j in range(n_lanes):
                    table[at + j] = source[start + j]


@njit
def _collect(table, terms, offsets, first, new):
    """Costs of the new states (m, c) of `LANES` values of m, from `first` on, out of F.

    offsets: int64 (A,), where the vector of F for every c lies.
    """
    size = len(offsets)
    n_lanes = min(LANES, len(terms.mid))
    if size >= 16 and n_lanes == LANES:
        for j in range(0, LANES, 16):
            for c in range(0, size, 16):
                transpose_16(table, offsets, c, j, new, (first + j) * size + c, size)
    else:
        for j in range(n_lanes):
            for c in range(size):
                new[(first + j) * size + c] = table[offsets[c] + j]


@njit
def convolve_step(cost, new, terms, k, scratch):
    """A step by min-plus convolution, for k <= MAX_CONVOLVE care rows.

    cost, new: the tables before and after, uint8 (A*M,) or longer; terms: of k-bit numbers.
    """
    terms, scratch = borrowed(terms), borrowed(scratch)
    width = len(terms.mid)
    table = scratch.table
    free, rank = kernel_minimum(cost, width, terms.old, scratch.minima)
    source = scratch.minima if free else cost
    offsets = terms.fresh * LANES
    for first in range(0, width, LANES):
        if rank < k:
            table[: LANES << k] = np.uint8(255)
        _scatter(source, free, terms, first, table)
        # Lane j belongs at A_old·a ⊕ A_mid·(first + j): so far only A_mid·first is in the index.
        for bit in range(5):
            if 1 << bit < min(LANES, width):
                delta = terms.mid[1 << bit] ^ terms.mid[0]
                if delta:
                    _shift_lanes(table, 1 << k, bit, delta)
        _spread_errors(table, k)
        _collect(table, terms, offsets, first, new)


@njit
def popcount_rows(fresh, row, tables):
    """Popcounts of y ⊕ A_new·c for every byte y: tables[((g << 8) + y)*row + c], c < A <= row.

    fresh: `Terms.fresh` of bytes; tables: of an unsigned type, (groups*256*row,). What lies beyond
    c = A - 1 is undefined.
    """
    groups, size = fresh.shape
    change = np.empty(size, dtype=tables.dtype)
    for g in range(groups):
        base = (g << 8) * row
        for c in range(size):
            weight, y = 0, fresh[g, c]
            while y:
                weight += 1
                y &= y - np.uint8(1)
            tables[base + c] = weight
        for bit in range(8):
            # Flipping bit `bit` of y takes one off where A_new·c has it, else adds one (mod 2**w).
            for c in range(size):
                change[c] = 1 - 2 * ((fresh[g, c] >> bit) & 1)
            for y in range(1 << bit):
                x = tables[base + y * row : base + y * row + size]
                z = tables[base + (y + (1 << bit)) * row : base + (y + (1 << bit)) * row + size]
                for c in range(size):
                    z[c] = x[c] + change[c]


@njit
def direct_step(cost, new, terms):
    """A step by visiting every transition, for any number of care rows.

    cost, new: the tables before and after, uint8 (A*M,) or longer, new by PAD; terms: of bytes.
    """
    groups, size = terms.old.shape
    width = terms.mid.shape[1]
    row = max(size, LANES)
    tables = np.empty(groups * 256 * row, dtype=np.uint8)
    popcount_rows(terms.fresh, row, tables)
    offsets = np.empty((size, groups), dtype=np.int64)
    shifts = np.empty(groups, dtype=np.int64)
    for g in range(groups):
        for a in range(size):
            offsets[a, g] = ((g << 8) + terms.old[g, a]) * row
    sums = GroupSums(tables, offsets, shifts)
    for m in range(width):
        for g in range(groups):
            shifts[g] = terms.mid[g, m] * row
        if size == 256:
            least_sums_8(sums, 0, cost, m, width, new, m * size)
        else:
            for c in range(0, size, LANES):
                least_sums_1(sums, c, cost, m, width, new, m * size + c)


@njit
def direct_step_wide(cost, new, terms):
    """As `direct_step`, in plain loops, for tables of a wider unsigned type."""
    groups, size = terms.old.shape
    width = terms.mid.shape[1]
    tables = np.empty(groups * 256 * size, dtype=cost.dtype)
    popcount_rows(terms.fresh, size, tables)
    total = np.empty(size, dtype=cost.dtype)
    for m in range(width):
        best = new[m * size : (m + 1) * size]
        for a in range(size):
            total[:] = cost[a * width + m]
            for g in range(groups):
                start = ((g << 8) + (terms.old[g, a] ^ terms.mid[g, m])) * size
                counts = tables[start : start + size]
                for c in range(size):
                    total[c] += counts[c]
            if a == 0:
                best[:] = total
            else:
                for c in range(size):
                    best[c] = min(best[c], total[c])
