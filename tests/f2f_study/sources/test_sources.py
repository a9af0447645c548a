"""Sources of models, on small files in the true formats; nothing leaves this machine."""

import hashlib
import http.server
import math
import struct
import tarfile
import threading
from typing import ClassVar

import ml_dtypes
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from f2f.base.errors import FormatError
from f2f_study import sources as models
from f2f_study.networks import layers
from f2f_study.sources import checkpoints, dlmc, download, sources, tfcheckpoint
from f2f_study.sources.smtx import read_smtx, write_smtx


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    """An empty data folder."""
    monkeypatch.setenv("F2F_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def some_mask(rows, cols, sparsity=0.8, seed=0):
    return np.random.default_rng(seed).random((rows, cols)) >= sparsity


# --- .smtx and DLMC ---


@pytest.mark.parametrize(("rows", "cols"), [(3, 5), (7, 96), (1, 1), (11, 55)])
def test_smtx_comes_back(tmp_path, rows, cols):
    for sparsity in (0.0, 0.5, 1.1):
        mask = some_mask(rows, cols, sparsity)
        write_smtx(tmp_path / "a.smtx", mask)
        assert np.array_equal(read_smtx(tmp_path / "a.smtx"), mask)


def test_smtx_by_hand(tmp_path):
    (tmp_path / "a.smtx").write_text("2, 4, 3\n0 2 3 \n1 3 0 \n")
    assert read_smtx(tmp_path / "a.smtx").tolist() == [[0, 1, 0, 1], [1, 0, 0, 0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read"),
        ("2, 4\n0 2 3\n1 3 0\n", "cannot be read"),
        ("2, 4, 3\n0 2 3\n1 x 0\n", "cannot be read"),
        ("2, 4, 3\n0 2\n1 3 0\n", "header says 2 rows and 3 entries, found 2 offsets"),
        ("2, 4, 3\n0 2 3\n1 3\n", "found 3 offsets and 2 columns"),
        ("2, 4, 3\n0 2 1\n1 3 0\n", "row offsets must rise"),
        ("2, 4, 3\n0 2 3\n1 4 0\n", r"column indices must lie in 0\.\.3"),
        ("2, 4, 3\n0 2 3\n1 1 0\n", "occurs twice"),
    ],
)
def test_damaged_smtx_is_named(tmp_path, text, message):
    (tmp_path / "a.smtx").write_text(text)
    with pytest.raises(FormatError, match=message) as caught:
        read_smtx(tmp_path / "a.smtx")
    assert "a.smtx" in str(caught.value)


def put_dlmc(data, name="bottleneck_2_block_group1_1_1", shape=(64, 576)):
    place = data / "dlmc" / "rn50" / "magnitude_pruning" / "0.9"
    place.mkdir(parents=True, exist_ok=True)
    mask = some_mask(*shape, 0.9)
    write_smtx(place / f"{name}.smtx", mask)
    return mask


def test_dlmc_masks_with_drawn_values(data):
    mask = put_dlmc(data)
    model = models.open_model("dlmc", "resnet", "magnitude", 0.9, seed=3)
    (layer,) = model.layers.values()
    assert np.array_equal(layer.mask, mask) and layer.drawn
    assert np.array_equal(layer.weights != 0, mask)
    assert layer.weights.dtype == np.float32
    assert 0.9 < layer.weights[mask].std() < 1.1
    assert model.values == "drawn, normal, seed 3"
    again = models.open_model("dlmc", "resnet", "magnitude", 0.9, seed=3)
    assert np.array_equal(next(iter(again.layers.values())).weights, layer.weights)
    laplace = models.open_model("dlmc", "resnet", "magnitude", 0.9, values="laplace")
    assert "laplace" in laplace.values
    bare = models.open_model("dlmc", "resnet", "magnitude", 0.9, values="none")
    assert next(iter(bare.layers.values())).weights is None
    assert models.available("dlmc", "resnet") == [("magnitude", 0.9)]
    assert models.available("dlmc", "transformer") == []


def test_dlmc_masks_take_values_of_a_dense_resnet(data, tmp_path):
    mask = put_dlmc(data)
    other = put_dlmc(data, "bottleneck_1_block_group4_2_1", (8, 20))
    weights = np.random.default_rng(0).standard_normal((64, 64, 3, 3)).astype(np.float32)
    save_file({"conv2_block2_2_conv.weight": weights}, tmp_path / "keras.safetensors")
    path = str(tmp_path / "keras.safetensors")
    model = models.open_model("dlmc", "resnet", "magnitude", 0.9, values=path)
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
        models.open_model(
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
    with pytest.raises(models.ModelUnavailable, match=r"download=True.*dlmc\.tar\.gz.*data/raw"):
        models.open_model("dlmc", "transformer", "l0", 0.9)


def test_dlmc_is_downloaded_and_unpacked(data, tmp_path, monkeypatch):
    made = tmp_path / "made"
    mask = put_dlmc(made)
    with tarfile.open(tmp_path / "dlmc.tar.gz", "w:gz") as tar:
        tar.add(made / "dlmc", "dlmc")
    monkeypatch.setattr(dlmc, "URL", (tmp_path / "dlmc.tar.gz").as_uri())
    model = models.open_model("dlmc", "resnet", "magnitude", 0.9, download=True)
    assert np.array_equal(next(iter(model.layers.values())).mask, mask)


# --- TensorFlow checkpoints: a writer of the true format ---


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def field(number, value):
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    return varint(number << 3) + varint(value)


def fixed32(number, value):
    return varint(number << 3 | 5) + struct.pack("<I", value)


def masked(data):
    return tfcheckpoint.masked_crc(np.frombuffer(data, np.uint8))


def table_block(pairs, restart=16):
    """A LevelDB block with prefix compression, and its trailer."""
    out, restarts, before = bytearray(), [], b""
    for index, (key, value) in enumerate(pairs):
        shared = 0
        if index % restart == 0:
            restarts.append(len(out))
        else:
            while shared < min(len(key), len(before)) and key[shared] == before[shared]:
                shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value))
        out += key[shared:] + value
        before = key
    restarts = restarts or [0]
    out += b"".join(struct.pack("<I", r) for r in restarts) + struct.pack("<I", len(restarts))
    return bytes(out), bytes(out) + b"\0" + struct.pack("<I", masked(bytes(out) + b"\0"))


DTYPE_NUMBERS = {"float32": 1, "float64": 2, "int32": 3, "int64": 9, "float16": 19, "bfloat16": 14}


def write_checkpoint(prefix, tensors, per_block=3):
    """Tensors in the TensorFlow v2 format, spread over two shards."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    shards = [bytearray(), bytearray()]
    entries = [(b"", field(1, 2) + field(3, field(1, 1)))]
    for index, name in enumerate(sorted(tensors)):
        array = tensors[name]
        content, shard = array.tobytes(), shards[index % 2]
        shape = b"".join(field(2, field(1, size)) for size in array.shape)
        entry = field(1, DTYPE_NUMBERS[array.dtype.name]) + field(2, shape)
        entry += field(3, index % 2) + field(4, len(shard)) + field(5, len(content))
        entries.append((name.encode(), entry + fixed32(6, masked(content))))
        shard += content
    data, handles = bytearray(), []
    for start in range(0, len(entries), per_block):
        block, stored = table_block(entries[start : start + per_block])
        handles.append((entries[start : start + per_block][-1][0], len(data), len(block)))
        data += stored
    meta, stored = table_block([])
    meta_handle = varint(len(data)) + varint(len(meta))
    data += stored
    index, stored = table_block([(k, varint(at) + varint(n)) for k, at, n in handles], restart=1)
    footer = meta_handle + varint(len(data)) + varint(len(index))
    data += stored + footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)
    prefix.with_name(prefix.name + ".index").write_bytes(bytes(data))
    for number, shard in enumerate(shards):
        name = f"{prefix.name}.data-{number:05d}-of-00002"
        prefix.with_name(name).write_bytes(bytes(shard))


def test_crc32c_is_castagnolis():
    assert tfcheckpoint.crc32c(np.frombuffer(b"123456789", np.uint8)) == 0xE3069283
    assert tfcheckpoint.crc32c(np.zeros(32, np.uint8)) == 0x8A9136AA  # RFC 3720, B.4
    assert tfcheckpoint.crc32c(np.full(32, 255, np.uint8)) == 0x62A8AB43
    assert tfcheckpoint.crc32c(np.zeros(0, np.uint8)) == 0


def some_tensors():
    rng = np.random.default_rng(1)
    return {
        "body/encoder/layer_0/ffn/conv1/kernel": rng.standard_normal((6, 9)).astype(np.float32),
        "body/encoder/layer_0/ffn/conv1/mask": (rng.random((6, 9)) < 0.3).astype(np.float32),
        "body/encoder/layer_0/ffn/conv1/kernel/Adam": np.ones((6, 9), np.float32),
        "body/encoder/layer_0/q/kernel": rng.standard_normal((4, 4)).astype(np.float32),
        "body/encoder/layer_0/q/mask": (rng.random((4, 4)) < 0.5).astype(np.float32),
        "global_step": np.int64(500000).reshape(()),
        "half": rng.standard_normal(5).astype(np.float16),
        "brain": rng.standard_normal(300).astype(ml_dtypes.bfloat16),
        "empty": np.zeros((0, 7), np.float32),
    }


def test_checkpoint_tensors_come_back(tmp_path):
    tensors = some_tensors()
    write_checkpoint(tmp_path / "model.ckpt-500000", tensors)
    checkpoint = tfcheckpoint.Checkpoint(tmp_path / "model.ckpt-500000")
    assert checkpoint.names() == sorted(tensors)
    for name, array in tensors.items():
        found = checkpoint.read(name)
        assert found.dtype == array.dtype and found.shape == array.shape
        assert found.tobytes() == array.tobytes()
        assert checkpoint.shape(name) == array.shape
    with pytest.raises(KeyError, match="has no tensor 'absent'"):
        checkpoint.read("absent")


def test_every_damage_to_a_checkpoint_is_found(tmp_path):
    prefix = tmp_path / "model.ckpt-1"
    write_checkpoint(prefix, some_tensors())
    index = tmp_path / "model.ckpt-1.index"
    whole = index.read_bytes()
    tensors = some_tensors()
    for at in range(len(whole)):
        index.write_bytes(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])
        try:
            checkpoint = tfcheckpoint.Checkpoint(prefix)
        except FormatError as error:
            assert "model.ckpt-1.index" in str(error)
        else:  # only padding and the unused metaindex may go unnoticed
            assert checkpoint.names() == sorted(tensors)
    for length in range(0, len(whole), 7):
        index.write_bytes(whole[:length])
        with pytest.raises(FormatError):
            tfcheckpoint.Checkpoint(prefix)
    index.write_bytes(whole)
    shard = tmp_path / "model.ckpt-1.data-00000-of-00002"
    content = shard.read_bytes()
    name = sorted(tensors)[0]
    shard.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(FormatError, match="checksum of tensor"):
        tfcheckpoint.Checkpoint(prefix).read(name)
    shard.write_bytes(content[:3])
    with pytest.raises(FormatError, match="truncated at tensor"):
        tfcheckpoint.Checkpoint(prefix).read(name)
    shard.unlink()
    with pytest.raises(FormatError, match="is missing"):
        tfcheckpoint.Checkpoint(prefix).read(name)


def test_a_missing_checkpoint_says_how_to_name_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"model\.ckpt-500000, without \.index"):
        tfcheckpoint.Checkpoint(tmp_path / "model.ckpt-500000.index")


def test_magnitude_checkpoints_are_weights_times_mask(tmp_path):
    tensors = some_tensors()
    write_checkpoint(tmp_path / "m", tensors)
    found = checkpoints.read_layers(tmp_path / "m", "magnitude")
    assert sorted(found) == ["body/encoder/layer_0/ffn/conv1", "body/encoder/layer_0/q"]
    layer = found["body/encoder/layer_0/ffn/conv1"]
    kernel = tensors["body/encoder/layer_0/ffn/conv1/kernel"]
    mask = tensors["body/encoder/layer_0/ffn/conv1/mask"]
    assert np.array_equal(layer.weights, (kernel * mask).T)
    assert np.array_equal(layer.mask, mask.T == 1)


def test_variational_dropout_checkpoints_keep_low_log_alpha(tmp_path):
    theta = np.array([[1.0, 0.1], [0.5, -2.0]], np.float32)
    log_sigma2 = np.array([[2.4, 0.0], [3.0, -10.0]], np.float32)
    embedding = np.array([[1.0, 1e-4]], np.float32)
    write_checkpoint(
        tmp_path / "v",
        {
            "a/kernel": theta,
            "a/log_sigma2": log_sigma2,
            "emb/weights_0": embedding,
            "emb/weights_0_aux": np.array([[0.0, 0.0]], np.float32),
        },
    )
    found = checkpoints.read_layers(tmp_path / "v", "variational_dropout", threshold=2.5)
    # log alpha = log_sigma2 - ln(theta^2): 2.4, 4.6, 4.4, -11.4
    assert found["a"].mask.T.tolist() == [[True, False], [False, True]]
    assert found["a"].weights.T.tolist() == [[1.0, 0.0], [0.0, -2.0]]
    assert found["emb/weights_0"].mask.T.tolist() == [[True, False]]


def test_l0_checkpoints_multiply_by_the_gate(tmp_path):
    theta = np.full((1, 4), 2.0, np.float32)
    log_alpha = np.array([[-3.0, 0.0, 5.0, -math.log(11) - 1e-3]], np.float32)
    write_checkpoint(tmp_path / "l", {"a/weights": theta, "a/log_alpha": log_alpha})
    layer = checkpoints.read_layers(tmp_path / "l", "l0")["a"]
    assert layer.mask.T.tolist() == [[False, True, True, False]]
    assert np.allclose(layer.weights.T, [[0, 1.0, 2.0, 0]])


def test_convolutions_put_outputs_first(tmp_path):
    weights = np.random.default_rng(0).standard_normal((3, 3, 5, 7)).astype(np.float32)
    write_checkpoint(tmp_path / "c", {"a/weights": weights, "a/mask": np.ones_like(weights)})
    layer = checkpoints.read_layers(tmp_path / "c", "random")["a"]
    assert layer.weights.shape == (7, 3, 3, 5)
    assert layer.weights[4, 1, 2, 3] == weights[1, 2, 3, 4]


def test_a_checkpoint_of_another_method_is_named(tmp_path):
    write_checkpoint(tmp_path / "m", some_tensors())
    with pytest.raises(FormatError, match="no variable ending in /log_alpha, as l0 leaves them"):
        checkpoints.read_layers(tmp_path / "m", "l0")
    write_checkpoint(tmp_path / "n", {"a/mask": np.ones((2, 2), np.float32)})
    with pytest.raises(FormatError, match="a/mask has no weights"):
        checkpoints.read_layers(tmp_path / "n", "magnitude")
    with pytest.raises(ValueError, match="method must be one of"):
        checkpoints.read_layers(tmp_path / "m", "lottery")


def test_published_checkpoints_open_by_method_and_sparsity(data):
    table = checkpoints.table()
    assert len(table) == 49
    name = "magnitude_pruning_0.9_0_400000_10000_0.0_0.1.tar"
    assert any(row["url"].endswith(name) and row["sparsity"] == ".9" for row in table)
    with pytest.raises(models.ModelUnavailable, match=f"{name} is not in the data folder"):
        models.open_model("checkpoint", "transformer", "magnitude", 0.9)
    made = data.parent / "made"
    write_checkpoint(made / "model.ckpt-500000", some_tensors())
    with tarfile.open(data / name, "w") as tar:
        tar.add(made, "ckpt")
    model = models.open_model("checkpoint", "transformer", "magnitude", 0.9)
    assert len(model.layers) == 2 and model.quality == "23.26 BLEU as published"
    assert models.available("checkpoint", "transformer") == [("magnitude", 0.9)]
    with pytest.raises(ValueError, match="sparsity must be one that was published"):
        models.open_model("checkpoint", "transformer", "magnitude", 0.123)


def test_the_threshold_ends_the_name():
    assert (
        checkpoints.threshold_of("variational_dropout_0.8_cubic_0_300000_2.2E-08_0.0_0.1_1.5.tar")
        == 1.5
    )
    with pytest.raises(ValueError, match="name must end in the log alpha threshold"):
        checkpoints.threshold_of("baseline.tar")


# --- downloads ---

CONTENT = np.random.default_rng(5).bytes(300_000)


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT with ranges; `cut` closes the connection after that many bytes, once."""

    cut = 0
    tag = '"first"'
    ranges: ClassVar[list[str | None]] = []

    def do_GET(self):
        asked = self.headers.get("Range")
        type(self).ranges.append(asked)
        start = 0
        if asked and self.headers.get("If-Range") == self.tag:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.send_header("ETag", self.tag)
        self.end_headers()
        stop = type(self).cut or len(CONTENT)
        type(self).cut = 0
        self.wfile.write(CONTENT[start:stop])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    Handler.cut, Handler.tag, Handler.ranges = 0, '"first"', []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}/file.bin"
        running.shutdown()


def test_a_download_is_checked_and_kept(server, data):
    digest = hashlib.sha256(CONTENT).hexdigest()
    path = download.fetch(server, "file.bin", digest, progress=False)
    assert path == data / "file.bin" and path.read_bytes() == CONTENT
    download.fetch(server, "file.bin", digest[:8], progress=False)
    assert len(Handler.ranges) == 1, "a file that is there is not fetched again"


def test_an_interrupted_download_goes_on(server, data):
    Handler.cut = 100_000
    with pytest.raises(models.ModelUnavailable, match="after 100000 of 300000 bytes; run again"):
        download.fetch(server, "file.bin", progress=False)
    assert (data / "file.bin.part").stat().st_size == 100_000
    assert download.fetch(server, "file.bin", progress=False).read_bytes() == CONTENT
    assert Handler.ranges == [None, "bytes=100000-"]
    assert [path.name for path in data.iterdir()] == ["file.bin"]


def test_a_file_that_changed_meanwhile_starts_again(server, data):
    Handler.cut = 100_000
    with pytest.raises(models.ModelUnavailable):
        download.fetch(server, "file.bin", progress=False)
    Handler.tag = '"second"'
    assert download.fetch(server, "file.bin", progress=False).read_bytes() == CONTENT


def test_a_wrong_checksum_is_refused(server, data):
    with pytest.raises(ValueError, match="file.bin must have sha256 00000000, got"):
        download.fetch(server, "file.bin", "00000000", progress=False)
    assert not (data / "file.bin").exists()


def test_an_address_that_fails_says_what_to_do(data):
    with pytest.raises(models.ModelUnavailable, match="place it as x.bin"):
        download.fetch((data / "absent").as_uri(), "x.bin", progress=False)


def test_archives_stay_inside_their_folder(data, tmp_path):
    (tmp_path / "x").write_text("x")
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        tar.add(tmp_path / "x", "../outside")
    with pytest.raises(tarfile.TarError):
        download.unpack(tmp_path / "evil.tar", data)
    assert not (data.parent / "outside").exists()


# --- torchvision and files ---


def test_torchvision_needs_its_file():
    with pytest.raises(models.ModelUnavailable, match=r"resnet50-11ad3fa6\.pth.*download=True"):
        models.open_model("torchvision", "resnet", "magnitude", 0.9)
    with pytest.raises(models.ModelUnavailable, match=r"resnet50_fbgemm"):
        models.open_model("torchvision", "resnet", "magnitude", 0.9, path="IMAGENET1K_FBGEMM_V2")
    with pytest.raises(ValueError, match="path must be one of"):
        models.open_model("torchvision", "resnet", "magnitude", 0.9, path="IMAGENET22K")
    with pytest.raises(ValueError, match="network must be resnet"):
        models.open_model("torchvision", "transformer", "magnitude", 0.9)


def test_torchvision_file_is_pruned_here(data):
    state = {"conv1.weight": torch.randn(8, 3, 7, 7), "bn1.weight": torch.ones(8)}
    content = data / "resnet50-11ad3fa6.pth"
    torch.save(state, content)
    with pytest.raises(ValueError, match="must have sha256 11ad3fa6"):
        models.open_model("torchvision", "resnet", "magnitude", 0.75)
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
    found = sources.read_state(tmp_path / "q.pth")
    assert found["conv1.weight"].dtype == np.int8
    assert np.array_equal(found["conv1.weight"], channel.int_repr().numpy())
    assert np.allclose(found["conv1.weight.scale"], scales.numpy())
    assert np.array_equal(found["fc.weight"], tensor.int_repr().numpy())
    assert np.array_equal(found["fc.bias"], np.ones(5))
    model = models.from_tensors(found, "torchvision", "resnet", "magnitude", 0.5, "trained")
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
    model = models.open_model("file", "resnet", "magnitude", 0.8, path=str(path))
    assert list(model.layers) == ["a.weight"] and list(model.others) == ["a.bias"]
    assert model.unpruned == 120 and "pruned here at once by magnitude" in model.values
    path.rename(data / path.name)
    again = models.open_model("file", "resnet", "magnitude", 0.8, path=path.name)
    assert np.array_equal(again.layers["a.weight"].mask, model.layers["a.weight"].mask)
    path = data / path.name
    with pytest.raises(ValueError, match="method must be random or magnitude for a dense model"):
        models.open_model("file", "resnet", "l0", 0.8, path=str(path))


def test_files_with_zeros_keep_their_mask(tmp_path):
    weights = np.random.default_rng(0).standard_normal((20, 30)).astype(np.float32)
    mask = some_mask(20, 30, 0.6)
    save_file({"a": np.where(mask, weights, 0).astype(np.float32)}, tmp_path / "m.safetensors")
    path = str(tmp_path / "m.safetensors")
    model = models.open_model("file", "transformer", "l0", 0.6, path=path)
    assert np.array_equal(model.layers["a"].mask, mask)
    assert "pruned here" not in model.values


def test_bad_arguments_are_named(tmp_path):
    with pytest.raises(ValueError, match="source must be one of"):
        models.open_model("zoo", "resnet", "l0", 0.9)
    with pytest.raises(ValueError, match="method must be one of"):
        models.open_model("standin", "resnet", "lottery", 0.9)
    with pytest.raises(ValueError, match="network must be one of"):
        models.open_model("standin", "vgg", "l0", 0.9)
    with pytest.raises(ValueError, match="sparsity must be at least 0"):
        models.open_model("standin", "resnet", "l0", 1.0)
    with pytest.raises(models.ModelUnavailable, match="path must be a file"):
        models.open_model("file", "resnet", "magnitude", 0.9, path=str(tmp_path / "no.npz"))
    with pytest.raises(ValueError, match="values must be normal, laplace or a file"):
        layers.draw_values({"a": np.ones((2, 2), bool)}, "cauchy", 0)


def test_several_models_skip_what_is_not_there(data):
    put_dlmc(data)
    found = models.open_models("dlmc", "resnet", "random,magnitude", "0.7, 0.9")
    assert [(m.method, m.sparsity) for m in found] == [("magnitude", 0.9)]
    with pytest.raises(models.ModelUnavailable):
        models.open_models("dlmc", "resnet", "random", "0.7")


# --- packed files ---


def packed_model():
    mask = some_mask(9, 14, 0.7)
    weights = np.where(mask, np.random.default_rng(0).standard_normal((9, 14)), 0)
    others = {"bias": np.arange(9, dtype=np.float32), "steps": np.array(7, np.int64)}
    found = {"w": models.Layer(weights.astype(np.float32), mask)}
    return models.PrunedModel("standin", "resnet", "l0", 0.7, found, "trained", others, "99 %")


def test_packed_models_come_back(tmp_path):
    model = packed_model()
    layers.save_packed(tmp_path / "m.safetensors", model)
    found = layers.load_packed(tmp_path / "m.safetensors")
    assert np.array_equal(found.layers["w"].weights, model.layers["w"].weights)
    assert np.array_equal(found.layers["w"].mask, model.layers["w"].mask)
    assert (found.method, found.sparsity, found.quality) == ("l0", 0.7, "99 %")
    assert found.others.keys() == model.others.keys() and found.others["steps"] == 7
    assert set(found.state()) == {"w", "bias", "steps"}


def test_files_that_are_no_packed_models_are_named(tmp_path):
    save_file({"a": np.ones(3, np.float32)}, tmp_path / "a.safetensors")
    with pytest.raises(FormatError, match=r"a\.safetensors: is not a packed pruned network"):
        layers.load_packed(tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").write_bytes(b"nonsense")
    with pytest.raises(FormatError, match=r"b\.safetensors: cannot be read"):
        layers.load_packed(tmp_path / "b.safetensors")
