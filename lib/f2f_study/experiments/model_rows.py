"""Rows of the layers of models, and behind them a row of the whole model."""

from __future__ import annotations

from collections.abc import Sequence

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
    layers: pd.DataFrame, keys: Sequence[str], settings: Sequence[str] = ()
) -> pd.DataFrame:
    """The rows of layers, and behind those of a model one for all of it, whose layer is `TOTAL`.

    Numbers are summed, truth values hold if they do for every layer. What is no count the caller
    derives from the counts, for layers and models alike.

    Parameters
    ----------
    layers
        A row per layer, those of a model one after another.
    keys
        Columns that, beside `MODEL`, tell apart what is summed.
    settings
        Columns of which a model has the first layer's value.
    """
    counts = layers.columns.drop([*MODEL, *keys, *settings, "layer"])
    joined = {name: "all" if layers[name].dtype == bool else "sum" for name in counts}
    parts = []
    for _, part in layers.groupby([*MODEL, *keys], sort=False):
        whole = {name: part[name].agg(how) for name, how in joined.items()}
        parts += [part, part.iloc[[0]].assign(layer=TOTAL, **whole)]
    return pd.concat(parts, ignore_index=True)


def totals(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of whole models."""
    return rows[rows["layer"] == TOTAL]
