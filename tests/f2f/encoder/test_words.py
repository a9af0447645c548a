"""Words over GF(2): rotation, transposition and tabulated maps against plain bit matrices."""

import numpy as np
import pytest
from numba import njit

from f2f.encoder.words import TABLE_WORDS, image, rotate_left, tabulate, transpose


def as_bits(words):
    """(n,) uint64 as 0/1 (n, 64), bit j of word i in row i and column j."""
    return (
        np.asarray(words, dtype=np.uint64)[:, None] >> np.arange(64, dtype=np.uint64)
    ) & np.uint64(1)


turned = njit(lambda word, count: rotate_left(word, count))


def random_words(seed, n):
    return np.random.default_rng(seed).integers(0, 2**64, n, dtype=np.uint64)


@pytest.mark.parametrize("seed", range(3))
def test_transpose_is_that_of_the_bit_matrix(seed):
    words = random_words(seed, 64)
    square = words.copy()
    transpose(square)
    np.testing.assert_array_equal(as_bits(square), as_bits(words).T)


def test_tabulated_map_is_the_matrix_product():
    columns, arguments = random_words(1, 64), random_words(2, 50)
    table = np.zeros(TABLE_WORDS, dtype=np.uint64)
    tabulate(columns, table)
    images = [image(table, word) for word in arguments]
    np.testing.assert_array_equal(as_bits(images), as_bits(arguments) @ as_bits(columns) % 2)


@pytest.mark.parametrize("count", [0, 1, 31, 63])
def test_rotation_moves_every_bit(count):
    word = random_words(3, 1)[0]
    np.testing.assert_array_equal(
        as_bits([turned(word, count)])[0],
        np.roll(as_bits([word])[0], count),
    )
