"""Words over GF(2): rotation and maps against plain bit matrices."""

import numpy as np
import pytest
from numba import njit

from f2f.base.intrinsics import GFNI
from f2f.encoder import words
from f2f.encoder.words import SPARE, TABLE_WORDS, rotate_left


def as_bits(words):
    """(n,) uint64 as 0/1 (n, 64), bit j of word i in row i and column j."""
    return (
        np.asarray(words, dtype=np.uint64)[:, None] >> np.arange(64, dtype=np.uint64)
    ) & np.uint64(1)


turned = njit(lambda word, count: rotate_left(word, count))


def random_words(seed, n):
    return np.random.default_rng(seed).integers(0, 2**64, n, dtype=np.uint64)


@pytest.mark.parametrize("count", [0, 1, 8, 21])
@pytest.mark.parametrize(
    ("prepare", "apply"),
    [
        (words.prepare_by_tables, words.apply_by_tables),
        pytest.param(
            words.prepare_by_gfni,
            words.apply_by_gfni,
            marks=pytest.mark.skipif(not GFNI, reason="needs GFNI"),
        ),
    ],
)
def test_a_map_is_the_matrix_product(prepare, apply, count):
    rows, arguments = random_words(1, 64), random_words(2, 21 + SPARE)
    table, images = np.zeros(TABLE_WORDS, dtype=np.uint64), np.zeros_like(arguments)
    prepare(rows.copy(), table)
    apply(table, arguments, count, images)
    wanted = as_bits(arguments[:count]) @ as_bits(rows).T % 2
    np.testing.assert_array_equal(as_bits(images[:count]), wanted)
    apply(table, arguments, count, arguments)
    np.testing.assert_array_equal(arguments[:count], images[:count])


@pytest.mark.parametrize("count", [0, 1, 31, 63])
def test_rotation_moves_every_bit(count):
    word = random_words(3, 1)[0]
    np.testing.assert_array_equal(
        as_bits([turned(word, count)])[0],
        np.roll(as_bits([word])[0], count),
    )
