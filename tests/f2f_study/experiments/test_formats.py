"""Formats side by side: what they store is counted, and must come back."""

import numpy as np
import pytest

from f2f.tensorfile import write_tensors
from f2f_study.baselines import storage
from f2f_study.experiments import formats


def test_every_format_is_sampled_and_counted():
    tensors = formats.drawn("int8", 0.8, 96)
    found = formats.measure("drawn", tensors, 0.8, beams=[1, 16], repeats=2)
    assert list(found) == list(formats.COLUMNS) and found.notna().all().all()
    there = [name for name in storage.FORMATS if not storage.absent(name)]
    assert list(found["format"]) == 2 * [*there, "f2f beam 1", "f2f beam 16"]
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
    assert len(formats.summary(found)) == 1


def test_a_format_that_loses_a_weight_is_an_error(monkeypatch):
    form = storage.FORMATS["dense"]
    lossy = form._replace(unpack=lambda arrays, what: arrays["values"] & 127)
    monkeypatch.setitem(storage.FORMATS, "dense", lossy)
    with pytest.raises(RuntimeError, match="dense: tensor weight does not come back"):
        formats.measure("drawn", formats.drawn("int8", 0.5, 64), 0.5, repeats=1)


@pytest.mark.parametrize("dtype", formats.DTYPES)
def test_a_model_file_is_pruned_by_magnitude(dtype, tmp_path):
    weight = np.random.default_rng(0).standard_normal((40, 30)).astype(np.float32)
    path = tmp_path / "model.safetensors"
    write_tensors(path, {"fc.weight": weight, "fc.bias": np.ones(40, np.float32)})
    tensors = formats.pruned(str(path), dtype, 0.75)
    assert list(tensors) == ["fc.weight"] and tensors["fc.weight"].dtype == dtype
    kept = tensors["fc.weight"] != 0
    assert kept.sum() == 300 and np.abs(weight)[kept].min() > np.abs(weight)[~kept].max()


def test_what_is_missed_is_named():
    found = formats.measure("drawn 64x64", formats.drawn("int8", 0.9, 64), 0.9, repeats=1)
    found.loc[found["format"] == "ans_bitmap", "size_bits_per_weight"] = found[
        "floor_bits_per_weight"
    ]
    good = found["floor_bits_per_weight"].iloc[0]
    ours = found["format"] == formats.PACKAGE
    found.loc[ours, "size_bits_per_weight"] = 1.04 * good
    assert formats.missed(found) == []
    found.loc[ours, "size_bits_per_weight"] = 1.06 * good
    (line,) = formats.missed(found)
    assert line == "drawn 64x64, int8, S = 0.9: 1.0600 of the floor, at most 1.05"
    found.loc[found["format"] == "ans_bitmap", "size_bits_per_weight"] = 0.99 * good
    assert "ANS takes 0.9900 of the floor" in formats.missed(found)[0]
