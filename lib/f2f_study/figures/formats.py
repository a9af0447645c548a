"""Figures of notebook 09: what one would store instead."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from f2f_study.figures import palette, style
from f2f_study.figures.style import draws

__all__ = ["format_sizes"]

_FLOOR: dict[str, Any] = {
    "color": palette.GREY, "linewidth": 1.2, "linestyle": (0, (1, 1)), "zorder": 1,
    "label": "bound for incompressible values",
}  # fmt: skip


@draws(
    "formats.csv",
    "tensors dtype sparsity format size_bits_per_weight floor_bits_per_weight "
    "order0_bits_per_weight",
)
def format_sizes(rows: pd.DataFrame, width: float) -> Figure:
    """Stored bits of a model over the order-0 bound against the sparsity, by format and dtype."""
    rows = rows[rows.tensors == rows.tensors.iloc[-1]]
    rows = rows.assign(ratio=rows.size_bits_per_weight / rows.order0_bits_per_weight)
    grid = style.facets(rows, "format", width, height=2.6, x="sparsity", y="ratio", col="dtype")
    style.log_scale(*grid.axes.flat)
    for dtype, axes in grid.axes_dict.items():
        style.reference(axes, 1.0, "order-0 bound")
        bounds = rows[rows["dtype"] == dtype].groupby("sparsity").first()
        ratio = bounds.floor_bits_per_weight / bounds.order0_bits_per_weight
        axes.plot(ratio, **_FLOOR)
        axes.set_title(palette.look("dtype", dtype).label)
    grid.set_axis_labels("sparsity $S$", "stored bits / order-0 bound")
    network, *source = rows.tensors.iloc[0].split(", ")
    words = [palette.look("network", network), *(palette.look("source", one) for one in source)]
    grid.figure.suptitle(", ".join(word.label for word in words))
    return style.legend(grid.figure, palette.handles("format", rows["format"]))
