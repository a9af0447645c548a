"""Random planes have the statistics they are asked for, and the measurement adds up."""

import numpy as np
import pytest

from f2f.decoder.decoder import Decoder
from f2f_study.experiments import entropy, synthetic


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
    row = synthetic.measure(n_in=8, n_s=1, sparsity=0.9, blocks=200, seed=5)
    assert (row.n_out, row.payload_bits) == (80, 8 * 201)
    assert row.efficiency_percent == pytest.approx(100 * (1 - row.wrong_bits / row.care_bits))
    original = 200 * 80
    assert row.correction_bits == 32 + 10 * row.wrong_bits
    stored = row.payload_bits + row.correction_bits
    assert row.memory_reduction_percent == pytest.approx(100 * (1 - stored / original))
    assert row.memory_reduction_percent < row.bound_percent == pytest.approx(90)


def test_zeros_are_the_cheap_symbol():
    # As it is, a plane of ones is as hard as a random one; complemented, zeros decode to it.
    cases = synthetic.combinations(
        n_in=8, n_s=0, sparsity=0.9, blocks=300, seed=0, ones=1.0, inverted=(False, True)
    )
    as_it_is, inverted = synthetic.measure_all(cases)
    assert as_it_is.efficiency_percent < 95
    assert inverted.wrong_bits == 0


def test_many_measurements_keep_their_order():
    cases = synthetic.combinations(n_in=8, n_s=(0, 1), sparsity=0.9, blocks=50, seed=range(2))
    assert [(case["n_s"], case["seed"]) for case in cases] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    one_by_one = [synthetic.measure(**case) for case in cases]
    assert [repr(row) for row in synthetic.measure_all(cases)] == [repr(r) for r in one_by_one]


def test_what_a_mask_costs():
    cases = synthetic.combinations(n_in=8, n_s=0, sparsity=0.9, blocks=50, seed=range(3))
    rows = synthetic.measure_all(cases)
    (row,) = synthetic.mask_rows(rows, n_w=8)
    mean = np.mean([r.memory_reduction_percent for r in rows])
    assert row.without_mask_percent == pytest.approx(mean)
    assert row.with_bitmap_percent == pytest.approx(mean - 12.5)
    # 1.269 of 8 bits a weight, see test_entropy
    assert row.bound_with_mask_percent == pytest.approx(100 * (1 - 1.268996 / 8), abs=1e-4)


@pytest.mark.parametrize("order", ["row", "golden"])
def test_a_layer_comes_back(order):
    rng = np.random.default_rng(2)
    mask = rng.random((6, 5, 3, 3)) < 0.3
    weights = rng.integers(-128, 128, mask.shape, dtype=np.int8)
    decoder = Decoder(n_in=4, n_out=13, n_s=1)
    rows, decoded = synthetic.measure_layer("a", "drawn", weights, mask, order, decoder)
    assert decoded.dtype == np.int8
    assert np.array_equal(decoded, np.where(mask, weights, 0))
    assert [row.plane for row in rows] == list(range(8))
    assert {row.care_bits for row in rows} == {np.count_nonzero(mask)}


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
