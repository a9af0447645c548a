"""Products of other formats equal the dense product."""

import numpy as np
import pytest
import scipy.sparse

from f2f_study.baselines import csr
from f2f_study.baselines.products import FORMATS, ONE_COLUMN, prepare

SHAPES = [(1, 8), (7, 96), (33, 136), (200, 320)]
DENSITIES = [0.0, 0.02, 0.4, 1.0]


def integers(shape, density, dtype=np.int8):
    """Weights whose products are exact in float32."""
    rng = np.random.default_rng(0)
    weight = rng.integers(-99, 100, shape).astype(dtype)
    weight[rng.random(shape) >= density] = 0
    return weight


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("density", DENSITIES)
def test_every_format_equals_the_dense_product(name, shape, density):
    weight = integers(shape, density)
    for columns in (1,) if name in ONE_COLUMN else (1, 5):
        x = np.random.default_rng(1).integers(-9, 9, (shape[1], columns)).astype(np.float32)
        product = prepare(name, weight, x)
        for _ in range(2):
            y = np.asarray(product.run()).reshape(shape[0], columns)
            assert np.array_equal(y, weight.astype(np.float32) @ x)


@pytest.mark.parametrize("shape", [(1, 1), (7, 96), (11, 55), (200, 300)])
@pytest.mark.parametrize("density", [0.0, 0.1, 1.0])
def test_algorithm_1_equals_scipy(shape, density):
    weight = integers(shape, density, np.float64) / 7
    matrix = scipy.sparse.csr_array(weight)
    x = np.random.default_rng(0).standard_normal(shape[1])
    for y in (csr.spmv_plain(matrix, x), csr.spmv(matrix, x)):
        np.testing.assert_allclose(y, weight @ x, rtol=1e-12, atol=1e-10)
    for multiply in (csr.spmv_plain, csr.spmv):
        with pytest.raises(ValueError, match="x must have shape"):
            multiply(matrix, np.ones(shape[1] + 1))


def test_stored_bytes_follow_the_layouts():
    weight = integers((64, 128), 0.2)
    k, x = np.count_nonzero(weight), np.zeros(128, np.float32)
    stored = {name: prepare(name, weight, x).stored_bytes for name in FORMATS}
    assert stored["dense_fp32"] == 4 * weight.size
    assert stored["csr_torch"] == stored["csr_scipy"] == stored["csr_numba"] == 4 * 65 + 8 * k
    assert stored["bitmap"] == 4 * 65 + weight.size // 8 + k
    assert stored["delta_csr"] >= 4 * 65 + 1.5 * k


def test_wrong_operands_are_refused():
    weight = integers((4, 12), 0.5)
    with pytest.raises(ValueError, match="name must be one of dense_fp32"):
        prepare("ellpack", weight, np.zeros(12, np.float32))
    with pytest.raises(ValueError, match="x must have 12 rows"):
        prepare("dense_fp32", weight, np.zeros(11, np.float32))
    with pytest.raises(ValueError, match="x must be a vector for delta_csr"):
        prepare("delta_csr", weight, np.zeros((12, 2), np.float32))
    with pytest.raises(ValueError, match="multiple of 8 columns"):
        prepare("bitmap", weight, np.zeros(12, np.float32))
