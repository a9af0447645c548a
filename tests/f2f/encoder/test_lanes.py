"""Vector operations against the same in NumPy, at aligned and unaligned places."""

from functools import cache

import numpy as np
import pytest
from numba import njit

from f2f.encoder import lanes
from f2f.encoder.lanes import LANES, GroupSums


@cache
def compiled(name):
    """A function of `lanes`, which only compiled code can call, for calls from here."""
    function = getattr(lanes, name)
    return njit(lambda *arguments: function(*arguments))


def random_bytes(seed, n):
    return np.random.default_rng(seed).integers(0, 256, n, dtype=np.uint8)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("at", [0, 32, 7])
def test_butterflies_spread_errors(dims, at):
    stride = 2 * LANES
    table = random_bytes(dims, at + stride * (1 << dims))
    table[at] = 255  # 255 + 1 stays 255

    v = np.arange(1 << dims)
    distance = np.bitwise_count(v[:, None] ^ v)[:, :, None]
    vectors = table[at:][: stride * len(v)].reshape(len(v), stride)[:, :LANES].astype(int)
    expected = np.minimum((vectors[None] + distance).min(axis=1), 255)
    untouched = table.copy()
    compiled(f"butterflies_{dims}")(table, at, stride)
    after = table[at:][: stride * len(v)].reshape(len(v), stride)
    np.testing.assert_array_equal(after[:, :LANES], expected)
    np.testing.assert_array_equal(
        after[:, LANES:], untouched[at:][: stride * len(v)].reshape(len(v), stride)[:, LANES:]
    )
    np.testing.assert_array_equal(table[:at], untouched[:at])


@pytest.mark.parametrize("bit", range(5))
def test_exchange_swaps_lanes_with_a_bit(bit):
    table = random_bytes(bit, 100)
    before = table.copy()
    compiled(f"exchange_{bit}")(table, 3, 60)
    swapped = np.arange(LANES) >> bit & 1 == 1
    np.testing.assert_array_equal(table[3:35], np.where(swapped, before[60:92], before[3:35]))
    np.testing.assert_array_equal(table[60:92], np.where(swapped, before[3:35], before[60:92]))


def test_rows_become_columns():
    source, out = random_bytes(0, 2000), np.zeros(16 * 20 + 9, dtype=np.uint8)
    offsets = np.random.default_rng(1).integers(0, 1900, 20)
    compiled("transpose_16")(source, offsets, 3, 5, out, 9, 20)
    rows = np.array([source[offsets[3 + i] + 5 :][:16] for i in range(16)])
    np.testing.assert_array_equal(out[9:].reshape(16, 20)[:, :16], rows.T)


def test_minimum_and_copy():
    first, second, out = random_bytes(1, 64), random_bytes(2, 64), np.zeros(64, dtype=np.uint8)
    compiled("minimum")(first, 1, second, 2, out, 3)
    np.testing.assert_array_equal(out[3:35], np.minimum(first[1:33], second[2:34]))
    assert not out[:3].any() and not out[35:].any()
    compiled("copy")(first, 5, out, 30)
    np.testing.assert_array_equal(out[30:62], first[5:37])


@pytest.mark.parametrize("vectors", [1, 8])
@pytest.mark.parametrize("groups", [0, 1, 3])
def test_least_sums(vectors, groups):
    width = vectors * LANES
    rng = np.random.default_rng(groups)
    tables = rng.integers(0, 20, 64 * width + 11, dtype=np.uint8)
    offsets = rng.integers(0, 64, (10, groups)) * width
    shifts = rng.integers(0, 64, groups) * width
    start = rng.integers(0, 50, 100, dtype=np.uint8)
    out = np.zeros(width + 4, dtype=np.uint8)
    sums = GroupSums(tables, offsets, shifts)
    compiled(f"least_sums_{vectors}")(sums, 11, start, 4, 9, out, 4)
    expected = np.full(width, 255)
    for a in range(10):
        total = np.full(width, int(start[4 + 9 * a]))
        for g in range(groups):
            total += tables[(offsets[a, g] ^ shifts[g]) + 11 :][:width]
        expected = np.minimum(expected, total)
    np.testing.assert_array_equal(out[4:], expected)


@pytest.mark.parametrize("limit", [-3, 0, 1, 1000])
def test_flags_of_lesser_values(limit):
    values = np.random.default_rng(0).integers(-5, 5, 70).astype(np.int16)
    expected = sum(1 << i for i in range(64) if values[3 + i] < limit)
    assert int(compiled("flags_64")(values, 3, limit)) == expected


@pytest.mark.parametrize("chosen", [0, 1, 2**63, 0xF0F0F0F0F0F0F0F0])
def test_xor_of_chosen_words(chosen):
    words = np.random.default_rng(0).integers(0, 2**64, 64, dtype=np.uint64)
    expected = np.uint64(0)
    for p in range(64):
        if chosen >> p & 1:
            expected ^= words[p]
    assert compiled("xor_of_64")(words, np.uint64(chosen)) == expected


@pytest.mark.parametrize("pivot", [0, 17, 63])
def test_a_word_is_added_where_a_bit_is_set(pivot):
    words = np.random.default_rng(pivot).integers(0, 2**64, 64, dtype=np.uint64)
    bit = np.uint64(1 << pivot)
    word = words[5] | bit
    held = words & bit != 0
    expected = np.where(held, words ^ word, words)
    found = compiled("replace_64")(words, bit, word)
    np.testing.assert_array_equal(words, expected)
    assert int(found) == sum(1 << p for p in range(64) if held[p])


@pytest.mark.parametrize("chosen", [0, 1, 2**63, 0xF0F0F0F0F0F0F0F0])
def test_chosen_words_become_units(chosen):
    words = np.random.default_rng(0).integers(0, 2**64, 64, dtype=np.uint64)
    expected = [1 << p if chosen >> p & 1 else word for p, word in enumerate(words.tolist())]
    compiled("make_units_64")(words, np.uint64(chosen))
    assert words.tolist() == expected


@pytest.mark.parametrize("chosen", [0, 1, 2**63, 0xF0F0F0F0F0F0F0F0])
def test_xor_at_chosen_words(chosen):
    words = np.random.default_rng(0).integers(0, 2**64, 64, dtype=np.uint64)
    word = np.uint64(0x123456789)
    picked = np.array([chosen >> p & 1 == 1 for p in range(64)])
    expected = np.where(picked, words ^ word, words)
    expected[[5, 63]] = 0
    compiled("xor_at_64")(words, np.uint64(chosen), word, np.uint64(2**63 + 2**5))
    np.testing.assert_array_equal(words, expected)


def test_a_word_eight_times():
    words = np.zeros((2, 12), dtype=np.uint64)
    compiled("spread_8")(words, 13, np.uint64(2**63))
    assert (words[1, 1:9] == 2**63).all() and np.count_nonzero(words) == 8


@pytest.mark.parametrize("free", range(6))
@pytest.mark.parametrize("words", [1, 3])
def test_costs_of_children(free, words):
    rng = np.random.default_rng(free)
    alive, fan = 5, 1 << free
    output = rng.integers(0, 2**64, (words, alive), dtype=np.uint64)
    choice = rng.integers(0, 2**64, (words, fan), dtype=np.uint64)
    start = rng.integers(7, 40_000, alive)
    outputs = np.zeros((words + 1, 8 * alive + 8), dtype=np.uint64)
    copies = min(fan, 8)
    outputs[:, : alive * copies] = np.repeat(
        np.vstack([output, start.astype(np.uint64)]), copies, 1
    )
    choices = np.zeros((words, 64), dtype=np.uint64)
    choices[:, : max(fan, 8)] = np.tile(choice, 8 // copies)
    costs = np.zeros(alive * fan + 8, dtype=np.int16)
    count = 8 * (alive * fan // 8)  # whole eights, so that the least is of these
    least = compiled("child_costs")(outputs, choices, free, count, costs)
    distances = np.bitwise_count(output[:, :, None] ^ choice[:, None]).sum(0, dtype=int)
    expected = np.minimum(start[:, None] + distances, lanes.DEAREST - 1).reshape(-1)[:count]
    np.testing.assert_array_equal(costs[:count], expected)
    assert count == 0 or least == expected.min()


def test_parities_of_eight_masks():
    rng = np.random.default_rng(0)
    masks = rng.integers(0, 2**64, (3, 8), dtype=np.uint64)
    word = rng.integers(0, 2**64, dtype=np.uint64)
    odd = np.bitwise_count(masks[1] & word) & 1
    assert compiled("parities_8")(masks, 8, word) == np.packbits(odd, bitorder="little")[0]
