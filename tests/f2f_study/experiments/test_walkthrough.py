"""The tables of the walkthrough are those of Algorithm 3, and a search finds its optimum."""

import numpy as np
import pytest

from f2f.decoder import Decoder
from f2f.encoder.exact import reference_trellis
from f2f_study.experiments import walkthrough


@pytest.mark.parametrize(("n_in", "n_s"), [(2, 1), (1, 3), (2, 0)])
def test_the_best_path_leads_to_the_fewest_wrong_bits(n_in, n_s):
    rng = np.random.default_rng(n_s)
    target, care_mask = rng.integers(0, 2, 20, np.uint8), (rng.random(20) < 0.7).astype(np.uint8)
    decoder = Decoder(n_in, 5, n_s, seed=1)
    trellis = reference_trellis(target, care_mask, decoder)
    steps = walkthrough.steps(trellis, decoder)
    best = steps[steps["on_best_path"]]
    assert len(steps) == 4 << decoder.window and best["block"].tolist() == [0, 1, 2, 3]
    assert best["survives"].all()
    assert (best["state_after"].to_numpy()[:-1] == best["state_before"].to_numpy()[1:]).all()
    assert np.array_equal(best["vector"], trellis.trace(n_in, n_s)[n_s:])
    fewest = walkthrough.fewest_wrong_bits(target, care_mask, decoder)
    assert best["cost_after"].iloc[-1] == best["unmatched"].sum() == fewest > 0
    decoded = decoder.decode(trellis.trace(n_in, n_s), 20)
    bits = walkthrough.bits(target, care_mask, decoded, 5)
    assert bits["wrong"].sum() == fewest
    assert (bits["corrected"] == bits["target"])[bits["care"]].all()
    assert (bits["corrected"] == bits["decoded"])[~bits["care"]].all()
