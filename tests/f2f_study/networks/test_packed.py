"""The packed file of a pruned network."""

import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from f2f.base.errors import FormatError
from f2f_study.networks.layers import Layer, PrunedModel
from f2f_study.networks.packed import load_packed, save_packed
from f2f_study.results import repository_root


def packed_model():
    mask = np.random.default_rng(1).random((9, 14)) >= 0.7
    weights = np.where(mask, np.random.default_rng(0).standard_normal((9, 14)), 0)
    others = {"bias": np.arange(9, dtype=np.float32), "steps": np.array(7, np.int64)}
    found = {"w": Layer(weights.astype(np.float32), mask)}
    return PrunedModel("standin", "resnet", "l0", 0.7, found, "trained", others, "99 %")


def test_packed_models_come_back(tmp_path):
    model = packed_model()
    save_packed(tmp_path / "m.safetensors", model)
    found = load_packed(tmp_path / "m.safetensors")
    assert np.array_equal(found.layers["w"].weights, model.layers["w"].weights)
    assert np.array_equal(found.layers["w"].mask, model.layers["w"].mask)
    assert (found.method, found.sparsity, found.quality) == ("l0", 0.7, "99 %")
    assert found.others.keys() == model.others.keys() and found.others["steps"] == 7
    assert set(found.state()) == {"w", "bias", "steps"}


def test_files_that_are_no_packed_models_are_named(tmp_path):
    save_file({"a": np.ones(3, np.float32)}, tmp_path / "a.safetensors")
    with pytest.raises(FormatError, match=r"a\.safetensors: is not a packed pruned network"):
        load_packed(tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").write_bytes(b"nonsense")
    with pytest.raises(FormatError, match=r"b\.safetensors: cannot be read"):
        load_packed(tmp_path / "b.safetensors")


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"shapes": "{"}, "Expecting property name"),
        ({"shapes": '{"w": [9, 15]}'}, r"w: mask and values do not fit shape \(9, 15\)"),
        ({"shapes": '{"w": ["x"]}'}, "packed"),
        ({"shapes": '{"v": [9, 14]}'}, "v: values or mask are missing"),
        ({"sparsity": "much"}, "could not convert"),
    ],
)
def test_packed_files_that_disagree_are_named(tmp_path, facts, message):
    path = tmp_path / "packed.safetensors"
    save_packed(path, packed_model())
    with safe_open(path, framework="np") as file:
        arrays = {name: file.get_tensor(name) for name in sorted(file.keys())}
        known = file.metadata()
    save_file(arrays, path, known | facts)
    with pytest.raises(FormatError, match=message):
        load_packed(path)


@pytest.mark.parametrize("name", ["resnet-dense", "resnet-l0-0.9"])
def test_a_committed_file_is_written_the_same_again(tmp_path, name):
    """The same bytes of every tensor and the same facts, which safetensors keeps in any order."""

    def parts(path):
        data = path.read_bytes()
        start = 8 + int.from_bytes(data[:8], "little")
        return json.loads(data[8:start]), data[start:]

    committed = repository_root() / "data" / "standin" / f"{name}.safetensors"
    save_packed(tmp_path / "again", load_packed(committed))
    assert parts(tmp_path / "again") == parts(committed)
