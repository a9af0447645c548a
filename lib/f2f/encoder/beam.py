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
full, `_read_step` says what it is made of, the search branches the hypotheses of each plane,
`_end_step` prepares the next; and at the end the best hypotheses are traced back. The bits given up
are flipped in the targets, which can then all be met: the log of the elimination is replayed for
them and the equations are solved by substitution.

**Compiling** takes longer than most tensors: the steps have one caller each and are compiled as
parts of it, `_advance`; what they need is allocated outside.

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

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from f2f.base import validate
from f2f.base.intrinsics import borrowed, popcount, trailing_zeros, transpose_bits
from f2f.base.jit import njit
from f2f.base.masks import positions_of
from f2f.decoder import Decoder
from f2f.encoder import search
from f2f.encoder.elimination import (
    MAX_RECENT,
    PLANE_BITS,
    RECENT,
    STATE,
    SUMS,
    WORDS,
    Log,
    Segment,
    System,
    catch_up,
    gather,
    insert,
    new_log,
    retire,
    solve,
    start_system,
    window_words,
)
from f2f.encoder.words import (
    SPARE,
    TABLE_WORDS,
    apply_map,
    prepare_map,
    rotate_left,
)

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
    zero_ends: tuple[bool, bool] = (False, False),
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
    zero_ends : (bool, bool)
        Whether the first n_s vectors, and the last n_s (if there are more), are to be zeros. What
        lies before and after such zeros is encoded by itself; they cost about 12 errors a plane.

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
    care = validate.positions("care", care, n)
    target = np.ascontiguousarray(target, dtype=np.uint8)
    if target.shape != care.shape:
        raise ValueError(
            f"target must have the shape (k,) of care, got {target.shape} and {care.shape}"
        )
    if lookahead is None:
        lookahead = _lookahead(decoder.window)
    lookahead = validate.integer("lookahead", lookahead, 1, MAX_LOOKAHEAD)

    def care_between(lo: int, hi: int) -> np.ndarray:
        return care[slice(*np.searchsorted(care, (lo, hi)))]

    return _in_segments(care_between, target, n, decoder, n_planes, beam, lookahead, zero_ends)


def encode_beam_of_mask(
    care_mask: np.ndarray,
    target: np.ndarray,
    decoder: Decoder,
    n_planes: int,
    beam: int,
    zero_ends: tuple[bool, bool] = (False, False),
) -> np.ndarray:
    """As `encode_beam` at the positions of a mask, bool (n,), of which it lists few at a time."""
    if target.shape != (np.count_nonzero(care_mask),):
        raise ValueError(f"target must have a bit for each of the mask, got {target.shape}")

    def care_between(lo: int, hi: int) -> np.ndarray:
        return positions_of(care_mask[lo:hi]) + lo

    n, lookahead = len(care_mask), _lookahead(decoder.window)
    return _in_segments(care_between, target, n, decoder, n_planes, beam, lookahead, zero_ends)


def _in_segments(
    care_between: Callable[[int, int], np.ndarray],
    target: np.ndarray,
    n: int,
    decoder: Decoder,
    n_planes: int,
    beam: int,
    lookahead: int,
    zero_ends: tuple[bool, bool],
) -> np.ndarray:
    """As `encode_beam`; care_between(lo, hi): the care positions lo … hi-1, int64."""
    exact = beam >= 1 << decoder.window
    inputs = np.zeros((decoder.n_vectors(n), n_planes), dtype=np.uint8)
    n_in, n_out, n_s, blocks = decoder.n_in, decoder.n_out, decoder.n_s, decoder.n_blocks(n)
    zero_start, zero_end = zero_ends
    seen = blocks + (0 if zero_end and blocks > n_s else n_s)  # vectors that are not zero
    block, row = 0, 0
    while block < blocks:
        next_block = min(blocks, block + SEGMENT_BLOCKS)
        care = care_between(block * n_out, next_block * n_out)
        if len(care) > SEGMENT_ROWS:
            next_block = min(next_block, int(care[SEGMENT_ROWS]) // n_out + 1)
            care = care[: np.searchsorted(care, next_block * n_out)]
        next_row = row + len(care)
        solution = inputs[block : min(next_block + n_s, seen)]
        known = n_s if block or zero_start else 0
        segment = Segment(
            care=care,
            target=target[row:next_row].copy(),
            rows=decoder.rows,
            n_in=n_in,
            n_out=n_out,
            first=block,
            vectors=len(solution),
            known=known,
            words=window_words(solution[:known], n_in, block),
        )
        log = give_up(segment, beam, 1 if exact else lookahead, exact)
        solve(segment, log, solution)
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
        The linear map from the last agreed state to the present one, see `f2f.encoder.words`.
    syndromes : ndarray of uint64, (TABLE_WORDS,)
        That from the last agreed state to the checks that it violates, bit j for check j.
    effects : ndarray of uint64, (PLANE_BITS + MAX_RECENT,)
        What giving up recent care bit a adds to the present state, at PLANE_BITS + a.
    patterns : ndarray of int64, (MAX_RECENT,)
        The checks that recent care bit a takes part in, bit j for check j.
    older_patterns : ndarray of uint64, (limit + MAX_RECENT + SPARE,)
        Those that the bits of a `History` take part in.
    square : ndarray of uint64, (64,)
        Room for a matrix.
    """

    states: np.ndarray
    syndromes: np.ndarray
    effects: np.ndarray
    patterns: np.ndarray
    older_patterns: np.ndarray
    square: np.ndarray


class History(NamedTuple):
    """Older care bits that took part in no check, so that they may still be given up.

    Attributes
    ----------
    ranks : ndarray of int64, (limit + MAX_RECENT,)
        Which care bits of the segment they are, oldest first.
    effects : ndarray of uint64, (limit + MAX_RECENT + SPARE,)
        What giving one up adds to the last agreed state.
    n_bits : ndarray of int64, (1,)
        How many there are.
    limit : int
        How many are kept; 0 if the encoder is exact, where recent ones are candidates at once.
    """

    ranks: np.ndarray
    effects: np.ndarray
    n_bits: np.ndarray
    limit: int


class Place(NamedTuple):
    """How far the encoder has come.

    Attributes
    ----------
    vector, care_bit : ndarray of int64, (1,)
        Which come next, numbers in the segment.
    plane : ndarray of int64, (1,)
        Whose hypotheses branch next, -1 while care bits are reduced into the step.
    """

    vector: np.ndarray
    care_bit: np.ndarray
    plane: np.ndarray


class Encoder(NamedTuple):
    """The encoder between two care bits, but for its survivors.

    Its last three fields hold something only while a step ends.
    """

    place: Place
    system: System
    step: Step
    history: History
    outcome: Outcome
    candidates: search.Candidates
    branches: search.Branches


def give_up(segment: Segment, beam: int, lookahead: int, exact: bool) -> Log:
    """Reduce the care bits of a segment and choose those to give up: they flip in its target.

    If `exact`, every reachable state is kept; the beam must hold them. The log is for `solve`.
    """
    log = new_log(segment)
    encoder = _new_encoder(segment, beam, lookahead, 0 if exact else HISTORY)
    planes = len(segment.words)
    survivors = search.new_survivors(planes, beam, 2 * planes * beam * (lookahead + 2))
    reached = search.new_reached(beam) if exact else None
    while (wanted := _advance(segment, log, encoder, survivors, reached)) > 0:
        survivors = search.make_room(survivors, wanted)
    search.trace_back(survivors, segment.target)
    return log


def _new_encoder(segment: Segment, beam: int, lookahead: int, limit: int) -> Encoder:
    """The encoder before the first care bit, with an empty history."""

    def zeros(*shape: int, dtype: type = np.int64) -> np.ndarray:
        return np.zeros(shape, dtype=dtype)

    def words(*shape: int) -> np.ndarray:
        return zeros(*shape, dtype=np.uint64)

    return Encoder(
        Place(zeros(1), zeros(1), zeros(1) - 1),
        start_system(segment),
        Step(words(lookahead, WORDS), zeros(lookahead), zeros(1), zeros(MAX_RECENT), zeros(1)),
        History(zeros(limit + MAX_RECENT), words(limit + MAX_RECENT + SPARE), zeros(1), limit),
        Outcome(
            words(TABLE_WORDS),
            words(TABLE_WORDS),
            words(PLANE_BITS + MAX_RECENT),
            zeros(MAX_RECENT),
            words(limit + MAX_RECENT + SPARE),
            words(64),
        ),
        search.new_candidates(limit + 2 * MAX_RECENT + lookahead, lookahead),
        search.new_branches(len(segment.words), beam),
    )


@njit
def _advance(segment, log, encoder, survivors, reached):
    """Encode until the end of the segment, or until there is no room for the next nodes.

    `reached` is None but for the exact encoder. Returns how many nodes there must be room for to
    go on, 0 at the end.
    """
    segment, log, encoder = borrowed(segment), borrowed(log), borrowed(encoder)
    survivors = borrowed(survivors)
    plane = encoder.place.plane
    planes, beam = survivors.costs.shape
    while plane[0] >= 0 or _fill(segment, log, encoder.system, encoder.step, encoder.place):
        if plane[0] < 0:
            _read_step(encoder, survivors)
            plane[0] = 0
        if _branching(encoder):
            for q in range(plane[0], planes):
                plane[0] = q
                if reached is None:
                    wanted = beam * (len(encoder.step.checks) + 2)
                    if survivors.used[0] + wanted > len(survivors.nodes):
                        return wanted
                    search.branch_few(survivors, q, encoder.candidates, encoder.branches)
                else:
                    wanted = search.branch_all(
                        survivors, q, encoder.candidates, encoder.branches, reached
                    )
                    if wanted > 0:
                        return wanted
        _end_step(encoder)
        plane[0] = -1
    return 0


@njit(inline="always")
def _branching(encoder):
    """Whether hypotheses branch at the end of this step."""
    return encoder.step.n_checks[0] > 0 or encoder.history.limit == 0


@njit(inline="always")
def _fill(segment, log, system, step, place):
    """Reduce care bits from a place on into the step; False at the end, True if it is full before.

    A step is full when its checks or recent care bits are, and just before its first check.
    """
    care, target, pivots = segment.care, segment.target, system.pivots
    t, i = place.vector[0], place.care_bit[0]
    full = False
    while t < segment.vectors and not full:
        at = ((segment.first + t) * segment.n_in) & 63
        start = (segment.first + t) * segment.n_out
        end = start + segment.n_out
        seen = min(64, (segment.vectors - t) * segment.n_in)
        variables = ~np.uint64(0) >> np.uint64(64 - seen)
        row = change = np.uint64(0)
        more = i < len(care) and care[i] < end
        if more:
            row = rotate_left(segment.rows[care[i] - start] & variables, at)
            gather(system.equations, row & pivots[0], row, np.uint64(target[i]), SUMS + (i & 1))
        while more:
            this, other = SUMS + (i & 1), SUMS + 1 - (i & 1)
            combo = row & pivots[0]
            odd = popcount(combo & change) & np.uint64(1)
            left = catch_up(system.equations, this, other, odd)
            more = i + 1 < len(care) and care[i + 1] < end
            if more:
                row = rotate_left(segment.rows[care[i + 1] - start] & variables, at)
                gather(system.equations, row & pivots[0], row, np.uint64(target[i + 1]), other)
            if not _take_care_bit(system, step, log, i, combo, left, at):
                full = True
                break
            change = log.changes[i]
            i += 1
        if not full:
            full = t == segment.vectors - 1 and step.n_checks[0] > 0
        if not full:
            retire(system, at, log.retired[t])
            t += 1
    place.vector[0], place.care_bit[0] = t, i
    return full


@njit(inline="always")
def _take_care_bit(system, step, log, i, combo, left, at):
    """Take care bit i, whose row is reduced, into the step; False if it is full.

    The oldest variable of the window is bit `at`.
    """
    checks, recent = step.n_checks[0], step.n_recent[0]
    source = SUMS + (i & 1)
    if left == 0:
        full = checks == len(step.checks) or (checks == 0 and recent > 0)
    else:
        full = recent == MAX_RECENT
    if full:
        return False
    log.combos[i] = combo
    if left == 0:
        for word in range(WORDS):
            step.checks[checks, word] = system.equations[source, word]
        step.check_ranks[checks] = i
        step.n_checks[0] = checks + 1
        log.changes[i] = np.uint64(0)
    else:
        step.recent_ranks[recent] = i
        step.n_recent[0] = recent + 1
        log.changes[i] = insert(system, at, left, recent, source)
    return True


@njit(inline="always")
def _read_step(encoder, survivors):
    """What the step is made of; all states, and the system, are those of its end from now on."""
    step, outcome, history = encoder.step, encoder.outcome, encoder.history
    states, old = outcome.states, history.n_bits[0]
    _read_system(encoder.system, outcome)
    for a in range(step.n_recent[0]):
        outcome.patterns[a] = 0
    if _branching(encoder):
        _read_checks(step, outcome)
        _find_syndromes(step, outcome, survivors, encoder.branches)
        apply_map(outcome.syndromes, history.effects, old, outcome.older_patterns)
    apply_map(states, history.effects, old, history.effects)
    for q in range(len(survivors.counts)):
        apply_map(states, survivors.states[q], survivors.counts[q], survivors.states[q])
    if _branching(encoder):
        _list_candidates(step, outcome, history, encoder.candidates)
        if history.limit:
            search.drop_equals(encoder.candidates)
            search.link(encoder.candidates, step.n_checks[0])


@njit(inline="always")
def _end_step(encoder):
    """Start the next step, in the states that the hypotheses have agreed on."""
    if encoder.history.limit:
        if _branching(encoder):
            search.unlink(encoder.candidates)
        _remember(encoder.step, encoder.outcome, encoder.history)
    encoder.step.n_checks[0] = 0
    encoder.step.n_recent[0] = 0


@njit(inline="always")
def _read_system(system, outcome):
    """What state bits and recent care bits have become; the system forgets them.

    From now on the right-hand sides are the state.
    """
    equations, square = system.equations, outcome.square
    one, planes = np.uint64(1), np.uint64((1 << PLANE_BITS) - 1)
    for word in range(STATE, WORDS):
        for p in range(64):
            there = (system.pivots[0] >> np.uint64(p)) & one
            square[p] = equations[p, word] & (np.uint64(0) - there)
            equations[p, word] = there << np.uint64(p) if word == STATE else np.uint64(0)
            if word == RECENT:
                equations[p, word] = square[p] & planes
        if word == STATE:
            prepare_map(square, outcome.states)
        else:
            transpose_bits(square, 0)
            for p in range(64):
                outcome.effects[64 * (word - RECENT) + p] = square[p]


@njit(inline="always")
def _read_checks(step, outcome):
    """Which state bits and which recent care bits take part in each check."""
    square, patterns = outcome.square, outcome.patterns
    for j in range(64):
        square[j] = np.uint64(0)
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
    prepare_map(square, outcome.syndromes)


@njit(inline="always")
def _list_candidates(step, outcome, history, candidates):
    """All care bits that take part in a check of the step: checks, recent ones, older ones.

    The older ones leave the history. For the exact encoder also recent ones that only change the
    state.
    """
    candidates.n_candidates[0] = 0
    for j in range(step.n_checks[0]):
        search.add_candidate(candidates, np.uint64(0), 1 << j, step.check_ranks[j])
    for a in range(step.n_recent[0] - 1, -1, -1):
        effect, pattern = outcome.effects[PLANE_BITS + a], outcome.patterns[a]
        if pattern != 0 or (history.limit == 0 and effect != 0):
            search.add_candidate(candidates, effect, pattern, step.recent_ranks[a])
    kept = 0
    for a in range(history.n_bits[0]):
        effect, rank = history.effects[a], history.ranks[a]
        pattern = np.int64(outcome.older_patterns[a])
        if pattern != 0:
            search.add_candidate(candidates, effect, pattern, rank)
        history.effects[kept] = effect
        history.ranks[kept] = rank
        kept += pattern == 0
    history.n_bits[0] = kept


@njit(inline="always")
def _find_syndromes(step, outcome, survivors, branches):
    """The checks that each hypothesis of each plane violates."""
    for q in range(len(survivors.counts)):
        violated = np.int64(0)
        for j in range(step.n_checks[0]):
            side = step.checks[j, RECENT] >> np.uint64(q)
            violated |= np.int64(side & np.uint64(1)) << j
        count, syndromes = survivors.counts[q], branches.syndromes[q]
        apply_map(outcome.syndromes, survivors.states[q], count, syndromes)
        for h in range(count):
            syndromes[h] ^= violated


@njit(inline="always")
def _remember(step, outcome, history):
    """Drop older care bits that no longer matter.

    Recent care bits that took part in no check are added; the newest `limit` are kept.
    """
    effects, ranks = history.effects, history.ranks
    old, recent = history.n_bits[0], step.n_recent[0]
    kept = 0
    for a in range(max(0, old + recent - history.limit), old):
        effect = effects[a]
        effects[kept] = effect
        ranks[kept] = ranks[a]
        kept += effect != 0
    for a in range(recent):
        effect = outcome.effects[PLANE_BITS + a]
        effects[kept] = effect
        ranks[kept] = step.recent_ranks[a]
        kept += (outcome.patterns[a] == 0) & (effect != 0)
    history.n_bits[0] = kept
