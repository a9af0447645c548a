"""Random planes of the synthetic study and the measurements on them, and a real layer beside them.

The plane of the paper's synthetic data: every bit is pruned with probability S, every care bit is a
fair coin. Two things can be turned: how much n_u, the unpruned weights of a block, varies, and how
many care bits are ones.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from f2f.base import validate
from f2f.decoder.decoder import Decoder
from f2f.format.orders import Order, positions_of
from f2f.format.plane import decode_plane, encode_plane
from f2f_study.experiments import entropy
from f2f_study.experiments.entropy import paper_bits


@dataclass(frozen=True)
class SyntheticRow:
    """One encoded random plane.

    sparsity: probability of pruning. ones: probability that a care bit is 1. inverted: the plane
    was complemented before encoding. seed: of the data and of the decoder matrix. variation_wanted,
    variation, variation_binomial: coefficient of variation of n_u, asked for (nan: independent
    pruning), measured, and for independent pruning.
    payload_bits: n_in a vector; correction_bits: by the paper's accounting; stored_bits: payload
    and the Elias-Fano code of the errors. memory_reduction_percent, stored_reduction_percent: from
    either, without the mask; bound_percent: the most that entropy allows without the mask.
    """

    n_in: int
    n_s: int
    n_out: int
    sparsity: float
    ones: float
    inverted: bool
    blocks: int
    seed: int
    variation_wanted: float
    variation: float
    variation_binomial: float
    care_bits: int
    wrong_bits: int
    efficiency_percent: float
    payload_bits: int
    correction_bits: int
    stored_bits: int
    memory_reduction_percent: float
    stored_reduction_percent: float
    bound_percent: float


@dataclass(frozen=True)
class MaskRow:
    """Memory reduction of n_w planes with and without the mask, mean over matrices, and the bounds.

    Corrections as in `SyntheticRow.memory_reduction_percent`; the bitmap is one bit a weight.
    """

    n_w: int
    n_s: int
    n_out: int
    sparsity: float
    without_mask_percent: float
    with_bitmap_percent: float
    bound_percent: float
    bound_with_mask_percent: float


def mask_rows(rows: Sequence[SyntheticRow], n_w: int) -> list[MaskRow]:
    """What the mask costs: `rows` grouped by decoder and S, for weights of n_w bits."""
    groups: dict[tuple[int, int, float], list[float]] = {}
    for row in rows:
        key = (row.n_s, row.n_out, row.sparsity)
        groups.setdefault(key, []).append(row.memory_reduction_percent)
    bound = entropy.memory_reduction_bound
    return [
        MaskRow(
            n_w,
            n_s,
            n_out,
            sparsity,
            float(np.mean(found)),
            float(np.mean(found)) - 100 / n_w,
            bound(sparsity, n_w, with_mask=False),
            bound(sparsity, n_w),
        )
        for (n_s, n_out, sparsity), found in groups.items()
    ]


@dataclass(frozen=True)
class BlockShare:
    """Share of blocks with n_u unpruned weights, drawn and by the binomial law."""

    n_out: int
    sparsity: float
    blocks: int
    n_u: int
    share_percent: float
    binomial_percent: float


def ideal_n_out(n_in: int, sparsity: float, factor: float = 1.0) -> int:
    """The block length nearest factor·n_in/(1-S), the rate at which inputs and care bits balance.

    >>> ideal_n_out(8, 0.9)
    80
    """
    return max(1, round(factor * n_in / (1 - sparsity)))


def random_care(
    blocks: int, n_out: int, sparsity: float, seed: int, variation: float | None = None
) -> np.ndarray:
    """A care mask of `blocks` blocks, uint8 (blocks·n_out,).

    variation None: every bit independently. Else n_u of each block is a gamma variate of mean
    n_out·(1-S) and that coefficient of variation, rounded up or down at random and at most n_out,
    at random places of the block; 0 makes all blocks as equal as whole numbers allow.
    """
    blocks, n_out = validate.integer("blocks", blocks, 1), validate.integer("n_out", n_out, 1)
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparsity must be in 0..1, got {sparsity!r}")
    rng = np.random.default_rng((seed, 1))
    if variation is None:
        return (rng.random(blocks * n_out) >= sparsity).astype(np.uint8)
    if not variation >= 0:
        raise ValueError(f"variation must be at least 0, got {variation!r}")
    mean = n_out * (1 - sparsity)
    shape = 1 / variation**2 if variation else np.inf
    n_u = rng.gamma(shape, mean / shape, blocks) if variation else np.full(blocks, mean)
    n_u = np.minimum(np.floor(n_u + rng.random(blocks)), n_out)
    ranks = rng.random((blocks, n_out)).argsort(1).argsort(1)
    return (ranks < n_u[:, None]).astype(np.uint8).reshape(-1)


def random_bits(n: int, seed: int, ones: float = 0.5) -> np.ndarray:
    """Bits uint8 (n,), each 1 with probability `ones`."""
    if not 0 <= ones <= 1:
        raise ValueError(f"ones must be in 0..1, got {ones!r}")
    return (np.random.default_rng((seed, 2)).random(n) < ones).astype(np.uint8)


def measure(
    *,
    n_in: int,
    n_s: int,
    sparsity: float,
    blocks: int,
    seed: int,
    n_out: int | None = None,
    variation: float | None = None,
    ones: float = 0.5,
    inverted: bool = False,
    method: str = "viterbi",
) -> SyntheticRow:
    """Encode one random plane for one random matrix; the errors are counted after decoding.

    Arguments are the columns of `SyntheticRow` and those of `random_care`; n_out None is
    `ideal_n_out`; method as in `f2f.encode_plane`. The same seed gives the same data, and rows of
    the same matrix, for every n_s.
    """
    n_out = ideal_n_out(n_in, sparsity) if n_out is None else n_out
    care = random_care(blocks, n_out, sparsity, seed, variation)
    bits = random_bits(len(care), seed, ones)
    plane = encode_plane(bits ^ np.uint8(inverted), care, Decoder(n_in, n_out, n_s, seed), method)
    n, wrong = len(care), len(plane.errors)
    payload, correction = n_in * len(plane.inputs), paper_bits(n, wrong)
    drawn = entropy.spread(care, n_out)
    return SyntheticRow(
        n_in,
        n_s,
        n_out,
        sparsity,
        ones,
        inverted,
        blocks,
        seed,
        np.nan if variation is None else variation,
        drawn.variation,
        drawn.binomial,
        plane.n_care,
        wrong,
        plane.efficiency,
        payload,
        correction,
        plane.nbits,
        entropy.memory_reduction(payload + correction, n),
        entropy.memory_reduction(plane.nbits, n),
        entropy.memory_reduction_bound(sparsity, 1, with_mask=False),
    )


def combinations(**arguments: Any) -> list[dict[str, Any]]:
    """Cases for `measure_all`: every combination of the arguments that are sequences.

    >>> combinations(n_s=(0, 1), sparsity=0.9)
    [{'n_s': 0, 'sparsity': 0.9}, {'n_s': 1, 'sparsity': 0.9}]
    """
    axes = [a if isinstance(a, Sequence | range) else [a] for a in arguments.values()]
    return [dict(zip(arguments, values, strict=True)) for values in product(*axes)]


def measure_all(cases: Iterable[dict[str, Any]]) -> list[SyntheticRow]:
    """`measure` of every case (its arguments by name), in order, on all cores."""
    # The encoders release the lock, so threads run side by side.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda case: measure(**case), cases))


def block_shares(n_out: int, sparsity: float, blocks: int, seed: int) -> list[BlockShare]:
    """The distribution of n_u in an independently drawn mask beside the binomial law."""
    from scipy.stats import binom

    n_u = entropy.unpruned_per_block(random_care(blocks, n_out, sparsity, seed), n_out)
    drawn = 100 * np.bincount(n_u) / blocks
    expected = 100 * binom.pmf(np.arange(len(drawn)), n_out, 1 - sparsity)
    return [
        BlockShare(n_out, sparsity, blocks, n, float(a), float(b))
        for n, (a, b) in enumerate(zip(drawn, expected, strict=True))
    ]


@dataclass(frozen=True)
class LayerRow:
    """One bit plane of a real INT8 layer, encoded in an order of its weights.

    variation, variation_binomial: of n_u in that order, and for independent pruning.
    """

    layer: str
    values: str
    order: str
    n_s: int
    n_out: int
    sparsity: float
    plane: int
    variation: float
    variation_binomial: float
    care_bits: int
    wrong_bits: int
    efficiency_percent: float
    payload_bits: int
    stored_bits: int


def measure_layer(
    name: str,
    values: str,
    weights: np.ndarray,
    mask: np.ndarray,
    order: str,
    decoder: Decoder,
    method: str = "viterbi",
) -> tuple[list[LayerRow], np.ndarray]:
    """Encode the eight bit planes of a layer one by one, and decode them again.

    weights: int8, any shape; mask: bool of that shape, True = unpruned. name, values, order: as in
    the rows; order is one of `f2f.format.orders.ORDERS`. Returns the rows and the decoded weights, int8,
    zero at pruned places.
    """
    rows_of_tensor = weights.shape[0] if weights.ndim > 1 else 1
    walk = Order(order, rows_of_tensor, weights.size // max(rows_of_tensor, 1))
    words = walk.take(np.where(mask, weights, 0).reshape(-1).view(np.uint8))
    care = walk.take(mask.reshape(-1).astype(np.uint8))
    drawn, n = entropy.spread(care, decoder.n_out), len(words)
    rows, decoded = [], np.zeros(n, dtype=np.uint8)
    for p in range(8):
        plane = encode_plane(words >> p & 1, care, decoder, method)
        decoded |= decode_plane(plane, decoder, n) << p
        payload = decoder.n_in * len(plane.inputs)
        facts = (drawn.variation, drawn.binomial, plane.n_care, len(plane.errors))
        sparsity = 1 - plane.n_care / n
        rows.append(
            LayerRow(
                name,
                values,
                order,
                decoder.n_s,
                decoder.n_out,
                sparsity,
                p,
                *facts,
                plane.efficiency,
                payload,
                plane.nbits,
            )
        )
    kept = positions_of(care)
    flat = walk.scatter(kept, decoded[kept])
    return rows, flat.view(np.int8).reshape(weights.shape)
