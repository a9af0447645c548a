"""One-shot masks: the exact share, the right weights, one seed one mask."""

import pytest
import torch

from f2f_study.networks import masks


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.7, 0.9, 1.0])
def test_one_shot_masks_drop_exactly_the_asked_share(sparsity):
    weight = torch.randn(13, 7, generator=torch.Generator().manual_seed(0))
    for mask in (
        masks.magnitude_mask(weight, sparsity),
        masks.random_mask((13, 7), sparsity, seed=5),
    ):
        assert mask.dtype == torch.bool
        assert mask.shape == (13, 7)
        assert int((~mask).sum()) == round(sparsity * 91)


def test_magnitude_mask_keeps_the_largest():
    weight = torch.randn(50, generator=torch.Generator().manual_seed(0))
    mask = masks.magnitude_mask(weight, 0.6)
    assert weight.abs()[mask].min() > weight.abs()[~mask].max()


def test_ties_are_cut_to_the_exact_number():
    assert int(masks.magnitude_mask(torch.ones(10), 0.3).sum()) == 7


def test_random_mask_is_that_of_its_seed_and_spreads_like_a_binomial():
    first = masks.random_mask((400, 100), 0.9, seed=1)
    assert torch.equal(first, masks.random_mask((400, 100), 0.9, seed=1))
    assert not torch.equal(first, masks.random_mask((400, 100), 0.9, seed=2))
    spread = float(first.sum(dim=1).float().var()) / (100 * 0.9 * 0.1)
    assert 0.75 < spread < 1.25


def test_a_random_mask_does_not_depend_on_the_default_dtype():
    wanted = masks.random_mask((40, 50), 0.9, seed=2)
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(masks.random_mask((40, 50), 0.9, seed=2), wanted)
    finally:
        torch.set_default_dtype(torch.float32)


def test_the_lowest_integer_is_the_largest_magnitude():
    weight = torch.tensor([-128, 127, 1, -1], dtype=torch.int8)
    assert masks.magnitude_mask(weight, 0.75).tolist() == [True, False, False, False]


def test_a_share_outside_of_0_to_1_is_named():
    with pytest.raises(ValueError, match=r"sparsity must be a number in 0..1, got 1\.5"):
        masks.magnitude_mask(torch.ones(3), 1.5)
