"""Masks in the layout of DLMC, for the tests."""

import numpy as np


def write_smtx(path, mask):
    """Write a mask (rows, cols) as .smtx text."""
    rows, columns = np.nonzero(mask)
    offsets = np.searchsorted(rows, np.arange(mask.shape[0] + 1))
    path.write_text(
        f"{mask.shape[0]}, {mask.shape[1]}, {len(columns)}\n"
        f"{' '.join(map(str, offsets))}\n{' '.join(map(str, columns))}\n"
    )


def some_mask(rows, cols, sparsity=0.8, seed=0):
    return np.random.default_rng(seed).random((rows, cols)) >= sparsity


def put_dlmc(data, name="bottleneck_2_block_group1_1_1", shape=(64, 576)):
    place = data / "dlmc" / "rn50" / "magnitude_pruning" / "0.9"
    place.mkdir(parents=True, exist_ok=True)
    mask = some_mask(*shape, 0.9)
    write_smtx(place / f"{name}.smtx", mask)
    return mask
