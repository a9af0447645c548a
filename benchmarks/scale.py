"""Whole-model compression over processes: a scaling curve, and what a large model would cost.

    python benchmarks/scale.py [--out FOLDER] [--repeats N] [--jobs 1 2] [--dask]

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
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd

from f2f.parallel import compress_model, decompress_model
from f2f_study import provenance, results
from f2f_study.experiments.product_cases import Case, matrix

N_W = 8  # bits a weight
SPARSITY = 0.9
MODELS = {"7 B": 7e9, "70 B": 70e9}
CORES = (1, 16, 256)


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


def passes(
    weights: dict[str, np.ndarray], repeats: int, clock: Callable[[], float]
) -> tuple[dict[str, Any], pd.DataFrame]:
    """The compressed model, and seconds of `repeats` passes after one that compiles and warms up.

    Raises `RuntimeError` where the weights do not come back.
    """
    samples = []
    for repeat in range(-1, repeats):
        started = clock()
        model = compress_model(weights)
        middle = clock()
        back = decompress_model(model)
        sample = {"compress_s": middle - started, "decompress_s": clock() - middle}
        samples.append({"repeat": repeat} | sample)
    if not all(np.array_equal(back[name], weights[name]) for name in weights):
        raise RuntimeError("the weights do not come back")
    return model, pd.DataFrame(samples[1:])


def contents(model: dict[str, Any]) -> list[Any]:
    """All that two equal compressed models have in common."""
    return [
        (name, tensor.header(), {key: part.tobytes() for key, part in tensor.arrays().items()})
        for name, tensor in model.items()
    ]


def estimates(compress_s: float, decompress_s: float, bytes_per_weight: float) -> pd.DataFrame:
    """Hours and sizes of large models from seconds of processor time and bytes per weight."""
    found = pd.DataFrame(
        [(*model, SPARSITY, cores) for model, cores in itertools.product(MODELS.items(), CORES)],
        columns=["model", "parameters", "sparsity", "cores"],
    )
    hours = found["parameters"] / found["cores"] / 3600
    return found.assign(
        compress_ns_per_plane_bit=1e9 * compress_s / N_W,
        compress_hours=hours * compress_s,
        decompress_hours=hours * decompress_s,
        size_gigabytes=found["parameters"] * bytes_per_weight / 1e9,
        dense_gigabytes=found["parameters"] * N_W / 8 / 1e9,
    )


def main() -> int:
    """Check, measure, print, write; returns 1 if a result differs between numbers of jobs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default="runs/benchmarks/scale", help="for the CSV")
    parser.add_argument("--repeats", type=int, default=3, help="samples of each time")
    powers = [2**i for i in range(joblib.cpu_count().bit_length())]
    parser.add_argument("--jobs", type=int, nargs="+", default=powers, help="numbers of workers")
    parser.add_argument("--tensors", type=int, default=16, help="matrices of the model")
    parser.add_argument("--size", type=int, default=1024, help="rows and columns of each")
    parser.add_argument("--dask", action="store_true", help="a local Dask cluster too")
    given = parser.parse_args()
    print(provenance.hardware())
    cases = [Case(given.size, given.size, SPARSITY, seed=seed) for seed in range(given.tensors)]
    weights = {f"layer{case.seed}.weight": matrix(case) for case in cases}
    n = sum(weight.size for weight in weights.values())
    alone, cost = passes(weights, given.repeats, time.process_time)
    parts = []
    for name, jobs in itertools.product(["processes"] + ["dask"] * given.dask, given.jobs):
        with backend(name, jobs):
            model, samples = passes(weights, given.repeats, time.perf_counter)
        if contents(model) != contents(alone):
            print(f"failed: {jobs} jobs of {name} give other bytes")
            return 1
        parts.append(samples.assign(backend=name, jobs=jobs, tensors=given.tensors, weights=n))
    order = ["backend", "jobs", "tensors", "weights", "repeat", "compress_s", "decompress_s"]
    curve = pd.concat(parts, ignore_index=True)[order]
    results.write_csv(given.out / "scale.csv", curve)
    medians = curve.groupby(["backend", "jobs"], sort=False)[
        ["compress_s", "decompress_s"]
    ].median()
    print((n / 1e6 / medians).set_axis(["compress M/s", "decompress M/s"], axis=1).round(2))
    per_weight = cost.median() / n
    size = sum(tensor.nbytes for tensor in alone.values()) / n
    found = estimates(per_weight["compress_s"], per_weight["decompress_s"], size)
    results.write_csv(given.out / "estimates.csv", found)
    print(found.to_string(index=False, float_format="{:.3g}".format))
    return 0


if __name__ == "__main__":
    sys.exit(main())
