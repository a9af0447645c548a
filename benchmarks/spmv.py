"""Products from the encoded form at full size: time and memory beside the other formats.

    python benchmarks/spmv.py [--out FOLDER] [--repeats N] [--size N] [--threads N]

One INT8 matrix, 8192 × 8192, pruned at random to S = 0.9, n_s = 7, times a float32 vector, by
`f2f_study.experiments.products`, which checks every format against float64 first. Requirements: the encoded form
takes at most 2.5 ns per unpruned weight and core, and less than half the memory of the dense FP32
matrix and of CSR. Whether it beats the dense product is reported. The processor time of a product
in one thread stands beside the wall time: on a busy machine it is the steadier of the two.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from f2f import compress
from f2f import product as spmv
from f2f.product import bench
from f2f_study import results

REQUIRED_NS = 2.5


def processor_ns(size: int, repeats: int) -> float:
    """Median processor time in ns per unpruned weight of a product in one thread."""
    weight = bench.matrix(bench.Case(size, size, 0.9))
    unpruned = int(np.count_nonzero(weight))
    n_out = bench.shuffle_friendly(8 * weight.size // unpruned)
    tensor = compress(weight, order="diagonal", mask_codec="bitmap", n_out=n_out, threads=2)
    x = np.ones(size, dtype=np.float32)
    spmv(tensor, x, threads=1)
    samples = []
    for _ in range(repeats):
        start = time.process_time()
        spmv(tensor, x, threads=1)
        samples.append(time.process_time() - start)
    return 1e9 * float(np.median(samples)) / unpruned


def main() -> int:
    """Measure, print the table, write CSV; 1 if a requirement is missed."""
    parser = argparse.ArgumentParser(description="Products from the encoded form.")
    parser.add_argument("--out", type=Path, help="folder for spmv.csv")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--size", type=int, default=8192)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    formats = [name for name in bench.FORMATS if name != "encoded_cascade"]
    case = bench.Case(options.size, options.size, 0.9)
    rows = list(bench.measure([case], options.repeats, options.threads, formats))
    if options.out:
        results.write_csv(options.out / "spmv.csv", rows)
    print(bench.table(rows))
    of = {name: [row for row in rows if row.format == name] for name in formats}
    medians = {name: float(np.median([row.time_us for row in of[name]])) for name in formats}
    stored = {name: of[name][0].stored_bytes for name in formats}
    unpruned = of["encoded"][0].useful_operations / 2
    each = 1e3 * medians["encoded"] * options.threads / unpruned
    ratio = medians["encoded"] / medians["dense_fp32"]
    print(f"encoded: {each:.2f} ns per unpruned weight and core, {ratio:.2f} of the dense time")
    print(f"processor time, one thread: {processor_ns(options.size, options.repeats):.2f} ns")
    missed = []
    if each > REQUIRED_NS:
        missed.append(f"{each:.2f} ns per unpruned weight and core, required {REQUIRED_NS}")
    for other in ("dense_fp32", "csr_torch"):
        if 2 * stored["encoded"] >= stored[other]:
            missed.append(f"memory {stored['encoded']} is not half of {other}, {stored[other]}")
    print("\n".join(missed) or "requirements met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
