"""What is chosen when coding depends on no function that processors and libraries round apart."""

import math

import ml_dtypes
import numpy as np
import pytest

import f2f
from f2f.format import mask_rates

FUNCTIONS = ("log", "log2", "log1p", "log10", "exp", "exp2", "expm1", "power", "interp", "tanh")


def tensors():
    """Pruned weights of several densities and dtypes, whose coding chooses rates, basis, codec."""
    rng = np.random.default_rng(0)
    for sparsity in (0.3, 0.6, 0.8, 0.9, 0.97):
        values = rng.integers(-9000, 9000, (160, 130)) / 16384
        for dtype in (np.int8, ml_dtypes.bfloat16):
            weight = (values * (100 if dtype is np.int8 else 1)).astype(dtype)
            weight[rng.random(weight.shape) < sparsity] = 0
            yield weight


def coded():
    """Everything stored of the tensors."""
    mask_rates._plan.cache_clear()
    found = []
    for weight in tensors():
        tensor = f2f.compress(weight, beam=4)
        found += [tensor.header(), *(array.tobytes() for array in tensor.arrays().values())]
    return found


@pytest.mark.parametrize("error", [-0.01, 0.01])
def test_bytes_do_not_depend_on_the_c_library(monkeypatch, error):
    """Its functions are off by far more than a last bit, so that one that is used shows."""
    expected = coded()
    for module in (np, math):
        for name in FUNCTIONS:
            if (exact := getattr(module, name, None)) is not None:
                monkeypatch.setattr(
                    module, name, lambda *given, exact=exact: exact(*given) * (1 + error)
                )
    assert math.log(10) != pytest.approx(2.302585)  # the functions are off
    assert coded() == expected
