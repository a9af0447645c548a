"""The steps of one tiny encoding as tables to show: notebook 01."""

from __future__ import annotations

import numpy as np
import pandas as pd

from f2f.base import validate
from f2f.decoder import Decoder
from f2f.encoder.exact import Trellis
from f2f_study.results import Quantity


def plane_bits(weights: np.ndarray, plane: int) -> np.ndarray:
    """A bit plane of INT8 weights: 0/1 uint8 (n,), bit `plane` of each, 0…7, in their order.

    >>> plane_bits(np.array([[1, -2]], np.int8), 1)
    array([0, 1], dtype=uint8)
    """
    plane = validate.integer("plane", plane, 0, 7)
    return weights.reshape(-1).view(np.uint8) >> plane & 1


def steps(trellis: Trellis, decoder: Decoder) -> pd.DataFrame:
    """Every transition of the trellis of Algorithm 3, l blocks of `decoder`.

    l · 2**window rows, by block and window; the columns of `trellis.csv`. A window holds the
    n_s + 1 vectors of the step, oldest in the low bits; `survives` marks the way kept into
    `state_after`, `on_best_path` the steps of the optimum.
    """
    n_in, n_s = decoder.n_in, decoder.n_s
    blocks, windows = trellis.unmatched.shape
    inputs = trellis.trace(n_in, n_s).astype(np.int64)
    shifts = n_in * np.arange(n_s + 1)
    best = (np.lib.stride_tricks.sliding_window_view(inputs, n_s + 1) << shifts).sum(1)
    block, window = np.divmod(np.arange(blocks * windows), windows)
    before, after = window % (1 << n_in * n_s), window >> n_in
    unmatched = trellis.unmatched.reshape(-1)
    return pd.DataFrame(
        {
            "block": block,
            "window": window,
            "state_before": before,
            "state_after": after,
            "vector": window >> n_in * n_s,
            "unmatched": unmatched,
            "cost_after": trellis.cost[block, before] + unmatched,
            "survives": trellis.oldest[block, after] == window & ((1 << n_in) - 1),
            "on_best_path": window == best[block],
        }
    )


def bits(
    target: np.ndarray, care_mask: np.ndarray, decoded: np.ndarray, n_out: int
) -> pd.DataFrame:
    """A plane bit by bit: wanted, decoded, and corrected where a care bit came out wrong.

    target, care_mask, decoded: 0/1 uint8 (n,), the bits wanted where the mask is 1, and what the
    decoder puts out. n rows; the columns of `bits.csv`.
    """
    position = np.arange(len(target))
    wrong = (care_mask == 1) & (target != decoded)
    return pd.DataFrame(
        {
            "block": position // n_out,
            "position": position,
            "care": care_mask == 1,
            "target": target,
            "decoded": decoded,
            "wrong": wrong,
            "corrected": decoded ^ wrong,
        }
    )


def fewest_wrong_bits(target: np.ndarray, care_mask: np.ndarray, decoder: Decoder) -> int:
    """Wrong care bits of the best input sequence, by trying them all: 2**(n_in·(l + n_s))."""
    count, n = decoder.n_vectors(len(target)), len(target)
    every = np.arange(1 << decoder.n_in * count)[:, None] >> decoder.n_in * np.arange(count)
    sequences = (every & ((1 << decoder.n_in) - 1)).astype(np.uint8)
    outputs = np.array([decoder.decode(sequence, n) for sequence in sequences])
    return int(((outputs != target) & (care_mask == 1)).sum(1).min())


def summary(plane: pd.DataFrame, fewest: int) -> list[Quantity]:
    """What the notebook stands for, of its `bits` and its `fewest_wrong_bits`; counts are exact."""
    return [
        Quantity("care bits of the plane", int(plane["care"].sum()), "bits", 0.0),
        Quantity("wrong care bits of the plane", int(plane["wrong"].sum()), "bits", 0.0),
        Quantity("fewest wrong care bits of all 1024 input sequences", fewest, "bits", 0.0),
    ]
