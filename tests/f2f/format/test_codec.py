"""Whole tensors come back bit for bit, whatever their dtype, shape, sparsity and settings."""

import json
import tracemalloc
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import f2f
from f2f import encoder
from f2f.base.entropy import binary_entropy, floor_bits
from f2f.base.errors import FormatError
from f2f.base.tensors import numpy_dtype
from f2f.format import basis, codec
from f2f.format import mask as mask_module
from f2f.format.codec import _encode, _Options
from f2f.format.mask import encode_mask
from f2f.format.orders import ORDERS, Order, matrix_shape
from f2f.format.record import CHECKSUM, record_bytes, split
from f2f.format.tensor import DTYPES, FLOAT8, SIGNED_ZEROS, CompressedTensor

SHAPES = [(), (0,), (1,), (5,), (1, 33), (7, 96), (11, 55), (3, 3, 3, 64), (40, 0), (128, 40)]
SPECIAL = {
    "float32": [0x80000000, 0x7F800001, 0xFFC12345, 0x7F800000, 0xFF800000, 0x00000001],
    "float16": [0x8000, 0x7C01, 0xFE12, 0x7C00, 0xFC00, 0x0001],
    "bfloat16": [0x8000, 0x7F81, 0xFFC1, 0x7F80, 0xFF80, 0x0001],
    "int16": [0x8000, 0x7FFF, 0xFFFF, 0x0001],
    "int8": [0x80, 0x7F, 0xFF, 0x01],
    "uint8": [0x80, 0x7F, 0xFF, 0x01],
} | {name: [0x80, 0x7F, 0xFF, 0x7C, 0xFC, 0x01] for name in FLOAT8}


def bit_view(array):
    return array.reshape(-1).view(f"u{array.dtype.itemsize}")


def random_tensor(dtype, shape, sparsity, seed, skewed):
    """Random bits (or small numbers, whose high bits are skewed), then pruned to zero."""
    rng = np.random.default_rng(seed)
    n = int(np.prod(shape))
    size = DTYPES[dtype]
    if skewed and dtype in ("int8", "uint8", "int16"):
        words = rng.integers(-9, 10, n).astype(f"i{size}").view(f"u{size}")
    elif skewed:
        words = bit_view(rng.standard_normal(n).astype(numpy_dtype(dtype)))
    else:
        words = rng.integers(0, 2 ** (8 * size), n, dtype=f"u{size}")
    for value in SPECIAL[dtype]:
        words[rng.random(n) < 0.02] = value
    words[rng.random(n) < sparsity] = 0
    return words.view(numpy_dtype(dtype)).reshape(shape)


def encode_always(array, mask=None, **options):
    """The tensor of kind "encoded", also where storing it as it is would be smaller."""
    defaults = {"n_s": 7, "n_out": None, "least_efficiency": 0.0, "seed": 0,
                "method": "beam", "beam": 8, "order": "golden", "mask_codec": "auto", "threads": 1,
                "matrix": "random"}  # fmt: skip
    walk = Order(options.get("order", "golden"), *matrix_shape(array.shape))
    words = bit_view(np.ascontiguousarray(array))
    care = words != 0 if mask is None else mask.reshape(-1)
    name = array.dtype.name
    dense = CompressedTensor(array.shape, name, "numpy", "dense", words.view(np.uint8))
    care_mask = walk.take(care)
    stored = walk.take(words)[care_mask]
    return _encode(stored, care_mask, dense, _Options(**(defaults | options)))


@settings(max_examples=60, deadline=None)
@given(
    dtype=st.sampled_from(sorted(DTYPES)),
    shape=st.sampled_from(SHAPES),
    sparsity=st.sampled_from([0.0, 0.3, 0.5, 0.9, 0.99, 1.0]),
    order=st.sampled_from(ORDERS),
    window=st.sampled_from([*((n_s, "random") for n_s in range(8)), (7, "folded")]),
    mask_codec=st.sampled_from(["auto", "bitmap", "cascade"]),
    skewed=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_round_trip_is_exact(dtype, shape, sparsity, order, window, mask_codec, skewed, seed):
    array = random_tensor(dtype, shape, sparsity, seed, skewed)
    options = {"order": order, "mask_codec": mask_codec, "seed": seed}
    options |= {"n_s": window[0], "matrix": window[1]}
    for tensor in (encode_always(array, **options), f2f.compress(array, **options)):
        back = f2f.decompress(tensor)
        assert back.dtype == array.dtype and back.shape == array.shape
        assert np.array_equal(bit_view(back), bit_view(array))
        again = CompressedTensor.from_parts(tensor.header(), tensor.arrays())
        assert np.array_equal(bit_view(f2f.decompress(again)), bit_view(array))
        assert again.nbytes == tensor.nbytes


@settings(max_examples=30, deadline=None)
@given(
    dtype=st.sampled_from(sorted(DTYPES)),
    shape=st.sampled_from(SHAPES),
    mask_codec=st.sampled_from(["auto", "bitmap", "cascade", "none"]),
    seed=st.integers(0, 1000),
)
def test_a_given_mask_decides_what_is_kept(dtype, shape, mask_codec, seed):
    array = random_tensor(dtype, shape, 0.5, seed, False)
    mask = np.random.default_rng(seed).random(shape) < 0.3
    tensor = encode_always(array, np.asarray(mask), mask_codec=mask_codec)
    back = f2f.decompress(tensor, np.asarray(mask) if mask_codec == "none" else None)
    kept = bit_view(array).copy()
    kept[~np.asarray(mask).reshape(-1)] = 0
    assert np.array_equal(bit_view(back), kept)
    assert np.array_equal(bit_view(f2f.decompress(f2f.compress(array, mask))), kept)


def test_torch_tensors_come_back_as_torch_tensors():
    for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.int8, torch.int16):
        array = (torch.randn(32, 3, 5, 5) * 50).to(dtype)
        array[torch.rand(array.shape) < 0.9] = 0
        for view in (array, array.permute(2, 0, 3, 1), array.to(memory_format=torch.channels_last)):
            back = f2f.decompress(f2f.compress(view))
            assert isinstance(back, torch.Tensor) and back.dtype == dtype
            assert torch.equal(back, view)


def test_strided_and_big_endian_arrays():
    base = random_tensor("int16", (64, 64), 0.8, 3, True)
    for array in (base[::2, 1::3], base.T, base.astype(">i2")):
        assert np.array_equal(f2f.decompress(f2f.compress(array)), array)


def test_other_dtypes_are_stored_as_they_are():
    for array in (np.arange(6).reshape(2, 3), np.array(True), np.array([1 + 2j]), np.zeros((2, 0))):
        tensor = f2f.compress(array)
        back = f2f.decompress(tensor)
        assert tensor.kind == "dense" and back.dtype == array.dtype
        assert np.array_equal(back, array)
    counter = torch.tensor(7)
    assert torch.equal(f2f.decompress(f2f.compress(counter)), counter)


def test_a_tensor_does_not_change_with_the_array_it_came_from():
    for array in (np.arange(50), random_tensor("int8", (50, 50), 0.0, 0, False)):
        before, tensor = array.copy(), f2f.compress(array)
        array[:] = 7
        assert np.array_equal(f2f.decompress(tensor), before)


def test_same_input_same_bytes_for_any_number_of_threads():
    array = random_tensor("int16", (128, 300), 0.9, 1, False)
    one, two = (f2f.compress(array, threads=threads) for threads in (1, 3))
    assert one.header() == two.header()
    for name, part in one.arrays().items():
        assert np.array_equal(part, two.arrays()[name]), name


def test_viterbi_is_never_worse_than_the_beam():
    array = random_tensor("int8", (32, 100), 0.9, 1, False)
    exact = encode_always(array, n_s=1, n_out=80, method="viterbi")
    beam = encode_always(array, n_s=1, n_out=80, beam=4)
    assert np.array_equal(f2f.decompress(exact), array)
    assert exact.efficiency >= beam.efficiency


def test_skewed_planes_go_below_the_bound_for_fair_bits():
    rng = np.random.default_rng(0)
    array = rng.standard_normal((256, 256)).astype(np.float32)
    array[rng.random(array.shape) < 0.9] = 0
    tensor = f2f.compress(array)
    assert tensor.floor < 8 * tensor.nbytes < floor_bits(tensor.n, tensor.k, 32)
    assert np.array_equal(f2f.decompress(tensor), array)


def test_the_floor_of_constant_planes_is_that_of_their_exceptions():
    """Here every weight is 5, or 4 at one of 16 places: one plane of exceptions, seven of none."""
    array = np.where(np.arange(64 * 64) % 16, 5, 4).reshape(64, 64).astype(np.int8)
    tensor = f2f.compress(array)
    assert not tensor.encoded and [code.count for code in tensor.corrections].count(256) == 1
    assert tensor.floor == pytest.approx(4096 * binary_entropy(1 / 16))
    assert tensor.floor < 8 * tensor.nbytes


def test_a_given_n_out_is_used_whatever_it_costs():
    array = random_tensor("int8", (64, 512), 0.9, 0, False)
    for n_out in (8, 32, 80, 200):
        tensor = f2f.compress(array, n_out=n_out)
        if tensor.kind == "encoded":
            assert tensor.n_out == n_out and tensor.encoded == tuple(range(8))
        assert np.array_equal(f2f.decompress(tensor), array)
    assert f2f.compress(array, n_out=32).kind == "encoded"


@pytest.mark.parametrize("least", [99.0, 99.9, 99.99])
def test_the_least_efficiency_is_reached_without_coding_the_mask_again(monkeypatch, least):
    masks = []
    monkeypatch.setattr(
        codec, "encode_mask", lambda *given, **options: masks.append(encode_mask(*given, **options))
    )
    array = random_tensor("int8", (300, 500), 0.9, 0, False)
    care = np.flatnonzero(Order("diagonal", 300, 500).take(bit_view(array)) != 0)
    free = f2f.compress(array, beam=8)
    tensor = f2f.compress(array, beam=8, least_efficiency=least)
    assert len(masks) == 2
    decoded = tensor.decoder.decode(tensor.payload[0], tensor.n)[care]
    basis = codec.choose_basis(array[array != 0].view(np.uint8))
    stored = codec.stored_words(basis, Order("diagonal", 300, 500).take(bit_view(array))[care])
    wrong = np.unpackbits(decoded ^ stored).mean()
    assert tensor.efficiency == pytest.approx(100 * (1 - wrong)) and tensor.efficiency >= least
    assert (tensor.n_out == free.n_out) == (free.efficiency >= least)
    # No smaller than needed, but for a step or two that the model is off.
    larger = f2f.compress(array, beam=8, n_out=min(free.n_out, tensor.n_out + 3))
    assert larger.n_out == free.n_out or larger.efficiency < least


def test_a_least_efficiency_that_is_not_reached_is_said():
    array = random_tensor("int8", (64, 512), 0.8, 0, False)
    message = r"least_efficiency 100 % is not reached: E is 9\d\.\d+ % with n_out = 8"
    with pytest.warns(UserWarning, match=message):
        tensor = f2f.compress(array, n_s=0, seed=1, least_efficiency=100)
    assert np.array_equal(f2f.decompress(tensor), array)


def test_stored_bits_add_up_to_what_is_stored():
    tensor = f2f.compress(random_tensor("int8", (64, 512), 0.9, 0, False))
    assert tensor.kind == "encoded"
    data = tensor.arrays()["data"].nbytes
    _, numbers = split(tensor.header())
    assert tensor.nbytes == data + len(record_bytes(numbers, data, bytes(CHECKSUM)))
    report = tensor.report()
    for word in ("payload", "corrections", "mask", "header", "floor", "E"):
        assert word in report


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_s": 8}, r"n_s must be an integer in 0..7, got 8"),
        ({"matrix": ""}, r"matrix must be one of random, folded, got ''"),
        ({"matrix": "folded", "n_s": 2}, r'matrix must be "random" for n_in=8 and n_s=2'),
        ({"least_efficiency": 101}, r"least_efficiency must be a number in 0..100, got 101"),
        ({"least_efficiency": "9"}, r"least_efficiency must be a number in 0..100, got '9'"),
        ({"least_efficiency": 9, "n_out": 8}, r"least_efficiency must be 0 where n_out is given"),
        ({"n_out": 0}, r"n_out must be an integer in 1..65535, got 0"),
        ({"order": "hilbert"}, r"order must be one of row, .*got 'hilbert'"),
        ({"mask_codec": "zip"}, r"mask_codec must be one of .*got 'zip'"),
        ({"method": "magic"}, r"method must be one of beam, viterbi, got 'magic'"),
        ({"beam": 0}, r"beam must be an integer in 1..65535, got 0"),
        ({"threads": 0}, r"threads must be an integer >= 1, got 0"),
        ({"mask": np.ones(3)}, r"mask must have the array's shape \(4, 4\), got \(3,\)"),
        ({"mask": np.full((4, 4), 2)}, r"mask must hold only 0 and 1"),
    ],
)
def test_bad_arguments_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        f2f.compress(np.zeros((4, 4), dtype=np.int8), **options)


def test_numpy_integers_are_integers(tmp_path):
    array = random_tensor("int8", (64, 96), 0.9, 1, False)
    numbers = {"n_s": np.int64(2), "n_out": np.uint16(60), "seed": np.int32(3), "beam": np.int8(4)}
    tensor = f2f.compress(array, **numbers)
    plain = f2f.compress(array, n_s=2, n_out=60, seed=3, beam=4)
    assert json.dumps(tensor.header()) == json.dumps(plain.header())


def test_bad_arrays_are_refused_by_name():
    with pytest.raises(ValueError, match="array must be a NumPy array or a torch tensor, got str"):
        f2f.compress("weights")
    with pytest.raises(ValueError, match="array must be numeric, got dtype object"):
        f2f.compress(np.array([None]))
    with pytest.raises(ValueError, match="mask must be None for dtype int64"):
        f2f.compress(np.arange(4), mask=np.ones(4, dtype=bool))
    with pytest.raises(ValueError, match="mask must be given"):
        f2f.decompress(encode_always(np.ones((4, 4), np.int8), mask_codec="none"))


def test_parts_that_do_not_fit_are_refused():
    tensor = encode_always(random_tensor("int8", (16, 100), 0.9, 0, False))
    header, arrays = tensor.header(), tensor.arrays()
    data = arrays["data"]
    for wrong in ({}, {"data": data[:-1]}, {"data": np.append(data, 0)}, {"data": data.view("i1")}):
        with pytest.raises(FormatError):
            CompressedTensor.from_parts(header, wrong)
    for name in header:
        for value in (None, -1, 2**70, "x", [1] * 99, 1.5):
            with pytest.raises(FormatError):
                CompressedTensor.from_parts(header | {name: value}, arrays)
    with pytest.raises(FormatError, match="must have one part"):
        CompressedTensor.from_parts(header, arrays | {"extra": np.zeros(1, np.uint8)})
    with pytest.raises(FormatError, match="a plane is both encoded and raw"):
        CompressedTensor.from_parts(header | {"encoded": 1, "raw": 1}, arrays)


@pytest.mark.parametrize(
    "array",
    [
        np.array(["cat"]),
        np.array([b"cat"]),
        np.array(["2026-01-01"], dtype="datetime64[D]"),
        np.zeros(3, dtype=[("a", "i4")]),
        np.zeros(3, dtype="V4"),
    ],
    ids=lambda array: str(array.dtype),
)
def test_what_is_no_number_is_refused(array):
    with pytest.raises(ValueError, match="array must be numeric, got dtype"):
        f2f.compress(array)


def test_masked_arrays_are_refused():
    """Their values at masked places are not meant."""
    array = np.ma.masked_array([[1, 2], [3, 4]], mask=[[0, 1], [0, 0]])
    with pytest.raises(ValueError, match="array must not be a masked array"):
        f2f.compress(array)


def test_more_weights_than_an_order_counts_are_stored_as_they_are(monkeypatch):
    monkeypatch.setattr("f2f.format.codec.MAX_WEIGHTS", 9999)
    array = np.zeros((100, 100), np.int8)
    tensor = f2f.compress(array)
    assert tensor.kind == "dense" and np.array_equal(f2f.decompress(tensor), array)
    assert f2f.compress(array[:99]).kind == "encoded"


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", FLOAT8)
def test_every_byte_of_a_float8_comes_back(dtype, library, tmp_path):
    """Dense and sparse; all but +0.0 are weights, the NaN and -0.0 patterns too."""
    rng = np.random.default_rng(0)
    words = np.resize(np.arange(256, dtype=np.uint8), (64, 96))
    for density, kind in ((1.0, "dense"), (0.1, "encoded")):
        words[rng.random(words.shape) >= density] = 0
        array = words.view(numpy_dtype(dtype))
        given = array if library == "numpy" else torch.from_numpy(words).view(getattr(torch, dtype))
        tensor = f2f.compress(given, negative_zero="keep")
        assert (tensor.kind, tensor.dtype, tensor.library) == (kind, dtype, library)
        assert kind == "dense" or tensor.k == np.count_nonzero(words)
        f2f.save(tmp_path / "m.safetensors", {"w": tensor})
        for stored in (tensor, f2f.load(tmp_path / "m.safetensors")["w"]):
            back = f2f.decompress(stored)
            assert type(back) is type(given) and back.dtype == given.dtype
            bits = back.view(torch.uint8).numpy() if library == "torch" else back.view(np.uint8)
            assert np.array_equal(bits, words)


@pytest.mark.parametrize("dtype", ["float8_e4m3fnuz", "float8_e5m2fnuz"])
def test_a_sign_bit_alone_is_no_zero_where_it_is_nan(dtype):
    words = np.zeros((64, 64), np.uint8)
    words[::7] = 0x80
    array = words.view(numpy_dtype(dtype))
    assert np.isnan(array.astype(np.float32)[0, 0])
    for negative_zero in (None, "prune"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            tensor = f2f.compress(array, negative_zero=negative_zero)
        assert tensor.k == np.count_nonzero(words)
        assert np.array_equal(f2f.decompress(tensor).view(np.uint8), words)


@pytest.mark.parametrize("dtype", SIGNED_ZEROS)
def test_negative_zeros_of_a_product_with_a_mask(dtype):
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((64, 64)).astype(numpy_dtype(dtype))
    array = weight * (rng.random(weight.shape) < 0.1).astype(weight.dtype)
    zeros = np.count_nonzero(bit_view(array) << 1 == 0)
    with pytest.warns(UserWarning, match=r'is -0\.0, .*negative_zero="prune"'):
        kept = f2f.compress(array, beam=1)
    assert np.array_equal(bit_view(f2f.decompress(kept)), bit_view(array))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert f2f.compress(array, beam=1, negative_zero="keep").nbytes == kept.nbytes
        pruned = f2f.compress(array, beam=1, negative_zero="prune")
        f2f.compress(np.zeros((0, 3), array.dtype))
        wide = -np.zeros((3, 3))  # of a dtype that is stored as it is
        assert np.signbit(f2f.decompress(f2f.compress(wide, negative_zero="prune"))).all()
    assert pruned.n - pruned.k == zeros
    back = f2f.decompress(pruned)
    assert np.array_equal(back, array)
    assert not np.signbit(back[back == 0]).any()
    with pytest.raises(ValueError, match="negative_zero must be one of keep, prune"):
        f2f.compress(array, negative_zero="drop")


@pytest.mark.parametrize("dtype", [torch.float32, torch.int8, torch.complex64])
def test_empty_torch_tensors(dtype):
    for shape in ((0, 5), (3, 0), (0,)):
        back = f2f.decompress(f2f.compress(torch.zeros(shape, dtype=dtype)))
        assert back.dtype == dtype and tuple(back.shape) == shape


def test_torch_tensors_that_are_views_of_a_kind():
    values = torch.complex(torch.arange(4.0), torch.ones(4))
    for tensor in (values.conj(), values.conj().imag, values.real):
        assert torch.equal(f2f.decompress(f2f.compress(tensor)), tensor)
    parameter = torch.nn.Parameter(torch.eye(40))
    assert torch.equal(f2f.decompress(f2f.compress(parameter)), parameter)
    with pytest.raises(ValueError, match="got one on the meta device"):
        f2f.compress(torch.empty(3, device="meta"))
    with pytest.raises(ValueError, match="must be dense"):
        f2f.compress(torch.eye(3).to_sparse())


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("sparsity", [0.9, 0.5, 0.0])
def test_compressing_takes_few_bytes_a_weight(monkeypatch, sparsity, threads):
    """Beside the array and buffers of fixed size, which are made small here."""
    monkeypatch.setattr(encoder.beam, "SEGMENT_BLOCKS", 1 << 10)
    monkeypatch.setattr(encoder.beam, "SEGMENT_ROWS", 1 << 12)
    monkeypatch.setattr(mask_module, "PART_PLACES", 1 << 16)
    monkeypatch.setattr(basis, "AT_ONCE", 1 << 12)
    monkeypatch.setattr(codec, "AT_ONCE", 1 << 12)
    rng = np.random.default_rng(0)
    array = rng.integers(1, 128, (1024, 1024), dtype=np.int8)
    array[rng.random(array.shape, dtype=np.float32) < sparsity] = 0
    mask = array != 0 if sparsity == 0.9 else None
    f2f.compress(array[:64], beam=1)
    tracemalloc.start()
    tensor = f2f.compress(array, mask, beam=1, threads=threads)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert tensor.kind == "encoded" and peak < 8 * array.size
    assert np.array_equal(f2f.decompress(tensor), array)
