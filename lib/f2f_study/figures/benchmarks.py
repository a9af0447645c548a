"""Figures of the benchmarks that measure the whole package (formats, scale)."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from f2f_study.figures.style import canvas, draws, reference_line, series

__all__ = ["format_sizes", "scaling"]

# In the order of the legend; another format of the CSV file comes last under its own name.
FORMATS = {
    "f2f beam 16": "f2f (any block by itself)",
    "ans_bitmap": "bitmap by rANS + values (sequential)",
    "delta_csr": "delta-CSR, 4-bit gaps",
    "bitmap": "bitmap + values",
    "zstd": "dense through zstd",
    "csr": "CSR, 32-bit columns",
    "dense": "dense",
}


@draws("formats.csv")
def format_sizes(rows: pd.DataFrame) -> Figure:
    """Stored bits of INT8 tensors over the entropy floor, against the sparsity, by format."""
    chosen = rows[(rows["dtype"] == "int8") & (rows["tensors"] == rows["tensors"].iloc[-1])]
    figure, axes = canvas(width=8.2, height=4.0)
    for i, (name, label) in enumerate(FORMATS.items()):
        part = chosen[chosen["format"] == name].drop_duplicates("sparsity").sort_values("sparsity")
        ratio = part["size_bits_per_weight"] / part["floor_bits_per_weight"]
        axes.plot(part["sparsity"], ratio, label=label, **series(i))
    reference_line(axes, 1.0, "")
    axes.set_yscale("log")
    axes.set_ylim(0.96, 7)
    ticks = [1, 1.1, 1.2, 1.5, 2, 3, 4, 6]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
    axes.set_yticks([], minor=True)
    axes.set_xlabel("sparsity S")
    axes.set_ylabel("stored bits / entropy floor (1), with mask")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


@draws("scale.csv")
def scaling(rows: pd.DataFrame) -> Figure:
    """Speed of a whole model over one worker of the same back end, against the workers."""
    figure, axes = canvas(width=5.0, height=3.6)
    i = 0
    for backend, part in rows.groupby("backend", sort=False):
        for column in ("compress", "decompress"):
            medians = part.groupby("jobs")[f"{column}_s"].median()
            axes.plot(
                medians.index, medians.iloc[0] / medians, label=f"{column}, {backend}", **series(i)
            )
            i += 1
    jobs = sorted(rows["jobs"].unique())
    axes.plot(
        jobs, [j / jobs[0] for j in jobs], color="#888888", linewidth=0.8, label="in proportion"
    )
    axes.set_xticks(jobs, [str(j) for j in jobs])
    axes.set_xlabel("workers")
    axes.set_ylabel("speed over one worker")
    axes.legend()
    return figure
