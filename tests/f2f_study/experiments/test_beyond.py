"""What notebook 03 measures: its counts are right."""

import numpy as np
import pandas as pd
import pytest
from gf2 import rank

from f2f.decoder import Decoder
from f2f_study.experiments import beyond
from f2f_study.networks.layers import Layer, PrunedModel


@pytest.mark.parametrize(("n_in", "n_out", "n_s"), [(8, 80, 7), (8, 24, 1), (3, 10, 4), (8, 40, 0)])
def test_dependent_bits_are_what_the_rank_leaves(n_in, n_out, n_s):
    decoder = Decoder(n_in, n_out, n_s, seed=3)
    care = np.flatnonzero(np.random.default_rng(0).random(40 * n_out) < 1.3 * n_in / n_out)
    equations = [int(decoder.rows[c % n_out]) << n_in * (int(c) // n_out) for c in care]
    counted = beyond.count_dependent(care, decoder.rows, n_in, n_out)
    assert counted == len(care) - rank(equations) > 0


def test_only_dependent_bits_can_be_wrong():
    row = pd.Series(beyond.measure_encoder(n_s=2, sparsity=0.9, blocks=300, beam=4))
    counted = beyond.dependence(row.to_frame().T).iloc[0]
    assert counted.plane_care_bits * 8 == row.care_bits
    assert 0 < row.wrong_bits <= 8 * counted.dependent_bits
    assert counted.modelled_dependent_bits == pytest.approx(counted.dependent_bits, rel=0.5)


def test_the_optimum_is_of_the_same_plane():
    case = dict(sparsity=0.9, blocks=60, seed=2)
    best = pd.Series(beyond.measure_optimum(n_s=1, **case))
    beam = pd.Series(beyond.measure_encoder(n_s=1, beam=256, planes=1, **case))
    assert best.index.equals(beam.index)  # the columns of one file
    assert best.care_bits == beam.care_bits and best.wrong_bits <= beam.wrong_bits
    assert best.efficiency_percent == pytest.approx(100 * (1 - best.wrong_bits / best.care_bits))


def test_both_encoders_reach_the_golden_optimum():
    golden = beyond.golden_optima()
    assert len(golden) > 5 and (golden["optimum"] > 0).any()
    assert (golden["beam"] == golden["optimum"]).all()
    assert (golden["viterbi"] == golden["optimum"]).all()


def test_kappa_is_the_share_of_modelled_errors():
    counted = pd.DataFrame(
        {"n_s": [7], "beam": [16], "care_bits": [8000], "plane_care_bits": [1000]}
        | {"wrong_bits": [8], "modelled_dependent_bits": [10.0]}
    )
    found = beyond.kappas(counted).loc[7, 16]
    assert found.measured == pytest.approx(8 / (8 * 10))
    assert found.fit == pytest.approx(0.08 + 4.4 * 16**-0.0625 / 64)


def test_stored_bits_are_payload_and_corrections():
    row = pd.Series(beyond.measure_length(n_s=7, n_out=80, sparsity=0.9, weights=40_000, beam=16))
    assert row.payload_bits == 8 * 8 * (500 + 7)
    assert row.stored_bits == row.payload_bits + row.correction_bits
    assert row.overhead_percent == pytest.approx(100 * (row.stored_bits / row.care_bits - 1))
    assert abs(row.modelled_overhead_percent - row.overhead_percent) < 2


def test_orders_are_measured_layer_by_layer():
    rng = np.random.default_rng(0)
    uneven = rng.random((64, 200)) < np.linspace(0, 0.4, 64)[:, None]  # rows of other density
    layers = {
        "a": Layer(None, uneven),
        "empty": Layer(None, np.zeros((4, 4), dtype=bool)),
        "b": Layer(None, rng.random((8, 5, 3, 3)) < 0.2),
    }
    model = PrunedModel("standin", "resnet", "l0", 0.8, layers, "none")
    rows = beyond.measure_orders(model, ("row", "golden"), beam=4)
    found = rows.set_index(["order", "layer"])
    assert set(found.index) == {
        (order, layer) for order in ("row", "golden") for layer in ("a", "b", "total")
    }
    a, b, total = (found.loc["row", layer] for layer in ("a", "b", "total"))
    assert a.n_out == round(8 / uneven.mean()) and a.care_bits == 8 * uneven.sum()
    assert total.care_bits == a.care_bits + b.care_bits and total.n_out == 0
    assert total.wrong_bits == a.wrong_bits + b.wrong_bits
    assert found.wrong_bits["golden", "a"] < 0.2 * a.wrong_bits
    fewest = beyond.measure_orders(model, ("golden",), "fewest bits", beam=4)
    assert (fewest["rate"] == "fewest bits").all() and fewest["n_out"].iloc[0] > 0
    worst = beyond.worst_layers(rows, least_weights=5000).loc["resnet", "l0", "balanced"]
    assert worst["worst_layer"]["row"] == "a"
    assert worst["model_percent"]["row"] == total.efficiency_percent
    with pytest.raises(ValueError, match="rate must be"):
        beyond.measure_orders(model, ("row",), "any")
