"""What is counted in every study: E, memory, its bounds, the spread of n_u, XOR gates.

A weight is pruned with probability S, independently; every bit of an unpruned one is a fair coin.
Then the mask has H(S) bits a weight and the values (1-S)·n_w, and no lossless code takes less. The
decoder regenerates bits at pruned places as anything, so a code of the values alone may take
(1-S)·n_w, and its block of n_out plane bits at best n_in = n_out·(1-S) bits.

Paper symbols: S = `sparsity`, N_in = `n_in`, N_out = `n_out`, n_w = `n_w`, E = efficiency in %,
n_u = unpruned weights of a block.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from scipy.optimize import brentq
from scipy.stats import binom

from f2f.base import validate
from f2f.base.entropy import binary_entropy, floor_bits
from f2f.decoder import Decoder
from f2f.decoder.folded import FOLD_GATES
from f2f_study.networks.quantize import is_float

N_IN = 8  # of all studies but one, that of windows
PAPER_CHUNK = 512  # plane bits that share one end bit in the paper-style accounting
PAPER_ERROR_BITS = 1 + 9  # a flag and the place within the chunk


def efficiency(care_bits: Any, wrong_bits: Any) -> Any:
    """E of care bits, and those of them that decode wrong: numbers, or columns of them.

    100 where there are none; `ValueError` for more wrong bits than care bits, or fewer than none.
    """
    if np.any(np.less(wrong_bits, 0) | np.greater(wrong_bits, care_bits)):
        raise ValueError(f"wrong_bits must be in 0..{care_bits}, got {wrong_bits}")
    return 100 * (1 - wrong_bits / np.maximum(care_bits, 1))


def block_length(n_in: int, sparsity: float) -> int:
    """The paper's n_out: the most whole plane bits whose care bits n_in input bits can carry.

    n_in/(1-S), rounded down: as many care bits as input bits on average, or just fewer.

    >>> block_length(8, 0.9), block_length(8, 0.7)
    (80, 26)
    """
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity must be at least 0 and below 1, got {sparsity!r}")
    return int(n_in / (1 - sparsity) + 1e-6)


def paper_bits(n_bits: int, n_errors: int) -> int:
    """Bits of the paper-style correction stream, for comparison; the package stores less.

    Chunks of 512 plane bits (of n_bits in all); 1 + 9 bits for each wrong bit and one end bit for
    each chunk.

    >>> paper_bits(1024, 3)
    32
    """
    n_bits = validate.integer("n_bits", n_bits, 0)
    n_errors = validate.integer("n_errors", n_errors, 0, n_bits)
    return -(-n_bits // PAPER_CHUNK) + PAPER_ERROR_BITS * n_errors


def memory_reduction(stored_bits: Any, original_bits: Any) -> Any:
    """Memory reduction in %, 100·(1 - stored/original), of numbers or columns of them."""
    if not np.all(np.greater(original_bits, 0)):
        raise ValueError(f"original_bits must be positive, got {original_bits!r}")
    return 100 * (1 - stored_bits / original_bits)


def order0_bits(values: np.ndarray, n: int) -> float:
    """Least bits of n weights for a code that knows how often each exponent or integer occurs.

    The mask at its entropy, and every unpruned value at the order-0 entropy of what is compressible
    in it: sign and exponent of a float, whose mantissa bits are fair coins; all of an integer. The
    table of frequencies is not counted.

    Parameters
    ----------
    values : ndarray, shape (k,)
        The unpruned weights: integers, or floats of NumPy or `ml_dtypes`.
    n : int
        All weights.

    Examples
    --------
    >>> order0_bits(np.array([1, 1.5, -1, -1.5], np.float32), 4)  # signs, and 23 bits of mantissa
    96.0
    """
    n_w = 8 * values.itemsize
    mantissa = ml_dtypes.finfo(values.dtype).nmant if is_float(values.dtype) else 0
    words = values.view(f"u{values.itemsize}") >> mantissa
    shares = np.unique(words, return_counts=True)[1] / max(values.size, 1)
    entropy = float(-(shares * np.log2(shares)).sum())
    return floor_bits(n, values.size, n_w) - values.size * (n_w - mantissa - entropy)


def memory_reduction_bound(sparsity: float, n_w: int, with_mask: bool = True) -> float:
    """Greatest memory reduction in %: 100·(S - H(S)/n_w), or 100·S without the mask.

    Negative where the mask costs more than pruning saves.

    >>> round(memory_reduction_bound(0.9, 8), 2), memory_reduction_bound(0.9, 8, with_mask=False)
    (84.14, 90.0)
    """
    sparsity = validate.number("sparsity", sparsity, 0, 1)
    n_w = validate.integer("n_w", n_w, 1)
    return 100 * (sparsity - (binary_entropy(sparsity) / n_w if with_mask else 0.0))


def analytic_memory_reduction(n_in: int, n_out: int, sparsity: float, efficiency: float) -> float:
    """Memory reduction in % as the paper computes it, from E alone, without the mask.

    A plane bit takes n_in/n_out bits of payload, (1-S)(1-E)·10 for corrections and 1/512 for the
    ends of their chunks (see `paper_bits`).

    >>> round(analytic_memory_reduction(8, 80, 0.9, 99.5), 2)
    89.3
    """
    sparsity = validate.number("sparsity", sparsity, 0, 1)
    wrong = 1 - validate.number("efficiency / 100", efficiency / 100, 0, 1)
    n_in, n_out = validate.integer("n_in", n_in, 1), validate.integer("n_out", n_out, 1)
    per_bit = n_in / n_out + (1 - sparsity) * wrong * PAPER_ERROR_BITS + 1 / PAPER_CHUNK
    return 100 * (1 - per_bit)


class Spread(NamedTuple):
    """Spread of n_u, the unpruned weights of a block."""

    mean: float  # nan if there is no block
    variation: float  # coefficient of variation; nan if nothing is unpruned
    binomial: float  # that of independent pruning at this density


def unpruned_per_block(care_mask: np.ndarray, n_out: int) -> np.ndarray:
    """n_u of every whole block of a mask (n,) of bool or 0/1, 1 = unpruned: int64 (n // n_out,)."""
    care_mask = validate.bits("care_mask", care_mask)
    n_out = validate.integer("n_out", n_out, 1)
    blocks = len(care_mask) // n_out
    return care_mask[: blocks * n_out].reshape(blocks, n_out).sum(1, dtype=np.int64)


def spread(n_u: np.ndarray, n_out: int) -> Spread:
    """Spread of n_u (blocks,), of `unpruned_per_block`, over blocks of n_out positions."""
    mean = float(n_u.mean()) if n_u.size else math.nan
    variation = float(n_u.std()) / mean if mean > 0 else math.nan
    sparsity = 1 - mean / n_out
    return Spread(mean, variation, binomial_variation(sparsity, n_out) if n_u.size else math.nan)


def binomial_variation(sparsity: float, n_out: int) -> float:
    """Coefficient of variation of n_u for independent pruning, sqrt(S / (n_out·(1-S))).

    nan at S = 1, where nothing is unpruned.
    """
    sparsity = validate.number("sparsity", sparsity, 0, 1)
    n_out = validate.integer("n_out", n_out, 1)
    return math.sqrt(sparsity / (n_out * (1 - sparsity))) if sparsity < 1 else math.nan


def nearest_of_random_words(n_u: int, words: int) -> float:
    """Expected Hamming distance of n_u fair bits to the nearest of so many random words.

    The distance to one word is binomial (n_u, 1/2), and the nearest of independent ones is farther
    than d with probability P(Bin > d)**words. The words of a decoder are linear combinations, only
    pairwise independent (2**n_in of them without shift registers), so that an encoder makes a few
    more errors.

    >>> nearest_of_random_words(1, 256) < 1e-9, round(nearest_of_random_words(8, 256), 2)
    (True, 0.37)
    """
    return float((binom.sf(np.arange(n_u + 1), n_u, 0.5) ** words).sum())


def random_coding_efficiency(n_in: int, shares: np.ndarray) -> float:
    """E in % that Shannon's random code predicts for a decoder without shift registers.

    From the shares of blocks, in any unit, whose n_u is 0, 1, 2 …: the nearest of 2**n_in words.
    """
    n_u = np.arange(len(shares))
    wrong = [nearest_of_random_words(n, 2**n_in) for n in n_u.tolist()]
    return float(100 * (1 - shares @ wrong / (shares @ n_u)))


def least_wrong_share(bits_per_care_bit: float) -> float:
    """Least share of wrong care bits at a rate: the rate-distortion bound of fair coins.

    No code of R < 1 bits a care bit gets more right than 1 - D with 1 - H(D) = R, D ≤ 1/2.

    >>> round(least_wrong_share(0.5), 3), least_wrong_share(1.2)
    (0.11, 0.0)
    """
    if bits_per_care_bit >= 1:
        return 0.0
    wanted = 1 - max(float(bits_per_care_bit), 0.0)
    return float(brentq(lambda d: binary_entropy(d) - wanted, 0, 0.5))


def xor_gates(decoder: Decoder) -> np.ndarray:
    """Two-input XOR gates of each output bit, if rows share none.

    A row of M of weight w needs w - 1 gates (none for w = 0). The gates that fold the window of a
    folded matrix are shared: every row has an equal part of them. float64 (n_out,), of which the
    sum is the decoder's.
    """
    folded = decoder.nibbles
    if folded is None:
        return np.maximum(np.bitwise_count(decoder.rows) - 1.0, 0)
    own = np.maximum(np.bitwise_count(folded).sum(1) - 1.0, 0)
    return own + FOLD_GATES / decoder.n_out
