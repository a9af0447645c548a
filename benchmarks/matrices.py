"""Does a chosen decoder matrix beat a random one? E, XOR gates and table lookups by kind of matrix.

    python benchmarks/matrices.py [--out FOLDER] [--matrices N] [--blocks N] [--windows 2,3,7]

Every kind of `f2f.beyond.MATRIX_KINDS` encodes the same planes with the same numbers of matrices,
n_in = 8, beam 16. Printed: E, and the mean difference from random, plane by plane, with its
standard error. A kind is worth being the default if it is better by more than two standard errors
at every S and n_s. Requirement: the default, random, has no such rival.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from f2f import beyond, results

SPARSITIES = (0.6, 0.7, 0.8, 0.9, 0.95)


def main() -> int:
    """Measure, print, write; returns 1 if another kind should be the default."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="runs/benchmarks/matrices", help="folder of matrices.csv")
    parser.add_argument("--matrices", type=int, default=10, help="matrices of each kind")
    parser.add_argument("--blocks", type=int, default=6000, help="blocks of a plane")
    parser.add_argument("--windows", default="2,3,7", help="numbers of shift registers")
    given = parser.parse_args()
    windows = [int(n_s) for n_s in given.windows.split(",")]
    rows = [
        beyond.measure_matrix(kind, n_s=n_s, sparsity=sparsity, blocks=given.blocks, seed=seed)
        for n_s in windows
        for sparsity in SPARSITIES
        for kind in beyond.MATRIX_KINDS
        for seed in range(given.matrices)
    ]
    results.write_csv(Path(given.out) / "matrices.csv", rows)
    better = dict.fromkeys(beyond.MATRIX_KINDS[1:], True)
    for n_s in windows:
        for sparsity in SPARSITIES:
            print(f"n_s = {n_s}, S = {sparsity}: E, difference from random, gates, nibbles")
            found = {
                kind: [r for r in rows if (r.n_s, r.sparsity, r.kind) == (n_s, sparsity, kind)]
                for kind in beyond.MATRIX_KINDS
            }
            base = np.array([r.efficiency_percent for r in found["random"]])
            for kind, part in found.items():
                percent = np.array([r.efficiency_percent for r in part])
                gain = percent - base
                error = gain.std(ddof=1) / np.sqrt(len(gain))
                print(
                    f"  {kind:30s} {percent.mean():8.4f} %  {gain.mean():+.4f} ± {error:.4f}"
                    f"  {part[0].xor_gates_per_bit:5.1f} {part[0].nibbles_per_row:5.1f}"
                )
                if kind != "random" and gain.mean() <= 2 * error:
                    better[kind] = False
    rivals = [kind for kind, wins in better.items() if wins]
    print("better at every S and n_s: " + (", ".join(rivals) or "none; random stays the default"))
    return 1 if rivals else 0


if __name__ == "__main__":
    sys.exit(main())
