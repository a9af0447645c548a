"""The exact encoder: against the reference, golden optima, brute force, and the paper's setting."""

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from f2f.decoder import Decoder
from f2f.encoder import exact, minplus
from f2f.encoder.exact import encode_reference, encode_viterbi

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "encoder-optimum.json").read_text())
ENCODERS = (encode_reference, encode_viterbi)


def bits(text):
    return np.array(list(text), dtype=np.uint8)


def wrong(inputs, target, care, decoder):
    """Wrong care bits after really decoding, by the plain decoder."""
    decoded = decoder.decode_plain(inputs, len(target))
    return int(((decoded != target) & (care == 1)).sum())


def random_plane(rng, n, density):
    return rng.integers(0, 2, n, dtype=np.uint8), (rng.random(n) < density).astype(np.uint8)


@pytest.mark.parametrize("encode", ENCODERS)
def test_golden_optima(encode):
    assert len(GOLDEN) == 40
    for case in GOLDEN:
        decoder = Decoder.from_matrix(np.stack([bits(r) for r in case["matrix"]]), case["n_in"])
        target, care = bits(case["target"]), bits(case["care"])
        inputs = encode(target, care, decoder)
        assert wrong(inputs, target, care, decoder) == case["minimum_errors"]


@pytest.mark.parametrize("n_in, n_s", [(1, 0), (2, 1), (1, 3), (3, 0)])
def test_nothing_beats_it_in_an_exhaustive_search(n_in, n_s):
    rng = np.random.default_rng(n_in + 10 * n_s)
    decoder = Decoder(n_in, 5, n_s, seed=4)
    target, care = random_plane(rng, 14, 0.8)
    sequences = product(range(1 << n_in), repeat=decoder.n_vectors(14))
    best = min(wrong(np.array(s, dtype=np.uint8), target, care, decoder) for s in sequences)
    assert best > 0
    for encode in ENCODERS:
        assert wrong(encode(target, care, decoder), target, care, decoder) == best


SIZES = [(n_in, n_s) for n_in in range(1, 9) for n_s in range(16) if n_in * (n_s + 1) <= 12]


@settings(max_examples=60, deadline=None)
@given(
    size=st.sampled_from(SIZES),
    n_out=st.integers(1, 40),
    n=st.integers(0, 200),
    density=st.sampled_from([0, 0.1, 0.3, 0.7, 1]),
    seed=st.integers(0, 2**32),
)
def test_viterbi_equals_reference(size, n_out, n, density, seed):
    decoder = Decoder(size[0], n_out, size[1], seed)
    target, care = random_plane(np.random.default_rng(seed), n, density)
    fast, plain = (encode(target, care, decoder) for encode in ENCODERS)
    assert fast.dtype == plain.dtype == np.uint8
    assert fast.shape == plain.shape == (decoder.n_vectors(n),)
    assert fast.max(initial=0) < 1 << size[0]
    assert wrong(fast, target, care, decoder) == wrong(plain, target, care, decoder)


@pytest.mark.parametrize("n_in, n_s, n_out", [(8, 2, 80), (4, 2, 30), (8, 0, 60)])
def test_recomputing_tables_changes_nothing(monkeypatch, n_in, n_s, n_out):
    target, care = random_plane(np.random.default_rng(5), 30 * n_out + 7, 0.15)
    decoder = Decoder(n_in, n_out, n_s)
    kept = encode_viterbi(target, care, decoder)
    monkeypatch.setattr(exact, "TABLE_MEMORY", 8 * ((1 << n_in * n_s) + minplus.PAD))
    assert np.array_equal(encode_viterbi(target, care, decoder), kept)


def test_more_care_bits_than_a_byte_counts():
    rng = np.random.default_rng(6)
    decoder = Decoder(n_in=4, n_out=300, n_s=2)
    target, care = random_plane(rng, 1500, 1)
    inputs = [encode(target, care, decoder) for encode in ENCODERS]
    assert wrong(inputs[0], target, care, decoder) == wrong(inputs[1], target, care, decoder)
    zero = Decoder.from_matrix(np.zeros((300, 8), dtype=np.uint8), n_in=4)
    ones = np.ones(900, dtype=np.uint8)
    assert wrong(encode_viterbi(ones, ones, zero), ones, ones, zero) == 900


@pytest.mark.parametrize("encode", ENCODERS)
def test_all_or_nothing_to_care_for(encode):
    decoder = Decoder(n_in=4, n_out=16, n_s=2, seed=1)
    target = np.random.default_rng(7).integers(0, 2, 100, dtype=np.uint8)
    nothing, everything = np.zeros(100, dtype=bool), np.ones(100, dtype=bool)
    assert len(encode(target, nothing, decoder)) == 7 + 2
    assert wrong(encode(target * 0, everything, decoder), target * 0, everything, decoder) == 0
    inputs = np.random.default_rng(8).integers(0, 16, 9, dtype=np.uint8)
    reachable = decoder.decode_plain(inputs, 100)
    assert np.array_equal(encode(reachable, everything, decoder), inputs)
    assert encode(target[:0], nothing[:0], decoder).shape == (0,)


@pytest.mark.parametrize("encode", ENCODERS)
def test_bad_input_is_named(encode):
    decoder = Decoder(n_in=4, n_out=16, n_s=2)
    zeros = np.zeros(10, dtype=np.uint8)
    with pytest.raises(ValueError, match="target must hold only 0 and 1, got values up to 2"):
        encode(zeros + 2, zeros, decoder)
    with pytest.raises(ValueError, match="care_mask must have 10 elements, got 9"):
        encode(zeros, zeros[:9], decoder)
    with pytest.raises(ValueError, match=r"decoder must have .*, got (64|n_in=8, n_s=7)"):
        encode(zeros, zeros, Decoder(n_in=8, n_out=16, n_s=7))


@pytest.mark.parametrize("n_s, low, high", [(0, 91, 93.5), (1, 98.3, 98.9), (2, 99.35, 99.6)])
def test_efficiency_in_the_setting_of_the_paper(n_s, low, high):
    # S = 0.9, N_in = 8, N_out = 80, five matrices, 3000 blocks of independent fair bits each
    efficiencies = []
    for seed in range(5):
        target, care = random_plane(np.random.default_rng(seed), 3000 * 80, 0.1)
        decoder = Decoder(n_in=8, n_out=80, n_s=n_s, seed=seed)
        inputs = encode_viterbi(target, care, decoder)
        errors = ((decoder.decode(inputs, len(target)) != target) & (care == 1)).sum()
        efficiencies.append(100 * (1 - errors / care.sum()))
    assert low <= np.mean(efficiencies) <= high
    assert np.ptp(efficiencies) < (4, 0.6, 0.25)[n_s]
