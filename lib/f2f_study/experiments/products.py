"""Times of matrix products from the encoded form and from other formats, as CSV.

    python -m f2f_study.experiments.products --out FOLDER

On the CPU every format of a case multiplies the same matrix by the same x (float32): those of
`f2f_study.baselines.products`, and the encoded tensor in diagonal order with a bitmap ("encoded")
or a cascade ("encoded_cascade") as mask. Each is first checked against the product in float64; one
out of bounds is an error, not a row. Then all are timed by turns, so that a busy moment of the
machine hits them alike; each turn is an untimed product and a timed one, so a matrix that fits in
a cache is there. Two more measure the machine: "copy" (the bandwidth of copying 256 MiB) and
"gemm" (a dense 2048 × 2048 × 2048 product through PyTorch).

With a GPU the rows of `f2f_study.experiments.products_gpu` are written beside them; without one a
line says why.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from f2f.format.codec import compress
from f2f.product import device, spmm
from f2f_study import provenance, results
from f2f_study.baselines.products import FORMATS as BASELINES
from f2f_study.baselines.products import ONE_COLUMN, Prepared, prepare
from f2f_study.experiments import products_gpu
from f2f_study.experiments.product_cases import BOUND, CASE, Case, Problem, table

CSV = "spmv_cpu.csv"
MASK_CODECS = {"encoded": "bitmap", "encoded_cascade": "cascade"}
FORMATS = (*BASELINES, *MASK_CODECS)
WARM_S = 0.01  # for so long idle OpenMP threads of the product before may keep a core busy
SPARSITIES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98)
COLUMNS = [
    "hardware", "format", "dtype", *CASE, "threads", "repeat", "time_us", "stored_bytes",
    "moved_bytes", "useful_operations", "error",
]  # fmt: skip


def grid(
    size: int,
    sparsities: Sequence[float],
    columns: Sequence[int] = (),
    column_sparsities: Sequence[float] = (),
    sizes: Sequence[int] = (),
    size_sparsities: Sequence[float] = (),
    seed: int = 0,
) -> list[Case]:
    """The cases of the paper's figure and around it.

    A square matrix of `size` by a vector at every sparsity, by more columns at
    `column_sparsities`, and matrices of `sizes` by a vector at `size_sparsities`.

    Examples
    --------
    >>> [case[:4] for case in grid(64, [0.5], [1, 4], [0.9], [128], [0.9])]
    [(64, 64, 0.5, 1), (64, 64, 0.9, 4), (128, 128, 0.9, 1)]
    """
    return [
        *(Case(size, size, s, 1, seed=seed) for s in sparsities),
        *(Case(size, size, s, m, seed=seed) for s in column_sparsities for m in columns if m > 1),
        *(Case(n, n, s, seed=seed) for n in sizes for s in size_sparsities),
    ]


CASES = tuple(grid(2048, SPARSITIES, (4, 16, 64), SPARSITIES, (4096, 8192), (0.7, 0.9, 0.98)))


def measure(cases: Sequence[Case], repeats: int, threads: int) -> pd.DataFrame:
    """Time every format in every case of `grid`, `repeats` samples each, and the machine.

    `threads` are those of PyTorch, numba and the encoded product; formats in `ONE_COLUMN` are left
    out where x has more columns. One row a sample, with `COLUMNS` as runs/README.md defines them.
    `RuntimeError` if a product is further than `BOUND` from the one in float64.
    """
    set_threads(threads)
    parts = [_machine(repeats, threads)]
    shown = tqdm(cases, desc="products", unit=" cases", delay=2)
    parts += [_measure_case(case, repeats, threads) for case in shown]
    return pd.concat(parts, ignore_index=True).assign(hardware=provenance.hardware())[COLUMNS]


def set_threads(threads: int) -> None:
    """Let PyTorch and numba use as many threads."""
    import numba
    import torch

    torch.set_num_threads(threads)
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))


def summary(samples: pd.DataFrame, sparsity: float) -> list[results.Quantity]:
    """What notebook 06 stands for: the largest matrix of `measure` at this S, by a vector.

    Times depend on the machine and carry no tolerance; bytes are those of the code.
    """
    found = table(samples).reset_index()
    at = found[(found["columns"] == 1) & (found["sparsity"] == sparsity)]
    rows = at["rows"].max()
    at = at[at["rows"] == rows].set_index("format")
    name, nan = f"{rows}², S = {sparsity:g}", float("nan")
    slower, each = float(at["over_dense"]["encoded"]), float(at["ns_each"]["encoded"])
    kept = float(at["stored_mb"]["encoded"] / at["stored_mb"]["dense_fp32"])
    return [
        results.Quantity(f"encoded over dense time, {name}", slower, "1", nan),
        results.Quantity(f"time per unpruned weight and core, {name}", each, "ns", nan),
        results.Quantity("encoded over dense bytes, largest case", kept, "1", 0.002),
    ]


def missed(samples: pd.DataFrame) -> list[str]:
    """What is required of the encoded bytes and does not hold, in words.

    By a vector, at 0.8 ≤ S ≤ 0.95: less than half of dense FP32 and of CSR; with a bitmap as mask
    within 2 % of a bitmap with packed values, which needs no code, from 1024 rows on; there a
    cascade as mask takes less.
    """
    found = table(samples).reset_index()
    at = found[(found["columns"] == 1) & found["sparsity"].between(0.8, 0.95)]
    stored = at.pivot(index=["rows", "sparsity"], columns="format", values="stored_mb")
    large = stored[stored.index.get_level_values("rows") >= 1024]
    holds = {
        "half of dense FP32": stored["encoded"] < 0.5 * stored["dense_fp32"],
        "half of CSR": stored["encoded"] < 0.5 * stored["csr_torch"],
        "the bitmap within 2 %": (large["encoded"] / large["bitmap"] - 1).abs() < 0.02,
        "a cascade below a bitmap": large["encoded_cascade"] < large["encoded"],
    }
    return [
        f"{what}: not at {rows}², S = {sparsity:g}"
        for what, fine in holds.items()
        for rows, sparsity in fine.index[~fine]
    ]


def shuffle_friendly(n_out: int) -> int:
    """The next smaller multiple of 16 where it is near: whole shuffles, fewer errors.

    Examples
    --------
    >>> [shuffle_friendly(n_out) for n_out in (16, 26, 40, 81, 161)]
    [16, 26, 40, 80, 160]
    """
    near = n_out - n_out % 16
    return near if 0.97 * n_out <= near else n_out


def _measure_case(case: Case, repeats: int, threads: int) -> pd.DataFrame:
    problem = Problem(case)
    prepared, errors = {}, {}
    for name in FORMATS:
        if case.columns > 1 and name in ONE_COLUMN:
            continue
        prepared[name] = _prepare(name, problem, threads)
        errors[name] = problem.error(name, prepared[name].run(), BOUND)
    samples = _by_turns(prepared, repeats).assign(
        rows=case.rows, cols=case.cols, sparsity=case.sparsity, columns=case.columns
    )
    read = samples["stored_bytes"] + samples.pop("unpacked_bytes")
    samples["moved_bytes"] = read + problem.x.nbytes + 4 * problem.exact.size
    samples["useful_operations"] = 2 * problem.unpruned * case.columns
    return samples.assign(error=samples["format"].map(errors))


def _prepare(name: str, problem: Problem, threads: int) -> Prepared:
    weight, x = problem.weight, problem.x
    if name in BASELINES:
        return prepare(name, weight, x[:, 0] if x.shape[1] == 1 else x, threads)
    n_out = shuffle_friendly(8 * weight.size // max(problem.unpruned, 1))
    codec = MASK_CODECS[name]
    tensor = compress(weight, order="diagonal", mask_codec=codec, n_out=n_out, threads=threads)
    product = functools.partial(spmm, tensor, x, threads=threads)
    # Products read the mask as the operands keep it, a bit a weight (`f2f.format.operands`).
    mask = tensor.mask.nbytes if tensor.mask is not None else 0
    unpacked = -(-tensor.n // 8) - mask if mask else 0
    return Prepared(product, tensor.nbytes, str(weight.dtype), threads, unpacked)


def _by_turns(prepared: Mapping[str, Prepared], repeats: int) -> pd.DataFrame:
    """One timed product of each format after the other, `repeats` times."""
    samples = []
    for repeat in range(repeats):
        for name, product in prepared.items():
            warm = time.perf_counter() + WARM_S
            while time.perf_counter() < warm:  # untimed: caches and cores are then its own
                product.run()
            start = time.perf_counter()
            product.run()
            time_us = 1e6 * (time.perf_counter() - start)
            sample = {"format": name, "repeat": repeat, "time_us": time_us}
            samples.append(product._asdict() | sample)
    return pd.DataFrame(samples).drop(columns="run")


def _machine(repeats: int, threads: int) -> pd.DataFrame:
    """Samples of a copy and of a dense product, of the machine alone."""
    import torch

    source, square = torch.ones(1 << 26), torch.ones(2048, 2048)
    target = torch.empty_like(source)
    copy = Prepared(lambda: target.copy_(source), 4 << 26, "float32", threads)
    gemm = Prepared(lambda: square @ square, 4 << 22, "float32", threads)
    parts = [
        _by_turns({"copy": copy}, repeats).assign(moved_bytes=8 << 26, useful_operations=0),
        _by_turns({"gemm": gemm}, repeats).assign(moved_bytes=3 << 24, useful_operations=2 << 33),
    ]
    return pd.concat(parts).assign(rows=2048, cols=2048, sparsity=0.0, columns=2048, error=0.0)


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
    cases, gpu_cases = CASES, products_gpu.CASES
    if options.size:
        cases = gpu_cases = tuple(
            Case(options.size, options.size, sparsity, columns)
            for sparsity in options.sparsity
            for columns in options.columns
        )
    if options.skip != "cpu":
        samples = measure(cases, options.repeats, options.threads)
        results.write_csv(options.out / CSV, samples)
        print(table(samples).to_string(float_format="{:.4g}".format))
    if options.skip != "gpu":
        print(products_gpu.status())
        if options.skip == "cpu" and not device.probe():
            return 1
        if device.probe():
            samples = products_gpu.measure(gpu_cases, 2 * options.repeats)
            results.write_csv(options.out / products_gpu.CSV, samples)
            print(table(samples).to_string(float_format="{:.4g}".format))
    facts = provenance.gather(out=str(options.out), repeats=options.repeats)
    provenance.write(options.out, facts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
