"""Shaping: input vectors that meet care bits *and* make other decoded bits mostly zero.

A plane that is given more rate than its care bits need has solutions to spare. The care bits are
linear equations over GF(2) in the input bits; their solutions form an affine space, and among
these the shaper looks for one whose decoded bits are zero at as many *soft* positions as it can.
This is source coding with side conditions: with rate R (input bits per plane bit), a share c of
care positions and a share q of soft ones, no plane does better than a share d of ones among the
soft positions with ``h(d) = 1 - (R - c)/q``, h the binary entropy.

Two passes:

1. Backward elimination (`eliminate`). From the last block to the first, the care rows are reduced
   with the *newest* input bit as pivot. What is left at block t is: for each determined bit of x_t
   an equation in older bits and the free bits of x_t. No later care bit can contradict a choice of
   free bits, for its consequences for older inputs have been carried back. Rows that reduce to
   0 = 1 are dropped; they are the errors of the plane. Variable v lies at bit v mod 64, as in
   `f2f.encoder.elimination`. The equations, the `Demands`, say what each variable is in terms of
   free ones; what is left of a row is the sum of that over its variables. As a sum is a long wait,
   and so is adding what is left to the equations, the next row is summed before, and what it lacks
   is made up for afterwards.
2. Forward tree search (the M-algorithm, `_walk`). A hypothesis is its newest inputs in one machine
   word; each block extends it by every value x of the free bits (`_make_children`). With the soft
   positions of the block as a mask, all that hypothesis h and choice x put out is A_h ⊕ B_x, so the
   cost of a child is a Hamming weight of a few words. A_h is a linear map of the word, see
   `f2f.encoder.words`. The `beam` best are kept (`select`).

**Parts.** Between two vectors of n_s zeros nothing before matters to what comes after. A part of a
plane that starts, or ends, with such zeros costs 8 n_s bits and about an error, and is encoded
whatever its neighbours are: parts can be encoded side by side.

Paper symbols: N_in = `n_in`, N_out = `n_out`, N_s = `n_s`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from f2f.base import validate
from f2f.base.intrinsics import (
    aligned_zeros,
    bits_at,
    borrowed,
    leading_zeros,
    popcount,
    trailing_zeros,
)
from f2f.base.jit import njit
from f2f.decoder import Decoder
from f2f.encoder.lanes import (
    DEAREST,
    child_costs,
    flags_64,
    make_units_64,
    parities_8,
    replace_64,
    spread_8,
    xor_of_64,
)
from f2f.encoder.words import SPARE, TABLE_WORDS, apply_map, prepare_map, rotate_left

TRACE_BLOCKS = 2048  # between trace-backs; twice as many are held
MAX_BEAM = 65535


class Problem(NamedTuple):
    """The care bits of a plane, its soft positions, and the decoder.

    Attributes
    ----------
    care : ndarray of int64, (k,)
        Increasing positions.
    target : ndarray of uint8, (k,)
        Their wanted bits, 0/1.
    soft : ndarray of uint64, (at least n/64 + 3,)
        Bit p mod 64 of word p // 64 is set where a one at position p is unwanted; then zeros.
    blocks : int
    rows : ndarray of uint64, (n_out,)
        `Decoder.rows`.
    tables : ndarray of uint64, (n_s+1, 2**n_in, ceil(n_out/64))
        `Decoder.tables`.
    maps : ndarray of uint64, (ceil(n_out/64), TABLE_WORDS)
        From a window to each 64 decoded bits, see `f2f.encoder.words`.
    n_in, n_out, n_s : int
    zero_start, zero_end : bool
        The `zero_ends` of `encode_shaped`.
    """

    care: np.ndarray
    target: np.ndarray
    soft: np.ndarray
    blocks: int
    rows: np.ndarray
    tables: np.ndarray
    maps: np.ndarray
    n_in: int
    n_out: int
    n_s: int
    zero_start: bool
    zero_end: bool


class Freedom(NamedTuple):
    """What the care bits leave of each block's vector x_t.

    Attributes
    ----------
    masks : ndarray of uint64, (blocks, 8)
        Bit b of x_t, if it is determined, is ``parity(masks[t, b] & older) ^ bit b of sides[t]``
        when the free bits are zero; `older` is the n_s vectors before, oldest in the low bits.
        0 for free bits and for b >= n_in.
    sides : ndarray of uint8, (blocks,)
    moves : ndarray of uint8, (blocks, n_in)
        The bits of x_t that flip with each free bit, that bit among them.
    free : ndarray of uint8, (blocks,)
        How many free bits there are.
    start : ndarray of uint64, (1,)
        The n_s vectors before x_0, oldest in the low bits.
    """

    masks: np.ndarray
    sides: np.ndarray
    moves: np.ndarray
    free: np.ndarray
    start: np.ndarray


class Demands(NamedTuple):
    """What later care bits demand of older inputs: equations whose pivot is their newest variable.

    Attributes
    ----------
    values : ndarray of uint64, (64,)
        Word v is variable v in terms of those that are no pivots; such a one is itself.
    pivots : ndarray of uint64, (1,)
        Bit p is set if there is an equation with pivot p.
    sides : ndarray of uint64, (1,)
        Bit p is the right-hand side of the equation with pivot p, 0 if there is none.
    """

    values: np.ndarray
    pivots: np.ndarray
    sides: np.ndarray


class Hypotheses(NamedTuple):
    """The survivors of the search, before block t in row t & 1, and their children.

    Attributes
    ----------
    states : ndarray of uint64, (2, beam)
        The n_s newest vectors, oldest in the low bits.
    costs : ndarray of int32, (2, beam)
        Ones at soft positions, less those of the best survivor.
    bases : ndarray of uint8, (beam,)
        The vector of each hypothesis' child 0. Child x of hypothesis h, number ``h << free | x``,
        has the vector ``bases[h] ^ span[x]``.
    span : ndarray of uint8, (2**n_in,)
        What choice x of the free bits changes.
    windows, decoded : ndarray of uint64, (beam + SPARE,)
        The state with the vector of child 0, and 64 bits of what the decoder makes of it.
    outputs : ndarray of uint64, (ceil(n_out/64) + 1, 8*beam + 8)
        A_h: what child 0 of a hypothesis puts out at the soft positions, and in the last row the
        hypothesis' cost; ``min(2**free, 8)`` times each, once for every child of a group of eight.
    choices : ndarray of uint64, (ceil(n_out/64), max(8, 2**n_in))
        B_x: what choice x changes at the soft positions; again and again up to 8.
    child_costs : ndarray of int16, (beam << n_in, and 64 to spare)
        Those beyond DEAREST - 1 count as that.
    chosen : ndarray of uint64, (beam,)
        Numbers of the children that survive, rising.
    limit : ndarray of int64, (1,)
        Cost of the dearest child that survived last above the least, from where to look for the
        next.
    """

    states: np.ndarray
    costs: np.ndarray
    bases: np.ndarray
    span: np.ndarray
    windows: np.ndarray
    decoded: np.ndarray
    outputs: np.ndarray
    choices: np.ndarray
    child_costs: np.ndarray
    chosen: np.ndarray
    limit: np.ndarray


class Trace(NamedTuple):
    """Where the survivors of the newest 2*TRACE_BLOCKS blocks come from, block t in row t mod that.

    Attributes
    ----------
    parents : ndarray of uint16, (2*TRACE_BLOCKS, beam)
        Number among the survivors before the block.
    vectors : ndarray of uint8, (2*TRACE_BLOCKS, beam)
        The block's vector.
    ancestors : ndarray of int64, (beam,)
        Number of each survivor's ancestor in the middle, for `_decide_older`.
    """

    parents: np.ndarray
    vectors: np.ndarray
    ancestors: np.ndarray


def encode_shaped(
    care: np.ndarray,
    target: np.ndarray,
    soft: np.ndarray,
    n: int,
    decoder: Decoder,
    beam: int = 64,
    zero_ends: tuple[bool, bool] = (False, False),
) -> np.ndarray:
    """Input vectors that decode to `target` at care positions and to few ones at soft positions.

    Care bits come out wrong only where the rate n_in/n_out is locally too small for them.
    Deterministic.

    Parameters
    ----------
    care : ndarray of int64, (k,)
        Increasing positions below n.
    target : ndarray of 0/1, (k,)
        Their wanted bits.
    soft : ndarray of 0/1 or bool, (n,)
        1 where a decoded one is unwanted; ignored at care positions.
    n : int
        Bits of the plane.
    decoder : Decoder
    beam : int, 1…65535
        Hypotheses kept; time and memory are proportional to it.
    zero_ends : (bool, bool)
        Whether the first n_s vectors, and the last n_s (if there are more), are to be zeros.

    Returns
    -------
    ndarray of uint8, (decoder.n_vectors(n),)

    Raises
    ------
    ValueError
        For positions out of order or range and for wrong sizes.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> decoder = Decoder(n_in=8, n_out=64, n_s=7)
    >>> wanted = rng.random(64_000) < 0.1
    >>> care = np.flatnonzero(wanted)
    >>> ones = np.ones(len(care), dtype=np.uint8)
    >>> inputs = encode_shaped(care, ones, ~wanted, 64_000, decoder, beam=16)
    >>> decoded = decoder.decode(inputs, 64_000)
    >>> bool(decoded[care].all()), bool(decoded[~wanted].mean() < 0.45)
    (True, True)
    """
    n = validate.integer("n", n, 0)
    beam = validate.integer("beam", beam, 1, MAX_BEAM)
    soft = validate.bits("soft", soft, n)
    care = validate.positions("care", care, n)
    target = validate.bits("target", target, len(care))
    if n == 0:
        return np.zeros(0, dtype=np.uint8)
    problem = new_problem(care, target, soft, decoder)
    zero_start, zero_end = zero_ends
    zero_end = zero_end and problem.blocks > decoder.n_s
    return _shape(problem._replace(zero_start=zero_start, zero_end=zero_end), beam)


def new_problem(
    care: np.ndarray, target: np.ndarray, soft: np.ndarray, decoder: Decoder
) -> Problem:
    """The problem of `encode_shaped`; target and soft are uint8."""
    blocks = decoder.n_blocks(len(soft))
    packed = np.zeros(blocks * decoder.n_out // 64 + 3, dtype=np.uint64)
    packed.view(np.uint8)[: -(-len(soft) // 8)] = np.packbits(soft, bitorder="little")
    return Problem(
        care=care,
        target=target,
        soft=packed,
        blocks=blocks,
        rows=decoder.rows,
        tables=decoder.tables,
        maps=window_maps(decoder.rows),
        n_in=decoder.n_in,
        n_out=decoder.n_out,
        n_s=decoder.n_s,
        zero_start=False,
        zero_end=False,
    )


def window_maps(rows: np.ndarray) -> np.ndarray:
    """`Problem.maps`."""
    words = -(-len(rows) // 64)
    padded = np.zeros(64 * words, dtype=np.uint64)
    padded[: len(rows)] = rows
    maps = np.zeros((words, TABLE_WORDS), dtype=np.uint64)
    for some, table in zip(padded.reshape(words, 64), maps, strict=True):
        prepare_map(some, table)
    return maps


def new_freedom(blocks: int, n_in: int) -> Freedom:
    """Room for what elimination leaves of the blocks."""
    return Freedom(
        np.zeros((blocks, 8), dtype=np.uint64),
        np.zeros(blocks, dtype=np.uint8),
        np.zeros((blocks, n_in), dtype=np.uint8),
        np.zeros(blocks, dtype=np.uint8),
        np.zeros(1, dtype=np.uint64),
    )


def new_demands() -> Demands:
    """No demands."""
    values = aligned_zeros(8 * 64).view(np.uint64)  # vectors go through them
    values[:] = np.uint64(1) << np.arange(64, dtype=np.uint64)
    return Demands(values, np.zeros(1, dtype=np.uint64), np.zeros(1, dtype=np.uint64))


def new_hypotheses(beam: int, tables: np.ndarray) -> Hypotheses:
    """Room for `beam` hypotheses of the decoder with these `Decoder.tables`."""
    fan, words = tables.shape[1:]
    return Hypotheses(
        np.zeros((2, beam), dtype=np.uint64),
        np.zeros((2, beam), dtype=np.int32),
        np.zeros(beam, dtype=np.uint8),
        np.zeros(fan, dtype=np.uint8),
        np.zeros(beam + SPARE, dtype=np.uint64),
        np.zeros(beam + SPARE, dtype=np.uint64),
        np.zeros((words + 1, 8 * beam + 8), dtype=np.uint64),
        np.zeros((words, max(fan, 8)), dtype=np.uint64),
        np.zeros(beam * fan + 64, dtype=np.int16),
        np.zeros(beam, dtype=np.uint64),
        np.zeros(1, dtype=np.int64),
    )


def _shape(problem: Problem, beam: int) -> np.ndarray:
    """Both passes; returns the inputs, uint8 (blocks + n_s,)."""
    blocks, n_s = problem.blocks, problem.n_s
    trace = Trace(
        np.empty((2 * TRACE_BLOCKS, beam), dtype=np.uint16),
        np.empty((2 * TRACE_BLOCKS, beam), dtype=np.uint8),
        np.empty(beam, dtype=np.int64),
    )
    inputs = np.zeros(blocks + n_s, dtype=np.uint8)
    freedom, hypotheses = new_freedom(blocks, problem.n_in), new_hypotheses(beam, problem.tables)
    _run(problem, new_demands(), freedom, hypotheses, trace, inputs)
    return inputs


@njit
def _run(problem, demands, freedom, hypotheses, trace, inputs):
    """Both passes, compiled as one; all but the problem is empty."""
    problem, demands, freedom = borrowed(problem), borrowed(demands), borrowed(freedom)
    hypotheses, trace, inputs = borrowed(hypotheses), borrowed(trace), borrowed(inputs)
    eliminate(problem, demands, freedom)
    _start_search(problem, hypotheses, freedom.start[0], inputs)
    _walk(problem, freedom, hypotheses, trace, inputs)


@njit(inline="always")
def eliminate(problem, demands, freedom):
    """Reduce the care rows from the last block to the first, and fill `freedom`.

    There must be no demands yet.
    """
    n_in = problem.n_in
    if problem.zero_end:
        _demand_zeros(demands, problem.blocks * n_in, n_in * problem.n_s)
    end = len(problem.care)
    for t in range(problem.blocks - 1, -1, -1):
        end = _demand_block(problem, demands, t, end)
        _leave(demands, freedom, t, n_in, n_in * problem.n_s)
    # What is left constrains the start state; its free bits are zero.
    if not problem.zero_start:
        freedom.start[0] = demands.sides[0]


@njit(inline="always")
def _demand_zeros(demands, first, count):
    """Make `count` variables from `first` on equations by themselves, with right-hand side 0."""
    for variable in range(first, first + count):
        p = variable & 63
        demands.values[p] = np.uint64(0)
        demands.pivots[0] |= np.uint64(1) << np.uint64(p)


@njit(inline="always")
def _demand_block(problem, demands, t, end):
    """Reduce the rows of block t, whose care bits end before number `end`, from the last on.

    What is left of each becomes a demand. Returns the number of the first.
    """
    care, values = problem.care, demands.values
    start, place = t * problem.n_out, (t * problem.n_in) & 63
    left = pivot = row = ahead = np.uint64(0)
    i = end - 1
    more = i >= 0 and care[i] >= start
    if more:
        row = rotate_left(problem.rows[care[i] - start], place)
        ahead = xor_of_64(values, row)
    while more:
        if ahead & pivot:  # which the row before made a pivot
            ahead ^= left
        left = ahead
        side = np.uint64(problem.target[i]) ^ popcount(demands.sides[0] & row)
        i -= 1
        more = i >= 0 and care[i] >= start
        if more:
            row = rotate_left(problem.rows[care[i] - start], place)
            ahead = xor_of_64(values, row)
        pivot = np.uint64(0)
        if left != 0:
            newest = 63 - leading_zeros(rotate_left(left, (64 - place) & 63))
            pivot = rotate_left(np.uint64(1) << newest, place)
            change = replace_64(values, pivot, left)
            demands.sides[0] ^= change & (np.uint64(0) - (side & np.uint64(1)))
            demands.pivots[0] |= pivot
    return i + 1


@njit(inline="always")
def _leave(demands, freedom, t, n_in, older):
    """Move the equations of x_t out of the demands; x_t follows `older` bits in the window."""
    one = np.uint64(1)
    field = (one << np.uint64(n_in)) - one
    below = (one << np.uint64(older)) - one
    place = (t * n_in) & 63
    first = (place + older) & 63
    determined = rotate_left(demands.pivots[0], (64 - first) & 63) & field
    freedom.sides[t] = rotate_left(demands.sides[0], (64 - first) & 63) & field
    for b in range(n_in):
        there = np.uint64(0) - ((determined >> np.uint64(b)) & one)
        local = rotate_left(demands.values[(first + b) & 63], (64 - place) & 63) & there
        freedom.masks[t, b] = local & below
    if determined != field:
        _list_moves(demands, freedom, t, determined, first)
    leaving = rotate_left(field, first)
    make_units_64(demands.values, leaving)
    demands.pivots[0] &= ~leaving
    demands.sides[0] &= demands.pivots[0]


@njit(inline="always")
def _list_moves(demands, freedom, t, determined, first):
    """The free bits of x_t, whose bit 0 is bit `first` of the demands, and what flips with each."""
    one = np.uint64(1)
    moves = freedom.moves[t]
    free = 0
    for b in range(len(moves)):
        bit = one << np.uint64(b)
        if determined & bit:
            continue
        flips = bit
        for later in range(b + 1, len(moves)):  # an equation's pivot is its newest variable
            held = demands.values[(first + later) & 63] >> np.uint64((first + b) & 63) & one
            flips |= held << np.uint64(later) & determined
        moves[free] = flips
        free += 1
    freedom.free[t] = free


@njit(inline="always")
def _start_search(problem, hypotheses, state, inputs):
    """Make the first hypothesis that of the n_s vectors before x_0, `state`; these go to inputs."""
    n_in = problem.n_in
    hypotheses.states[0, 0] = state
    for u in range(problem.n_s):
        inputs[u] = (state >> np.uint64(n_in * u)) & np.uint64((1 << n_in) - 1)


@njit(inline="always")
def _walk(problem, freedom, hypotheses, trace, inputs):
    """The M-algorithm; writes the vectors of the best path to inputs, behind the first n_s."""
    blocks = len(freedom.free)
    alive = 1
    first = 0  # block that is not decided yet
    for t in range(blocks):
        least = _make_children(problem, freedom, hypotheses, t, alive)
        alive = select(hypotheses, alive << freedom.free[t], least)
        _survive(problem, freedom, hypotheses, trace, t, alive, least)
        if t - first == 2 * TRACE_BLOCKS - 1 and t + 1 < blocks:
            alive = _decide_older(problem, trace, hypotheses, t, alive, inputs)
            first += TRACE_BLOCKS
    best = _cheapest(hypotheses.costs, blocks & 1, alive)
    _follow_back(trace, best, blocks - 1, first, inputs, problem.n_s)


@njit(inline="always")
def _cheapest(costs, row, alive):
    """The first hypothesis of least cost."""
    best = 0
    for h in range(alive):
        if costs[row, h] < costs[row, best]:
            best = h
    return best


@njit(inline="always")
def _make_children(problem, freedom, hypotheses, t, alive):
    """Every hypothesis by every value of the free bits, with the cost of the block's soft bits.

    Returns the least cost of a child.
    """
    tables = problem.tables
    span, choices, outputs = hypotheses.span, hypotheses.choices, hypotheses.outputs
    n_s, words = problem.n_s, len(problem.maps)
    older = np.uint64(problem.n_in * n_s)
    free = np.int64(freedom.free[t])
    fan, copies = 1 << free, 1 << min(free, np.int64(3))
    span[0] = 0
    for f in range(free):
        for x in range(1 << f):
            span[x + (1 << f)] = span[x] ^ freedom.moves[t, f]
    for w in range(words):
        soft = bits_at(problem.soft, t * problem.n_out + 64 * w)
        for x in range(fan):
            choices[w, x] = tables[n_s, span[x], w] & soft
        for x in range(fan, 8):
            choices[w, x] = choices[w, x - fan]
    stride = outputs.shape[1]
    windows, decoded = hypotheses.windows, hypotheses.decoded
    for h in range(alive):
        state = hypotheses.states[t & 1, h]
        base = parities_8(freedom.masks, 8 * t, state) ^ freedom.sides[t]
        hypotheses.bases[h] = base
        windows[h] = state | (np.uint64(base) << older)
        spread_8(outputs, words * stride + h * copies, np.uint64(hypotheses.costs[t & 1, h]))
    for w in range(words):
        soft = bits_at(problem.soft, t * problem.n_out + 64 * w)
        apply_map(problem.maps[w], windows, alive, decoded)
        for h in range(alive):
            spread_8(outputs, w * stride + h * copies, decoded[h] & soft)
    return child_costs(outputs, choices, free, alive << free, hypotheses.child_costs)


@njit(inline="always")
def select(hypotheses, count, least):
    """Choose the `beam` of least cost among `count` children, the least of which is `least`.

    Among equal costs the first come first. Returns how many were chosen.
    """
    costs, chosen = hypotheses.child_costs, hypotheses.chosen
    beam = len(chosen)
    if count <= beam:
        for c in range(count):
            chosen[c] = c
        return count
    for c in range(count, count + 64):
        costs[c] = DEAREST
    # The dearest cost that some survivor has: fewer than `beam` children are cheaper, or as many.
    limit = min(hypotheses.limit[0] + least, DEAREST - 1)
    cheaper = _cheaper(costs, count, limit)
    while cheaper > beam:
        limit -= 1
        cheaper = _cheaper(costs, count, limit)
    while True:
        more = _cheaper(costs, count, limit + 1)
        if more > beam:
            break
        cheaper = more
        limit += 1
    hypotheses.limit[0] = limit - least
    kept = 0
    at_limit = beam - cheaper
    for at in range(0, count, 64):
        below = flags_64(costs, at, limit)
        equal = flags_64(costs, at, limit + 1) ^ below
        while np.int64(popcount(equal)) > at_limit:
            equal ^= np.uint64(1) << (np.uint64(63) - leading_zeros(equal))
        at_limit -= np.int64(popcount(equal))
        rest = below | equal
        while rest != 0:
            chosen[kept] = np.uint64(at) + trailing_zeros(rest)
            kept += 1
            rest &= rest - np.uint64(1)
    return kept


@njit(inline="always")
def _cheaper(costs, count, limit):
    """How many of the first `count` costs, and of the padding behind them, are below a limit."""
    found = np.uint64(0)
    for at in range(0, count, 64):
        found += popcount(flags_64(costs, at, limit))
    return np.int64(found)


@njit(inline="always")
def _survive(problem, freedom, hypotheses, trace, t, alive, least):
    """Make the chosen children of block t the hypotheses of the next, and trace them."""
    row = t % (2 * TRACE_BLOCKS)
    states, costs = hypotheses.states[t & 1], hypotheses.costs[(t + 1) & 1]
    new_states = hypotheses.states[(t + 1) & 1]
    parents, vectors = trace.parents[row], trace.vectors[row]
    older, n_in = np.uint64(problem.n_in * problem.n_s), np.uint64(problem.n_in)
    free = np.uint64(freedom.free[t])
    choice = (np.uint64(1) << free) - np.uint64(1)
    for kept in range(alive):
        c = hypotheses.chosen[kept]
        h = c >> free
        vector = hypotheses.bases[h] ^ hypotheses.span[c & choice]
        parents[kept] = h
        vectors[kept] = vector
        new_states[kept] = (states[h] | (np.uint64(vector) << older)) >> n_in
        costs[kept] = hypotheses.child_costs[c] - least


@njit(inline="always")
def _follow_back(trace, h, last, first, inputs, n_s):
    """Decide blocks last … first by the path that survivor h of block `last` has come."""
    for t in range(last, first - 1, -1):
        row = t % (2 * TRACE_BLOCKS)
        inputs[n_s + t] = trace.vectors[row, h]
        h = np.int64(trace.parents[row, h])


@njit(inline="always")
def _decide_older(problem, trace, hypotheses, t, alive, inputs):
    """Decide the older half of a full trace by the best path; drop hypotheses that disagree.

    Block t is the newest. Returns how many hypotheses remain.
    """
    parents, vectors, ancestors = trace.parents, trace.vectors, trace.ancestors
    states, costs = hypotheses.states[(t + 1) & 1], hypotheses.costs[(t + 1) & 1]
    newest, middle = t % (2 * TRACE_BLOCKS), t - TRACE_BLOCKS
    for h in range(alive):
        ancestors[h] = h
    for u in range(t, middle, -1):
        row = u % (2 * TRACE_BLOCKS)
        for h in range(alive):
            ancestors[h] = parents[row, ancestors[h]]
    chosen = ancestors[_cheapest(hypotheses.costs, (t + 1) & 1, alive)]
    kept = 0
    for h in range(alive):
        if ancestors[h] == chosen:
            parents[newest, kept] = parents[newest, h]
            vectors[newest, kept] = vectors[newest, h]
            states[kept] = states[h]
            costs[kept] = costs[h]
            kept += 1
    _follow_back(trace, chosen, middle, middle - TRACE_BLOCKS + 1, inputs, problem.n_s)
    return kept
