"""A pruned model in this package's setting, every tensor decoded and compared bit for bit."""

from __future__ import annotations

import time
from dataclasses import fields
from typing import Any

import numpy as np

from f2f.base.entropy import floor_bits
from f2f.format.codec import compress, decompress
from f2f.format.tensor import CompressedTensor
from f2f_study.experiments.evaluation.rows import TOTAL, PackageRow
from f2f_study.experiments.evaluation.spread import N_IN, identity, layer_weights
from f2f_study.networks.layers import PrunedModel


def package_rows(
    model: PrunedModel,
    dtype: str,
    *,
    n_s: int = 7,
    order: str = "diagonal",
    beam: int = 16,
    scheme: str = "channel",
    lowest_percent: float = 99.8,
    threads: int = 2,
    seed: int = 0,
) -> tuple[list[PackageRow], dict[str, np.ndarray]]:
    """Every layer and the total in this package's setting, and the decoded tensors.

    Each tensor is compressed, decompressed, and compared with what went in, bit for bit.
    lowest_percent: least E of a layer. `compress` chooses the n_out of fewest stored bits, which
    accepts a lower E where corrections are cheap; n_out is then lowered until E is reached. 0
    leaves the choice as it is.
    """
    options = {"n_s": n_s, "order": order, "beam": beam, "threads": threads, "seed": seed}
    rows, decoded = [], {}
    for name, layer in model.layers.items():
        weights = layer_weights(layer, dtype, scheme)
        started = time.perf_counter()
        tensor = _compressed(weights, layer.mask, lowest_percent, options)
        middle = time.perf_counter()
        decoded[name] = np.asarray(decompress(tensor))
        ended = time.perf_counter()
        bits = tensor.stored_bits()
        wrong = sum(tensor.corrections[p].count for p in tensor.encoded)
        word = f"u{weights.itemsize}"
        same = np.array_equal(decoded[name].reshape(-1).view(word), weights.reshape(-1).view(word))
        floor = floor_bits(layer.size, layer.unpruned, 8 * weights.itemsize)
        payload, header = bits["payload"] + bits["raw"], bits["header"]
        row = PackageRow(
            *identity(model), dtype, name, tensor.order, tensor.n_s, tensor.n_out, beam,
            layer.size, layer.unpruned, len(tensor.encoded), len(tensor.encoded) * tensor.k, wrong,
            tensor.efficiency, 8 * weights.nbytes, payload, bits["corrections"], bits["mask"],
            header, 8 * tensor.nbytes, floor, *_ratios(
                layer.size, 8 * weights.nbytes, 8 * tensor.nbytes, bits["mask"], header,
                floor,
            ), same, middle - started, ended - middle,
        )  # fmt: skip
        rows.append(row)
    return [*rows, _package_total(rows)], decoded


def _compressed(
    weights: np.ndarray, mask: np.ndarray, lowest_percent: float, options: dict[str, Any]
) -> CompressedTensor:
    tensor = compress(weights, mask, **options)
    while tensor.efficiency < lowest_percent and tensor.n_out > N_IN:
        tensor = compress(weights, mask, n_out=tensor.n_out - 1, **options)
    return tensor


def _ratios(
    weights: int, original: int, stored: int, mask: int, header: int, floor: float
) -> tuple[float, float, float, float, float]:
    return (
        stored / weights,
        stored / floor,
        (stored - header) / floor,
        100 * (1 - stored / original),
        100 * (1 - (stored - mask) / original),
    )


def _package_total(rows: list[PackageRow]) -> PackageRow:
    names = (
        "weights", "unpruned", "encoded_planes", "care_bits", "wrong_bits", "original_bits",
        "payload_bits", "correction_bits", "mask_bits", "header_bits", "stored_bits", "floor_bits",
        "encode_s", "decode_s",
    )  # fmt: skip
    sums = {name: sum(getattr(row, name) for row in rows) for name in names}
    ratios = _ratios(
        sums["weights"], sums["original_bits"], sums["stored_bits"], sums["mask_bits"],
        sums["header_bits"], sums["floor_bits"],
    )  # fmt: skip
    ratio_names = (
        "bits_per_weight", "ratio_to_floor", "coded_ratio_to_floor", "memory_reduction_percent",
        "memory_reduction_without_mask_percent",
    )  # fmt: skip
    first = {f.name: getattr(rows[0], f.name) for f in fields(PackageRow)}
    return PackageRow(
        **first
        | sums
        | dict(zip(ratio_names, ratios, strict=True))
        | {
            "layer": TOTAL,
            "n_out": 0,
            "efficiency_percent": 100 * (1 - sums["wrong_bits"] / max(sums["care_bits"], 1)),
            "lossless": all(row.lossless for row in rows),
        }
    )
