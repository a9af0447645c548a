"""Stored parts: frozen dataclasses that are checked whenever one is made, a copy included."""

from __future__ import annotations

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
