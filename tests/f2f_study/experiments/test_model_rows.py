"""Rows of whole models stand behind those of their layers."""

import numpy as np
import pandas as pd

from f2f_study.experiments.model_rows import with_totals


def test_totals_follow_the_layers_of_their_group():
    layers = pd.DataFrame(
        {
            "source": "file", "network": "resnet", "method": ["l0"] * 4, "sparsity": 0.9,
            "layer": ["a", "a", "b", "b"], "n_s": [1, 0, 1, 0], "bits": [1, 2, 3, 4],
            "lossless": [True, True, True, False], "n_out": [5, 5, 6, 6],
        }
    )  # fmt: skip
    rows = with_totals(layers, ["n_s"], ["n_out"])
    assert rows["layer"].tolist() == ["a", "b", "total"] * 2
    assert rows["bits"].tolist() == [1, 3, 4, 2, 4, 6] and rows["bits"].dtype == np.int64
    assert rows["lossless"].tolist() == [True, True, True, True, False, False]
    assert rows["n_out"].tolist() == [5, 6, 5] * 2
