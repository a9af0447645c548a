"""The decoder: its matrix for all time, table-driven equals plain, blocks by themselves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from f2f.decoder import Decoder
from f2f.decoder.matrix import seed_words


def test_a_seed_names_a_matrix_for_all_time():
    # SplitMix64 from state 0 is a published test vector; changing any of these breaks every file.
    assert [hex(w) for w in seed_words(0, 3)] == [
        "0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4", "0x6c45d188009454f",
    ]  # fmt: skip
    assert hex(seed_words(2**64 - 1, 1)[0]) == "0xa577782bc52a9f5a"
    decoder = Decoder(n_in=8, n_out=3, n_s=1, seed=0)
    assert ["".join(map(str, row)) for row in decoder.matrix] == [
        "1111010110110011", "0010111110100110", "1111001010100010",
    ]  # fmt: skip


def test_a_seed_names_a_folded_matrix_for_all_time():
    decoder = Decoder(n_out=40, n_s=7, seed=0, matrix="folded")
    assert [hex(decoder.rows[r]) for r in (0, 1, 16, 39)] == [
        "0xafd0c0cdddc0dcfd", "0xf450606559605649", "0x5502012122011225", "0x2970101775107195",
    ]  # fmt: skip
    assert decoder.folded and repr(decoder).endswith('seed=0, matrix="folded")')


def test_folded_matrices_are_for_whole_windows():
    for sizes in ({"n_s": 6}, {"n_in": 4, "n_s": 7}):
        with pytest.raises(ValueError, match='matrix must be "random" for n_in'):
            Decoder(**sizes, matrix="folded")
    with pytest.raises(ValueError, match="matrix must be one of random, folded, got 'fold'"):
        Decoder(matrix="fold")


def test_half_a_group_of_folded_rows_lies_in_20_dimensions():
    many = Decoder(n_out=32 * 20, n_s=7, seed=5, matrix="folded").rows.reshape(20, 2, 16)
    assert rank(many[:, 0].reshape(-1)) == rank(many[:, 1].reshape(-1)) == 20
    assert rank(many.reshape(-1)) == 40


def rank(words) -> int:
    """Rank over GF(2) of words as rows of bits."""
    basis: list[int] = []
    for word in map(int, words):
        for b in basis:
            word = min(word, word ^ b)
        if word:
            basis.append(word)
    return len(basis)


def test_smaller_decoders_are_corners_of_larger_ones():
    large = Decoder(n_out=100, n_s=7, seed=9).matrix
    assert np.array_equal(Decoder(n_out=40, n_s=2, seed=9).matrix, large[:40, :24])


def test_entries_are_fair_coins():
    matrix = Decoder(n_out=4096, n_s=7, seed=3).matrix
    assert abs(matrix.mean() - 0.5) < 0.005
    assert abs(matrix.mean(axis=0) - 0.5).max() < 0.05


@settings(max_examples=60, deadline=None)
@given(
    n_in=st.integers(1, 8),
    n_out=st.integers(1, 150),
    n_s=st.integers(0, 7),
    n=st.integers(0, 700),
    planes=st.integers(1, 8),
    seed=st.integers(0, 2**64 - 1),
)
def test_fast_decoding_equals_the_matrix_product(n_in, n_out, n_s, n, planes, seed):
    decoder = Decoder(n_in, n_out, n_s, seed)
    rng = np.random.default_rng(seed)
    inputs = rng.integers(0, 1 << n_in, (decoder.n_vectors(n), planes), dtype=np.uint8)
    words = decoder.decode(inputs, n)
    assert np.array_equal(words, decoder.decode_plain(inputs, n))
    assert np.array_equal(decoder.decode(inputs[:, 0].copy(), n), words & 1)


def test_rows_are_the_matrix_in_window_order():
    decoder = Decoder(n_in=3, n_out=20, n_s=4, seed=1)
    inputs = np.random.default_rng(0).integers(0, 8, decoder.n_vectors(200), dtype=np.uint8)
    expected = []
    for t in range(10):
        window = sum(int(inputs[t + j]) << (3 * j) for j in range(5))
        expected += [(int(row) & window).bit_count() & 1 for row in decoder.rows]
    assert decoder.decode(inputs, 200).tolist() == expected


def test_any_block_decodes_by_itself():
    decoder = Decoder(n_in=8, n_out=37, n_s=7, seed=2)
    inputs = np.random.default_rng(1).integers(0, 256, decoder.n_vectors(370), dtype=np.uint8)
    whole = decoder.decode(inputs, 370).reshape(10, 37)
    for t in range(10):
        assert np.array_equal(decoder.decode_block(inputs, t), whole[t])


def test_zero_inputs_decode_to_zeros_and_decoding_is_linear():
    decoder = Decoder(n_out=80, n_s=7)
    a, b = np.random.default_rng(2).integers(0, 256, (2, decoder.n_vectors(999)), dtype=np.uint8)
    assert not decoder.decode(np.zeros_like(a), 999).any()
    assert np.array_equal(
        decoder.decode(a ^ b, 999), decoder.decode(a, 999) ^ decoder.decode(b, 999)
    )


def test_from_matrix_takes_the_paper_s_columns():
    matrix = np.array([[1, 0, 0, 0], [0, 0, 0, 1]])  # bit 0 of x_t; bit 1 of x_{t-1}
    decoder = Decoder.from_matrix(matrix, n_in=2)
    assert (decoder.n_out, decoder.n_s, decoder.seed) == (2, 1, None)
    # start state 2 (binary 10), then x_0 = 1: bits (1, 1); then x_1 = 0 after 1: (0, 0).
    assert decoder.decode(np.array([2, 1, 0], dtype=np.uint8), 4).tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_in": 0}, "n_in must be an integer in 1..8, got 0"),
        ({"n_in": 9}, "n_in must be an integer in 1..8, got 9"),
        ({"n_in": 2.5}, "n_in must be an integer in 1..8, got 2.5"),
        ({"n_out": 0}, "n_out must be an integer in 1..65535, got 0"),
        ({"n_s": 8}, "n_s must be an integer in 0..7, got 8"),
        ({"n_in": 1, "n_s": 64}, "n_s must be an integer in 0..63, got 64"),
        ({"seed": -1}, "seed must be an integer in 0..18446744073709551615, got -1"),
    ],
)
def test_sizes_out_of_range_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        Decoder(**arguments)


def test_bad_matrices_and_inputs_are_refused_by_name():
    with pytest.raises(ValueError, match="matrix must be two-dimensional"):
        Decoder.from_matrix(np.zeros(8), 8)
    with pytest.raises(ValueError, match="matrix must hold only 0 and 1"):
        Decoder.from_matrix(np.full((2, 8), 2), 8)
    with pytest.raises(ValueError, match="matrix must have a multiple of n_in=8 columns, got 9"):
        Decoder.from_matrix(np.zeros((2, 9), dtype=int), 8)
    decoder = Decoder(n_in=4, n_out=10, n_s=1)
    with pytest.raises(ValueError, match="inputs must hold 3 vectors for n=20 bits, got 2"):
        decoder.decode(np.zeros(2, dtype=np.uint8), 20)
    with pytest.raises(ValueError, match=r"inputs must be below 2\*\*n_in=16, got 16"):
        decoder.decode(np.full(3, 16, dtype=np.uint8), 20)
    with pytest.raises(ValueError, match="inputs must be uint8"):
        decoder.decode(np.zeros(3), 20)
    with pytest.raises(ValueError, match=r"t must be an integer in 0..1, got 2"):
        decoder.decode_block(np.zeros(3, dtype=np.uint8), 2)
