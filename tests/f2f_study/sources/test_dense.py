"""Torchvision's weights, quantized or not, and files of plain tensors."""

import ml_dtypes
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from f2f.base.tensors import numpy_dtype
from f2f.format.tensor import FLOAT8
from f2f_study import sources
from f2f_study.networks import masks
from f2f_study.sources import dense


def test_torchvision_needs_its_file():
    with pytest.raises(sources.ModelUnavailable, match=r"resnet50-11ad3fa6\.pth.*download=True"):
        sources.open_model("torchvision", "resnet", "magnitude", 0.9)
    with pytest.raises(sources.ModelUnavailable, match=r"resnet50_fbgemm"):
        sources.open_model("torchvision", "resnet", "magnitude", 0.9, path="IMAGENET1K_FBGEMM_V2")
    with pytest.raises(ValueError, match="path must be one of"):
        sources.open_model("torchvision", "resnet", "magnitude", 0.9, path="IMAGENET22K")
    with pytest.raises(ValueError, match="network must be resnet"):
        sources.open_model("torchvision", "transformer", "magnitude", 0.9)


def test_torchvision_file_is_pruned_here(data):
    state = {"conv1.weight": torch.randn(8, 3, 7, 7), "bn1.weight": torch.ones(8)}
    content = data / "resnet50-11ad3fa6.pth"
    torch.save(state, content)
    with pytest.raises(ValueError, match="must have sha256 11ad3fa6"):
        sources.open_model("torchvision", "resnet", "magnitude", 0.75)
    assert not content.exists(), "a wrong file is removed"


def test_quantized_state_dicts_give_int8(tmp_path):
    torch.manual_seed(0)
    weight = torch.randn(4, 3, 3, 3)
    scales = torch.rand(4, dtype=torch.float64) + 0.01
    channel = torch.quantize_per_channel(
        weight, scales, torch.zeros(4, dtype=torch.int64), 0, torch.qint8
    )
    tensor = torch.quantize_per_tensor(torch.randn(5, 6), 0.02, 0, torch.qint8)
    state = {
        "conv1.weight": channel,
        "conv1.scale": torch.tensor(0.5),
        "fc._packed_params._packed_params": (tensor, torch.ones(5)),
    }
    torch.save(state, tmp_path / "q.pth")
    found = dense.read_state(tmp_path / "q.pth")
    assert found["conv1.weight"].dtype == np.int8
    assert np.array_equal(found["conv1.weight"], channel.int_repr().numpy())
    assert np.allclose(found["conv1.weight.scale"], scales.numpy())
    assert np.array_equal(found["fc.weight"], tensor.int_repr().numpy())
    assert np.array_equal(found["fc.bias"], np.ones(5))
    model = sources.from_tensors(found, "torchvision", "resnet", "magnitude", 0.5, "trained")
    layer = model.layers["conv1.weight"]
    assert layer.weights.dtype == np.int8 and layer.unpruned == 54
    size = np.abs(found["conv1.weight"].astype(int))
    assert size[layer.mask].min() >= size[~layer.mask].max()


@pytest.mark.parametrize("kind", ["safetensors", "npz", "pt"])
def test_files_of_every_kind(tmp_path, data, kind):
    rng = np.random.default_rng(0)
    tensors = {
        "a.weight": rng.standard_normal((20, 30)).astype(np.float32),
        "a.bias": np.ones(20, np.float32),
    }
    path = tmp_path / f"model.{kind}"
    if kind == "safetensors":
        save_file(tensors, path)
    elif kind == "npz":
        np.savez(path, **tensors)
    else:
        torch.save({name: torch.from_numpy(a) for name, a in tensors.items()}, path)
    model = sources.open_model("file", "resnet", "magnitude", 0.8, path=str(path))
    assert list(model.layers) == ["a.weight"] and list(model.others) == ["a.bias"]
    assert model.unpruned == 120 and "pruned here at once by magnitude" in model.values
    path.rename(data / path.name)
    again = sources.open_model("file", "resnet", "magnitude", 0.8, path=path.name)
    assert np.array_equal(again.layers["a.weight"].mask, model.layers["a.weight"].mask)
    path = data / path.name
    with pytest.raises(ValueError, match="method must be random or magnitude for a dense model"):
        sources.open_model("file", "resnet", "l0", 0.8, path=str(path))


def test_files_with_zeros_keep_their_mask(tmp_path):
    weights = np.random.default_rng(0).standard_normal((20, 30)).astype(np.float32)
    mask = np.random.default_rng(1).random((20, 30)) >= 0.6
    save_file({"a": np.where(mask, weights, 0).astype(np.float32)}, tmp_path / "m.safetensors")
    path = str(tmp_path / "m.safetensors")
    model = sources.open_model("file", "transformer", "l0", 0.6, path=path)
    assert np.array_equal(model.layers["a"].mask, mask)
    assert "pruned here" not in model.values


def test_one_seed_is_one_pruning_whatever_the_order_of_the_names(tmp_path):
    rng = np.random.default_rng(0)
    tensors = {name: rng.standard_normal((16, 16)).astype(np.float32) for name in "bca"}
    facts = ("file", "resnet", "random", 0.75, "trained")
    first, second = (
        sources.from_tensors({name: tensors[name] for name in order}, *facts, seed=3)
        for order in ("bca", "abc")
    )
    for name in tensors:
        assert np.array_equal(first.layers[name].mask, second.layers[name].mask)
    pruned = [layer.mask.tobytes() for layer in first.layers.values()]
    assert len(set(pruned)) == 3, "every tensor has a mask of its own"


@pytest.mark.parametrize("way", ["torch", "ours"])
def test_masks_beside_weights_are_applied(tmp_path, way):
    """A state dict saved while a pruner hangs on the module."""
    network = torch.nn.Sequential(torch.nn.Linear(12, 10), torch.nn.Linear(10, 4))
    mask = masks.keep_highest(torch.rand(10, 12), 0.1)
    if way == "torch":
        from torch.nn.utils import prune

        prune.custom_from_mask(network[0], "weight", mask)
    else:
        from f2f_study.networks.prune import fixed_masks

        fixed_masks(network, {"0.weight": mask})
    torch.save(network.state_dict(), tmp_path / "m.pt")
    model = sources.open_model("file", "resnet", "l0", 0.1, path=str(tmp_path / "m.pt"))
    assert set(model.layers) == {"0.weight", "1.weight"}
    assert np.array_equal(model.layers["0.weight"].mask, mask.numpy())
    assert np.array_equal(model.layers["0.weight"].weights != 0, mask.numpy())
    assert model.layers["1.weight"].mask.all() and set(model.others) == {"0.bias", "1.bias"}


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, *map(numpy_dtype, FLOAT8), np.float16])
def test_short_floats_become_float32_layers(dtype):
    weights = np.random.default_rng(0).standard_normal((20, 30)).astype(dtype)
    facts = ("file", "resnet", "magnitude", 0.9, "trained")
    (layer,) = sources.from_tensors({"w": weights}, *facts).layers.values()
    assert layer.weights.dtype == np.float32 and layer.unpruned == 60
    assert np.array_equal(layer.weights[layer.mask], weights[layer.mask].astype(np.float32))
