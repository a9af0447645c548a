"""Figures of a whole run (notebook 07)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from f2f.figures.style import canvas, draws, series

__all__ = ["deviations"]


@draws("overview.csv")
def deviations(rows: pd.DataFrame) -> Figure:
    """Every judged quantity of a run: its distance from the reference, in accepted tolerances."""
    judged = rows[rows["tolerance"].notna()].iloc[::-1]
    figure, axes = canvas(width=7.0, height=1.2 + 0.22 * len(judged))
    x = judged["deviation"].clip(-3, 3)
    y = np.arange(len(judged))
    beyond = ~judged["agrees"].astype(bool).to_numpy()
    axes.axvspan(-1, 1, color="#e9f5ec", zorder=0)
    for i, (part, label) in enumerate(((~beyond, "accepted"), (beyond, "beyond tolerance"))):
        axes.plot(x[part], y[part], label=label, **(series(i) | {"linestyle": "none"}))
    axes.set_yticks(y, [f"{r.notebook[:2]}  {r.quantity}" for r in judged.itertuples()], fontsize=8)
    axes.set_xlim(-3.2, 3.2)
    axes.set_xlabel("(this run − reference) / accepted difference, cut at ±3")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncol=2)
    return figure
