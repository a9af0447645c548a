"""DLMC's masks with drawn values and with those of a dense model, on small files."""

import tarfile

import numpy as np
import pytest
from dlmc_masks import put_dlmc
from safetensors.numpy import save_file

from f2f_study import sources
from f2f_study.sources import dlmc


def test_dlmc_masks_with_drawn_values(data):
    mask = put_dlmc(data)
    model = sources.open_model("dlmc", "resnet", "magnitude", 0.9, seed=3)
    (layer,) = model.layers.values()
    assert np.array_equal(layer.mask, mask) and layer.drawn
    assert np.array_equal(layer.weights != 0, mask)
    assert layer.weights.dtype == np.float32
    assert 0.9 < layer.weights[mask].std() < 1.1
    assert model.values == "drawn, normal, seed 3"
    again = sources.open_model("dlmc", "resnet", "magnitude", 0.9, seed=3)
    assert np.array_equal(next(iter(again.layers.values())).weights, layer.weights)
    laplace = sources.open_model("dlmc", "resnet", "magnitude", 0.9, values="laplace")
    assert "laplace" in laplace.values
    bare = sources.open_model("dlmc", "resnet", "magnitude", 0.9, values="none")
    assert next(iter(bare.layers.values())).weights is None
    assert sources.available("dlmc", "resnet") == [("magnitude", 0.9)]
    assert sources.available("dlmc", "transformer") == []


def test_dlmc_masks_take_values_of_a_dense_resnet(data, tmp_path):
    mask = put_dlmc(data)
    other = put_dlmc(data, "bottleneck_1_block_group4_2_1", (8, 20))
    weights = np.random.default_rng(0).standard_normal((64, 64, 3, 3)).astype(np.float32)
    save_file({"conv2_block2_2_conv.weight": weights}, tmp_path / "keras.safetensors")
    path = str(tmp_path / "keras.safetensors")
    model = sources.open_model("dlmc", "resnet", "magnitude", 0.9, values=path)
    layer = model.layers["bottleneck_2_block_group1_1_1"]
    # Column (y*3 + x)*64 + c of DLMC is input channel c at (y, x).
    wanted = np.zeros((64, 576), np.float32)
    for y in range(3):
        for x in range(3):
            wanted[:, (y * 3 + x) * 64 : (y * 3 + x + 1) * 64] = weights[:, :, y, x]
    assert np.array_equal(layer.weights, np.where(mask, wanted, 0)) and not layer.drawn
    drawn = model.layers["bottleneck_1_block_group4_2_1"]
    assert drawn.drawn and np.array_equal(drawn.mask, other)
    assert model.values.startswith("keras.safetensors for 1 of 2 tensors")
    save_file({"nothing": weights}, tmp_path / "bad.safetensors")
    with pytest.raises(ValueError, match="values must be a file with ResNet-50's convolutions"):
        sources.open_model(
            "dlmc", "resnet", "magnitude", 0.9, values=str(tmp_path / "bad.safetensors")
        )


def test_dlmc_names_are_resnet50s():
    assert dlmc.resnet_names("initial_conv")[0] == "conv1.weight"
    assert dlmc.resnet_names("final_dense")[0] == "fc.weight"
    assert dlmc.resnet_names("bottleneck_3_block_group_projection_block_group4") == (
        "layer4.0.conv3.weight",
        "conv5_block1_3_conv.weight",
    )
    assert dlmc.resnet_names("body_encoder_layer_0_ffn_conv1_fully_connected") == ("", "")


def test_absent_dlmc_says_what_to_do():
    with pytest.raises(sources.ModelUnavailable, match=r"download=True.*dlmc\.tar\.gz.*data/raw"):
        sources.open_model("dlmc", "transformer", "l0", 0.9)


def test_dlmc_is_downloaded_and_unpacked(data, tmp_path, monkeypatch):
    made = tmp_path / "made"
    mask = put_dlmc(made)
    with tarfile.open(tmp_path / "dlmc.tar.gz", "w:gz") as tar:
        tar.add(made / "dlmc", "dlmc")
    monkeypatch.setattr(dlmc, "URL", (tmp_path / "dlmc.tar.gz").as_uri())
    model = sources.open_model("dlmc", "resnet", "magnitude", 0.9, download=True)
    assert np.array_equal(next(iter(model.layers.values())).mask, mask)
