"""Which linear combinations of a weight's bits to store: an affine change of basis over GF(2).

The encoder treats every care bit as a fair coin, yet the bits of real weights are not: FP32
exponents hardly vary, and in two's complement all high bits of a small number copy its sign. A
stored plane need not be a plane of the weight; any invertible linear map will do. Plane j stores
``parity(functional_j & word) ^ constant_j``, and the word comes back as
``offset ^ XOR of basis[j] over the stored bits j that are 1`` — inversion, sign folding, Gray
code and the identity are all of this form, and undoing it is one table lookup a byte.

A plane whose bits are 1 with probability q costs the lesser of two numbers of bits a care bit:
`encoded_cost`, encoded, or, constant with its exceptions listed, ``min over l of q'*(l+1) + 2**-l``
(the Elias-Fano code), q' = min(q, 1-q) and 0 if q' is 0. The probabilities
of all 2^w functionals come from one Walsh-Hadamard transform of the histogram of words, and the
cheapest set of w linearly independent functionals is found greedily, which is optimal because
independent sets form a matroid. Words of 32 bits are treated as two halves of 16.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# What an encoded care bit costs, payload and corrections, relative to its one bit of information.
ENCODED_COST = 1.02
AT_ONCE = 1 << 18  # words at a time: NumPy makes an index of 8 bytes of each


@dataclass(frozen=True)
class Basis:
    """An invertible affine map between words and stored bits.

    Attributes
    ----------
    functionals : tuple of int
        (w,); stored bit j of word x is ``parity(functionals[j] & x)`` ^ bit j of `flips`.
    flips : int
    vectors : tuple of int
        (w,), the words that the stored bits stand for.
    offset : int
        The word that all stored bits zero stand for.
    payload : tuple of bool
        (w,), False where a constant with exceptions is cheaper than encoding.
    """

    functionals: tuple[int, ...]
    flips: int
    vectors: tuple[int, ...]
    offset: int
    payload: tuple[bool, ...]


def exception_cost(q: np.ndarray) -> np.ndarray:
    """Bits per care bit of a constant plane with a share q of exceptions (0 where q = 0)."""
    low = np.arange(32)[:, None]
    cost = (np.ravel(q) * (low + 1) + np.ldexp(1.0, -low)).min(0)
    return np.where(q > 0, cost.reshape(np.shape(q)), 0.0)


def choose_basis(words: np.ndarray, encoded_cost: float = ENCODED_COST) -> Basis:
    """The cheapest basis for the bits of the unpruned weights.

    Parameters
    ----------
    words : numpy.ndarray
        uint8, uint16 or uint32 (k,).
    encoded_cost : float
        Stored bits of an encoded care bit, payload and corrections.
    """
    w = words.dtype.itemsize * 8
    halves = words.view("<u2").reshape(-1, 2) if w > 16 else words[:, None]
    functionals: list[int] = []
    flips = 0
    payload: list[bool] = []
    for h, half in enumerate(halves.T):
        chosen = _choose_functionals(half, min(w, 16), encoded_cost)
        for mask, one, c in zip(*chosen, strict=True):
            # The zero word decodes from zero inputs: store the commoner value as 0.
            flips |= int(one > 0.5) << len(functionals)
            functionals.append(int(mask) << 16 * h)
            payload.append(bool(c >= encoded_cost))
    vectors = invert(functionals)
    offset = 0
    for j in range(w):
        if flips >> j & 1:
            offset ^= vectors[j]
    return Basis(tuple(functionals), flips, tuple(vectors), offset, tuple(payload))


def _choose_functionals(
    words: np.ndarray, w: int, encoded_cost: float
) -> tuple[list[int], np.ndarray, np.ndarray]:
    histogram = np.zeros(1 << w)
    for at in range(0, len(words), AT_ONCE):
        histogram += np.bincount(words[at : at + AT_ONCE], minlength=1 << w)
    ones = 0.5 * (1 - _walsh_hadamard(histogram) / max(len(words), 1))
    cost = np.minimum(encoded_cost, exception_cost(np.minimum(ones, 1 - ones)))
    # Only what is cheaper than encoding is worth combining; the planes themselves make up the rest.
    masks = np.union1d(np.flatnonzero(cost[1:] < encoded_cost) + 1, 1 << np.arange(w))
    # Cheapest first; among equals the simplest.
    simplest = np.lexsort((masks, np.bitwise_count(masks), np.round(cost[masks], 9)))
    chosen: list[int] = []
    echelon: list[int] = []
    for mask in masks[simplest].tolist():
        reduced = mask
        for row in echelon:
            reduced = min(reduced, reduced ^ row)
        if reduced:
            echelon.append(reduced)
            echelon.sort(reverse=True)
            chosen.append(mask)
            if len(chosen) == w:
                break
    chosen.sort(key=lambda mask: mask.bit_length())
    return chosen, ones[chosen], cost[chosen]


def _walsh_hadamard(values: np.ndarray) -> np.ndarray:
    """sum_x values[x] * (-1)**parity(m & x) for every m."""
    out, half = values.copy(), 1
    while half < len(out):
        pairs = out.reshape(-1, 2, half)
        out = np.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], axis=1).reshape(-1)
        half *= 2
    return out


def invert(functionals: list[int]) -> list[int]:
    """The words v_j with parity(functionals[i] & v_j) = 1 exactly where i = j (Gauss-Jordan)."""
    w = len(functionals)
    left, right = list(functionals), [1 << j for j in range(w)]
    for bit in range(w):
        pivot = next(i for i in range(bit, w) if left[i] >> bit & 1)
        left[bit], left[pivot] = left[pivot], left[bit]
        right[bit], right[pivot] = right[pivot], right[bit]
        for i in range(w):
            if i != bit and left[i] >> bit & 1:
                left[i] ^= left[bit]
                right[i] ^= right[bit]
    # right[i] bit j: word bit i contains stored bit j; its transpose lists words by stored bit.
    return [sum((right[i] >> j & 1) << i for i in range(w)) for j in range(w)]


def span(vectors: np.ndarray) -> np.ndarray:
    """Unsigned (2**len(vectors),): entry y is the XOR of the vectors at the set bits of y."""
    table = np.zeros(1, dtype=vectors.dtype)
    for vector in vectors:
        table = np.concatenate([table, table ^ vector])
    return table


def linear_map(vectors: tuple[int, ...], words: np.ndarray) -> np.ndarray:
    """XOR of vectors[j] over the set bits j of each word, same dtype, by byte-wide tables."""
    dtype = words.dtype
    columns = np.array(vectors, dtype=dtype)
    out = np.zeros_like(words)
    tables = [span(columns[at : at + 8]) for at in range(0, len(columns), 8)]
    for at in range(0, len(words), AT_ONCE):
        part = words[at : at + AT_ONCE]
        for byte, table in enumerate(tables):
            out[at : at + AT_ONCE] ^= table[(part >> dtype.type(8 * byte)).astype(np.uint8)]
    return out


def stored_words(basis: Basis, words: np.ndarray) -> np.ndarray:
    """The stored bits of each word: bit j = parity(functionals[j] & word) ^ flip j."""
    w = len(basis.functionals)
    columns = tuple(
        sum((basis.functionals[j] >> bit & 1) << j for j in range(w)) for bit in range(w)
    )
    stored = linear_map(columns, words)
    stored ^= words.dtype.type(basis.flips)
    return stored
