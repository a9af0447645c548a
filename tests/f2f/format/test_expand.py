"""Every way of putting weights in place, against the plain path."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from plain import encoding, matrix_words, weights

from f2f import compress
from f2f.format import join
from f2f.format.basis import span
from f2f.format.expand import _is_scattered, expand
from f2f.format.operands import operands
from f2f.format.orders import ORDERS
from f2f.format.tensor import DTYPES
from f2f.format.tiles import LINE, copy_elements, transpose_lines

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
    care = tensor.walk.take((array != 0).reshape(-1))
    words = expand(tensor, care)
    assert np.array_equal(words, matrix_words(tensor, care))
    assert np.array_equal(words, array.view(np.uint16).reshape(-1))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", ["int8", "bfloat16"])
def test_raw_planes(order, dtype):
    array = weights((130, 100), dtype, 1.0)
    tensor = compress(array, np.ones(array.shape, dtype=bool), order=order, beam=1)
    assert tensor.kind == "encoded" and tensor.raw_planes
    assert np.array_equal(expand(tensor), array.view(f"u{array.itemsize}").reshape(-1))


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


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
@pytest.mark.parametrize("groups", [0, 1, 2, 4])
@pytest.mark.parametrize("vectors", [True, False])
def test_bytes_are_joined(dtype, groups, vectors, monkeypatch):
    """By whole tables; without vectors as the machine code of other processors does it."""
    monkeypatch.setattr(join, "AVX2", vectors and join.AVX2)
    rng = np.random.default_rng(groups)
    size = np.dtype(dtype).itemsize
    tables = np.stack(
        [span(rng.integers(0, 1 << 8 * size, 8).astype(np.uint32)) for _ in range(groups)]
        or [np.zeros(256, dtype=np.uint32)]
    )[:groups]
    stored = rng.integers(0, 256, (groups + 1, 300), dtype=np.uint8)
    words = np.zeros(200, dtype=dtype)
    run = join.join_bytes if vectors else join.join_bytes.py_func
    run(stored, 7, join.nibble_maps(tables, size), 0x9A, words, 3, 100)
    want = np.full(100, 0x9A, dtype=np.uint32)
    for g in range(groups):
        want ^= tables[g, stored[g, 7:107]]
    assert np.array_equal(words[3:103], want)
    assert not words[:3].any() and not words[3 + 128 :].any()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_lines_are_transposed(dtype):
    size = np.dtype(dtype).itemsize
    side, across = LINE // size, 16 // size
    stride = across + 9
    tile = np.random.default_rng(0).integers(0, 1 << 8 * size, side * stride + 16).astype(dtype)
    row = side + 3
    lines = np.zeros(5 + across * row, dtype=dtype)
    njit(lambda *args: transpose_lines(*args))(tile, 4, stride, lines, 5, row)
    want = np.stack([tile[4 + stride * s :][:across] for s in range(side)])
    assert np.array_equal(lines[5:].reshape(across, row)[:, :side], want.T)
    assert not lines[:5].any() and not lines[5:].reshape(across, row)[:, side:].any()
    out = np.zeros(3 * side, dtype=dtype)
    njit(lambda *args: copy_elements(*args))(tile, 7, out, 5, 11)
    assert np.array_equal(out[5:16], tile[7:18])
    assert not out[:5].any() and not out[16:].any()
