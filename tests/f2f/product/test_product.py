"""Products from the encoded form equal the dense product of the decompressed matrix."""

import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from exact import assert_product
from hypothesis import given, settings
from hypothesis import strategies as st

from f2f import FormatError, compress, decompress, spmm, spmv
from f2f.base.tensors import numpy_dtype
from f2f.format.mask import encode_mask
from f2f.format.operands import operands
from f2f.format.orders import ORDERS
from f2f.format.tensor import DTYPES, FLOAT8, CompressedTensor
from f2f.product import cpu
from f2f.product.cpu_dense import find_wrong_bytes

BACKENDS = ("numpy", "numba")
SHARES = {name: getattr(cpu, name) for name in ("DENSE_SHARE", "SPARSE_SHARE")}


@pytest.fixture(autouse=True, scope="module")
def every_position_is_worth_a_thread():
    """Small matrices are divided among as many threads as a test asks for."""
    with pytest.MonkeyPatch.context() as patch:
        for name in SHARES:
            patch.setattr(cpu, name, 1)
        yield


def weights(shape: tuple[int, ...], dtype: str, density: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    normal = rng.standard_normal(shape)
    if dtype in ("int8", "int16"):
        array = (normal * 40).round().clip(-128, 127).astype(dtype)
    elif dtype == "uint8":
        array = rng.integers(0, 256, shape, dtype=np.uint8)
    else:
        array = normal.astype(numpy_dtype(dtype))
    array[rng.random(shape) >= density] = 0
    return array


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_and_order(dtype, order, backend):
    tensor = compress(weights((70, 90), dtype, 0.2), order=order, beam=1)
    assert tensor.kind == "encoded"
    rng = np.random.default_rng(1)
    for x in (rng.standard_normal((90, 1)), rng.integers(-99, 99, (90, 5))):
        assert_product(tensor, x, spmm(tensor, x, backend=backend, threads=2))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("codec", ["bitmap", "cascade", "list"])
@pytest.mark.parametrize("shape", [(7, 96), (11, 55), (130, 67), (2100, 9), (70, 2100)])
def test_every_mask_and_odd_shapes(shape, codec, order):
    tensor = compress(weights(shape, "int8", 0.15), order=order, mask_codec=codec, beam=1)
    x = np.random.default_rng(1).integers(-999, 999, (shape[1], 2))
    for threads in (1, 3):
        assert_product(tensor, x, spmm(tensor, x, threads=threads))


@pytest.mark.parametrize("n_out", [None, 2500])  # many blocks of a chunk, and not four
@pytest.mark.parametrize("order", ORDERS)
def test_dense_and_sparse_ways_agree(order, n_out):
    """One to three columns of bytes are multiplied densely, more of them sparsely."""
    array = weights((300, 260), "int8", 0.3)
    tensor = compress(array, order=order, mask_codec="bitmap", n_out=n_out, beam=1)
    x = np.random.default_rng(1).integers(-99, 99, (260, 4))
    together = spmm(tensor, x)
    assert_product(tensor, x, together)
    for columns in (1, 2, 3):
        assert np.array_equal(spmm(tensor, x[:, :columns]), together[:, :columns])


@pytest.mark.parametrize("n_out", [40, 400])
def test_wrong_bits_by_position(n_out):
    """Flipped where they say, the decoded words are the weights."""
    tensor = compress(weights((300, 260), "int8", 0.1), order="row", n_out=n_out, beam=1)
    wrong = find_wrong_bytes(operands(tensor))
    words = tensor.decoder.decode(tensor.payload[0], tensor.n)
    table = operands(tensor).encoded.tables[0] ^ tensor.offset
    found = table[words].astype(np.uint8)
    np.bitwise_xor.at(found, wrong.positions[:-1], wrong.flips)
    found[~tensor.mask.decode().astype(bool)] = 0
    assert (np.diff(wrong.positions) >= 0).all() and wrong.positions[-1] >= tensor.n
    assert np.array_equal(found.view(np.int8), decompress(tensor).reshape(-1))


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 140),
    cols=st.integers(1, 140),
    density=st.sampled_from([0.0, 0.02, 0.1, 0.5, 0.9, 1.0]),
    columns=st.integers(0, 5),
    n_s=st.integers(0, 7),
    order=st.sampled_from(ORDERS),
    dtype=st.sampled_from(["int8", "float16"]),
    threads=st.integers(1, 5),
)
def test_any_shape_and_density(rows, cols, density, columns, n_s, order, dtype, threads):
    array = weights((rows, cols), dtype, density, seed=rows * cols)
    tensor = compress(array, order=order, n_s=n_s, beam=1)
    x = np.random.default_rng(columns).integers(-9, 9, (cols, columns))
    assert_product(tensor, x, spmm(tensor, x, threads=threads))


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_bound_of_floats_is_nearly_reached(backend):
    """1 + u + u + ... in turn stays 1 in float32: every addition rounds away all it can."""
    tensor = compress(np.ones((64, 500), dtype=np.float32), order="row", beam=1)
    assert tensor.kind == "encoded"
    x = np.full((500, 1), 2.0**-24, dtype=np.float32)
    x[0] = 1
    y = spmm(tensor, x, backend=backend)
    assert (y == 1).all()
    assert_product(tensor, x, y)


@pytest.mark.parametrize("backend", BACKENDS)
def test_planes_that_are_constant_or_predicted(backend):
    """Few different values: the basis mixes planes, and exceptions are many."""
    rng = np.random.default_rng(0)
    array = rng.choice(np.array([-3, -2, -1, 1, 2, 90], dtype=np.int8), (200, 200))
    array[rng.random(array.shape) < 0.8] = 0
    tensor = compress(array, order="diagonal", beam=1)
    assert len(tensor.encoded) < 8
    x = rng.standard_normal((200, 1)).astype(np.float32)
    assert_product(tensor, x, spmm(tensor, x, backend=backend))


@pytest.mark.parametrize("density", [0.9, 1.0])
@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_raw_planes(density, dtype):
    tensor = compress(weights((128, 100), dtype, density), np.ones((128, 100), bool))
    x = np.random.default_rng(1).standard_normal((100, 2))
    for backend in BACKENDS:
        assert_product(tensor, x, spmm(tensor, x, backend=backend))


def test_specials_of_float16_and_signed_zero():
    bits = np.arange(1 << 16, dtype=np.uint16).reshape(256, 256)
    finite = bits.view(np.float16)
    finite[~np.isfinite(finite)] = 0
    tensor = compress(finite, n_s=2, beam=1)
    eye = np.eye(256, dtype=np.float32)
    for backend in BACKENDS:
        assert np.array_equal(spmm(tensor, eye, backend=backend), finite.astype(np.float32))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", FLOAT8)
def test_every_float8_is_the_number_it_stands_for(dtype, backend):
    """Row i of a diagonal matrix holds byte i; infinity and NaN reach their own row alone."""
    array = np.diag(np.arange(256, dtype=np.uint8)).view(numpy_dtype(dtype))
    tensor = compress(array, beam=1)
    assert tensor.kind == "encoded"
    numbers = np.arange(256, dtype=np.uint8).view(array.dtype).astype(np.float64)
    assert np.isnan(numbers[128 if dtype.endswith("fnuz") else 127])
    for x in (np.full(256, 0.75), np.full(256, 3), np.full(256, 0.5).astype(array.dtype)):
        y = spmv(tensor, x, backend=backend)
        assert y.dtype == (np.float64 if x.dtype == np.float64 else np.float32)
        assert np.array_equal(y, numbers * x[0].astype(float), equal_nan=True)


@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_no_weight_matrix_in_memory(dtype):
    """Extra memory is O(rows + cols) and a few buffers, far below a byte for each weight."""
    array = weights((1500, 1400), dtype, 0.1)
    tensor = compress(array, order="diagonal", mask_codec="bitmap", beam=1)
    x = np.ones(1400, dtype=np.float32)
    spmv(tensor, x)
    tracemalloc.start()
    y = spmv(tensor, x, threads=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert_product(tensor, x[:, None], y[:, None])
    assert peak < 700_000 < array.size / 2


def test_conv_tensor_is_seen_as_a_matrix():
    tensor = compress(weights((16, 8, 3, 3), "int8", 0.4), order="diagonal")
    x = np.random.default_rng(0).integers(-5, 5, 72)
    assert np.array_equal(spmv(tensor, x), decompress(tensor).reshape(16, 72).astype(int) @ x)


@pytest.mark.parametrize("backend", BACKENDS)
def test_scale_and_dtypes_of_results(backend):
    tensor = compress(weights((90, 80), "int8", 0.2), order="diagonal")
    rng = np.random.default_rng(0)
    x, scale = rng.standard_normal((80, 1)), rng.random(90)
    for dtype in (np.float16, np.float32, np.float64):
        y = spmm(tensor, x.astype(dtype), backend=backend, scale=scale)
        assert y.dtype == (np.float64 if dtype == np.float64 else np.float32)
        assert_product(tensor, x.astype(dtype), y, scale.astype(y.dtype))
    integers = rng.integers(-9, 9, 80, dtype=np.int8)
    assert spmv(tensor, integers, backend=backend).dtype == np.int64
    assert spmv(tensor, integers, backend=backend, scale=0.5).dtype == np.float32


def test_tensor_stored_as_it_is():
    array = np.random.default_rng(0).standard_normal((5, 6))
    tensor = compress(array)
    assert tensor.kind == "dense"
    assert np.array_equal(spmv(tensor, np.ones(6)), array @ np.ones(6))


@pytest.mark.parametrize("columns", [1, 5])
@pytest.mark.parametrize("order", ["diagonal", "row", "golden"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_infinite_x_reaches_the_rows_that_use_it(backend, order, columns):
    array = weights((130, 100), "int8", 0.2)
    tensor = compress(array, order=order, beam=1)
    for value in (np.inf, np.nan):
        x = np.ones((100, columns))
        x[7, -1] = value
        y = spmm(tensor, x, backend=backend)
        assert np.array_equal(np.isfinite(y[:, -1]), array[:, 7] == 0)
        assert np.isfinite(y[:, :-1]).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_lists_and_torch_tensors(backend):
    torch = pytest.importorskip("torch")
    tensor = compress(weights((90, 80), "int8", 0.2), beam=1)
    x = np.random.default_rng(0).integers(-9, 9, 80)
    expected = spmv(tensor, x, backend=backend)
    for same in (x.tolist(), torch.tensor(x), x.astype(">i4")):
        y = spmv(tensor, same, backend=backend)
        assert y.dtype == np.int64 and np.array_equal(y, expected)
    floats = torch.tensor(x, dtype=torch.bfloat16).requires_grad_()
    half = torch.tensor(0.5, requires_grad=True)
    y = spmv(tensor, floats, backend=backend, scale=half)
    assert y.dtype == np.float32 and np.array_equal(y, 0.5 * expected)


def test_torch_tensor_stored_as_it_is():
    torch = pytest.importorskip("torch")
    array = torch.tensor([[1.0, -2.0], [0.5, 4.0]])
    for kind in (torch.float8_e4m3fn, torch.bfloat16, torch.float64):
        tensor = compress(array.to(kind))
        assert tensor.kind == "dense"
        assert spmv(tensor, [1, 2]).tolist() == [-3.0, 8.5]


def test_raw_and_encoded_planes_of_bytes():
    """The encoder makes no such tensor, a file may hold one."""
    tensor = compress(weights((130, 100), "int8", 0.2), beam=1)
    rng = np.random.default_rng(0)
    mixed = replace(
        tensor,
        encoded=tensor.encoded[:-1],
        payload=(tensor.payload[0][:, :-1].copy(),),
        raw_planes=tensor.encoded[-1:],
        raw=rng.integers(0, 256, (1, -(-tensor.n // 8)), dtype=np.uint8),
    )
    mixed = CompressedTensor.from_parts(mixed.header(), mixed.arrays())
    for columns in (1, 5):
        x = rng.integers(-9, 9, (100, columns))
        for backend in BACKENDS:
            assert_product(mixed, x, spmm(mixed, x, backend=backend))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("codec", ["bitmap", "cascade"])
def test_refuses_a_mask_of_another_number_of_weights(codec, backend):
    tensor = compress(weights((130, 100), "int8", 0.2), beam=1)
    mask = tensor.mask.decode()
    mask[np.flatnonzero(mask)[0]] = False
    other = replace(tensor, mask=replace(encode_mask(mask, codec, beam=1), k=tensor.k))
    with pytest.raises(FormatError, match="mask must have"):
        spmv(other, np.ones(100), backend=backend)


def test_products_of_one_tensor_from_several_threads():
    array = weights((1024, 700), "int8", 0.1)
    tensor = compress(array, beam=1)
    x = np.random.default_rng(0).integers(-9, 9, 700)
    expected = array.astype(int) @ x
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(10):
            fresh = replace(tensor)
            with ThreadPoolExecutor(8) as pool:
                found = list(pool.map(lambda i, t=fresh: spmv(t, x, threads=1 + i % 3), range(12)))
            assert all(np.array_equal(y, expected) for y in found)
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.parametrize("columns", [1, 5])
def test_small_products_wake_no_thread(columns, monkeypatch):
    tensor = compress(weights((300, 260), "int8", 0.1), beam=1)
    x = np.random.default_rng(0).integers(-9, 9, (260, columns))
    started = []
    monkeypatch.setattr(cpu, "kept_pool", lambda *of: started.append(of) or ThreadPoolExecutor(2))
    expected = spmm(tensor, x, threads=3)
    assert len(started) == 2
    for name, share in SHARES.items():
        monkeypatch.setattr(cpu, name, share)
    assert np.array_equal(spmm(tensor, x, threads=3), expected) and len(started) == 2


@pytest.mark.parametrize("shape", [(1, 400_000), (400_000, 1)])
def test_vectors_take_little_memory(shape):
    tensor = compress(weights(shape, "int8", 0.1), mask_codec="bitmap", beam=1)
    decompress(replace(tensor))
    tracemalloc.start()
    decompress(tensor)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * tensor.n and kept < 2 * tensor.n


def test_refuses_by_name():
    tensor = compress(weights((20, 30), "int8", 0.3))
    x = np.ones(30)
    for bad, message in (
        (lambda: spmv(tensor, np.ones(31)), r"x must have shape \(30, m\)"),
        (lambda: spmv(tensor, np.ones((30, 1))), "x must be one-dimensional"),
        (lambda: spmm(tensor, x), r"x must have shape \(30, m\)"),
        (lambda: spmv(tensor, x.astype(complex)), "x must hold integers"),
        (lambda: spmv(tensor, x > 0), "x must hold integers"),
        (lambda: spmv(tensor, ["a"] * 30), "x must hold integers"),
        (lambda: spmv(tensor, [[1], [1, 2]]), "x must be an array of numbers, got list"),
        (lambda: spmv(tensor, np.ma.masked_array(x, x > 0)), "x must not be a masked array"),
        (lambda: spmv(tensor, x, scale=1j), "scale must hold integers"),
        (lambda: spmv(tensor, x, scale="a"), "scale must hold integers"),
        (lambda: spmv(compress(np.ones((2, 30), complex)), x), "tensor must hold integers"),
        (lambda: spmv(compress(np.ones((2, 30), np.uint64)), x), "tensor must hold integers"),
        (lambda: spmv(tensor, x, backend="mkl"), "backend must be one of"),
        (lambda: spmv(tensor, x, scale=np.ones(30)), r"scale must be a number or have shape \(20"),
        (lambda: spmv(tensor, x, threads=0), "threads must be"),
        (lambda: spmv(np.ones((3, 30)), x), "tensor must be a CompressedTensor"),
        (lambda: spmv(compress(weights((20, 30), "int8", 0.3), mask_codec="none"), x), "its mask"),
    ):
        with pytest.raises(ValueError, match=message):
            bad()


def test_result_does_not_depend_on_a_writable_payload():
    """Arrays read from a file cannot be written to; the kernels read them all the same."""
    tensor = compress(weights((80, 90), "int8", 0.2))
    for part in (*tensor.payload, tensor.raw):
        part.setflags(write=False)
    x = np.arange(90)
    assert np.array_equal(spmv(tensor, x), decompress(tensor).astype(int) @ x)
