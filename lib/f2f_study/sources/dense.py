"""Models that come as plain tensors: pruned already, or dense and pruned here, at once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from f2f.base import validate
from f2f_study.networks.layers import ONE_SHOT, Layer, PrunedModel
from f2f_study.networks.quantize import is_float
from f2f_study.sources.download import ModelUnavailable, data_dir, fetch

TORCHVISION_DEFAULT = "IMAGENET1K_V2"
_PRUNED_ALREADY = 0.2  # share of zeros from which a model counts as pruned


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
    """A model of any named tensors.

    A model of which more than a fifth of the weights are zero, or that brings masks beside its
    weights (`with_masks_applied`), counts as pruned; any other is pruned here, at once, every
    tensor to `sparsity`.

    Parameters
    ----------
    tensors
        Float ones (bfloat16 and the eight-bit ones too) and int8 ones of two axes or more become
        layers, float32 and int8, the rest `others`.
    source, network, method, sparsity
        What the model is called. A dense one is pruned by `method`, "random" or "magnitude".
    values
        Where the values come from, in words.
    seed
        Of random masks, and of ties between INT8 weights. The mask of a tensor depends on its
        place among the sorted names, not on the order of `tensors`.
    skip
        Parts of names that stay dense, such as "embed".

    Returns
    -------
    PrunedModel
        Layers in the order of `tensors`.

    Raises
    ------
    ValueError
        Nothing to prune, or a method that only training can do.
    """
    applied = with_masks_applied(tensors)
    chosen = {
        name: array
        for name, array in applied.items()
        if array.ndim >= 2
        and array.size
        and (array.dtype == np.int8 or is_float(array.dtype))
        and not any(part in name for part in skip)
    }
    if not chosen:
        raise ValueError("tensors must hold float or int8 ones of two axes or more, got none")
    zeros = sum(int(np.count_nonzero(a == 0)) for a in chosen.values())
    share = zeros / sum(a.size for a in chosen.values())
    pruned_already = len(applied) < len(tensors) or share > _PRUNED_ALREADY
    if not pruned_already and method not in ONE_SHOT:
        raise ValueError(
            f"method must be random or magnitude for a dense model, which is pruned here at once; "
            f"got {method!r}, which only training can do"
        )
    place = {name: index for index, name in enumerate(sorted(chosen))}
    layers = {}
    for name, array in chosen.items():
        weights = array if array.dtype == np.int8 else array.astype(np.float32)
        if pruned_already:
            mask = weights != 0
        else:
            from f2f_study.networks.masks import one_shot  # torch, only where something is pruned

            mask = one_shot(weights, method, sparsity, seed + place[name])
        layers[name] = Layer(np.where(mask, weights, weights.dtype.type(0)), mask)
    note = "" if pruned_already else f", pruned here at once by {method}"
    others = {name: array for name, array in applied.items() if name not in chosen}
    return PrunedModel(source, network, method, sparsity, layers, values + note, others)


def with_masks_applied(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Weights times the masks that the state dict of a pruned PyTorch module has beside them.

    ``torch.nn.utils.prune`` leaves NAME_orig and NAME_mask; ``f2f_study.networks.prune``, in
    training, PATH.parametrizations.NAME.original and PATH.parametrizations.NAME.0.mask. Each pair
    becomes one tensor of the plain name, zero where its mask is; all others are as they are.
    """
    found = dict(tensors)
    for name, weights in tensors.items():
        plain = re.sub(r"_orig$|\.original$", "", name)
        mask = f"{plain}_mask" if name.endswith("_orig") else f"{plain}.0.mask"
        if plain != name and mask in tensors and tensors[mask].shape == weights.shape:
            kept = np.where(tensors[mask] != 0, weights, weights.dtype.type(0))
            del found[name], found[mask]
            found[re.sub(r"(^|\.)parametrizations\.(\w+)$", r"\1\2", plain)] = kept
    return found


def torchvision_resnet50(name: str, download: bool) -> tuple[dict[str, np.ndarray], str]:
    """A ResNet-50 published by torchvision: its tensors (`read_state`), and whence, in words.

    `name` is that of its weights, e.g. IMAGENET1K_V2, or IMAGENET1K_FBGEMM_V2 for the quantized
    one.

    Raises
    ------
    ValueError
        Unknown name, or a file with another checksum, which is removed.
    ModelUnavailable
        The file is not there.
    """
    from f2f_study.networks.vision import import_torchvision

    models = import_torchvision().models
    known: dict[str, Any] = dict(models.ResNet50_Weights.__members__)
    known |= models.quantization.ResNet50_QuantizedWeights.__members__
    validate.choice("path", name, tuple(known))
    url = known[name].url
    file = url.rsplit("/", 1)[1]
    if not (data_dir() / file).exists() and not download:
        raise ModelUnavailable.of(file, f"get {url} and place it in")
    digits = re.search(r"[-_]([0-9a-f]{8})\.pth$", file)  # of the sha256, by convention
    path = fetch(url, file, digits[1] if digits else "")
    return read_state(path), f"trained, torchvision {name}"


def read_state(path: str | Path) -> dict[str, np.ndarray]:
    """Tensors of a .pth state dict, loaded weights-only.

    Quantized ones are int8, with float32 NAME.scale beside them: one number, or one per output
    channel.
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
