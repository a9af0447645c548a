"""E of whole models in every encoding order, on the published masks (DLMC) of the paper's networks.

    F2F_DATA=FOLDER python benchmarks/orders.py [--out FOLDER] [--sparsity 0.9]

Every layer of every pruned Transformer and ResNet-50 that the data folder holds (see
data/README.md), n_s = 7, the default beam of `f2f.compress` (64), eight planes of random bits, one
n_out per layer, chosen in two ways. "balanced": round(8/p) for a share p of unpruned weights, which
makes as many input bits as care bits, a load of 1. "fewest bits": the one that `f2f.compress`
chooses, which may give up a little E for a shorter payload; reported for the good orders. Wrong
bits are counted after decoding. Requirements, in golden and in diagonal order at the balanced n_out
and S = 0.9: E of a model, over its care bits, at least 99.8, and no layer of more than 50,000
weights below 99.5. Without the data the program says so and passes.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from f2f.format.orders import ORDERS
from f2f_study import provenance, results
from f2f_study.experiments.beyond import RATES, OrderRow, measure_orders
from f2f_study.sources import NETWORKS, available, open_model

LARGE = 50_000  # weights
GOOD_ORDERS = ("golden", "diagonal")
ORDERS_OF = {"balanced": ORDERS, "fewest bits": GOOD_ORDERS}
LEAST_MODEL, LEAST_LAYER = 99.8, 99.5


def worst_layer(rows: list[OrderRow]) -> OrderRow:
    """Of the layers of more than LARGE weights, the one of lowest E."""
    layers = [row for row in rows if row.layer != "total" and row.weights > LARGE]
    return min(layers, key=lambda row: row.efficiency_percent)


def print_model(rows: list[OrderRow]) -> list[str]:
    """Print E of a model and of its worst layer by rate and order; return what falls short."""
    first, failed = rows[0], []
    title = f"{first.network} {first.method} S = {first.sparsity:g}"
    total = next(row for row in rows if row.layer == "total")
    print(f"\n{title}, {total.weights} weights, {total.care_bits} care bits, E in %")
    print("  n_out         order         model   worst layer")
    for rate in RATES:
        for order in ORDERS_OF[rate]:
            part = [row for row in rows if (row.rate, row.order) == (rate, order)]
            whole, worst = part[-1].efficiency_percent, worst_layer(part)
            print(
                f"  {rate:12s}  {order:9s} {whole:9.3f} {worst.efficiency_percent:9.3f}"
                f"  {worst.layer}"
            )
            short = whole < LEAST_MODEL or worst.efficiency_percent < LEAST_LAYER
            if short and order in GOOD_ORDERS and (rate, first.sparsity) == ("balanced", 0.9):
                failed.append(f"{title} {order}: {whole:.3f}, {worst.efficiency_percent:.3f}")
    return failed


def main() -> int:
    """Measure, print, write; returns 1 if a requirement fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="runs/benchmarks/orders", help="folder of the CSV file")
    parser.add_argument("--sparsity", type=float, default=0.9, help="nominal, of the models")
    parser.add_argument("--beam", type=int, default=64, help="hypotheses kept")
    given = parser.parse_args()
    print(provenance.hardware())
    pairs = [
        (network, method)
        for network in NETWORKS
        for method, sparsity in available("dlmc", network)
        if sparsity == given.sparsity
    ]
    if not pairs:
        print(
            f"skipped: no masks at S = {given.sparsity:g} in dlmc/ of the data folder "
            "(data/raw, or F2F_DATA); data/README.md says how to get them"
        )
        return 0
    rows, failed = [], []
    for network, method in pairs:
        model = open_model("dlmc", network, method, given.sparsity, values="none")
        started = time.perf_counter()
        found = [
            row
            for rate in RATES
            for row in measure_orders(model, ORDERS_OF[rate], rate, beam=given.beam)
        ]
        failed += print_model(found)
        print(f"  {time.perf_counter() - started:.0f} s")
        rows += found
        results.write_csv(Path(given.out) / "orders.csv", rows)
    print("\nfailed: " + "; ".join(failed) if failed else "\nall requirements hold")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
