"""Files that models come in: read as what they are, or refused by name."""

import json
import os
import zipfile

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import torch

from f2f.base.errors import FormatError
from f2f.tensorfile import SUFFIXES, read_tensors, write_tensors

FLOATS = ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu")


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_eight_bit_floats(tmp_path, name, suffix):
    array = np.arange(256, dtype=np.uint8).view(getattr(ml_dtypes, name)).reshape(16, 16)
    write_tensors(tmp_path / f"m{suffix}", {"w": array})
    back = read_tensors(tmp_path / f"m{suffix}")["w"]
    assert back.dtype == array.dtype and back.tobytes() == array.tobytes()


def test_the_text_of_a_safetensors_file(tmp_path):
    path = tmp_path / "m.safetensors"
    write_tensors(path, {"w": np.eye(3)}, {"format": "pt"})
    assert read_tensors(path).metadata == {"format": "pt"}
    write_tensors(path, {"w": np.eye(3)})
    assert read_tensors(path).metadata == {}


def test_a_dtype_that_numpy_lacks_is_named(tmp_path):
    path = tmp_path / "m.safetensors"
    header = b'{"w":{"dtype":"F4","shape":[4],"data_offsets":[0,2]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    with pytest.raises(FormatError, match="tensor 'w' must have one of the dtypes BOOL, .*got F4"):
        read_tensors(path)


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_what_a_checkpoint_has_beside_its_tensors_is_named(tmp_path, key):
    state = {"w": torch.eye(3)}
    torch.save({"epoch": 3, key: state, "optimizer": {"lr": 0.1}}, tmp_path / "m.pth")
    with pytest.warns(UserWarning, match=f"only '{key}' is read, left out: 'epoch', 'optimizer'"):
        found = read_tensors(tmp_path / "m.pth")
    assert list(found) == ["w"] and found.left_out == ("epoch", "optimizer")
    torch.save({key: state}, tmp_path / "m.pth")
    assert read_tensors(tmp_path / "m.pth").left_out == ()
    torch.save({"net": state, "epoch": 3}, tmp_path / "m.pth")
    with pytest.raises(FormatError, match="'net' is a dict, not a tensor; a state dict may be un"):
        read_tensors(tmp_path / "m.pth")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (torch.empty(3, device="meta"), "got one on the meta device"),
        (torch.eye(3).to_sparse(), "tensor must be dense"),
        ("text", "is a str, not a tensor"),
    ],
    ids=["meta", "sparse", "text"],
)
def test_entries_that_are_no_plain_tensors_are_named(tmp_path, value, reason):
    torch.save({"w": torch.eye(3), "x": value}, tmp_path / "m.pt")
    with pytest.raises(FormatError, match=f"entry 'x'.*{reason}"):
        read_tensors(tmp_path / "m.pt")


def test_names_that_are_no_text_are_named(tmp_path):
    torch.save({0: torch.eye(3)}, tmp_path / "m.pt")
    with pytest.raises(FormatError, match="m.pt: names of tensors must be text, got 0"):
        read_tensors(tmp_path / "m.pt")


def test_npz_names_that_look_alike(tmp_path):
    path = tmp_path / "m.npz"
    arrays = {"a": np.arange(3), "a.npy": np.arange(4)}
    write_tensors(path, arrays)
    back = read_tensors(path)
    assert {name: len(array) for name, array in back.items()} == {"a": 3, "a.npy": 4}
    with pytest.raises(ValueError, match="cannot hold a name with a zero byte"):
        write_tensors(path, {"a\0b": np.arange(3)})


@pytest.mark.parametrize("array", [np.array(["cat"]), np.array([b"x"]), np.zeros(2, "M8[D]")])
def test_npz_arrays_of_no_numbers_are_named(tmp_path, array):
    np.savez(tmp_path / "m.npz", w=np.eye(3), names=array)
    with pytest.raises(FormatError, match="array 'names' must hold numbers, got dtype"):
        read_tensors(tmp_path / "m.npz")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_masked_arrays_are_refused_before_a_file_is_made(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    with pytest.raises(ValueError, match=r"tensors\['w'\] must not be a masked array: give its fi"):
        write_tensors(path, {"w": np.ma.masked_equal([0, 1], 0)})
    assert not path.exists()


def test_npz_members_that_are_no_arrays_are_named(tmp_path):
    path = tmp_path / "m.npz"
    write_tensors(path, {"w": np.eye(3)})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("notes.txt", "hello")
    with pytest.raises(FormatError, match="member 'notes.txt' is no array"):
        read_tensors(path)


def test_small_files_that_claim_much(tmp_path):
    torch.save({"w": torch.zeros(1).expand(1 << 30)}, tmp_path / "m.pt")
    with pytest.raises(FormatError, match="claims tensors of 4294967296 bytes in a file of"):
        read_tensors(tmp_path / "m.pt")


def test_a_mapping_that_makes_its_values(tmp_path):
    class Fresh(dict):
        def __getitem__(self, name):
            return super().__getitem__(name).copy()

        def items(self):
            return ((name, self[name]) for name in self)

        def values(self):
            return (self[name] for name in self)

    arrays = Fresh({f"w{i}": np.full((30, 30), i) for i in range(20)})
    for suffix in (".pt", ".npz", ".safetensors"):
        write_tensors(tmp_path / f"m{suffix}", arrays)
        back = read_tensors(tmp_path / f"m{suffix}")
        assert all(np.array_equal(back[name], arrays[name]) for name in arrays)


def test_a_damaged_npz_is_a_format_error(tmp_path):
    path = tmp_path / "m.npz"
    write_tensors(path, {"w": np.arange(300)})
    whole = bytearray(path.read_bytes())
    at = whole.index(b"NUMPY")
    for content in (b"(((((((", b"{'descr': 1e999", b"\xff" * 12):
        path.write_bytes(whole[: at + 5] + content + whole[at + 5 + len(content) :])
        with pytest.raises(FormatError, match="m.npz"):
            read_tensors(path)


def test_compressed_files_are_not_models(tmp_path):
    safetensors.numpy.save_file({"w": np.eye(3)}, tmp_path / "m.safetensors", {"format": "f2f"})
    with pytest.raises(FormatError, match="is a compressed file already"):
        read_tensors(tmp_path / "m.safetensors")


def test_another_reader_finds_what_is_written(tmp_path):
    path = tmp_path / "m.safetensors"
    arrays = {"b": np.arange(3, dtype=">i2"), "a": np.float64(7), "no": np.zeros((0, 4), np.int8),
              "é": np.eye(3, dtype=bool).T, "wide": np.asfortranarray(np.ones((2, 3)))}  # fmt: skip
    write_tensors(path, {name: np.asarray(array) for name, array in arrays.items()}, {"x": "y"})
    back = safetensors.numpy.load_file(path)
    assert sorted(back) == sorted(arrays)
    for name, array in arrays.items():
        assert back[name].shape == np.shape(array) and np.array_equal(back[name], array)
    for wrong in ({"__metadata__": np.eye(2)}, {"\ud800": np.eye(2)}, {"w": np.array(["cat"])}):
        with pytest.raises(ValueError, match=r"\.safetensors cannot hold"):
            write_tensors(path, wrong)


def test_arrays_of_any_file_are_aligned(tmp_path):
    """Another writer may put a wider dtype behind an odd number of bytes."""
    path = tmp_path / "m.safetensors"
    wide = np.arange(5, dtype=np.float64)
    header = {"a": {"dtype": "I8", "shape": [3], "data_offsets": [0, 3]},
              "b": {"dtype": "F64", "shape": [5], "data_offsets": [3, 43]}}  # fmt: skip
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"\1\2\3" + wide.tobytes())
    found = read_tensors(path)
    assert found["a"].tolist() == [1, 2, 3] and np.array_equal(found["b"], wide)
    assert found["b"].flags.aligned


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pt"])
def test_a_file_is_opened_once(tmp_path, monkeypatch, suffix):
    """Another put in its place while it is read changes nothing."""
    path, other = tmp_path / f"m{suffix}", tmp_path / f"other{suffix}"
    write_tensors(path, {"old": np.arange(50)})
    write_tensors(other, {"new": np.zeros((9, 9)), "more": np.eye(3)})
    real = open

    def replaced(name, *arguments, **options):
        file = real(name, *arguments, **options)
        if name == path and other.exists():
            os.replace(other, path)
        return file

    monkeypatch.setattr("builtins.open", replaced)
    back = read_tensors(path)
    assert list(back) == ["old"] and np.array_equal(back["old"], np.arange(50))
    assert sorted(read_tensors(path)) == ["more", "new"]
