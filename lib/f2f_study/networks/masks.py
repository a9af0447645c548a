"""Masks of one-shot pruning: which weights stay, by magnitude or at random.

A mask is bool and True where a weight is kept; exactly ``round(sparsity * n)`` of n weights are
dropped.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from f2f.base import validate


def keep_highest(score: Tensor, sparsity: float) -> Tensor:
    """Mask that keeps the highest scores, of any shape; ties are dropped in flat order."""
    sparsity = validate.number("sparsity", sparsity, 0, 1)
    flat = score.detach().reshape(-1)
    drop = round(sparsity * flat.numel())
    mask = torch.ones(flat.numel(), dtype=torch.bool, device=flat.device)
    mask[torch.argsort(flat, stable=True)[:drop]] = False
    return mask.reshape(score.shape)


def magnitude_mask(weight: Tensor, sparsity: float) -> Tensor:
    """Mask that keeps the weights of largest absolute value, of any shape and real dtype.

    >>> magnitude_mask(torch.tensor([0.1, -3.0, 0.2, 1.0]), 0.5).tolist()
    [False, True, False, True]
    """
    # An integer dtype has no room for the absolute value of its lowest number.
    exact = weight if weight.is_floating_point() else weight.to(torch.int64)
    return keep_highest(exact.abs(), sparsity)


def random_mask(shape: Iterable[int], sparsity: float, seed: int = 0) -> Tensor:
    """Mask that drops weights at random; the same for a seed, whatever torch's default dtype."""
    return keep_highest(random_scores(shape, torch.Generator().manual_seed(seed)), sparsity)


def random_scores(shape: Iterable[int], generator: torch.Generator) -> Tensor:
    """float32 in 0..1, uniform: the order in which random pruning drops weights."""
    return torch.rand(tuple(shape), generator=generator, dtype=torch.float32)
