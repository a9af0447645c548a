"""Rates of the streams of a mask cascade, by modelled stored bits.

A stage of the cascade starts with shares p of wanted and q of unwanted places that survive so far,
and ends it (the last stream, with all of them as care bits) or thins q. Both are predicted:

* Thinning q to q·d takes ``T = q(1 - h(d))`` bits a place by the rate-distortion bound, h binary
  entropy. A stream with rate ``p + x`` achieves ``T = x / (a + b/u)``, u = x/(p + x), where a and b
  depend on the beam alone: within 0.02 for 0.05 <= p <= 0.25 (fitted by benchmarks/mask.py).
* Wrong care bits follow `f2f.encoder.rate`, with independent places.

The best sequence of whole n_out is found by a dynamic programme over a grid of q; it is the same on
every processor (`f2f.base.elementary`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from f2f.base.elementary import LN2, interpolate, log
from f2f.encoder.rate import correction_cost, kappa, overflow

_THINNING = (  # beam, a, b
    (1, 0.612, 0.630),
    (16, 1.163, 0.0543),
    (64, 1.099, 0.0363),
    (256, 1.067, 0.0265),
    (1024, 1.046, 0.0209),
)
_STEPS = 150  # of the grid: q falls by the factor exp(-1/25) a step
_STEP = 1 / 25
# So many n_out are tried for a thinning stream, with rates above p and up to 2p + 0.3q. The best
# stays below that (a test looks).
_CANDIDATES = 64
_MOST_BY_P, _MOST_BY_Q = 2, 0.3
# Of the care bits of a thinning stream that depend on others, half are right by chance.
_WRONG_BY_CHANCE = 0.5
# Some 16 n_out are tried for a last stream, 0.9 to 1.08 times the one that has a care bit for each
# input bit. Where less than half are care bits, the best lies between 0.98 and 1.05.
_TRIED_LAST = 16
_SHORTEST_LAST, _LONGEST_LAST = 0.9, 1.08


def plan_stages(
    p: float, q: float, n_in: int, n_s: int, beam: int, max_n_out: int
) -> tuple[tuple[int, ...], float]:
    """n_out of each stream still to come, and their bits per place with corrections.

    Parameters
    ----------
    p, q : float
        Shares of wanted places, and of unwanted ones that survive so far; p + q <= 1.
    n_in, n_s, beam : int
        Of the streams' decoders and encoders.
    max_n_out : int
    """
    return _plan(round(p, 5), round(q, 5), n_in, n_s, beam, max_n_out)


@lru_cache(maxsize=1024)
def _plan(
    p: float, q: float, n_in: int, n_s: int, beam: int, max_n_out: int
) -> tuple[tuple[int, ...], float]:
    window = n_in * (n_s + 1)
    if p <= 0 or q <= 0:
        last, cost = _last(np.array([p + q]), n_in, window, beam, max_n_out)
        return (int(last[0]),), float(cost[0])
    grid = q * _GRID
    last, cost = _last(p + grid, n_in, window, beam, max_n_out)
    lowest = min(max(1, int(n_in / (_MOST_BY_P * p + _MOST_BY_Q * q))), max_n_out)
    highest = max(lowest, min(int(n_in / p), max_n_out))
    n_outs = np.unique(np.linspace(lowest, highest, _CANDIDATES).astype(np.int64))
    n_outs = n_outs[n_in / n_outs > p]
    if not len(n_outs):
        return (int(last[0]),), float(cost[0])
    rates = n_in / n_outs
    bound = (rates - p) * thinning_law(beam, 1 - p / rates)
    # d by stage and rate, and how many grid steps that is.
    fall = -log(_inverse_entropy(1 - bound[None, :] / grid[:, None])) / _STEP
    paid = rates + _error_bits(np.array(p), n_outs, n_in, window, _WRONG_BY_CHANCE)
    follow = np.full(_STEPS, -1)
    for i in range(_STEPS - 2, -1, -1):
        to = np.minimum(i + fall[i], _STEPS - 1.0)
        below = to.astype(np.int64)
        above = np.minimum(below + 1, _STEPS - 1)
        total = paid + cost[below] + (to - below) * (cost[above] - cost[below])
        best = int(np.argmin(total))
        if total[best] < cost[i]:
            cost[i], follow[i] = total[best], best
    stages = []
    i = 0
    while follow[i] >= 0:
        stages.append(int(n_outs[follow[i]]))
        i = min(round(i + fall[i, follow[i]]), _STEPS - 1)
    return (*stages, int(last[i])), float(cost[0])


def thinning_law(beam: int, spare_share: Any) -> Any:
    """T/x of a shaped stream: the share of its spare rate x that thins, by spare_share u > 0."""
    beams, *columns = np.array(_THINNING).T
    a, b = (float(interpolate(log(beam), log(beams), column)) for column in columns)
    return 1 / (a + b / spare_share)


def _last(
    care: np.ndarray, n_in: int, window: int, beam: int, max_n_out: int
) -> tuple[np.ndarray, np.ndarray]:
    """n_out of last streams with these shares of care bits, and their bits per place."""
    balanced = n_in / np.maximum(care, n_in / 2 / max_n_out)
    low = np.clip((_SHORTEST_LAST * balanced).astype(np.int64), 1, max_n_out)
    high = np.clip((_LONGEST_LAST * balanced).astype(np.int64) + 1, low, max_n_out)
    step = np.maximum(1, (high - low) // _TRIED_LAST)
    tried = np.arange(2 * _TRIED_LAST)[:, None]  # a step rounded down takes up to twice as many
    n_outs = np.minimum(low + step * tried, high - (high - low) % step)
    bits = n_in / n_outs + _error_bits(care, n_outs, n_in, window, kappa(beam, window))
    best = bits.argmin(0), np.arange(len(care))
    return n_outs[best], bits[best]


def _error_bits(
    care: np.ndarray, n_out: np.ndarray, n_in: int, window: int, share: float
) -> np.ndarray:
    """Correction bits per place if that share of the dependent equations ends as errors."""
    mean = care * n_out
    dependent = overflow(mean, mean * (1 - care), n_in, window)
    return correction_cost(np.minimum(0.5 * care, share * dependent / n_out))


_GRID = np.cumprod(np.full(_STEPS, 0.9607894391523232)) / 0.9607894391523232  # exp(-_STEP * i)
_D = np.linspace(0, 0.5, 4097)[1:] ** 2 * 2  # finer near 0
_H = -(_D * log(_D) + (1 - _D) * log(1 - _D)) / LN2


def _inverse_entropy(h: np.ndarray) -> np.ndarray:
    """d in (0, 1/2] with binary entropy h; the least of the table for h near and below zero."""
    return interpolate(h, _H, _D)
