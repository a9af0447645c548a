"""Bounds and accounting: what the entropy allows, and how near an encoding comes.

A weight is pruned with probability S, independently; every bit of an unpruned one is a fair coin.
Then the mask has H(S) bits a weight and the values (1-S)·n_w, and no lossless code takes less. The
decoder regenerates bits at pruned places as anything, so a code of the values alone may take
(1-S)·n_w, and its block of n_out plane bits at best n_in = n_out·(1-S) bits.

Paper symbols: S = `sparsity`, N_in = `n_in`, N_out = `n_out`, n_w = `n_w`, E = efficiency in %,
n_u = unpruned weights of a block.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from f2f.base import validate
from f2f.base.entropy import binary_entropy
from f2f.decoder.decoder import Decoder
from f2f.decoder.folded import FOLD_GATES

PAPER_CHUNK = 512  # plane bits that share one end bit in the paper-style accounting
PAPER_ERROR_BITS = 1 + 9  # a flag and the place within the chunk


def paper_bits(n_bits: int, n_errors: int) -> int:
    """Bits of the paper-style correction stream, for comparison; the package stores less.

    Chunks of 512 plane bits; 1 + 9 bits for each wrong bit and one end bit for each chunk.

    >>> paper_bits(1024, 3)
    32
    """
    n_bits = validate.integer("n_bits", n_bits, 0)
    n_errors = validate.integer("n_errors", n_errors, 0, n_bits)
    return -(-n_bits // PAPER_CHUNK) + PAPER_ERROR_BITS * n_errors


def floor_bits_per_weight(sparsity: float, n_w: int, with_mask: bool = True) -> float:
    """Least bits a weight: H(S) + (1-S)·n_w, or (1-S)·n_w if the mask is known.

    >>> round(floor_bits_per_weight(0.9, 8), 3)
    1.269
    """
    sparsity = _share("sparsity", sparsity)
    n_w = validate.integer("n_w", n_w, 1)
    return (binary_entropy(sparsity) if with_mask else 0.0) + (1 - sparsity) * n_w


def compression_bound(sparsity: float, n_w: int, with_mask: bool = True) -> float:
    """Greatest compression ratio, n_w / `floor_bits_per_weight`; 1/(1-S) without the mask."""
    floor = floor_bits_per_weight(sparsity, n_w, with_mask)
    return n_w / floor if floor else math.inf


def memory_reduction_bound(sparsity: float, n_w: int, with_mask: bool = True) -> float:
    """Greatest memory reduction in %: 100·(S - H(S)/n_w), or 100·S without the mask.

    Negative where the mask costs more than pruning saves.
    """
    return 100 * (1 - floor_bits_per_weight(sparsity, n_w, with_mask) / n_w)


def efficiency(care_bits: int, wrong_bits: int) -> float:
    """Encoding efficiency E: care bits that decode right, in % (100 if there are none)."""
    care_bits = validate.integer("care_bits", care_bits, 0)
    wrong_bits = validate.integer("wrong_bits", wrong_bits, 0, care_bits)
    return 100.0 * (1 - wrong_bits / care_bits) if care_bits else 100.0


def memory_reduction(stored_bits: float, original_bits: float) -> float:
    """Memory reduction from what is really stored, in %: 100·(1 - stored/original)."""
    if not original_bits > 0:
        raise ValueError(f"original_bits must be positive, got {original_bits!r}")
    return 100 * (1 - stored_bits / original_bits)


def analytic_memory_reduction(
    n_in: int,
    n_out: int,
    sparsity: float,
    efficiency: float,
    n_w: int,
    mask_bits: float = 0.0,
    correction_bits: float = PAPER_ERROR_BITS,
    overhead_bits: float = 1 / PAPER_CHUNK,
) -> float:
    """Memory reduction in % as the paper computes it, from E alone.

    A plane bit takes n_in/n_out bits of payload, (1-S)(1-E)·correction_bits for corrections and
    overhead_bits; a weight has n_w of them and mask_bits for its mask (0: the zeros are not
    reproduced). The defaults are the paper-style corrections: 10 bits an error and one bit per 512.
    Wrong care bits are what E, in %, leaves.

    >>> round(analytic_memory_reduction(8, 80, 0.9, 99.5, n_w=8), 2)
    89.3
    """
    sparsity = _share("sparsity", sparsity)
    wrong = 1 - _share("efficiency / 100", efficiency / 100)
    n_in, n_out = validate.integer("n_in", n_in, 1), validate.integer("n_out", n_out, 1)
    n_w = validate.integer("n_w", n_w, 1)
    per_bit = n_in / n_out + (1 - sparsity) * wrong * correction_bits + overhead_bits
    return 100 * (1 - per_bit - mask_bits / n_w)


@dataclass(frozen=True)
class Spread:
    """Spread of n_u, the unpruned weights of a block.

    blocks: whole blocks counted. mean, std: of n_u. variation: coefficient of variation, std/mean
    (nan if nothing is unpruned). binomial: what independent pruning at this density gives.
    """

    blocks: int
    mean: float
    std: float
    variation: float
    binomial: float


def unpruned_per_block(care: np.ndarray, n_out: int) -> np.ndarray:
    """n_u of every whole block of n_out positions of a care mask 0/1 (n,): int64 (n // n_out,)."""
    care = validate.bits("care", care)
    n_out = validate.integer("n_out", n_out, 1)
    blocks = len(care) // n_out
    return care[: blocks * n_out].reshape(blocks, n_out).sum(1, dtype=np.int64)


def spread(care: np.ndarray, n_out: int) -> Spread:
    """Spread of n_u over the whole blocks of a care mask 0/1 (n,), of which there must be one."""
    n_u = unpruned_per_block(care, n_out)
    if not n_u.size:
        raise ValueError(f"care must have at least n_out={n_out} elements, got {len(care)}")
    mean, std = float(n_u.mean()), float(n_u.std())
    binomial = binomial_variation(1 - mean / n_out, n_out)
    return Spread(len(n_u), mean, std, std / mean if mean else math.nan, binomial)


def binomial_variation(sparsity: float, n_out: int) -> float:
    """Coefficient of variation of n_u for independent pruning, sqrt(S / (n_out·(1-S))).

    nan at S = 1, where nothing is unpruned.
    """
    sparsity = _share("sparsity", sparsity)
    n_out = validate.integer("n_out", n_out, 1)
    return math.sqrt(sparsity / (n_out * (1 - sparsity))) if sparsity < 1 else math.nan


def xor_gates(decoder: Decoder) -> np.ndarray:
    """Two-input XOR gates of each output bit, float64 (n_out,); their sum is the decoder's.

    A row of M of weight w needs w - 1 gates (none for w = 0), if no gates are shared. Those that
    fold the window of a folded matrix are: every row has an equal part of them.
    """
    folded = decoder.nibbles
    if folded is None:
        return np.maximum(np.bitwise_count(decoder.rows) - 1.0, 0)
    own = np.maximum(np.bitwise_count(folded).sum(1) - 1.0, 0)
    return own + FOLD_GATES / decoder.n_out


def _share(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be in 0..1, got {value!r}")
    return float(value)
