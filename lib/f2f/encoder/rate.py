"""The choice of n_out: how many weights a block of n_in input bits should carry.

A larger n_out shortens the payload and makes more errors. Both are predicted, so nothing is
encoded twice. Each block brings n_u care bits (equations) and n_in new unknowns. What the encoder
still owes is the length of a queue: it grows by n_u - n_in a block, never below zero, and holds
at most the bits of the window. An equation that finds the queue full depends on earlier ones, and
a share kappa of those ends as errors. In the diffusion limit, with drift mu = E[n_u] - n_in and
variance sigma^2 a block, the overflow of such a queue of capacity W is

    mu / (1 - exp(-2 mu W / sigma^2))   bits a block      (sigma^2 / 2W for mu = 0).

sigma^2 is measured on the mask in its encoding order, over stretches as long as the window, so
that what a poor order costs is seen too. kappa falls with the beam and the window.

Coded bytes follow from what is chosen here, so all is computed from what IEEE 754 rounds alike
everywhere: the four operations, square roots, and `f2f.base.elementary`.
"""

from __future__ import annotations

from math import sqrt

import numpy as np

from f2f.base.elementary import LN2, expm1, scale
from f2f.decoder import MAX_N_OUT

NEARLY = 0.002  # what a smaller n_out may cost
# The n_out looked at, by care bits per input bit. At fewer the payload alone costs more than the
# best does in all; at more the encoder is worse than kappa says, which is a fit near 1.
LEAST_LOAD, MOST_LOAD = 0.85, 1.03
MOST_CANDIDATES = 40  # a step of n_out is then below 0.5 %


def kappa(beam: int, window: int) -> float:
    """Share of dependent equations that end as errors, 0…0.5, by hypotheses and bits of the window.

    ``0.08 + 4.4 / (beam**(1/16) * window)``, at most 1/2: a fit, checked in notebook 03.
    """
    root = sqrt(sqrt(sqrt(sqrt(beam))))
    return min(0.5, 0.08 + 4.4 / root / window)


def overflow(
    mean: np.ndarray | float, variance: np.ndarray | float, n_in: int, window: int
) -> np.ndarray:
    """Expected dependent equations a block, by the queue of the module's text.

    `mean` and `variance` are those of n_u, the care bits of a block.
    """
    mu = np.asarray(mean - n_in)
    capacity = max(window - n_in / 2, 1.0)  # half a block of unknowns has retired on average
    exponent = np.clip(-2 * mu * capacity / np.maximum(variance, 1e-290), -700, 700)
    balanced = abs(exponent) < 1e-6
    lost = mu / -expm1(np.where(balanced, 1, exponent))
    return np.where(balanced, variance / (2 * capacity), lost)


def correction_cost(share: np.ndarray | float) -> np.ndarray:
    """Bits per position of a list, as of `f2f.format.corrections`, of a share of all positions."""
    share = np.asarray(share)
    _, low = scale(LN2 / np.maximum(share, 1e-290))
    low = np.maximum(low, 0)
    return share * (low + 1) + np.ldexp(1.0, -low)


class CareCounts:
    """How many care bits lie before any position, in two bits of memory a position.

    Parameters
    ----------
    care_mask : ndarray of bool or of 0 and 1, (n,)

    Attributes
    ----------
    n, k : int
        Positions, and care bits in all.
    """

    def __init__(self, care_mask: np.ndarray) -> None:
        self.n = len(care_mask)
        packed = np.zeros(self.n // 64 * 8 + 8, dtype=np.uint8)
        packed[: -(-self.n // 8)] = np.packbits(care_mask, bitorder="little")
        self._words = packed.view("<u8")
        self._before = np.zeros(len(self._words) + 1, dtype=np.int64)
        np.cumsum(np.bitwise_count(self._words), out=self._before[1:], dtype=np.int64)
        self.k = int(self._before[-1])

    def before(self, positions: np.ndarray) -> np.ndarray:
        """Care bits before each position, 0…n: int64."""
        word, bit = positions >> 6, (positions & 63).astype(np.uint64)
        below = self._words[word] & ((np.uint64(1) << bit) - np.uint64(1))
        return self._before[word] + np.bitwise_count(below)


def error_rate(care: CareCounts, n_out: int, n_in: int, n_s: int, beam: int) -> float:
    """Modelled share of wrong care bits, 1 - E, 0…0.5.

    Parameters
    ----------
    care : CareCounts
        Of the mask in encoding order.
    n_out, n_in, n_s, beam : int
        Sizes of the decoder, and hypotheses of the beam encoder.
    """
    stretch = n_out * (n_s + 1)
    share = care.k / care.n
    mean = share * n_out
    if care.n >= 4 * stretch:
        counts = np.diff(care.before(np.arange(care.n // stretch + 1) * stretch))
        squares, total = int(counts @ counts), int(counts.sum())
        variance = (len(counts) * squares - total**2) / len(counts) ** 2 / (n_s + 1)
    else:
        variance = mean * (1 - share)
    window = (n_s + 1) * n_in
    dependent = float(overflow(mean, variance, n_in, window))
    return min(0.5, kappa(beam, window) * dependent / mean) if mean else 0.0


def choose_n_out(
    care_mask: np.ndarray,
    n_in: int,
    n_s: int,
    beam: int,
    n_out: int | None = None,
    universe: int | None = None,
) -> tuple[int, float]:
    """The n_out with nearly the fewest modelled stored bits, and those bits, of one plane.

    "Nearly" is within 0.2 %: near the minimum a smaller n_out costs next to nothing and leaves
    far fewer corrections, the one irregular part of decoding.

    Parameters
    ----------
    care_mask : ndarray of bool, (n,)
        In encoding order; at least one of them is set.
    n_in, n_s, beam : int
        Sizes of the decoder, and hypotheses of the beam encoder.
    n_out : int, optional
        Take this one.
    universe : int, optional
        Places among which a correction names one; by default the care bits.

    Returns
    -------
    int
        n_out, 1…65535.
    float
        Payload plus correction bits.

    Examples
    --------
    >>> care_mask = np.random.default_rng(0).random(100_000) < 0.1
    >>> n_out, stored_bits = choose_n_out(care_mask, n_in=8, n_s=7, beam=16)
    >>> 75 <= n_out <= 82, bool(10_000 < stored_bits < 10_700)
    (True, True)
    """
    care = CareCounts(care_mask)
    n, k = care.n, care.k
    balanced = n_in * n / k
    low = max(1, min(int(LEAST_LOAD * balanced), MAX_N_OUT))
    high = max(low, min(int(MOST_LOAD * balanced), MAX_N_OUT))
    candidates = np.unique(np.linspace(low, high, min(high - low + 1, MOST_CANDIDATES)).astype(int))

    def stored_bits(n_out: int) -> float:
        payload = n_in * (-(-n // n_out) + n_s)
        places = universe or k
        wrong = k * error_rate(care, n_out, n_in, n_s, beam)
        return payload + places * float(correction_cost(wrong / places))

    if n_out is None:
        bits = {candidate: stored_bits(candidate) for candidate in candidates.tolist()}
        n_out = min(c for c, b in bits.items() if b <= (1 + NEARLY) * min(bits.values()))
    return n_out, stored_bits(n_out)
