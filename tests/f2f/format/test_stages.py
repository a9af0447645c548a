"""Each stage of decoding against the plain path."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from plain import care_words, encoding, weights

from f2f import compress
from f2f.decoder.gates import IDENTITY
from f2f.format import stages
from f2f.format.corrections import EliasFano
from f2f.format.operands import _corrections, operands
from f2f.format.stages import END, LIST


def packed(mask):
    """A mask as `Encoded` has it."""
    words = np.zeros(len(mask) // 64 + 2, dtype=np.uint64)
    words.view(np.uint8)[: -(-len(mask) // 8)] = np.packbits(mask, bitorder="little")
    return words


@njit
def clear_pruned(source, source_at, words, bit, count, target, target_at):
    stages.clear_pruned(source, source_at, words, bit, count, target, target_at)


def empty_chunk(rows=1, n_out=80):
    tensor = compress(weights((20, 30), "int8", 0.2), n_out=n_out, beam=1)
    return stages.make_chunk(operands(tensor).encoded, rows)


@given(st.integers(0, 700), st.integers(1, 700), st.sampled_from([0.0, 0.1, 0.9, 1.0]))
@settings(max_examples=60, deadline=None)
def test_mask_of_any_chunk(lo, count, density):
    mask = np.random.default_rng(lo).random(lo + count + lo % 70) < density
    chunk = empty_chunk()
    chunk.words[:] = 2**64 - 1
    stages.read_mask(packed(mask), lo, count, chunk)
    words = chunk.words[: -(-count // 64)]
    bits = np.unpackbits(words.view(np.uint8), bitorder="little")
    assert np.array_equal(bits[:count], mask[lo : lo + count]) and not bits[count:].any()


@given(st.integers(1, 3000), st.sampled_from([0.0, 0.1, 1.0]))
@settings(max_examples=30, deadline=None)
def test_unpruned_places_before_any(n, density):
    mask = np.random.default_rng(n).random(n) < density
    words = packed(mask)
    ranks = np.full(-(-len(words) // stages.RANK_WORDS), -1, dtype=np.int32)
    assert stages.count_care(words, ranks) == mask.sum()
    found = [stages.care_before(words, ranks, position) for position in range(n + 1)]
    assert found == [0, *np.cumsum(mask)]


@pytest.mark.parametrize("n_out", [1, 7, 80, 300, 5000, 20000])
@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_planes_of_chunks(n_out, dtype, monkeypatch):
    encoding(monkeypatch)
    tensor = compress(weights((150, 170), dtype, 0.05), n_out=n_out, beam=1)
    encoded = operands(tensor).encoded
    groups = len(encoded.groups)
    assert groups == (1 if dtype == "int8" else 4)
    plain = [tensor.decoder.decode_plain(part, tensor.n) for part in tensor.payload]
    chunk = stages.make_chunk(encoded, groups)
    # One behind the other, with a jump, as runs of segments begin.
    for lo, count in ((0, 100), (100, 8192), (8292, 1), (8293, 8192), (500, 333), (833, 77)):
        for g in range(groups):
            stages.read_planes(encoded, g, IDENTITY, lo, count, chunk, g)
        for g in range(groups):
            assert np.array_equal(chunk.decoded[g, :count], plain[g][lo : lo + count])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
@pytest.mark.parametrize("count", [1, 31, 32, 100, 1000])
@pytest.mark.parametrize("bit", [0, 8, 77])
def test_pruned_elements_are_cleared(dtype, count, bit):
    rng = np.random.default_rng(count)
    mask = rng.random(count) < 0.3
    source = rng.integers(1, 200, count + 100).astype(dtype)
    target = np.full(count + 100, 7, dtype=dtype)
    words = packed(np.concatenate([np.ones(bit, dtype=bool), mask, np.zeros(64, dtype=bool)]))
    clear_pruned(source, 5, words, bit, count, target, 3)
    want = np.where(mask, source[5 : 5 + count], 0)
    assert np.array_equal(target[3 : 3 + count], want)
    behind = 3 + -(-count // 32) * 32  # whole groups are written
    assert (target[:3] == 7).all() and (target[behind:] == 7).all()
    clear_pruned(source, 5, words, bit, count, source, 5)
    assert np.array_equal(source[5 : 5 + count], want)


def lists_of(codes, flips):
    """`Corrections` of Elias-Fano codes, made as the operands of a tensor make them."""
    return _corrections(tuple(codes), tuple(flips))


@given(
    universe=st.integers(1, 5000),
    shares=st.lists(st.sampled_from([0.0, 0.001, 0.02, 0.3, 0.9, 1.0]), min_size=1, max_size=4),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_cursors_stand_where_lists_reach_the_ranks(universe, shares, seed):
    rng = np.random.default_rng(seed)
    positions = [np.flatnonzero(rng.random(universe) < share) for share in shares]
    corrections = lists_of(
        [EliasFano.encode(part, universe) for part in positions], range(len(shares))
    )
    assert corrections.lists.dtype == LIST
    ranks = np.unique([0, universe, *rng.integers(0, universe, 20)])
    for rank in ranks:
        cursors = stages.cursors_at(corrections, rank)
        following = [np.append(part, END)[np.searchsorted(part, rank)] for part in positions]
        assert cursors["rank"].tolist() == following


@pytest.mark.parametrize("dtype", ["int8", "int16", "float32"])
@pytest.mark.parametrize("density", [0.1, 0.9])
def test_words_at_care_positions(dtype, density, monkeypatch):
    encoding(monkeypatch)
    tensor = compress(weights((190, 130), dtype, density), beam=1)
    op, mask = operands(tensor), tensor.mask.decode()
    plain = care_words(tensor, mask)
    chunk = stages.make_chunk(op.encoded, max(len(op.encoded.groups), 1))
    cursors, care = stages.cursors_at(op.encoded.corrections, 0), stages.make_care()
    rank = 0
    for lo in range(0, tensor.n, 5000):
        count = min(5000, tensor.n - lo)
        found = stages.care_words(op.encoded, rank, cursors, lo, count, chunk, care)
        assert np.array_equal(care.positions[:found], np.flatnonzero(mask[lo : lo + count]))
        assert np.array_equal(care.words[:found], plain[rank : rank + found])
        rank += found
    assert rank == tensor.k


def test_selected_bits():
    rng = np.random.default_rng(0)
    for word in (1, 1 << 63, 2**64 - 1, *rng.integers(1, 2**64, 50, dtype=np.uint64).tolist()):
        ones = [i for i in range(64) if word >> i & 1]
        assert [stages.select_bit(np.uint64(word), r) for r in range(len(ones))] == ones
