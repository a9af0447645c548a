"""Products y = W x: this version, the one before, and what one would use instead, in one run.

    python benchmarks/spmv.py [--before CHECKOUT] [--out FOLDER] [--repeats N] [--beam N]
        [--sizes N ...] [--sparsities S ...] [--threads N ...]

Square INT8 matrices pruned at random, by a float32 vector, at every size, S and number of threads:
encoded with a bitmap or a cascade as mask ("encoded", "encoded_cascade"; in a process of its own
for each version), and the formats of `f2f_study.baselines.products`, of which csr_torch is MKL's
CSR. Checked first: every product against float64, and the bytes that `products.missed` states.
Then all are timed by turns, each after untimed products; the medians are printed beside the
version before, and every sample goes to spmv.csv, with the processor. Other numbers of columns,
and GPUs, are in notebooks/06_spmv. Only a failed check is a failure.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from _versions import Request, Version, answer, arguments, versions

ENCODED = {"encoded": "bitmap", "encoded_cascade": "cascade"}
BASELINES = ("dense_fp32", "csr_torch", "csr_scipy", "delta_csr", "bitmap")
WARM_S = 0.01  # idle threads of the product before may keep a core busy for so long


def sample_us(run: Callable[[], object]) -> float:
    """The time of one call after untimed ones: caches and cores are then its own."""
    warm = time.perf_counter() + WARM_S
    while time.perf_counter() < warm:
        run()
    start = time.perf_counter()
    run()
    return 1e6 * (time.perf_counter() - start)


@cache
def encoded(folder: str, form: str, n_out: int, beam: int) -> Any:
    """The matrix of a folder, compressed by the worker's version."""
    from f2f import compress

    weight = np.load(Path(folder, "weight.npy"))
    return compress(weight, mask_codec=ENCODED[form], n_out=n_out, beam=beam, threads=2)


def measure(request: Request) -> dict[str, float]:
    """A worker's answer: the time of a product, or its result in a file and the stored bytes."""
    from f2f import spmv

    folder, threads = request["folder"], request["threads"]
    tensor = encoded(folder, request["form"], request["n_out"], request["beam"])
    x = np.load(Path(folder, "x.npy"))
    if request["timed"]:
        return {"time_us": sample_us(lambda: spmv(tensor, x, threads=threads))}
    np.save(Path(folder, "y.npy"), spmv(tensor, x, threads=threads))
    return {"stored_bytes": tensor.nbytes}


class Subject(NamedTuple):
    """A product to measure: what computes y and says its stored bytes, and what times it, in µs."""

    form: str
    version: str
    product: Callable[[], tuple[np.ndarray, int]]
    time_us: Callable[[], float]


def baseline(form: str, weight: np.ndarray, x: np.ndarray) -> Subject:
    """One of `BASELINES`, in this process."""
    from f2f_study.baselines.products import prepare

    made = prepare(form, weight, x)

    def product() -> tuple[np.ndarray, int]:
        return np.asarray(made.run()), made.stored_bytes

    return Subject(form, "now", product, lambda: sample_us(made.run))


def by_worker(worker: Version, request: Request) -> Subject:
    """One of `ENCODED`, in the process of a version."""

    def product() -> tuple[np.ndarray, int]:
        found = worker(request | {"timed": False})
        return np.load(Path(request["folder"], "y.npy")), found["stored_bytes"]

    def time_us() -> float:
        return worker(request | {"timed": True})["time_us"]

    return Subject(request["form"], worker.name, product, time_us)


def measure_case(
    case: Any, workers: list[Version], threads: list[int], repeats: int, beam: int
) -> pd.DataFrame:
    """Check and time all of one matrix: a row a sample."""
    from f2f_study.experiments import product_cases, products

    problem = product_cases.Problem(case)
    x, rows = problem.x[:, 0], []
    n_out = products.shuffle_friendly(8 * problem.weight.size // problem.unpruned)
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder, "weight.npy"), problem.weight)
        np.save(Path(folder, "x.npy"), x)
        others = [baseline(form, problem.weight, x) for form in BASELINES]
        for count in threads:
            products.set_threads(count)
            common = {"folder": folder, "n_out": n_out, "beam": beam, "threads": count}
            subjects = others + [
                by_worker(worker, common | {"form": form}) for worker in workers for form in ENCODED
            ]
            facts = {}
            for form, version, product, _ in subjects:
                y, stored_bytes = product()
                error = problem.error(f"{form} ({version})", y, product_cases.BOUND)
                facts[form, version] = {"stored_bytes": stored_bytes, "error": error}
            for repeat in range(repeats):
                for form, version, _, time_us in subjects:
                    names = {"format": form, "version": version, "threads": count}
                    sample = {"repeat": repeat, "time_us": time_us()}
                    rows.append(case._asdict() | names | facts[form, version] | sample)
    return pd.DataFrame(rows).assign(useful_operations=2 * problem.unpruned)


def show(samples: pd.DataFrame) -> None:
    """Print medians in ms, and what they are to those of this version's bitmap."""
    case = ["rows", "sparsity", "threads"]
    forms = samples["format"].where(samples["version"] == "now", samples["format"] + ", before")
    named = samples.assign(format=forms)
    times = named.pivot_table("time_us", case, "format", "median", sort=False)
    print(f"median ms\n{(times / 1e3).round(3).to_string()}")
    ratios = times.div(times["encoded"], axis=0).drop(columns="encoded")
    unpruned = samples.groupby(case)["useful_operations"].first() / 2
    each = 1e3 * times["encoded"] * times.index.get_level_values("threads") / unpruned
    ratios.insert(0, "encoded, ns", each)
    print("\nns of a core per unpruned weight; times of the others over encoded's")
    print(ratios.round(2).to_string())
    stored = samples[samples["version"] == "now"].pivot_table(
        "stored_bytes", ["rows", "sparsity"], "format", "first"
    )
    print(f"\nstored MB\n{(stored / 1e6).round(2).to_string()}")


def main() -> int:
    """Check, measure, print, write; returns 1 if a check fails."""
    parser = arguments(__file__, __doc__, repeats=15)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2048, 4096, 8192])
    parser.add_argument("--sparsities", type=float, nargs="+", default=[0.5, 0.7, 0.9, 0.95, 0.98])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--beam", type=int, default=8, help="hypotheses of the encoder")
    given = parser.parse_args()
    if given.worker:
        return answer(measure)
    from f2f_study import provenance, results
    from f2f_study.experiments import product_cases, products

    hardware = provenance.hardware()
    print(hardware)
    workers = versions(given.before, __file__)
    parts = []
    for size in given.sizes:
        for sparsity in given.sparsities:
            case = product_cases.Case(size, size, sparsity)
            parts.append(measure_case(case, workers, given.threads, given.repeats, given.beam))
            print(f"measured {size}², S = {sparsity:g}", flush=True)
    samples = pd.concat(parts, ignore_index=True).assign(hardware=hardware)
    results.write_csv(given.out / "spmv.csv", samples)
    show(samples)
    missed = products.missed(samples[samples["version"] == "now"])
    print("failed: " + "; ".join(missed) if missed else "all checks passed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
