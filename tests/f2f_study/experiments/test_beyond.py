"""What notebook 03 measures: its counts are right, and kinds of matrix are what they say."""

import numpy as np
import pytest

from f2f.decoder.decoder import Decoder
from f2f.encoder.beam import encode_beam
from f2f_study.experiments import beyond, matrices
from f2f_study.networks.layers import Layer, PrunedModel


def rank(words: list[int]) -> int:
    """Rank over GF(2)."""
    basis: list[int] = []
    for word in words:
        for b in basis:
            word = min(word, word ^ b)
        if word:
            basis.append(word)
    return len(basis)


@pytest.mark.parametrize(("n_in", "n_out", "n_s"), [(8, 80, 7), (8, 24, 1), (3, 10, 4), (8, 40, 0)])
def test_dependent_bits_are_what_the_rank_leaves(n_in, n_out, n_s):
    decoder = Decoder(n_in, n_out, n_s, seed=3)
    care = np.flatnonzero(np.random.default_rng(0).random(40 * n_out) < 1.3 * n_in / n_out)
    equations = [int(decoder.rows[c % n_out]) << n_in * (int(c) // n_out) for c in care]
    counted = beyond.count_dependent(care, decoder.rows, n_in, n_out)
    assert counted == len(care) - rank(equations) > 0


def test_only_dependent_bits_can_be_wrong():
    row = beyond.measure_encoder(n_s=2, sparsity=0.9, blocks=300, beam=4)
    (counted,) = beyond.dependence_rows([row])
    assert counted.plane_care_bits * 8 == row.care_bits
    assert 0 < row.wrong_bits <= 8 * counted.dependent_bits
    assert counted.modelled_dependent_bits == pytest.approx(counted.dependent_bits, rel=0.5)


def test_the_optimum_is_of_the_same_plane():
    case = dict(sparsity=0.9, blocks=60, seed=2)
    best = beyond.measure_optimum(n_s=1, **case)
    beam = beyond.measure_encoder(n_s=1, beam=256, planes=1, **case)
    assert best.care_bits == beam.care_bits and best.wrong_bits <= beam.wrong_bits
    assert best.efficiency_percent == pytest.approx(100 * (1 - best.wrong_bits / best.care_bits))


def test_kinds_of_matrix_are_what_they_say():
    def matrix(kind: str) -> np.ndarray:
        return matrices.make_matrix(kind, 64, 7, seed=1).matrix

    assert np.array_equal(matrix("random"), Decoder(8, 64, 7, seed=1).matrix)
    assert (matrix("weight 9").sum(1) == 9).all()
    assert (matrix("byte weight 3").reshape(64, 8, 8).sum(2) == 3).all()
    used = matrix("half the nibbles").reshape(64, 16, 4).any(2)
    assert used[:, 2:14].sum(1).max() == 6 and used.all(1).sum() == 0
    assert np.array_equal(matrix("folded"), Decoder(8, 64, 7, seed=1, matrix="folded").matrix)
    ends = matrix("full rank ends")
    for r in range(0, 64, 8):
        for part in (ends[r : r + 8, :8], ends[r : r + 8, -8:]):
            assert rank([int("".join(map(str, row)), 2) for row in part.tolist()]) == 8
    with pytest.raises(ValueError, match="kind"):
        matrix("weight")
    with pytest.raises(ValueError, match="weight must be"):
        matrix("weight 65")


def test_the_best_of_several_is_one_of_them_and_no_worse_on_average():
    case = dict(n_s=0, sparsity=0.8, blocks=2000)
    best = [matrices.measure_matrix("best of 6", seed=seed, **case) for seed in range(3)]
    drawn = [matrices.measure_matrix("random", seed=seed, **case) for seed in range(3)]
    assert len({row.care_bits for row in best + drawn}) == 1  # common data
    assert sum(row.wrong_bits for row in best) < sum(row.wrong_bits for row in drawn)


def test_stored_bits_are_payload_and_corrections():
    row = beyond.measure_length(n_s=7, n_out=80, sparsity=0.9, weights=40_000, beam=16)
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
    assert [(row.order, row.layer) for row in rows] == [
        (order, layer) for order in ("row", "golden") for layer in ("a", "b", "total")
    ]
    a, b, total = rows[:3]
    assert a.n_out == round(8 / uneven.mean()) and a.care_bits == 8 * uneven.sum()
    assert total.care_bits == a.care_bits + b.care_bits
    assert total.wrong_bits == a.wrong_bits + b.wrong_bits
    assert rows[3].wrong_bits < 0.2 * a.wrong_bits
    (fewest, *_) = beyond.measure_orders(model, ("golden",), "fewest bits", beam=4)
    assert fewest.rate == "fewest bits" and fewest.n_out > 0
    with pytest.raises(ValueError, match="rate must be"):
        beyond.measure_orders(model, ("row",), "any")


def test_wrong_positions_names_planes():
    decoder = Decoder(8, 20, 1, seed=0)
    care, target = beyond.iid_planes(400, 0.6, seed=0)
    inputs = encode_beam(care, target, 400, decoder, 3, 4)
    wrong = beyond.wrong_positions(inputs, care, target, 400, decoder)
    decoded = decoder.decode_plain(inputs, 400)[care]
    assert np.array_equal(wrong, (decoded ^ target) & 7)
