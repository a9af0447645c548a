"""Choosing which care bits to get wrong: the search under the beam encoder.

One step (see `f2f.encoder.beam`) is the following problem. There are hypotheses h with a state word
w_h and a syndrome s_h, the checks that h violates. There are candidates a, care bits that may be
given up at cost 1 each, with an effect word F_a on the state and a pattern A_a of the checks in
which they take part. Find the cheapest new states

    w_h ⊕ F_a1 ⊕ … ⊕ F_af    with    A_a1 ⊕ … ⊕ A_af = s_h.

`branch_few` starts from hypotheses of equal cost, enumerates f = 0, 1, 2 … and stops at the first f
for which there are solutions, so all new hypotheses have equal cost again. (Keeping dearer ones
beside them was measured to cost time and, at a given beam, E.) For one hypothesis and one f it is a
depth-first search: the next candidate is one that takes part in the lowest check still violated,
and the last is looked up by its pattern. `branch_all` finds every reachable state at its least
cost, by dynamic programming over the candidates; with it nothing is cut.

What a hypothesis gave up is a chain of nodes (parent, care bit), as in any trace-back;
`make_room` drops the nodes that no hypothesis needs any more, so their number stays near that of
the errors.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from f2f.base.intrinsics import borrowed, trailing_zeros
from f2f.base.jit import njit
from f2f.encoder.words import SPARE

MAX_FLIPS = 32  # no solution needs more: at most one a check
NODE = np.dtype([("parent", np.int32), ("rank", np.int32)])  # parent: a node, or -1
_EFFORT = 1 << 12  # most candidates tried for one hypothesis and one f
_HASH = 0x9E3779B97F4A7C15
_EQUALS = 1 << 12  # places to look for equal candidates, twice as many as there are


class PairTable(NamedTuple):
    """Numbers of pairs of a word and a set of checks: a hash table, emptied by another stamp.

    Attributes
    ----------
    words : ndarray of uint64, (2**k,)
    checks : ndarray of int64, (2**k,)
    numbers : ndarray of int64, (2**k,)
    stamps : ndarray of int64, (2**k,)
        A place is free where this is not the present stamp.
    stamp : ndarray of int64, (1,)
        The present stamp; 0 before the first, which is 1.
    shift : uint64
        64 - k: a 64-bit product shifted right by it is a place.
    """

    words: np.ndarray
    checks: np.ndarray
    numbers: np.ndarray
    stamps: np.ndarray
    stamp: np.ndarray
    shift: np.uint64


class Candidates(NamedTuple):
    """The care bits that may be given up in a step, in the order in which they are tried.

    Attributes
    ----------
    effects : ndarray of uint64, (most,)
        What giving up a candidate adds to the state.
    patterns : ndarray of int64, (most,)
        The checks that a candidate takes part in, bit j for check j.
    ranks : ndarray of int64, (most,)
        Which care bit of the segment it is.
    n_candidates : ndarray of int64, (1,)
        How many there are.
    first_of : ndarray of int16, (2**checks,)
        The first candidate with a pattern, by its number + 1, or 0. This and the next three are an
        index that `link` makes.
    following : ndarray of int16, (most,)
        The next candidate with the same pattern, likewise.
    members : ndarray of int16, (checks, most + 1)
        The candidates that take part in a check.
    sizes : ndarray of int64, (checks,)
        How many of these there are.
    seen : PairTable
        Of effects and patterns, to find equal ones.
    """

    effects: np.ndarray
    patterns: np.ndarray
    ranks: np.ndarray
    n_candidates: np.ndarray
    first_of: np.ndarray
    following: np.ndarray
    members: np.ndarray
    sizes: np.ndarray
    seen: PairTable


class Survivors(NamedTuple):
    """The hypotheses of all planes, and what each has given up.

    Attributes
    ----------
    states : ndarray of uint64, (planes, beam + SPARE)
    costs : ndarray of int32, (planes, beam)
        Care bits given up; not counted, 0, while all of a plane have given up as many.
    ends : ndarray of int32, (planes, beam)
        Last node of the chain of each hypothesis, -1 for an empty one.
    counts : ndarray of int64, (planes,)
        Hypotheses of each plane.
    nodes : ndarray of NODE, (capacity,)
        Chains of care bits given up; a parent comes before its children.
    used : ndarray of int64, (1,)
        Nodes in use.
    """

    states: np.ndarray
    costs: np.ndarray
    ends: np.ndarray
    counts: np.ndarray
    nodes: np.ndarray
    used: np.ndarray


class Branches(NamedTuple):
    """What a step needs to turn hypotheses into new ones, those of one plane after the other.

    Attributes
    ----------
    syndromes : ndarray of int64, (planes, beam + SPARE)
        The checks that each hypothesis violates, bit j for check j.
    states : ndarray of uint64, (beam,)
        The new states. This and what follows is for `branch_few`.
    ends : ndarray of int32, (beam,)
        Last node of the chain of each.
    seen : PairTable
        Of new states, without checks; at least 4 beam places.
    picks : ndarray of int64, (MAX_FLIPS,)
        The candidate given up at each depth of the search.
    tried : ndarray of int64, (MAX_FLIPS,)
        How many members of its check have been tried at each depth.
    violated : ndarray of int64, (MAX_FLIPS + 1,)
        The checks still violated when the picks above a depth are given up.
    """

    syndromes: np.ndarray
    states: np.ndarray
    ends: np.ndarray
    seen: PairTable
    picks: np.ndarray
    tried: np.ndarray
    violated: np.ndarray


class Reached(NamedTuple):
    """All pairs of state and syndrome that `branch_all` has reached, at their least cost.

    Attributes
    ----------
    states : ndarray of uint64, (most,)
    syndromes : ndarray of int64, (most,)
    costs : ndarray of int32, (most,)
    ends : ndarray of int32, (most,)
    n_pairs : ndarray of int64, (1,)
    seen : PairTable
        Of all pairs; 2 most places.
    """

    states: np.ndarray
    syndromes: np.ndarray
    costs: np.ndarray
    ends: np.ndarray
    n_pairs: np.ndarray
    seen: PairTable


def _pair_table(places: int) -> PairTable:
    """Room for fewer pairs than `places`, a power of two."""
    words = np.zeros(places, dtype=np.uint64)
    checks, numbers, stamps = np.zeros((3, places), dtype=np.int64)
    shift = np.uint64(64 - (places.bit_length() - 1))
    return PairTable(words, checks, numbers, stamps, np.zeros(1, dtype=np.int64), shift)


def _table_size(most: int) -> int:
    """The power of two from 16 on that is at least `most`."""
    return max(16, 1 << (most - 1).bit_length())


def new_candidates(most: int, checks: int) -> Candidates:
    """Room for `most` candidates, fewer than 2**13, and steps of up to `checks` checks."""
    return Candidates(
        np.zeros(most, dtype=np.uint64),
        np.zeros(most, dtype=np.int64),
        np.zeros(most, dtype=np.int64),
        np.zeros(1, dtype=np.int64),
        np.zeros(1 << checks, dtype=np.int16),
        np.zeros(most, dtype=np.int16),
        np.zeros((checks, most + 1), dtype=np.int16),
        np.zeros(checks, dtype=np.int64),
        _pair_table(_EQUALS),
    )


def new_survivors(planes: int, beam: int, capacity: int) -> Survivors:
    """One hypothesis in state 0 for every plane, and room for `capacity` nodes."""
    return Survivors(
        np.zeros((planes, beam + SPARE), dtype=np.uint64),
        np.zeros((planes, beam), dtype=np.int32),
        np.full((planes, beam), -1, dtype=np.int32),
        np.ones(planes, dtype=np.int64),
        np.empty(capacity, dtype=NODE),
        np.zeros(1, dtype=np.int64),
    )


def new_branches(planes: int, beam: int) -> Branches:
    """Room to branch the hypotheses of each plane into `beam` new ones."""
    return Branches(
        np.zeros((planes, beam + SPARE), dtype=np.int64),
        np.zeros(beam, dtype=np.uint64),
        np.zeros(beam, dtype=np.int32),
        _pair_table(_table_size(4 * beam)),
        np.zeros(MAX_FLIPS, dtype=np.int64),
        np.zeros(MAX_FLIPS, dtype=np.int64),
        np.zeros(MAX_FLIPS + 1, dtype=np.int64),
    )


def new_reached(beam: int) -> Reached:
    """Room for the pairs that hypotheses reach which fit into a beam of all states."""
    most = _table_size(4 * beam) // 2
    return Reached(
        np.empty(most, dtype=np.uint64),
        np.empty(most, dtype=np.int64),
        np.empty(most, dtype=np.int32),
        np.empty(most, dtype=np.int32),
        np.zeros(1, dtype=np.int64),
        _pair_table(2 * most),
    )


@njit(inline="always")
def add_candidate(candidates, effect, pattern, rank):
    """Append a candidate."""
    at = candidates.n_candidates[0]
    candidates.effects[at] = effect
    candidates.patterns[at] = pattern
    candidates.ranks[at] = rank
    candidates.n_candidates[0] = at + 1


@njit(inline="always")
def _enter(table, word, checks, number):
    """Enter a pair by a number, unless it is there; returns the number that it has."""
    stamp, stamps = table.stamp[0], table.stamps
    wrap = np.uint64(len(stamps) - 1)
    at = ((word ^ np.uint64(checks)) * np.uint64(_HASH)) >> table.shift
    while stamps[at] == stamp and (table.words[at] != word or table.checks[at] != checks):
        at = (at + np.uint64(1)) & wrap
    if stamps[at] != stamp:
        stamps[at] = stamp
        table.words[at] = word
        table.checks[at] = checks
        table.numbers[at] = number
    return table.numbers[at]


@njit(inline="always")
def drop_equals(candidates):
    """Keep the first of candidates with equal effect and pattern."""
    effects, patterns, ranks = candidates.effects, candidates.patterns, candidates.ranks
    candidates.seen.stamp[0] += 1
    kept = 0
    for a in range(candidates.n_candidates[0]):
        effect, pattern = effects[a], patterns[a]
        if _enter(candidates.seen, effect, pattern, kept) == kept:
            effects[kept] = effect
            patterns[kept] = pattern
            ranks[kept] = ranks[a]
            kept += 1
    candidates.n_candidates[0] = kept


@njit(inline="always")
def link(candidates, checks):
    """Index the candidates by pattern and by check, in their order; no pattern may be 0."""
    patterns, first_of, following = candidates.patterns, candidates.first_of, candidates.following
    for a in range(candidates.n_candidates[0] - 1, -1, -1):
        following[a] = first_of[patterns[a]]
        first_of[patterns[a]] = a + 1
    for j in range(checks):
        members = candidates.members[j]
        size = 0
        for a in range(candidates.n_candidates[0]):
            members[size] = a
            size += (patterns[a] >> j) & 1
        candidates.sizes[j] = size


@njit(inline="always")
def unlink(candidates):
    """Make `first_of` all 0 again."""
    for a in range(candidates.n_candidates[0]):
        candidates.first_of[candidates.patterns[a]] = 0


def make_room(survivors: Survivors, wanted: int) -> Survivors:
    """The survivors with room for at least `wanted` more nodes."""
    _drop_dead_nodes(survivors, np.zeros(survivors.used[0], dtype=np.int32))
    needed = 2 * (int(survivors.used[0]) + wanted)
    if needed <= len(survivors.nodes):
        return survivors
    nodes = np.empty(max(needed, 2 * len(survivors.nodes)), dtype=NODE)
    nodes[: survivors.used[0]] = survivors.nodes[: survivors.used[0]]
    return survivors._replace(nodes=nodes)


@njit
def _drop_dead_nodes(survivors, moved):
    """Keep only the nodes on the chains of survivors; `moved` is int32 (used,), all 0."""
    nodes, ends = survivors.nodes, survivors.ends
    for q in range(len(ends)):
        for h in range(survivors.counts[q]):
            node = ends[q, h]
            while node >= 0 and moved[node] == 0:
                moved[node] = 1
                node = nodes[node].parent
    kept = 0
    for node in range(len(moved)):
        if moved[node]:
            parent = nodes[node].parent
            nodes[kept].parent = moved[parent] if parent >= 0 else -1
            nodes[kept].rank = nodes[node].rank
            moved[node] = kept
            kept += 1
    for q in range(len(ends)):
        for h in range(survivors.counts[q]):
            if ends[q, h] >= 0:
                ends[q, h] = moved[ends[q, h]]
    survivors.used[0] = kept


@njit(inline="always")
def _adopt(survivors, q, branches, count):
    """Make the first `count` branches the hypotheses of plane q."""
    survivors.counts[q] = count
    for h in range(count):
        survivors.states[q, h] = branches.states[h]
        survivors.ends[q, h] = branches.ends[h]


@njit(inline="always")
def _append(survivors, end, rank):
    """Append a care bit to the chain that ends at node `end`; returns the new end."""
    node = survivors.used[0]
    survivors.nodes[node].parent = end
    survivors.nodes[node].rank = rank
    survivors.used[0] = node + 1
    return np.int32(node)


@njit(inline="always")
def _add_branch(survivors, q, h, flips, candidates, branches, found):
    """Add what hypothesis h becomes by the first `flips` picks to the `found` branches, if new.

    Returns the number of branches.
    """
    word = survivors.states[q, h]
    for d in range(flips):
        word ^= candidates.effects[branches.picks[d]]
    if _enter(branches.seen, word, 0, found) != found:
        return found
    end = survivors.ends[q, h]
    for d in range(flips):
        end = _append(survivors, end, candidates.ranks[branches.picks[d]])
    branches.states[found] = word
    branches.ends[found] = end
    return found + 1


@njit(inline="always")
def _branch_one(survivors, q, h, flips, candidates, branches, found):
    """Satisfy the checks that hypothesis h violates by giving up exactly `flips` candidates.

    The new states are added to the `found` branches; returns their number.
    """
    if flips == 0:
        if branches.syndromes[q, h] == 0:
            return _add_branch(survivors, q, h, 0, candidates, branches, found)
        return found
    # Every hypothesis has its share of what room is left, so that the beam stays diverse.
    share = (len(branches.states) - found) // (survivors.counts[q] - h)
    limit = found + max(1, share)
    picks, tried, violated = branches.picks, branches.tried, branches.violated
    patterns, sizes, members = candidates.patterns, candidates.sizes, candidates.members
    effort = 0
    depth = 0
    violated[0] = branches.syndromes[q, h]
    tried[0] = 0
    while depth >= 0 and found < limit and effort < _EFFORT:
        syndrome = violated[depth]
        if depth == flips - 1:
            last = candidates.first_of[syndrome]
            while last > 0 and found < limit:
                picks[depth] = last - 1
                found = _add_branch(survivors, q, h, flips, candidates, branches, found)
                effort += 1
                last = candidates.following[last - 1]
            depth -= 1
            continue
        # Nothing violated: fewer candidates would have done, a smaller f found those.
        check = np.int64(trailing_zeros(np.uint64(syndrome))) if syndrome else 0
        if syndrome == 0 or tried[depth] == sizes[check]:
            depth -= 1
            continue
        a = members[check, tried[depth]]
        tried[depth] += 1
        effort += 1
        picks[depth] = a
        depth += 1
        violated[depth] = syndrome ^ patterns[a]
        tried[depth] = 0
    return found


@njit(inline="always")
def branch_few(survivors, q, candidates, branches):
    """Turn the hypotheses of plane q into the cheapest new ones, as many as the beam holds.

    Their costs are equal, their syndromes stand in the branches, and there is room for beam*checks
    nodes. The candidates are linked; candidate j gives up check j itself, so there is a solution.
    """
    branches.seen.stamp[0] += 1
    beam = len(branches.states)
    found = 0
    flips = 0
    while found == 0:
        for h in range(survivors.counts[q]):
            found = _branch_one(survivors, q, h, flips, candidates, branches, found)
            if found == beam:
                break
        flips += 1
    _adopt(survivors, q, branches, found)


@njit(inline="always")
def _reach(reached, state, syndrome, cost):
    """Enter a pair of state and syndrome at a cost; returns its number, -1 if it was no dearer."""
    fresh = reached.n_pairs[0]
    pair = _enter(reached.seen, state, syndrome, fresh)
    if pair == fresh:
        reached.states[pair] = state
        reached.syndromes[pair] = syndrome
        reached.n_pairs[0] = pair + 1
    elif reached.costs[pair] <= cost:
        return np.int64(-1)
    reached.costs[pair] = cost
    return pair


@njit(inline="always")
def _enter_hypotheses(reached, survivors, q, branches):
    """Enter the hypotheses of plane q with their syndromes."""
    for h in range(survivors.counts[q]):
        syndrome = branches.syndromes[q, h]
        pair = _reach(reached, survivors.states[q, h], syndrome, survivors.costs[q, h])
        reached.ends[pair] = survivors.ends[q, h]


@njit(inline="always")
def _hypotheses_of_pairs(reached, survivors, q):
    """Make the pairs without violated checks the hypotheses of plane q."""
    found = 0
    for e in range(reached.n_pairs[0]):
        if reached.syndromes[e] == 0:
            survivors.states[q, found] = reached.states[e]
            survivors.costs[q, found] = reached.costs[e]
            survivors.ends[q, found] = reached.ends[e]
            found += 1
    survivors.counts[q] = found


@njit(inline="always")
def _give_up_in_all(reached, survivors, effect, pattern, rank):
    """Give up a candidate, besides what was given up, in every pair reached so far."""
    for e in range(reached.n_pairs[0]):
        state, syndrome = reached.states[e] ^ effect, reached.syndromes[e] ^ pattern
        pair = _reach(reached, state, syndrome, reached.costs[e] + np.int32(1))
        if pair >= 0:
            reached.ends[pair] = _append(survivors, reached.ends[e], rank)


@njit(inline="always")
def branch_all(survivors, q, candidates, branches, reached):
    """Turn the hypotheses of plane q into every reachable new state at its least cost.

    Costs may differ, and the beam must hold all states. Returns 0, or if there is too little room
    for nodes, for how many there must be at least to try again; nothing has changed then.
    """
    reached = borrowed(reached)
    reached.seen.stamp[0] += 1
    reached.n_pairs[0] = 0
    used, wanted = survivors.used[0], 0
    _enter_hypotheses(reached, survivors, q, branches)
    for a in range(candidates.n_candidates[0]):
        if survivors.used[0] + reached.n_pairs[0] > len(survivors.nodes):
            wanted = survivors.used[0] + reached.n_pairs[0] - used
            break
        effect, pattern = candidates.effects[a], candidates.patterns[a]
        _give_up_in_all(reached, survivors, effect, pattern, candidates.ranks[a])
    if wanted > 0:
        survivors.used[0] = used
    else:
        _hypotheses_of_pairs(reached, survivors, q)
    return wanted


@njit
def trace_back(survivors, target):
    """Flip the care bits that the cheapest hypothesis of each plane has given up.

    target: uint8 (k,), bit q of element i is the bit of plane q at the care bit of rank i.
    """
    costs = survivors.costs
    for q in range(len(survivors.counts)):
        best = 0
        for h in range(survivors.counts[q]):
            if costs[q, h] < costs[q, best]:
                best = h
        end = survivors.ends[q, best]
        while end >= 0:
            target[survivors.nodes[end].rank] ^= np.uint8(1 << q)
            end = survivors.nodes[end].parent
