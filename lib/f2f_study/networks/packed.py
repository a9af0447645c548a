"""The packed file that the stand-ins are kept in: values one after another, and a bitmap.

Tensor NAME of a model's layers is NAME/values (unpruned values in row-major order) and NAME/mask
(uint8, `np.packbits`, least significant bit first) of a .safetensors file; its other tensors are
stored as they are, and what else is known of it is in the metadata. Plain on purpose: another
program reads it without this package.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from f2f.base.atomic import atomic_write
from f2f.base.errors import FormatError
from f2f_study.networks.layers import Layer, PrunedModel, scatter

_KIND = "pruned network"


def save_packed(path: str | os.PathLike[str], model: PrunedModel) -> None:
    """Write a model as one file, whole or not at all; `ValueError` for a layer without values."""
    arrays: dict[str, np.ndarray] = dict(model.others)
    shapes = {}
    for name, layer in model.layers.items():
        if layer.weights is None:
            raise ValueError(f"model must have values for every tensor, got none for {name!r}")
        arrays[f"{name}/values"] = layer.weights[layer.mask]
        arrays[f"{name}/mask"] = np.packbits(layer.mask, bitorder="little")
        shapes[name] = list(layer.mask.shape)
    facts = {
        "kind": _KIND,
        "source": model.source,
        "network": model.network,
        "method": model.method,
        "sparsity": str(model.sparsity),
        "values": model.values,
        "quality": model.quality,
        "shapes": json.dumps(shapes),
    }
    with atomic_write(Path(path)) as file:
        file.write(save({k: np.ascontiguousarray(a) for k, a in arrays.items()}, facts))


def load_packed(path: str | os.PathLike[str]) -> PrunedModel:
    """Read what `save_packed` wrote; `FormatError` for anything else."""
    try:
        with safe_open(path, framework="np") as file:
            facts = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in sorted(file.keys())}
    except SafetensorError as error:
        raise FormatError(f"{path}: cannot be read as safetensors: {error}") from error
    if facts.get("kind") != _KIND:
        raise FormatError(f"{path}: is not a packed pruned network, kind {facts.get('kind')!r}")
    try:
        return _model(facts, arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{path}: {error}") from error


def _model(facts: dict[str, str], arrays: dict[str, np.ndarray]) -> PrunedModel:
    """The model of a file's metadata and tensors; `ValueError` and its like where they disagree."""
    layers = {}
    for name, shape in json.loads(facts["shapes"]).items():
        if not {f"{name}/values", f"{name}/mask"} <= set(arrays):
            raise ValueError(f"{name}: values or mask are missing")
        values, bits = arrays.pop(f"{name}/values"), arrays.pop(f"{name}/mask")
        mask = np.unpackbits(bits, bitorder="little")[: math.prod(shape)].astype(bool)
        if mask.size != math.prod(shape) or np.count_nonzero(mask) != len(values):
            raise ValueError(f"{name}: mask and values do not fit shape {tuple(shape)}")
        mask = mask.reshape(shape)
        layers[name] = Layer(scatter(values, mask), mask)
    return PrunedModel(
        facts["source"],
        facts["network"],
        facts["method"],
        float(facts["sparsity"]),
        layers,
        facts["values"],
        arrays,
        facts["quality"],
    )
