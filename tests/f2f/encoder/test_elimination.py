"""Banded elimination against plain elimination over GF(2) of the whole system."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from f2f.base.intrinsics import popcount
from f2f.decoder import Decoder
from f2f.encoder.elimination import (
    MAX_RECENT,
    PLANE_BITS,
    RECENT,
    SUMS,
    VARIABLES,
    Segment,
    catch_up,
    gather,
    insert,
    new_log,
    retire,
    solve,
    start_system,
    window_words,
)
from f2f.encoder.words import rotate_left


@njit
def add_row(system, place, row, target, number):
    """Reduce a row and insert what is left; returns its combo and its change, 0 for a check."""
    combo = row & system.pivots[0]
    gather(system.equations, combo, row, np.uint64(target), SUMS)
    left = catch_up(system.equations, SUMS, SUMS + 1, np.uint64(0))
    return combo, insert(system, place, left, number, SUMS) if left else left


@njit
def gathered_ahead(system, place, row, target, following):
    """As `add_row`, and whether `following`, gathered before, has caught up with it."""
    equations, zero = system.equations, np.uint64(0)
    gather(equations, following & system.pivots[0], following, zero, SUMS + 1)
    combo, change = add_row(system, place, row, target, 0)
    needed = following & system.pivots[0]
    catch_up(equations, SUMS + 1, SUMS, popcount(needed & change) & np.uint64(1))
    gather(equations, needed, following, zero, SUMS)
    return combo, change, (equations[SUMS] == equations[SUMS + 1]).all()


@njit
def follow(segment, system, log, holds):
    """Eliminate a segment; `holds` (blocks,) tells of each block whether the system was reduced."""
    i = 0
    for t in range(segment.vectors):
        place = ((segment.first + t) * segment.n_in) & 63
        start = (segment.first + t) * segment.n_out
        caught_up = True
        while i < len(segment.care) and segment.care[i] < start + segment.n_out:
            row = rotate_left(segment.rows[segment.care[i] - start], place)
            last = i + 1 == len(segment.care) or segment.care[i + 1] >= start + segment.n_out
            following = row if last else segment.rows[segment.care[i + 1] - start]
            combo, change, right = gathered_ahead(
                system, place, row, segment.target[i], rotate_left(following, place)
            )
            log.combos[i], log.changes[i] = combo, change
            caught_up &= right
            i += 1
        holds[t] = caught_up
        pivots = system.pivots[0]
        for p in range(64):
            bit = np.uint64(1) << np.uint64(p)
            row = system.equations[p, VARIABLES]
            if pivots & bit:  # no pivot but its own
                holds[t] &= row & pivots == bit
                oldest = rotate_left(row, (64 - place) & 63)
                own = rotate_left(bit, (64 - place) & 63)
                holds[t] &= popcount(oldest & (own - np.uint64(1))) == 0
                for v in range(64):  # columns are the transpose
                    held = (system.columns[v] >> np.uint64(p)) & np.uint64(1)
                    here = (row >> np.uint64(v)) & np.uint64(1)
                    holds[t] &= v == p or held == here
        retire(system, place, log.retired[t])


def plain_elimination(rows):
    """Which rows of a 0/1 matrix depend on those before them."""
    basis = []  # rows by falling leading bit
    dependent = []
    for row in rows:
        word = int("".join(map(str, row)), 2)
        for b in basis:
            word = min(word, word ^ b)
        dependent.append(word == 0)
        if word:
            basis = sorted([*basis, word], reverse=True)
    return np.array(dependent, dtype=bool)


def equations(care, decoder, n):
    """The care bits as rows over all variables, 0/1 (k, vectors*n_in), oldest variable first."""
    rows = np.zeros((len(care), decoder.n_vectors(n) * decoder.n_in), dtype=int)
    for i, position in enumerate(care):
        block, r = divmod(int(position), decoder.n_out)
        bits = (decoder.rows[r] >> np.arange(decoder.window, dtype=np.uint64)) & np.uint64(1)
        rows[i, block * decoder.n_in :][: decoder.window] = bits
    return rows


def problem(seed, n_in, n_s, load):
    rng = np.random.default_rng(seed)
    n_out = int(rng.integers(n_in, 4 * n_in + 8))
    decoder = Decoder(n_in, n_out, n_s, seed)
    n = int(rng.integers(1, 12 * n_out))
    care = np.flatnonzero(rng.random(n) < min(1.0, load * n_in / n_out))
    target = rng.integers(0, 256, len(care), dtype=np.uint8)
    return decoder, n, care, target


def plane_of(care, target, decoder, n, words=None, known=0, first=0):
    words = np.zeros(8, dtype=np.uint64) if words is None else words
    vectors = decoder.n_vectors(n) - first
    sizes = (decoder.n_in, decoder.n_out)
    return Segment(care, target, decoder.rows, *sizes, first, vectors, known, words)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    n_in=st.integers(1, 8),
    n_s=st.integers(0, 15),
    load=st.floats(0.5, 1.6),
)
def test_checks_are_the_dependent_rows_and_the_rest_is_met(seed, n_in, n_s, load):
    decoder, n, care, target = problem(seed, n_in, min(n_s, 64 // n_in - 1), load)
    segment = plane_of(care, target, decoder, n)
    log = new_log(segment)
    holds = np.zeros(segment.vectors, dtype=bool)
    follow(segment, start_system(segment), log, holds)
    assert holds.all()
    dependent = plain_elimination(equations(care, decoder, n))
    np.testing.assert_array_equal(log.changes == 0, dependent)
    inputs = np.zeros((segment.vectors, 8), dtype=np.uint8)
    solve(segment, log, inputs)
    decoded = decoder.decode(inputs, n)[care]
    np.testing.assert_array_equal(decoded[~dependent], target[~dependent])


@pytest.mark.parametrize(("n_in", "n_s"), [(8, 7), (5, 3), (3, 20)])
def test_a_second_segment_keeps_the_given_vectors(n_in, n_s):
    rng = np.random.default_rng(n_in)
    decoder = Decoder(n_in, 3 * n_in, n_s, 1)
    blocks, first = 60, 23
    n = blocks * decoder.n_out
    care = np.flatnonzero(rng.random(n) < 0.25)
    care = care[care >= first * decoder.n_out]
    target = rng.integers(0, 256, len(care), dtype=np.uint8)
    inputs = rng.integers(0, 1 << n_in, (decoder.n_vectors(n), 8), dtype=np.uint8)
    given = inputs[first : first + n_s].copy()
    words = window_words(given, n_in, first)
    segment = plane_of(care, target, decoder, n, words, n_s, first)
    log = new_log(segment)
    follow(segment, start_system(segment), log, np.zeros(segment.vectors, dtype=bool))
    solution = inputs[first:]
    solve(segment, log, solution)
    np.testing.assert_array_equal(solution[:n_s], given)
    met = log.changes != 0
    np.testing.assert_array_equal(decoder.decode(inputs, n)[care][met], target[met])


def test_equations_tell_what_they_are_made_of():
    system = start_system(plane_of(np.zeros(0, np.int64), np.zeros(0, np.uint8), Decoder(), 800))
    rng = np.random.default_rng(2)
    rows = rng.integers(1, 2**64, 40, dtype=np.uint64)
    targets = rng.integers(0, 256, 40)
    numbers = rng.choice(MAX_RECENT, 40, replace=False)
    for row, target, number in zip(rows, targets, numbers, strict=True):
        add_row(system, 0, row, target, number)
    made = np.unpackbits(system.equations[:64, RECENT:].view(np.uint8), axis=1, bitorder="little")
    for p in range(64):
        parts = made[p, PLANE_BITS:][numbers] == 1
        assert made[p, PLANE_BITS:].sum() == parts.sum()
        for word, side in ((VARIABLES, rows), (RECENT, targets)):
            total = np.bitwise_xor.reduce(side[parts], initial=side.dtype.type(0))
            found = system.equations[p, word]
            assert total == (found if word == VARIABLES else found & np.uint64(255))
