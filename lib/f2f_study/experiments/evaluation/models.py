"""What the tables of notebooks 04 and 05 have in common: models, number formats and summary."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from f2f.base import validate
from f2f_study import results
from f2f_study.experiments.model_rows import totals
from f2f_study.networks.layers import Layer, PrunedModel
from f2f_study.networks.quantize import Quantized, quantize
from f2f_study.results import Quantity

DTYPES = ("float32", "int8")


def run_folder(run_dir: str, notebook: str, source: str) -> Path:
    """The folder of a notebook's results; every source but the surrogates has one of its own."""
    return results.run_dir(run_dir, notebook if source == "surrogate" else f"{notebook}_{source}")


def described(models: Sequence[PrunedModel]) -> pd.DataFrame:
    """What was opened: a row per model with its size, measured sparsity, origin and quality.

    `values` says in words where the numbers come from: masks that are published without values get
    drawn ones.
    """
    columns = ["method", "sparsity", "size", "measured_sparsity", "values", "quality"]
    rows = pd.DataFrame([[getattr(m, name) for name in columns] for m in models], columns=columns)
    rows.insert(2, "layers", [len(model.layers) for model in models])
    return rows.rename(columns={"size": "weights"})


def jobs(
    models: Sequence[PrunedModel], dtypes: Sequence[str] = DTYPES
) -> list[tuple[PrunedModel, str]]:
    """Every model in every number format; one that was published in INT8 in that alone."""
    for dtype in dtypes:
        validate.choice("dtypes", dtype, DTYPES)
    return [
        (model, dtype)
        for model in models
        for dtype in (("int8",) if _published_in_int8(model) else dtypes)
    ]


def _published_in_int8(model: PrunedModel) -> bool:
    arrays = [layer.weights for layer in model.layers.values()]
    return all(array is not None and array.dtype == np.int8 for array in arrays)


def layer_weights(layer: Layer, dtype: str, scheme: str = "channel") -> np.ndarray:
    """The weights of a layer as one of `DTYPES`; int8 ones are quantized if they are not int8.

    Parameters
    ----------
    layer, dtype
        `ValueError` if it has no values, or if it is int8 and float32 was asked for.
    scheme
        Scales of the quantization: "channel" (one per output channel) or "tensor".
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


def restored_state(
    model: PrunedModel,
    dtype: str,
    tensors: Mapping[str, np.ndarray] | None = None,
    scheme: str = "channel",
) -> dict[str, np.ndarray]:
    """Every parameter of a network by name, with its layers in a number format.

    Layers quantized here are dequantized to float32. `tensors` are the decoded layers; None takes
    them as they went in.
    """
    state = dict(model.others)
    for name, layer in model.layers.items():
        array = layer_weights(layer, dtype, scheme) if tensors is None else tensors[name]
        if dtype == "int8" and layer.weights is not None and layer.weights.dtype != np.int8:
            array = Quantized(array, quantize(layer.weights, scheme).scale).dequantize()
        state[name] = array
    return state


def summary(
    spread: pd.DataFrame, paper: pd.DataFrame, package: pd.DataFrame, quality: pd.DataFrame
) -> list[Quantity]:
    """Quantities of whole models, named by method, sparsity and dtype; `quality` may be empty.

    In the paper's setting E at the largest n_s; its tolerance covers the sampled blocks and another
    draw of the matrix. Times are only reported.
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
        found += [
            Quantity(name + "E", row.efficiency_percent, "%", 0.1),
            Quantity(name + "stored bits per weight", row.bits_per_weight, "bit", 0.05),
            Quantity(name + "stored bits over the floor", row.ratio_to_floor, "1", 0.01),
            Quantity(name + "stored bits over the order-0 bound", row.ratio_to_order0, "1", 0.01),
            Quantity(name + "encoding", row.encode_s, "s", math.nan),
        ]
    for row in quality.itertuples():
        name = f"{row.method} {row.sparsity:g} {row.dtype}: quality, {row.metric}"
        found.append(Quantity(name, row.after, "%" if row.metric[0] == "%" else "BLEU", 1.0))
    return found
