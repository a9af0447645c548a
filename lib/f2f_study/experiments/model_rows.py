"""Rows of the layers of models, and behind them a row of the whole model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from f2f_study.networks.layers import PrunedModel

TOTAL = "total"
"""The `layer` of a row that stands for the whole model."""
MODEL = ["source", "network", "method", "sparsity"]
"""The columns that name a model; `method` is a pruning method, `sparsity` the nominal one."""


def identity(model: PrunedModel) -> dict[str, object]:
    """The columns `MODEL` of a model's rows."""
    return {name: getattr(model, name) for name in MODEL}


def with_totals(
    layers: pd.DataFrame, keys: Sequence[str], joined: Mapping[str, str]
) -> pd.DataFrame:
    """The rows of layers, and behind those of a model one for all of it, whose layer is `TOTAL`.

    What is no count the caller derives from the counts, for layers and models alike.

    Parameters
    ----------
    layers
        A row per layer, those of a model one after another.
    keys
        Columns that, beside `MODEL`, tell apart what is not joined.
    joined
        How a column of the layers gives that of the model: "sum" or "all"; in every other one the
        model has the first layer's value.
    """
    parts = []
    for _, part in layers.groupby([*MODEL, *keys], sort=False):
        whole = {name: part[name].agg(how) for name, how in joined.items()}
        parts += [part, part.iloc[[0]].assign(layer=TOTAL, **whole)]
    return pd.concat(parts, ignore_index=True)


def totals(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of whole models."""
    return rows[rows["layer"] == TOTAL]
