"""The steps of one tiny encoding as rows to show: notebook 01."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from f2f.decoder.decoder import Decoder
from f2f.encoder.exact import Trellis


@dataclass(frozen=True)
class StepRow:
    """One transition of the trellis of Algorithm 3.

    window: the n_s + 1 vectors of the step, oldest in the low bits; it leads from state_before to
    state_after by the new vector. unmatched: care bits of the block it gets wrong. cost_after:
    fewest wrong care bits of any way that takes it. survives: it is the way kept into state_after.
    """

    block: int
    window: int
    state_before: int
    state_after: int
    vector: int
    unmatched: int
    cost_after: int
    survives: bool
    on_best_path: bool


@dataclass(frozen=True)
class BitRow:
    """One bit of a plane: what is wanted where it matters, what comes out, what is corrected."""

    block: int
    position: int
    care: bool
    target: int
    decoded: int
    wrong: bool
    corrected: int


def steps(trellis: Trellis, decoder: Decoder) -> list[StepRow]:
    """Every transition of a trellis, by block and window."""
    n_in, n_s = decoder.n_in, decoder.n_s
    states, low = 1 << n_in * n_s, (1 << n_in) - 1
    inputs = trellis.trace(n_in, n_s)
    rows = []
    for t, unmatched in enumerate(trellis.unmatched):
        best = sum(int(x) << n_in * j for j, x in enumerate(inputs[t : t + n_s + 1]))
        for window, wrong in enumerate(unmatched.tolist()):
            before, after = window % states, window >> n_in
            rows.append(
                StepRow(
                    t,
                    window,
                    before,
                    after,
                    window >> n_in * n_s,
                    wrong,
                    int(trellis.cost[t, before]) + wrong,
                    bool(trellis.oldest[t, after] == window & low),
                    window == best,
                )
            )
    return rows


def bits(target: np.ndarray, care: np.ndarray, decoded: np.ndarray, n_out: int) -> list[BitRow]:
    """A plane bit by bit: wanted, decoded, and corrected where a care bit came out wrong."""
    rows = []
    for i, (want, cares, got) in enumerate(zip(target, care, decoded, strict=True)):
        wrong = bool(cares and want != got)
        rows.append(
            BitRow(i // n_out, i, bool(cares), int(want), int(got), wrong, int(got) ^ int(wrong))
        )
    return rows
