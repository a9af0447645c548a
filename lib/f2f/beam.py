"""The beam encoder (first version: one hypothesis)."""

from __future__ import annotations

import numpy as np
from numba import njit

from f2f import validate
from f2f.correction import trailing_zeros
from f2f.decoder import Decoder
from f2f.elimination import replay, rotate_left, substitute


def encode_beam(
    care: np.ndarray,
    target: np.ndarray,
    n: int,
    decoder: Decoder,
    n_planes: int = 8,
    beam: int = 16,
) -> np.ndarray:
    """Input vectors whose decoded bits agree with `target` at most care positions.

    care: int64 (k,), increasing positions below n. target: uint8 (k,), bit q is the wanted bit of
    plane q. n_planes: planes, 1…8. beam: hypotheses kept per plane. Returns uint8
    (decoder.n_vectors(n), n_planes). Planes do not influence each other; deterministic.

    Raises `ValueError` for positions out of order or range and for wrong sizes.
    """
    n = validate.integer("n", n, 0)
    n_planes = validate.integer("n_planes", n_planes, 1, 8)
    beam = validate.integer("beam", beam, 1)
    care = np.ascontiguousarray(care, dtype=np.int64)
    target = np.ascontiguousarray(target, dtype=np.uint8)
    if care.ndim != 1 or target.shape != care.shape:
        raise ValueError(
            f"target must have the shape (k,) of care, got {target.shape} and {care.shape}"
        )
    if len(care) and (care[0] < 0 or care[-1] >= n or (care[1:] <= care[:-1]).any()):
        raise ValueError(f"care must be increasing positions in 0..{n - 1}")
    inputs = np.zeros((decoder.n_vectors(n), n_planes), dtype=np.uint8)
    log = np.empty((len(care), 2), dtype=np.uint64)
    retired = np.zeros(len(inputs) * decoder.n_in, dtype=np.uint64)
    _reduce(care, decoder.rows, decoder.n_in, decoder.n_out, log, retired)
    replay(log, care, target, 0, 0, decoder.n_in, decoder.n_out, inputs)
    substitute(retired, decoder.n_in, inputs)
    return inputs


@njit(cache=True, nogil=True)
def _reduce(care, rows, n_in, n_out, log, retired):
    one = np.uint64(1)
    zero = np.uint64(0)
    field = (one << np.uint64(n_in)) - one
    system = np.zeros(64, dtype=np.uint64)
    columns = np.zeros(64, dtype=np.uint64)
    pivots = zero
    i = 0
    k = len(care)
    for t in range(len(retired) // n_in):
        start = t * n_out
        place = (t * n_in) & 63
        while i < k and care[i] < start + n_out:
            row = rotate_left(rows[care[i] - start], place)
            combo = row & pivots
            rest = combo
            while rest != 0:
                row ^= system[trailing_zeros(rest)]
                rest &= rest - one
            if row == 0:
                log[i, 0] = zero
                log[i, 1] = zero
            else:
                oldest = trailing_zeros(rotate_left(row, (64 - place) & 63))
                pivot = (np.int64(oldest) + place) & 63
                column = columns[pivot]
                rest = column
                while rest != 0:
                    system[trailing_zeros(rest)] ^= row
                    rest &= rest - one
                bit = one << np.uint64(pivot)
                system[pivot] = row
                change = column | bit
                columns[pivot] = zero
                rest = row & ~bit
                while rest != 0:
                    columns[trailing_zeros(rest)] ^= change
                    rest &= rest - one
                pivots |= bit
                log[i, 0] = combo
                log[i, 1] = change
            i += 1
        leaving = rotate_left(field, place)
        for b in range(n_in):
            at = (place + b) & 63
            if (pivots >> np.uint64(at)) & one:
                retired[t * n_in + b] = system[at]
        pivots &= ~leaving
        for at in range(64):
            columns[at] &= ~leaving
