"""Positions and values of a mask are NumPy's."""

import numpy as np
import pytest

from f2f.base.masks import positions_of, values_at


@pytest.mark.parametrize("n", [0, 1, 1000])
@pytest.mark.parametrize("share", [0, 0.2, 1])
def test_positions_and_values_of_a_mask(n, share):
    rng = np.random.default_rng(0)
    mask, values = rng.random(n) < share, rng.integers(0, 256, n, dtype=np.uint8)
    assert np.array_equal(positions_of(mask), np.flatnonzero(mask))
    assert np.array_equal(values_at(mask, values), values[mask])
