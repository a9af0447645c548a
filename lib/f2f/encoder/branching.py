"""Choosing which care bits to get wrong: the search under the beam encoder.

One step (see `f2f.encoder.beam`) is the following problem. There are hypotheses h with a state word w_h and
a syndrome s_h, the checks that h violates. There are candidates a, care bits that may be given up
at cost 1 each, with an effect word F_a on the state and a pattern A_a of the checks in which they
take part. Find the cheapest new states

    w_h ⊕ F_a1 ⊕ … ⊕ F_af    with    A_a1 ⊕ … ⊕ A_af = s_h.

`branch_few` starts from hypotheses of equal cost, enumerates f = 0, 1, 2 … and stops at the first f
for which there are solutions, so all new hypotheses have equal cost again. (Keeping dearer ones
beside them was measured to cost time and, at a given beam, E.) For one hypothesis and one f it is a
depth-first search: the next candidate is one that takes part in the lowest check still violated,
and the last is looked up by its pattern. `branch_all` finds every reachable state at its least
cost, by dynamic programming over the candidates; with it nothing is cut.

What a hypothesis gave up is a chain of nodes (parent, care bit), as in any trace-back; `collect`
drops the nodes that no hypothesis needs any more, so their number stays near that of the errors.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from f2f.base.intrinsics import trailing_zeros
from f2f.encoder.elimination import image

MAX_FLIPS = 32  # no solution needs more: at most one a check
_EFFORT = 1 << 12  # most candidates tried for one hypothesis and one f
_HASH = 0x9E3779B97F4A7C15


@njit(cache=True, nogil=True)
def hash_shift(size):
    """64 - log2(size): what a 64-bit product is shifted right by to index a table of that size."""
    shift = 64
    while size > 1:
        size >>= 1
        shift -= 1
    return np.uint64(shift)


@njit(cache=True, nogil=True)
def collect(nodes, used, ends, count):
    """Keep only the nodes on the chains from ends[:count]; returns how many there are.

    nodes: int32 (capacity, 2), parent (-1: none) and care bit; parents come first. ends is updated.
    """
    moved = np.zeros(used, dtype=np.int32)
    for h in range(count):
        node = ends[h]
        while node >= 0 and moved[node] == 0:
            moved[node] = 1
            node = nodes[node, 0]
    kept = 0
    for node in range(used):
        if moved[node]:
            parent = nodes[node, 0]
            nodes[kept, 0] = moved[parent] if parent >= 0 else -1
            nodes[kept, 1] = nodes[node, 1]
            moved[node] = kept
            kept += 1
    for h in range(count):
        if ends[h] >= 0:
            ends[h] = moved[ends[h]]
    return kept


@njit(cache=True, nogil=True)
def drop_equals(effects, ranks, patterns, count, keys, stamps, stamp):
    """Keep the first of candidates with equal effect and pattern; returns how many are left.

    keys: int64, and stamps, int64: a hash table, empty where the stamp is another.
    """
    shift = hash_shift(len(keys))
    wrap = np.uint64(len(keys) - 1)
    one = np.uint64(1)
    kept = 0
    for a in range(count):
        at = ((effects[a] ^ np.uint64(patterns[a])) * np.uint64(_HASH)) >> shift
        while stamps[at] == stamp and (
            effects[keys[at]] != effects[a] or patterns[keys[at]] != patterns[a]
        ):
            at = (at + one) & wrap
        if stamps[at] != stamp:
            stamps[at] = stamp
            keys[at] = kept
            effects[kept] = effects[a]
            ranks[kept] = ranks[a]
            patterns[kept] = patterns[a]
            kept += 1
    return kept


@njit(cache=True, nogil=True)
def link_candidates(patterns, count, checks, first, following, members, sizes):
    """Index the candidates by pattern and by check, in their order.

    patterns: int64 (count,), not 0. first: int16 (2**checks,), all -1, receives the first candidate
    of a pattern; following: the next one of the same. members: int16 (checks, count), sizes: int64
    (checks,), the candidates that take part in a check.
    """
    for a in range(count - 1, -1, -1):
        following[a] = first[patterns[a]]
        first[patterns[a]] = a
    for j in range(checks):
        size = 0
        for a in range(count):
            members[j, size] = a
            size += (patterns[a] >> j) & 1
        sizes[j] = size


@njit(cache=True, nogil=True)
def unlink_candidates(patterns, count, first):
    """Make `first` all -1 again."""
    for a in range(count):
        first[patterns[a]] = -1


@njit(cache=True, nogil=True)
def branch_few(
    words,
    ends,
    syndromes,
    count,
    effects,
    ranks,
    patterns,
    first,
    following,
    members,
    sizes,
    nodes,
    used,
    keys,
    stamps,
    stamp,
    new_words,
    new_ends,
):
    """The cheapest new states, at most len(new_words); returns their number and the nodes used.

    words, ends, syndromes: of the `count` hypotheses. effects, ranks, patterns: of the candidates,
    of which candidate j gives up check j itself, so there always is a solution. keys, stamps: a
    hash table of at least 4 len(new_words) places, empty where the stamp is another.
    """
    beam = len(new_words)
    shift = hash_shift(len(keys))
    wrap = np.uint64(len(keys) - 1)
    one = np.uint64(1)
    picks = np.empty(MAX_FLIPS, dtype=np.int64)
    places = np.empty(MAX_FLIPS, dtype=np.int64)
    violated = np.empty(MAX_FLIPS, dtype=np.int64)
    found = 0
    flips = 0
    while found == 0:
        for h in range(count):
            # Every hypothesis has its share of what room is left, so that the beam stays diverse.
            room = max(1, (beam - found) // (count - h))
            effort = 0
            depth = 0
            violated[0] = syndromes[h]
            places[0] = 0
            while depth >= 0 and room > 0 and effort < _EFFORT:
                syndrome = violated[depth]
                missing = flips - depth
                if missing <= 1:
                    last = -1
                    solved = syndrome == 0
                    if missing == 1:
                        last = first[syndrome]
                        solved = last >= 0
                    while solved and room > 0 and found < beam:
                        word = words[h]
                        for d in range(depth):
                            word ^= effects[picks[d]]
                        if last >= 0:
                            word ^= effects[last]
                        at = (word * np.uint64(_HASH)) >> shift
                        while stamps[at] == stamp and keys[at] != word:
                            at = (at + one) & wrap
                        if stamps[at] != stamp:
                            stamps[at] = stamp
                            keys[at] = word
                            end = ends[h]
                            for d in range(flips):
                                nodes[used, 0] = end
                                nodes[used, 1] = ranks[picks[d] if d < depth else last]
                                end = used
                                used += 1
                            new_words[found] = word
                            new_ends[found] = end
                            found += 1
                            room -= 1
                        effort += 1
                        if last >= 0:
                            last = following[last]
                        solved = last >= 0
                    depth -= 1
                    continue
                # Nothing violated: fewer candidates would have done, a smaller f found those.
                check = np.int64(trailing_zeros(np.uint64(syndrome))) if syndrome else 0
                if syndrome == 0 or places[depth] == sizes[check]:
                    depth -= 1
                    continue
                a = members[check, places[depth]]
                places[depth] += 1
                effort += 1
                picks[depth] = a
                depth += 1
                violated[depth] = syndrome ^ patterns[a]
                places[depth] = 0
            if found == beam:
                break
        flips += 1
    return found, used


@njit(cache=True, nogil=True)
def branch_all(
    words,
    costs,
    ends,
    syndromes,
    count,
    effects,
    ranks,
    patterns,
    candidates,
    nodes,
    used,
    keys,
    new_words,
    new_costs,
    new_ends,
):
    """Every reachable new state at its least cost; returns their number, the nodes used, nodes.

    As `branch_few`, with room for all states. keys: int64, power-of-two length, at least twice the
    pairs of state and syndrome. nodes is replaced by a larger copy when it is full.
    """
    shift = hash_shift(len(keys))
    wrap = np.uint64(len(keys) - 1)
    one = np.uint64(1)
    keys[:] = -1
    room = len(keys) // 2
    all_words = np.empty(room, dtype=np.uint64)
    all_costs = np.empty(room, dtype=np.int32)
    all_ends = np.empty(room, dtype=np.int32)
    all_syndromes = np.empty(room, dtype=np.int64)
    total = 0
    for a in range(-1, candidates):
        before = count if a < 0 else total
        if used + before > len(nodes):
            larger = np.empty((2 * (used + before), 2), dtype=np.int32)
            larger[:used] = nodes[:used]
            nodes = larger
        for e in range(before):
            if a < 0:
                word, syndrome, cost, end = words[e], syndromes[e], costs[e], ends[e]
            else:
                word = all_words[e] ^ effects[a]
                syndrome = all_syndromes[e] ^ patterns[a]
                cost = all_costs[e] + np.int32(1)
                end = all_ends[e]
            at = ((word ^ np.uint64(syndrome)) * np.uint64(_HASH)) >> shift
            while keys[at] >= 0 and (
                all_words[keys[at]] != word or all_syndromes[keys[at]] != syndrome
            ):
                at = (at + one) & wrap
            place = keys[at]
            if place < 0:
                place = total
                keys[at] = place
                all_words[place] = word
                all_syndromes[place] = syndrome
                total += 1
            elif all_costs[place] <= cost:
                continue
            if a >= 0:
                nodes[used, 0] = end
                nodes[used, 1] = ranks[a]
                end = np.int32(used)
                used += 1
            all_costs[place] = cost
            all_ends[place] = end
    found = 0
    for e in range(total):
        if all_syndromes[e] == 0:
            new_words[found] = all_words[e]
            new_costs[found] = all_costs[e]
            new_ends[found] = all_ends[e]
            found += 1
    return found, used, nodes


@njit(cache=True, nogil=True)
def move_states(table, words, count):
    """Carry the states of hypotheses over to the newest pivots; table: see `image`."""
    for h in range(count):
        words[h] = image(table, words[h])
