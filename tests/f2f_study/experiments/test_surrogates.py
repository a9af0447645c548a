"""Surrogates are like the masks whose counts they have: as recorded, and afresh where those are."""

import pytest

from f2f_study import results, sources
from f2f_study.experiments import evaluation

REFERENCE = results.repository_root() / "runs" / "reference"
FOLDERS = {"transformer": "04_transformer_wmt14_dlmc", "resnet": "05_resnet50_imagenet_dlmc"}


def assert_alike(rows):
    """E within 0.3 points and the variation of n_u within 0.03."""
    e = rows["efficiency_percent_drawn"] - rows["efficiency_percent"]
    variation = rows["variation_drawn"] - rows["variation"]
    assert e.abs().max() <= 0.3 and variation.abs().max() <= 0.03, rows.T


@pytest.mark.parametrize("network", sources.NETWORKS)
def test_every_published_model_was_compared(network):
    rows = results.read_csv(REFERENCE / "dlmc" / FOLDERS[network] / "surrogate_fidelity.csv")
    whole = evaluation.totals(rows)
    pairs = list(zip(whole["method"], whole["sparsity"], strict=True))
    assert sorted(pairs) == sorted(sources.available("surrogate", network))
    assert_alike(whole)


@pytest.mark.parametrize("network", sources.NETWORKS)
def test_surrogates_are_like_the_published_masks(network):
    if ("magnitude", 0.9) not in sources.available("dlmc", network):
        pytest.skip("needs the masks of DLMC in the data folder (F2F_DATA)")
    models = [sources.open_model("dlmc", network, "magnitude", 0.9)]
    spread = evaluation.n_u_spread(models)
    paper = evaluation.paper_setting(models, ["int8"], n_s=[1], max_blocks=256)
    rows = evaluation.surrogate_fidelity(spread, paper, max_blocks=256)
    assert len(rows) == len(models[0].layers) + 1
    assert_alike(evaluation.totals(rows))
