"""n_u, the unpruned weights of a block: how far their spread is from independent pruning.

Blocks are those of the paper's setting: `block_length` weights in row order. Were weights pruned
independently, n_u would be binomial; the more it varies, the more blocks hold more care bits than
the window can serve.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import binom

from f2f_study.experiments import accounting
from f2f_study.experiments.accounting import N_IN, block_length, unpruned_per_block
from f2f_study.experiments.model_rows import MODEL, TOTAL, identity
from f2f_study.networks.layers import Layer, PrunedModel
from f2f_study.sources.dlmc import resnet_names


def n_u_spread(models: Sequence[PrunedModel]) -> pd.DataFrame:
    """Spread of n_u of every layer and, over all blocks, of every model; masks are enough.

    The columns of `n_u_spread.csv` (runs/README.md). `variation` is the standard deviation of n_u
    over its mean, `variation_binomial` that of independent pruning at the same density.
    `excess_percent`: unpruned weights beyond the first n_in = 8 of their block, more than a block's
    own input vector can serve, of all of them.
    """
    rows = []
    for model in models:
        n_out = block_length(N_IN, model.sparsity)
        blocks = _blocks(model, n_out)
        blocks[TOTAL] = np.concatenate(list(blocks.values()))
        parts: dict[str, Layer | PrunedModel] = {**model.layers, TOTAL: model}
        for name, part in parts.items():
            rows.append(
                identity(model)
                | {"layer": name, "weights": part.size, "unpruned": part.unpruned}
                | _spread(blocks[name], n_out)
            )
    return pd.DataFrame(rows)


def _blocks(model: PrunedModel, n_out: int) -> dict[str, np.ndarray]:
    """n_u of every whole block of every layer, int64 (blocks,)."""
    return {
        name: unpruned_per_block(layer.mask.reshape(-1), n_out)
        for name, layer in model.layers.items()
    }


def _spread(n_u: np.ndarray, n_out: int) -> dict[str, float]:
    """Mean and spread of n_u (blocks,), and what is beyond n_in of it."""
    found = accounting.spread(n_u, n_out)
    excess = 100 * float(np.maximum(n_u - N_IN, 0).sum()) / max(int(n_u.sum()), 1)
    return {
        "n_out": n_out,
        "mean_n_u": found.mean,
        "variation": found.variation,
        "variation_binomial": found.binomial,
        "excess_percent": excess,
    }


def n_u_histogram(models: Sequence[PrunedModel]) -> pd.DataFrame:
    """Distribution of n_u over all blocks of a model, beside the binomial of its sparsity.

    The columns of `n_u_histogram.csv`: for every n_u in 0…n_out the share of blocks that have it,
    in %, measured and binomial.
    """
    parts = []
    for model in models:
        n_out = block_length(N_IN, model.sparsity)
        n_u = np.concatenate(list(_blocks(model, n_out).values()))
        values = np.arange(n_out + 1)
        shares = {
            "n_out": n_out,
            "n_u": values,
            "share_percent": 100 * np.bincount(n_u, minlength=n_out + 1) / max(n_u.size, 1),
            "share_binomial_percent": 100 * binom.pmf(values, n_out, model.unpruned / model.size),
        }
        parts.append(pd.DataFrame(identity(model) | shares))
    return pd.concat(parts, ignore_index=True)


def by_kind_of_layer(rows: pd.DataFrame, values: list[str], columns: list[str]) -> pd.DataFrame:
    """Means of `values` over the layers of a kind (`kind_of_layer`), apart by `columns`."""
    layers = rows[rows["layer"] != TOTAL]
    kinds = layers.assign(kind=layers["layer"].map(kind_of_layer))
    return kinds.pivot_table(values, "kind", columns, sort=False)


def kind_of_layer(name: str) -> str:
    """What a layer is: its name without numbers and ".weight"; DLMC's names become torchvision's.

    >>> kind_of_layer("decoder.0.encdec_attention.kv.weight")
    'decoder.encdec_attention.kv'
    >>> kind_of_layer("bottleneck_2_block_group3_5_1")
    'layer.conv2'
    """
    name = (resnet_names(name)[0] or name).removesuffix(".weight")
    numberless = re.sub(r"(?<![^._])\d+[._]?", "", name).strip("._")
    return re.sub(r"^layer\d", "layer", numberless)


def efficiency_by_spread(
    spread: pd.DataFrame, paper: pd.DataFrame, package: pd.DataFrame
) -> pd.DataFrame:
    """Every layer's spread of n_u beside its E in the two settings.

    The columns of `efficiency_by_spread.csv`; E of the paper's setting is that of the largest n_s,
    with inverting.
    """
    best = paper[(paper["n_s"] == paper["n_s"].max()) & paper["inverting"]]
    best = best.rename(columns={"efficiency_percent": "paper_percent"})
    layers = package[package["layer"] != TOTAL]
    layers = layers.rename(columns={"efficiency_percent": "package_percent"})
    layer = [*MODEL, "layer"]
    columns = ["variation", "excess_percent"]
    met = layers.merge(spread[[*layer, *columns]], on=layer)
    met = met.merge(best[[*layer, "dtype", "paper_percent"]], on=[*layer, "dtype"])
    columns += ["paper_percent", "package_percent"]
    return met[[*MODEL, "dtype", "layer", "weights", *columns]]
