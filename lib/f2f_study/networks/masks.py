"""Masks of pruning at once: which weights stay, by magnitude or at random.

A mask is bool and True where a weight is kept; exactly ``round(sparsity * n)`` of n weights are
dropped.
"""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from f2f.base import validate
from f2f_study.networks.layers import ONE_SHOT


def one_shot(weights: np.ndarray, method: str, sparsity: float, seed: int = 0) -> np.ndarray:
    """The mask of a dense tensor, of any shape, by one of `ONE_SHOT`.

    `seed` is that of random masks, and of ties between INT8 weights: dropped in flat order, these
    would empty the first rows.

    >>> one_shot(np.array([0.1, -3.0, 0.2, 1.0]), "magnitude", 0.5).tolist()
    [False, True, False, True]
    """
    validate.choice("method", method, ONE_SHOT)
    generator = torch.Generator().manual_seed(seed)
    if method == "random":
        return keep_highest(random_scores(weights.shape, generator), sparsity).numpy()
    size = torch.from_numpy(np.abs(weights.astype(np.float32)))
    if weights.dtype == np.int8:
        size = size + 0.5 * random_scores(size.shape, generator)
    return keep_highest(size, sparsity).numpy()


def keep_highest(score: Tensor, sparsity: float) -> Tensor:
    """Mask that keeps the highest scores, of any shape; ties are dropped in flat order."""
    sparsity = validate.number("sparsity", sparsity, 0, 1)
    flat = score.detach().reshape(-1)
    drop = round(sparsity * flat.numel())
    mask = torch.ones(flat.numel(), dtype=torch.bool, device=flat.device)
    mask[torch.argsort(flat, stable=True)[:drop]] = False
    return mask.reshape(score.shape)


def random_scores(shape: Iterable[int], generator: torch.Generator) -> Tensor:
    """float32 in 0..1, uniform: the order in which random pruning drops weights."""
    return torch.rand(tuple(shape), generator=generator, dtype=torch.float32)
