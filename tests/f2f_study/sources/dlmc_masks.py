"""Masks in the layout of DLMC, for the tests."""

import numpy as np

from f2f_study.sources.smtx import write_smtx


def some_mask(rows, cols, sparsity=0.8, seed=0):
    return np.random.default_rng(seed).random((rows, cols)) >= sparsity


def put_dlmc(data, name="bottleneck_2_block_group1_1_1", shape=(64, 576)):
    place = data / "dlmc" / "rn50" / "magnitude_pruning" / "0.9"
    place.mkdir(parents=True, exist_ok=True)
    mask = some_mask(*shape, 0.9)
    write_smtx(place / f"{name}.smtx", mask)
    return mask
