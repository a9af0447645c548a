"""Every way of putting weights in place, against the plain path."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from plain import encoding, matrix_words, weights

from f2f import compress, decompress
from f2f.base.intrinsics import BMI2
from f2f.decoder.gates import LOWERINGS
from f2f.format import expand as expand_module
from f2f.format import join, wrong
from f2f.format.basis import span
from f2f.format.expand import _is_scattered, expand
from f2f.format.operands import operands
from f2f.format.orders import ORDERS
from f2f.format.tensor import DTYPES
from f2f.format.tiles import copy_elements, line_places, transpose_bytes

# Of at least 128 rows and a cache line of columns: tiles; of 2300 rows two pieces of each segment,
# of 300 columns two or more tiles side by side.
SMALL = [(7, 96), (11, 55), (131, 300)]
SHAPES = [*SMALL, (300, 257), (2300, 70)]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_and_order(dtype, order, monkeypatch):
    encoding(monkeypatch)
    # Large ones, which are cut, for one dtype of each size: words of a size are put in place alike.
    for shape in SHAPES if dtype in ("int8", "float16", "float32") else SMALL:
        array = weights(shape, dtype, 0.25)
        tensor = compress(array, order=order, beam=1)
        words = expand(tensor)
        assert words.dtype == f"u{DTYPES[dtype]}" and words.shape == (tensor.n,)
        assert np.array_equal(words, matrix_words(tensor))
        assert np.array_equal(words, array.view(words.dtype).reshape(-1))


def test_shapes_meet_every_way(monkeypatch):
    encoding(monkeypatch)
    ways = {
        (
            order,
            _is_scattered(operands(compress(weights(shape, "int8", 0.25), order=order, beam=1))),
        )
        for order in ORDERS
        for shape in SHAPES
    }
    assert ways == {
        *(("diagonal", way) for way in (True, False)),
        *(("column", way) for way in (True, False)),
        ("golden", True),
        ("row", False),
    }


@pytest.mark.parametrize("codec", ["bitmap", "list", "cascade"])
@pytest.mark.parametrize("order", ORDERS)
def test_every_mask(codec, order, monkeypatch):
    encoding(monkeypatch)
    for dtype in ("int8", "float16"):
        tensor = compress(weights((150, 140), dtype, 0.1), order=order, mask_codec=codec, beam=1)
        assert np.array_equal(expand(tensor), matrix_words(tensor))


@pytest.mark.parametrize("order", ORDERS)
def test_a_mask_that_the_caller_keeps(order):
    array = weights((160, 150), "int16", 0.2)
    tensor = compress(array, order=order, mask_codec="none", beam=1)
    care = tensor.encoding_order.take((array != 0).reshape(-1))
    words = expand(tensor, care)
    assert np.array_equal(words, matrix_words(tensor, care))
    assert np.array_equal(words, array.view(np.uint16).reshape(-1))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", ["int8", "bfloat16", "float32"])
def test_raw_planes(order, dtype):
    for density in (0.97, 1.0):
        array = weights((141, 131), dtype, density)
        tensor = compress(array, order=order, beam=1)
        assert tensor.kind == "encoded" and tensor.raw_planes and not tensor.encoded
        assert np.array_equal(expand(tensor), array.view(f"u{array.itemsize}").reshape(-1))


@pytest.mark.parametrize("order", ["diagonal", "golden"])
def test_raw_planes_beside_encoded_ones(order):
    """The encoder makes no such tensor, a file may hold one."""
    tensor = compress(weights((141, 131), "float16", 0.2), order=order, beam=1)
    *others, last = tensor.encoded
    assert tensor.corrections[14].count and 14 not in others
    mixed = replace(
        tensor,
        encoded=tuple(others),
        payload=(tensor.payload[0], tensor.payload[1][:, :-1]),
        raw_planes=(14, last),
        raw=np.random.default_rng(0).integers(0, 256, (2, -(-tensor.n // 8)), dtype=np.uint8),
    )
    assert np.array_equal(expand(mixed), matrix_words(mixed))


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 400),
    cols=st.integers(1, 200),
    density=st.sampled_from([0.0, 0.02, 0.3, 1.0]),
    n_s=st.integers(0, 7),
    n_out=st.sampled_from([1, 13, 80, 700, 3000]),
    order=st.sampled_from(ORDERS),
    dtype=st.sampled_from(["uint8", "float16", "float32"]),
)
def test_any_shape_and_block(rows, cols, density, n_s, n_out, order, dtype):
    array = weights((rows, cols), dtype, density, seed=rows * cols)
    with pytest.MonkeyPatch.context() as monkeypatch:
        encoding(monkeypatch)
        tensor = compress(array, order=order, n_s=n_s, n_out=n_out, beam=1)
        assert tensor.kind == "encoded"
    assert np.array_equal(expand(tensor), array.view(f"u{array.itemsize}").reshape(-1))


@pytest.mark.parametrize("often", [0, 10**9])
@pytest.mark.parametrize("order", ["row", "column", "diagonal"])
@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_planes_that_are_wrong_often_and_seldom(dtype, order, often, monkeypatch):
    """None by its places alone, or every one; some planes are wrong at half of the weights."""
    encoding(monkeypatch)
    monkeypatch.setattr(wrong, "OFTEN", often if BMI2 else 0)
    array = weights((2300, 130), dtype, 0.3)
    tensor = compress(array, order=order, beam=1, n_out=90)
    assert np.array_equal(expand(tensor), array.view(f"u{array.itemsize}").reshape(-1))
    found = operands(tensor).wrong
    counts = [code.count for code in tensor.corrections]
    assert sum(count > 0 for count in counts) == len(found.flips) or not often or not BMI2
    assert len(found.places) == (0 if often and BMI2 else sum(counts))


@pytest.mark.parametrize("dtype", ["int8", "float16"])
@pytest.mark.parametrize("threads", [2, 3, 7])
def test_threads_share_the_tiles(threads, dtype, monkeypatch):
    encoding(monkeypatch)
    monkeypatch.setattr(expand_module, "THREAD_SHARE", 1)
    for shape in ((140, 70), (300, 257)):
        array = weights(shape, dtype, 0.25)
        words = expand(compress(array, beam=1), threads=threads)
        assert np.array_equal(words, array.view(words.dtype).reshape(-1))


def test_threads_are_counted():
    tensor = compress(weights((20, 30), "int8", 0.2), beam=1)
    with pytest.raises(ValueError, match="threads must be"):
        decompress(tensor, threads=0)


class Lines(NamedTuple):
    """What a joiner reads of a tile."""

    lines: np.ndarray
    apart: int
    bits: np.ndarray
    step: int
    flips: np.ndarray


@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_lines_are_joined(dtype, in_order, lowering):
    """By whole tables."""
    joiner = join.line_joiner(lowering, in_order)
    run = njit(lambda *arguments: joiner(*arguments))
    rng = np.random.default_rng(0)
    size = np.dtype(dtype).itemsize
    for groups in range(size + 1):
        tables = np.zeros((groups, 256), dtype=np.uint32)
        for g in range(groups):
            vectors = rng.integers(0, 1 << 8 * size, 8).astype(np.uint32)
            tables[g] = span(vectors & 0xFFFF00FF if g == 1 else vectors)  # a zero map too
        lines = rng.integers(0, 256, (groups + 1, 100), dtype=np.uint8)
        bits = rng.integers(0, 2**64, (3, 5), dtype=np.uint64)
        flips = rng.integers(0, 1 << 8 * size, 2).astype(np.uint32)
        out = np.zeros(100, dtype=dtype)
        tile = Lines(lines.reshape(-1), 100, bits.reshape(-1), 5, flips)
        run(tile, 7, 4, join.byte_maps(tables, size, lowering), np.uint32(0x9A8B7C6D), out, 3)
        want = np.full(64, 0x9A8B7C6D, dtype=np.uint32)
        order = np.arange(64) if in_order else line_places(size)
        for g in range(groups):
            want ^= tables[g, lines[g, 7 + order]]
        chosen = [np.unpackbits(word.view(np.uint8), bitorder="little") for word in bits[:, 4:]]
        for bit, flip in zip(chosen[1:], flips, strict=True):
            want ^= bit * flip
        assert np.array_equal(out[3:67], (want * chosen[0]).astype(dtype))
        assert not out[:3].any() and not out[67:].any()


def test_bytes_of_a_tile_are_transposed():
    tile = np.random.default_rng(0).integers(0, 256, 64 * 25 + 16, dtype=np.uint8)
    lines = np.zeros(5 + 16 * 67, dtype=np.uint8)
    njit(lambda *arguments: transpose_bytes(*arguments))(tile, 4, 25, lines, 5, 67)
    want = np.stack([tile[4 + 25 * s :][:16] for s in range(64)])
    assert np.array_equal(lines[5:].reshape(16, 67)[:, :64], want.T)
    assert not lines[:5].any() and not lines[5:].reshape(16, 67)[:, 64:].any()


def test_elements_are_copied():
    source, out = np.arange(40, dtype=np.uint16), np.zeros(30, dtype=np.uint16)
    njit(lambda *arguments: copy_elements(*arguments))(source, 7, out, 5, 11)
    assert np.array_equal(out[5:16], source[7:18])
    assert not out[:5].any() and not out[16:].any()
