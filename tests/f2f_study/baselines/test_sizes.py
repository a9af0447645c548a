"""Other formats give every tensor back, and their sizes are what their layouts say."""

import ml_dtypes
import numpy as np
import pytest

from f2f.base.entropy import floor_bits
from f2f_study.baselines.sizes import FORMATS, pack, packed_bytes, unpack

SHAPES = [(), (0,), (5, 0), (1, 5), (37,), (7, 96), (11, 55), (3, 3, 3, 64)]


def sparse(shape, sparsity, dtype):
    rng = np.random.default_rng(0)
    weight = (50 * rng.standard_normal(shape)).astype(dtype)
    return np.where(rng.random(shape) < sparsity, np.zeros((), dtype), weight)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("dtype", [np.int8, np.float16, ml_dtypes.bfloat16, np.float32])
def test_round_trip(name, dtype):
    for shape in SHAPES:
        for sparsity in (0, 0.5, 0.99, 1):
            weight = sparse(shape, sparsity, dtype)
            back = unpack(name, pack(name, weight), weight.shape, weight.dtype)
            assert (back.dtype, back.shape) == (weight.dtype, weight.shape)
            assert back.tobytes() == weight.tobytes()


def test_negative_zero_is_a_weight():
    weight = np.array([[0.0, -0.0, 1.0]], np.float32)
    for name in FORMATS:
        assert (
            unpack(name, pack(name, weight), weight.shape, weight.dtype).tobytes()
            == weight.tobytes()
        )


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


def test_sizes():
    weight = sparse((128, 256), 0.9, np.int8)
    n, k = weight.size, np.count_nonzero(weight)
    assert packed_bytes(pack("dense", weight)) == n
    assert packed_bytes(pack("bitmap", weight)) == n // 8 + k
    assert packed_bytes(pack("csr", weight)) == 4 * 129 + 5 * k
    coded = 8 * packed_bytes(pack("ans_bitmap", weight))
    assert floor_bits(n, k, 8) < coded < 1.002 * floor_bits(n, k, 8) + 64


def test_an_unknown_format_is_refused():
    with pytest.raises(ValueError, match="name must be one of dense"):
        pack("zip", np.zeros((2, 2)))
