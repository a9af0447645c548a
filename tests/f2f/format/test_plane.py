"""One plane, end to end: the public interface, its errors and its edges."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import f2f

METHODS = {"beam": 40, "viterbi": 40, "reference": 3}  # method: blocks tried


def plane(n, sparsity, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 2, n).astype(np.uint8), rng.random(n) >= sparsity


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sparsity", [0.0, 0.6, 0.9, 1.0])
def test_corrected_planes_are_exact(method, sparsity):
    decoder = f2f.Decoder(n_in=4, n_out=13, n_s=2, seed=1)
    bits, care = plane(13 * METHODS[method] + 5, sparsity)  # the last block is partial
    encoded = f2f.encode_plane(bits, care, decoder, method=method)
    assert len(encoded.inputs) == METHODS[method] + 1 + 2
    exact = f2f.decode_plane(encoded, decoder, len(bits))
    raw = f2f.decode_plane(encoded, decoder, len(bits), corrected=False)
    assert np.array_equal(exact[care], bits[care])
    assert np.array_equal(np.flatnonzero((raw != bits) & care), encoded.errors)
    share = np.mean(raw[care] == bits[care]) if care.any() else 1.0
    assert encoded.efficiency == pytest.approx(100 * share)
    assert encoded.nbits >= 4 * len(encoded.inputs)


@settings(max_examples=40, deadline=None)
@given(
    n_in=st.integers(1, 3),
    n_out=st.integers(1, 8),
    n_s=st.integers(0, 2),
    n=st.integers(0, 40),
    seed=st.integers(0, 10_000),
)
def test_no_method_beats_viterbi_and_the_wide_beam_reaches_it(n_in, n_out, n_s, n, seed):
    decoder = f2f.Decoder(n_in, n_out, n_s, seed)
    bits, care = plane(n, 0.3, seed)
    wrong = {
        method: len(f2f.encode_plane(bits, care, decoder, method=method, beam=5000).errors)
        for method in METHODS
    }
    assert wrong["viterbi"] == wrong["reference"] == wrong["beam"]


@pytest.mark.parametrize("method", METHODS)
def test_an_empty_plane_is_an_empty_plane(method):
    decoder = f2f.Decoder(n_in=4, n_out=8, n_s=1)
    encoded = f2f.encode_plane([], [], decoder, method=method)
    assert len(encoded.inputs) == 0 and encoded.efficiency == 100 and encoded.nbits == 0
    assert len(f2f.decode_plane(encoded, decoder, 0)) == 0


@pytest.mark.parametrize(
    ("bits", "care", "options", "message"),
    [
        ([0, 1], [1], {}, r"care_mask must have 2 elements, got 1"),
        ([0, 2], [1, 1], {}, r"bits must hold only 0 and 1"),
        ([0, 1], [1, -1], {}, r"care_mask must hold only 0 and 1"),
        ([[0, 1]], [1, 1], {}, r"bits must be one-dimensional, got shape \(1, 2\)"),
        ([0.0, 1.0], [1, 1], {}, r"bits must be bool or integers 0 and 1, got dtype float64"),
        ([0, 1], [1, 1], {"method": "dp"}, r"method must be one of beam, viterbi, reference"),
        ([0, 1], [1, 1], {"beam": 0}, r"beam must be an integer >= 1, got 0"),
    ],
)
def test_bad_planes_are_refused_by_name(bits, care, options, message):
    with pytest.raises(ValueError, match=message):
        f2f.encode_plane(np.array(bits), np.array(care), f2f.Decoder(), **options)


def test_viterbi_refuses_windows_it_cannot_search():
    with pytest.raises(ValueError, match="n_s"):
        f2f.encode_plane([1], [1], f2f.Decoder(n_s=3), method="viterbi")


def test_decoding_refuses_a_wrong_length():
    decoder = f2f.Decoder(n_in=4, n_out=8, n_s=1)
    encoded = f2f.encode_plane(*plane(40, 0.5), decoder)
    with pytest.raises(ValueError, match="inputs must hold 12 vectors for n=88 bits, got 6"):
        f2f.decode_plane(encoded, decoder, 88)


@pytest.mark.parametrize(
    "errors", [[40], [-1], [2, 2], [1.5], "x", None, np.ma.masked_equal([1], 1)]
)
def test_decoding_refuses_errors_that_are_no_places(errors):
    decoder = f2f.Decoder(n_in=4, n_out=8, n_s=1)
    encoded = replace(f2f.encode_plane(*plane(40, 0.5), decoder), errors=errors)
    with pytest.raises(ValueError, match=r"encoded\.errors must"):
        f2f.decode_plane(encoded, decoder, 40)
