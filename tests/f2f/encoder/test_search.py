"""The search for care bits to give up, against all subsets of the candidates."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from f2f.encoder import search


def all_solutions(states, syndromes, costs, effects, patterns, ranks):
    """New state -> least cost and the sets of ranks that reach it at that cost."""
    found = {}
    for state, syndrome, cost in zip(states, syndromes, costs, strict=True):
        for picks in itertools.product((0, 1), repeat=len(effects)):
            chosen = [a for a, pick in enumerate(picks) if pick]
            left, word = int(syndrome), int(state)
            for a in chosen:
                left ^= int(patterns[a])
                word ^= int(effects[a])
            if left == 0:
                total = int(cost) + len(chosen)
                best, ways = found.get(word, (total, set()))
                if total <= best:
                    ways = ways if total == best else set()
                    found[word] = (total, ways | {(int(state), frozenset(ranks[chosen].tolist()))})
    return found


def step(seed, checks, extra, hypotheses, bits):
    """A random step: survivors of planes 0 and 1, candidates, and the syndromes of plane 1."""
    rng = np.random.default_rng(seed)
    effects = rng.integers(0, 1 << bits, checks + extra, dtype=np.uint64)
    effects[:checks] = 0
    patterns = np.concatenate([1 << np.arange(checks), rng.integers(1, 1 << checks, extra)])
    ranks = rng.permutation(checks + extra)
    states = rng.choice(1 << bits, hypotheses, replace=False).astype(np.uint64)
    syndromes = rng.integers(0, 1 << checks, hypotheses)
    return states, syndromes, effects, patterns, ranks


def prepared(step, beam, costs):
    states, syndromes, effects, patterns, ranks = step
    checks = int(patterns.max()).bit_length()
    survivors = search.new_survivors(2, beam, 4 * beam * (checks + 2))
    survivors.states[1, : len(states)] = states
    survivors.costs[1, : len(states)] = costs
    survivors.counts[1] = len(states)
    branches = search.new_branches(2, beam)
    branches.syndromes[1, : len(states)] = syndromes
    candidates = search.new_candidates(len(effects), checks)
    for effect, pattern, rank in zip(effects, patterns, ranks, strict=True):
        search.add_candidate(candidates, effect, int(pattern), int(rank))
    return survivors, candidates, branches, checks


def given_up(survivors, h):
    """Ranks on the chain of hypothesis h of plane 1."""
    ranks, end = [], int(survivors.ends[1, h])
    while end >= 0:
        ranks.append(int(survivors.nodes[end]["rank"]))
        end = int(survivors.nodes[end]["parent"])
    return ranks


def check_chains(survivors, step, costs):
    """Every survivor is a hypothesis with its chain given up, and no chain names a bit twice."""
    states, syndromes, effects, patterns, ranks = step
    place = np.argsort(ranks)
    for h in range(survivors.counts[1]):
        chain = given_up(survivors, h)
        assert len(set(chain)) == len(chain)
        word, left = 0, 0
        for rank in chain:
            word ^= int(effects[place[rank]])
            left ^= int(patterns[place[rank]])
        starts = [
            cost
            for state, syndrome, cost in zip(states, syndromes, costs, strict=True)
            if int(state) ^ word == survivors.states[1, h] and syndrome == left
        ]
        assert starts and survivors.costs[1, h] in {c + len(chain) for c in starts} | {0}


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    checks=st.integers(1, 4),
    extra=st.integers(0, 6),
    hypotheses=st.integers(1, 4),
    bits=st.integers(2, 6),
)
def test_few_are_the_cheapest_of_all_subsets(seed, checks, extra, hypotheses, bits):
    case = step(seed, checks, extra, hypotheses, bits)
    nothing = np.zeros(hypotheses, dtype=int)
    survivors, candidates, branches, checks = prepared(case, 64, 0)
    search.drop_equals(candidates)
    search.link(candidates, checks)
    search.branch_few(survivors, 1, candidates, branches)
    found = all_solutions(case[0], case[1], nothing, *case[2:])
    least = min(cost for cost, _ in found.values())
    cheapest = {word for word, (cost, _) in found.items() if cost == least}
    count = survivors.counts[1]
    assert set(survivors.states[1, :count].tolist()) <= cheapest
    assert {len(given_up(survivors, h)) for h in range(count)} == {least}
    if hypotheses == 1:  # one hypothesis has the whole beam, so nothing is cut
        assert set(survivors.states[1, :count].tolist()) == cheapest
    check_chains(survivors, case, nothing)
    search.unlink(candidates)
    assert (candidates.first_of == 0).all()


@pytest.mark.parametrize("beam", [1, 2, 5])
def test_few_keep_to_the_beam(beam):
    case = step(3, 3, 12, min(2, beam), 8)
    survivors, candidates, branches, checks = prepared(case, beam, 0)
    search.drop_equals(candidates)
    search.link(candidates, checks)
    search.branch_few(survivors, 1, candidates, branches)
    count = survivors.counts[1]
    assert 1 <= count <= beam
    assert len(set(survivors.states[1, :count].tolist())) == count
    assert survivors.counts[0] == 1 and survivors.states[0, 0] == 0


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    checks=st.integers(1, 2),
    extra=st.integers(0, 7),
    hypotheses=st.integers(1, 4),
    bits=st.integers(2, 4),
)
def test_all_are_the_least_costs_of_all_subsets(seed, checks, extra, hypotheses, bits):
    case = step(seed, checks, extra, hypotheses, bits)
    costs = np.random.default_rng(seed).integers(0, 3, hypotheses)
    survivors, candidates, branches, checks = prepared(case, 4 << bits, costs)
    reached = search.new_reached(4 << bits)
    survivors = survivors._replace(nodes=survivors.nodes[:1])  # too little room
    before = [field.copy() for field in survivors]
    while (wanted := search.branch_all(survivors, 1, candidates, branches, reached)) > 0:
        for field, old in zip(survivors[:4], before, strict=False):
            np.testing.assert_array_equal(field, old)
        assert survivors.used[0] == 0
        survivors = search.make_room(survivors, wanted)
    found = all_solutions(case[0], case[1], costs, *case[2:])
    count = survivors.counts[1]
    words = survivors.states[1, :count].tolist()
    assert dict(zip(words, survivors.costs[1, :count].tolist(), strict=True)) == {
        word: cost for word, (cost, _) in found.items()
    }
    for h, word in enumerate(words):
        chain = frozenset(given_up(survivors, h))
        assert chain in {way for _, way in found[word][1]}
    check_chains(survivors, case, costs)


def test_room_is_made_by_dropping_what_nobody_needs():
    survivors = search.new_survivors(2, 4, 20)
    capacity = len(survivors.nodes)
    rng = np.random.default_rng(0)
    for node in range(capacity):
        survivors.nodes[node] = (rng.integers(-1, node) if node else -1, node)
    survivors.used[0] = capacity
    survivors.counts[:] = 2, 3
    survivors.ends[0, :2] = 7, -1
    survivors.ends[1, :3] = 19, 4, 7

    def chains(survivors):
        found = []
        for q, h in ((0, 0), (0, 1), (1, 0), (1, 1), (1, 2)):
            ranks, end = [], survivors.ends[q, h]
            while end >= 0:
                ranks.append(int(survivors.nodes[end]["rank"]))
                end = survivors.nodes[end]["parent"]
            found.append(ranks)
        return found

    before = chains(survivors)
    needed = set().union(*before)
    with_room = search.make_room(survivors, 5)
    assert chains(with_room) == before
    assert with_room.used[0] == len(needed) < capacity
    assert with_room.used[0] + 5 <= len(with_room.nodes)
    same = search.make_room(with_room, 5)
    assert len(same.nodes) == len(with_room.nodes) and same.used[0] == len(needed)


def test_trace_back_flips_what_the_best_gave_up():
    survivors = search.new_survivors(2, 2, 16)
    survivors.nodes[:3] = [(-1, 5), (0, 2), (-1, 1)]
    survivors.used[0] = 3
    survivors.counts[:] = 2, 1
    survivors.costs[0] = 2, 1
    survivors.ends[0] = 2, 1
    target = np.full(6, 255, dtype=np.uint8)
    search.trace_back(survivors, target)
    assert target.tolist() == [255, 255, 254, 255, 255, 254]
