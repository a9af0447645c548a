"""The paper's Transformer as a whole: 44 million INT8 weights at S = 0.9, coded and decoded.

    python benchmarks/models.py [--out FOLDER] [--threads N] [--methods magnitude,...]

The masks are those of DLMC where they are on this machine (`data/README.md`), for each pruning
method; otherwise random masks in the shapes of the Transformer's 96 matrices, and the table says
so. Values are drawn, N(0, 1), and quantized per output channel. Every tensor is compared bit for
bit first. Times are wall-clock, of `f2f.compress` with its default settings, and processor time
beside them, which other work on the machine bends less. Requirement: under 60 s on 2 threads.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from f2f.format.codec import compress, decompress
from f2f_study import results
from f2f_study import sources as models
from f2f_study.experiments.evaluation import layer_weights
from f2f_study.networks.layers import draw_values

LIMIT_S = 60.0
SPARSITY = 0.9
_SHAPES = [(512, 512)] * 72 + [(2048, 512)] * 12 + [(512, 2048)] * 12


@dataclass(frozen=True)
class WholeModelRow:
    """One model coded and decoded once."""

    source: str
    method: str
    sparsity: float
    weights: int
    threads: int
    efficiency_percent: float
    bits_per_weight: float
    ratio_to_floor: float
    encode_s: float
    encode_cpu_s: float
    decode_s: float


def _random_model() -> models.PrunedModel:
    rng = np.random.default_rng(0)
    masks = {f"matrix {i}": rng.random(shape) >= SPARSITY for i, shape in enumerate(_SHAPES)}
    drawn = draw_values(masks, "normal", 0)
    layers = {name: models.Layer(drawn[name], mask, True) for name, mask in masks.items()}
    words = "drawn, normal, seed 0"
    return models.PrunedModel("random masks", "transformer", "random", SPARSITY, layers, words)


def measure(model: models.PrunedModel, threads: int) -> WholeModelRow:
    """Code and decode every tensor; raises `AssertionError` if one comes back different."""
    weights = {name: layer_weights(layer, "int8") for name, layer in model.layers.items()}
    first = next(iter(weights))
    decompress(compress(weights[first][:64], model.layers[first].mask[:64], threads=threads))
    started, cpu = time.perf_counter(), time.process_time()
    coded = {
        name: compress(array, model.layers[name].mask, threads=threads)
        for name, array in weights.items()
    }
    encoded, cpu = time.perf_counter(), time.process_time() - cpu
    decoded = {name: np.asarray(decompress(tensor)) for name, tensor in coded.items()}
    ended = time.perf_counter()
    for name, array in weights.items():
        assert np.array_equal(decoded[name], array), f"{name} came back different"
    bits = 8 * sum(tensor.nbytes for tensor in coded.values())
    wrong = sum(sum(t.corrections[p].count for p in t.encoded) for t in coded.values())
    care = sum(t.k * len(t.encoded) for t in coded.values())
    return WholeModelRow(
        model.source,
        model.method,
        model.sparsity,
        model.size,
        threads,
        100 * (1 - wrong / care),
        bits / model.size,
        bits / sum(tensor.floor for tensor in coded.values()),
        encoded - started,
        cpu,
        ended - encoded,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, help="folder for models.csv")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--methods", default=",".join(models.METHODS))
    given = parser.parse_args()
    there = [m for m, s in models.available("dlmc", "transformer") if s == SPARSITY]
    methods = [m for m in given.methods.split(",") if m in there]
    rows = []
    for method in methods or ["random masks"]:
        if methods:
            model = models.open_model("dlmc", "transformer", method, SPARSITY)
        else:
            model = _random_model()
        row = measure(model, given.threads)
        rows.append(row)
        print(
            f"{row.source:12s} {row.method:20s} {row.weights / 1e6:.1f} M weights: "
            f"E {row.efficiency_percent:.2f} %, {row.bits_per_weight:.3f} bits/weight, "
            f"{row.ratio_to_floor:.4f} of the floor, encode {row.encode_s:.1f} s "
            f"({row.encode_cpu_s:.1f} s CPU), decode {row.decode_s:.1f} s",
            flush=True,
        )
    if given.out:
        results.write_csv(given.out / "models.csv", rows)
    slow = [row.method for row in rows if row.encode_s > LIMIT_S]
    print(f"limit {LIMIT_S:.0f} s: " + (f"exceeded by {', '.join(slow)}" if slow else "kept"))
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
