"""Files of format versions 1 and 2: a safetensors entry ``NAME/data`` and a JSON header a tensor.

``__metadata__`` holds ``tensors``: JSON, per tensor its whole header and the BLAKE2b-128 checksum
of that header and of its data with name, dtype and shape. Version 2 names the kind of decoder
matrix in the header, which was always random in version 1. The rest is as in later versions.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from f2f.base.errors import FormatError
from f2f.base.safetensors import Header, json_text, parse_json
from f2f.format.record import Record, split


def records(header: Header) -> dict[str, Record]:
    """The records by name; every entry of the file belongs to one of them."""
    found: dict[str, Record] = {}
    for name, said in parse_json(header.metadata["tensors"], "metadata").items():
        checksum = bytes.fromhex(said["blake2b"])
        found[name] = Record(*split(said["header"]), checksum, 0, 0)
    for key, entry in header.entries.items():
        name, _, part = key.rpartition("/")
        if name not in found:
            raise FormatError(f"entry {key!r} belongs to no tensor")
        if part != "data" or entry.dtype != np.uint8 or len(entry.shape) != 1:
            raise FormatError(f"a tensor must have one part, data, uint8, got {key!r}")
        found[name] = found[name]._replace(begin=entry.begin, end=entry.end)
    return found


def checksum(header: Any, data: np.ndarray) -> bytes:
    """As version 1 and 2 have it; data: uint8 (bytes,)."""
    digest = hashlib.blake2b(json_text(header).encode(), digest_size=16)
    if data.size:
        digest.update(json_text(["data", "uint8", [data.size]]).encode())
        digest.update(data.data)
    return digest.digest()
