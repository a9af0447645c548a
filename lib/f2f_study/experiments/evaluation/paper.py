"""A pruned model in the paper's setting: row order, one n_out, planes as they are or inverted.

The encoder is Algorithm 3 itself, the exact optimum; where blocks hold far more care bits than
n_in, as many do here, narrower searches fall short of it by whole per cents. As it is slow, evenly
spaced pieces of a layer stand for all of it, and sizes are scaled up.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from f2f.decoder import Decoder
from f2f.encoder.exact import encode_viterbi
from f2f_study.experiments.accounting import (
    N_IN,
    block_length,
    efficiency,
    memory_reduction,
    paper_bits,
)
from f2f_study.experiments.evaluation.models import DTYPES, jobs, layer_weights
from f2f_study.experiments.model_rows import identity, with_totals
from f2f_study.networks.layers import PrunedModel

_COLUMNS = [
    "source", "network", "method", "sparsity", "dtype", "layer", "n_out", "n_s", "inverting",
    "care_bits", "wrong_bits", "efficiency_percent", "original_bits", "payload_bits",
    "correction_bits", "mask_bits", "memory_reduction_percent",
    "memory_reduction_with_mask_percent", "sampled_percent",
]  # fmt: skip
_PIECE = 32  # blocks of a sampled tensor judged in one piece
_MARGIN = 6  # blocks encoded at either end of a piece and not judged; n_s is at most 2 here


def paper_setting(
    models: Sequence[PrunedModel],
    dtypes: Sequence[str] = DTYPES,
    *,
    n_s: Sequence[int] = (0, 1, 2),
    max_blocks: int = 0,
    scheme: str = "channel",
    seed: int = 0,
) -> pd.DataFrame:
    """Every layer and every model in the paper's setting, with and without inverting.

    Parameters
    ----------
    models, dtypes
        What is encoded, in which number formats; models published in INT8 in that alone.
    n_s
        Shift registers, each at most 2.
    max_blocks
        Blocks measured per layer, in evenly spaced pieces; 0 = all. Half as many for float32,
        which has four times the planes.
    scheme
        Scales of INT8, see `layer_weights`.
    seed
        Of the decoder matrix.

    Returns
    -------
    DataFrame
        The columns of `paper_setting.csv` (runs/README.md). Corrections by the paper's accounting;
        `memory_reduction_percent` leaves the mask out, as decoded bits at pruned places are
        arbitrary, and `memory_reduction_with_mask_percent` adds one bit per weight.
    """
    rows: list[dict[str, Any]] = []
    for model, dtype in tqdm(jobs(models, dtypes), desc="paper's setting", unit=" models"):
        blocks = -(-max_blocks // 2) if dtype == "float32" else max_blocks
        for shifts in n_s:
            decoder = Decoder(N_IN, block_length(N_IN, model.sparsity), shifts, seed)
            measure = partial(_layer_rows, model, dtype, scheme, decoder, blocks)
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                rows += [row for pair in pool.map(measure, model.layers) for row in pair]
    keys = ["dtype", "n_s", "inverting"]
    return _derived(with_totals(pd.DataFrame(rows), keys, ["n_out"]))


def ones_by_plane(model: PrunedModel, dtype: str, scheme: str = "channel") -> pd.Series:
    """Share of ones among the care bits of every bit plane, in %: what inverting can use.

    By plane: 0 is the lowest bit, the last the sign.
    """
    unpruned = np.concatenate(
        [layer_weights(layer, dtype, scheme)[layer.mask] for layer in model.layers.values()]
    )
    words = unpruned.view(f"u{unpruned.itemsize}")
    shares = [100 * _plane(words, p).mean() for p in range(8 * words.itemsize)]
    return pd.Series(shares, name=dtype).rename_axis("plane")


class Piece(NamedTuple):
    """A stretch of a plane that is encoded by itself; positions in bits, stops are exclusive.

    Judged is only its inner part: the blocks at the cut ends of a piece are easier than those of a
    long plane, as their state is free.
    """

    start: int  # of what is encoded
    first: int  # of what is judged
    last: int
    stop: int


def pieces(n: int, n_out: int, max_blocks: int) -> list[Piece]:
    """Evenly spaced pieces of max_blocks blocks together; 0 = the whole plane of n bits."""
    blocks = -(-n // n_out)
    count = max(1, max_blocks // _PIECE)
    if not max_blocks or blocks <= max_blocks + 2 * _MARGIN * count:
        return [Piece(0, 0, n, n)]
    each = max_blocks // count
    found = []
    for first in np.linspace(0, blocks - each, count).astype(int).tolist():
        last = first + each
        edges = max(0, first - _MARGIN), first, last, last + _MARGIN
        found.append(Piece(*(min(n, edge * n_out) for edge in edges)))
    return found


def _layer_rows(
    model: PrunedModel, dtype: str, scheme: str, decoder: Decoder, max_blocks: int, name: str
) -> list[dict[str, Any]]:
    """Counts of one layer, planes as they are and inverted; care and wrong bits not yet rounded.

    The encoder runs on planes as they are, and again on those of which most care bits of the whole
    tensor are ones.
    """
    weights = layer_weights(model.layers[name], dtype, scheme).reshape(-1)
    words, care = weights.view(f"u{weights.itemsize}"), model.layers[name].mask.reshape(-1)
    n_w, n = 8 * words.itemsize, words.size
    unpruned = words[care]
    flipped = [2 * np.count_nonzero(_plane(unpruned, p)) > unpruned.size for p in range(n_w)]
    wrong = {False: 0, True: 0}
    judged_care = judged_weights = 0
    for piece in pieces(n, decoder.n_out, max_blocks):
        judged_weights += piece.last - piece.first
        judged_care += n_w * int(np.count_nonzero(care[piece.first : piece.last]))
        care_mask = care[piece.start : piece.stop].astype(np.uint8)
        for p in range(n_w):
            bits = _plane(words[piece.start : piece.stop], p)
            as_is = _wrong_bits(bits, care_mask, piece, decoder)
            wrong[False] += as_is
            wrong[True] += _wrong_bits(bits ^ 1, care_mask, piece, decoder) if flipped[p] else as_is
    scale = n / judged_weights
    return [
        identity(model)
        | {
            "dtype": dtype,
            "layer": name,
            "n_out": decoder.n_out,
            "n_s": decoder.n_s,
            "inverting": inverting,
            "care_bits": judged_care * scale,
            "wrong_bits": wrong[inverting] * scale,
            "original_bits": n * n_w,
            "payload_bits": n_w * decoder.n_in * decoder.n_vectors(n),
            "correction_bits": paper_bits(n * n_w, round(wrong[inverting] * scale)),
            "mask_bits": n,
            "judged_weights": judged_weights,
        }
        for inverting in (False, True)
    ]


def _plane(words: np.ndarray, p: int) -> np.ndarray:
    """Bit p of every unsigned word (n,), uint8 0/1."""
    return (words >> words.dtype.type(p) & 1).astype(np.uint8)


def _wrong_bits(bits: np.ndarray, care_mask: np.ndarray, piece: Piece, decoder: Decoder) -> int:
    """Wrong ones of the judged care bits of a piece after encoding, counted by decoding.

    bits, care_mask: uint8 0/1 (stop - start,).
    """
    inputs = encode_viterbi(bits, care_mask, decoder)
    wrong = (decoder.decode(inputs, bits.size) ^ bits) & care_mask
    return int(np.count_nonzero(wrong[piece.first - piece.start : piece.last - piece.start]))


def _derived(counts: pd.DataFrame) -> pd.DataFrame:
    """The columns of the CSV file, from the counts of layers and totals."""
    kept = counts["payload_bits"] + counts["correction_bits"]
    rounded = counts[["care_bits", "wrong_bits"]].round().astype(np.int64)
    return counts.assign(
        care_bits=rounded["care_bits"],
        wrong_bits=rounded["wrong_bits"],
        efficiency_percent=efficiency(counts["care_bits"], counts["wrong_bits"]),
        memory_reduction_percent=memory_reduction(kept, counts["original_bits"]),
        memory_reduction_with_mask_percent=memory_reduction(
            kept + counts["mask_bits"], counts["original_bits"]
        ),
        sampled_percent=100 * counts["judged_weights"] / counts["mask_bits"],
    )[_COLUMNS]
