"""Checks of public arguments; every message names the argument, the requirement and what came."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np


def instance(name: str, value: Any, kind: Any, wanted: str = "") -> Any:
    """Return `value` if it is of a class, or one of several, or raise `ValueError`."""
    if not isinstance(value, kind):
        wanted = wanted or f"a {kind.__name__}"
        raise ValueError(f"{name} must be {wanted}, got {type(value).__name__}")
    return value


def mapping(name: str, values: Any, kind: Any, wanted: str = "") -> dict[str, Any]:
    """Return what a mapping of str to instances of a class holds, read once, or raise.

    A mapping may make its values anew on every access.
    """
    wanted = wanted or f"a {kind.__name__}"
    items = dict(instance(name, values, Mapping, f"a mapping of str to {wanted}"))
    for key, value in items.items():
        instance(f"names in {name}", key, str, "text")
        instance(f"{name}[{key!r}]", value, kind, wanted)
    return items


def path(name: str, value: Any) -> Path:
    """Return `value` as a path, or raise `ValueError`."""
    try:
        found = Path(value)
    except TypeError:
        raise ValueError(f"{name} must be a path, got {type(value).__name__}") from None
    if "\0" in str(found):
        raise ValueError(f"{name} must be a path without a zero byte, got {value!r}")
    return found


def unmasked(name: str, array: Any) -> Any:
    """Return `array` unless it, or one in a list of them, is masked, or raise `ValueError`.

    Its mask would be lost.
    """
    of_several = array if isinstance(array, list | tuple) else ()
    if any(isinstance(one, np.ma.MaskedArray) for one in (array, *of_several)):
        raise ValueError(
            f"{name} must not be a masked array: give its filled(0), or its data and, as the mask "
            "of what is unpruned, ~mask"
        )
    return array


def arrays(name: str, values: Any) -> dict[str, np.ndarray]:
    """As `mapping`, of NumPy arrays that are no masked ones."""
    items = mapping(name, values, np.ndarray, "a NumPy array")
    return {key: unmasked(f"{name}[{key!r}]", array) for key, array in items.items()}


def integer(name: str, value: Any, low: int, high: int | None = None) -> int:
    """Return `value` as an int in low…high (high None: no upper limit), or raise `ValueError`."""
    wanted = f"an integer >= {low}" if high is None else f"an integer in {low}..{high}"
    try:
        number = operator.index(value)
    except TypeError:
        raise ValueError(f"{name} must be {wanted}, got {value!r}") from None
    if isinstance(value, bool) or number < low or (high is not None and number > high):
        raise ValueError(f"{name} must be {wanted}, got {value!r}")
    return number


def number(name: str, value: Any, low: float, high: float) -> float:
    """Return `value` as a float in low…high, or raise `ValueError`."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not (is_number and low <= float(value) <= high):
        raise ValueError(f"{name} must be a number in {low}..{high}, got {value!r}")
    return float(value)


def choice(name: str, value: Any, options: Sequence[str]) -> str:
    """Return `value` if it is one of `options`, or raise `ValueError`."""
    if not isinstance(value, str) or value not in options:
        raise ValueError(f"{name} must be one of {', '.join(options)}, got {value!r}")
    return str(value)


def bits(name: str, array: Any, length: int | None = None) -> np.ndarray:
    """Return an array (n,) of 0/1, bool or integer, as contiguous uint8, or raise `ValueError`."""
    values = np.asarray(unmasked(name, array))
    if values.ndim != 1:
        raise ValueError(f"{name} must be one-dimensional, got shape {values.shape}")
    if values.size == 0:
        values = values.astype(np.uint8)
    if values.dtype != bool and not np.issubdtype(values.dtype, np.integer):
        raise ValueError(f"{name} must be bool or integers 0 and 1, got dtype {values.dtype}")
    if values.size and (values.min() < 0 or values.max() > 1):
        raise ValueError(f"{name} must hold only 0 and 1, got values up to {values.max()}")
    if length is not None and len(values) != length:
        raise ValueError(f"{name} must have {length} elements, got {len(values)}")
    if values.dtype == bool:
        return np.ascontiguousarray(values).view(np.uint8)
    return np.ascontiguousarray(values, dtype=np.uint8)


def positions(name: str, array: Any, n: int) -> np.ndarray:
    """Return increasing integers in 0…n-1 as contiguous int64, or raise `ValueError`."""
    values = np.asarray(unmasked(name, array))
    if values.ndim != 1 or (values.size and not np.issubdtype(values.dtype, np.integer)):
        raise ValueError(f"{name} must be integers (m,), got {values.dtype} {values.shape}")
    values = np.ascontiguousarray(values, dtype=np.int64)
    if values.size and ((values[1:] <= values[:-1]).any() or not 0 <= values[0] <= values[-1] < n):
        raise ValueError(f"{name} must be increasing positions in 0..{n - 1}")
    return values
