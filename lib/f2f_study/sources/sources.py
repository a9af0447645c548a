"""`open_model`: the one way to a pruned model, and the sources that are no more than a file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from f2f.base import validate
from f2f.tensorfile import read_tensors
from f2f_study.networks.layers import METHODS, Layer, PrunedModel, load_packed
from f2f_study.results import repository_root
from f2f_study.sources import checkpoints, dlmc
from f2f_study.sources.download import ModelUnavailable, data_dir, fetch, find_file

SOURCES = ("standin", "dlmc", "checkpoint", "torchvision", "file")
NETWORKS = ("transformer", "resnet")
TORCHVISION_DEFAULT = "IMAGENET1K_V2"


def open_model(
    source: str,
    network: str,
    method: str,
    sparsity: float,
    *,
    path: str = "",
    values: str = "normal",
    seed: int = 0,
    download: bool = False,
) -> PrunedModel:
    """A pruned model from one of the sources.

    Args:
        source: one of `SOURCES`.
        network: "transformer" or "resnet".
        method: one of `METHODS`. Dense models (torchvision, and files with hardly a zero) are
            pruned here, at once, tensor by tensor; only "random" and "magnitude" can do that.
        sparsity: nominal share of pruned weights, e.g. 0.9.
        path: source "file": the file, also by its name in the data folder. Source "torchvision":
            the name of the weights, IMAGENET1K_V1, IMAGENET1K_V2 (default) or the INT8
            IMAGENET1K_FBGEMM_V2.
        values: source "dlmc" only: "normal", "laplace", "none", or a file with the weights of a
            dense ResNet-50, whose values are then taken at the unpruned places.
        seed: of drawn values and random masks.
        download: fetch what is missing.

    Raises:
        ValueError: a wrong argument.
        ModelUnavailable: the model is not on this machine; says how to get it.
        FormatError: a file is damaged or not what it should be.

    >>> model = open_model("standin", "resnet", "magnitude", 0.9)
    >>> model.layers["layers.2.conv2.weight"].weights.shape
    (96, 96, 3, 3)
    """
    validate.choice("source", source, SOURCES)
    validate.choice("network", network, NETWORKS)
    validate.choice("method", method, METHODS)
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity must be at least 0 and below 1, got {sparsity!r}")
    if source == "standin":
        return open_standin(network, method, sparsity)
    if source == "dlmc":
        return dlmc.load(network, method, sparsity, values, seed, download)
    if source == "checkpoint":
        return checkpoints.load(network, method, sparsity, download)
    if source == "torchvision":
        if network != "resnet":
            raise ValueError(f"network must be resnet for source torchvision, got {network!r}")
        tensors, words = _torchvision(path or TORCHVISION_DEFAULT, download)
    else:
        file = find_file(path)
        tensors, words = read_tensors(file), f"trained, {file.name}"
    return from_tensors(tensors, source, network, method, sparsity, words, seed)


def available(source: str, network: str) -> list[tuple[str, float]]:
    """(method, sparsity) of the models that can be opened without a download, by sparsity.

    For dense sources, what can be pruned here: random and magnitude at 0.7 and 0.9.
    """
    validate.choice("source", source, SOURCES)
    validate.choice("network", network, NETWORKS)
    if source == "dlmc":
        return dlmc.available(network)
    if source == "checkpoint":
        return checkpoints.available(network)
    if source == "standin":
        return [
            (method, sparsity)
            for sparsity in (0.7, 0.9)
            for method in METHODS
            if _standin_place(network, method, sparsity).exists()
        ]
    return [(method, sparsity) for sparsity in (0.7, 0.9) for method in ("random", "magnitude")]


def open_models(
    source: str,
    network: str,
    methods: str | Sequence[str],
    sparsities: str | Sequence[float],
    **options: Any,
) -> list[PrunedModel]:
    """Every model of a source that is there, by sparsity and method.

    methods, sparsities: lists, or separated by commas, e.g. "random,magnitude" and "0.7,0.9".
    options: as `open_model`. Pairs that are not on this machine are left out, unless all are or
    ``download=True``; then `open_model` says how to get them, or fetches them.
    """
    names = methods.split(",") if isinstance(methods, str) else methods
    shares = sparsities.split(",") if isinstance(sparsities, str) else sparsities
    wanted = [(name.strip(), float(share)) for share in shares for name in names]
    there = available(source, network)
    found = [pair for pair in wanted if pair in there]
    pairs = wanted if options.get("download") or not found else found
    return [open_model(source, network, *pair, **options) for pair in pairs]


def standin_folder() -> Path:
    """Where the committed stand-ins lie."""
    return repository_root() / "data" / "standin"


def open_standin(network: str, method: str = "dense", sparsity: float = 0.0) -> PrunedModel:
    """A committed stand-in; also the dense one, which has no pruned layers."""
    return load_packed(_standin_path(network, method, sparsity))


def _standin_place(network: str, method: str, sparsity: float) -> Path:
    name = f"{network}-dense" if method == "dense" else f"{network}-{method}-{sparsity:g}"
    return standin_folder() / f"{name}.safetensors"


def _standin_path(network: str, method: str, sparsity: float) -> Path:
    path = _standin_place(network, method, sparsity)
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in standin_folder().glob("*.safetensors"))) or "none"
        raise ModelUnavailable(
            f"data/standin/{path.name} was not found (there are: {known}); "
            "work in a checkout of the repository, or run notebooks/00_train_standins.ipynb"
        )
    return path


def from_tensors(
    tensors: Mapping[str, np.ndarray],
    source: str,
    network: str,
    method: str,
    sparsity: float,
    values: str,
    seed: int = 0,
    skip: Sequence[str] = (),
) -> PrunedModel:
    """A model of any named tensors: those of two axes or more become layers, the rest `others`.

    A model of which more than a fifth of the weights are zero counts as pruned; any other is
    pruned here, at once, every tensor to `sparsity`, by "random" or "magnitude". values: where the
    values come from, in words. skip: parts of names that stay dense, such as "embed".

    Raises:
        ValueError: nothing to prune, or a method that only training can do.
    """
    chosen = {
        name: array
        for name, array in tensors.items()
        if array.ndim >= 2
        and array.size
        and (array.dtype == np.int8 or array.dtype.kind == "f")
        and not any(part in name for part in skip)
    }
    if not chosen:
        raise ValueError("tensors must hold float or int8 ones of two axes or more, got none")
    zeros = sum(int(np.count_nonzero(a == 0)) for a in chosen.values())
    pruned_already = zeros > 0.2 * sum(a.size for a in chosen.values())
    if not pruned_already and method not in ("random", "magnitude"):
        raise ValueError(
            f"method must be random or magnitude for a dense model, which is pruned here at once; "
            f"got {method!r}, which only training can do"
        )
    layers = {}
    for index, (name, array) in enumerate(chosen.items()):
        weights = array if array.dtype == np.int8 else array.astype(np.float32)
        if pruned_already:
            mask = weights != 0
        else:
            mask = _one_shot(weights, method, sparsity, seed + index)
        layers[name] = Layer(np.where(mask, weights, weights.dtype.type(0)), mask)
    note = "" if pruned_already else f", pruned here at once by {method}"
    others = {name: array for name, array in tensors.items() if name not in chosen}
    return PrunedModel(source, network, method, sparsity, layers, values + note, others)


def _one_shot(weights: np.ndarray, method: str, sparsity: float, seed: int) -> np.ndarray:
    import torch

    from f2f_study.networks import prune

    if method == "random":
        return prune.random_mask(weights.shape, sparsity, seed).numpy()
    # Ties of INT8 dropped in flat order would empty the first rows: break them at random.
    size = torch.from_numpy(np.abs(weights.astype(np.float32)))
    if weights.dtype == np.int8:
        generator = torch.Generator().manual_seed(seed)
        size = size + torch.rand(size.shape, generator=generator) * 0.5
    return prune.magnitude_mask(size, sparsity).numpy()


def _torchvision(name: str, download: bool) -> tuple[dict[str, np.ndarray], str]:
    """The tensors of a ResNet-50 published by torchvision; int8 arrays for the quantized one."""
    from f2f_study.networks.vision import import_torchvision

    models = import_torchvision().models
    known: dict[str, Any] = dict(models.ResNet50_Weights.__members__)
    known |= models.quantization.ResNet50_QuantizedWeights.__members__
    validate.choice("path", name, tuple(known))
    url = known[name].url
    file = url.rsplit("/", 1)[1]
    if not (data_dir() / file).exists() and not download:
        raise ModelUnavailable(
            f"{file} is not in the data folder. Pass download=True, or get {url} and place it in "
            f"data/raw (or the folder that F2F_DATA names); see data/README.md"
        )
    digits = re.search(r"[-_]([0-9a-f]{8})\.pth$", file)  # of the sha256, by convention
    path = fetch(url, file, digits[1] if digits else "")
    return read_state(path), f"trained, torchvision {name}"


def read_state(path: str | Path) -> dict[str, np.ndarray]:
    """Tensors of a .pth state dict, quantized ones as int8 with float32 NAME.scale beside them.

    The scale is one number, or one per output channel. Loaded weights-only.
    """
    import torch

    state = torch.load(path, map_location="cpu", weights_only=True)
    arrays: dict[str, np.ndarray] = {}

    def add(name: str, value: Any) -> None:
        if isinstance(value, tuple):  # packed parameters of a linear layer: weight and bias
            for part, inner in zip(("weight", "bias"), value, strict=False):
                add(f"{name.split('._packed_params')[0]}.{part}", inner)
        elif isinstance(value, torch.Tensor) and value.is_quantized:
            per_channel = value.qscheme() in (torch.per_channel_affine, torch.per_channel_symmetric)
            scale = value.q_per_channel_scales() if per_channel else torch.tensor(value.q_scale())
            arrays[name] = value.int_repr().numpy()
            arrays[f"{name}.scale"] = scale.detach().numpy().astype(np.float32)
        elif isinstance(value, torch.Tensor):
            arrays[name] = value.detach().numpy()

    for name, value in state.items():
        add(name, value)
    return arrays
