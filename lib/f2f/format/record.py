"""The header of a tensor as a file stores it: a form that many tensors share, and its own numbers.

The *form* is the header (JSON-able, `CompressedTensor.header`) with a zero in the place of every
integer: its keys, texts, truth values and lengths of lists. The tensor's *numbers* are these
integers, keys in sorted order, each a varint (LEB128): seven bits a byte, the lowest first, the
highest bit set in all bytes but the last. A layer of a few thousand weights takes some 25 bytes so,
where its JSON takes 250, which is the same but for the numbers in every layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from f2f.base.errors import FormatError

CHECKSUM = 8  # bytes of the checksum of a tensor's data: BLAKE2b-64
_MOST = 10  # bytes of a varint: 2**64 fits


class Record(NamedTuple):
    """A tensor as a file describes it.

    Attributes
    ----------
    form, numbers
        Of its header.
    checksum : bytes
        Of its data.
    begin, end : int
        Place of its data, counted from where data begin.
    """

    form: Any
    numbers: list[int]
    checksum: bytes
    begin: int
    end: int


def split(header: Any) -> tuple[Any, list[int]]:
    """Form and numbers of a header."""
    numbers: list[int] = []

    def form(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: form(value[key]) for key in sorted(value)}
        if isinstance(value, list):
            return [form(item) for item in value]
        if not _is_number(value):
            return value
        numbers.append(value)
        return 0

    return form(header), numbers


def joined(form: Any, numbers: Iterator[int]) -> Any:
    """The header of a form and numbers."""
    if isinstance(form, dict):
        return {key: joined(form[key], numbers) for key in sorted(form)}
    if isinstance(form, list):
        return [joined(item, numbers) for item in form]
    return next(numbers) if _is_number(form) else form


def _is_number(value: Any) -> bool:
    return type(value) is int and value >= 0


def varint(number: int) -> bytes:
    """A non-negative integer as a varint."""
    groups = [number & 127]
    while number := number >> 7:
        groups.append(number & 127)
    return bytes([128 | group for group in groups[:-1]] + groups[-1:])


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The varint that begins at byte `at`, and where the next begins; `FormatError` if none."""
    number = 0
    for i, byte in enumerate(data[at : at + _MOST]):
        number |= (byte & 127) << 7 * i
        if byte < 128:
            return number, at + i + 1
    raise FormatError(f"no number at byte {at}")


def record_bytes(numbers: list[int], size: int, checksum: bytes) -> bytes:
    """What a file stores of one tensor alone beside its data: bytes of them, numbers, checksum."""
    return b"".join([varint(size), *map(varint, numbers), checksum])
