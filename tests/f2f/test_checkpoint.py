"""Checkpoint folders: every shard comes back bit for bit, finished ones are not coded again."""

import json
import os
import shutil

import numpy as np
import pytest
import torch

import f2f
from f2f import checkpoint, nn
from f2f.__main__ import main
from f2f.base.errors import FormatError
from f2f.tensorfile import read_tensors, write_tensors


def tensors(number):
    rng = np.random.default_rng(number)
    weight = rng.standard_normal((48, 64)).astype(np.float32)
    weight[rng.random(weight.shape) < 0.8] = 0
    return {f"layer{number}.weight": weight, f"layer{number}.bias": np.ones(48, np.float32)}


def make(folder, suffix=".safetensors", shards=3):
    """A folder of shards as model hubs have them."""
    folder.mkdir()
    places = {}
    for number in range(shards):
        name = f"model-{number + 1:05d}-of-{shards:05d}{suffix}"
        write_tensors(folder / name, tensors(number), {"format": "pt"})
        places |= dict.fromkeys(tensors(number), name)
    index = "model.safetensors" if suffix == ".safetensors" else "pytorch_model.bin"
    content = {"metadata": {"total_size": 123}, "weight_map": places}
    (folder / f"{index}.index.json").write_text(json.dumps(content))
    (folder / "config.json").write_text('{"hidden_size": 64}')
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "vocab.txt").write_text("a b c")
    return folder


def assert_same(a, b):
    assert sorted(a) == sorted(b)
    for name in a:
        assert a[name].dtype == b[name].dtype and a[name].tobytes() == b[name].tobytes()


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_there_and_back_by_the_command_line(tmp_path, capsys, suffix):
    source = make(tmp_path / "in", suffix)
    packed, back = tmp_path / "packed", tmp_path / "back"
    assert main(["compress", str(source), str(packed), "--beam", "1"]) == 0
    assert "times smaller" in capsys.readouterr().out
    assert main(["verify", str(packed), "--against", str(source)]) == 0
    assert "6 tensors, equal to the original bit for bit" in capsys.readouterr().out
    assert main(["inspect", str(packed)]) == 0
    out = capsys.readouterr().out
    size = sum(path.stat().st_size for path in packed.glob("*.safetensors"))
    assert "layer2.weight" in out and f"{size} bytes on disk" in out
    assert main(["decompress", str(packed), str(back)]) == 0
    for folder in (packed, back):
        assert (folder / "config.json").read_text() == '{"hidden_size": 64}'
        assert (folder / "tokenizer" / "vocab.txt").read_text() == "a b c"
    index = json.loads((back / "model.safetensors.index.json").read_text())
    assert index["metadata"] == {"total_size": 123} and len(index["weight_map"]) == 6
    for number in range(3):
        shard = back / index["weight_map"][f"layer{number}.bias"]
        assert_same(read_tensors(shard), tensors(number))
        kept = {"format": "pt"} if suffix == ".safetensors" else {}
        assert read_tensors(shard).metadata == kept
    assert not [path for path in back.iterdir() if path.suffix == ".tmp"]


def test_finished_shards_are_not_coded_again(tmp_path, monkeypatch):
    source, packed = make(tmp_path / "in"), tmp_path / "packed"
    coded = []
    real = checkpoint.compress_model

    def counted(given, **options):
        if len(coded) == 2:
            raise KeyboardInterrupt
        coded.append(sorted(given))
        return real(given, **options)

    monkeypatch.setattr(checkpoint, "compress_model", counted)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.compress_folder(source, packed, beam=1)
    before = {p.name: p.stat().st_mtime_ns for p in packed.glob("*.safetensors")}
    assert len(before) == 2
    coded.clear()
    checkpoint.compress_folder(source, packed, beam=1)
    assert coded == [sorted(tensors(2))]
    assert all((packed / name).stat().st_mtime_ns == time for name, time in before.items())
    # Another shard, or another option, and it is coded again.
    coded.clear()
    write_tensors(source / "model-00001-of-00003.safetensors", tensors(0) | {"x": np.eye(2)})
    checkpoint.compress_folder(source, packed, beam=1)
    assert [names[-1] for names in coded] == ["x"]
    coded[:] = []
    monkeypatch.setattr(
        checkpoint, "compress_model", lambda g, **o: coded.append(1) or real(g, **o)
    )
    checkpoint.compress_folder(source, packed, beam=2)
    assert len(coded) == 3


@pytest.mark.parametrize("name", [*checkpoint.MODELS, "adapter_model.safetensors"])
def test_a_folder_of_one_file(tmp_path, name):
    source, packed = tmp_path / "in", tmp_path / "packed"
    source.mkdir()
    write_tensors(source / name, tensors(0))
    checkpoint.compress_folder(source, packed, beam=1)
    kept = (
        "model.safetensors" if name == "pytorch_model.bin" else name.replace(".bin", ".safetensors")
    )
    assert os.listdir(packed) == [kept]
    assert main(["verify", str(packed), "--against", str(source), "--quiet"]) == 0
    checkpoint.decompress_folder(packed, tmp_path / "back")
    assert_same(read_tensors(tmp_path / "back" / kept), tensors(0))


@pytest.mark.parametrize(
    ("model", "kept"),
    [
        ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.safetensors"),
        ("diffusion_pytorch_model.bin", "diffusion_pytorch_model.safetensors"),
        ("diffusion_pytorch_model.fp16.safetensors", "diffusion_pytorch_model.fp16.safetensors"),
        ("consolidated.safetensors", "consolidated.safetensors"),
    ],
)
def test_an_index_of_another_name(tmp_path, model, kept):
    """Those of diffusers, and any other if it is the only one."""
    source, packed, back = make(tmp_path / "in"), tmp_path / "packed", tmp_path / "back"
    (source / "model.safetensors.index.json").rename(source / f"{model}.index.json")
    checkpoint.compress_folder(source, packed, beam=1)
    assert len(nn.load_state_dict(packed)) == 6
    checkpoint.decompress_folder(packed, back)
    for folder in (packed, back):
        assert [path.name for path in folder.glob("*.index.json")] == [f"{kept}.index.json"]
    for number in range(3):
        shard = f"model-0000{number + 1}-of-00003.safetensors"
        assert_same(read_tensors(back / shard), tensors(number))


@pytest.mark.parametrize("other", ["a.bin", "a.safetensors"])
def test_no_shard_takes_the_name_of_another_file(tmp_path, other):
    source = tmp_path / "in"
    source.mkdir()
    places = {}
    for number, shard in enumerate(["a.pth", "b.pth", other][: 2 + (other == "a.bin")]):
        write_tensors(source / shard, tensors(number))
        places |= dict.fromkeys(tensors(number), shard)
    (source / other).touch()
    (source / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    with pytest.raises(FormatError, match="would become 'a.safetensors', as another file does"):
        checkpoint.compress_folder(source, tmp_path / "out")


def test_of_a_name_in_two_shards_the_index_says_which_counts(tmp_path):
    source, packed, back = make(tmp_path / "in"), tmp_path / "packed", tmp_path / "back"
    # The shard before, and the one behind, hold the one that counts.
    stale = {f"layer{i}.weight": np.zeros((48, 64), np.float32) for i in (0, 2)}
    write_tensors(source / "model-00002-of-00003.safetensors", tensors(1) | stale)
    checkpoint.compress_folder(source, packed, beam=1)
    assert main(["verify", str(packed), "--against", str(source), "--quiet"]) == 0
    state = {name: value.numpy() for name, value in nn.load_state_dict(packed).items()}
    assert_same(state, tensors(0) | tensors(1) | tensors(2))
    with checkpoint.open_compressed(packed) as folder:
        assert folder["layer0.weight"].k > 0 and folder["layer2.weight"].k > 0
    checkpoint.decompress_folder(packed, back)
    shard = "model-00002-of-00003.safetensors"
    assert_same(read_tensors(back / shard), tensors(1) | stale)


def test_what_else_lies_in_a_folder(tmp_path):
    """Links to files are files; links in circles, links to nothing and pipes are left out."""
    source, packed = make(tmp_path / "in", shards=1), tmp_path / "packed"
    (source / "tokenizer" / "vocab.txt").chmod(0o444)
    (source / "run.sh").touch(0o755)
    (source / "generation_config.json").symlink_to("config.json")
    (source / "circle").symlink_to(source)
    (source / "tokenizer" / "gone").symlink_to("nowhere")
    os.mkfifo(source / "pipe")
    for _ in range(2):  # the second time, what is read-only is there already
        with pytest.warns(UserWarning, match="neither a file nor a folder, left out") as said:
            checkpoint.compress_folder(source, packed, beam=1)
        left_out = {str(warning.message).split(":")[0] for warning in said}
        assert left_out == {str(source / name) for name in ("circle", "pipe", "tokenizer/gone")}
    assert (packed / "generation_config.json").read_text() == '{"hidden_size": 64}'
    modes = [(packed / name).stat().st_mode & 0o777 for name in ("tokenizer/vocab.txt", "run.sh")]
    assert modes == [0o444, 0o755]


def test_a_folder_loads_into_a_module(tmp_path):
    """A checkpoint of a module in `DataParallel`: names keep their prefix, tied weights are one."""
    source = tmp_path / "in"
    source.mkdir()
    module = torch.nn.Sequential(torch.nn.Linear(16, 8), torch.nn.Linear(8, 4))
    torch.nn.init.sparse_(module[0].weight, 0.8)
    state = torch.nn.DataParallel(module).state_dict()
    parts = {f"pytorch_model-{i}.bin": {n: t for n, t in state.items() if f".{i}." in n}
             for i in range(2)}  # fmt: skip
    for shard, part in parts.items():
        torch.save(part, source / shard)
    places = {name: shard for shard, part in parts.items() for name in part}
    (source / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": places}))
    checkpoint.compress_folder(source, tmp_path / "packed", beam=1)
    back = nn.load_state_dict(tmp_path / "packed")
    assert sorted(back) == sorted(state) and "module.0.weight" in back
    fresh = torch.nn.DataParallel(
        torch.nn.Sequential(torch.nn.Linear(16, 8), torch.nn.Linear(8, 4))
    )
    fresh.load_state_dict(back)
    assert all(
        torch.equal(a, b) for a, b in zip(fresh.parameters(), module.parameters(), strict=True)
    )


def test_a_state_dict_from_a_folder(tmp_path):
    checkpoint.compress_folder(make(tmp_path / "in"), tmp_path / "packed", beam=1)
    state = nn.load_state_dict(tmp_path / "packed")
    assert len(state) == 6
    assert torch.equal(state["layer1.weight"], torch.from_numpy(tensors(1)["layer1.weight"]))
    with checkpoint.open_compressed(tmp_path / "packed") as folder:
        assert len(folder) == 6 and "layer0.bias" in folder
        assert np.array_equal(f2f.decompress(folder["layer2.bias"]), np.ones(48))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "model-00002-of-00003.safetensors").unlink(), "is missing"),
        (lambda f: (f / "model.safetensors.index.json").write_text("{"), "cannot be read as an"),
        (lambda f: shutil.copy(f / "model-00001-of-00003.safetensors",
                               f / "model-00002-of-00003.safetensors"), "lacks 'layer1"),
        (lambda f: (f / "model.safetensors.index.json").write_text(
            '{"weight_map": {"a": "../x.safetensors"}}'), "must be a name in this folder"),
        (lambda f: (f / "model.safetensors.index.json").unlink(), "has neither"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_folder_is_named(tmp_path, capsys, change, message):
    source = make(tmp_path / "in")
    change(source)
    with pytest.raises(FormatError, match=message):
        checkpoint.compress_folder(source, tmp_path / "out", beam=1)
    assert main(["compress", str(source), str(tmp_path / "out"), "--beam", "1"]) == 2
    assert capsys.readouterr().err.startswith("f2f: ")


def test_a_folder_is_not_written_into_itself(tmp_path):
    source = make(tmp_path / "in")
    for target in (source, source / "below"):
        with pytest.raises(ValueError, match="target must be a folder outside source"):
            checkpoint.compress_folder(source, target)


def test_a_link_back_to_what_is_read_is_not_written_through(tmp_path, capsys):
    source, linked = make(tmp_path / "in"), tmp_path / "linked"
    before = {path.name: path.read_bytes() for path in source.iterdir() if path.is_file()}
    linked.mkdir()
    for name in ("model-00002-of-00003.safetensors", "model.safetensors.index.json"):
        (linked / name).symlink_to(source / name)
        assert main(["compress", str(source), str(linked), "--beam", "1"]) == 2
        assert f"{linked / name} is a link into it" in capsys.readouterr().err
        (linked / name).unlink()
    assert all((source / name).read_bytes() == content for name, content in before.items())


def test_differences_between_folders_are_named(tmp_path, capsys):
    source, packed = make(tmp_path / "in"), tmp_path / "packed"
    checkpoint.compress_folder(source, packed, beam=1)
    changed = tensors(1)
    changed["layer1.bias"][3] = 2
    write_tensors(source / "model-00002-of-00003.safetensors", changed)
    assert main(["verify", str(packed), "--against", str(source)]) == 1
    assert "tensor 'layer1.bias' differs in 1 of 48 elements" in capsys.readouterr().out
