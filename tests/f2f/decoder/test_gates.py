"""Every lowering of the XOR gates equals the matrix product, whatever the sizes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from f2f.base.intrinsics import aligned_zeros
from f2f.decoder import MATRICES, Decoder
from f2f.decoder.gates import (
    BATCH,
    LOWERINGS,
    SLACK,
    Affine,
    decode_blocks,
    decode_words,
    work_bytes,
)

pytestmark = pytest.mark.parametrize("lowering", LOWERINGS)


def random_inputs(decoder: Decoder, n: int, planes: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shape = (decoder.n_vectors(n), planes)
    return rng.integers(0, 1 << decoder.n_in, shape, dtype=np.uint8)


def assert_equals_plain(decoder: Decoder, lowering: str, n: int, planes: int, seed: int = 0):
    inputs = random_inputs(decoder, n, planes, seed)
    words = decode_words(inputs, decoder.gates_for(lowering), n)
    assert np.array_equal(words, decoder.decode_plain(inputs, n)), (decoder, n, planes)


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("n_out", [1, 8, 15, 16, 17, 31, 32, 33, 48, 49, 64, 79, 80, 96, 97, 100])
def test_every_split_into_groups_of_rows(n_out, matrix, lowering):
    decoder = Decoder(n_out=n_out, n_s=7, seed=n_out, matrix=matrix)
    for blocks in (1, 2, 5, 13):
        assert_equals_plain(decoder, lowering, blocks * n_out - n_out // 3, 8)


@pytest.mark.parametrize("n_in", range(1, 9))
def test_every_window(n_in, lowering):
    for n_s in {*range(8), 64 // n_in - 1}:
        assert_equals_plain(Decoder(n_in, 83, n_s, seed=n_s), lowering, 83 * 11, 8, n_s)


def test_more_blocks_than_one_batch(lowering):
    for decoder in (Decoder(n_out=20, n_s=2), Decoder(n_out=10, n_s=7, matrix="folded")):
        assert_equals_plain(decoder, lowering, 10 * (2 * BATCH + 3), 8)


@settings(max_examples=60, deadline=None)
@given(
    n_in=st.integers(1, 8),
    n_out=st.integers(1, 200),
    registers=st.integers(0, 63),
    planes=st.integers(1, 8),
    n=st.integers(0, 900),
    seed=st.integers(0, 2**32),
)
def test_equals_the_matrix_product(n_in, n_out, registers, planes, n, seed, lowering):
    decoder = Decoder(n_in, n_out, registers % (64 // n_in), seed)
    assert_equals_plain(decoder, lowering, n, planes, seed)


@settings(max_examples=20, deadline=None)
@given(n_out=st.integers(1, 200), n=st.integers(0, 900), seed=st.integers(0, 2**32))
def test_folded_and_explicit_matrices_equal_the_matrix_product(n_out, n, seed, lowering):
    folded = Decoder(8, n_out, 7, seed, "folded")
    assert_equals_plain(folded, lowering, n, 8, seed)
    assert_equals_plain(Decoder.from_matrix(folded.matrix, 8), lowering, n, 8, seed)


@pytest.mark.parametrize("sizes", [(8, 45, 2), (5, 33, 3), (8, 83, 7, "folded"), (8, 83, 7)])
def test_an_affine_map_of_the_words_is_applied(sizes, lowering):
    n_in, n_out, n_s, *kind = sizes
    decoder = Decoder(n_in, n_out, n_s, 4, *kind)
    images = np.random.default_rng(1).integers(0, 256, 8, dtype=np.uint8)
    mapped = np.zeros(256, dtype=np.uint8)
    for bit, image in enumerate(images):
        mapped[1 << bit : 2 << bit] = mapped[: 1 << bit] ^ image
    affine = Affine(np.concatenate([mapped[:16], mapped[::16]]), np.uint8(0xA5))
    for planes in (8, 3):
        inputs = random_inputs(decoder, 7 * n_out, planes)
        out = np.empty(7 * n_out + SLACK, dtype=np.uint8)
        gates, work = decoder.gates_for(lowering), aligned_zeros(work_bytes(n_s))
        decode_blocks(inputs, 0, 7, gates, affine, out, 0, work)
        expected = mapped[decoder.decode_plain(inputs, 7 * n_out)] ^ 0xA5
        assert np.array_equal(out[: 7 * n_out], expected)


def test_any_block_decodes_by_itself(lowering):
    for sizes in ((8, 45, 5, 3), (8, 45, 7, 3, "folded")):
        decoder = Decoder(*sizes)
        inputs = random_inputs(decoder, 45 * 40, 6)
        whole = decoder.decode_plain(inputs, 45 * 40)
        for start in (0, 1, 17, 39):
            words = decode_words(inputs, decoder.gates_for(lowering), 45, start_block=start)
            assert np.array_equal(words, whole[45 * start : 45 * (start + 1)])


def test_nothing_but_the_slack_is_touched(lowering):
    for n_out, blocks in ((80, 5), (13, 7), (40, 4), (130, 1)):
        decoder = Decoder(n_out=n_out, n_s=7)
        inputs = random_inputs(decoder, n_out * blocks, 8)
        out = np.full(7 + n_out * blocks + SLACK + 9, 77, dtype=np.uint8)
        work = np.random.default_rng(0).integers(0, 256, work_bytes(7), dtype=np.uint8)
        affine = Affine(np.r_[0:16, 0:256:16].astype(np.uint8), np.uint8(0))
        decode_blocks(inputs, 0, blocks, decoder.gates_for(lowering), affine, out, 7, work)
        decoded, end = out[7 : 7 + n_out * blocks], 7 + n_out * blocks + SLACK
        assert np.array_equal(decoded, decoder.decode_plain(inputs, n_out * blocks))
        assert (out[:7] == 77).all() and (out[end:] == 77).all()


def test_planes_do_not_mix(lowering):
    decoder = Decoder(n_out=80, n_s=7)
    gates, inputs = decoder.gates_for(lowering), random_inputs(decoder, 4000, 8)
    together = decode_words(inputs, gates, 4000)
    for q in range(8):
        alone = decode_words(inputs[:, q : q + 1], gates, 4000)
        assert np.array_equal(together >> q & 1, alone)


def test_refuses_by_name(lowering):
    decoder = Decoder(n_out=10, n_s=1)
    gates, inputs = decoder.gates_for(lowering), random_inputs(decoder, 100, 8)
    with pytest.raises(ValueError, match="inputs must hold 12 vectors"):
        decode_words(inputs, gates, 110)
    with pytest.raises(ValueError, match="inputs must be uint8"):
        decode_words(inputs.astype(np.int64), gates, 100)
    with pytest.raises(ValueError, match="start_block must be"):
        decode_words(inputs, gates, 10, start_block=-1)
    with pytest.raises(ValueError, match="lowering must be one of"):
        decoder.gates_for("abacus")
