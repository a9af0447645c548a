"""The same bytes, weights and products on other processors than this one."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

import f2f


def coded():
    """A hash of what two tensors compress to, after they came back and multiplied rightly."""
    rng = np.random.default_rng(0)
    words = rng.integers(-127, 128, (140, 200)).astype(np.int8)  # large enough for tiles
    words[rng.random(words.shape) < 0.9] = 0
    floats = np.where(words, rng.standard_normal(words.shape), 0).astype(np.float32)
    x = rng.integers(-9, 9, 200)
    digest = hashlib.sha256()
    for weight in (words, floats):
        tensor = f2f.compress(weight, beam=4)
        assert tensor.kind == "encoded"
        assert f2f.decompress(tensor).tobytes() == weight.tobytes()
        product = f2f.spmv(tensor, x)
        np.testing.assert_allclose(product, weight.astype(np.float64) @ x, rtol=1e-4, atol=1e-4)
        digest.update(tensor.arrays()["data"])
    return digest.hexdigest()


@pytest.mark.slow  # all kernels are compiled once more
@pytest.mark.parametrize("features", ["+avx2", ""])
def test_without_bmi2_and_without_avx2(features, tmp_path):
    told = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": features}
    environment = os.environ | told | {"NUMBA_CACHE_DIR": str(tmp_path)}
    ran = subprocess.run(
        [sys.executable, __file__], env=environment, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == coded()


if __name__ == "__main__":
    print(coded())
