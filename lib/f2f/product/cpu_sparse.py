"""The sparse way through a chunk: the care positions listed, each weight looked up and multiplied.

For every dtype, order and number of columns; `f2f.product.cpu` says when it is taken.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from f2f.base.intrinsics import borrowed
from f2f.base.jit import njit
from f2f.base.tensors import numpy_dtype
from f2f.format.places import Places, find_places
from f2f.format.stages import CHUNK, Care, care_words
from f2f.format.tensor import FLOAT8

# Multiply and add may contract to one instruction: one rounding less, and integers stay exact.
CONTRACT = {"contract"}

INT8, UINT8, INT16, FLOAT16, BFLOAT16, FLOAT32, TABLE = range(7)
CODES = {
    "int8": INT8,
    "uint8": UINT8,
    "int16": INT16,
    "float16": FLOAT16,
    "bfloat16": BFLOAT16,
    "float32": FLOAT32,
} | dict.fromkeys(FLOAT8, TABLE)


class Share(NamedTuple):
    """The encoding positions of a thread.

    Attributes
    ----------
    first, end : int
        Positions first … end-1.
    rank : int
        Unpruned weights before the first.
    cursors : ndarray of CURSOR, shape (n_w,)
        At the first; they move on.
    """

    first: int
    end: int
    rank: int
    cursors: np.ndarray


class Terms(NamedTuple):
    """Buffers for the terms that the care positions of a chunk add to the product.

    Attributes
    ----------
    code : int
        The dtype of the weights, of CODES.
    floats : ndarray of float32, shape (CHUNK,)
        The memory of `Care.words`.
    weights : ndarray, shape (CHUNK,)
        The weights as numbers, in the dtype of the sums.
    places : Places
        Where they lie.
    table : ndarray of float32, shape (256,) or (0,)
        Of code TABLE: the number that each byte stands for.
    """

    code: int
    floats: np.ndarray
    weights: np.ndarray
    places: Places
    table: np.ndarray


def make_terms(dtype: str, care: Care, sums: np.dtype) -> Terms:
    """Buffers for weights of a dtype of CODES, beside those of `care`."""
    places = Places(np.empty(CHUNK, dtype=np.int64), np.empty(CHUNK, dtype=np.int64))
    code = CODES[dtype]
    every = np.arange(256 if code == TABLE else 0, dtype=np.uint8)
    table = every.view(numpy_dtype(dtype) if code == TABLE else np.uint8).astype(np.float32)
    floats = care.words.view(np.float32)
    return Terms(code, floats, np.empty(CHUNK, dtype=sums), places, table)


@njit
def add_sparse(encoded, walk, share, chunk, care, terms, x, y):
    """Add the product of a share of the positions to y, the sparse way.

    Parameters
    ----------
    encoded, walk, share, chunk, care, terms
        NamedTuples of those names; the share's cursors move on, the last three are buffers.
    x : ndarray, shape (cols, m), permuted
    y : ndarray of the dtype of x, shape (rows, m), permuted
    """
    encoded, walk, share = borrowed(encoded), borrowed(walk), borrowed(share)
    chunk, care, terms = borrowed(chunk), borrowed(care), borrowed(terms)
    x, y = borrowed(x), borrowed(y)
    weights, rows, columns = terms.weights, terms.places.rows, terms.places.columns
    rank = share.rank
    for lo in range(share.first, share.end, CHUNK):
        count = min(CHUNK, share.end - lo)
        found = care_words(encoded, rank, share.cursors, lo, count, chunk, care)
        rank += found
        _to_numbers(terms, care.words, found)
        find_places(walk, lo, care.positions, found, terms.places)
        if x.shape[1] == 1:
            for c in range(found):
                y[rows[c], 0] += weights[c] * x[columns[c], 0]
        else:
            for c in range(found):
                _add_row(y[rows[c]], weights[c], x[columns[c]])


@njit(fastmath=CONTRACT)
def _add_row(y, weight, x):
    for m in range(len(y)):
        y[m] += weight * x[m]


@njit
def _to_numbers(terms, bits, care):
    """The numbers that the bits of `care` weights stand for; floats are made in their place."""
    code, floats, weights = terms.code, terms.floats, terms.weights
    if code == INT8:
        for c in range(care):
            weights[c] = np.int8(bits[c])
    elif code == UINT8:
        for c in range(care):
            weights[c] = np.uint8(bits[c])
    elif code == INT16:
        for c in range(care):
            weights[c] = np.int16(bits[c])
    elif code == TABLE:
        for c in range(care):
            weights[c] = terms.table[bits[c]]
    else:
        if code == FLOAT16:
            for c in range(care):
                bits[c] = _single(bits[c])
        elif code == BFLOAT16:
            for c in range(care):
                bits[c] <<= np.uint32(16)
        for c in range(care):
            weights[c] = floats[c]


@njit(inline="always")
def _single(half):
    """The float32 bits of float16 bits, exact; NaN stays NaN."""
    sign = (half & np.uint32(0x8000)) << np.uint32(16)
    exponent = (half >> np.uint32(10)) & np.uint32(31)
    fraction = (half & np.uint32(0x3FF)) << np.uint32(13)
    if exponent == 31:
        return sign | np.uint32(0x7F800000) | fraction
    if exponent:
        return sign | ((exponent + np.uint32(112)) << np.uint32(23)) | fraction
    if fraction == 0:
        return sign
    exponent = np.uint32(113)
    while not fraction & np.uint32(0x800000):
        fraction <<= np.uint32(1)
        exponent -= np.uint32(1)
    return sign | (exponent << np.uint32(23)) | (fraction & np.uint32(0x7FFFFF))
