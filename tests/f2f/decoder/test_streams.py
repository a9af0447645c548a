"""Streams of one plane, decoded eight segments at a time, equal the plain decoder."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from f2f.base.intrinsics import aligned_zeros
from f2f.decoder import Decoder
from f2f.decoder.gates import LOWERINGS
from f2f.decoder.streams import and_stream, stream_work_bytes, with_matrix

pytestmark = pytest.mark.parametrize("lowering", LOWERINGS)


def and_range(decoder, lowering, stream, span):
    """The bits of a range, ANDed into random ones; and those."""
    count = span[1] - span[0]
    packed = np.random.default_rng(1).integers(0, 2**64, -(-count // 64), dtype=np.uint64)
    before = np.unpackbits(packed.view(np.uint8), bitorder="little")
    work = aligned_zeros(stream_work_bytes(decoder.n_out, decoder.n_s))
    and_stream(stream, decoder.gates_for(lowering), *span, packed, work)
    return np.unpackbits(packed.view(np.uint8), bitorder="little"), before


@settings(max_examples=80, deadline=None)
@given(data=st.data(), n_in=st.integers(1, 8), n_out=st.integers(1, 300), n=st.integers(1, 9000))
def test_any_range(data, n_in, n_out, n, lowering):
    n_out = min(n_out, n)
    n_s = data.draw(st.integers(0, min(7, 64 // n_in - 1)))
    decoder = Decoder(n_in, n_out, n_s, n)
    rng = np.random.default_rng(n)
    stream = rng.integers(0, 1 << n_in, decoder.n_vectors(n), dtype=np.uint8)
    lo = data.draw(st.integers(0, n))
    hi = data.draw(st.integers(lo, n))
    after, before = and_range(decoder, lowering, stream, (lo, hi))
    wanted = decoder.decode_plain(stream, n)[lo:hi]
    assert np.array_equal(after[: hi - lo], before[: hi - lo] & wanted)
    assert np.array_equal(after[hi - lo :], before[hi - lo :])  # bits behind the range


@pytest.mark.parametrize("n_out", [1, 34, 64, 80, 700, 1024])
def test_long_streams(n_out, lowering):
    decoder = Decoder(8, n_out, 7, n_out)
    n = 40_000
    stream = np.random.default_rng(0).integers(0, 256, decoder.n_vectors(n), dtype=np.uint8)
    wanted = decoder.decode_plain(stream, n)
    for lo, hi in ((0, n), (8192, 16384), (30_001, n), (n - 1, n)):
        after, before = and_range(decoder, lowering, stream, (lo, hi))
        assert np.array_equal(after[: hi - lo], before[: hi - lo] & wanted[lo:hi])


@njit
def _and_other(stream, gates, n_out, n_s, matrix, packed, work):
    and_stream(stream, with_matrix(gates, n_out, n_s, matrix), 0, 1000, packed, work)


def test_gates_of_one_decoder_serve_for_the_lowering_of_another(lowering):
    one = Decoder(8, 80, 7, matrix="folded")
    other = Decoder(4, 50, 3, seed=1)
    stream = np.random.default_rng(0).integers(0, 16, other.n_vectors(1000), dtype=np.uint8)
    packed = np.full(16, ~np.uint64(0))
    work = aligned_zeros(stream_work_bytes(50, 3))
    matrix = other.gates_for(lowering).matrix
    _and_other(stream, one.gates_for(lowering), 50, 3, matrix, packed, work)
    bits = np.unpackbits(packed.view(np.uint8), bitorder="little")[:1000]
    assert np.array_equal(bits, other.decode_plain(stream, 1000))
