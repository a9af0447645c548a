"""A writer of TensorFlow v2 checkpoints, as TensorFlow makes them, for the tests."""

import struct

import ml_dtypes
import numpy as np

from f2f_study.sources import tfcheckpoint


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
