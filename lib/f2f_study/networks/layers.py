"""What every source of models returns, and the packed file the stand-ins are kept in."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from f2f.base.atomic import atomic_write
from f2f.base.errors import FormatError

METHODS = ("random", "magnitude", "l0", "variational_dropout")
_KIND = "pruned network"


@dataclass(frozen=True, eq=False)
class Layer:
    """One prunable tensor.

    weights: float32 or int8, first axis the output channels, zero at pruned places; None where
    the source has masks only and no values were asked for. mask: bool of the same shape, True =
    unpruned. drawn: the values are random numbers, not trained ones.
    """

    weights: np.ndarray | None
    mask: np.ndarray
    drawn: bool = False

    @property
    def size(self) -> int:
        """Number of weights."""
        return int(self.mask.size)

    @property
    def unpruned(self) -> int:
        """Number of unpruned weights."""
        return int(np.count_nonzero(self.mask))


@dataclass(frozen=True, eq=False)
class PrunedModel:
    """A pruned model: its prunable tensors by name, and where they come from.

    sparsity: the nominal one; `measured_sparsity` is that of the masks. values: in words, where
    the values come from, for tables. others: every further tensor of the network (biases, norms,
    embeddings), where the source has them. quality: in words, as the source gives it, or "".
    """

    source: str
    network: str
    method: str
    sparsity: float
    layers: dict[str, Layer]
    values: str
    others: dict[str, np.ndarray] = field(default_factory=dict)
    quality: str = ""

    @property
    def size(self) -> int:
        """Number of weights in the prunable tensors."""
        return sum(layer.size for layer in self.layers.values())

    @property
    def unpruned(self) -> int:
        """Number of unpruned weights in them."""
        return sum(layer.unpruned for layer in self.layers.values())

    @property
    def measured_sparsity(self) -> float:
        """Share of pruned weights in the prunable tensors."""
        return 1 - self.unpruned / self.size

    def state(self) -> dict[str, np.ndarray]:
        """Every tensor that has values, pruned ones with their zeros."""
        pruned = {
            name: layer.weights for name, layer in self.layers.items() if layer.weights is not None
        }
        return self.others | pruned


def save_packed(path: str | os.PathLike[str], model: PrunedModel) -> None:
    """Write a model as one .safetensors file: values one after another, and a bitmap.

    Tensor NAME of `layers` becomes NAME/values (unpruned values in row-major order) and NAME/mask
    (uint8, `np.packbits`, least significant bit first); `others` are stored as they are. Plain on
    purpose: another program reads it without this package.
    """
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
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise FormatError(f"{path}: cannot be read as safetensors: {error}") from error
    if facts.get("kind") != _KIND:
        raise FormatError(f"{path}: is not a packed pruned network, kind {facts.get('kind')!r}")
    layers = {}
    for name, shape in json.loads(facts["shapes"]).items():
        if not {f"{name}/values", f"{name}/mask"} <= set(arrays):
            raise FormatError(f"{path}: {name}: values or mask are missing")
        values, bits = arrays.pop(f"{name}/values"), arrays.pop(f"{name}/mask")
        mask = np.unpackbits(bits, bitorder="little")[: int(np.prod(shape))].astype(bool)
        if mask.size != np.prod(shape) or np.count_nonzero(mask) != len(values):
            raise FormatError(f"{path}: {name}: mask and values do not fit shape {tuple(shape)}")
        mask = mask.reshape(shape)
        layers[name] = Layer(spread(values, mask), mask)
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


def spread(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A tensor of the mask's shape with `values` (row-major) at its True places, else zero."""
    weights = np.zeros(mask.shape, dtype=values.dtype)
    weights[mask] = values
    return weights


def draw_values(
    masks: Mapping[str, np.ndarray], distribution: str, seed: int
) -> dict[str, np.ndarray]:
    """Random float32 weights for masks that come without values.

    distribution: "normal", N(0, 1), or "laplace", scale 1. Every tensor has its own stream, named
    by the seed and the tensor's name, so it does not depend on which tensors are present.
    """
    if distribution not in ("normal", "laplace"):
        raise ValueError(f"values must be normal, laplace or a file, got {distribution!r}")
    drawn = {}
    for name, mask in masks.items():
        rng = np.random.default_rng([seed, *name.encode()])
        count = int(np.count_nonzero(mask))
        if distribution == "normal":
            numbers = rng.standard_normal(count, dtype=np.float32)
        else:
            numbers = rng.laplace(size=count).astype(np.float32)
        drawn[name] = spread(numbers, mask)
    return drawn
