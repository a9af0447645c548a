"""One safe file: it comes back bit for bit, and damage is always noticed and named."""

import copy
import dataclasses
import json
import os
import random
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from safetensors import safe_open

import f2f
from f2f.base.atomic import atomic_write
from f2f.base.errors import FormatError
from f2f.format import container
from f2f.format.tensor import CompressedTensor


def sparse(shape, sparsity, dtype, seed=0):
    rng = np.random.default_rng(seed)
    weight = (40 * rng.standard_normal(shape)).astype(dtype)
    weight[rng.random(shape) < sparsity] = 0
    return weight


@pytest.fixture(scope="module")
def weights():
    """One tensor of every kind that is stored differently."""
    return {
        "int8": sparse((40, 60), 0.9, np.int8),
        "float32": sparse((30, 40), 0.8, np.float32),
        "half dense": sparse((40, 60), 0.5, np.int8),
        "none pruned/é": sparse((9, 9), 0.0, np.int16),
        "all pruned": np.zeros((30, 30), np.int8),
        "empty": np.zeros((0, 3), np.float16),
        "scalar": np.array(7),
        "complex": np.arange(5).astype(np.complex64),
    }


@pytest.fixture(scope="module")
def tensors(weights):
    return {name: f2f.compress(weight) for name, weight in weights.items()}


@pytest.fixture
def file(tmp_path, tensors):
    path = tmp_path / "model.safetensors"
    f2f.save(path, tensors)
    return path


@pytest.fixture
def small(tmp_path):
    """A file of one encoded and one dense tensor, a few hundred bytes of data."""
    path = tmp_path / "small.safetensors"
    weights = {"a": sparse((32, 64), 0.95, np.int8), "b": np.arange(6, dtype=np.float32)}
    f2f.save(path, {name: f2f.compress(weight) for name, weight in weights.items()})
    return path


def assert_same(weights, loaded):
    assert sorted(weights) == sorted(loaded)
    for name, weight in weights.items():
        back = f2f.decompress(loaded[name])
        assert (back.dtype, back.shape) == (weight.dtype, weight.shape), name
        assert back.tobytes() == weight.tobytes(), name


def test_round_trip(file, weights, tensors):
    loaded = f2f.load(file)
    assert_same(weights, loaded)
    for name, tensor in tensors.items():
        assert loaded[name].header() == json.loads(json.dumps(tensor.header()))
        assert loaded[name].nbytes == tensor.nbytes


def test_it_is_a_safetensors_file(file, tensors):
    with safe_open(file, framework="np") as plain:
        assert plain.metadata()["format"] == "f2f"
        assert plain.metadata()["version"] == "3"
        assert sorted(plain.keys()) == ["data", "index"]
        parts = [
            tensors[name].arrays().get("data", np.zeros(0, np.uint8)) for name in sorted(tensors)
        ]
        assert np.array_equal(plain.get_tensor("data"), np.concatenate(parts))


def test_a_file_is_its_tensors_and_what_they_have_in_common(file, tensors):
    """`nbytes` counts what a tensor adds to a file: its data and its record."""
    with safe_open(file, framework="np") as plain:
        common = int.from_bytes(file.read_bytes()[:8], "little") + 8
        common += sum(2 + len(name.encode()) for name in tensors)  # length of the name, name, form
        data = plain.get_tensor("data").size
    own = sum(tensor.nbytes for tensor in tensors.values())
    assert own + common == file.stat().st_size
    records = own - data
    assert 12 * len(tensors) < records < 60 * len(tensors)


@pytest.mark.parametrize("dtype", [np.int8, np.float32])
def test_many_small_tensors_share_what_they_have_in_common(tmp_path, dtype):
    """A tensor of 64 x 64 took 479 bytes beside its data in version 2."""
    kept = [f2f.compress(sparse((64, 64), 0.9, dtype, seed), beam=4) for seed in range(4)]
    many = {f"layer{i:04d}.weight": dataclasses.replace(kept[i % 4]) for i in range(1000)}
    f2f.save(tmp_path / "m.safetensors", many)
    with f2f.open_file(tmp_path / "m.safetensors") as opened:
        data = sum(tensor.arrays()["data"].size for tensor in many.values())
        extra = (opened.nbytes - data) / len(many)
        assert extra < (60 if dtype == np.int8 else 90)
        for i in (0, 3, 999):
            name = f"layer{i:04d}.weight"
            assert f2f.decompress(opened[name]).tobytes() == f2f.decompress(many[name]).tobytes()


def test_equal_tensors_give_equal_bytes(tmp_path, file, tensors, weights):
    other = tmp_path / "other.safetensors"
    f2f.save(other, {name: f2f.compress(weights[name]) for name in reversed(tensors)})
    assert other.read_bytes() == file.read_bytes()


def test_one_tensor_object_under_two_names_is_stored_once(tmp_path, file, tensors):
    path = tmp_path / "tied.safetensors"
    f2f.save(path, tensors | {"tied": tensors["int8"], "also": tensors["int8"]})
    assert path.stat().st_size < file.stat().st_size + 100
    loaded = f2f.load(path)
    assert loaded["tied"] is loaded["int8"] is loaded["also"]
    assert loaded["float32"] is not loaded["int8"]
    with f2f.open_file(path) as opened:
        assert len(opened) == len(list(opened)) == len(tensors) + 2
        assert "tied" in opened and "nothing" not in opened
        assert np.array_equal(f2f.decompress(opened["tied"]), f2f.decompress(tensors["int8"]))


def test_no_tensors(tmp_path):
    f2f.save(tmp_path / "none.safetensors", {})
    assert f2f.load(tmp_path / "none.safetensors") == {}


@pytest.mark.parametrize("name", ["", 3, "\ud800"])
def test_names_are_checked(tmp_path, tensors, name):
    with pytest.raises(ValueError, match="names.* must be"):
        f2f.save(tmp_path / "x.safetensors", {name: tensors["int8"]})
    assert list(tmp_path.iterdir()) == []


def test_reading_one_tensor_reads_no_other(file, weights, tensors):
    """Damage to one tensor is not met while another is read."""
    raw = bytearray(file.read_bytes())
    raw[raw.index(tensors["float32"].arrays()["data"].tobytes())] ^= 1
    file.write_bytes(raw)
    with f2f.open_file(file) as opened:
        assert np.array_equal(f2f.decompress(opened["int8"]), weights["int8"])
        with pytest.raises(FormatError, match=r"model\.safetensors: tensor 'float32': checksum"):
            opened["float32"]
        with pytest.raises(KeyError):
            opened["absent"]
    with pytest.raises(FormatError, match="'float32'"):
        f2f.load(file)


def test_every_flipped_byte_is_noticed(small, tmp_path):
    raw = small.read_bytes()
    damaged = tmp_path / "damaged.safetensors"
    rng = random.Random(0)
    for place in range(len(raw)):
        copy = bytearray(raw)
        copy[place] ^= rng.randrange(1, 256)
        damaged.write_bytes(copy)
        with pytest.raises(FormatError, match=r"damaged\.safetensors: "):
            f2f.load(damaged)


def test_every_truncation_is_noticed(small, tmp_path):
    raw = small.read_bytes()
    damaged = tmp_path / "short.safetensors"
    for length in range(len(raw)):
        damaged.write_bytes(raw[:length])
        with pytest.raises(FormatError, match=r"short\.safetensors: "):
            f2f.load(damaged)


def edited(raw, rng):
    """The bytes after a random edit: bits, runs, insertions, deletions, swaps, appended bytes."""
    copy = bytearray(raw)
    place, length = rng.randrange(len(raw)), rng.choice([1, 2, 8, 40])
    kind = rng.randrange(6)
    if kind == 0:
        for _ in range(length):
            copy[rng.randrange(len(copy))] ^= 1 << rng.randrange(8)
    elif kind == 1:
        copy[place : place + length] = bytes([rng.choice([0, 32, 255])]) * length
    elif kind == 2:
        copy[place:place] = rng.randbytes(length)
    elif kind == 3:
        del copy[place : place + length]
    elif kind == 4:
        other = rng.randrange(len(raw))
        copy[place : place + length] = raw[other : other + length]
    else:
        copy += rng.randbytes(length)
    return bytes(copy)


def test_random_edits_are_noticed(small, tmp_path):
    raw = small.read_bytes()
    damaged = tmp_path / "edited.safetensors"
    rng = random.Random(1)
    noticed = 0
    for _ in range(2000):
        copy = edited(raw, rng)
        if copy == raw:
            continue
        damaged.write_bytes(copy)
        with pytest.raises(FormatError):
            f2f.load(damaged)
        noticed += 1
    assert noticed > 1800


def seal(header, data=b"", index=b""):
    """A file of this JSON header with a right digest, as one might forge it."""
    metadata = header.setdefault("__metadata__", {})
    metadata |= {"format": "f2f", "digest": "0" * 32}
    metadata.setdefault("version", "1")
    metadata.setdefault("tensors", "{}")
    metadata.setdefault("aliases", "{}")
    text = json.dumps(header, separators=(",", ":")).encode()
    raw = len(text).to_bytes(8, "little") + text
    return raw.replace(b"0" * 32, container._digest(raw, index).encode(), 1) + index + data


def sealed(index, data=b"", **metadata):
    """A forged file of version 3."""
    header = {"__metadata__": {"version": "3", "forms": "[{}]"} | metadata,
              "index": entry(0, len(index)),
              "data": entry(len(index), len(index) + len(data))}  # fmt: skip
    return seal(header, data, index)


def entry(begin, end, shape=None, dtype="U8"):
    return {"dtype": dtype, "shape": [end - begin] if shape is None else shape,
            "data_offsets": [begin, end]}  # fmt: skip


TENSOR_A = {"tensors": json.dumps({"a": {"header": {}, "blake2b": "00"}})}


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "only 0 bytes"),
        (b"abc", "only 3 bytes"),
        (b"\xff" * 8, "claims a header"),
        (b"\xff" * 7 + b"\x7f" + b"{}", "claims a header"),
        ((10**9).to_bytes(8, "little") + b"{}", "claims a header"),
        (b"PK\x03\x04" + b"\0" * 40, "no f2f metadata|claims a header"),
        (safetensors.numpy.save({"a": np.zeros(3)}), "no f2f metadata"),
        (seal({"__metadata__": {"version": "4"}}), r"version 4 is newer than .* \(3\)"),
        (seal({"__metadata__": {"version": "0"}}), "version 0"),
        (seal({"__metadata__": {"version": "one"}}), "cannot be parsed"),
        (seal({}, b"x"), "1 bytes of data where the header claims 0"),
        (seal({"__metadata__": {"tensors": "[" * 10**5}}), "cannot be parsed"),
        (seal({"__metadata__": {"tensors": "[]"}}), "cannot be parsed"),
        (seal({"__metadata__": {"aliases": '{"x":"y"}'}}), "shared names"),
        (seal({"a/data": entry(0, 4)}, b"1234"), "'a/data' belongs to no tensor"),
        (seal({"a": entry(0, 4)}, b"1234"), "'a' belongs to no tensor"),
        (seal({"a/data": entry(0, 4, [2**62, 4])}, b"1234"), "malformed entry"),
        (seal({"a/data": entry(0, 4, [-2, -2])}, b"1234"), "malformed entry"),
        (seal({"a/data": entry(0, 0, [0, 2**62, 2**62])}), "malformed entry"),
        (seal({"a/data": entry(0, 4, [4.0])}, b"1234"), "malformed entry"),
        (seal({"a/data": entry(0, 4, [1] * 70 + [4])}, b"1234"), "malformed entry"),
        (seal({"a/data": entry(0, 4, dtype="U7")}, b"1234"), "must have one of the dtypes"),
        (seal({"a/data": 7}, b"1234"), "malformed entry"),
        (seal({"a/data": entry(1, 4)}, b"1234"), "begins at byte 1, not 0"),
        (seal({"a/data": entry(0, 2), "a/b": entry(1, 4)}, b"1234"), "begins at byte 1, not 2"),
        (seal({"a/data": entry(0, 4)}, b"123"), "truncated"),
        (seal({"a/data": entry(0, 10**12)}, b"1234"), "truncated"),
        (seal({"__metadata__": TENSOR_A, "a/data": entry(0, 4)}, b"1234"), "'a': checksum"),
        (seal({"__metadata__": TENSOR_A, "a/x": entry(0, 4)}, b"1234"), "one part, data"),
        (seal({"__metadata__": TENSOR_A, "a/data": entry(0, 4, [2], "U16")}, b"1234"), "one part"),
        (seal({"__metadata__": {"version": "3"}}), "entries index and data"),
        (sealed(b"", forms="{"), "forms cannot be parsed"),
        (sealed(b"", forms="[" * 10**5), "forms cannot be parsed|recursion"),
        (sealed(b"", forms="[" * 900 + "]" * 900), "recursion"),
        (sealed(b"\x01a\0\0" + bytes(8), forms="7"), "cannot be parsed"),
        (sealed(b"\x01a\x01\0" + bytes(8)), "cannot be parsed"),
        (sealed(b"\x01\xff\0\0" + bytes(8)), "can't decode"),
        (sealed(b"\x01a\0\0" + bytes(7)), "the index speaks of"),
        (sealed(b"\xff" * 12), "no number at byte 0"),
        (sealed(b"\x01a\0\x80"), "no number at byte 3"),
        (sealed(b"\x01a\0\x05" + bytes(8), b"1234"), "of 5 bytes of data, there are 4"),
        (sealed(b"\x01a\0\x03" + bytes(8), b"1234"), "of 3 bytes of data, there are 4"),
        (sealed(b"\x01a\0" + b"\xff" * 9 + b"\x01" + bytes(8)), "bytes of data, there are 0"),
        (sealed(2 * (b"\x01a\0\0" + bytes(8))), "'a' stands twice"),
        (sealed(b"\x01a\0\0" + bytes(8), aliases='{"a":"a"}'), "shared names"),
        (sealed(b"\x01a\0\0" + bytes(8)), "'a': checksum"),
        (sealed(b"\x01a\0\0" + container._checksum(np.zeros(0, np.uint8))), "'a': kind must be"),
    ],
)  # fmt: skip
def test_the_cause_is_named(tmp_path, content, cause):
    path = tmp_path / "strange.safetensors"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=rf"strange\.safetensors: .*({cause})"):
        f2f.load(path)


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        f2f.load(tmp_path / "absent.safetensors")


STRANGE = [0, -1, 1, 255, 2**31, 2**40, 2**62, 2**63, 2**64, 10**30, 1e300, 0.5, None, True, "",
           "x", [], {}, [-1], [2**40] * 3, "row", "torch", "dense", "int8", "V8", "O", "bitmap",
           "cascade", "full", "list"]  # fmt: skip


def change(node, rng):
    """Change one value somewhere in a JSON object."""
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = rng.choice(keys)
        if isinstance(node[key], dict | list) and node[key] and rng.random() < 0.7:
            node = node[key]
            continue
        if rng.random() < 0.1:
            del node[key]
        elif type(node[key]) is int and rng.random() < 0.5:
            node[key] += rng.choice([-64, -2, -1, 1, 2, 8, 1000])
        else:
            node[key] = copy.deepcopy(rng.choice(STRANGE))
        return


def corrupt(parts, rng):
    """Change the content, length, dtype or presence of one part."""
    name = rng.choice(sorted(parts))
    part, kind = parts[name].reshape(-1), rng.randrange(7)
    if kind == 0:
        del parts[name]
    elif kind == 1:
        parts[name] = part[: rng.randrange(part.size + 1)]
    elif kind == 2:
        parts[name] = np.append(part, np.zeros(rng.randrange(9), part.dtype))
    elif kind == 3:
        parts[name] = parts[name].astype(np.int64)
    elif kind == 4:
        parts[name] = np.full_like(parts[name], rng.choice([0, 255]))
    else:
        flat = part.copy()
        for _ in range(rng.choice([1, 50]) if flat.size else 0):
            flat[rng.randrange(flat.size)] = rng.randrange(256)
        parts[name] = flat.reshape(parts[name].shape)


def test_false_claims_with_right_checksums_cause_no_harm(tensors):
    """Header and parts changed, as a forger could: a `FormatError`, or a tensor that decodes."""
    rng = random.Random(2)
    originals = list(tensors.values())
    refused = 0
    for tensor in originals:  # compile everything first
        f2f.decompress(CompressedTensor.from_parts(tensor.header(), tensor.arrays()))
    tracemalloc.start()
    for _ in range(1500):
        tensor = rng.choice(originals)
        header = json.loads(json.dumps(tensor.header()))
        parts = {name: part.copy() for name, part in tensor.arrays().items()}
        for _ in range(rng.choice([1, 1, 2, 3])):
            if parts and rng.random() < 0.4:
                corrupt(parts, rng)
            else:
                change(header, rng)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        try:
            forged = CompressedTensor.from_parts(header, parts)
            claimed = min(forged.n, 10**6) * 16
            # A tensor of any size may be all pruned; one may have been stored without its mask.
            if forged.n < 10**6 and (forged.kind == "dense" or forged.mask is not None):
                f2f.decompress(forged)
        except FormatError:
            refused += 1
            claimed = 0
        # The tables of the widest decoder there is take 17 MB, and three times that to make.
        assert tracemalloc.get_traced_memory()[1] - before < 60e6 + 4 * claimed
    tracemalloc.stop()
    assert refused > 700


def test_forged_indexes_and_forms_cause_no_harm(tmp_path, small):
    """Edited before the data and sealed again: a `FormatError`, or tensors of checked parts."""
    raw = small.read_bytes()
    length = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:length])
    end = length + header["index"]["data_offsets"][1]
    index, data, forms = raw[length:end], raw[end:], header["__metadata__"]["forms"]
    sizes = {name: tensor.arrays()["data"].size for name, tensor in f2f.load(small).items()}
    path = tmp_path / "forged.safetensors"
    rng = random.Random(3)
    refused = 0
    tracemalloc.start()
    for i in range(1000):
        if i % 3:
            path.write_bytes(sealed(edited(index, rng), data, forms=forms))
        else:
            text = edited(forms.encode(), rng).decode("latin-1")
            path.write_bytes(sealed(index, data, forms=text))
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        try:
            found = f2f.load(path)
            assert sorted(t.arrays()["data"].size for t in found.values()) == sorted(sizes.values())
        except FormatError as error:
            assert "forged.safetensors: " in str(error)
            refused += 1
        assert tracemalloc.get_traced_memory()[1] - before < 2e6
    tracemalloc.stop()
    assert 500 < refused < 1000


@pytest.mark.parametrize("error", [OSError("no space left"), KeyboardInterrupt()])
def test_an_interrupted_save_leaves_the_old_file_or_none(tmp_path, tensors, monkeypatch, error):
    path = tmp_path / "model.safetensors"
    calls = 0

    real = container._data

    def fail(tensor):
        nonlocal calls
        calls += 1
        if calls > len(tensors) + 3:  # when some have been written
            raise error
        return real(tensor)

    def interrupted_save():
        nonlocal calls
        calls = 0
        with monkeypatch.context() as patch:
            patch.setattr(container, "_data", fail)
            with pytest.raises(type(error)):
                f2f.save(path, tensors)

    interrupted_save()
    assert list(tmp_path.iterdir()) == []
    f2f.save(path, {"int8": tensors["int8"]})
    before = path.read_bytes()
    interrupted_save()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_followed_and_a_folder_refused(tmp_path, tensors):
    real, link = tmp_path / "real.safetensors", tmp_path / "link.safetensors"
    real.write_bytes(b"old")
    link.symlink_to(real)
    f2f.save(link, {"int8": tensors["int8"]})
    assert link.is_symlink() and list(f2f.load(real)) == ["int8"]
    with pytest.raises(IsADirectoryError), atomic_write(tmp_path):
        pass
    with pytest.raises(FileNotFoundError):
        f2f.save(tmp_path / "no folder" / "m.safetensors", tensors)


def test_shrinking_after_opening_is_noticed(file):
    """A file cut short under the reader raises and does not kill the process."""
    with f2f.open_file(file) as opened:
        with open(file, "r+b") as other:
            other.truncate(file.stat().st_size - 2000)
        with pytest.raises(FormatError):
            dict(opened)


def test_a_file_replaced_while_it_is_read_stays_what_it_was(tmp_path, weights, tensors):
    path, other = tmp_path / "m.safetensors", tmp_path / "other.safetensors"
    f2f.save(path, tensors)
    f2f.save(other, {name: f2f.compress(np.zeros_like(w)) for name, w in weights.items()})
    with f2f.open_file(path) as opened:
        first = f2f.decompress(opened["int8"])
        os.replace(other, path)
        assert_same(weights, dict(opened))
        assert np.array_equal(first, weights["int8"])
    assert not f2f.decompress(f2f.load(path)["int8"]).any()


def golden_weights():
    """Weights by arithmetic alone, so that they are the same for ever."""
    i = np.arange(64 * 96, dtype=np.uint64)
    mixed = (i * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)
    values = (mixed % np.uint64(251)).astype(np.int16) - 125
    values[(mixed >> np.uint64(8)) % np.uint64(10) != 0] = 0
    return {
        "int8": values.astype(np.int8).reshape(64, 96),
        "float32": (values / np.float32(1000)).astype(np.float32).reshape(16, 4, 8, 12),
        "int64": values[:30].astype(np.int64),
    }


@pytest.mark.parametrize("version", [1, 2, 3])
def test_files_of_every_version_are_read_for_ever(version):
    """Each written once, by save(), when it was new; never rewrite one."""
    path = Path(__file__).parents[2] / "golden" / f"model-v{version}.safetensors"
    weights = golden_weights()
    assert_same(weights | {"tied": weights["int8"]}, f2f.load(path))


def test_copying_a_file_of_many_layers_copies_every_one(tmp_path):
    """Tensors that a mapping makes anew live at addresses of others that are gone."""
    old, new = tmp_path / "old.safetensors", tmp_path / "new.safetensors"
    weights = {f"layer{i}": sparse((16, 40), 0.9, np.int8, seed=i) for i in range(40)}
    tensors = {name: f2f.compress(weight, beam=1) for name, weight in weights.items()}
    f2f.save(old, tensors | {"tied": tensors["layer7"]})
    with f2f.open_file(old) as file:
        f2f.save(new, file)
    assert_same(weights | {"tied": weights["layer7"]}, f2f.load(new))
    with f2f.open_file(new) as file:
        assert file["tied"] is file["layer7"]

    class Fresh(dict):
        def __getitem__(self, name):
            return copy.copy(super().__getitem__(name))

    f2f.save(new, Fresh(tensors))
    assert_same(weights, f2f.load(new))


def test_text_kept_beside_the_tensors(tmp_path, tensors):
    path = tmp_path / "m.safetensors"
    f2f.save(path, {"a": tensors["int8"]}, {"format": "pt", "note": "naïve"})
    with f2f.open_file(path) as file:
        assert file.metadata == {"format": "pt", "note": "naïve"}
    with pytest.raises(ValueError, match=r"metadata\['a'\] must be text, got int"):
        f2f.save(path, {}, {"a": 1})


@pytest.mark.parametrize("shape", [(0, 50000, 50000), (0, 2**33), (5, 0, 2**40)])
def test_what_is_written_is_read(tmp_path, shape):
    path = tmp_path / "m.safetensors"
    for dtype in (np.int8, np.int64):
        f2f.save(path, {"empty": f2f.compress(np.zeros(shape, dtype))})
        assert f2f.decompress(f2f.load(path)["empty"]).shape == shape


def test_what_could_not_be_read_is_not_written(tmp_path, tensors):
    damaged = dataclasses.replace(tensors["int8"])
    object.__setattr__(damaged, "n_out", 7)
    with pytest.raises(ValueError, match="tensor 'a' cannot be stored: "):
        f2f.save(tmp_path / "m.safetensors", {"a": damaged})
    assert list(tmp_path.iterdir()) == []
