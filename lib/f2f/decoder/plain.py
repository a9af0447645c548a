"""`gf2_affine` in plain numba code, for any processor.

A vector of eight planes is prepared as the eight bytes that multiply the bits of a row: byte i
holds bit i of all planes. The product of a row's byte with them is the XOR of those that its bits
select. Eight rows are handled at once, as the bytes of a word: their bits i are 0/1 bytes, and
times one byte they select it, for nothing carries.
"""

from __future__ import annotations

import numpy as np

from f2f.base.intrinsics import aligned_zeros, borrowed
from f2f.base.jit import njit

ROWS = 8  # rows of a word
STAGED = 8  # bytes of a prepared vector

_EACH = np.uint64(0x0101010101010101)


def pack(by_vector: np.ndarray) -> np.ndarray:
    """The matrix as `multiply` wants it, flat uint8: [group of 8 rows][vector][row].

    by_vector: uint8 (n_out, n_s+1), the bits of a row for each vector, oldest first.
    """
    n_out, vectors = by_vector.shape
    groups = -(-n_out // ROWS)
    rows = np.zeros((groups * ROWS, vectors), dtype=np.uint8)
    rows[:n_out] = by_vector
    out = aligned_zeros(groups * vectors * ROWS)
    out.reshape(groups, vectors, ROWS)[:] = rows.reshape(groups, ROWS, vectors).transpose(0, 2, 1)
    return out


@njit
def transpose(word):
    """The 8 x 8 bits of a uint64 transposed: bit i of byte q becomes bit q of byte i."""
    swap = (word ^ word >> np.uint64(7)) & np.uint64(0x00AA00AA00AA00AA)
    word ^= swap ^ swap << np.uint64(7)
    swap = (word ^ word >> np.uint64(14)) & np.uint64(0x0000CCCC0000CCCC)
    word ^= swap ^ swap << np.uint64(14)
    swap = (word ^ word >> np.uint64(28)) & np.uint64(0x00000000F0F0F0F0)
    return word ^ swap ^ swap << np.uint64(28)


@njit
def prepare(inputs, planes, count, by_nibble, prepared):
    """prepared[8*t + i] = bit i of the `planes` bytes of vector t, mapped; t < count."""
    for t in range(count):
        word = np.uint64(0)
        for q in range(planes):
            word |= np.uint64(inputs[planes * t + q]) << np.uint64(8 * q)
        word = transpose(word)
        for i in range(8):
            sliced = word >> np.uint64(8 * i) & np.uint64(255)
            low, high = sliced & np.uint64(15), sliced >> np.uint64(4)
            prepared[8 * t + i] = by_nibble[low] ^ by_nibble[np.uint64(16) + high]


@njit
def gf2_affine(columns, at, rows):
    """The bytes of a word times the eight bytes columns[at:]."""
    total = np.uint64(0)
    for i in range(8):
        total ^= (rows >> np.uint64(i) & _EACH) * np.uint64(columns[at + i])
    return total


@njit
def multiply(prepared, blocks, matrix, n_out, vectors, offset, out, out_at):
    """Decode blocks from prepared vectors into out[out_at:]."""
    words = borrowed(matrix.view(np.uint64))
    for t in range(blocks):
        for group in range((n_out + ROWS - 1) // ROWS):
            total = _EACH * np.uint64(offset)
            for j in range(vectors):
                total ^= gf2_affine(prepared, 8 * (t + j), words[group * vectors + j])
            to = out_at + t * n_out + ROWS * group
            for r in range(min(ROWS, n_out - ROWS * group)):
                out[to + r] = np.uint8(total >> np.uint64(8 * r))


@njit
def split_planes(source, count, words, stride):
    """Bit q of byte 64*w + i of source to bit i of word q*stride + w of words; w < count."""
    for group in range(8 * count):
        word = np.uint64(0)
        for i in range(8):
            word |= np.uint64(source[8 * group + i]) << np.uint64(8 * i)
        word = transpose(word)
        for q in range(8):
            words[8 * stride * q + group] = np.uint8(word >> np.uint64(8 * q))
