"""What the products of `products` and `products_gpu` have in common: cases, checks, tables.

A case is one matrix and one operand. Every sample of it, on a CPU or a GPU, is one row of a data
frame whose columns `runs/README.md` defines; `table` condenses them.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

CASE = ["rows", "cols", "sparsity", "columns"]
MACHINE = ("copy", "gemm")  # rows that measure the machine and no format
BOUND = 1e-5  # largest norm(y - exact) / norm(exact) of sums in float32


class Case(NamedTuple):
    """One matrix and number of columns of the operand."""

    rows: int  # of the matrix
    cols: int
    sparsity: float  # share of pruned weights; places are drawn independently
    columns: int = 1  # of the operand; 1 is a vector
    dtype: str = "int8"  # of the weights: "int8", uniform without zero, or a float, normal
    seed: int = 0  # of weights and mask; the operand is drawn with the next one


class Problem:
    """A case with its matrix `weight` (rows, cols), operand `x` and exact product.

    The operand is float32, normal, (cols, columns).
    """

    def __init__(self, case: Case) -> None:
        self.case = case
        self.weight = matrix(case)
        rng = np.random.default_rng(case.seed + 1)
        self.x = rng.standard_normal((case.cols, case.columns), dtype=np.float32)

    @cached_property
    def exact(self) -> np.ndarray:
        """W X in float64, (rows, columns); some rows at a time, for memory."""
        step, x = max(1, (1 << 24) // self.case.cols), self.x.astype(np.float64)
        starts = range(0, self.case.rows, step)
        return np.concatenate([self.weight[r : r + step].astype(np.float64) @ x for r in starts])

    @property
    def unpruned(self) -> int:
        """Weights that are not zero."""
        return int(np.count_nonzero(self.weight))

    def error(self, form: str, y: np.ndarray, bound: float) -> float:
        """norm(y - exact) / norm(exact); raises `RuntimeError` where it is above the bound."""
        y = np.asarray(y).reshape(self.exact.shape).astype(np.float64)
        scale = max(float(np.linalg.norm(self.exact)), 1e-300)
        error = float(np.linalg.norm(y - self.exact)) / scale
        if not error <= bound:
            raise RuntimeError(f"{form} is wrong by {error:.3g} for {self.case}")
        return error


def matrix(case: Case) -> np.ndarray:
    """The pruned weights of a case, (rows, cols)."""
    rng = np.random.default_rng(case.seed)
    if case.dtype == "int8":
        weight = rng.integers(-127, 128, (case.rows, case.cols), dtype=np.int8)
        weight[weight == 0] = 1
    else:
        weight = rng.standard_normal((case.rows, case.cols), dtype=np.float32).astype(case.dtype)
    weight[rng.random(weight.shape, dtype=np.float32) < case.sparsity] = 0
    return weight


def table(samples: pd.DataFrame) -> pd.DataFrame:
    """Samples of `products.measure` or `products_gpu.measure`, one row a case and format.

    Indexed by these: median time with its 10th and 90th percentile; `over_dense`, that over the
    dense FP32 product of the case; `encoded_over`, the encoded product's over this one's; stored
    megabytes; on a CPU the time per unpruned weight and core, on a GPU the share of the time that
    the byte floor makes up.
    """
    samples = samples[~samples["format"].isin(MACHINE)]
    # On a GPU `dtype` is the case's, on a CPU the format's.
    case = [*CASE, "dtype"] if "device" in samples else CASE
    groups = samples.groupby([*case, "format"], sort=False)
    first, times = groups.first(), groups["time_us"]
    low, high = times.quantile(0.1), times.quantile(0.9)
    found = pd.DataFrame({"time_us": times.median(), "low_us": low, "high_us": high})
    by_format = found["time_us"].unstack("format")
    for name, form in (("over_dense", "dense_fp32"), ("encoded_over", "encoded")):
        if form in by_format:
            ratio = by_format.div(by_format[form], axis=0).stack()
            found[name] = ratio if name == "over_dense" else 1 / ratio
    found["stored_mb"] = first["stored_bytes"] / 1e6
    if "device" in samples:
        found["floor_share"] = first["floor_us"] / found["time_us"]
    else:
        columns = first.index.get_level_values("columns")
        weights = first["useful_operations"] / 2 / columns
        found["ns_each"] = 1e3 * found["time_us"] * first["threads"] / weights
    return found
