"""Shaping: input vectors that meet care bits *and* make other decoded bits mostly zero.

A plane that is given more rate than its care bits need has solutions to spare. The care bits are
linear equations over GF(2) in the input bits; their solutions form an affine space, and among
these the shaper looks for one whose decoded bits are zero at as many *soft* positions as it can.
This is source coding with side conditions: with rate R (input bits per plane bit), a share c of
care positions and a share q of soft ones, no plane does better than a share d of ones among the
soft positions with ``h(d) = 1 - (R - c)/q``, h the binary entropy.

Two passes:

1. Backward elimination. From the last block to the first, the care rows are reduced with the
   *newest* input bit as pivot. What is left at block t is: for each determined bit of x_t an
   equation in older bits and the free bits of x_t. No later care bit can contradict a choice of
   free bits, for its consequences for older inputs have been carried back. Rows that reduce to
   0 = 1 are dropped; they are the errors of the plane.
2. Forward tree search (the M-algorithm). A hypothesis is the window of its newest inputs in one
   machine word; each block extends it by every value of the free bits, counts the ones at soft
   positions in packed words, and the `beam` best are kept.

Paper symbols: N_in = `n_in`, N_out = `n_out`, N_s = `n_s`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from f2f.base import validate
from f2f.base.intrinsics import popcount
from f2f.decoder.decoder import Decoder

_CHUNK = 2048  # blocks between trace-backs; twice as many are held

MAX_BEAM = 65535


def encode_shaped(
    care: np.ndarray,
    target: np.ndarray,
    soft: np.ndarray,
    n: int,
    decoder: Decoder,
    beam: int = 64,
) -> np.ndarray:
    """Input vectors that decode to `target` at care positions and to few ones at soft positions.

    care: int64 (k,), increasing positions below n. target: uint8 (k,), their wanted bits, 0/1.
    soft: bool or 0/1 (n,), 1 where a decoded one is unwanted; ignored at care positions.
    beam: hypotheses kept, 1…65535; time is proportional to it. Returns uint8
    (decoder.n_vectors(n),), deterministic. Care bits come out wrong only where the rate n_in/n_out
    is locally too small for them.

    Raises `ValueError` for positions out of order or range and for wrong sizes.
    """
    n = validate.integer("n", n, 0)
    beam = validate.integer("beam", beam, 1, MAX_BEAM)
    soft = validate.bits("soft", soft, n)
    care = np.ascontiguousarray(care, dtype=np.int64)
    target = validate.bits("target", target, len(care))
    if len(care) and (care[0] < 0 or care[-1] >= n or (care[1:] <= care[:-1]).any()):
        raise ValueError(f"care must be increasing positions in 0..{n - 1}")
    if n == 0:
        return np.zeros(0, dtype=np.uint8)
    blocks, n_in, n_s = decoder.n_blocks(n), decoder.n_in, decoder.n_s
    masks = np.zeros((blocks, n_in), dtype=np.uint64)
    sides = np.zeros(blocks, dtype=np.uint8)
    moves = np.zeros((blocks, n_in), dtype=np.uint8)
    free = np.zeros(blocks, dtype=np.uint8)
    start = _eliminate(
        care, target, decoder.rows, n_in, n_s, decoder.n_out, masks, sides, moves, free
    )
    soft_words = _pack_blocks(soft, decoder.n_out, decoder.tables.shape[2])
    inputs = np.zeros(blocks + n_s, dtype=np.uint8)
    for j in range(n_s):
        inputs[j] = (int(start) >> (n_in * j)) & ((1 << n_in) - 1)
    _search(start, masks, sides, moves, free, decoder.tables, soft_words, n_in, beam, inputs)
    return inputs


@njit(cache=True, nogil=True)
def _pack_blocks(bits, n_out, words):
    """Bits (n,) as uint64 (blocks, words): bit r of block t at bit r%64 of word r//64."""
    out = np.zeros((-(-len(bits) // n_out), words), dtype=np.uint64)
    for t in range(len(out)):
        block = bits[t * n_out : (t + 1) * n_out]
        for r in range(len(block)):
            out[t, r >> 6] |= np.uint64(block[r]) << np.uint64(r & 63)
    return out


@njit(cache=True, nogil=True)
def _eliminate(care, target, rows, n_in, n_s, n_out, masks, sides, moves, free):
    """Reduce the care rows, newest bit first; returns the start window (older vectors only).

    Block t is left with equations for its pivot bits: bit b of x_t is
    ``parity(masks[t, b] & window) ^ bit b of sides[t]`` when its free bits are zero (masks[t, b]
    covers older inputs only), and each of the free[t] free bits, set, flips moves[t, f] of x_t.
    """
    window = n_in * (n_s + 1)
    older = n_in * n_s
    below = (np.uint64(1) << np.uint64(older)) - np.uint64(1)  # bits of the older vectors
    pivot = np.zeros(64, dtype=np.uint64)  # pivot[h]: the row whose highest bit is h, or 0
    side = np.zeros(64, dtype=np.uint8)
    i = len(care) - 1
    for t in range(len(free) - 1, -1, -1):
        # What was carried from block t+1, seen from window t.
        for h in range(window - 1, n_in - 1, -1):
            pivot[h] = pivot[h - n_in] << np.uint64(n_in)
            side[h] = side[h - n_in]
        pivot[:n_in] = 0
        while i >= 0 and care[i] >= t * n_out:
            row = rows[care[i] - t * n_out]
            wanted = target[i]
            i -= 1
            for h in range(window - 1, -1, -1):
                if (row >> np.uint64(h)) & np.uint64(1):
                    if pivot[h] == 0:
                        pivot[h] = row
                        side[h] = wanted
                        break
                    row ^= pivot[h]
                    wanted ^= side[h]
        # Full reduction within x_t, so that pivot bits depend on free bits alone.
        for b in range(n_in):
            if pivot[older + b] != 0:
                for c in range(b + 1, n_in):
                    if (pivot[older + c] >> np.uint64(older + b)) & np.uint64(1):
                        pivot[older + c] ^= pivot[older + b]
                        side[older + c] ^= side[older + b]
        for f in range(n_in):
            if pivot[older + f] == 0:
                move = np.uint8(1 << f)
                for b in range(f + 1, n_in):
                    if (pivot[older + b] >> np.uint64(older + f)) & np.uint64(1):
                        move |= np.uint8(1 << b)
                moves[t, free[t]] = move
                free[t] += 1
            else:
                masks[t, f] = pivot[older + f] & below
                sides[t] |= side[older + f] << f
                pivot[older + f] = 0
    # What is left constrains the start state; its free bits are zero.
    start = np.uint64(0)
    for h in range(older):
        if pivot[h] != 0 and (popcount(pivot[h] & start) & np.uint64(1)) != side[h]:
            start |= np.uint64(1) << np.uint64(h)
    return start


@njit(cache=True, nogil=True)
def _search(start, masks, sides, moves, free, tables, soft, n_in, beam, inputs):
    """The M-algorithm; writes the vectors of the best path to inputs[n_s:].

    start: n_s older vectors, oldest in the low bits.
    """
    blocks, words = soft.shape
    n_s = len(tables) - 1
    shift = np.uint64(n_in)
    older = np.uint64(n_in * n_s)
    held = 2 * _CHUNK
    parents = np.empty((held, beam), dtype=np.uint16)
    vectors = np.empty((held, beam), dtype=np.uint8)
    states = np.empty(beam, dtype=np.uint64)  # the n_s older vectors of the coming window
    costs = np.empty(beam, dtype=np.int32)
    next_states = np.empty(beam, dtype=np.uint64)
    child_cost = np.empty(beam << n_in, dtype=np.int32)
    child_vector = np.empty(beam << n_in, dtype=np.uint8)
    chosen = np.empty(beam, dtype=np.int32)
    histogram = np.empty(128 * words + 64, dtype=np.int64)
    states[0] = start
    costs[0] = 0
    alive = 1
    first = 0  # block in row 0 of the trace
    for t in range(blocks):
        n_free = np.int64(free[t])
        _extend(
            states[:alive],
            costs,
            masks[t],
            sides[t],
            moves[t, :n_free],
            tables,
            soft[t],
            child_cost,
            child_vector,
        )
        alive = _select(child_cost[: alive << n_free], beam, histogram, chosen)
        row = t - first
        for kept in range(alive):
            c = chosen[kept]
            h = c >> n_free
            parents[row, kept] = h
            vectors[row, kept] = child_vector[c]
            next_states[kept] = (states[h] | (np.uint64(child_vector[c]) << older)) >> shift
            costs[kept] = child_cost[c]
        states, next_states = next_states, states
        if row == held - 1 and t + 1 < blocks:
            alive = _settle(parents, vectors, states, costs, alive, inputs[first + n_s :])
            first += _CHUNK
    best = np.argmin(costs[:alive])
    for row in range(blocks - 1 - first, -1, -1):
        inputs[n_s + first + row] = vectors[row, best]
        best = parents[row, best]


@njit(cache=True, nogil=True)
def _extend(states, costs, masks, sides, moves, tables, soft, child_cost, child_vector):
    """Every hypothesis by every value of the free bits, with the cost of the block's soft bits.

    Child c of hypothesis h stands at ``h * 2**len(moves) + c``.
    """
    fan = 1 << len(moves)
    n_s = len(tables) - 1
    n_in = np.uint64(len(masks))
    vector = (np.uint64(1) << n_in) - np.uint64(1)
    span = np.zeros(fan, dtype=np.uint8)
    for f in range(len(moves)):
        for x in range(1 << f):
            span[x + (1 << f)] = span[x] ^ moves[f]
    for h in range(len(states)):
        base = sides
        for b in range(len(masks)):
            odd = popcount(masks[b] & states[h]) & np.uint64(1)
            base ^= np.uint8(odd << np.uint64(b))
        children = child_cost[h * fan : (h + 1) * fan]
        for x in range(fan):
            children[x] = costs[h]
            child_vector[h * fan + x] = base ^ span[x]
        for w in range(len(soft)):
            rest = states[h]
            older_part = np.uint64(0)
            for j in range(n_s):
                older_part ^= tables[j, rest & vector, w]
                rest >>= n_in
            for x in range(fan):
                word = older_part ^ tables[n_s, base ^ span[x], w]
                children[x] += np.int32(popcount(word & soft[w]))


@njit(cache=True, nogil=True)
def _select(costs, beam, histogram, chosen):
    """Indices of the `beam` least costs, in order, into chosen; makes the least cost zero.

    Among equal costs the first come first. Returns how many were chosen.
    """
    least = costs.min()
    top = len(histogram) - 1
    count = len(costs)
    if count <= beam:
        for c in range(count):
            costs[c] -= least
            chosen[c] = c
        return count
    histogram[:] = 0
    for c in range(count):
        costs[c] = min(costs[c] - least, top)
        histogram[costs[c]] += 1
    limit = 0
    total = histogram[0]
    while total <= beam and limit < top:
        limit += 1
        total += histogram[limit]
    at_limit = beam - (total - histogram[limit])
    kept = 0
    for c in range(count):
        if costs[c] < limit or (costs[c] == limit and at_limit > 0):
            at_limit -= costs[c] == limit
            chosen[kept] = c
            kept += 1
    return kept


@njit(cache=True, nogil=True)
def _settle(parents, vectors, states, costs, alive, inputs):
    """Decide the older half of a full trace by the best path; drop hypotheses that disagree."""
    ancestor = np.empty(alive, dtype=np.int64)
    for h in range(alive):
        a = h
        for row in range(2 * _CHUNK - 1, _CHUNK - 1, -1):
            a = parents[row, a]
        ancestor[h] = a
    chosen = ancestor[np.argmin(costs[:alive])]
    kept = 0
    renamed = np.zeros(alive, dtype=np.uint16)
    for h in range(alive):
        if ancestor[h] == chosen:
            renamed[kept] = parents[2 * _CHUNK - 1, h]
            vectors[2 * _CHUNK - 1, kept] = vectors[2 * _CHUNK - 1, h]
            states[kept] = states[h]
            costs[kept] = costs[h]
            kept += 1
    parents[2 * _CHUNK - 1, :kept] = renamed[:kept]
    for row in range(_CHUNK - 1, -1, -1):
        inputs[row] = vectors[row, chosen]
        chosen = parents[row, chosen]
    parents[:_CHUNK] = parents[_CHUNK:]
    vectors[:_CHUNK] = vectors[_CHUNK:]
    return kept
