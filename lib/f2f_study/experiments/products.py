"""Times of matrix products from the encoded form and from other formats, as CSV.

    python -m f2f_study.experiments.products --out FOLDER

On the CPU every format of a case multiplies the same matrix by the same x (float32): dense FP32 and
CSR through PyTorch (MKL), CSR through SciPy (one thread), Algorithm 1 in numba, delta-CSR and
bitmap (`f2f_study.baselines.products`), and the encoded tensor in diagonal order with a bitmap or a cascade as
mask. Each is first checked against the product in float64; one out of bounds is an error, not a
row. Then all are timed by turns, so that a busy moment of the machine hits them alike; each turn
is an untimed product and a timed one, so a matrix that fits in a cache is there. Two more measure
the machine: "copy" (the bandwidth of copying 256 MiB) and "gemm" (a dense 2048 × 2048 × 2048
product through PyTorch).

With a GPU the rows of `f2f_study.experiments.products_gpu` are written beside them; without one a line says why.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from f2f.format.codec import compress
from f2f.product import device, spmm
from f2f_study import provenance, results
from f2f_study.baselines.csr import CSR
from f2f_study.baselines.products import pack_matrix
from f2f_study.experiments import products_gpu
from f2f_study.experiments.products_gpu import Case, matrix

CSV = "spmv_cpu.csv"
FORMATS = (
    "dense_fp32",
    "csr_torch",
    "csr_scipy",
    "csr_numba",
    "delta_csr",
    "bitmap",
    "encoded",
    "encoded_cascade",
)
ONE_COLUMN = ("csr_numba", "delta_csr", "bitmap")  # written for a vector only
WARM_S = 0.01  # for so long idle OpenMP threads of the product before may keep a core busy
BOUND = 1e-5  # largest norm(y - exact) / norm(exact)
SPARSITIES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98)
CASES = (
    *(Case(2048, 2048, s) for s in SPARSITIES),
    *(Case(2048, 2048, s, columns) for s in SPARSITIES for columns in (4, 16, 64)),
    *(Case(n, n, s) for n in (4096, 8192) for s in (0.7, 0.9, 0.98)),
)


@dataclass(frozen=True)
class CpuRow:
    """One timed product.

    hardware: of the machine. format: see the module. dtype: of the stored weights. threads:
    allowed to it. stored_bytes: of the matrix in this format. moved_bytes: these, x and y once.
    useful_operations: two for each unpruned weight and column (for "gemm" and "copy" what they
    do). error: norm(y - exact) / norm(exact).
    """

    hardware: str
    format: str
    dtype: str
    rows: int
    cols: int
    sparsity: float
    columns: int
    threads: int
    repeat: int
    time_us: float
    stored_bytes: int
    moved_bytes: int
    useful_operations: int
    error: float


@dataclass(frozen=True)
class Candidate:
    """A format of a case: the product, and what is stored."""

    name: str
    dtype: str
    threads: int
    product: Callable[[], Any]
    stored_bytes: int


def measure(
    cases: Sequence[Case] = CASES,
    repeats: int = 15,
    threads: int = 2,
    formats: Sequence[str] = FORMATS,
) -> Iterator[CpuRow]:
    """Rows of all formats for all cases, and of the machine."""
    import numba
    import torch

    torch.set_num_threads(threads)
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    yield from _machine(torch, repeats, threads)
    for case in cases:
        yield from _measure_case(case, repeats, threads, formats)


def _measure_case(
    case: Case, repeats: int, threads: int, formats: Sequence[str]
) -> Iterator[CpuRow]:
    weight = matrix(case)
    x = np.random.default_rng(case.seed + 1).standard_normal((case.cols, case.columns))
    x = x.astype(np.float32)
    exact = weight.astype(np.float64) @ x.astype(np.float64)
    operations = 2 * int(np.count_nonzero(weight)) * case.columns
    candidates, errors = [], {}
    for name in formats:
        if case.columns > 1 and name in ONE_COLUMN:
            continue
        candidate = _candidate(name, weight, x, threads)
        y = np.asarray(candidate.product()).reshape(exact.shape).astype(np.float64)
        error = float(np.linalg.norm(y - exact)) / max(float(np.linalg.norm(exact)), 1e-300)
        if not error <= BOUND:
            raise RuntimeError(f"{name} is wrong by {error:.3g} for {case}")
        candidates.append(candidate)
        errors[name] = error
    moved = x.nbytes + 4 * exact.size
    for repeat, candidate, time_us in _by_turns(candidates, repeats):
        yield CpuRow(
            provenance.hardware(), candidate.name, candidate.dtype, case.rows, case.cols,
            case.sparsity, case.columns, candidate.threads, repeat, time_us,
            candidate.stored_bytes, candidate.stored_bytes + moved, operations,
            errors[candidate.name],
        )  # fmt: skip


def _by_turns(
    candidates: Sequence[Candidate], repeats: int
) -> Iterator[tuple[int, Candidate, float]]:
    for repeat in range(repeats):
        for candidate in candidates:
            warm = time.perf_counter() + WARM_S
            while time.perf_counter() < warm:  # untimed: caches and cores are then its own
                candidate.product()
            start = time.perf_counter()
            candidate.product()
            yield repeat, candidate, 1e6 * (time.perf_counter() - start)


def _candidate(name: str, weight: np.ndarray, x: np.ndarray, threads: int) -> Candidate:
    import scipy.sparse
    import torch

    one = x.shape[1] == 1
    wide = weight.astype(np.float32)
    vector = x[:, 0] if one else x
    if name == "dense_fp32":
        dense, operand = torch.from_numpy(wide), torch.from_numpy(vector)
        return Candidate(name, "float32", threads, lambda: dense @ operand, wide.nbytes)
    if name == "csr_torch":
        own = CSR.from_dense(wide)
        with warnings.catch_warnings():  # that the interface is in beta state
            warnings.simplefilter("ignore", UserWarning)
            # 32-bit indices: MKL converts 64-bit ones at every product.
            parts = [torch.from_numpy(part) for part in (own.starts, own.columns, own.values)]
            csr = torch.sparse_csr_tensor(parts[0], parts[1], parts[2], wide.shape)
        operand = torch.from_numpy(vector)
        return Candidate(name, "float32", threads, lambda: csr @ operand, own.nbytes)
    if name == "csr_scipy":
        packed = scipy.sparse.csr_matrix(wide)
        stored = packed.data.nbytes + packed.indices.nbytes + packed.indptr.nbytes
        return Candidate(name, "float32", 1, lambda: packed @ vector, stored)
    if name == "csr_numba":
        own = CSR.from_dense(wide)
        return Candidate(name, "float32", threads, lambda: own.spmv(vector), own.nbytes)
    if name in ("delta_csr", "bitmap"):
        form = pack_matrix(name, weight)
        return Candidate(name, str(weight.dtype), threads, lambda: form.spmv(vector), form.nbytes)
    codec = "cascade" if name == "encoded_cascade" else "bitmap"
    unpruned = max(int(np.count_nonzero(weight)), 1)
    n_out = shuffle_friendly(8 * weight.size // unpruned)
    tensor = compress(weight, order="diagonal", mask_codec=codec, n_out=n_out, threads=threads)
    return Candidate(
        name, str(weight.dtype), threads, lambda: spmm(tensor, x, threads=threads), tensor.nbytes
    )


def shuffle_friendly(n_out: int) -> int:
    """The next smaller multiple of 16 where it is near: whole shuffles (`f2f.decoder.gates`), fewer errors.

    >>> [shuffle_friendly(n_out) for n_out in (16, 26, 40, 81, 161)]
    [16, 26, 40, 80, 160]
    """
    near = n_out - n_out % 16
    return near if 0.97 * n_out <= near else n_out


def _machine(torch: Any, repeats: int, threads: int) -> Iterator[CpuRow]:
    source = torch.ones(1 << 26)
    target = torch.empty_like(source)
    square = torch.ones(2048, 2048)
    pairs = [
        (Candidate("copy", "float32", threads, lambda: target.copy_(source), 4 << 26), 8 << 26, 0),
        (Candidate("gemm", "float32", threads, lambda: square @ square, 4 << 22), 3 << 24, 2 << 33),
    ]
    for candidate, moved, operations in pairs:
        for repeat, _, time_us in _by_turns([candidate], repeats):
            yield CpuRow(
                provenance.hardware(), candidate.name, "float32", 2048, 2048, 0.0, 2048, threads,
                repeat, time_us, candidate.stored_bytes, moved, operations, 0.0,
            )  # fmt: skip


def table(rows: Sequence[CpuRow]) -> str:
    """Median time of each format and case, and its ratio to the dense product of the same case."""
    cases: dict[tuple[int, int, float, int], dict[str, list[CpuRow]]] = {}
    for row in rows:
        if row.format not in ("copy", "gemm"):
            key = (row.rows, row.cols, row.sparsity, row.columns)
            cases.setdefault(key, {}).setdefault(row.format, []).append(row)
    lines = []
    for (height, width, sparsity, columns), formats in cases.items():
        lines.append(f"{height} x {width}, S = {sparsity:g}, {columns} column(s)")
        medians = {f: float(np.median([r.time_us for r in rs])) for f, rs in formats.items()}
        dense = medians.get("dense_fp32", float("nan"))
        for name, samples in formats.items():
            row, time_us = samples[0], medians[name]
            weights = row.useful_operations / 2 / columns
            each = 1e3 * time_us * row.threads / weights if weights else float("nan")
            lines.append(
                f"  {name:>16} {time_us:10.0f} us  {time_us / dense:6.2f} of dense  "
                f"{each:6.2f} ns per unpruned weight and core  {row.stored_bytes / 1e6:8.2f} MB"
            )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m f2f_study.experiments.products",
        description="Time matrix products; write CSV.",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the CSV files")
    parser.add_argument("--repeats", type=int, default=15, help="samples of each format and case")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--size", type=int, help="only one square size, at every sparsity below")
    parser.add_argument("--sparsity", type=float, nargs="+", default=[0.9])
    parser.add_argument("--columns", type=int, nargs="+", default=[1])
    parser.add_argument("--skip", choices=("cpu", "gpu"), help="measure the other one only")
    options = parser.parse_args(argv)
    cases: Sequence[Case] = CASES
    gpu_cases: Sequence[Case] = products_gpu.CASES
    if options.size:
        cases = gpu_cases = [
            Case(options.size, options.size, sparsity, columns)
            for sparsity in options.sparsity
            for columns in options.columns
        ]
    if options.skip != "cpu":
        rows = list(measure(cases, options.repeats, options.threads))
        results.write_csv(options.out / CSV, rows)
        print(table(rows))
    if options.skip != "gpu":
        print(products_gpu.status())
        if options.skip == "cpu" and not device.probe():
            return 1
        if device.probe():
            gpu_rows = list(products_gpu.measure(gpu_cases, 2 * options.repeats))
            results.write_csv(options.out / products_gpu.CSV, gpu_rows)
            print("\n".join(products_gpu.compare(gpu_rows)))
    facts = provenance.gather(out=str(options.out), repeats=options.repeats)
    provenance.write(options.out, facts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
