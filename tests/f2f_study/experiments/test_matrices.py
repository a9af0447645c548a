"""Kinds of matrix are what they say, and are compared with random ones on common data."""

import numpy as np
import pandas as pd
import pytest
from gf2 import rank

from f2f.decoder import Decoder
from f2f_study.experiments import matrices


def test_kinds_of_matrix_are_what_they_say():
    def matrix(kind: str) -> np.ndarray:
        return matrices.make_matrix(kind, 64, 7, seed=1).matrix

    assert np.array_equal(matrix("random"), Decoder(8, 64, 7, seed=1).matrix)
    assert (matrix("weight 9").sum(1) == 9).all()
    assert (matrix("byte weight 3").reshape(64, 8, 8).sum(2) == 3).all()
    assert (matrix("quarter weight").sum(1) == 17).all()
    assert (matrix("eighth weight").sum(1) == 9).all()
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
    assert len({row["care_bits"] for row in best + drawn}) == 1  # common data
    assert sum(row["wrong_bits"] for row in best) < sum(row["wrong_bits"] for row in drawn)


def test_a_folded_matrix_needs_fewer_lookups():
    case = dict(n_s=7, sparsity=0.9, blocks=50, seed=0)
    drawn, folded = (matrices.measure_matrix(kind, **case) for kind in ("random", "folded"))
    assert drawn["nibbles_per_row"] == 16 and folded["nibbles_per_row"] == 5
    assert folded["xor_gates_per_bit"] < 0.5 * drawn["xor_gates_per_bit"]


def test_a_gain_is_measured_in_the_spread_of_random_draws():
    rows = pd.DataFrame(
        {"n_s": n_s, "sparsity": 0.9, "kind": kind, "efficiency_percent": e}
        | {"care_bits": 1000, "xor_gates_per_bit": 3.0}
        for n_s, kind, values in (
            (1, "random", (90.0, 92.0)),
            (1, "weight 3", (94.0, 94.0)),
            (7, "random", (99.0, 99.0)),
            (7, "weight 3", (98.9, 98.9)),
        )
        for e in values
    )
    found = matrices.against_random(rows)
    assert found["gain"][1, 0.9, "weight 3"] == pytest.approx(3)
    assert found["margin"][1, 0.9, "weight 3"] == pytest.approx(3 / np.sqrt(2))
    assert found["margin"][7, 0.9, "weight 3"] == pytest.approx(-1)  # in wrong bits
    assert (found["gain"].xs("random", level="kind") == 0).all()
