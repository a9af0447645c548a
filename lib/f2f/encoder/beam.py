"""The beam encoder: windows of up to 64 bits, near the optimum, millions of care bits a second.

Algorithm 3 of the paper walks a trellis of ``2**(n_in*n_s)`` states. But a care bit is a linear
equation over GF(2) in the input bits, and a band of such equations can be *solved*: the only
question is which of them to give up. `f2f.encoder.elimination` reduces the equations once for all
planes of a tensor, which share mask and matrix and differ in right-hand sides only. An equation
that is independent of those before it can always be met. One that is dependent, a *check*, is met
or not by the right-hand sides before it: an error-correcting code in disguise, and its optimum
encoding the nearest codeword. At a window of 64 bits and the best possible rate some 0.8 % of the
care bits are checks; the encoder works where they are and hardly at all elsewhere.

**State.** What an encoder remembers of the past are the right-hand sides of the (at most 64)
equations that still have their pivot in the window. Relative to giving nothing up they are one
word, linear in the bits given up: the *state*, 0 at the start. Hypotheses (state, number of bits
given up) are the same as survivors of the Viterbi algorithm, and equal states merge.

**Lazy branching.** Giving up a bit that no check contains would be of no use, so nothing branches
until there are checks. Every equation of the system carries two more vectors through the
elimination: which bits of the last agreed state, and which of the recent care bits, its right-hand
side is made of. When `lookahead` checks have come together, or the recent care bits have filled
their vector, the step ends and these vectors say everything about it:

* row of a check: state bits (so the syndrome of each hypothesis) and care bits taking part in it;
* columns of the system: what each state bit has become, and the effect F_a of giving up bit a.

`f2f.encoder.search` then finds, for each plane, the cheapest new states that satisfy all checks of
the step *at once*. Looking ahead over the checks of a whole burst is worth more than a wide beam:
one hypothesis with 18 checks beats 250 with one. A bit that takes part in no check of a step can
still be given up in later steps; the newest of these, with their effects, are the `History`. A step
is also ended just before its first check, so that it looks ahead as far as it can.

**Course.** `give_up` decides on a segment: `_fill` reduces care bits into the step until it is
full, `_close` ends it (`_read_system`, `_read_checks`, `_list_candidates`, then the search for each
plane, `_remember`), and at the end the best hypotheses are traced back. The bits given up are
flipped in the targets, which can then all be met: the log of the elimination is replayed for them
and the equations are solved by substitution.

**Exactness.** With ``beam >= 2**window`` every reachable state is kept at its least cost: the
optimum that Algorithm 3 finds. A smaller beam loses what it cuts, nothing else. It is made for
loads (care bits per input bit) near 1, where `f2f.encoder.rate` puts them; from about 1.2 on every
block has checks, steps are short, and looking ahead gains less.

**Memory** is bounded but for the inputs themselves: planes are encoded in segments of up to
SEGMENT_BLOCKS blocks and about SEGMENT_ROWS care bits, each starting from the last n_s input
vectors of the one before. That costs about four errors per seam and plane, 0.0004 % of E; up to
one segment it costs nothing. Input bits that no equation determines are 0.

Paper symbols: N_in = `n_in`, N_out = `n_out`, N_s = `n_s`, E = encoding efficiency.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from f2f.base import validate
from f2f.base.intrinsics import borrowed, trailing_zeros
from f2f.base.jit import njit
from f2f.decoder import Decoder
from f2f.encoder import search
from f2f.encoder.elimination import (
    ACCUMULATOR,
    MAX_RECENT,
    PLANE_BITS,
    RECENT,
    STATE,
    VARIABLES,
    WORDS,
    Log,
    Segment,
    System,
    insert,
    reduce_row,
    replay,
    retire,
    start_system,
    substitute,
    window_words,
)
from f2f.encoder.words import TABLE_WORDS, image, rotate_left, tabulate, transpose

SEGMENT_BLOCKS = 1 << 17
SEGMENT_ROWS = 1 << 20
MAX_LOOKAHEAD = 18
HISTORY = 1024  # older care bits that may still be given up


def encode_beam(
    care: np.ndarray,
    target: np.ndarray,
    n: int,
    decoder: Decoder,
    n_planes: int = 8,
    beam: int = 16,
    lookahead: int | None = None,
) -> np.ndarray:
    """Input vectors whose decoded bits agree with `target` at as many care positions as found.

    Planes do not influence each other; deterministic; may be called from several threads at once.

    Parameters
    ----------
    care : ndarray of int64, (k,)
        Increasing positions below n.
    target : ndarray of uint8, (k,)
        Bit q is the wanted bit of plane q.
    n : int
        Bits of a plane.
    decoder : Decoder
    n_planes : int, 1…8
    beam : int, 1…2**20
        Hypotheses kept per plane. From ``2**decoder.window`` on the result is the exact optimum
        (within a segment, see the module).
    lookahead : int, 1…18, optional
        Checks of a step, by default chosen for the window; no effect on the exact optimum.

    Returns
    -------
    ndarray of uint8, (decoder.n_vectors(n), n_planes)

    Raises
    ------
    ValueError
        For positions out of order or range and for wrong sizes.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> decoder = Decoder(n_in=8, n_out=80, n_s=7, seed=0)
    >>> care = np.flatnonzero(rng.random(80_000) < 0.1)
    >>> target = rng.integers(0, 256, len(care), dtype=np.uint8)  # eight planes
    >>> inputs = encode_beam(care, target, 80_000, decoder)
    >>> wrong = decoder.decode(inputs, 80_000)[care] ^ target
    >>> bool(np.unpackbits(wrong).mean() < 0.01)
    True
    """
    n = validate.integer("n", n, 0)
    n_planes = validate.integer("n_planes", n_planes, 1, PLANE_BITS)
    beam = validate.integer("beam", beam, 1, 1 << 20)
    care = np.ascontiguousarray(care, dtype=np.int64)
    target = np.ascontiguousarray(target, dtype=np.uint8)
    if care.ndim != 1 or target.shape != care.shape:
        raise ValueError(
            f"target must have the shape (k,) of care, got {target.shape} and {care.shape}"
        )
    if len(care) and (care[0] < 0 or care[-1] >= n or (care[1:] <= care[:-1]).any()):
        raise ValueError(f"care must be increasing positions in 0..{n - 1}")
    n_in, n_out, n_s = decoder.n_in, decoder.n_out, decoder.n_s
    exact = beam >= 1 << decoder.window
    if lookahead is None:
        lookahead = _lookahead(decoder.window)
    lookahead = 1 if exact else validate.integer("lookahead", lookahead, 1, MAX_LOOKAHEAD)
    inputs = np.zeros((decoder.n_vectors(n), n_planes), dtype=np.uint8)
    blocks = decoder.n_blocks(n)
    block, row = 0, 0
    while block < blocks:
        next_block = min(blocks, block + SEGMENT_BLOCKS)
        if row + SEGMENT_ROWS < len(care):
            next_block = min(next_block, int(care[row + SEGMENT_ROWS]) // n_out + 1)
        next_row = int(np.searchsorted(care, next_block * n_out))
        solution = inputs[block : next_block + n_s]
        known = n_s if block else 0
        segment = Segment(
            care=care[row:next_row],
            target=target[row:next_row].copy(),
            rows=decoder.rows,
            n_in=n_in,
            n_out=n_out,
            first=block,
            vectors=len(solution),
            known=known,
            words=window_words(solution[:known], n_in, block),
        )
        log = give_up(segment, beam, lookahead, exact)
        replay(segment, log, solution)
        substitute(log.retired, block, solution)
        block, row = next_block, next_row
    return inputs


def _lookahead(window: int) -> int:
    """Checks of a step, as measured best: the wider the window, the farther its checks interact."""
    return min(8 + window // 4, MAX_LOOKAHEAD)


class Step(NamedTuple):
    """The care bits reduced since the last step ended.

    Attributes
    ----------
    checks : ndarray of uint64, (lookahead, WORDS)
        What is left of each check, as an equation of a `System`.
    check_ranks : ndarray of int64, (lookahead,)
        Which care bit of the segment each check is.
    n_checks : ndarray of int64, (1,)
    recent_ranks : ndarray of int64, (MAX_RECENT,)
        Which care bit of the segment each *recent* one is, those that became equations.
    n_recent : ndarray of int64, (1,)
    """

    checks: np.ndarray
    check_ranks: np.ndarray
    n_checks: np.ndarray
    recent_ranks: np.ndarray
    n_recent: np.ndarray


class Outcome(NamedTuple):
    """What the vectors carried through the elimination say at the end of a step.

    Attributes
    ----------
    states : ndarray of uint64, (TABLE_WORDS,)
        The linear map from the last agreed state to the present one, see `image`.
    syndromes : ndarray of uint64, (TABLE_WORDS,)
        That from the last agreed state to the checks that it violates, bit j for check j.
    effects : ndarray of uint64, (PLANE_BITS + MAX_RECENT,)
        What giving up recent care bit a adds to the present state, at PLANE_BITS + a.
    patterns : ndarray of int64, (MAX_RECENT,)
        The checks that recent care bit a takes part in, bit j for check j.
    square : ndarray of uint64, (64,)
        Room for a matrix.
    """

    states: np.ndarray
    syndromes: np.ndarray
    effects: np.ndarray
    patterns: np.ndarray
    square: np.ndarray


class History(NamedTuple):
    """Older care bits that took part in no check, so that they may still be given up.

    Attributes
    ----------
    ranks : ndarray of int64, (limit + MAX_RECENT,)
        Which care bits of the segment they are, oldest first.
    effects : ndarray of uint64, (limit + MAX_RECENT,)
        What giving one up adds to the last agreed state, not 0.
    n_bits : ndarray of int64, (1,)
        How many there are.
    limit : int
        How many are kept; 0 if all are candidates at once.
    """

    ranks: np.ndarray
    effects: np.ndarray
    n_bits: np.ndarray
    limit: int


class State(NamedTuple):
    """The encoder between two care bits, but for its survivors.

    Attributes
    ----------
    system : System
    step : Step
    history : History
    outcome : Outcome
        This and the next two hold something only while a step ends.
    candidates : Candidates
    branches : Branches
    """

    system: System
    step: Step
    history: History
    outcome: Outcome
    candidates: search.Candidates
    branches: search.Branches


@njit
def give_up(segment, beam, lookahead, exact):
    """Reduce the care bits of a segment and choose those to give up: they flip in its target.

    Parameters
    ----------
    segment : Segment
    beam, lookahead : int
        As of `encode_beam`.
    exact : bool
        Whether to keep every reachable state; the beam must hold them.

    Returns
    -------
    Log
        For `replay` and `substitute`.
    """
    k = len(segment.care)
    log = Log(
        np.empty(k, dtype=np.uint64),
        np.empty(k, dtype=np.uint64),
        np.empty((segment.vectors, segment.n_in), dtype=np.uint64),
    )
    history = _new_history(0 if exact else HISTORY)
    state = State(
        start_system(segment),
        _new_step(lookahead),
        history,
        _new_outcome(),
        search.new_candidates(history.limit + 2 * MAX_RECENT + lookahead, lookahead),
        search.new_branches(beam),
    )
    planes = len(segment.words)
    survivors = search.new_survivors(planes, beam, _batch(beam, lookahead))
    t, i = _fill(segment, log, state.system, state.step, 0, 0)
    while t < segment.vectors:
        survivors = _close(state, survivors, exact)
        t, i = _fill(segment, log, state.system, state.step, t, i)
    search.trace_back(survivors, segment.target)
    return log


@njit
def _batch(beam, lookahead):
    """Nodes that one step of one plane may add."""
    return beam * (lookahead + 2)


@njit
def _fill(segment, log, system, step, t, i):
    """Reduce care bits, from care bit i of vector t on, into the step until it is full.

    Returns the vector and the care bit that come next, or (vectors, k) at the end.
    """
    segment, log = borrowed(segment), borrowed(log)
    system, step = borrowed(system), borrowed(step)
    care, target, rows, retired = segment.care, segment.target, segment.rows, log.retired
    while t < segment.vectors:
        place = ((segment.first + t) * segment.n_in) & 63
        start = (segment.first + t) * segment.n_out
        while i < len(care) and care[i] < start + segment.n_out:
            row = rotate_left(rows[care[i] - start], place)
            if not _take(system, step, log, i, row, target[i], place):
                return t, i
            i += 1
        if t == segment.vectors - 1 and step.n_checks[0]:
            return t, i
        retire(system, place, retired[t])
        t += 1
    return t, i


@njit
def _new_step(lookahead):
    """A step without care bits."""
    return Step(
        np.zeros((lookahead, WORDS), dtype=np.uint64),
        np.zeros(lookahead, dtype=np.int64),
        np.zeros(1, dtype=np.int64),
        np.zeros(MAX_RECENT, dtype=np.int64),
        np.zeros(1, dtype=np.int64),
    )


@njit
def _new_outcome():
    """Room for what a step says at its end."""
    return Outcome(
        np.zeros(TABLE_WORDS, dtype=np.uint64),
        np.zeros(TABLE_WORDS, dtype=np.uint64),
        np.zeros(PLANE_BITS + MAX_RECENT, dtype=np.uint64),
        np.zeros(MAX_RECENT, dtype=np.int64),
        np.zeros(64, dtype=np.uint64),
    )


@njit
def _new_history(limit):
    """A history without care bits."""
    return History(
        np.zeros(limit + MAX_RECENT, dtype=np.int64),
        np.zeros(limit + MAX_RECENT, dtype=np.uint64),
        np.zeros(1, dtype=np.int64),
        limit,
    )


@njit(forceinline=True)
def _take(system, step, log, i, row, target, place):
    """Reduce care bit i, a row and its bits of all planes, into the step; False if it is full.

    A step is full when its checks or recent care bits are, and just before its first check.
    `place` is the bit of the oldest variable of the window.
    """
    combo = reduce_row(system, row, target)
    accumulator = system.equations[ACCUMULATOR]
    checks, recent = step.n_checks[0], step.n_recent[0]
    if accumulator[VARIABLES] == 0:
        if checks == len(step.checks) or (checks == 0 and recent > 0):
            return False
        for word in range(WORDS):
            step.checks[checks, word] = accumulator[word]
        step.check_ranks[checks] = i
        step.n_checks[0] = checks + 1
        log.changes[i] = np.uint64(0)
    else:
        if recent == MAX_RECENT:
            return False
        at = PLANE_BITS + recent
        accumulator[RECENT + (at >> 6)] ^= np.uint64(1) << np.uint64(at & 63)
        step.recent_ranks[recent] = i
        step.n_recent[0] = recent + 1
        log.changes[i] = insert(system, place)
    log.combos[i] = combo
    return True


@njit
def _close(state, survivors, exact):
    """End a step: branch at its checks, and start the next in the states agreed now.

    Returns the survivors.
    """
    state = borrowed(state)
    step, outcome, candidates = state.step, state.outcome, state.candidates
    _read_system(state.system, outcome)
    outcome.patterns[:] = 0
    planes, beam = survivors.states.shape
    if step.n_checks[0] or exact:
        _read_checks(step, outcome)
        _list_candidates(step, outcome, state.history, candidates, exact)
        if not exact:
            search.drop_equals(candidates)
            search.link(candidates, step.n_checks[0])
        for q in range(planes):
            survivors = search.make_room(survivors, _batch(beam, len(step.checks)))
            _find_syndromes(step, outcome, survivors, q, state.branches)
            _move(outcome, survivors, q)
            if exact:
                survivors = search.branch_all(survivors, q, candidates, state.branches)
            else:
                search.branch_few(survivors, q, candidates, state.branches)
        if not exact:
            search.unlink(candidates)
    else:
        for q in range(planes):
            _move(outcome, survivors, q)
    if not exact:
        _remember(step, outcome, state.history)
    step.n_checks[0] = 0
    step.n_recent[0] = 0
    return survivors


@njit
def _read_system(system, outcome):
    """What state bits and recent care bits have become; the system forgets them.

    From now on the right-hand sides are the state.
    """
    equations, square = system.equations, outcome.square
    pivots = system.pivots[0]
    one = np.uint64(1)
    for word in range(STATE, WORDS):
        for p in range(64):
            square[p] = np.uint64(0)
            if (pivots >> np.uint64(p)) & one:
                square[p] = equations[p, word]
                equations[p, word] = one << np.uint64(p) if word == STATE else np.uint64(0)
                if word == RECENT:
                    equations[p, word] = square[p] & np.uint64((1 << PLANE_BITS) - 1)
        transpose(square)
        if word == STATE:
            tabulate(square, outcome.states)
        else:
            outcome.effects[64 * (word - RECENT) : 64 * (word - RECENT + 1)] = square


@njit
def _read_checks(step, outcome):
    """Which state bits and which recent care bits take part in each check."""
    square, patterns = outcome.square, outcome.patterns
    square[:] = 0
    for j in range(step.n_checks[0]):
        square[j] = step.checks[j, STATE]
        for word in range(RECENT, WORDS):
            rest = step.checks[j, word]
            if word == RECENT:
                rest &= ~np.uint64((1 << PLANE_BITS) - 1)
            while rest != 0:
                at = 64 * (word - RECENT) + np.int64(trailing_zeros(rest))
                patterns[at - PLANE_BITS] |= 1 << j
                rest &= rest - np.uint64(1)
    transpose(square)
    tabulate(square, outcome.syndromes)


@njit
def _list_candidates(step, outcome, history, candidates, exact):
    """All care bits that take part in a check of the step: checks, recent ones, older ones.

    The older ones leave the history. If `exact`, also recent ones that only change the state.
    """
    candidates.n_candidates[0] = 0
    for j in range(step.n_checks[0]):
        search.add_candidate(candidates, np.uint64(0), 1 << j, step.check_ranks[j])
    for a in range(step.n_recent[0] - 1, -1, -1):
        effect, pattern = outcome.effects[PLANE_BITS + a], outcome.patterns[a]
        if pattern or (exact and effect != 0):
            search.add_candidate(candidates, effect, pattern, step.recent_ranks[a])
    kept = 0
    for a in range(history.n_bits[0]):
        effect, rank = history.effects[a], history.ranks[a]
        pattern = np.int64(image(outcome.syndromes, effect))
        if pattern:
            search.add_candidate(candidates, image(outcome.states, effect), pattern, rank)
        else:
            history.effects[kept] = effect
            history.ranks[kept] = rank
            kept += 1
    history.n_bits[0] = kept


@njit
def _find_syndromes(step, outcome, survivors, q, branches):
    """The checks that each hypothesis of plane q violates."""
    violated = np.int64(0)
    for j in range(step.n_checks[0]):
        side = step.checks[j, RECENT] >> np.uint64(q)
        violated |= np.int64(side & np.uint64(1)) << j
    for h in range(survivors.counts[q]):
        state = survivors.states[q, h]
        branches.syndromes[h] = violated ^ np.int64(image(outcome.syndromes, state))


@njit
def _move(outcome, survivors, q):
    """Carry the states of plane q over to the present pivots."""
    states = survivors.states[q]
    for h in range(survivors.counts[q]):
        states[h] = image(outcome.states, states[h])


@njit
def _remember(step, outcome, history):
    """Carry the history over to the present state, without those that no longer matter.

    Recent care bits that took part in no check are added; the newest `limit` are kept.
    """
    effects, ranks = history.effects, history.ranks
    old, recent = history.n_bits[0], step.n_recent[0]
    kept = 0
    for a in range(max(0, old + recent - history.limit), old):
        effects[kept] = image(outcome.states, effects[a])
        ranks[kept] = ranks[a]
        kept += 1 if effects[kept] != 0 else 0
    for a in range(recent):
        if outcome.patterns[a] == 0:
            effects[kept] = outcome.effects[PLANE_BITS + a]
            ranks[kept] = step.recent_ranks[a]
            kept += 1 if effects[kept] != 0 else 0
    history.n_bits[0] = kept
