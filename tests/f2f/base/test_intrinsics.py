"""Vector operations against NumPy."""

import numpy as np
from numba import njit

from f2f.base.intrinsics import transpose_bits


def test_bits_are_transposed():
    words = np.random.default_rng(0).integers(0, 2**64, 70, dtype=np.uint64)
    found = words.copy()
    njit(lambda *arguments: transpose_bits(*arguments))(found, 3)
    bits = np.unpackbits(words[3:67].view(np.uint8), bitorder="little").reshape(64, 64)
    want = np.packbits(bits.T, bitorder="little").view(np.uint64)
    assert np.array_equal(found[3:67], want)
    assert np.array_equal(found[:3], words[:3]) and np.array_equal(found[67:], words[67:])
