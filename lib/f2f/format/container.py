"""One `.safetensors` file for a whole model: save, load, and reading one tensor alone.

The file is an ordinary safetensors file: 8 bytes of length, a JSON header, then the data. Part
`p` of tensor `t` (an array of `CompressedTensor.arrays()`) is the entry ``t/p``; ``__metadata__``
holds

* ``format`` ("f2f") and ``version``, an integer as text;
* ``tensors``: JSON, per tensor its header (`CompressedTensor.header()`) and the BLAKE2b-128
  checksum of that header and of every part with its name, dtype and shape;
* ``aliases``: JSON, names that share the tensor of another name;
* ``metadata``, where there is any: JSON, text that the tensors' own file had in its place;
* ``digest``: the BLAKE2b-128 checksum of every byte before the data, length and padding
  included, taken with the digest itself replaced by zeros.

So a changed byte anywhere in the file is noticed: before the data by the digest, in the data by
the checksum of its tensor. Checksums find damage; they are no signature. Equal tensors give equal
files, byte for byte: entries are sorted, and there is no date, host or path in them.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from safetensors import SafetensorError, safe_open

from f2f.base.atomic import atomic_write
from f2f.base.errors import FormatError
from f2f.format.tensor import CompressedTensor

VERSION = 2

# The safetensors names of the dtypes that parts may have; wider first, so that data is aligned.
_DTYPES = {
    "int64": "I64",
    "uint64": "U64",
    "float64": "F64",
    "complex64": "C64",
    "int32": "I32",
    "uint32": "U32",
    "float32": "F32",
    "int16": "I16",
    "uint16": "U16",
    "float16": "F16",
    "bfloat16": "BF16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}
_NAMES = {code: name for name, code in _DTYPES.items()}

_MAX_HEADER = 100_000_000  # bytes; safetensors' own limit
_DIGEST = re.compile(rb'"digest":"([0-9a-f]{32})"')
_NO_DIGEST = "0" * 32


def save(
    path: str | os.PathLike[str],
    tensors: Mapping[str, CompressedTensor],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write the tensors to one file; the path holds the whole new file or is left as it was.

    Parameters
    ----------
    path : path-like
    tensors : mapping of str to CompressedTensor
        A tensor object that stands under several names is stored once.
    metadata : mapping of str to str, optional
        Text to keep beside the tensors, as of the .safetensors file that they came from.

    Raises
    ------
    ValueError
        A name is empty or not valid Unicode, metadata is not text, or a tensor is one that
        reading would refuse.
    OSError
        The file cannot be written.

    Examples
    --------
    >>> import tempfile, f2f
    >>> weight = np.where(np.random.default_rng(0).random((32, 64)) < 0.1, 1, 0).astype(np.int8)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     f2f.save(Path(folder, "m.safetensors"), {"fc.weight": f2f.compress(weight)})
    ...     back = f2f.load(Path(folder, "m.safetensors"))
    >>> bool((f2f.decompress(back["fc.weight"]) == weight).all())
    True
    """
    entries: dict[str, _Entry] = {}  # the places are filled in when the order is known
    stored: dict[str, CompressedTensor] = {}
    records: dict[str, dict[str, Any]] = {}
    aliases: dict[str, str] = {}
    # By object, which is kept: an address alone may belong to another tensor by now.
    first_name: dict[int, tuple[str, CompressedTensor]] = {}
    for name in sorted(tensors):
        tensor = tensors[name]
        _check_name(name)
        first, _ = first_name.setdefault(id(tensor), (name, tensor))
        if first != name:
            aliases[name] = first
            continue
        header = json.loads(_json(tensor.header()))  # as a reader will see it
        parts = {part: _plain(name, part, array) for part, array in tensor.arrays().items()}
        try:
            CompressedTensor.from_parts(header, parts)
        except FormatError as error:
            raise ValueError(f"tensor {name!r} cannot be stored: {error}") from error
        stored[name] = tensor
        for part, array in parts.items():
            entries[f"{name}/{part}"] = _Entry(array.dtype.name, array.shape, 0, array.nbytes)
        records[name] = {"blake2b": _checksum(header, parts), "header": header}
    facts = {
        "format": "f2f",
        "version": str(VERSION),
        "digest": _NO_DIGEST,
        "tensors": _json(records),
        "aliases": _json(aliases),
    }
    if metadata:
        facts["metadata"] = _json(_text(metadata))
    order = sorted(entries, key=lambda key: (-_itemsize(entries[key].dtype), key))
    with atomic_write(path) as file:
        file.write(_file_header(facts, {key: entries[key] for key in order}))
        for key in order:
            # Made a second time: all parts of a model at once would take its size again.
            name, _, part = key.rpartition("/")
            file.write(_bytes(_plain(name, part, stored[name].arrays()[part])))


def load(path: str | os.PathLike[str]) -> dict[str, CompressedTensor]:
    """Read and check every tensor of a file; names that shared one tensor share it again.

    To read only some tensors, see `open_file`.

    Raises
    ------
    FormatError
        The file is damaged in any way, is not an f2f file or is of a newer version; the message
        names file, tensor and cause.
    OSError
        It cannot be read.
    """
    with open_file(path) as file:
        return dict(file)


def open_file(path: str | os.PathLike[str]) -> ModelFile:
    """Open a file for reading tensors one by one; a mapping, and a context manager.

    Only the header is read and checked here; a tensor is read and checked when it is asked for.

    Raises
    ------
    FormatError, OSError
        As `load`.
    """
    return ModelFile(path)


class ModelFile(Mapping[str, CompressedTensor]):
    """The tensors of an open file by name; an access reads that tensor from disk, and no other.

    A tensor that is still in use is given again, so that names which share one share the object.

    Attributes
    ----------
    path : pathlib.Path
    aliases : dict of str to str
        Names that share the tensor of another name, to that name.
    metadata : dict of str to str
        What `save` was given to keep beside the tensors.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        layout, metadata = _read_header(self.path)
        self._records = _read_records(self.path, metadata, layout)
        self.aliases = _read_aliases(self.path, metadata, self._records)
        self.metadata = _read_metadata(self.path, metadata)
        self._in_use: WeakValueDictionary[str, CompressedTensor] = WeakValueDictionary()
        try:
            # pread, not mmap: a file that shrinks while it is read must not kill the process.
            self._reader = safe_open(self.path, framework="np", backend="pread")
        except SafetensorError as error:
            raise FormatError(f"{self.path}: not a valid safetensors file: {error}") from error

    def __enter__(self) -> ModelFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; tensors already read stay valid."""
        self._reader.__exit__(None, None, None)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted([*self._records, *self.aliases]))

    def __len__(self) -> int:
        return len(self._records) + len(self.aliases)

    def __contains__(self, name: object) -> bool:
        return name in self._records or name in self.aliases

    def __getitem__(self, name: str) -> CompressedTensor:
        stored = self.aliases.get(name, name)
        tensor = self._in_use.get(stored)
        if tensor is None:
            tensor = self._in_use[stored] = self._read(stored)
        return tensor

    def _read(self, stored: str) -> CompressedTensor:
        record = self._records[stored]
        where = f"{self.path}: tensor {stored!r}"
        parts: dict[str, np.ndarray] = {}
        for part, entry in record.parts.items():
            try:
                array = self._reader.get_tensor(f"{stored}/{part}")
            except (SafetensorError, OSError) as error:
                raise FormatError(f"{where}: part {part!r} cannot be read: {error}") from error
            if array.dtype.name != entry.dtype or array.shape != entry.shape:
                raise FormatError(f"{where}: part {part!r} changed while the file was open")
            parts[part] = array
        if _checksum(record.header, parts) != record.blake2b:
            raise FormatError(f"{where}: checksum does not match; the file is damaged")
        try:
            return CompressedTensor.from_parts(record.header, parts)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise FormatError(f"{where}: {error}") from error


@dataclass(frozen=True)
class _Entry:
    """Where an array lies: dtype name, shape, and its bytes [begin, end) after the header."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class _Record:
    """What the metadata says of one tensor, and the entries of its parts."""

    header: dict[str, Any]
    blake2b: str
    parts: dict[str, _Entry]


def _check_name(name: Any) -> None:
    try:
        valid = isinstance(name, str) and name != "" and name.encode() is not None
    except UnicodeEncodeError:
        valid = False
    if not valid:
        raise ValueError(f"tensor names must be non-empty valid Unicode text, got {name!r}")


def _text(metadata: Mapping[str, str]) -> dict[str, str]:
    for key, value in metadata.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise ValueError(f"metadata must be text by text, got {key!r}: {value!r}")
    return dict(metadata)


def _plain(name: str, part: str, array: np.ndarray) -> np.ndarray:
    """The array as it lies in the file: C-contiguous, little-endian."""
    if not part or "/" in part:
        raise ValueError(f"part names must be non-empty without '/', got {part!r}")
    if array.dtype.name not in _DTYPES:
        raise ValueError(
            f"parts must have one of the dtypes {', '.join(_DTYPES)}, "
            f"got {array.dtype} for part {part!r} of tensor {name!r}"
        )
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _bytes(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _checksum(header: Any, parts: Mapping[str, np.ndarray]) -> str:
    """BLAKE2b-128 of a tensor's header and of its parts with their names, dtypes and shapes."""
    digest = hashlib.blake2b(_json(header).encode(), digest_size=16)
    for part in sorted(parts):
        array = parts[part]
        digest.update(_json([part, array.dtype.name, array.shape]).encode())
        digest.update(_bytes(array))
    return digest.hexdigest()


def _file_header(metadata: dict[str, str], entries: Mapping[str, _Entry]) -> bytes:
    """Length and JSON header of a file that holds the entries in this order, with its digest."""
    # Written here, not by the library: its metadata comes in random order, files would differ.
    header: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for key, entry in entries.items():
        begin, end = end, end + entry.end
        header[key] = {
            "dtype": _DTYPES[entry.dtype],
            "shape": entry.shape,
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > _MAX_HEADER:
        raise ValueError(f"tensors must need a header of at most {_MAX_HEADER} bytes")
    raw = len(text).to_bytes(8, "little") + text
    blank = f'"digest":"{_NO_DIGEST}"'.encode()
    # In the JSON text every quote inside a name or value is escaped, so this is the key itself.
    return raw.replace(blank, f'"digest":"{_digest(raw)}"'.encode())


def _digest(raw: bytes) -> str:
    return hashlib.blake2b(raw, digest_size=16).hexdigest()


def _read_header(path: Path) -> tuple[dict[str, _Entry], dict[str, str]]:
    """Entries and metadata of a file whose every byte before the data has been checked."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = file.read(8)
        if len(length) < 8:
            raise FormatError(f"{path}: not an f2f file: only {len(length)} bytes long")
        count = int.from_bytes(length, "little")
        if count > min(size - 8, _MAX_HEADER):
            raise FormatError(
                f"{path}: damaged or not an f2f file: claims a header of {count} bytes "
                f"in a file of {size}"
            )
        raw = length + file.read(count)
    found = _DIGEST.findall(raw)
    if len(found) != 1:
        raise FormatError(f"{path}: damaged or not an f2f file: no f2f metadata in its header")
    intact = _digest(_DIGEST.sub(f'"digest":"{_NO_DIGEST}"'.encode(), raw)) == found[0].decode()
    try:
        header = json.loads(raw[8:], object_pairs_hook=_unique)
        metadata = header.pop("__metadata__")
        version = int(metadata["version"])
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise FormatError(f"{path}: header cannot be parsed: {error}") from error
    if version > VERSION:
        raise FormatError(
            f"{path}: format version {version} is newer than this package reads ({VERSION})"
            + ("" if intact else "; or the file is damaged, its header checksum does not match")
        )
    if not intact:
        raise FormatError(f"{path}: header checksum does not match; the file is damaged")
    if metadata.get("format") != "f2f" or version < 1:
        raise FormatError(f"{path}: unknown format {metadata.get('format')!r} version {version}")
    try:
        layout = {key: _entry(value) for key, value in header.items()}
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise FormatError(f"{path}: header has a malformed entry: {error}") from error
    end = 0
    for key, entry in sorted(layout.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != end:
            raise FormatError(f"{path}: entry {key!r} begins at byte {entry.begin}, not {end}")
        end = entry.end
    if end != size - len(raw):
        raise FormatError(
            f"{path}: {size - len(raw)} bytes of data where the header claims {end}; truncated?"
        )
    return layout, metadata


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(keys := dict(pairs)) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return keys


def _entry(value: dict[str, Any]) -> _Entry:
    """Check one entry of the header by itself; raises what wrong types and values raise."""
    begin, end = value["data_offsets"]
    name, shape = _NAMES[value["dtype"]], value["shape"]
    if not all(type(number) is int and 0 <= number < 2**63 for number in [begin, end, *shape]):
        raise ValueError(f"{value} must hold non-negative integers")
    if len(shape) > 64 or math.prod(shape) * _itemsize(name) != end - begin:
        raise ValueError(f"{value} has a size that is not its offsets'")
    return _Entry(name, tuple(shape), begin, end)


def _itemsize(name: str) -> int:
    return 2 if name == "bfloat16" else np.dtype(name).itemsize


def _read_records(
    path: Path, metadata: dict[str, str], layout: dict[str, _Entry]
) -> dict[str, _Record]:
    """The tensors of a file, each with its entries; every entry belongs to one of them."""
    try:
        said = json.loads(metadata["tensors"], object_pairs_hook=_unique)
        records = {
            name: _Record(dict(record["header"]), str(record["blake2b"]), {})
            for name, record in said.items()
        }
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise FormatError(f"{path}: metadata cannot be parsed: {error}") from error
    for key, entry in layout.items():
        name, _, part = key.rpartition("/")
        if name not in records:
            raise FormatError(f"{path}: entry {key!r} belongs to no tensor")
        records[name].parts[part] = entry
    return records


def _read_aliases(
    path: Path, metadata: dict[str, str], records: dict[str, _Record]
) -> dict[str, str]:
    try:
        aliases = json.loads(metadata["aliases"], object_pairs_hook=_unique)
        if any(name in records or target not in records for name, target in aliases.items()):
            raise ValueError("a name stands twice, or for a tensor that is not there")
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise FormatError(f"{path}: shared names cannot be parsed: {error}") from error
    return dict(aliases)


def _read_metadata(path: Path, facts: dict[str, str]) -> dict[str, str]:
    try:
        return _text(json.loads(facts.get("metadata", "{}"), object_pairs_hook=_unique))
    except (AttributeError, RecursionError, ValueError) as error:
        raise FormatError(f"{path}: kept metadata cannot be parsed: {error}") from error
