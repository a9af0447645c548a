"""What every backend's product must be: integers exact, floats within `f2f.product`'s bound."""

import numpy as np

from f2f.product.dense import dense_matrix


def assert_product(tensor, x, y, scale=None):
    """Y is the product of a tensor and x (cols, m), rows scaled if so."""
    dense = dense_matrix(tensor)
    if y.dtype.kind == "i":
        assert np.array_equal(y, dense.astype(np.int64) @ x.astype(np.int64))
        return
    # Wider than what is checked, where the machine has such floats.
    wide = np.longdouble if y.dtype == np.float64 else np.float64
    dense, x = dense.astype(wide), x.astype(wide)
    factor = wide(1) if scale is None else np.asarray(scale).astype(wide).reshape(-1, 1)
    share = (dense.shape[1] + 4) * np.finfo(y.dtype).eps / 2
    bound = share / (1 - share) * np.abs(factor) * (np.abs(dense) @ np.abs(x))
    assert (np.abs(y - factor * (dense @ x)) <= bound).all()
