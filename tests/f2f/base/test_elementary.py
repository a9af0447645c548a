"""Elementary functions: near those of the C library, and the same bits on every processor."""

import hashlib
import math

import numpy as np
import pytest

from f2f.base.elementary import expm1, interpolate, log, scale


def test_logarithm_is_near_that_of_the_c_library():
    rng = np.random.default_rng(0)
    x = np.concatenate([np.ldexp(rng.random(2000) + 0.5, rng.integers(-900, 900, 2000)), [1, 2]])
    expected = np.array([math.log(value) for value in x])
    np.testing.assert_allclose(log(x), expected, rtol=1e-15, atol=0)
    assert log(np.array(1.0)) == 0


@pytest.mark.parametrize("size", [1e-9, 1e-3, 1, 30, 700])
def test_exponential_is_near_that_of_the_c_library(size):
    x = np.random.default_rng(1).uniform(-size, size, 2000)
    expected = np.array([math.expm1(value) for value in x])
    np.testing.assert_allclose(expm1(x), expected, rtol=1e-12, atol=0)


def test_exponents_are_logarithms_to_base_2_rounded():
    x = np.random.default_rng(2).uniform(0, 300, 2000)
    m, e = scale(x)
    assert (m * 2.0**e == x).all()
    assert e.tolist() == [round(math.log2(value)) for value in x]


def test_interpolation_is_that_of_numpy():
    rng = np.random.default_rng(3)
    xs, ys = np.sort(rng.random(30)), rng.random(30)
    x = np.concatenate([rng.uniform(-0.5, 1.5, 1000), xs])
    np.testing.assert_allclose(interpolate(x, xs, ys), np.interp(x, xs, ys), rtol=1e-14)


def test_every_bit_is_the_same_on_every_processor():
    x = np.arange(1, 5000) / 700
    found = [log(x), expm1(x), expm1(-100 * x), interpolate(np.sqrt(x), x, 1 / x)]
    digest = hashlib.blake2b(np.concatenate(found).astype("<f8").tobytes(), digest_size=12)
    assert digest.hexdigest() == "20f322db64d3128d71d561c0"
