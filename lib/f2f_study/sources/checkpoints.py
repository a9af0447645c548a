"""The TensorFlow checkpoints of "The State of Sparsity" (Gale et al. 2019), without TensorFlow.

Reading rules: magnitude and random pruning store the weights and a 0/1 mask; variational dropout
stores theta and log_sigma2 and keeps a weight where log_sigma2 - ln(theta^2 + 1e-8) is below a
threshold; L0 regularization stores theta and log_alpha and multiplies theta by
clip(1.2 sigmoid(log_alpha) - 0.1, 0, 1). TensorFlow keeps matrices as (in, out) and convolutions
as (height, width, in, out); here the first axis is the outputs, as in DLMC.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np

from f2f.base import validate
from f2f.base.errors import FormatError
from f2f_study.networks.layers import Layer, PrunedModel
from f2f_study.results import repository_root
from f2f_study.sources.dlmc import METHOD_FOLDERS, NETWORK_FOLDERS
from f2f_study.sources.download import ModelUnavailable, data_dir, fetch, unpack
from f2f_study.sources.tfcheckpoint import Checkpoint

# Suffix of the variable that goes with the weights, per method.
_PARTNERS = {
    "random": "mask",
    "magnitude": "mask",
    "variational_dropout": "log_sigma2",
    "l0": "log_alpha",
}
_RESNET_THRESHOLD = 0.5


def table() -> list[dict[str, str]]:
    """The published checkpoints: model, technique, sparsity, quality, url."""
    path = repository_root() / "data" / "state-of-sparsity-checkpoints.csv"
    if not path.exists():
        raise ModelUnavailable(
            f"data/{path.name} was not found: work in a checkout of the repository, which holds it"
        )
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _row(network: str, method: str, sparsity: float) -> dict[str, str]:
    """The row of one checkpoint; `ValueError` that names the published sparsities."""
    model = {"transformer": "transformer(BLEU)", "resnet": "rn50(top1)"}[network]
    wanted = model, METHOD_FOLDERS[method]
    rows = [row for row in table() if (row["model"], row["technique"]) == wanted]
    for row in rows:
        if float(row["sparsity"]) == sparsity:
            return row
    known = ", ".join(row["sparsity"] for row in rows) or "none"
    raise ValueError(
        f"sparsity must be one that was published for {network} by {method} ({known}), "
        f"got {sparsity:g}"
    )


def available(network: str) -> list[tuple[str, float]]:
    """(method, sparsity) of every checkpoint on this machine."""
    rows = [row for row in table() if row["model"].startswith(NETWORK_FOLDERS[network])]
    return [
        (method, float(row["sparsity"]))
        for row in rows
        for method, technique in METHOD_FOLDERS.items()
        if row["technique"] == technique and _prefixes(row)
    ]


def _place(row: dict[str, str]) -> Path:
    """Where a checkpoint is unpacked."""
    return data_dir() / "checkpoints" / Path(row["url"]).name.removesuffix(".tar")


def _prefixes(row: dict[str, str]) -> list[Path]:
    """Prefixes of the checkpoints that are there, by training step."""
    found = [path.with_suffix("") for path in _place(row).rglob("*.index")]
    return sorted(found, key=lambda path: (step_of(path.name), path))


def step_of(name: str) -> int:
    """The training step at the end of a checkpoint's name, -1 where there is none.

    >>> step_of("model.ckpt-500000"), step_of("model.ckpt")
    (500000, -1)
    """
    match = re.search(r"-(\d+)$", name)
    return int(match[1]) if match else -1


def load(network: str, method: str, sparsity: float, download: bool) -> PrunedModel:
    """A published checkpoint, that of the last step; see `f2f_study.sources.open_model`."""
    row = _row(network, method, sparsity)
    name = Path(row["url"]).name
    if not _prefixes(row) and (download or (data_dir() / name).exists()):
        unpack(fetch(row["url"], name), _place(row))
    prefixes = _prefixes(row)
    if not prefixes:
        raise ModelUnavailable.of(name, f"get {row['url']} and place it in")
    threshold = _RESNET_THRESHOLD
    if network == "transformer" and method == "variational_dropout":
        threshold = threshold_of(name)
    layers = read_layers(prefixes[-1], method, threshold)
    unit = "BLEU" if network == "transformer" else "% top-1"
    words = f"trained, {name}"
    quality = f"{row['quality']} {unit} as published"
    return PrunedModel("checkpoint", network, method, sparsity, layers, words, quality=quality)


def threshold_of(name: str) -> float:
    """The log alpha threshold at the end of a Transformer checkpoint's name.

    >>> threshold_of("variational_dropout_0.9_cubic_0_200000_8.89E-08_0.0_0.1_2.5.tar")
    2.5
    """
    match = re.search(r"_([0-9.]+)$", name.removesuffix(".tar"))
    if not match:
        raise ValueError(f"name must end in the log alpha threshold, got {name!r}")
    return float(match[1])


def read_layers(prefix: str | Path, method: str, threshold: float = 3.0) -> dict[str, Layer]:
    """Every pruned tensor of a checkpoint, by the rule of its method.

    Weights are float32, outputs first; names have "/" as in the checkpoint. The prefix is such as
    ``folder/model.ckpt-500000``; the threshold, of log alpha, is for variational dropout only.

    Raises
    ------
    ValueError
        Unknown method.
    FormatError
        The checkpoint has none of the variables that the method leaves behind.
    """
    validate.choice("method", method, tuple(_PARTNERS))
    checkpoint = Checkpoint(prefix)
    partner = _PARTNERS[method]
    layers = {}
    for name in checkpoint.names():
        base, _, leaf = name.rpartition("/")
        if leaf == partner:
            names = (f"{base}/{word}" for word in ("kernel", "weights", "weight"))
            theta = next((theta for theta in names if theta in checkpoint.entries), "")
        elif leaf.endswith("_aux") and partner != "mask":
            theta, base = name.removesuffix("_aux"), name.removesuffix("_aux")
        else:
            continue
        if theta not in checkpoint.entries:
            raise FormatError(f"{prefix}: {name} has no weights (kernel or weights) beside it")
        weights, extra = checkpoint.read(theta), checkpoint.read(name)
        if weights.shape != extra.shape:
            raise FormatError(f"{prefix}: {name} and {theta} differ in shape")
        layers[base] = _layer(weights, extra, method, threshold)
    if not layers:
        known = ", ".join(checkpoint.names()[:4])
        raise FormatError(
            f"{prefix}: has no variable ending in /{partner}, as {method} leaves them; is it a "
            f"checkpoint of another method? It holds {len(checkpoint.entries)} tensors: {known}"
        )
    return layers


def _layer(weights: np.ndarray, extra: np.ndarray, method: str, threshold: float) -> Layer:
    """One tensor by the rule of its method, outputs first."""
    weights = weights.astype(np.float32)
    if method == "variational_dropout":
        mask = extra - np.log(weights**2 + np.float32(1e-8)) < threshold
    elif method == "l0":
        gate = np.clip(1.2 / (1 + np.exp(-extra.astype(np.float64))) - 0.1, 0, 1)
        mask = extra > -np.log(11)
        weights = (weights * gate).astype(np.float32)
    else:
        mask = extra != 0
    weights, mask = np.moveaxis(weights, -1, 0), np.moveaxis(mask, -1, 0)
    mask = np.ascontiguousarray(mask)
    return Layer(np.where(mask, weights, np.float32(0)), mask)
