"""Entropy and the floor of a pruned tensor against values computed by hand and by counting."""

import math

import pytest

from f2f.base.entropy import binary_entropy, floor_bits


def test_entropy_of_a_coin():
    assert binary_entropy(0.5) == 1
    assert binary_entropy(0) == binary_entropy(1) == 0
    assert binary_entropy(0.11) == pytest.approx(0.49992, abs=1e-5)
    assert binary_entropy(0.1) == pytest.approx(binary_entropy(0.9))


def test_floor_of_a_tensor():
    # H(0.1) = 0.4690: 1.269 bits a weight for INT8 at S = 0.9
    assert floor_bits(1000, 100, 8) == pytest.approx(1268.996, abs=1e-3)
    assert floor_bits(0, 0, 8) == 0


def test_the_floor_counts_masks_and_values():
    # log2 of the number of pairs (mask of 4000 with 400 ones, values of 3 bits), by Stirling's own
    pairs = math.lgamma(4001) - math.lgamma(401) - math.lgamma(3601)
    bits = pairs / math.log(2) + 400 * 3
    assert bits < floor_bits(4000, 400, 3) < bits + 10
