"""What comes before the data of a .safetensors file: 8 bytes of length, then a JSON header.

The header says of every entry its dtype, shape and place; entries fill the data without gaps. The
package of that name reads from paths only, gives no dtypes that NumPy lacks, and writes metadata in
random order; here a file is open already, and equal entries give equal bytes.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple

import ml_dtypes
import numpy as np

from f2f.base.errors import FormatError

MAX_HEADER = 100_000_000  # bytes; safetensors' own limit

DTYPES = {
    "BOOL": np.dtype(np.bool_),
    "U8": np.dtype(np.uint8),
    "I8": np.dtype(np.int8),
    "U16": np.dtype(np.uint16),
    "I16": np.dtype(np.int16),
    "U32": np.dtype(np.uint32),
    "I32": np.dtype(np.int32),
    "U64": np.dtype(np.uint64),
    "I64": np.dtype(np.int64),
    "F16": np.dtype(np.float16),
    "F32": np.dtype(np.float32),
    "F64": np.dtype(np.float64),
    "C64": np.dtype(np.complex64),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "F8_E4M3FNUZ": np.dtype(ml_dtypes.float8_e4m3fnuz),
    "F8_E5M2FNUZ": np.dtype(ml_dtypes.float8_e5m2fnuz),
    "F8_E8M0": np.dtype(ml_dtypes.float8_e8m0fnu),
}
_CODES = {dtype.name: code for code, dtype in DTYPES.items()}


class Entry(NamedTuple):
    """An array of a file.

    Attributes
    ----------
    dtype : numpy.dtype
    shape : tuple of int
    begin, end : int
        Its bytes, counted from the end of the header.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


class Header(NamedTuple):
    """Attributes: raw, every byte before the data; metadata, text by text; entries by name."""

    raw: bytes
    metadata: dict[str, str]
    entries: dict[str, Entry]


def read_header(file: BinaryIO) -> Header:
    """The header of an open file, which is left where the data begin.

    Raises
    ------
    FormatError
        It cannot be parsed, an entry has a dtype that is none of `DTYPES`, or the entries do not
        fill the rest of the file exactly.
    """
    size = os.fstat(file.fileno()).st_size
    length = file.read(8)
    if len(length) < 8:
        raise FormatError(f"only {len(length)} bytes long")
    count = int.from_bytes(length, "little")
    if count > min(size - 8, MAX_HEADER):
        raise FormatError(f"claims a header of {count} bytes in a file of {size}")
    raw = length + file.read(count)
    content = parse_json(raw[8:], "header")
    if not isinstance(content, dict):
        raise FormatError(f"header must be a JSON object, got {type(content).__name__}")
    metadata = content.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise FormatError("the metadata of the header must be text by text")
    entries = {name: _entry(name, value) for name, value in content.items()}
    end = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != end:
            raise FormatError(f"entry {name!r} begins at byte {entry.begin}, not {end}")
        end = entry.end
    if end != size - len(raw):
        raise FormatError(
            f"{size - len(raw)} bytes of data where the header claims {end}; truncated?"
        )
    return Header(raw, metadata, entries)


def json_text(value: Any) -> str:
    """The JSON text of a value, one and the same for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def parse_json(text: str | bytes, what: str) -> Any:
    """The value of a JSON text; `FormatError` where it is none or names a key twice."""
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except (RecursionError, ValueError) as error:
        raise FormatError(f"{what} cannot be parsed: {error}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(keys := dict(pairs)) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return keys


def _entry(name: str, value: Any) -> Entry:
    try:
        (begin, end), code, shape = value["data_offsets"], value["dtype"], list(value["shape"])
    except (LookupError, TypeError, ValueError) as error:
        raise FormatError(f"malformed entry {name!r} of the header: {value!r:.200}") from error
    if code not in list(DTYPES):
        raise FormatError(
            f"tensor {name!r} must have one of the dtypes {', '.join(DTYPES)}, got {code!s:.40}"
        )
    dtype = DTYPES[code]
    if (
        len(shape) > 64
        or not all(type(number) is int and 0 <= number < 2**63 for number in [begin, end, *shape])
        or math.prod(shape) * dtype.itemsize != end - begin
        or math.prod(max(axis, 1) for axis in shape) * dtype.itemsize >= 2**63  # as NumPy counts
    ):
        raise FormatError(f"malformed entry {name!r} of the header: its size is not its offsets'")
    return Entry(dtype, tuple(shape), begin, end)


def header_bytes(
    arrays: Mapping[str, tuple[np.dtype, tuple[int, ...]]], metadata: Mapping[str, str] | None
) -> bytes:
    """Every byte before the data of a file that holds arrays of these dtypes and shapes in turn.

    Raises
    ------
    ValueError
        A name or dtype that such a file cannot hold, or too many names.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, (dtype, shape) in arrays.items():
        if dtype.name not in _CODES:
            raise ValueError(f".safetensors cannot hold dtype {dtype} of tensor {name!r}")
        if not is_text(name) or name == "__metadata__":
            raise ValueError(f".safetensors cannot hold a tensor of the name {name!r}")
        begin, end = end, end + math.prod(shape) * dtype.itemsize
        header[name] = {
            "dtype": _CODES[dtype.name],
            "shape": list(shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise ValueError(f"tensors must need a header of at most {MAX_HEADER} bytes")
    return len(text).to_bytes(8, "little") + text


def is_text(value: Any) -> bool:
    """Whether a value is text that has a UTF-8 form."""
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False
