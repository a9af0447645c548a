"""Other formats give every tensor back, and their sizes are what their layouts say."""

import ml_dtypes
import numpy as np
import pytest

from f2f.base.entropy import floor_bits
from f2f_study.baselines import storage
from f2f_study.baselines.storage import FORMATS, absent, pack, packed_bytes, unpack

SHAPES = [(), (0,), (5, 0), (1, 5), (37,), (7, 96), (11, 55), (3, 3, 3, 64)]


@pytest.fixture(params=FORMATS)
def name(request):
    if reason := absent(request.param):
        pytest.skip(reason)
    return request.param


def sparse(shape, sparsity, dtype):
    rng = np.random.default_rng(0)
    weight = (50 * rng.standard_normal(shape)).astype(dtype)
    return np.where(rng.random(shape) < sparsity, np.zeros((), dtype), weight)


def assert_comes_back(name, weight):
    before = weight.tobytes()
    back = unpack(name, pack(name, weight), weight.shape, weight.dtype)
    assert (back.dtype, back.shape) == (weight.dtype, weight.shape)
    assert back.tobytes() == weight.tobytes() == before


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.float16, ml_dtypes.bfloat16, np.float32])
def test_round_trip(name, dtype):
    for shape in SHAPES:
        for sparsity in (0, 0.5, 0.99, 1):
            assert_comes_back(name, sparse(shape, sparsity, dtype))


def test_negative_zero_and_nan_are_weights(name):
    assert_comes_back(name, np.array([[0.0, -0.0, 1.0, np.nan, -np.inf]], np.float32))


def test_tensors_of_many_chunks_come_back(name):
    assert_comes_back(name, sparse((700, 1000), 0.3, np.float32))


def test_delta_csr_by_hand():
    """Gaps of 3, 16 + 0 (one filler) and, in the next row, 16 + 16 + 1 (two fillers)."""
    weight = np.zeros((2, 64), np.int8)
    weight[0, 3], weight[0, 20], weight[1, 33] = 5, 6, 7
    arrays = pack("delta_csr", weight)
    assert arrays["offsets"].tolist() == [0, 3, 6]
    assert arrays["values"].tolist() == [5, 0, 6, 0, 0, 7]
    nibbles = np.stack([arrays["gaps"] & 15, arrays["gaps"] >> 4], 1).reshape(-1)
    assert nibbles.tolist() == [3, 15, 0, 15, 15, 1]
    assert packed_bytes(arrays) == 3 * 4 + 3 + 6


def test_sizes_of_the_layouts():
    weight = sparse((128, 256), 0.9, np.int8)
    n, k = weight.size, np.count_nonzero(weight)
    assert packed_bytes(pack("dense", weight)) == n
    assert packed_bytes(pack("bitmap", weight)) == n // 8 + k
    assert packed_bytes(pack("csr", weight)) == 4 * 129 + 5 * k
    assert packed_bytes(pack("scipy csr npz", weight)) < packed_bytes(pack("csr", weight))


def test_ans_reaches_the_entropy_of_mask_and_values():
    if reason := absent("ans_values"):
        pytest.skip(reason)
    weight = sparse((512, 512), 0.9, np.int8)
    n, k = weight.size, np.count_nonzero(weight)
    mask_bits = floor_bits(n, k, 0)
    coded = 8 * packed_bytes(pack("ans_bitmap", weight)) - 8 * k
    assert mask_bits < coded < 1.001 * mask_bits + 100
    shares = np.bincount(weight[weight != 0].view(np.uint8), minlength=256) / k
    value_bits = -k * float(np.sum(shares * np.log2(shares, where=shares > 0, out=shares * 0)))
    arrays = pack("ans_values", weight)
    assert value_bits < 8 * arrays["values"].nbytes < 1.001 * value_bits + 100
    assert arrays["counts"].nbytes == 512


def test_the_exponent_of_a_float_is_coded_as_a_whole():
    """Eight bits that follow a normal distribution cost 3 to 4; rows of bf16 have 8 of others."""
    if reason := absent("ans_values"):
        pytest.skip(reason)
    weight = np.random.default_rng(0).standard_normal((256, 256)).astype(ml_dtypes.bfloat16)
    exponent = (weight.view(np.uint16) >> 7).astype(np.uint8)
    shares = np.bincount(exponent.reshape(-1), minlength=256) / weight.size
    bits = 8 - np.sum(shares[shares > 0] * np.log2(shares[shares > 0]))
    coded = 8 * pack("ans_values", weight)["values"].nbytes / weight.size
    assert coded < bits + 0.02


def test_an_unknown_format_is_refused():
    with pytest.raises(ValueError, match="name must be one of dense"):
        pack("zip", np.zeros((2, 2)))


def test_an_absent_package_is_named_in_one_line(monkeypatch):
    monkeypatch.setattr(storage.importlib.util, "find_spec", lambda package: None)
    assert absent("dense") == ""
    reason = absent("zipnn")
    assert "package zipnn is not installed" in reason and "\n" not in reason
    with pytest.raises(RuntimeError, match="zipnn is not installed"):
        pack("zipnn", np.zeros((2, 2)))
