"""How well the rate model of `f2f.encoder.rate` predicts errors, and the kappa it uses for each beam.

    python benchmarks/rate.py [--out FOLDER] [--care N]

Independent masks and bits over sparsity, n_out around n_in/(1-S) and n_s. Printed for each beam:
the median and range of measured errors over modelled dependent equations, which is kappa. The
requirement: the kappa in use is within 20 % of the median measured at loads of 0.98 to 1.02 care
bits an input bit, where n_out is chosen.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from f2f.decoder.decoder import Decoder
from f2f.encoder.beam import encode_beam
from f2f.encoder.rate import kappa, overflow
from f2f_study import results


@dataclass(frozen=True)
class Row:
    """One encoding of 8 planes. load: care bits an input bit. modelled_overflow: bits a block."""

    sparsity: float
    n_s: int
    n_out: int
    beam: int
    load: float
    care_bits: int
    wrong_bits: int
    modelled_overflow: float
    kappa: float


def measure(sparsity: float, n_s: int, n_out: int, beam: int, care_bits: int) -> Row:
    """Encode about `care_bits` care bits in 8 planes."""
    rng = np.random.default_rng(0)
    p = 1 - sparsity
    n = int(care_bits / 8 / p)
    positions = np.flatnonzero(rng.random(n) < p)
    target = rng.integers(0, 256, len(positions)).astype(np.uint8)
    decoder = Decoder(8, n_out, n_s)
    inputs = encode_beam(positions, target, n, decoder, 8, beam)
    wrong = int(np.bitwise_count(decoder.decode(inputs, n)[positions] ^ target).sum())
    mean = len(positions) / n * n_out
    dependent = overflow(mean, mean * (1 - len(positions) / n), 8, decoder.window)
    total = 8 * dependent * n / n_out
    return Row(
        sparsity, n_s, n_out, beam, mean / 8, 8 * len(positions), wrong, dependent, wrong / total
    )


def main() -> int:
    """Measure, print, and check the requirement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder for rate.csv")
    parser.add_argument("--care", type=int, default=1_000_000, help="care bits an encoding")
    arguments = parser.parse_args()
    rows = []
    for beam in (1, 4, 16, 64, 256):
        care = arguments.care if beam < 256 else arguments.care // 2
        for sparsity, n_outs in ((0.9, (79, 80, 81)), (0.7, (26, 27)), (0.5, (16,))):
            for n_out in n_outs:
                for n_s in (2, 4, 7):
                    rows.append(measure(sparsity, n_s, n_out, beam, care))
    if arguments.out:
        results.write_csv(arguments.out / "rate.csv", rows)
    failed = False
    print(f"{'beam':>5} {'n_s':>4} {'kappa':>8} {'low':>8} {'high':>8} {'in use':>8}")
    for beam in sorted({row.beam for row in rows}):
        for n_s in (2, 4, 7):
            found = [
                r.kappa for r in rows if (r.beam, r.n_s) == (beam, n_s) and abs(r.load - 1) < 0.021
            ]
            median, used = float(np.median(found)), kappa(beam, 8 * (n_s + 1))
            print(f"{beam:5} {n_s:4} {median:8.3f} {min(found):8.3f} {max(found):8.3f} {used:8.3f}")
            failed |= abs(used / median - 1) > 0.2
    print("FAILED: kappa is off" if failed else "kappa as stated")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
