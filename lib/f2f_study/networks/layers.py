"""What a pruned network is: named weights with their masks, and where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

METHODS = ("random", "magnitude", "l0", "variational_dropout")
"""The paper's pruning methods, as everything here names them."""
ONE_SHOT = ("random", "magnitude")
"""Those that need no training."""
DISTRIBUTIONS = ("normal", "laplace")
"""Of the values that are drawn for masks without any."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One prunable tensor.

    `weights` are float32 or int8, first axis the output channels, zero at pruned places; None where
    the source has masks only and no values were asked for.
    """

    weights: np.ndarray | None
    mask: np.ndarray  # bool, the same shape, True = unpruned
    drawn: bool = False  # the values are random numbers, not trained ones

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

    Attributes
    ----------
    source, network, method
        Kind of source, "transformer" or "resnet", and pruning method (one of `METHODS`, or
        "dense").
    sparsity
        The nominal share of pruned weights; `measured_sparsity` is that of the masks.
    layers
        The prunable tensors.
    values
        Where the values come from, in words.
    others
        Every further tensor of the network (biases, norms, embeddings), where the source has them.
    quality
        In words, as the source gives it, or "".
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


def scatter(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A tensor of the mask's shape with `values` (row-major) at its True places, else zero."""
    weights = np.zeros(mask.shape, dtype=values.dtype)
    weights[mask] = values
    return weights


def drawn_layers(
    masks: Mapping[str, np.ndarray], values: str, seed: int
) -> tuple[dict[str, Layer], str]:
    """Layers of masks, bool by name, with random float32 weights; and in words what those are.

    `values` are "normal", N(0, 1), "laplace", scale 1, or "none" or "" for masks alone;
    `ValueError` else. Every tensor has its own stream, named by the seed and the tensor's name, so
    it does not depend on which tensors are present.
    """
    if values in ("", "none"):
        return {name: Layer(None, mask) for name, mask in masks.items()}, "none, masks only"
    if values not in DISTRIBUTIONS:
        raise ValueError(f"values must be normal, laplace or a file, got {values!r}")
    layers = {}
    for name, mask in masks.items():
        rng = np.random.default_rng([seed, *name.encode()])
        count = int(np.count_nonzero(mask))
        if values == "normal":
            numbers = rng.standard_normal(count, dtype=np.float32)
        else:
            numbers = rng.laplace(size=count).astype(np.float32)
        layers[name] = Layer(scatter(numbers, mask), mask, drawn=True)
    return layers, f"drawn, {values}, seed {seed}"
