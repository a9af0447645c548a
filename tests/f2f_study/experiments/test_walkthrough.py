import numpy as np
import pytest

from f2f_study.experiments import walkthrough


def test_planes_are_the_bits_of_the_weights():
    weights = np.arange(-128, 128, dtype=np.int8).reshape(16, 16)
    planes = [walkthrough.plane_bits(weights, p) for p in range(8)]
    found = sum(plane.astype(np.uint8) << p for p, plane in enumerate(planes))
    assert (found.view(np.int8) == weights.reshape(-1)).all()
    with pytest.raises(ValueError, match=r"plane must be .*7.* got 9"):
        walkthrough.plane_bits(weights, 9)
