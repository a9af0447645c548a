"""Figures of the benchmarks that measure the whole package (formats, scale)."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from f2f_study.figures import palette, style
from f2f_study.figures.style import COLUMN, draws

__all__ = ["format_sizes", "scaling"]


@draws("formats.csv", "tensors dtype sparsity format size_bits_per_weight floor_bits_per_weight")
def format_sizes(rows: pd.DataFrame, width: float) -> Figure:
    """Stored bits of tensors over the entropy floor, against the sparsity, by format."""
    rows = style.one_dtype(rows[rows.tensors == rows.tensors.iloc[-1]])
    rows = rows.assign(ratio=rows.size_bits_per_weight / rows.floor_bits_per_weight)
    grid = style.facets(rows, "format", width, height=2.8, x="sparsity", y="ratio")
    style.log_scale(grid.ax)
    style.reference(grid.ax, 1.0)
    grid.set_axis_labels("sparsity $S$", "stored bits / entropy floor, with mask")
    grid.ax.set_title(f"{rows['dtype'].iloc[0]}, {rows.tensors.iloc[0]}")
    return style.legend(grid.figure, palette.handles("format", rows["format"]))


@draws("scale.csv", "backend jobs compress_s decompress_s", width=COLUMN)
def scaling(rows: pd.DataFrame, width: float) -> Figure:
    """Speed of a whole model over the fewest workers of the same back end, against the workers."""
    columns = {"compress_s": "compress", "decompress_s": "decompress"}
    long = rows.rename(columns=columns).melt(["backend", "jobs"], columns.values(), value_name="s")
    long["work"] = long.variable + ", " + long.backend
    fewest = long[long.jobs == long.groupby("work").jobs.transform("min")]
    long["speedup"] = long.work.map(fewest.groupby("work").s.median()) / long.s
    grid = style.facets(long, "work", width, x="jobs", y="speedup")
    jobs = sorted(set(rows.jobs))
    ideal: dict[str, Any] = {"color": palette.GREY, "linewidth": 0.8, "label": "in proportion"}
    grid.ax.plot(jobs, [count / jobs[0] for count in jobs], zorder=1, **ideal)
    grid.set(xticks=jobs, xlabel="workers")
    return style.legend(grid.figure, [*palette.handles("work", long.work), Line2D([], [], **ideal)])
