"""Figures of a whole run (notebook 07)."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from f2f_study.figures import palette, style
from f2f_study.figures.style import draws

__all__ = ["deviations"]


@draws("overview.csv", "notebook tolerance deviation agrees")
def deviations(rows: pd.DataFrame, width: float) -> Figure:
    """Every judged quantity of a run: its distance from the reference, in accepted tolerances."""
    judged = rows[rows.tolerance.notna()]
    names = list(dict.fromkeys(judged.notebook))
    figure, (axes,) = style.panels(1, width, height=0.7 + 0.3 * len(names))
    if judged.empty:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "No quantity of this run has a reference to be judged by", ha="center")
        return figure
    # Quantities of a notebook lie one above the other within its line.
    groups = judged.groupby("notebook")
    within = (groups.cumcount() + 0.5) / groups.notebook.transform("size") - 0.5
    judged = judged.assign(
        x=judged.deviation.clip(-3, 3), y=judged.notebook.map(names.index) + 0.7 * within
    )
    axes.axvspan(-1, 1, color="#e9f5ec", zorder=0)
    sns.scatterplot(
        judged, x="x", y="y", ax=axes, s=12, legend=False, **palette.points(judged, "agrees")
    )
    axes.set_yticks(range(len(names)), names)
    axes.set(
        xlim=(-3.2, 3.2), ylim=(len(names) - 0.4, -0.6), ylabel="",
        xlabel="(run − reference) / tolerance,\ncut at ±3",
    )  # fmt: skip
    handles = palette.handles("agrees", [True, False], "point")
    for handle, agrees in zip(handles, (True, False), strict=True):
        handle.set_label(f"{handle.get_label()}: {(judged.agrees == agrees).sum()}")
    return style.legend(figure, handles)
