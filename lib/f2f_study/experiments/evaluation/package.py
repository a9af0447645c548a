"""A pruned model in this package's setting, every tensor decoded and compared bit for bit."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from f2f.base.entropy import floor_bits
from f2f.format.codec import compress, decompress
from f2f.format.tensor import CompressedTensor
from f2f_study.experiments.accounting import efficiency, memory_reduction, order0_bits
from f2f_study.experiments.evaluation.models import DTYPES, jobs, layer_weights
from f2f_study.experiments.model_rows import TOTAL, identity, with_totals
from f2f_study.experiments.timing import settled
from f2f_study.networks.layers import PrunedModel

_COLUMNS = [
    "source", "network", "method", "sparsity", "dtype", "layer", "order", "n_s", "n_out", "beam",
    "weights", "unpruned", "encoded_planes", "care_bits", "wrong_bits", "efficiency_percent",
    "original_bits", "payload_bits", "correction_bits", "mask_bits", "header_bits", "stored_bits",
    "floor_bits", "order0_bits", "bits_per_weight", "ratio_to_floor", "ratio_to_order0",
    "coded_ratio_to_floor", "memory_reduction_percent", "memory_reduction_without_mask_percent",
    "lossless", "encode_s", "decode_s",
]  # fmt: skip


class Decoded(NamedTuple):
    """A network after coding."""

    model: PrunedModel  # what went in
    dtype: str  # the number format it was coded in
    tensors: dict[str, np.ndarray]  # the decoded layers by name, of that format


def package_setting(
    models: Sequence[PrunedModel],
    dtypes: Sequence[str] = DTYPES,
    *,
    beam: int = 16,
    scheme: str = "channel",
    **options: Any,
) -> tuple[pd.DataFrame, list[Decoded]]:
    """Every layer and every model through `f2f.compress` and back.

    Parameters
    ----------
    models, dtypes
        What is coded, in which number formats; models published in INT8 in that alone.
    beam
        Hypotheses of the encoder.
    scheme
        Scales of INT8, see `layer_weights`.
    options
        Further ones of `f2f.compress`. Threads are one a core and `least_efficiency`, of every
        layer, is 99.8 % unless given.

    Returns
    -------
    rows : DataFrame
        The columns of `package_setting.csv` (runs/README.md): every stored bit by part, beside two
        bounds, for incompressible values and `accounting.order0_bits`. `lossless`: decoded and
        equal bit for bit.
    decoded : list of Decoded
        The models that are whole networks (they have `others`) and so can be judged.
    """
    options = {"threads": os.cpu_count() or 1, "least_efficiency": 99.8, "beam": beam} | options
    rows: list[dict[str, Any]] = []
    decoded = []
    for model, dtype in tqdm(jobs(models, dtypes), desc="this package's setting", unit=" models"):
        tensors = {}
        for name, layer in model.layers.items():
            weights = layer_weights(layer, dtype, scheme)
            there_and_back = partial(_there_and_back, weights, layer.mask, options)
            tensor, tensors[name], encode_s, decode_s = settled(there_and_back)
            rows.append(
                identity(model)
                | {"dtype": dtype, "layer": name}
                | _counts(tensor, weights, layer.mask)
                | {
                    "beam": beam,
                    "lossless": tensors[name].tobytes() == weights.tobytes(),
                    "encode_s": encode_s,
                    "decode_s": decode_s,
                }
            )
        if model.others:
            decoded.append(Decoded(model, dtype, tensors))
    settings = ["order", "n_s", "n_out", "beam"]
    return _derived(with_totals(pd.DataFrame(rows), ["dtype"], settings)), decoded


def _there_and_back(
    weights: np.ndarray, mask: np.ndarray, options: Mapping[str, Any]
) -> tuple[CompressedTensor, np.ndarray, float, float]:
    """A layer compressed, decompressed, and the seconds of both."""
    started = time.perf_counter()
    tensor = compress(weights, mask, **options)
    encoded = time.perf_counter()
    back = np.asarray(decompress(tensor))
    return tensor, back, encoded - started, time.perf_counter() - encoded


def _counts(tensor: CompressedTensor, weights: np.ndarray, mask: np.ndarray) -> dict[str, Any]:
    """What a compressed tensor consists of; the payload holds raw planes too."""
    bits, unpruned = tensor.stored_bits(), int(np.count_nonzero(mask))
    return {
        "order": tensor.order,
        "n_s": tensor.n_s,
        "n_out": tensor.n_out,
        "weights": weights.size,
        "unpruned": unpruned,
        "encoded_planes": len(tensor.encoded),
        "care_bits": len(tensor.encoded) * tensor.k,
        "wrong_bits": sum(tensor.corrections[p].count for p in tensor.encoded),
        "original_bits": 8 * weights.nbytes,
        "payload_bits": bits["payload"] + bits["raw"],
        "correction_bits": bits["corrections"],
        "mask_bits": bits["mask"],
        "header_bits": bits["header"],
        "stored_bits": 8 * tensor.nbytes,
        "floor_bits": floor_bits(weights.size, unpruned, 8 * weights.itemsize),
        "order0_bits": order0_bits(weights[mask], weights.size),
    }


def _derived(counts: pd.DataFrame) -> pd.DataFrame:
    """The columns of the CSV file, from the counts of layers and models; n_out of a model is 0."""
    stored, original = counts["stored_bits"], counts["original_bits"]
    return counts.assign(
        n_out=counts["n_out"].where(counts["layer"] != TOTAL, 0),
        efficiency_percent=efficiency(counts["care_bits"], counts["wrong_bits"]),
        bits_per_weight=stored / counts["weights"],
        ratio_to_floor=stored / counts["floor_bits"],
        ratio_to_order0=stored / counts["order0_bits"],
        coded_ratio_to_floor=(stored - counts["header_bits"]) / counts["floor_bits"],
        memory_reduction_percent=memory_reduction(stored, original),
        memory_reduction_without_mask_percent=memory_reduction(
            stored - counts["mask_bits"], original
        ),
    )[_COLUMNS]
