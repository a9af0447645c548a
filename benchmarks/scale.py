"""Whole-model compression over processes: a scaling curve, and what a large model would cost.

    python benchmarks/scale.py [--out FOLDER] [--repeats N] [--jobs 1,2] [--dask]

A model of equal INT8 matrices at S = 0.9 is compressed and decompressed by `f2f.parallel` with
joblib's processes, and with --dask by the workers of a local Dask cluster, through the same call.
Workers are started and warm before the clock runs. It is checked that every number of jobs gives
the same bytes, and the weights back. The curve is wall-clock time: other work on the machine bends
it. The estimates multiply the processor time a weight takes in one process: encoding is
independent tensor by tensor, so they hold for as many cores as there are tensors (a few hundred
in the models meant), and leave reading and writing files out.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from f2f.parallel import compress_model, decompress_model
from f2f_study import provenance, results

N_W = 8  # bits a weight
SPARSITY = 0.9
MODELS = {"7 B": 7e9, "70 B": 70e9}
CORES = (1, 16, 256)


@dataclass(frozen=True)
class ScaleRow:
    """One sample: the whole model compressed and decompressed once."""

    backend: str
    jobs: int
    tensors: int
    weights: int
    repeat: int
    compress_s: float
    decompress_s: float


@dataclass(frozen=True)
class EstimateRow:
    """What the measured cost makes of a model whose every weight is in a pruned INT8 matrix."""

    model: str
    parameters: float
    sparsity: float
    cores: int
    compress_ns_per_plane_bit: float
    compress_hours: float
    decompress_hours: float
    size_gigabytes: float
    dense_gigabytes: float


def made(tensors: int, size: int) -> dict[str, np.ndarray]:
    """`tensors` matrices, size x size, of independent weights."""
    rng = np.random.default_rng(0)
    model = {}
    for i in range(tensors):
        weight = rng.integers(-127, 128, (size, size), dtype=np.int8)
        weight[rng.random(weight.shape) < SPARSITY] = 0
        model[f"layer{i}.weight"] = weight
    return model


@contextlib.contextmanager
def backend(name: str, jobs: int) -> Iterator[None]:
    """joblib's processes or a local Dask cluster of one-thread workers."""
    if name == "processes":
        with joblib.parallel_config(backend="loky", n_jobs=jobs):
            yield
        return
    from dask.distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=jobs, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        yield


def same_bytes(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether two compressed models have equal headers and arrays."""
    return all(
        a[name].header() == b[name].header()
        and all(
            np.array_equal(part, b[name].arrays()[key]) for key, part in a[name].arrays().items()
        )
        for name in a
    )


def main() -> int:
    """Check, measure, print, write; returns 1 if a result differs between numbers of jobs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="runs/benchmarks/scale", help="folder of the CSV files")
    parser.add_argument("--repeats", type=int, default=3, help="samples of each time")
    parser.add_argument(
        "--jobs", default="", help="numbers of jobs; default 1, 2, 4 … to all cores"
    )
    parser.add_argument("--tensors", type=int, default=16, help="matrices of the model")
    parser.add_argument("--size", type=int, default=1024, help="rows and columns of each")
    parser.add_argument("--dask", action="store_true", help="a local Dask cluster too")
    given = parser.parse_args()
    powers = [2**i for i in range(joblib.cpu_count().bit_length())]
    counts = [int(jobs) for jobs in given.jobs.split(",") if jobs] or powers
    print(provenance.hardware())
    weights = made(given.tensors, given.size)
    n = sum(weight.size for weight in weights.values())
    cost = []
    for _ in range(given.repeats + 1):  # the first round compiles
        started = time.process_time()
        alone = compress_model(weights)
        middle = time.process_time()
        decompress_model(alone)
        cost.append((middle - started, time.process_time() - middle))
    rows = []
    for name in ("processes", *(["dask"] if given.dask else [])):
        for jobs in counts:
            with backend(name, jobs):
                for repeat in range(-1, given.repeats):  # the first round starts the workers
                    started = time.perf_counter()
                    model = compress_model(weights)
                    middle = time.perf_counter()
                    back = decompress_model(model)
                    end = time.perf_counter()
                    if repeat >= 0:
                        times = (middle - started, end - middle)
                        rows.append(ScaleRow(name, jobs, given.tensors, n, repeat, *times))
                if not same_bytes(model, alone):
                    print(f"failed: {jobs} jobs of {name} give other bytes")
                    return 1
                if not all(np.array_equal(back[key], weights[key]) for key in weights):
                    print(f"failed: {jobs} jobs of {name} do not give the weights back")
                    return 1
    results.write_csv(Path(given.out) / "scale.csv", rows)
    print_curve(rows)
    size = sum(tensor.nbytes for tensor in alone.values()) / n
    compress_s, decompress_s = np.median(cost[1:], axis=0) / n
    estimated = estimates(float(compress_s), float(decompress_s), size)
    results.write_csv(Path(given.out) / "estimates.csv", estimated)
    print_estimates(estimated)
    return 0


def medians(rows: list[ScaleRow], name: str, jobs: int) -> tuple[float, float]:
    """Median seconds of compression and decompression."""
    found = [row for row in rows if (row.backend, row.jobs) == (name, jobs)]
    return (
        float(np.median([row.compress_s for row in found])),
        float(np.median([row.decompress_s for row in found])),
    )


def print_curve(rows: list[ScaleRow]) -> None:
    """Million weights a second, and speed over one job of the same back end."""
    print(f"\n{rows[0].tensors} INT8 tensors, {rows[0].weights} weights, S = {SPARSITY}")
    print("  back end   jobs   compress Mweights/s (x one job)   decompress Mweights/s (x)")
    for name, jobs in dict.fromkeys((row.backend, row.jobs) for row in rows):
        seconds, first = medians(rows, name, jobs), medians(rows, name, rows[0].jobs)
        speeds = [rows[0].weights / s / 1e6 for s in seconds]
        ratios = [one / s for one, s in zip(first, seconds, strict=True)]
        print(
            f"  {name:9s} {jobs:5d} {speeds[0]:20.2f} ({ratios[0]:.2f})"
            f" {speeds[1]:25.2f} ({ratios[1]:.2f})"
        )


def estimates(compress_s: float, decompress_s: float, bytes_per_weight: float) -> list[EstimateRow]:
    """Hours and sizes of large models from seconds of processor time and bytes per weight."""
    return [
        EstimateRow(
            model, parameters, SPARSITY, cores, 1e9 * compress_s / N_W,
            parameters * compress_s / cores / 3600, parameters * decompress_s / cores / 3600,
            parameters * bytes_per_weight / 1e9, parameters * N_W / 8 / 1e9,
        )
        for model, parameters in MODELS.items()
        for cores in CORES
    ]  # fmt: skip


def print_estimates(rows: list[EstimateRow]) -> None:
    """The estimates as a table."""
    print(f"\nestimate from {rows[0].compress_ns_per_plane_bit:.2f} ns a plane bit and core:")
    print("  model  cores   compress h   decompress h   size GB   dense GB")
    for row in rows:
        print(
            f"  {row.model:5s} {row.cores:6d} {row.compress_hours:12.3f}"
            f" {row.decompress_hours:14.3f} {row.size_gigabytes:9.2f} {row.dense_gigabytes:10.1f}"
        )


if __name__ == "__main__":
    sys.exit(main())
