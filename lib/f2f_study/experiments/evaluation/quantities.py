"""The few numbers that a run of notebook 04 or 05 stands for, and how far they may differ."""

from __future__ import annotations

import math

import pandas as pd

from f2f_study.experiments.evaluation.models import totals
from f2f_study.results import Quantity


def summary(
    spread: pd.DataFrame, paper: pd.DataFrame, package: pd.DataFrame, quality: pd.DataFrame
) -> list[Quantity]:
    """Quantities of whole models, named by method, sparsity and dtype.

    Parameters
    ----------
    spread, paper, package, quality
        Of `n_u_spread`, `paper_setting`, `package_setting` and the functions of
        `f2f_study.experiments.evaluation.quality`; the last may be empty.

    Returns
    -------
    list of Quantity
        In the paper's setting E at the largest n_s; its tolerance covers the sampled blocks and
        another draw of the matrix. Times are only reported.
    """
    found = []
    for row in totals(spread).itertuples():
        name = f"{row.method} {row.sparsity:g}: spread of n_u over its mean"
        found.append(Quantity(name, row.variation, "1", 0.02))
    for row in totals(paper[paper["n_s"] == paper["n_s"].max()]).itertuples():
        how = f"n_s = {row.n_s}, {'inverting' if row.inverting else 'as they are'}"
        name = f"{row.method} {row.sparsity:g} {row.dtype}: paper's setting, {how}, E"
        found.append(Quantity(name, row.efficiency_percent, "%", 1.0))
    for row in totals(package).itertuples():
        name = f"{row.method} {row.sparsity:g} {row.dtype}: "
        found.append(Quantity(name + "E", row.efficiency_percent, "%", 0.1))
        found.append(Quantity(name + "stored bits per weight", row.bits_per_weight, "bit", 0.05))
        found.append(Quantity(name + "stored bits over the floor", row.ratio_to_floor, "1", 0.01))
        found.append(Quantity(name + "encoding", row.encode_s, "s", math.nan))
    for row in quality.itertuples():
        name = f"{row.method} {row.sparsity:g} {row.dtype}: quality, {row.metric}"
        found.append(Quantity(name, row.after, "%" if row.metric[0] == "%" else "BLEU", 1.0))
    return found
