"""TensorFlow checkpoints in the true format, whole and damaged in every byte."""

from dataclasses import replace

import numpy as np
import pytest
from checkpoint_writer import some_tensors, write_checkpoint

from f2f.base.errors import FormatError
from f2f_study.sources import tfcheckpoint


def test_crc32c_is_castagnolis():
    assert tfcheckpoint.crc32c(np.frombuffer(b"123456789", np.uint8)) == 0xE3069283
    assert tfcheckpoint.crc32c(np.zeros(32, np.uint8)) == 0x8A9136AA  # RFC 3720, B.4
    assert tfcheckpoint.crc32c(np.full(32, 255, np.uint8)) == 0x62A8AB43
    assert tfcheckpoint.crc32c(np.zeros(0, np.uint8)) == 0


def test_checkpoint_tensors_come_back(tmp_path):
    tensors = some_tensors()
    write_checkpoint(tmp_path / "model.ckpt-500000", tensors)
    checkpoint = tfcheckpoint.Checkpoint(tmp_path / "model.ckpt-500000")
    assert checkpoint.names() == sorted(tensors)
    for name, array in tensors.items():
        found = checkpoint.read(name)
        assert found.dtype == array.dtype and found.shape == array.shape
        assert found.tobytes() == array.tobytes()
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


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"crc": tfcheckpoint.masked_crc(np.zeros(0, np.uint8)), "shape": (0, 2**63), "size": 0},
         "half: shape"),
        ({"offset": 2**63}, "is truncated at tensor half"),
        ({"size": 2**40, "shape": (2**39,)}, "is truncated at tensor half"),
        ({"shape": (4,)}, "size does not fit shape"),
        ({"dtype": 7}, "of TensorFlow type 7"),
        ({"shard": 5}, "is missing"),
    ],
)  # fmt: skip
def test_absurd_entries_are_refused(tmp_path, facts, message):
    write_checkpoint(tmp_path / "m", some_tensors())
    checkpoint = tfcheckpoint.Checkpoint(tmp_path / "m")
    checkpoint.entries["half"] = replace(checkpoint.entries["half"], **facts)
    with pytest.raises(FormatError, match=message):
        checkpoint.read("half")
