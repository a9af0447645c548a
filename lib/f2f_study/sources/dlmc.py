"""The Deep Learning Matrix Collection: the published masks of the paper's two models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from f2f.tensorfile import read_tensors
from f2f_study.networks.layers import (
    DISTRIBUTIONS,
    METHODS,
    Layer,
    PrunedModel,
    drawn_layers,
)
from f2f_study.sources.download import ModelUnavailable, data_dir, fetch, find_file, unpack
from f2f_study.sources.smtx import read_smtx

URL = "https://storage.googleapis.com/sgk-sc2020/dlmc.tar.gz"
METHOD_FOLDERS = {
    "random": "random_pruning",
    "magnitude": "magnitude_pruning",
    "l0": "l0_regularization",
    "variational_dropout": "variational_dropout",
}
NETWORK_FOLDERS = {"transformer": "transformer", "resnet": "rn50"}


def folder(network: str, method: str, sparsity: float) -> Path:
    """Where the masks of a model lie."""
    return _method_folder(network, method) / f"{sparsity:g}"


def _method_folder(network: str, method: str) -> Path:
    return data_dir() / "dlmc" / NETWORK_FOLDERS[network] / METHOD_FOLDERS[method]


def available(network: str) -> list[tuple[str, float]]:
    """(method, sparsity) of every model on this machine."""
    return [
        (method, float(place.name))
        for method in METHODS
        for place in _method_folder(network, method).glob("0.*")
        if any(place.glob("*.smtx"))
    ]


def load(
    network: str, method: str, sparsity: float, values: str, seed: int, download: bool
) -> PrunedModel:
    """Masks of a model, with values drawn or of a file; see `f2f_study.sources.open_model`."""
    place = folder(network, method, sparsity)
    if not any(place.glob("*.smtx")) and download:
        # All masks of the network at once: the archive can only be read from its beginning.
        unpack(fetch(URL, "dlmc.tar.gz"), data_dir(), f"dlmc/{NETWORK_FOLDERS[network]}/")
    paths = sorted(place.glob("*.smtx"))
    if not paths:
        masks_of = place.relative_to(data_dir()).as_posix()
        raise ModelUnavailable.of(masks_of, f"get {URL} and unpack it into")
    masks = {path.stem: read_smtx(path) for path in paths}
    if values in ("", "none", *DISTRIBUTIONS):
        layers, words = drawn_layers(masks, values, seed)
    else:
        layers, count = _with_values(masks, read_tensors(find_file(values)), seed)
        words = f"{Path(values).name} for {count} of {len(masks)} tensors, others drawn, normal"
    return PrunedModel("dlmc", network, method, sparsity, layers, words)


def _with_values(
    masks: Mapping[str, np.ndarray], tensors: Mapping[str, np.ndarray], seed: int
) -> tuple[dict[str, Layer], int]:
    """Layers with the values of another ResNet-50 at the masks' places, where it has them."""
    layers, count = drawn_layers(masks, "normal", seed)[0], 0
    for name, mask in masks.items():
        found = [tensors[other] for other in resnet_names(name) if other in tensors]
        if found and found[0].size == mask.size and found[0].shape[0] == mask.shape[0]:
            # DLMC's columns are (height, width, channels in), those of OIHW are not.
            axes = (0, 2, 3, 1) if found[0].ndim == 4 else (0, 1)
            weights = found[0].transpose(axes).reshape(mask.shape).astype(np.float32)
            layers[name] = Layer(np.where(mask, weights, np.float32(0)), mask)
            count += 1
    if not count:
        raise ValueError(
            "values must be a file with ResNet-50's convolutions under torchvision's or Keras' "
            f"names, such as {resnet_names('bottleneck_1_block_group1_1_1')[0]}; got none of them"
        )
    return layers, count


def resnet_names(stem: str) -> tuple[str, str]:
    """The names torchvision and Keras give the tensor that DLMC calls `stem`; else "" and "".

    >>> resnet_names("bottleneck_2_block_group3_5_1")
    ('layer3.5.conv2.weight', 'conv4_block6_2_conv.weight')
    >>> resnet_names("bottleneck_projection_block_group_projection_block_group1")
    ('layer1.0.downsample.0.weight', 'conv2_block1_0_conv.weight')
    """
    if stem == "initial_conv":
        return "conv1.weight", "conv1_conv.weight"
    if stem == "final_dense":
        return "fc.weight", "predictions.weight"
    if match := re.fullmatch(r"bottleneck_(\d)_block_group(\d)_(\d)_1", stem):
        conv, group, block = map(int, match.groups())
    elif match := re.fullmatch(r"bottleneck_(\d)_block_group_projection_block_group(\d)", stem):
        conv, group, block = *map(int, match.groups()), 0
    elif match := re.fullmatch(r"bottleneck_projection_\w+_block_group(\d)", stem):
        group = int(match[1])
        return f"layer{group}.0.downsample.0.weight", f"conv{group + 1}_block1_0_conv.weight"
    else:
        return "", ""
    return (
        f"layer{group}.{block}.conv{conv}.weight",
        f"conv{group + 1}_block{block + 1}_{conv}_conv.weight",
    )
