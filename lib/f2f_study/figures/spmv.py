"""Figures of products straight from the encoded form (notebook 06).

Lines are medians over the repeats, bands reach from the lower to the upper quartile.
"""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from f2f_study.figures import palette, style
from f2f_study.figures.style import draws

__all__ = ["spmv_bytes", "spmv_normalized", "spmv_normalized_gpu", "spmv_roofline", "spmv_sizes"]

_PAPER_SIZE = 2048
# Rows that measure the machine, and columns that name it.
_MACHINE = ["copy", "gemm"]
_MACHINE_COLUMNS = "hardware threads"
_CASE = [*_MACHINE_COLUMNS.split(), "format", "rows", "cols", "sparsity", "columns"]
_TIMES = "format rows sparsity columns time_us"
_RATIO = "time / dense FP32 product"
_SPARSITY = "sparsity $S$"


def _lines(axes: Axes, rows: pd.DataFrame, x: str, y: str) -> None:
    """Medians and quartiles by format; sizes and columns on an axis of powers of two."""
    sns.lineplot(
        rows, x=x, y=y, ax=axes, estimator="median", errorbar=("pi", 50), legend=False,
        err_kws={"alpha": 0.15, "linewidth": 0}, **palette.lines(rows, "format"),
    )  # fmt: skip
    style.log_scale(axes)
    if x == "sparsity":
        axes.locator_params(axis="x", nbins=6)
    else:
        values = sorted(set(rows[x]))
        axes.set_xscale("log", base=2)
        axes.set_xticks(values, values)


def _at_paper_size(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the paper's matrix, or of the smallest there is."""
    size = _PAPER_SIZE if (rows["rows"] == _PAPER_SIZE).any() else rows["rows"].min()
    return rows[rows["rows"] == size]


def _products(rows: pd.DataFrame) -> pd.DataFrame:
    return style.required(rows[~rows["format"].isin(_MACHINE)], "the format of a product")


def _ratios(rows: pd.DataFrame) -> pd.DataFrame:
    """Products with `ratio`: the time over the dense one's median at the same size and columns."""
    case = ["rows", "columns"]
    dense = rows[rows["format"] == "dense_fp32"].groupby(case).time_us.median().rename("dense")
    rows = _products(rows).join(dense, on=case, how="inner")
    return style.required(rows.assign(ratio=rows.time_us / rows.dense), "format dense_fp32")


def _finish(figure: Figure, rows: pd.DataFrame, words: str, shape: str = "line") -> Figure:
    """The figure with what was multiplied, the machine, and the legend of the formats."""
    machine = rows.get("device", rows.get("hardware")).iloc[0]
    machine += f"; {rows.threads.max()} threads" if "threads" in rows else ""
    figure.suptitle(f"{words}\n{style.wrapped(machine, figure)}")
    return style.legend(figure, palette.handles("format", rows["format"], shape))


def _normalized(rows: pd.DataFrame, width: float) -> Figure:
    at = _at_paper_size(_ratios(rows))
    most = at["columns"].max()
    sparsity = 0.9 if (at.sparsity == 0.9).any() else at.sparsity.iloc[0]
    parts = [(at[at["columns"] == 1], "sparsity", "a vector")]
    if most > 1:
        parts.append((at[at["columns"] == most], "sparsity", f"{most} columns"))
        parts.append((at[at.sparsity == sparsity], "columns", f"$S$ = {sparsity:g}"))
    parts = [part for part in parts if not part[0].empty]
    figure, panels = style.panels(len(parts), width, height=2.5, sharey=True)
    for axes, (part, x, title) in zip(panels, parts, strict=True):
        _lines(axes, part, x, "ratio")
        style.reference(axes, 1.0)
        axes.set(title=title, xlabel=_SPARSITY if x == "sparsity" else x, ylabel=_RATIO)
        if x == "sparsity":
            axes.set_xlim(at.sparsity.min() - 0.02, at.sparsity.max() + 0.02)
    size = at["rows"].iloc[0]
    return _finish(figure, at, f"{size} × {size}")


@draws("spmv_cpu.csv", f"{_TIMES} {_MACHINE_COLUMNS}")
def spmv_normalized(rows: pd.DataFrame, width: float) -> Figure:
    """The paper's figure: execution times normalized to the dense product, over S and columns."""
    return _normalized(rows, width)


@draws("spmv_gpu.csv", f"{_TIMES} device")
def spmv_normalized_gpu(rows: pd.DataFrame, width: float) -> Figure:
    """The same on a GPU, cold cache."""
    return _normalized(rows, width)


@draws("spmv_cpu.csv", f"{_TIMES} {_MACHINE_COLUMNS} moved_bytes")
def spmv_bytes(rows: pd.DataFrame, width: float) -> Figure:
    """Time of a product with a vector, and the bytes it moves, against S."""
    products = _products(rows)
    part = _at_paper_size(style.required(products[products["columns"] == 1], "columns 1"))
    part = part.assign(moved_mb=part.moved_bytes / 1e6)
    figure, panels = style.panels(2, width, height=2.5)
    labels = {"time_us": "time (µs)", "moved_mb": "moved (MB)"}
    for axes, (y, label) in zip(panels, labels.items(), strict=True):
        _lines(axes, part, "sparsity", y)
        axes.set(xlabel=_SPARSITY, ylabel=label)
    size = part["rows"].iloc[0]
    return _finish(figure, part, f"{size} × {size} by a vector")


@draws("spmv_cpu.csv", f"{_TIMES} {_MACHINE_COLUMNS}")
def spmv_sizes(rows: pd.DataFrame, width: float) -> Figure:
    """Times over the dense product against the size of the matrix, a vector, one S."""
    vector = _ratios(style.required(rows[rows["columns"] == 1], "columns 1"))
    sizes = vector.groupby("sparsity")["rows"].nunique()
    sparsity = 0.9 if sizes.get(0.9, 0) == sizes.max() else sizes.idxmax()
    part = vector[vector.sparsity == sparsity]
    figure, (axes,) = style.panels(1, width, height=2.5)
    _lines(axes, part, "rows", "ratio")
    style.reference(axes, 1.0)
    axes.set(xlabel="rows = columns of the matrix", ylabel=_RATIO)
    return _finish(figure, part, f"$S$ = {sparsity:g}, by a vector")


@draws("spmv_cpu.csv", f"{_TIMES} {_MACHINE_COLUMNS} cols moved_bytes useful_operations")
def spmv_roofline(rows: pd.DataFrame, width: float) -> Figure:
    """Useful operations per second against operations per byte moved, under the machine's roof."""
    medians = rows.groupby(_CASE, as_index=False).median(numeric_only=True)
    copy, gemm = (
        style.required(medians[medians["format"] == name], f"format {name}").iloc[0]
        for name in _MACHINE
    )
    bandwidth = copy.moved_bytes / copy.time_us / 1e3
    peak = gemm.useful_operations / gemm.time_us / 1e3
    products = _products(medians)
    products = products.assign(
        intensity=products.useful_operations / products.moved_bytes,
        speed=products.useful_operations / products.time_us / 1e3,
    )
    figure, (axes,) = style.panels(1, width, height=3.0)
    ridge = peak / bandwidth
    low, high = products.intensity.min() / 2, max(products.intensity.max(), ridge) * 2
    roof = [low, ridge, high], [low * bandwidth, peak, peak]
    axes.plot(*roof, color=palette.GREY, zorder=1)
    sns.scatterplot(
        products, x="intensity", y="speed", ax=axes, s=20, alpha=0.8, legend=False,
        **palette.points(products, "format"),
    )  # fmt: skip
    style.log_scale(axes)
    style.log_scale(axes, which="x")
    axes.set(
        xlabel="useful operations per byte moved",
        ylabel="useful operations (10⁹/s)",
    )
    words = f"roof: copy {bandwidth:.1f} GB/s, gemm {peak:.0f}·10⁹ operations/s"
    return _finish(figure, products, words, "point")
