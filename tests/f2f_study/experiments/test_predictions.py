"""What theory predicts, against encoders and against made-up tables."""

import numpy as np
import pandas as pd
import pytest
from pruned_models import model_of, random_model

from f2f.decoder import Decoder
from f2f_study.experiments import accounting, evaluation


@pytest.mark.parametrize("n_u", [3, 8, 12, 20])
def test_the_nearest_of_random_words_is_that_of_a_drawn_decoder(n_u):
    """By exhaustive search over all words, for many decoder matrices and targets."""
    rng = np.random.default_rng(n_u)
    found = []
    for seed in range(40):
        decoder = Decoder(8, n_u, 0, seed)
        words = np.array([decoder.decode(np.array([x], np.uint8), n_u) for x in range(256)])
        targets = rng.integers(0, 2, (50, n_u), dtype=np.uint8)
        found.append((targets[:, None] ^ words).sum(2).min(1).mean())
    predicted = accounting.nearest_of_random_words(n_u, 256)
    # Linear combinations lie less evenly than random words: a little more is wrong, never less.
    assert predicted - 0.1 <= np.mean(found) <= predicted + 0.35


def test_efficiency_of_the_paper_is_predicted_from_the_histogram():
    even = random_model(shape=(150, 200))
    rng = np.random.default_rng(2)
    uneven = rng.random((150, 200)) < np.where(np.arange(150) % 4 == 0, 0.6, 0.07)[:, None]
    found = [even, model_of({"a": uneven}, method="l0")]
    paper = evaluation.paper_setting(found, ["int8"], n_s=(0,), max_blocks=300)
    table = evaluation.paper_prediction(evaluation.n_u_histogram(found), paper)
    assert list(table["method"]) == ["random", "l0"]
    assert table["predicted_percent"][0] > table["predicted_percent"][1] + 5
    assert (table["efficiency_percent"] - table["predicted_percent"]).abs().max() < 2


def test_wrong_bits_of_the_package_are_predicted_by_the_rate_model():
    model = random_model(shape=(300, 300), sparsity=0.9)
    package, _ = evaluation.package_setting([model], ["int8"], least_efficiency=0)
    table = evaluation.package_prediction([model], package)
    total = evaluation.totals(package).iloc[0]
    assert table["wrong_bits"][0] == total.wrong_bits and table["care_bits"][0] == total.care_bits
    assert 0.3 < table["ratio"][0] < 1.5


def test_falling_with_spread_is_judged():
    even = random_model(1, (80, 60))
    rng = np.random.default_rng(2)
    dense = rng.random((80, 60)) < np.where(np.arange(80) % 4 == 0, 0.7, 0.04)[:, None]
    found = [even, model_of({"a": dense}, method="l0")]
    spread, paper = (
        evaluation.n_u_spread(found),
        evaluation.paper_setting(found, ["int8"], n_s=(1,)),
    )
    assert evaluation.falls_with_spread(spread, paper)
    swapped = paper.assign(method=paper["method"].map({"random": "l0", "l0": "random"}))
    assert not evaluation.falls_with_spread(spread, swapped)


def test_small_models_are_held_against_the_floor_without_headers():
    facts = {"dtype": "int8", "sparsity": 0.9, "layer": "total"}
    rows = pd.DataFrame(
        [
            facts | {"method": "l0", "weights": 400_000, "ratio_to_floor": 1.2},
            facts | {"method": "random", "weights": 40_000_000, "ratio_to_floor": 1.1},
        ]
    ).assign(coded_ratio_to_floor=1.0)
    over = evaluation.stored_over_floor(rows)
    assert over["int8", 0.9, "l0"] == 1.0 and over["int8", 0.9, "random"] == 1.1
