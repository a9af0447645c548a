"""Rates of the streams of a mask cascade, by modelled stored bits.

A stage of the cascade starts with shares p of wanted and q of unwanted places that survive so far,
and ends it (the last stream, with all of them as care bits) or thins q. Both are predicted:

* Thinning q to q·d takes ``T = q(1 - h(d))`` bits a place by the rate-distortion bound, h binary
  entropy. A stream with rate ``p + x`` achieves ``T = x / (a + b/u)``, u = x/(p + x), where a and b
  depend on the beam alone: within 0.02 for 0.05 <= p <= 0.25 (fitted by benchmarks/mask.py).
* Wrong care bits follow `f2f.encoder.rate`, with independent places.

The best sequence of whole n_out is found by a dynamic programme over a grid of q.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from f2f.encoder.rate import correction_cost, kappa, overflow

# (beam, a, b)
_THINNING = (
    (1, 0.612, 0.630),
    (16, 1.163, 0.0543),
    (64, 1.099, 0.0363),
    (256, 1.067, 0.0265),
    (1024, 1.046, 0.0209),
)
_STEPS = 150  # of the grid: q falls by the factor exp(-1/25) a step
_STEP = 1 / 25
_CANDIDATES = 64


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
        return _last(p + q, n_in, window, beam, max_n_out)
    grid = q * np.exp(-_STEP * np.arange(_STEPS))
    last = [_last(p + survivors, n_in, window, beam, max_n_out) for survivors in grid.tolist()]
    cost = np.array([bits for _, bits in last])
    # Thinning: rates over p, up to twice it or what the first stage could use.
    lowest = min(max(1, int(n_in / (2 * p + 0.3 * q))), max_n_out)
    highest = max(lowest, min(int(n_in / p), max_n_out))
    n_outs = np.unique(np.linspace(lowest, highest, _CANDIDATES).astype(np.int64))
    n_outs = n_outs[n_in / n_outs > p]
    if not len(n_outs):
        return last[0]
    errors = [_error_bits(p, int(n_out), n_in, window, 0.5) for n_out in n_outs]
    rates = n_in / n_outs
    bound = (rates - p) * thinning_law(beam, 1 - p / rates)
    # d by stage and rate, and how many grid steps that is.
    fall = -np.log(_inverse_entropy(1 - bound[None, :] / grid[:, None])) / _STEP
    paid = rates + np.array(errors)
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
    return (*stages, *last[i][0]), float(cost[0])


def thinning_law(beam: int, spare_share: Any) -> Any:
    """T/x of a shaped stream: the share of its spare rate x that thins, by spare_share u > 0."""
    beams, *columns = zip(*_THINNING, strict=True)
    a, b = (float(np.interp(np.log(beam), np.log(beams), column)) for column in columns)
    return 1 / (a + b / spare_share)


def _last(
    care: float, n_in: int, window: int, beam: int, max_n_out: int
) -> tuple[tuple[int, ...], float]:
    """n_out of a last stream with this share of care bits, and its bits per place."""
    if care <= 0:
        return (max_n_out,), n_in / max_n_out
    balanced = n_in / care
    low = max(1, min(int(0.9 * balanced), max_n_out))
    high = min(int(1.08 * balanced) + 1, max_n_out)
    step = max(1, (high - low) // 16)
    best = min(
        (n_in / n_out + _error_bits(care, n_out, n_in, window, kappa(beam, window)), n_out)
        for n_out in range(low, max(high, low) + 1, step)
    )
    return (best[1],), best[0]


def _error_bits(care: float, n_out: int, n_in: int, window: int, share: float) -> float:
    """Correction bits per place if that share of the dependent equations ends as errors."""
    mean = care * n_out
    dependent = overflow(mean, mean * (1 - care), n_in, window)
    return correction_cost(min(0.5 * care, share * dependent / n_out))


_D = np.linspace(0, 0.5, 4097)[1:] ** 2 * 2  # finer near 0
_H = -_D * np.log2(_D) - (1 - _D) * np.log2(np.maximum(1 - _D, 0.5))


def _inverse_entropy(h: np.ndarray) -> np.ndarray:
    """d in (0, 1/2] with binary entropy h; the least of the table for h near and below zero."""
    return np.interp(h, _H, _D)
