"""Figures of a whole run (notebook 07)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from f2f_study.figures.style import canvas, draws, series

__all__ = ["deviations"]


@draws("overview.csv")
def deviations(rows: pd.DataFrame) -> Figure:
    """Every judged quantity of a run: its distance from the reference, in accepted tolerances."""
    judged = rows[rows["tolerance"].notna()]
    names = list(judged["notebook"].unique())[::-1]
    figure, axes = canvas(width=7.0, height=1.4 + 0.35 * len(names))
    axes.axvspan(-1, 1, color="#e9f5ec", zorder=0)
    # Quantities of a notebook lie one above the other within its line.
    place = judged.groupby("notebook").cumcount()
    spread = judged["notebook"].map(judged["notebook"].value_counts())
    y = judged["notebook"].map(names.index) + 0.6 * ((place + 0.5) / spread - 0.5)
    x = judged["deviation"].clip(-3, 3)
    agrees = judged["agrees"].astype(bool)
    for i, (part, label) in enumerate(((agrees, "accepted"), (~agrees, "beyond tolerance"))):
        look = series(i) | {"linestyle": "none", "markersize": 3.5}
        axes.plot(x[part], y[part], label=f"{label}: {part.sum()}", **look)
    axes.set_yticks(np.arange(len(names)), names, fontsize=8)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlim(-3.2, 3.2)
    axes.set_xlabel("(this run − reference) / accepted difference, cut at ±3")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncol=2)
    return figure
