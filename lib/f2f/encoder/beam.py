"""The beam encoder: windows of up to 64 bits, near the optimum, millions of care bits a second.

Algorithm 3 of the paper walks a trellis of ``2**(n_in*n_s)`` states. But a care bit is a linear
equation over GF(2) in the input bits, and a band of such equations can be *solved*: the only
question is which of them to give up. `f2f.encoder.elimination` reduces the equations once for all planes of
a tensor, which share mask and matrix and differ in right-hand sides only. An equation that is
independent of those before it can always be met. One that is dependent, a *check*, is met or not by
the right-hand sides before it: an error-correcting code in disguise, and its optimum encoding the
nearest codeword. At a window of 64 bits and the best possible rate some 0.8 % of the care bits are
checks; the encoder works where they are and hardly at all elsewhere.

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

`f2f.encoder.branching` then finds, for each plane, the cheapest new states that satisfy all checks of the
step *at once*. Looking ahead over the checks of a whole burst is worth more than a wide beam: one
hypothesis with 18 checks beats 250 with one. A bit that takes part in no check of a step can still
be given up in later steps; the newest of these, with their effects, are the `history`. A step is
also ended just before its first check, so that it looks ahead as far as it can.

**Exactness.** With ``beam >= 2**window`` every reachable state is kept at its least cost: the
optimum that Algorithm 3 finds. A smaller beam loses what it cuts, nothing else. It is made for
loads (care bits per input bit) near 1, where `f2f.encoder.rate` puts them. From about 1.2 on, when every
block has checks and steps are short, an eager beam of 256, which branches at every care bit, makes
fewer errors in more time (benchmarks/beam.py).

**Memory** is bounded but for the inputs themselves: planes are encoded in segments of up to
SEGMENT_BLOCKS blocks and about SEGMENT_ROWS care bits, each starting from the last n_s input
vectors of the one before. That costs about four errors per seam and plane, 0.0004 % of E; up to
one segment it costs nothing. Input bits that no equation determines are 0.

Paper symbols: N_in = `n_in`, N_out = `n_out`, N_s = `n_s`, E = encoding efficiency.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from f2f.base import validate
from f2f.base.intrinsics import trailing_zeros
from f2f.decoder.decoder import Decoder
from f2f.encoder.branching import (
    branch_all,
    branch_few,
    collect,
    drop_equals,
    link_candidates,
    move_states,
    unlink_candidates,
)
from f2f.encoder.elimination import (
    ACCUMULATOR,
    MAX_RECENT,
    PLANE_BITS,
    RECENT,
    STATE,
    VARIABLES,
    WORDS,
    gather,
    image,
    insert,
    replay,
    retire,
    rotate_left,
    substitute,
    tabulate,
    transpose,
    window_words,
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
) -> np.ndarray:
    """Input vectors whose decoded bits agree with `target` at as many care positions as found.

    care: int64 (k,), increasing positions below n. target: uint8 (k,), bit q is the wanted bit of
    plane q. n_planes: planes, 1…8. beam: hypotheses kept per plane; from ``2**decoder.window`` on
    the result is the exact optimum (within a segment, see above). lookahead: checks of a step,
    1…18, by default chosen for the window; it has no effect on the exact optimum. Returns uint8
    (decoder.n_vectors(n), n_planes). Planes do not influence each other; deterministic; may be
    called from several threads at once.

    Raises `ValueError` for positions out of order or range and for wrong sizes.

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
    words = np.zeros(n_planes, dtype=np.uint64)
    blocks = decoder.n_blocks(n)
    block, row = 0, 0
    while block < blocks:
        next_block = min(blocks, block + SEGMENT_BLOCKS)
        if row + SEGMENT_ROWS < len(care):
            next_block = min(next_block, int(care[row + SEGMENT_ROWS]) // n_out + 1)
        next_row = int(np.searchsorted(care, next_block * n_out))
        rows = slice(row, next_row)
        segment = inputs[block : next_block + n_s]
        known = n_s if block else 0
        window_words(segment, n_in, block, known, words)
        log = np.zeros((next_row - row, 2), dtype=np.uint64)
        retired = np.zeros((len(segment), n_in), dtype=np.uint64)
        wanted = target[rows].copy()
        _decide(
            care[rows], wanted, decoder.rows, n_in, n_out, block, known, words,
            beam, lookahead, exact, log, retired,
        )  # fmt: skip
        replay(log, care[rows], wanted, n_in, n_out, block, words, segment)
        substitute(retired, n_in, block, segment)
        block, row = next_block, next_row
    return inputs


def _lookahead(window: int) -> int:
    """Checks of a step, as measured best: the wider the window, the farther its checks interact."""
    return min(8 + window // 4, MAX_LOOKAHEAD)


@njit(cache=True, nogil=True)
def _decide(
    care, wanted, rows, n_in, n_out, first, known, words, beam, lookahead, exact, log, retired
):
    """Reduce the care rows of a segment and choose those to give up; their bits in wanted flip.

    care, wanted: rows of the segment, which starts at block `first` with `known` input vectors
    given by `words`, uint64 (planes,). log: uint64 (k, 2) and retired: uint64 (vectors, n_in) are
    filled for `replay` and `substitute`.
    """
    one = np.uint64(1)
    zero = np.uint64(0)
    planes = len(words)
    k = len(care)
    vectors = len(retired)

    system = np.zeros((ACCUMULATOR + 1, WORDS), dtype=np.uint64)
    columns = np.zeros(64, dtype=np.uint64)
    pivots = zero
    for v in range(known * n_in):
        at = (first * n_in + v) & 63
        pivots |= one << np.uint64(at)
        system[at, VARIABLES] = one << np.uint64(at)
        for q in range(planes):
            system[at, RECENT] |= ((words[q] >> np.uint64(at)) & one) << np.uint64(q)

    checks = 0
    check_rows = np.zeros((lookahead, WORDS), dtype=np.uint64)
    check_ranks = np.zeros(lookahead, dtype=np.int64)
    recent = 0
    recent_ranks = np.zeros(MAX_RECENT, dtype=np.int64)
    recent_patterns = np.zeros(MAX_RECENT, dtype=np.int64)
    recent_effects = np.zeros(64 * (WORDS - RECENT), dtype=np.uint64)
    history = 0 if exact else HISTORY
    old = 0
    old_ranks = np.zeros(history + MAX_RECENT, dtype=np.int64)
    old_effects = np.zeros(history + MAX_RECENT, dtype=np.uint64)

    most = history + 2 * MAX_RECENT + lookahead
    effects = np.zeros(most, dtype=np.uint64)
    ranks = np.zeros(most, dtype=np.int64)
    patterns = np.zeros(most, dtype=np.int64)
    first_of = np.full(1 << lookahead, -1, dtype=np.int16)
    following = np.zeros(most, dtype=np.int16)
    members = np.zeros((lookahead, most + 1), dtype=np.int16)
    same = np.zeros(1 << 13, dtype=np.int64)
    same_stamps = np.zeros(len(same), dtype=np.int64)
    sizes = np.zeros(lookahead, dtype=np.int64)
    table = np.zeros(2048, dtype=np.uint64)
    check_table = np.zeros(2048, dtype=np.uint64)
    square = np.zeros(64, dtype=np.uint64)

    states = np.zeros((planes, beam), dtype=np.uint64)
    costs = np.zeros((planes, beam), dtype=np.int32)
    ends = np.full((planes, beam), -1, dtype=np.int32)
    counts = np.ones(planes, dtype=np.int64)
    syndromes = np.zeros(beam, dtype=np.int64)
    new_states = np.zeros(beam, dtype=np.uint64)
    new_costs = np.zeros(beam, dtype=np.int32)
    new_ends = np.zeros(beam, dtype=np.int32)
    used = np.zeros(planes, dtype=np.int64)
    batch = beam * (lookahead + 2)  # nodes that one step may add
    pools = [np.empty((2 * batch, 2), dtype=np.int32) for _ in range(planes)]
    size = 16
    while size < 4 * beam:
        size *= 2
    keys = np.zeros(size, dtype=np.uint64)
    stamps = np.zeros(size, dtype=np.int64)
    places = np.zeros(size if exact else 0, dtype=np.int64)
    stamp = 0

    i = 0
    for t in range(vectors):
        place = ((first + t) * n_in) & 63
        start = (first + t) * n_out
        while True:
            more = i < k and care[i] < start + n_out
            if more:
                row = rotate_left(rows[care[i] - start], place)
                combo = row & pivots
                system[ACCUMULATOR, VARIABLES] = row
                for word in range(STATE, WORDS):
                    system[ACCUMULATOR, word] = zero
                system[ACCUMULATOR, RECENT] = np.uint64(wanted[i])
                gather(system, combo)
                is_check = system[ACCUMULATOR, VARIABLES] == 0
                full = is_check and (checks == lookahead or (checks == 0 and recent > 0))
                full = full or (not is_check and recent == MAX_RECENT)
                if not full:
                    if is_check:
                        check_ranks[checks] = i
                        for word in range(WORDS):
                            check_rows[checks, word] = system[ACCUMULATOR, word]
                        checks += 1
                        log[i, 1] = zero
                    else:
                        at = recent + PLANE_BITS
                        system[ACCUMULATOR, RECENT + (at >> 6)] ^= one << np.uint64(at & 63)
                        recent_ranks[recent] = i
                        recent += 1
                        pivots, log[i, 1] = insert(system, columns, pivots, place)
                    log[i, 0] = combo
                    i += 1
                    continue
            elif not (t == vectors - 1 and checks):
                break

            # The end of a step: what have state bits and recent care bits become?
            for word in range(STATE, WORDS):
                for p in range(64):
                    square[p] = zero
                    if (pivots >> np.uint64(p)) & one:
                        square[p] = system[p, word]
                        system[p, word] = one << np.uint64(p) if word == STATE else zero
                        if word == RECENT:
                            system[p, word] = square[p] & np.uint64((1 << PLANE_BITS) - 1)
                transpose(square)
                if word == STATE:
                    tabulate(square, table)
                else:
                    for p in range(64):
                        recent_effects[64 * (word - RECENT) + p] = square[p]
            recent_patterns[:recent] = 0
            if checks or exact:
                square[:] = zero
                for j in range(checks):
                    square[j] = check_rows[j, STATE]
                    for word in range(RECENT, WORDS):
                        rest = check_rows[j, word]
                        if word == RECENT:
                            rest &= ~np.uint64((1 << PLANE_BITS) - 1)
                        while rest != 0:
                            at = 64 * (word - RECENT) + np.int64(trailing_zeros(rest))
                            recent_patterns[at - PLANE_BITS] |= 1 << j
                            rest &= rest - one
                transpose(square)
                tabulate(square, check_table)
                candidates = checks
                for j in range(checks):
                    effects[j] = zero
                    ranks[j] = check_ranks[j]
                    patterns[j] = 1 << j
                for a in range(recent - 1, -1, -1):
                    effect = recent_effects[a + PLANE_BITS]
                    if recent_patterns[a] or (exact and effect != 0):
                        effects[candidates] = effect
                        ranks[candidates] = recent_ranks[a]
                        patterns[candidates] = recent_patterns[a]
                        candidates += 1
                free = 0
                for a in range(old):
                    pattern = np.int64(image(check_table, old_effects[a]))
                    if pattern:
                        effects[candidates] = image(table, old_effects[a])
                        ranks[candidates] = old_ranks[a]
                        patterns[candidates] = pattern
                        candidates += 1
                    else:
                        old_effects[free] = old_effects[a]
                        old_ranks[free] = old_ranks[a]
                        free += 1
                old = free
                if not exact:
                    stamp += 1
                    candidates = drop_equals(
                        effects, ranks, patterns, candidates, same, same_stamps, stamp
                    )
                    link_candidates(
                        patterns, candidates, checks, first_of, following, members, sizes
                    )
                for q in range(planes):
                    violated = np.int64(0)
                    for j in range(checks):
                        bit = (check_rows[j, RECENT] >> np.uint64(q)) & one
                        violated |= np.int64(bit) << j
                    for h in range(counts[q]):
                        syndromes[h] = violated ^ np.int64(image(check_table, states[q, h]))
                    move_states(table, states[q], counts[q])
                    if exact:
                        counts[q], used[q], pools[q] = branch_all(
                            states[q], costs[q], ends[q], syndromes, counts[q],
                            effects, ranks, patterns, candidates, pools[q], used[q], places,
                            new_states, new_costs, new_ends,
                        )  # fmt: skip
                    else:
                        stamp += 1
                        counts[q], used[q] = branch_few(
                            states[q], ends[q], syndromes, counts[q],
                            effects, ranks, patterns, first_of, following, members, sizes,
                            pools[q], used[q], keys, stamps, stamp, new_states, new_ends,
                        )  # fmt: skip
                    for h in range(counts[q]):
                        states[q, h] = new_states[h]
                        costs[q, h] = new_costs[h]
                        ends[q, h] = new_ends[h]
                    if used[q] + batch > len(pools[q]):
                        used[q] = collect(pools[q], used[q], ends[q], counts[q])
                        if 2 * (used[q] + batch) > len(pools[q]):
                            larger = np.empty((2 * len(pools[q]), 2), dtype=np.int32)
                            larger[: used[q]] = pools[q][: used[q]]
                            pools[q] = larger
                if not exact:
                    unlink_candidates(patterns, candidates, first_of)
            else:
                for q in range(planes):
                    move_states(table, states[q], counts[q])
            if not exact:
                kept = 0
                for a in range(max(0, old + recent - history), old):
                    old_effects[kept] = image(table, old_effects[a])
                    old_ranks[kept] = old_ranks[a]
                    kept += 1 if old_effects[kept] != 0 else 0
                for a in range(recent):
                    if recent_patterns[a] == 0:
                        old_effects[kept] = recent_effects[a + PLANE_BITS]
                        old_ranks[kept] = recent_ranks[a]
                        kept += 1 if old_effects[kept] != 0 else 0
                old = kept
            recent = 0
            checks = 0
        pivots = retire(system, columns, pivots, place, n_in, retired[t])

    for q in range(planes):
        best = 0
        for h in range(counts[q]):
            if costs[q, h] < costs[q, best]:
                best = h
        node = ends[q, best]
        while node >= 0:
            wanted[pools[q][node, 1]] ^= np.uint8(1 << q)
            node = pools[q][node, 0]
