"""How like the published masks their surrogates are, where both are at hand."""

from __future__ import annotations

from typing import Any

import pandas as pd

from f2f_study import sources
from f2f_study.experiments.evaluation.paper import paper_setting
from f2f_study.experiments.evaluation.spread import n_u_spread
from f2f_study.experiments.model_rows import MODEL

_KEYS = [*MODEL[1:], "layer"]


def surrogate_fidelity(
    spread: pd.DataFrame, paper: pd.DataFrame, seed: int = 0, **options: Any
) -> pd.DataFrame:
    """Spread of n_u and E of the published masks, beside those of their surrogates.

    Parameters
    ----------
    spread, paper
        Of `n_u_spread` and `paper_setting`, of source dlmc. E is compared at the largest n_s, for
        INT8 planes as they are.
    seed
        Of the surrogates, and of the decoder matrix.
    options
        Of `paper_setting`, those that `paper` was made with.

    Returns
    -------
    DataFrame
        The columns of `surrogate_fidelity.csv` (runs/README.md): a row per layer and model of
        which there is a surrogate.
    """
    n_s, network = int(paper["n_s"].max()), paper["network"].iloc[0]
    pairs = paper[["method", "sparsity"]].drop_duplicates().itertuples(index=False)
    there = [pair for pair in pairs if pair in sources.available("surrogate", network)]
    drawn = [sources.open_model("surrogate", network, *pair, seed=seed) for pair in there]
    setting = paper_setting(drawn, ["int8"], n_s=[n_s], seed=seed, **options)
    return _columns(spread, paper, n_s).merge(
        _columns(n_u_spread(drawn), setting, n_s)[[*_KEYS, "variation", "efficiency_percent"]],
        on=_KEYS,
        suffixes=("", "_drawn"),
    )


def _columns(spread: pd.DataFrame, paper: pd.DataFrame, n_s: int) -> pd.DataFrame:
    """What is compared, of one source; layers are named as surrogates name them."""
    same = paper.query("n_s == @n_s and dtype == 'int8' and not inverting")
    columns = [*_KEYS, "weights", "n_out", "variation", "n_s", "efficiency_percent"]
    rows = spread.merge(same.drop(columns="n_out"), on=["source", *_KEYS])[columns]
    return rows.assign(layer=rows["layer"].str.removesuffix("_fully_connected"))
