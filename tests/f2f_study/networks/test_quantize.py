"""INT8 quantization: PyTorch's scales and PyTorch's rounding."""

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from f2f.base.tensors import numpy_dtype, to_torch
from f2f.format.tensor import FLOAT8
from f2f_study.networks.quantize import SMALLEST_SCALE, quantize

WEIGHTS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=1, max_dims=4, max_side=6),
    elements=st.floats(-1e3, 1e3, width=32, allow_subnormal=False),
)


@settings(max_examples=60, deadline=None)
@given(WEIGHTS)
def test_per_channel_is_torchs(weights):
    ours = quantize(weights, "channel")
    theirs = torch.quantize_per_channel(
        torch.from_numpy(weights),
        torch.from_numpy(ours.scale).double(),
        torch.zeros(len(ours.scale), dtype=torch.int64),
        0,
        torch.qint8,
    )
    assert np.array_equal(ours.values, theirs.int_repr().numpy())


@settings(max_examples=60, deadline=None)
@given(WEIGHTS)
def test_per_tensor_is_torchs(weights):
    ours = quantize(weights, "tensor")
    theirs = torch.quantize_per_tensor(torch.from_numpy(weights), float(ours.scale), 0, torch.qint8)
    assert np.array_equal(ours.values, theirs.int_repr().numpy())


def test_scales_are_those_of_torchs_observers():
    observers = pytest.importorskip("torch.ao.quantization.observer")
    weights = torch.randn(7, 5, 3, 3, generator=torch.Generator().manual_seed(0))
    weights[2] = 0
    symmetric = torch.per_channel_symmetric
    channel = observers.PerChannelMinMaxObserver(dtype=torch.qint8, qscheme=symmetric)
    channel(weights)
    scale, zero_point = channel.calculate_qparams()
    assert np.array_equal(quantize(weights.numpy(), "channel").scale, scale.numpy())
    assert not zero_point.any()
    tensor = observers.MinMaxObserver(dtype=torch.qint8, qscheme=torch.per_tensor_symmetric)
    tensor(weights)
    scale, _ = tensor.calculate_qparams()
    assert quantize(weights.numpy(), "tensor").scale == scale.numpy()


@pytest.mark.parametrize("scheme", ["tensor", "channel"])
def test_dequantized_weights_are_within_half_a_step(scheme):
    weights = np.random.default_rng(0).standard_normal((11, 55)).astype(np.float32)
    coded = quantize(weights, scheme)
    step = coded.scale[:, None] if scheme == "channel" else coded.scale
    inside = coded.values < 127  # the largest value would need 127.5 steps
    assert coded.values.dtype == np.int8
    assert np.all(
        np.abs(coded.dequantize() - weights)[inside] <= (step * 0.5001 + 0 * weights)[inside]
    )
    assert np.all(np.abs(coded.dequantize() - weights) <= step * 1.0001)


def test_zeros_stay_zeros_and_extremes_are_reached():
    coded = quantize(np.array([[0.0, 2.0], [0.0, -3.0], [0.0, 0.0]]))
    assert coded.values.tolist() == [[0, 127], [0, -128], [0, 0]]
    assert coded.scale[2] == np.float32(SMALLEST_SCALE)


def test_channels_have_their_own_scale():
    weights = np.array([[1.0, 0.5], [100.0, 50.0]], dtype=np.float32)
    assert np.array_equal(*quantize(weights, "channel").values)
    assert quantize(weights, "tensor").values[0].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("weights", "scheme", "message"),
    [
        (np.ones(3), "row", "scheme must be one of tensor, channel, got 'row'"),
        (np.ones(3, np.int32), "tensor", "weights must be floating point, got dtype int32"),
        (np.array([1.0, np.nan]), "tensor", "weights must be finite"),
        (np.array([1.0, 1e300]), "tensor", "weights must be finite in float32"),
        ("text", "tensor", "weights must be floating point, got dtype <U4"),
        (np.float32(1), "channel", "weights must have an axis"),
        (np.ma.masked_equal([1.0, 2.0], 2), "tensor", "weights must not be a masked array"),
        ([np.ma.masked_equal([1.0, 2.0], 2)], "tensor", "weights must not be a masked array"),
    ],
)
def test_bad_arguments_are_named(weights, scheme, message):
    with pytest.raises(ValueError, match=message):
        quantize(weights, scheme)


def test_empty_tensors():
    assert quantize(np.zeros((0, 4), np.float32)).values.shape == (0, 4)
    assert quantize(np.zeros((3, 0), np.float32)).values.shape == (3, 0)


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, *map(numpy_dtype, FLOAT8)])
def test_short_floats_are_quantized_as_their_float32(dtype):
    weights = np.random.default_rng(0).standard_normal((5, 6)).astype(dtype)
    wanted = quantize(weights.astype(np.float32))
    for form in (weights, to_torch(weights), torch.nn.Parameter(to_torch(weights))):
        found = quantize(form)
        assert np.array_equal(found.values, wanted.values)
        assert np.array_equal(found.scale, wanted.scale)
