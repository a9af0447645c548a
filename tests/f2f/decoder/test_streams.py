"""Streams of one plane, decoded eight segments at a time, equal the plain decoder."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from f2f.base.intrinsics import aligned_zeros
from f2f.decoder import Decoder
from f2f.decoder.gates import LOWERINGS
from f2f.decoder.streams import and_stream, stream_work_bytes

pytestmark = pytest.mark.parametrize("lowering", LOWERINGS)


def assert_decoded(decoder, lowering, stream, n):
    """The places of a stream, ANDed into random ones, are those of the matrix product."""
    packed = np.random.default_rng(1).integers(0, 2**64, -(-n // 64), dtype=np.uint64)
    before = np.unpackbits(packed.view(np.uint8), bitorder="little")
    work = aligned_zeros(stream_work_bytes(decoder.n_out, decoder.n_s))
    and_stream(stream, decoder.gates_for(lowering), n, packed, work)
    after = np.unpackbits(packed.view(np.uint8), bitorder="little")
    assert np.array_equal(after[:n], before[:n] & decoder.decode_plain(stream, n))
    assert np.array_equal(after[n:], before[n:])  # bits behind the last place


@settings(max_examples=80, deadline=None)
@given(data=st.data(), n_in=st.integers(1, 8), n_out=st.integers(1, 300), n=st.integers(1, 9000))
def test_any_stream(data, n_in, n_out, n, lowering):
    n_out = min(n_out, n)
    decoder = Decoder(n_in, n_out, data.draw(st.integers(0, min(7, 64 // n_in - 1))), n)
    rng = np.random.default_rng(n)
    stream = rng.integers(0, 1 << n_in, decoder.n_vectors(n), dtype=np.uint8)
    assert_decoded(decoder, lowering, stream, n)


@pytest.mark.parametrize("n_out", [1, 34, 64, 80, 700, 1024])
def test_long_streams(n_out, lowering):
    decoder = Decoder(8, n_out, 7, n_out)
    n = 80_000
    stream = np.random.default_rng(0).integers(0, 256, decoder.n_vectors(n), dtype=np.uint8)
    assert_decoded(decoder, lowering, stream, n)
