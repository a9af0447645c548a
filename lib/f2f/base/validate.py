"""Checks of public arguments; every message names the argument, the requirement and what came."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np


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
    if value not in options:
        raise ValueError(f"{name} must be one of {', '.join(options)}, got {value!r}")
    return str(value)


def bits(name: str, array: Any, length: int | None = None) -> np.ndarray:
    """Return an array (n,) of 0/1, bool or integer, as contiguous uint8, or raise `ValueError`."""
    values = np.asarray(array)
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
