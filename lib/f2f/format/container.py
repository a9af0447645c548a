"""One `.safetensors` file for a whole model: save, load, and reading one tensor alone.

The file is an ordinary safetensors file (`f2f.base.safetensors`) of two entries, both bytes:

* ``index``: per tensor, in order of names: varint length of the name, name in UTF-8, varint number
  of its form, and its record (`f2f.format.record`): varint bytes of its data, a varint each of its
  numbers, and the BLAKE2b-64 checksum of its data;
* ``data``: the data of the tensors (`CompressedTensor.arrays`) end to end, in the same order.

``__metadata__`` holds

* ``format`` ("f2f") and ``version``, an integer as text;
* ``forms``: JSON, the different forms of the tensors' headers, each once;
* ``aliases``: JSON, names that share the tensor of another name;
* ``metadata``, where there is any: JSON, text that the tensors' own file had in its place;
* ``digest``: the BLAKE2b-128 checksum of every byte before the data, length, padding and index
  included, taken with the digest itself replaced by zeros.

So a changed byte anywhere in the file is noticed: before the data by the digest, in the data by
the checksum of its tensor. Checksums find damage; they are no signature. Equal tensors give equal
files, byte for byte: there is no date, host or path in them.

A file is as long as the sum of its tensors' `CompressedTensor.nbytes` and of what they have in
common: the header with the forms, and of each tensor its name and the number of its form.

Files of versions 1 and 2, where each tensor has an entry and a JSON header of its own, are read by
`f2f.format.older`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from f2f.base import validate
from f2f.base.atomic import atomic_write, open_regular
from f2f.base.errors import FormatError
from f2f.base.safetensors import (
    Header,
    header_bytes,
    is_text,
    json_text,
    parse_json,
    read_header,
)
from f2f.format import older
from f2f.format.record import CHECKSUM, Record, joined, read_varint, record_bytes, split, varint
from f2f.format.tensor import CompressedTensor

VERSION = 3

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
        An argument is none of these; a name is empty or not valid Unicode; or a tensor is one that
        reading would refuse.
    OSError
        The file cannot be written.

    Examples
    --------
    >>> import tempfile, f2f
    >>> weight = np.where(np.random.default_rng(0).random((32, 64)) < 0.1, 1, 0).astype(np.int8)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     f2f.save(f"{folder}/m.safetensors", {"fc.weight": f2f.compress(weight)})
    ...     back = f2f.load(f"{folder}/m.safetensors")
    >>> bool((f2f.decompress(back["fc.weight"]) == weight).all())
    True
    """
    path = validate.path("path", path)
    given = validate.mapping("tensors", tensors, CompressedTensor)
    kept = validate.mapping("metadata", {} if metadata is None else metadata, str, "text")
    stored: list[CompressedTensor] = []
    aliases: dict[str, str] = {}
    forms: dict[str, int] = {}  # JSON text of each, to its number
    index: list[bytes] = []
    size = 0
    first_name: dict[int, str] = {}
    for name in given:
        if not is_text(name) or not name:
            raise ValueError(f"tensor names must be non-empty valid Unicode text, got {name!r}")
    for name, tensor in sorted(given.items()):
        first = first_name.setdefault(id(tensor), name)
        if first != name:
            aliases[name] = first
            continue
        header, data = tensor.header(), _data(tensor)
        try:
            _tensor(header, data)
        except FormatError as error:
            raise ValueError(f"tensor {name!r} cannot be stored: {error}") from error
        form, numbers = split(header)
        number = forms.setdefault(json_text(form), len(forms))
        record = record_bytes(numbers, data.size, _checksum(data))
        index += [varint(len(name.encode())), name.encode(), varint(number), record]
        stored.append(tensor)
        size += data.size
    facts = {
        "format": "f2f",
        "version": str(VERSION),
        "digest": _NO_DIGEST,
        "forms": f"[{','.join(forms)}]",
        "aliases": json_text(aliases),
    }
    if kept:
        facts["metadata"] = json_text(kept)
    before = b"".join(index)
    kind = np.dtype(np.uint8)
    raw = header_bytes({"index": (kind, (len(before),)), "data": (kind, (size,))}, facts)
    with atomic_write(path) as file:
        file.write(_with_digest(raw, _digest(raw, before)) + before)
        for tensor in stored:
            file.write(_data(tensor).data)  # made again: all at once would take the model's size


def load(path: str | os.PathLike[str]) -> dict[str, CompressedTensor]:
    """Read and check every tensor of a file; names that shared one tensor share it again.

    To read only some tensors, see `open_file`.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    dict of str to CompressedTensor
        In order of names.

    Raises
    ------
    FormatError
        The file is damaged in any way, is not an f2f file or is of a newer version; the message
        names file, tensor and cause.
    OSError
        It cannot be read.

    Examples
    --------
    >>> import tempfile, f2f
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     f2f.save(f"{folder}/m.safetensors", {"fc": f2f.compress(np.eye(64, dtype=np.int8))})
    ...     f2f.load(f"{folder}/m.safetensors")["fc"].shape
    (64, 64)
    """
    with open_file(path) as file:
        return dict(file)


def open_file(path: str | os.PathLike[str]) -> ModelFile:
    """Open a file for reading tensors one by one; a mapping, and a context manager.

    Only what is before the data is read and checked here; a tensor is read and checked when it is
    asked for. The file stays the same when another is put in its place meanwhile.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    ModelFile
        A mapping of str to CompressedTensor.

    Raises
    ------
    FormatError, OSError
        As `load`.

    Examples
    --------
    >>> import tempfile, f2f
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     f2f.save(f"{folder}/m.safetensors", {"fc": f2f.compress(np.eye(64, dtype=np.int8))})
    ...     with f2f.open_file(f"{folder}/m.safetensors") as file:
    ...         list(file), file["fc"].shape
    (['fc'], (64, 64))
    """
    return ModelFile(path)


class ModelFile(Mapping[str, CompressedTensor]):
    """The tensors of an open file by name; an access reads that tensor from disk, and no other.

    A tensor that is still in use is given again, so that names which share one share the object.

    Attributes
    ----------
    path : pathlib.Path
    nbytes : int
        Size of the file.
    aliases : dict of str to str
        Names that share the tensor of another name, to that name.
    metadata : dict of str to str
        What `save` was given to keep beside the tensors.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = validate.path("path", path)
        self._in_use: WeakValueDictionary[str, CompressedTensor] = WeakValueDictionary()
        # Unbuffered, and no memory map: a file that shrinks while it is read must not kill the
        # process.
        self._file = open_regular(path, buffering=0)
        try:
            self.nbytes = os.fstat(self._file.fileno()).st_size
            self._read_before_data()
        except BaseException as error:
            self._file.close()
            if isinstance(error, AttributeError | LookupError | RecursionError | TypeError):
                error = FormatError(f"header cannot be parsed: {error!r}")
            if isinstance(error, ValueError):
                raise FormatError(f"{path}: {error}") from error
            raise

    def _read_before_data(self) -> None:
        try:
            header = read_header(self._file)
        except FormatError as error:
            raise FormatError(f"damaged or not an f2f file: {error}") from error
        metadata = header.metadata
        version = _version(header)
        index = b""
        if version > 2:
            if list(header.entries) != ["index", "data"] or header.entries["index"].begin:
                raise FormatError("must have the entries index and data")
            index = self._file.read(header.entries["index"].end)
        if _digest(header.raw, index) != _DIGEST.findall(header.raw)[0].decode():
            raise FormatError("header checksum does not match; the file is damaged")
        self._version = version
        self._data_begin = len(header.raw) + len(index)
        if version > 2:
            forms = parse_json(metadata["forms"], "forms")
            self._records = _records(index, forms, self.nbytes - self._data_begin)
        else:
            self._records = older.records(header)
        self.aliases: dict[str, str] = dict(parse_json(metadata["aliases"], "shared names"))
        for name, target in self.aliases.items():
            if name in self._records or target not in self._records:
                raise FormatError(f"shared names: {name!r} cannot stand for {target!r}")
        kept = parse_json(metadata.get("metadata", "{}"), "kept metadata")
        self.metadata = validate.mapping("metadata", kept, str, "text")

    def __enter__(self) -> ModelFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; tensors already read stay valid."""
        self._file.close()

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
        data = np.empty(record.end - record.begin, dtype=np.uint8)
        place, left = self._data_begin + record.begin, data.data
        while left:
            count = os.preadv(self._file.fileno(), [left], place)
            if not count:
                raise FormatError(f"{where}: the file has become shorter while it was open")
            place, left = place + count, left[count:]
        try:
            header = joined(record.form, iter(record.numbers))
            checksum = _checksum(data) if self._version > 2 else older.checksum(header, data)
            if checksum != record.checksum:
                raise FormatError("checksum does not match; the file is damaged")
            return _tensor(header, data)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise FormatError(f"{where}: {error}") from error


def _data(tensor: CompressedTensor) -> np.ndarray:
    return tensor.arrays().get("data", np.zeros(0, dtype=np.uint8))


def _tensor(header: dict[str, Any], data: np.ndarray) -> CompressedTensor:
    return CompressedTensor.from_parts(header, {"data": data})


def _checksum(data: np.ndarray) -> bytes:
    return hashlib.blake2b(data.data, digest_size=CHECKSUM).digest()


def _with_digest(raw: bytes, digest: str) -> bytes:
    # In the JSON text every quote inside a name or value is escaped, so this is the key itself.
    return _DIGEST.sub(f'"digest":"{digest}"'.encode(), raw)


def _digest(raw: bytes, index: bytes) -> str:
    return hashlib.blake2b(_with_digest(raw, _NO_DIGEST) + index, digest_size=16).hexdigest()


def _version(header: Header) -> int:
    """The version of a header that is one of an f2f file which this package reads."""
    metadata = header.metadata
    if metadata.get("format") != "f2f" or len(_DIGEST.findall(header.raw)) != 1:
        raise FormatError("damaged or not an f2f file: no f2f metadata in its header")
    try:
        version = int(metadata["version"])
    except (LookupError, ValueError) as error:
        raise FormatError(f"its version cannot be parsed: {error}") from error
    if version > VERSION:
        raise FormatError(
            f"format version {version} is newer than this package reads ({VERSION}), "
            "or the file is damaged"
        )
    if version < 1:
        raise FormatError(f"unknown format version {version}")
    return version


def _records(index: bytes, forms: list[Any], size: int) -> dict[str, Record]:
    """The records of an index by name; together their data are so many bytes."""
    counts = [len(split(form)[1]) for form in forms]
    records: dict[str, Record] = {}
    at = begin = 0
    while at < len(index):
        length, at = read_varint(index, at)
        name, at = index[at : at + length].decode(), at + length
        number, at = read_varint(index, at)
        length, at = read_varint(index, at)
        numbers = []
        for _ in range(counts[number]):
            value, at = read_varint(index, at)
            numbers.append(value)
        checksum, at = index[at : at + CHECKSUM], at + CHECKSUM
        if name in records:
            raise FormatError(f"tensor {name!r} stands twice in the index")
        records[name] = Record(forms[number], numbers, checksum, begin, begin + length)
        begin += length
    if at != len(index) or begin != size:
        raise FormatError(f"the index speaks of {begin} bytes of data, there are {size}")
    return records
