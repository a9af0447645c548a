"""`open_model`: the one way to a pruned model, whatever its source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tqdm import tqdm

from f2f.base import validate
from f2f.tensorfile import read_tensors
from f2f_study.networks.layers import METHODS, ONE_SHOT, PrunedModel
from f2f_study.sources import checkpoints, committed, dense, dlmc, surrogate
from f2f_study.sources.download import find_file

SOURCES = ("surrogate", "standin", "dlmc", "checkpoint", "torchvision", "file")
NETWORKS = ("transformer", "resnet")
_AVAILABLE = {
    "surrogate": surrogate.available,
    "standin": committed.available,
    "dlmc": dlmc.available,
    "checkpoint": checkpoints.available,
}


def open_model(  # noqa: PLR0913  options by name
    source: str,
    network: str,
    method: str,
    sparsity: float,
    *,
    path: str = "",
    values: str = "normal",
    seed: int = 0,
    download: bool = False,
    every: int = 1,
) -> PrunedModel:
    """A pruned model from one of the sources.

    Parameters
    ----------
    source
        One of `SOURCES`.
    network
        "transformer" or "resnet".
    method
        One of `METHODS`. Dense models (torchvision, and files with hardly a zero) are pruned here,
        at once, tensor by tensor; only "random" and "magnitude" can do that.
    sparsity
        Nominal share of pruned weights, e.g. 0.9.
    path
        Source "file": the file, also by its name in the data folder. Source "torchvision": the
        name of the weights, IMAGENET1K_V1, IMAGENET1K_V2 (default) or the INT8
        IMAGENET1K_FBGEMM_V2.
    values
        Sources "surrogate" and "dlmc": "normal", "laplace" or "none"; "dlmc" also takes a file with
        the weights of a dense ResNet-50, whose values are then taken at the unpruned places.
    seed
        Of drawn values and random masks.
    download
        Fetch what is missing.
    every
        One layer in so many is kept, the first among them.

    Returns
    -------
    PrunedModel
        Its layers in the order of the source.

    Raises
    ------
    ValueError
        A wrong argument.
    ModelUnavailable
        The model is not on this machine; says how to get it.
    FormatError
        A file is damaged or not what it should be.

    Examples
    --------
    >>> model = open_model("standin", "resnet", "magnitude", 0.9)
    >>> model.layers["layers.2.conv2.weight"].weights.shape
    (96, 96, 3, 3)
    """
    validate.choice("source", source, SOURCES)
    validate.choice("network", network, NETWORKS)
    validate.choice("method", method, METHODS)
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity must be at least 0 and below 1, got {sparsity!r}")
    every = validate.integer("every", every, 1)
    if source == "surrogate":  # draws no more layers than are kept
        return surrogate.load(network, method, sparsity, values, seed, every)
    if source == "standin":
        model = committed.open_standin(network, method, sparsity)
    elif source == "dlmc":
        model = dlmc.load(network, method, sparsity, values, seed, download)
    elif source == "checkpoint":
        model = checkpoints.load(network, method, sparsity, download)
    else:
        if source == "torchvision":
            if network != "resnet":
                raise ValueError(f"network must be resnet for source torchvision, got {network!r}")
            tensors, words = dense.torchvision_resnet50(path or dense.TORCHVISION_DEFAULT, download)
        else:
            file = find_file(path)
            tensors, words = read_tensors(file), f"trained, {file.name}"
        model = dense.from_tensors(tensors, source, network, method, sparsity, words, seed)
    return replace(model, layers=dict(list(model.layers.items())[::every]))


def available(source: str, network: str) -> list[tuple[str, float]]:
    """(method, sparsity) of the models that can be opened without a download, by sparsity.

    For dense sources, what can be pruned here: random and magnitude at 0.7 and 0.9.
    """
    validate.choice("source", source, SOURCES)
    validate.choice("network", network, NETWORKS)
    dense_ones = [(method, sparsity) for sparsity in (0.7, 0.9) for method in ONE_SHOT]
    found = _AVAILABLE[source](network) if source in _AVAILABLE else dense_ones
    return sorted(found, key=lambda pair: (pair[1], METHODS.index(pair[0])))


def open_models(
    source: str,
    network: str,
    methods: Sequence[str],
    sparsities: Sequence[float],
    **options: Any,
) -> list[PrunedModel]:
    """Every model of a source that is there, by sparsity and method; at least one.

    Every pair of `methods` and `sparsities`, both lists, is wanted. Pairs that are not on this
    machine are left out, unless all are or ``download=True``; then `open_model`, whose other
    arguments these are, says how to get them, or fetches them.
    """
    for name, given in (("methods", methods), ("sparsities", sparsities)):
        if isinstance(given, str | float | int) or not len(given):
            raise ValueError(f"{name} must be a list of one or more, got {given!r}")
    for method in methods:
        validate.choice("methods", method, METHODS)
    wanted = [(method, sparsity) for sparsity in sparsities for method in methods]
    there = available(source, network)
    found = [pair for pair in wanted if pair in there]
    pairs = wanted if options.get("download") or not found else found
    shown = tqdm(pairs, desc="open", unit=" models", delay=2)
    return [open_model(source, network, *pair, **options) for pair in shown]
