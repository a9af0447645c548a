"""Random planes have the statistics they are asked for, and the measurement adds up."""

import numpy as np
import pytest

from f2f import entropy, synthetic


def test_independent_care_bits_have_their_density():
    care = synthetic.random_care(5000, 80, 0.9, seed=1)
    assert care.mean() == pytest.approx(0.1, abs=0.002)
    assert np.array_equal(care, synthetic.random_care(5000, 80, 0.9, seed=1))
    assert not np.array_equal(care, synthetic.random_care(5000, 80, 0.9, seed=2))


@pytest.mark.parametrize("variation", [0, 0.2, 0.6])
def test_the_spread_can_be_set(variation):
    drawn = entropy.spread(synthetic.random_care(20000, 80, 0.9, 3, variation), 80)
    assert drawn.mean == pytest.approx(8, abs=0.1)
    assert drawn.variation == pytest.approx(variation, abs=0.01)
    # and within a block the places are uniform
    places = synthetic.random_care(20000, 10, 0.5, 3, variation).reshape(-1, 10).mean(0)
    assert np.ptp(places) < 0.03


def test_ones_are_as_frequent_as_asked():
    assert synthetic.random_bits(100000, 0, ones=0.8).mean() == pytest.approx(0.8, abs=0.01)


def test_a_measurement_adds_up():
    row = synthetic.measure(8, 1, synthetic.ideal_n_out(8, 0.9), 0.9, blocks=200, seed=5)
    assert (row.n_out, row.payload_bits) == (80, 8 * 201)
    assert row.efficiency_percent == pytest.approx(100 * (1 - row.wrong_bits / row.care_bits))
    original = 200 * 80
    assert row.correction_bits == 32 + 10 * row.wrong_bits
    stored = row.payload_bits + row.correction_bits
    assert row.memory_reduction_percent == pytest.approx(100 * (1 - stored / original))
    assert row.memory_reduction_percent < row.bound_percent == pytest.approx(90)


def test_zeros_are_the_cheap_symbol():
    # As it is, a plane of ones is as hard as a random one; complemented, zeros decode to it.
    as_it_is, inverted = (
        synthetic.measure(8, 0, 80, 0.9, 300, 0, ones=1.0, inverted=i) for i in (False, True)
    )
    assert as_it_is.efficiency_percent < 95
    assert inverted.wrong_bits == 0


def test_many_measurements_keep_their_order():
    cases = [
        dict(n_in=8, n_s=n_s, n_out=80, sparsity=0.9, blocks=50, seed=seed)
        for n_s in (0, 1)
        for seed in (0, 1)
    ]
    assert synthetic.measure_all(cases) == [synthetic.measure(**case) for case in cases]


def test_binomial_shares_sum_to_one():
    shares = synthetic.block_shares(80, 0.9, 2000, 0)
    assert sum(s.share_percent for s in shares) == pytest.approx(100)
    assert sum(s.binomial_percent for s in shares) == pytest.approx(100, abs=0.5)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: synthetic.random_care(0, 8, 0.5, 0), "blocks must be an integer >= 1, got 0"),
        (lambda: synthetic.random_care(1, 8, 1.5, 0), "sparsity must be in 0..1, got 1.5"),
        (lambda: synthetic.random_care(1, 8, 0.5, 0, -1), "variation must be at least 0, got -1"),
        (lambda: synthetic.random_bits(8, 0, 2), "ones must be in 0..1, got 2"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
