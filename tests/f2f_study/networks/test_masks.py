"""One-shot masks: the exact share, the right weights, one seed one mask."""

import numpy as np
import pytest
import torch

from f2f_study.networks.masks import keep_highest, one_shot


def normal(*shape):
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


@pytest.mark.parametrize("method", ["random", "magnitude"])
@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.7, 0.9, 1.0])
def test_exactly_the_asked_share_is_dropped(method, sparsity):
    mask = one_shot(normal(13, 7), method, sparsity, seed=5)
    assert mask.dtype == bool and mask.shape == (13, 7)
    assert (~mask).sum() == round(sparsity * 91)


def test_the_largest_are_kept():
    weight = np.abs(normal(50))
    mask = one_shot(-weight, "magnitude", 0.6)
    assert weight[mask].min() > weight[~mask].max()


def test_ties_are_cut_to_the_exact_number():
    assert int(keep_highest(torch.ones(10), 0.3).sum()) == 7
    integers = np.ones((40, 50), np.int8)
    mask = one_shot(integers, "magnitude", 0.9, seed=1)
    assert mask.sum() == 200 and mask.any(1).sum() > 30, "ties are spread over the rows"


def test_a_random_mask_is_that_of_its_seed_and_spreads_like_a_binomial():
    weight = normal(400, 100)
    first = one_shot(weight, "random", 0.9, seed=1)
    assert np.array_equal(first, one_shot(weight, "random", 0.9, seed=1))
    assert not np.array_equal(first, one_shot(weight, "random", 0.9, seed=2))
    spread = first.sum(1).var(ddof=1) / (100 * 0.9 * 0.1)
    assert 0.75 < spread < 1.25


def test_a_random_mask_does_not_depend_on_the_default_dtype():
    wanted = one_shot(normal(40, 50), "random", 0.9, seed=2)
    torch.set_default_dtype(torch.float64)
    try:
        assert np.array_equal(one_shot(normal(40, 50), "random", 0.9, seed=2), wanted)
    finally:
        torch.set_default_dtype(torch.float32)


def test_the_lowest_integer_is_the_largest_magnitude():
    weight = np.array([-128, 127, 1, -1], np.int8)
    assert one_shot(weight, "magnitude", 0.75).tolist() == [True, False, False, False]


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"sparsity must be a number in 0..1, got 1\.5"):
        one_shot(normal(3), "magnitude", 1.5)
    with pytest.raises(ValueError, match="method must be one of random, magnitude, got 'l0'"):
        one_shot(normal(3), "l0", 0.5)
