"""Figures of products straight from the encoded form (notebook 06)."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from f2f_study.figures.style import canvas, draws, reference_line, series

__all__ = ["spmv_bytes", "spmv_normalized", "spmv_normalized_gpu", "spmv_roofline", "spmv_sizes"]

_CASE = ["format", "rows", "cols", "sparsity", "columns"]
_NAMES = {
    "dense_fp32": "dense FP32",
    "dense_fp16": "dense FP16",
    "csr_torch": "CSR FP32 (MKL)",
    "csr_fp32": "CSR FP32 (cuSPARSE)",
    "csr_scipy": "CSR FP32 (SciPy, 1 thread)",
    "csr_numba": "CSR FP32 (Algorithm 1)",
    "delta_csr": "delta-CSR",
    "bitmap": "bitmap",
    "encoded": "encoded",
    "encoded_cascade": "encoded, cascade mask",
    "encoded_parity": "encoded, by parities",
    "encoded_golden": "encoded, golden order",
}
_PAPER_SIZE = 2048


def _medians(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a format and case: median and quartiles of the time, first of everything else."""
    groups = rows[~rows.format.isin(["copy", "gemm"])].groupby(_CASE, sort=False)
    found = groups.first()
    found["time_us"] = groups.time_us.median()
    found["low_us"] = groups.time_us.quantile(0.25)
    found["high_us"] = groups.time_us.quantile(0.75)
    return found.reset_index()


def _lines(axes: Axes, rows: pd.DataFrame, x: str, y: str, spread: bool = False) -> None:
    for i, name in enumerate(name for name in _NAMES if name in set(rows.format)):
        part = rows[rows.format == name].sort_values(x)
        look = series(i)
        axes.plot(part[x], part[y], label=_NAMES[name], **look)
        if spread:
            axes.fill_between(part[x], part.low, part.high, alpha=0.15, color=look["color"], lw=0)


def _normalize(rows: pd.DataFrame) -> pd.DataFrame:
    """Times over the median time of the dense FP32 product of the same size and columns."""
    dense = rows[rows.format == "dense_fp32"].groupby(["rows", "columns"]).time_us.median()
    base = rows.set_index(["rows", "columns"]).index.map(dense).to_numpy(dtype=float)
    return rows.assign(ratio=rows.time_us / base, low=rows.low_us / base, high=rows.high_us / base)


def _normalized(rows: pd.DataFrame, where: str) -> Figure:
    medians = _normalize(_medians(rows))
    at = medians[medians.rows == (_PAPER_SIZE if _PAPER_SIZE in set(medians.rows) else
                                  medians.rows.min())]  # fmt: skip
    most = int(at["columns"].max())
    chosen = 0.9 if 0.9 in set(at.sparsity) else float(at.sparsity.iloc[0])
    panels = [(at[at["columns"] == 1], "sparsity", "a vector")]
    if most > 1:
        panels.append((at[at["columns"] == most], "sparsity", f"{most} columns"))
        panels.append((at[at.sparsity == chosen], "columns", f"S = {chosen:g}"))
    figure, axes = canvas(1, len(panels), width=4.0 * len(panels) + 0.4, height=4.6)
    for axis, (part, x, title) in zip([axes] if len(panels) == 1 else axes, panels, strict=True):
        _lines(axis, part, x, "ratio", spread=True)
        reference_line(axis, 1.0, "")
        axis.set(yscale="log", title=title, xlabel="sparsity S" if x == "sparsity" else "columns")
        if x == "columns":
            axis.set_xscale("log", base=2)
    first = axes if len(panels) == 1 else axes[0]
    size = int(at.rows.iloc[0])
    first.set_ylabel(f"time / dense FP32 product, {size} × {size}")
    handles, labels = first.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncol=4)
    figure.suptitle(where, fontsize=9)
    return figure


@draws("spmv_cpu.csv")
def spmv_normalized(rows: pd.DataFrame) -> Figure:
    """The paper's figure: execution times normalized to the dense product, over S and columns."""
    return _normalized(rows, f"{rows.hardware.iloc[0]}; {rows.threads.max()} threads")


@draws("spmv_gpu.csv")
def spmv_normalized_gpu(rows: pd.DataFrame) -> Figure:
    """The same on a GPU, cold cache."""
    return _normalized(rows, str(rows.device.iloc[0]))


@draws("spmv_cpu.csv")
def spmv_bytes(rows: pd.DataFrame) -> Figure:
    """Time of a product with a vector, and the bytes it moves, against S."""
    medians = _medians(rows)
    medians = medians[medians["columns"] == 1]
    size = _PAPER_SIZE if _PAPER_SIZE in set(medians.rows) else int(medians.rows.min())
    part = medians[medians.rows == size]
    part = part.assign(moved_mb=part.moved_bytes / 1e6, low=part.low_us, high=part.high_us)
    figure, axes = canvas(1, 2, width=9.0, height=4.4)
    _lines(axes[0], part, "sparsity", "time_us", spread=True)
    _lines(axes[1], part, "sparsity", "moved_mb")
    axes[0].set(yscale="log", xlabel="sparsity S", ylabel="time in µs (median, quartiles)")
    axes[1].set(yscale="log", xlabel="sparsity S", ylabel="bytes moved, in MB")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncol=4)
    figure.suptitle(f"{size} × {size} by a vector", fontsize=9)
    return figure


@draws("spmv_cpu.csv")
def spmv_sizes(rows: pd.DataFrame) -> Figure:
    """Times over the dense product against the size of the matrix, a vector, one S."""
    medians = _normalize(_medians(rows))
    medians = medians[medians["columns"] == 1]
    sizes = medians.groupby("sparsity").rows.nunique()
    sparsity = 0.9 if sizes.get(0.9, 0) == sizes.max() else float(sizes.idxmax())
    part = medians[medians.sparsity == sparsity]
    figure, axes = canvas(width=6.5)
    _lines(axes, part, "rows", "ratio", spread=True)
    reference_line(axes, 1.0, "")
    axes.set(
        xscale="log", yscale="log", xlabel="rows = columns of the matrix",
        ylabel="time / dense FP32 product", title=f"S = {sparsity:g}, by a vector",
    )  # fmt: skip
    ticks = sorted(set(part.rows))
    axes.set_xticks(ticks, [str(size) for size in ticks], minor=False)
    axes.minorticks_off()
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    return figure


@draws("spmv_cpu.csv")
def spmv_roofline(rows: pd.DataFrame) -> Figure:
    """Useful operations per second against operations per byte moved, under the machine's roof."""
    machine = rows[rows.format.isin(["copy", "gemm"])].groupby("format")
    time_s = machine.time_us.median() / 1e6
    bandwidth = machine.moved_bytes.first()["copy"] / time_s["copy"] / 1e9
    peak = machine.useful_operations.first()["gemm"] / time_s["gemm"] / 1e9
    medians = _medians(rows)
    medians["intensity"] = medians.useful_operations / medians.moved_bytes
    medians["speed"] = medians.useful_operations / medians.time_us / 1e3
    figure, axes = canvas(width=7.6, height=4.4)
    low, high = medians.intensity.min() / 2, max(medians.intensity.max(), peak / bandwidth) * 2
    ridge = peak / bandwidth
    axes.plot([low, ridge, high], [low * bandwidth, peak, peak], color="#555555", linewidth=1.2)
    for i, name in enumerate(name for name in _NAMES if name in set(medians.format)):
        part = medians[medians.format == name]
        look = series(i) | {"linestyle": "none"}
        axes.plot(part.intensity, part.speed, label=_NAMES[name], alpha=0.8, **look)
    axes.set(
        xscale="log", yscale="log", xlabel="useful operations per byte moved",
        ylabel="useful operations in 10⁹ per second",
        title=f"Roof: copy {bandwidth:.1f} GB/s, gemm {peak:.0f}·10⁹ operations per second",
    )  # fmt: skip
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    return figure
