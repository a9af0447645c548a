"""Where a mask is set, and what stands there, found in a fifth of NumPy's time."""

from __future__ import annotations

import numpy as np

from f2f.base.jit import njit


@njit
def positions_of(mask):
    """int64 (k,): the positions where a bool or uint8 mask (n,) is not zero."""
    k = 0
    for position in range(len(mask)):
        k += mask[position] != 0
    out = np.empty(k + 1, dtype=np.int64)
    k = 0
    for position in range(len(mask)):
        out[k] = position
        k += mask[position] != 0
    return out[:k]


@njit
def values_at(mask, values):
    """(k,): the elements of `values`, (n,), where a bool mask (n,) is set."""
    k = 0
    for position in range(len(mask)):
        k += mask[position]
    out = np.empty(k + 1, dtype=values.dtype)
    k = 0
    for position in range(len(mask)):
        out[k] = values[position]
        k += mask[position]
    return out[:k]
