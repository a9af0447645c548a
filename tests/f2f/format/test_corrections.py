"""The Elias-Fano list: golden bytes, round trips, size, refusal of damage."""

from math import lgamma, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from f2f.base.errors import FormatError
from f2f.format.corrections import EliasFano, elias_fano_bits, low_bits
from f2f_study.experiments.accounting import paper_bits


@st.composite
def lists(draw):
    universe = draw(st.one_of(st.integers(0, 70), st.integers(0, 5000), st.integers(2**40, 2**62)))
    limit = min(universe, draw(st.sampled_from([0, 3, 100, 3000])))
    if universe <= 5000:
        count = draw(st.integers(0, limit))
        rng = np.random.default_rng(draw(st.integers(0, 2**32)))
        positions = np.sort(rng.permutation(universe)[:count])
    else:
        positions = np.array(sorted(draw(st.sets(st.integers(0, universe - 1), max_size=20))))
    return positions.astype(np.int64), universe


def test_golden_bytes_by_hand():
    # u = 16, m = 4: l = 1, 8 + (15 >> 1) = 15 bits; high parts 0, 1, 1, 7 set bits 0, 2, 3, 10;
    # low bits 1, 0, 1, 1 follow the upper 11 bits, at bits 11, 13, 14.
    code = EliasFano.encode(np.array([1, 2, 3, 15]), 16)
    assert low_bits(4, 16) == 1
    assert code.nbits == 15
    assert code.data.tolist() == [0b00001101, 0b01101100]


def test_bytes_are_the_documented_format():
    for universe, step in ((200_000, 1), (10**9, 30), (2**45, 8 * 10**8), (40_000, 0)):
        positions = np.arange(200) ** 2 * step + np.arange(200)
        low = low_bits(200, universe)
        word = 0
        upper = 200 + ((universe - 1) >> low)
        for i, position in enumerate(positions.tolist()):
            word |= 1 << ((position >> low) + i)
            word |= (position & ((1 << low) - 1)) << (upper + i * low)
        code = EliasFano.encode(positions, universe)
        assert code.nbits == upper + 200 * low
        assert code.data.tobytes() == word.to_bytes(-(-code.nbits // 8), "little")


@settings(max_examples=200, deadline=None)
@given(lists())
def test_round_trip(case):
    positions, universe = case
    code = EliasFano.encode(positions, universe)
    assert code.decode().tolist() == positions.tolist()
    if universe <= 5000:
        bits = np.random.default_rng(0).integers(0, 2**64, 5000 // 64 + 1, dtype=np.uint64)
        flipped = bits.copy()
        code.flip(flipped)
        changed = np.unpackbits((bits ^ flipped).view(np.uint8), bitorder="little")
        assert np.flatnonzero(changed).tolist() == positions.tolist()
    again = EliasFano(code.data, code.count, universe)
    assert again.decode().tolist() == positions.tolist()


def test_empty_lists_cost_nothing():
    for universe in (0, 1, 2**62):
        code = EliasFano.encode(np.zeros(0, np.int64), universe)
        assert (code.nbits, code.data.nbytes, code.decode().size) == (0, 0, 0)


def test_full_lists():
    for universe in (1, 2, 63, 64, 65, 1000):
        code = EliasFano.encode(np.arange(universe), universe)
        assert (code.decode() == np.arange(universe)).all()


def test_low_bits_make_the_code_shortest():
    for universe in (1, 2, 3, 10, 100, 1000, 4097, 10**6):
        for count in {1, 2, 3, universe // 7, universe // 2, universe} - {0}:
            if count <= universe:
                best = min(count * (low + 1) + ((universe - 1) >> low) for low in range(40))
                assert elias_fano_bits(count, universe) == best


@pytest.mark.parametrize("density", [0.001, 0.01, 0.1])
def test_size_is_near_the_entropy_of_a_subset(density):
    universe = 10**6
    count = int(universe * density)
    entropy = (lgamma(universe + 1) - lgamma(count + 1) - lgamma(universe - count + 1)) / (
        log(2) * count
    )
    assert entropy < elias_fano_bits(count, universe) / count < entropy + 0.6


@pytest.mark.parametrize(
    ("positions", "universe"),
    [([1, 1], 5), ([2, 1], 5), ([5], 5), ([-1], 5), ([[1]], 5), ([0.5], 5), ([1], 2**62 + 1)],
)
def test_wrong_arguments(positions, universe):
    with pytest.raises(ValueError, match="must be"):
        EliasFano.encode(np.array(positions), universe)


def test_every_damaged_bit_is_found_or_decodes_in_range():
    rng = np.random.default_rng(2)
    positions = np.sort(rng.permutation(3000)[:40])
    code = EliasFano.encode(positions, 3000)
    refused = 0
    for bit in range(8 * len(code.data)):
        data = code.data.copy()
        data[bit // 8] ^= 1 << bit % 8
        try:
            decoded = EliasFano(data, 40, 3000).decode()
        except FormatError:
            refused += 1
        else:
            assert len(decoded) == 40 and (np.diff(decoded) > 0).all() and decoded[-1] < 3000
            assert (decoded != positions).any()
    # Every flip of the upper part or the padding changes a count; one of the low bits may pass.
    assert refused >= 8 * len(code.data) - 40 * low_bits(40, 3000)


@pytest.mark.parametrize(
    ("size", "count", "universe"),
    [
        (0, 40, 3000),
        (-1, 40, 3000),
        (1, 40, 3000),
        (0, 41, 3000),
        (0, -1, 3000),
        (0, True, 3000),
        (0, 40, 39),
        (0, 40.0, 3000),
        (0, 40, 2**70),
        (0, "40", 3000),
        (0, 40, None),
    ],
)
def test_wrong_headers_are_format_errors(size, count, universe):
    code = EliasFano.encode(np.sort(np.random.default_rng(3).permutation(3000)[:40]), 3000)
    data = np.resize(code.data, len(code.data) + size)
    if (size, count, universe) == (0, 40, 3000):
        data = data.astype(np.int8)
    with pytest.raises(FormatError, match="correction"):
        EliasFano(data, count, universe)


def test_random_bytes_never_crash():
    rng = np.random.default_rng(4)
    for _ in range(2000):
        universe = int(rng.integers(1, 2000))
        count = int(rng.integers(0, universe + 1))
        data = rng.integers(0, 256, -(-elias_fano_bits(count, universe) // 8)).astype(np.uint8)
        try:
            decoded = EliasFano(data, count, universe).decode()
        except FormatError:
            continue
        assert len(decoded) == count


def test_paper_accounting():
    assert paper_bits(0, 0) == 0
    assert paper_bits(1, 1) == 11
    assert paper_bits(512, 0) == 1
    assert paper_bits(513, 5) == 52
    with pytest.raises(ValueError, match="n_errors must be"):
        paper_bits(3, 4)
