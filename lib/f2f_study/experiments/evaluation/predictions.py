"""What theory says about the tables of notebooks 04 and 05, to be held against what was measured.

* E of the paper's setting with n_s = 0 follows from the histogram of n_u alone: a block reaches
  2^n_in words, and the best of them is as near to n_u fair bits as the best of so many random
  words.
* E of this package's setting follows from the mask in its encoding order, by the model of
  `f2f.encoder.rate` that also chose n_out.
* In the paper's setting E falls as the spread of n_u rises.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from f2f.encoder.rate import CareCounts, error_rate
from f2f.format.orders import Order, matrix_shape
from f2f_study.experiments.accounting import N_IN, random_coding_efficiency
from f2f_study.experiments.model_rows import MODEL, TOTAL, totals
from f2f_study.networks.layers import PrunedModel


def paper_prediction(histogram: pd.DataFrame, paper: pd.DataFrame) -> pd.DataFrame:
    """E of whole models with n_s = 0, beside what their histogram of n_u predicts.

    By method, sparsity, dtype: `efficiency_percent`, of planes as they are, and
    `predicted_percent`, which takes every bit for a fair coin: skewed planes, as in exponents, come
    out better.
    """
    shares = histogram.groupby(MODEL, sort=False)["share_percent"]  # of n_u = 0, 1, 2 …
    predicted = shares.agg(lambda of_model: random_coding_efficiency(N_IN, of_model.to_numpy()))
    predicted = predicted.rename("predicted_percent")
    measured = totals(paper).query("n_s == 0 and not inverting")
    return measured.merge(predicted, on=MODEL)[
        ["method", "sparsity", "dtype", "efficiency_percent", "predicted_percent"]
    ]


def package_prediction(models: Sequence[PrunedModel], package: pd.DataFrame) -> pd.DataFrame:
    """Wrong bits of whole models, beside those that the rate model predicts for their n_out.

    By method, sparsity, dtype: `care_bits`, `wrong_bits`, `predicted_wrong_bits` and `ratio`,
    measured over predicted.
    """
    known = {(m.method, m.sparsity): m for m in models}
    layers = package[package["layer"] != TOTAL]
    predicted = [
        row.care_bits * _error_rate(known[row.method, row.sparsity].layers[row.layer].mask, row)
        for row in layers.itertuples()
    ]
    keys = ["method", "sparsity", "dtype"]
    columns = [*keys, "care_bits", "wrong_bits", "predicted_wrong_bits"]
    layers = layers.assign(predicted_wrong_bits=predicted)[columns]
    sums = layers.groupby(keys, sort=False, as_index=False).sum()
    return sums.assign(ratio=sums["wrong_bits"] / sums["predicted_wrong_bits"])


def _error_rate(mask: np.ndarray, row: Any) -> float:
    """Modelled share of wrong care bits of a layer, for the order, n_out and beam of its row."""
    care_mask = Order(row.order, *matrix_shape(mask.shape)).take(mask.reshape(-1))
    return error_rate(CareCounts(care_mask), row.n_out, N_IN, row.n_s, row.beam)


def stored_over_floor(package: pd.DataFrame) -> pd.Series:
    """All stored bits of whole models over the floor, by dtype, sparsity and method.

    Headers, which do not grow with a layer, are left out for models of less than five million
    weights, of which they are a visible part.
    """
    whole = totals(package).set_index(["dtype", "sparsity", "method"])
    real = whole["weights"] >= 5_000_000
    return whole["ratio_to_floor"].where(real, whole["coded_ratio_to_floor"])


def falls_with_spread(
    spread: pd.DataFrame, paper: pd.DataFrame, slack_percent: float = 0.5
) -> bool:
    """Whether in the paper's setting E falls as the spread of n_u rises, method by method.

    Whole models are compared, at the largest n_s, of one sparsity, dtype and inverting. An E may
    exceed that of a method of smaller spread by the slack, for the draw of the sample.
    """
    largest = totals(paper[paper["n_s"] == paper["n_s"].max()])
    met = largest.merge(totals(spread)[[*MODEL, "variation"]], on=MODEL).sort_values("variation")
    rises = met.groupby(["sparsity", "dtype", "inverting"])["efficiency_percent"].diff()
    return not bool((rises > slack_percent).any())
