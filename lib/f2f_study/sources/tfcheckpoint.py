"""TensorFlow v2 checkpoints ("tensor bundles") read without TensorFlow.

A checkpoint with prefix P is ``P.index`` and ``P.data-00000-of-00001`` and so on. The index is a
sorted string table in the LevelDB format, uncompressed: its keys are tensor names, its values
BundleEntryProto messages that give dtype, shape, shard, offset, size and the masked CRC-32C of the
tensor's bytes; the entry with the empty key is the BundleHeaderProto. Data files are the tensors'
bytes, one after another.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import ml_dtypes
import numpy as np

from f2f.base.errors import FormatError
from f2f.base.jit import njit

_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48
_TRAILER = 5  # compression type and checksum after every block
# TensorFlow's DataType numbers.
_DTYPES: dict[int, np.dtype] = {
    1: np.dtype("<f4"),
    2: np.dtype("<f8"),
    3: np.dtype("<i4"),
    4: np.dtype("u1"),
    5: np.dtype("<i2"),
    6: np.dtype("i1"),
    9: np.dtype("<i8"),
    10: np.dtype("?"),
    14: np.dtype(ml_dtypes.bfloat16),
    17: np.dtype("<u2"),
    19: np.dtype("<f2"),
    22: np.dtype("<u4"),
    23: np.dtype("<u8"),
}


@dataclass(frozen=True)
class Entry:
    """Where a tensor lies."""

    dtype: int  # TensorFlow's number of it
    shape: tuple[int, ...]
    shard: int  # data file
    offset: int  # bytes therein
    size: int
    crc: int  # masked CRC-32C of the bytes
    sliced: bool  # a partitioned variable, stored in parts


class Checkpoint:
    """A checkpoint, whose tensors are read on demand.

    Parameters
    ----------
    prefix
        Of its files, e.g. ``folder/model.ckpt-500000``.

    Raises
    ------
    FileNotFoundError
        There is no such index.
    FormatError
        The index is damaged.
    """

    def __init__(self, prefix: str | os.PathLike[str]) -> None:
        self.prefix = os.fspath(prefix)
        self._index = Path(f"{self.prefix}.index")
        if not self._index.exists():
            raise FileNotFoundError(
                f"{self._index}: no such checkpoint index; the prefix must be given, as in "
                f"folder/model.ckpt-500000, without .index"
            )
        try:
            self._read_index()
        except (IndexError, struct.error, UnicodeDecodeError, ValueError) as error:
            if isinstance(error, FormatError):
                raise
            raise FormatError(f"{self._index}: is damaged: {error}") from error

    def _read_index(self) -> None:
        data = self._index.read_bytes()
        if len(data) < _FOOTER or struct.unpack("<Q", data[-8:])[0] != _MAGIC:
            raise FormatError(f"{self._index}: is not the index of a TensorFlow v2 checkpoint")
        footer = data[-_FOOTER:]
        _, at = _varint(footer, 0)  # the metaindex block, always empty here
        _, at = _varint(footer, at)
        entries: dict[str, bytes] = {}
        for _, handle in self._block(data, *_handle(footer, at)):
            for key, value in self._block(data, *_handle(handle, 0)):
                entries[key.decode()] = value
        if "" not in entries:
            raise FormatError(f"{self._index}: has no header entry")
        header = dict(_fields(entries.pop("")))
        self.shards = _number(header.get(1, 1))
        if header.get(2, 0) != 0:
            raise FormatError(f"{self._index}: is big-endian, which is not supported")
        self.entries = {name: _entry(value) for name, value in entries.items()}

    def _block(self, data: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
        """Key and value of every entry of the table block at `offset`."""
        end = offset + size
        if end + _TRAILER > len(data):
            raise FormatError(f"{self._index}: is truncated")
        if data[end] != 0:
            raise FormatError(f"{self._index}: is compressed, which TensorFlow does not write")
        (stored,) = struct.unpack_from("<I", data, end + 1)
        if masked_crc(np.frombuffer(data[offset : end + 1], np.uint8)) != stored:
            raise FormatError(f"{self._index}: checksum of the block at {offset} does not match")
        block = data[offset:end]
        (restarts,) = struct.unpack_from("<I", block, size - 4)
        last = size - 4 - 4 * restarts
        at, key = 0, b""
        while at < last:
            shared, at = _varint(block, at)
            fresh, at = _varint(block, at)
            length, at = _varint(block, at)
            key = key[:shared] + block[at : at + fresh]
            at += fresh
            yield key, block[at : at + length]
            at += length

    def names(self) -> list[str]:
        """Names of the tensors, sorted."""
        return sorted(self.entries)

    def read(self, name: str) -> np.ndarray:
        """A tensor, its checksum verified.

        Raises
        ------
        KeyError
            Unknown name.
        FormatError
            A damaged or missing shard, or a kind of tensor (strings, partitioned variables) that
            is not supported.
        """
        if name not in self.entries:
            raise KeyError(f"{self.prefix}: has no tensor {name!r}")
        entry = self.entries[name]
        dtype = _DTYPES.get(entry.dtype)
        if dtype is None or entry.sliced:
            what = "a partitioned variable" if entry.sliced else f"of TensorFlow type {entry.dtype}"
            raise FormatError(f"{self.prefix}: {name}: is {what}, which is not supported")
        path = Path(f"{self.prefix}.data-{entry.shard:05d}-of-{self.shards:05d}")
        if not path.exists():
            raise FormatError(f"{path}: is missing; it holds tensor {name}")
        if entry.size != dtype.itemsize * int(np.prod(entry.shape, dtype=object)):
            raise FormatError(f"{self.prefix}: {name}: size does not fit shape {entry.shape}")
        if entry.offset + entry.size > path.stat().st_size:
            raise FormatError(f"{path}: is truncated at tensor {name}")
        with open(path, "rb") as file:
            file.seek(entry.offset)
            data = np.frombuffer(file.read(entry.size), np.uint8)
        if masked_crc(data) != entry.crc:
            raise FormatError(f"{path}: checksum of tensor {name} does not match")
        try:
            return data.view(dtype).reshape(entry.shape)
        except (ValueError, OverflowError) as error:  # nothing of a shape beyond all bounds
            raise FormatError(f"{self.prefix}: {name}: shape {entry.shape}: {error}") from error


def _handle(data: bytes, at: int) -> tuple[int, int]:
    """Offset and size of a block."""
    offset, at = _varint(data, at)
    size, _ = _varint(data, at)
    return offset, size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A base-128 number, least significant group first, and the position after it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise FormatError("a number is too long")


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, value) of a protocol buffer message, in the order stored."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        value: int | bytes
        if wire == 0:
            value, at = _varint(message, at)
        elif wire == 2:
            length, at = _varint(message, at)
            value, at = message[at : at + length], at + length
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
            value, at = int.from_bytes(message[at : at + length], "little"), at + length
        else:
            raise FormatError(f"unknown wire type {wire}")
        yield number, value


def _number(value: int | bytes) -> int:
    """The value of a field that must be a number."""
    if isinstance(value, bytes):
        raise FormatError("a number was expected, got a message")
    return value


def _entry(message: bytes) -> Entry:
    """A BundleEntryProto: 1 dtype, 2 shape, 3 shard, 4 offset, 5 size, 6 CRC, 7 slices."""
    values = dict(_fields(message))
    dtype, shard, offset, size, crc = (_number(values.get(n, 0)) for n in (1, 3, 4, 5, 6))
    return Entry(dtype, _shape(values.get(2, b"")), shard, offset, size, crc, 7 in values)


def _shape(message: int | bytes) -> tuple[int, ...]:
    """A TensorShapeProto: its field 2, repeated, is an axis, whose field 1 is the size."""
    if isinstance(message, int):
        raise FormatError("a shape was expected, got a number")
    axes = [axis for number, axis in _fields(message) if number == 2]
    return tuple(_number(dict(_fields(axis)).get(1, 0)) for axis in axes if isinstance(axis, bytes))


@cache
def _crc_table() -> np.ndarray:
    """CRC-32C (Castagnoli, reflected 0x82F63B78) of every byte, uint32 (256,)."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, np.uint32(0x82F63B78), np.uint32(0)) ^ table >> 1
    return table


@njit
def _crc32c(data: np.ndarray, table: np.ndarray) -> np.uint32:
    """CRC of uint8 data (n,)."""
    crc = np.uint32(0xFFFFFFFF)
    for byte in data:
        crc = table[(crc ^ byte) & np.uint32(255)] ^ crc >> np.uint32(8)
    return np.uint32(~crc)


def crc32c(data: np.ndarray) -> int:
    """CRC-32C of uint8 data.

    >>> hex(crc32c(np.frombuffer(b"123456789", np.uint8)))
    '0xe3069283'
    """
    return int(_crc32c(np.ascontiguousarray(data), _crc_table())) & 0xFFFFFFFF


def masked_crc(data: np.ndarray) -> int:
    """The rotated CRC-32C that TensorFlow and LevelDB store."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
