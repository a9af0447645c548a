"""Time of the exact encoder against the same dynamic programme done directly, and its E.

    python benchmarks/viterbi.py [--out FOLDER] [--repeats N]

Baselines, each compiled by numba with no Python in the loop, forward pass only:
  transitions  visits all 2**(n_in(n_s+1)) transitions, popcount of the care rows' XOR for each
  direct       `minplus.direct_step` for every block: all transitions too, thirty-two at a time
The exact encoder is timed whole: forward pass, trace, checks. One thread. Requirements, at S = 0.9,
n_out = 80, n_in = 8: ten times the speed of `transitions` at n_s = 2, and E in the known ranges.
"""

from __future__ import annotations

import argparse
import functools
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numba import njit

from f2f.decoder.decoder import Decoder
from f2f.encoder import exact as viterbi
from f2f.encoder import minplus
from f2f_study import results

N_IN = 8
# n_s, n_out, S; in the last, most blocks have too many care bits for the convolution to pay
CASES = [(0, 80, 0.9), (1, 80, 0.9), (2, 80, 0.9), (2, 20, 0.6), (2, 160, 0.95), (2, 160, 0.9)]
# wanted E, mean over matrices, by n_s
RANGES = {0: (91.0, 93.5), 1: (98.3, 98.9), 2: (99.35, 99.6)}


@dataclass(frozen=True)
class Timing:
    """One sample: `blocks` blocks encoded once by `encoder`."""

    encoder: str
    n_s: int
    n_out: int
    sparsity: float
    blocks: int
    repeat: int
    cpu_time_us_per_block: float


@dataclass(frozen=True)
class Efficiency:
    """E of the exact optimum for one matrix."""

    n_s: int
    n_out: int
    sparsity: float
    blocks: int
    seed: int
    efficiency_percent: float


@njit(cache=True)
def transitions(target, care, n_out, columns, blocks):
    """Least cost after `blocks` blocks at n_in = 8, n_s = 2 (or 1), from all transitions."""
    n_s = columns.shape[1] // N_IN - 1
    width = 1 << N_IN * (n_s - 1)
    cost = np.zeros(width << N_IN, dtype=np.uint8)
    new = np.zeros(width << N_IN, dtype=np.uint8)
    words = np.empty(columns.shape[1], dtype=np.uint32)
    old, mid = np.empty(1 << N_IN, dtype=np.uint32), np.empty(width, dtype=np.uint32)
    fresh = np.empty(1 << N_IN, dtype=np.uint32)
    total = 0
    for t in range(blocks):
        k, wanted = 0, np.uint32(0)
        words[:] = 0
        for r in range(n_out):
            if care[t * n_out + r]:
                wanted |= np.uint32(target[t * n_out + r]) << np.uint32(k)
                for w in range(len(words)):
                    words[w] |= np.uint32(columns[r, w]) << np.uint32(k)
                k += 1
        minplus.span(words[:N_IN], np.uint32(0), old)
        minplus.span(words[N_IN : N_IN * n_s], wanted, mid)
        minplus.span(words[N_IN * n_s :], np.uint32(0), fresh)
        for m in range(width):
            best = new[m << N_IN : (m + 1) << N_IN]
            best[:] = 255
            for a in range(1 << N_IN):
                before, u = cost[a * width + m], old[a] ^ mid[m]
                for c in range(1 << N_IN):
                    y = u ^ fresh[c]
                    y -= (y >> np.uint32(1)) & np.uint32(0x55555555)
                    y = (y & np.uint32(0x33333333)) + ((y >> np.uint32(2)) & np.uint32(0x33333333))
                    y = (y + (y >> np.uint32(4))) & np.uint32(0x0F0F0F0F)
                    y = np.uint32(y * np.uint32(0x01010101)) >> np.uint32(24)
                    best[c] = min(best[c], np.uint8(before + y))
        least = new.min()
        total += least
        cost[:] = new - least
    return total


@njit(cache=True)
def direct(target, care, n_out, columns, blocks):
    """As `transitions`, each step by `minplus.direct_step`."""
    n_s = columns.shape[1] // N_IN - 1
    cost = np.zeros((1 << N_IN * n_s) + minplus.PAD, dtype=np.uint8)
    new = np.zeros_like(cost)
    rows = np.empty(0, dtype=np.uint64)  # for the trace only
    problem = viterbi.Plane(target, care, rows, columns, N_IN, n_out, n_s)
    found = np.empty(n_out, dtype=np.int64)
    total = 0
    for t in range(blocks):
        k = viterbi._care_rows(problem, t, found)
        minplus.direct_step(cost, new, viterbi._byte_terms(problem, t, found[:k]))
        least = new[: 1 << N_IN * n_s].min()
        total += least
        for s in range(1 << N_IN * n_s):
            cost[s] = new[s] - least
    return total


def plane(seed: int, blocks: int, n_out: int, sparsity: float) -> tuple[np.ndarray, np.ndarray]:
    """target and care of independent bits."""
    rng = np.random.default_rng(seed)
    n = blocks * n_out
    return rng.integers(0, 2, n, dtype=np.uint8), (rng.random(n) >= sparsity).astype(np.uint8)


def wrong_bits(target: np.ndarray, care: np.ndarray, decoder: Decoder) -> int:
    """Wrong care bits of the exact encoder, found by decoding."""
    inputs = viterbi.encode_viterbi(target, care, decoder)
    return int(((decoder.decode(inputs, len(target)) != target) & (care == 1)).sum())


def check() -> None:
    """All three find the same optimum."""
    for n_s in (1, 2):
        decoder = Decoder(N_IN, 80, n_s, seed=1)
        target, care = plane(9, 6, 80, 0.85)
        columns = viterbi._columns(decoder)
        found = [baseline(target, care, 80, columns, 6) for baseline in (transitions, direct)]
        if found != [wrong_bits(target, care, decoder)] * 2:
            raise SystemExit(f"n_s={n_s}: baselines find {found} wrong bits, the encoder another")


def encoders(
    decoder: Decoder, target: np.ndarray, care: np.ndarray
) -> dict[str, Callable[[int], object]]:
    """The encoders of one plane, each a function of the number of blocks to encode."""
    n_out, columns = decoder.n_out, viterbi._columns(decoder)

    def exact(blocks: int) -> np.ndarray:
        return viterbi.encode_viterbi(target[: blocks * n_out], care[: blocks * n_out], decoder)

    calls: dict[str, Callable[[int], object]] = {"viterbi": exact}
    if decoder.n_s:
        for baseline in (transitions, direct):
            calls[baseline.__name__] = functools.partial(baseline, target, care, n_out, columns)
    return calls


def time_all(repeats: int) -> list[Timing]:
    """Every encoder by turns within each repeat, after a warm-up; time of the thread, not wall."""
    rows = []
    blocks = {"viterbi": 400, "direct": 100, "transitions": 3}
    for n_s, n_out, sparsity in CASES:
        target, care = plane(0, 20 * 400, n_out, sparsity)
        calls = encoders(Decoder(N_IN, n_out, n_s, seed=0), target, care)
        for call in calls.values():
            call(2)
        for repeat in range(repeats):
            for name, call in calls.items():
                count = blocks[name] * (1 if n_s == 2 else 20)
                start = time.thread_time()
                call(count)
                per_block = 1e6 * (time.thread_time() - start) / count
                rows.append(Timing(name, n_s, n_out, sparsity, count, repeat, per_block))
    return rows


def print_times(times: list[Timing]) -> dict[tuple[str, int, int, float], float]:
    """Print and return the median by encoder, n_s, n_out and S."""
    medians = {}
    for case in CASES:
        print("n_s = {}, n_out = {}, S = {}".format(*case))
        for name in ("viterbi", "transitions", "direct"):
            found = [
                r.cpu_time_us_per_block
                for r in times
                if (r.encoder, r.n_s, r.n_out, r.sparsity) == (name, *case)
            ]
            if found:
                medians[name, *case] = float(np.median(found))
                ratio = medians[name, *case] / medians["viterbi", *case]
                print(
                    f"  {name:12s} {np.median(found):9.1f} µs/block "
                    f"({min(found):.1f}–{max(found):.1f})  {ratio:6.1f} x"
                )
    return medians


def efficiencies(blocks: int, seeds: int) -> list[Efficiency]:
    """E at S = 0.9, n_out = 80 for several matrices, each with data of its own."""
    rows = []
    for n_s in RANGES:
        for seed in range(seeds):
            target, care = plane(seed, blocks, 80, 0.9)
            errors = wrong_bits(target, care, Decoder(N_IN, 80, n_s, seed))
            percent = 100 * (1 - errors / int(care.sum()))
            rows.append(Efficiency(n_s, 80, 0.9, blocks, seed, percent))
    return rows


def main() -> int:
    """Check, measure, print, write; returns 1 if a requirement fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="runs/benchmarks/viterbi", help="folder of the CSV files")
    parser.add_argument("--repeats", type=int, default=7, help="samples of each time")
    given = parser.parse_args()
    check()
    print(results.hardware())
    times = time_all(given.repeats)
    out = Path(given.out)
    results.write_csv(out / "viterbi_times.csv", times)
    medians = print_times(times)
    measured = efficiencies(3000, 5)
    results.write_csv(out / "viterbi_efficiency.csv", measured)
    failed = []
    for n_s, (low, high) in RANGES.items():
        values = [r.efficiency_percent for r in measured if r.n_s == n_s]
        mean = float(np.mean(values))
        print(
            f"E at n_s = {n_s}: {mean:.3f} % ({min(values):.3f}–{max(values):.3f}, "
            f"{len(values)} matrices, 3000 blocks each; wanted {low}–{high})"
        )
        if not low <= mean <= high:
            failed.append(f"E at n_s = {n_s}")
    if medians["transitions", 2, 80, 0.9] < 10 * medians["viterbi", 2, 80, 0.9]:
        failed.append("ten times the speed of `transitions`")
    print("failed: " + ", ".join(failed) if failed else "all requirements hold")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
