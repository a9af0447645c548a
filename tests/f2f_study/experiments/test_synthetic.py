"""Random planes have the statistics they are asked for, and the measurement adds up."""

import numpy as np
import pandas as pd
import pytest

from f2f.decoder import Decoder
from f2f_study.experiments import accounting, synthetic
from f2f_study.experiments.cases import combinations, measure_all
from f2f_study.networks.layers import Layer, PrunedModel


def test_independent_care_bits_have_their_density():
    care = synthetic.random_care_mask(5000, 80, 0.9, seed=1)
    assert care.mean() == pytest.approx(0.1, abs=0.002)
    assert np.array_equal(care, synthetic.random_care_mask(5000, 80, 0.9, seed=1))
    assert not np.array_equal(care, synthetic.random_care_mask(5000, 80, 0.9, seed=2))


@pytest.mark.parametrize("variation", [0, 0.2, 0.6])
def test_the_spread_can_be_set(variation):
    care_mask = synthetic.random_care_mask(20000, 80, 0.9, 3, variation)
    spread = accounting.spread(accounting.unpruned_per_block(care_mask, 80), 80)
    assert spread.mean == pytest.approx(8, abs=0.1)
    assert spread.variation == pytest.approx(variation, abs=0.01)
    # and within a block the places are uniform
    places = synthetic.random_care_mask(20000, 10, 0.5, 3, variation).reshape(-1, 10).mean(0)
    assert np.ptp(places) < 0.03


def test_ones_are_as_frequent_as_asked():
    assert synthetic.random_bits(100000, 0, ones=0.8).mean() == pytest.approx(0.8, abs=0.01)


def test_a_measurement_adds_up():
    row = pd.Series(synthetic.measure(n_in=8, n_s=1, sparsity=0.9, blocks=200, seed=5))
    assert (row.n_out, row.payload_bits) == (80, 8 * 201)
    assert row.efficiency_percent == pytest.approx(100 * (1 - row.wrong_bits / row.care_bits))
    original = 200 * 80
    assert row.correction_bits == 32 + 10 * row.wrong_bits
    stored = row.payload_bits + row.correction_bits
    assert row.memory_reduction_percent == pytest.approx(100 * (1 - stored / original))
    assert row.memory_reduction_percent < row.bound_percent == pytest.approx(90)


def test_zeros_are_the_cheap_symbol():
    # As it is, a plane of ones is as hard as a random one; complemented, zeros decode to it.
    cases = combinations(
        n_in=8, n_s=0, sparsity=0.9, blocks=300, seed=0, ones=1.0, inverted=(False, True)
    )
    rows = measure_all(synthetic.measure, cases).set_index("inverted")
    assert rows["efficiency_percent"][False] < 95
    assert rows["wrong_bits"][True] == 0


def test_many_measurements_keep_their_order():
    cases = combinations(n_in=8, n_s=(0, 1), sparsity=0.9, blocks=50, seed=range(2))
    assert [(case["n_s"], case["seed"]) for case in cases] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    one_by_one = [synthetic.measure(**case) for case in cases]
    pd.testing.assert_frame_equal(measure_all(synthetic.measure, cases), pd.DataFrame(one_by_one))


def test_what_a_mask_costs():
    cases = combinations(n_in=8, n_s=0, sparsity=0.9, blocks=50, seed=range(3))
    rows = measure_all(synthetic.measure, cases)
    (row,) = synthetic.with_mask(rows, n_w=8).itertuples()
    mean = rows["memory_reduction_percent"].mean()
    assert row.without_mask_percent == pytest.approx(mean)
    assert row.with_bitmap_percent == pytest.approx(mean - 12.5)
    # 1.269 of 8 bits a weight, see test_accounting
    assert row.bound_with_mask_percent == pytest.approx(100 * (1 - 1.268996 / 8), abs=1e-4)


@pytest.mark.parametrize("order", ["row", "golden"])
def test_a_layer_comes_back(order):
    rng = np.random.default_rng(2)
    mask = rng.random((6, 5, 3, 3)) < 0.3
    weights = rng.integers(-128, 128, mask.shape, dtype=np.int8)
    decoder = Decoder(n_in=4, n_out=13, n_s=1)
    model = PrunedModel("file", "transformer", "l0", 0.7, {"a": Layer(weights, mask)}, "drawn")
    rows, decoded = synthetic.measure_layer(model, order, decoder)
    assert decoded.dtype == np.int8
    assert np.array_equal(decoded, np.where(mask, weights, 0))
    assert rows["plane"].tolist() == list(range(8))
    assert (rows["care_bits"] == np.count_nonzero(mask)).all()
    total = synthetic.layer_totals(rows).loc[order]
    assert total["care_bits"] == 8 * np.count_nonzero(mask)
    assert total["wrong_bits"] == rows["wrong_bits"].sum()


def test_without_registers_the_encoder_finds_what_a_search_finds():
    case = dict(n_in=4, sparsity=0.8, blocks=60, seed=3)
    row = synthetic.measure(n_s=0, **case)
    assert synthetic.searched_wrong_bits(**case) == row["wrong_bits"] > 0


def test_random_coding_by_drawing_codes():
    """The prediction against codes that are drawn: independent words, as it assumes."""
    n_in, n_out, sparsity, blocks = 3, 10, 0.7, 4000
    rng = np.random.default_rng(0)
    words = rng.integers(0, 2, (blocks, 1 << n_in, n_out)) != rng.integers(0, 2, (blocks, 1, n_out))
    care_mask = rng.random((blocks, 1, n_out)) >= sparsity
    wrong = (words & care_mask).sum(2).min(1).sum()
    drawn = accounting.efficiency(care_mask.sum(), wrong)
    predicted = synthetic.random_coding_efficiency(n_in, n_out, sparsity)
    assert drawn == pytest.approx(predicted, abs=0.5)


def test_reductions_put_the_analytic_form_beside_the_counted_one():
    cases = combinations(n_in=8, n_s=(1, 2), sparsity=0.9, blocks=200, seed=range(2))
    found = synthetic.reductions(measure_all(synthetic.measure, cases))
    assert found.index.names == ["sparsity", "n_s"] and len(found) == 2
    counted = found["memory_reduction_percent"]
    assert found["analytic_percent"].to_numpy() == pytest.approx(counted, abs=0.2)


def test_the_summary_names_what_was_measured():
    cases = combinations(n_in=8, n_s=(0, 2), sparsity=(0.8, 0.9), blocks=50, seed=0)
    rows = measure_all(synthetic.measure, cases)
    layer = pd.DataFrame(
        {
            "order": order,
            "variation": 0.3,
            "variation_binomial": 0.3,
            "care_bits": 100,
            "wrong_bits": w,
        }
        for order, w in (("row", 4), ("row", 2), ("golden", 1))
    )
    found = {q.quantity: q for q in synthetic.summary(rows, layer, 0.9)}
    assert found["E of a real layer, row order, n_s = 2"].value == pytest.approx(97)
    e = rows[(rows["n_s"] == 2) & (rows["sparsity"] == 0.9)]["efficiency_percent"]
    assert found["E at S = 0.9, n_s = 2"].value == pytest.approx(e.item())
    assert "E at S = 0.9, n_s = 1" not in found and "least E of any S, n_s = 2" in found


def test_binomial_shares_sum_to_one():
    shares = synthetic.block_shares(80, 0.9, 2000, 0)
    assert shares["share_percent"].sum() == pytest.approx(100)
    assert shares["binomial_percent"].sum() == pytest.approx(100, abs=0.5)
    assert np.average(shares["n_u"], weights=shares["share_percent"]) == pytest.approx(8, abs=0.2)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: synthetic.random_care_mask(0, 8, 0.5, 0), "blocks must be an integer >= 1, got 0"),
        (
            lambda: synthetic.random_care_mask(1, 8, 1.5, 0),
            "sparsity must be a number in 0..1, got 1.5",
        ),
        (
            lambda: synthetic.random_care_mask(1, 8, 0.5, 0, -1),
            "variation must be at least 0, got -1",
        ),
        (lambda: synthetic.random_bits(8, 0, 2), "ones must be a number in 0..1, got 2"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
