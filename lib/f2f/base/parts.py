"""Stored parts: frozen dataclasses that are checked whenever one is made, a copy included.

What a file says of them, a header and bytes, is trusted in nothing: `Claims` and `Data` read it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from f2f.base.errors import FormatError


class Part:
    """A base of frozen dataclasses: copies and what a pickle gives are made by the constructor.

    So they are checked as well, and what is computed of the fields and kept is not copied.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, field.name) for field in fields(self))  # type: ignore[arg-type]


def check_bytes(name: str, array: Any, shape: tuple[int, ...]) -> None:
    """`FormatError` unless an array is uint8 in that shape."""
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8 or array.shape != shape:
        came = getattr(array, "dtype", type(array).__name__), getattr(array, "shape", "")
        raise FormatError(f"{name} must be uint8 {shape}, got {came[0]} {came[1]}")


def are_integers(values: list[Any], low: int, high: int) -> bool:
    """Whether all values are integers in low…high."""
    return all(type(v) is int and low <= v <= high for v in values)


class Claims:
    """A header, each of whose claims is checked when it is read: a wrong one is a `FormatError`.

    Parameters
    ----------
    header : mapping of str to JSON-able values
    what : str
        How messages begin.
    """

    def __init__(self, header: Any, what: str = "") -> None:
        if not isinstance(header, Mapping):
            raise FormatError(f"{what}header must be a JSON object, got {type(header).__name__}")
        self.header, self.what = header, what

    def integer(self, name: str, low: int, high: int) -> int:
        """A claim that is an integer in low…high."""
        value: Any = self.header.get(name)
        if not are_integers([value], low, high):
            raise FormatError(
                f"{self.what}{name} must be an integer in {low}..{high}, got {value!r}"
            )
        return int(value)

    def integers(self, name: str, low: int, high: int) -> list[int]:
        """A claim that is a list of integers in low…high."""
        value = self.header.get(name)
        if not isinstance(value, list) or not are_integers(value, low, high):
            raise FormatError(f"{self.what}{name} must be a list of integers in {low}..{high}")
        return value

    def choice(self, name: str, options: tuple[str, ...]) -> str:
        """A claim that is one of several texts."""
        value = self.header.get(name)
        if value not in options:
            raise FormatError(
                f"{self.what}{name} must be one of {', '.join(options)}, got {value!r}"
            )
        return str(value)


class Data:
    """The one stored array of a part, from which what it holds is taken in turn.

    Parameters
    ----------
    arrays : mapping of str to numpy.ndarray
        "data", uint8 (bytes,), or nothing where there are no bytes.
    what : str
        How messages begin.
    """

    def __init__(self, arrays: Any, what: str = "") -> None:
        found = arrays.get("data", np.zeros(0, np.uint8)) if isinstance(arrays, Mapping) else None
        if not isinstance(found, np.ndarray) or set(arrays) - {"data"}:
            raise FormatError(f"{what}arrays must have one part, data, got {arrays!r:.80}")
        if found.dtype != np.uint8 or found.ndim != 1:
            raise FormatError(f"{what}data must be uint8 (bytes,), got {found.dtype} {found.shape}")
        self.data, self.what, self.at = found, what, 0

    @property
    def left(self) -> int:
        """Bytes not taken yet."""
        return len(self.data) - self.at

    def take(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """The next bytes, uint8 in that shape; `FormatError` if there are too few."""
        size = math.prod(shape)
        if size > self.left:
            raise FormatError(f"{self.what}{name} must be {size} bytes, only {self.left} are left")
        self.at += size
        # A copy, aligned for the kernels that view it as words.
        part = self.data[self.at - size : self.at].copy()
        try:
            return part.reshape(shape)
        except ValueError:
            raise FormatError(f"{self.what}{name} cannot have the shape {shape}") from None

    def end(self) -> None:
        """`FormatError` unless everything has been taken."""
        if self.left:
            raise FormatError(f"{self.what}data must be {self.at} bytes, got {len(self.data)}")
