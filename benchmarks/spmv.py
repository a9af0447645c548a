"""One large product from the encoded form beside the other formats, with what is required of it.

    python benchmarks/spmv.py [--out FOLDER] [--repeats N] [--size N] [--threads N]

One INT8 matrix pruned at random to S = 0.9 by a float32 vector, as notebook 06 measures it
(`f2f_study.experiments.products`); every format is checked against float64 first. Requirements: at
most 2.5 ns per unpruned weight and core, and the bytes that `products.missed` states.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from f2f_study import provenance, results
from f2f_study.experiments import product_cases, products

REQUIRED_NS = 2.5


def main() -> int:
    """Measure, print the table, write CSV; 1 if a requirement is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder for spmv.csv")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--size", type=int, default=8192)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    print(provenance.hardware())
    cases = [product_cases.Case(options.size, options.size, 0.9)]
    samples = products.measure(cases, options.repeats, options.threads)
    if options.out:
        results.write_csv(options.out / "spmv.csv", samples)
    found = product_cases.table(samples)
    print(found.to_string(float_format="{:.4g}".format))
    missed = products.missed(samples)
    each = found["ns_each"].xs("encoded", level="format").iloc[0]
    if each > REQUIRED_NS:
        missed.append(f"{each:.2f} ns per unpruned weight and core, required {REQUIRED_NS}")
    print("\n".join(missed) or "requirements met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
