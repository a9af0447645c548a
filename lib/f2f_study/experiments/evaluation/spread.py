"""What both settings share: weights of a layer, the paper's n_out, the spread of n_u."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import numpy as np

from f2f.base import validate
from f2f_study.experiments.accounting import binomial_variation, unpruned_per_block
from f2f_study.experiments.evaluation.rows import (
    TOTAL,
    HistogramRow,
    PackageRow,
    PaperRow,
    SpreadEfficiencyRow,
    SpreadRow,
)
from f2f_study.networks.layers import Layer, PrunedModel
from f2f_study.networks.quantize import quantize

DTYPES = ("float32", "int8")
N_IN = 8

Row = TypeVar("Row", SpreadRow, PaperRow, PackageRow)


def paper_n_out(sparsity: float) -> int:
    """The paper's block for a model: the most whole weights that n_in bits can carry, n_in/(1-S).

    >>> paper_n_out(0.9), paper_n_out(0.7)
    (80, 26)
    """
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity must be at least 0 and below 1, got {sparsity!r}")
    return int(N_IN / (1 - sparsity) + 1e-6)


def layer_weights(layer: Layer, dtype: str, scheme: str = "channel") -> np.ndarray:
    """The layer's weights as float32, or quantized to int8 per output channel or per tensor.

    Raises:
        ValueError: the layer has no values, or is int8 already and float32 was asked for.
    """
    validate.choice("dtype", dtype, DTYPES)
    if layer.weights is None:
        raise ValueError("layer must have values, got a mask only")
    if layer.weights.dtype == np.int8:
        if dtype != "int8":
            raise ValueError("dtype must be int8 for a model published in INT8, got 'float32'")
        return layer.weights
    weights = layer.weights.astype(np.float32, copy=False)
    return weights if dtype == "float32" else quantize(weights, scheme).values


def identity(model: PrunedModel) -> tuple[str, str, str, float]:
    return model.source, model.network, model.method, model.sparsity


def spread_rows(model: PrunedModel, n_out: int) -> list[SpreadRow]:
    """Spread of n_u per layer and, pooled over all blocks, in total."""
    counts = {
        name: unpruned_per_block(layer.mask.reshape(-1), n_out)
        for name, layer in model.layers.items()
    }
    rows = []
    pooled = np.concatenate(list(counts.values()))
    every = [(name, counts[name], la.size, la.unpruned) for name, la in model.layers.items()]
    for name, n_u, size, unpruned in [*every, (TOTAL, pooled, model.size, model.unpruned)]:
        kept = unpruned / size
        mean = float(n_u.mean()) if n_u.size else 0.0
        rows.append(
            SpreadRow(
                *identity(model),
                name,
                size,
                unpruned,
                n_out,
                mean,
                float(n_u.std()) / mean if mean else 0.0,
                binomial_variation(1 - kept, n_out) if kept else 0.0,
                100 * float(np.maximum(n_u - N_IN, 0).sum()) / max(int(n_u.sum()), 1),
            )
        )
    return rows


def histogram_rows(model: PrunedModel, n_out: int) -> list[HistogramRow]:
    """Distribution of n_u over all blocks of the model, beside the binomial of its sparsity."""
    from scipy.stats import binom

    counts = np.concatenate(
        [unpruned_per_block(la.mask.reshape(-1), n_out) for la in model.layers.values()]
    )
    share = np.bincount(counts, minlength=n_out + 1) / max(counts.size, 1)
    binomial = binom.pmf(np.arange(n_out + 1), n_out, model.unpruned / model.size)
    return [
        HistogramRow(*identity(model), n_out, n_u, float(100 * a), float(100 * b))
        for n_u, (a, b) in enumerate(zip(share, binomial, strict=True))
    ]


def spread_efficiency_rows(
    spread: Iterable[SpreadRow], paper: Iterable[PaperRow], package: Iterable[PackageRow]
) -> list[SpreadEfficiencyRow]:
    """Spread and E of every layer, matched; of every dtype that the package rows have."""
    variation = {(r.method, r.sparsity, r.layer): r for r in spread}
    best: dict[tuple[str, str, float, str], PaperRow] = {}
    for row in paper:
        key = (row.dtype, row.method, row.sparsity, row.layer)
        if row.inverting and (key not in best or best[key].n_s < row.n_s):
            best[key] = row
    rows = []
    for r in package:
        key = (r.dtype, r.method, r.sparsity, r.layer)
        if r.layer != TOTAL and key in best:
            n_u = variation[key[1:]]
            rows.append(
                SpreadEfficiencyRow(
                    r.source,
                    r.network,
                    r.method,
                    r.sparsity,
                    r.dtype,
                    r.layer,
                    r.weights,
                    n_u.variation,
                    n_u.excess_percent,
                    best[key].efficiency_percent,
                    r.efficiency_percent,
                )
            )
    return rows


def totals(rows: Iterable[Row]) -> list[Row]:
    """The rows of whole models."""
    return [row for row in rows if row.layer == TOTAL]
