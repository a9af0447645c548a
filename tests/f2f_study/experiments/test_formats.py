"""Formats side by side: what they store is counted, and must come back."""

import numpy as np
import pytest

from f2f.tensorfile import write_tensors
from f2f_study.baselines import storage
from f2f_study.experiments import formats


def test_every_format_is_sampled_and_counted():
    tensors = formats.drawn("int8", 0.8, 96)
    found = formats.measure("drawn", tensors, 0.8, repeats=2)
    assert list(found) == formats.COLUMNS and found.notna().all().all()
    there = [name for name in storage.FORMATS if not storage.absent(name)]
    assert list(found["format"]) == 2 * [*there, "f2f"]
    sizes = formats.table(found)["size_bits"].droplevel(["tensors", "dtype", "sparsity"])
    for name in there:
        packed = storage.packed_bytes(storage.pack(name, tensors["weight"]))
        assert sizes[name] == 8 * packed / 96**2
    assert (found["file_bits_per_weight"] > found["size_bits_per_weight"]).all()


def test_an_absent_package_is_left_out(monkeypatch):
    monkeypatch.setattr(storage.importlib.util, "find_spec", lambda package: None)
    found = formats.measure("drawn", formats.drawn("int8", 0.8, 64), 0.8, repeats=1)
    assert {"csr", "bitmap", formats.PACKAGE} <= set(found["format"])
    assert not {"zipnn", "bitmap_zipnn", "ans_bitmap", "zstd"} & set(found["format"])
    assert len(formats.summary(found)) == 2 and formats.smaller(found).empty


def test_a_format_that_loses_a_weight_is_an_error(monkeypatch):
    form = storage.FORMATS["dense"]
    lossy = form._replace(unpack=lambda arrays, what: arrays["values"] & 127)
    monkeypatch.setitem(storage.FORMATS, "dense", lossy)
    with pytest.raises(RuntimeError, match="dense: tensor weight does not come back"):
        formats.measure("drawn", formats.drawn("int8", 0.5, 64), 0.5, repeats=1)


@pytest.mark.parametrize("dtype", formats.DTYPES)
def test_every_kth_layer_of_a_model_file_pruned_by_magnitude(dtype, tmp_path):
    rng = np.random.default_rng(0)
    weights = {f"fc{i}.weight": rng.standard_normal((40, 30), np.float32) for i in range(6)}
    path = tmp_path / "model.safetensors"
    write_tensors(path, weights | {"fc0.bias": np.ones(40, np.float32)})
    title, layers = formats.thinned(formats.model(str(path), 0.75), 2400)
    assert title == "resnet, file, 2 of 6 layers" and list(layers) == ["fc1.weight", "fc4.weight"]
    tensors = formats.stored_as(layers, dtype)
    for name, array in tensors.items():
        kept, weight = array != 0, np.abs(weights[name])
        assert array.dtype == dtype and kept.sum() == 300
        assert weight[kept].min() > weight[~kept].max()


def test_the_committed_network_is_measured_without_a_file():
    title, layers = formats.thinned(formats.model("", 0.5), 30_000)
    assert title.startswith("resnet, standin, ")
    share = [np.count_nonzero(layer) / layer.size for layer in layers.values()]
    assert share == pytest.approx([0.5] * len(share), abs=0.01)


def test_what_is_missed_is_named():
    found = formats.measure("drawn 320x320", formats.drawn("int8", 0.9, 320), 0.9, repeats=1)
    assert formats.missed(found) == []
    ours, ans = (found["format"] == name for name in (formats.PACKAGE, "ans_bitmap"))
    floor = found["floor_bits_per_weight"].iloc[0]
    found.loc[ours, "size_bits_per_weight"] = 1.11 * floor
    (line,) = formats.missed(found)
    assert line == "drawn 320x320, int8, S = 0.9: 1.1100 of the floor, at most 1.1"
    found.loc[ans, "size_bits_per_weight"] = 0.99 * floor
    assert "ANS takes 0.9900 of the floor" in formats.missed(found)[0]
    found.loc[ours, "size_bits_per_weight"] = 2.0
    found.loc[found["format"] == "ans_values", "size_bits_per_weight"] = 1.5
    assert formats.smaller(found)["percent"].item() == pytest.approx(25)
