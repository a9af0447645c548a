"""The shuffle decoder equals the matrix product, whatever the sizes, with and without AVX2."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from f2f.decoder.decoder import MATRICES, Decoder
from f2f.decoder.gates import LOWERINGS, SLACK, Affine, decode_blocks, decode_words, work_bytes



def random_inputs(decoder: Decoder, n: int, planes: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shape = (decoder.n_vectors(n), planes)
    return rng.integers(0, 1 << decoder.n_in, shape, dtype=np.uint8)


@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize("n_out", [1, 8, 15, 16, 17, 31, 32, 33, 48, 49, 64, 79, 80, 96, 100, 170])
def test_every_split_into_row_groups(n_out, lowering):
    for matrix in MATRICES:
        decoder = Decoder(n_out=n_out, n_s=7, seed=n_out, matrix=matrix)
        for blocks in (1, 2, 5):
            n = blocks * n_out - n_out // 3
            inputs = random_inputs(decoder, n, 8)
            expected = decoder.decode_plain(inputs, n)
            assert np.array_equal(
                decode_words(inputs, decoder.gates_for(lowering), n),
                expected,
            )


@pytest.mark.parametrize("lowering", LOWERINGS)
def test_more_blocks_than_one_batch_of_tables(lowering):
    for decoder in (Decoder(n_out=20, n_s=2), Decoder(n_out=10, n_s=7, matrix="folded")):
        inputs = random_inputs(decoder, 2990, 8)
        expected = decoder.decode_plain(inputs, 2990)
        assert np.array_equal(
            decode_words(inputs, decoder.gates_for(lowering), 2990),
            expected,
        )


@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize("sizes", [(8, 45, 2), (5, 33, 3), (8, 83, 7, "folded"), (8, 83, 7)])
def test_an_affine_map_of_the_words_is_applied(sizes, lowering):
    n_in, n_out, n_s, *kind = sizes
    decoder = Decoder(n_in, n_out, n_s, 4, *kind)
    inputs = random_inputs(decoder, 7 * n_out, 8)
    images = np.random.default_rng(1).integers(0, 256, 8, dtype=np.uint8)
    mapped = np.zeros(256, dtype=np.uint8)
    for bit, image in enumerate(images):
        mapped[1 << bit : 2 << bit] = mapped[: 1 << bit] ^ image
    by_nibble = np.concatenate([mapped[:16], mapped[::16]])
    out = np.empty(7 * n_out + SLACK, dtype=np.uint8)
    decode_blocks(
        inputs, 0, 7, decoder.gates_for(lowering),
        Affine(by_nibble, np.uint8(0xA5)), out, 0, np.zeros(work_bytes(n_s), dtype=np.uint8),
    )  # fmt: skip
    expected = mapped[decoder.decode_plain(inputs, 7 * n_out)] ^ 0xA5
    assert np.array_equal(out[: 7 * n_out], expected)


@settings(max_examples=60, deadline=None)
@given(
    n_in=st.integers(1, 8),
    n_out=st.integers(1, 130),
    registers=st.integers(0, 63),
    planes=st.integers(1, 8),
    n=st.integers(0, 700),
    seed=st.integers(0, 2**32),
    lowering=st.sampled_from(LOWERINGS),
)
def test_equals_the_matrix_product(n_in, n_out, registers, planes, n, seed, lowering):
    decoder = Decoder(n_in, n_out, registers % (64 // n_in), seed)
    inputs = random_inputs(decoder, n, planes, seed)
    expected = decoder.decode_plain(inputs, n)
    assert np.array_equal(
        decode_words(inputs, decoder.gates_for(lowering), n), expected
    )


@pytest.mark.parametrize("lowering", LOWERINGS)
def test_any_block_decodes_by_itself(lowering):
    for sizes in ((8, 45, 5, 3), (8, 45, 7, 3, "folded")):
        decoder = Decoder(*sizes)
        inputs = random_inputs(decoder, 45 * 40, 6)
        whole = decoder.decode_plain(inputs, 45 * 40)
        for start in (0, 1, 17, 39):
            words = decode_words(
                inputs, decoder.gates_for(lowering), 45, start_block=start
            )
            assert np.array_equal(words, whole[45 * start : 45 * (start + 1)])


def test_planes_do_not_mix():
    decoder = Decoder(n_out=80, n_s=7)
    inputs = random_inputs(decoder, 4000, 8)
    together = decode_words(inputs, decoder.gates, 4000)
    for q in range(8):
        alone = decode_words(inputs[:, q : q + 1], decoder.gates, 4000)
        assert np.array_equal(together >> q & 1, alone)


def test_refuses_by_name():
    decoder = Decoder(n_out=10, n_s=1)
    inputs = random_inputs(decoder, 100, 8)
    with pytest.raises(ValueError, match="inputs must hold 12 vectors"):
        decode_words(inputs, decoder.gates, 110)
    with pytest.raises(ValueError, match="inputs must be uint8"):
        decode_words(inputs.astype(np.int64), decoder.gates, 100)
    with pytest.raises(ValueError, match="start_block must be"):
        decode_words(inputs, decoder.gates, 10, start_block=-1)
