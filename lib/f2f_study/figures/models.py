"""Figures of whole models (notebooks 04 and 05)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from f2f_study.figures.style import bars, canvas, draws, series

__all__ = [
    "bits_by_part",
    "efficiency_by_layer",
    "efficiency_by_spread",
    "n_u_histogram",
    "paper_efficiency",
    "standin_quality",
]

METHODS = ("random", "magnitude", "l0", "variational_dropout")
_WORDS = {
    "random": "random",
    "magnitude": "magnitude",
    "l0": "L0",
    "variational_dropout": "variational dropout",
}
_TOTAL = "total"


def _methods(rows: pd.DataFrame) -> list[tuple[int, str]]:
    """(place in METHODS, method) of those that have rows: a method looks alike in every panel."""
    return [(i, method) for i, method in enumerate(METHODS) if (rows.method == method).any()]


def _legend(figure: Figure, panels: list[tuple[float, Axes]]) -> None:
    """One legend beside the panels, with every label that any of them has."""
    found: dict[str, Any] = {}
    for _, axes in panels:
        handles, labels = axes.get_legend_handles_labels()
        found |= dict(zip(labels, handles, strict=True))
    figure.legend(list(found.values()), list(found), loc="outside right center", fontsize=8)


def _panels(rows: pd.DataFrame, height: float = 3.4) -> tuple[Figure, list[tuple[float, Axes]]]:
    """One panel per sparsity, side by side, sharing the y axis."""
    values = sorted(rows.sparsity.unique())
    figure, axes = canvas(1, len(values), width=1.2 + 4.2 * len(values), height=height)
    return figure, list(zip(values, np.atleast_1d(axes).tolist(), strict=True))


def _one_dtype(rows: pd.DataFrame) -> pd.DataFrame:
    """The INT8 rows, or those of the only dtype there is."""
    return rows[rows.dtype == ("int8" if (rows.dtype == "int8").any() else rows.dtype.iloc[0])]


@draws("n_u_histogram.csv")
def n_u_histogram(rows: pd.DataFrame) -> Figure:
    """Share of blocks by their number of unpruned weights, per method, beside the binomial."""
    figure, panels = _panels(rows)
    for sparsity, axes in panels:
        part = rows[rows.sparsity == sparsity]
        for i, method in _methods(part):
            one = part[part.method == method]
            axes.plot(
                one.n_u, one.share_percent, label=_WORDS[method], **series(i), markevery=(i, 4)
            )
        binomial = part[part.method == _methods(part)[0][1]]
        axes.plot(
            binomial.n_u, binomial.share_binomial_percent, color="#333333", linewidth=0.8,
            label="binomial",
        )  # fmt: skip
        seen = part[part.share_percent > 0.05]
        axes.set_xlim(-0.5, max(seen.n_u.max(), 1) + 0.5)
        axes.set_ylim(bottom=0)
        axes.set_title(f"S = {sparsity:g}, n_out = {part.n_out.iloc[0]}")
        axes.set_xlabel("unpruned weights in a block, n_u")
    panels[0][1].set_ylabel("blocks, %")
    _legend(figure, panels)
    return figure


@draws("paper_setting.csv")
def paper_efficiency(rows: pd.DataFrame) -> Figure:
    """E of the whole model against n_s in the paper's setting, per method and dtype."""
    whole = rows[(rows.layer == _TOTAL) & ~rows.inverting]
    inverted = rows[(rows.layer == _TOTAL) & rows.inverting]
    figure, panels = _panels(whole)
    dtypes = sorted(whole.dtype.unique(), reverse=True)
    for sparsity, axes in panels:
        for i, method in _methods(whole):
            for dtype in dtypes:
                look = series(i) | {"fillstyle": "full" if dtype == "int8" else "none"}
                for part, line in ((whole, True), (inverted, False)):
                    one = part[
                        (part.sparsity == sparsity)
                        & (part.method == method)
                        & (part.dtype == dtype)
                    ].sort_values("n_s")
                    if one.empty:
                        continue
                    if line:
                        label = f"{_WORDS[method]}, {dtype}"
                        axes.plot(one.n_s, one.efficiency_percent, label=label, **look)
                    else:
                        axes.plot(
                            one.n_s + 0.06, one.efficiency_percent, color=look["color"],
                            linestyle="none", marker="+", markersize=7,
                        )  # fmt: skip
        axes.set_title(f"S = {sparsity:g}")
        axes.set_xticks(sorted(whole.n_s.unique()))
        axes.set_xlabel("shift registers, n_s   (+ with inverting)")
    panels[0][1].set_ylabel("encoding efficiency E, %")
    _legend(figure, panels)
    return figure


@draws("package_setting.csv")
def efficiency_by_layer(rows: pd.DataFrame) -> Figure:
    """E of every layer in this package's setting, per method, layers in the model's order."""
    part = _one_dtype(rows[rows.layer != _TOTAL])
    figure, panels = _panels(part)
    for sparsity, axes in panels:
        here = part[part.sparsity == sparsity]
        for i, method in _methods(here):
            one = here[here.method == method].reset_index()
            look = series(i) | {"linestyle": "none", "markersize": 4}
            axes.plot(
                one.index + 0.7 + 0.2 * i, one.efficiency_percent, label=_WORDS[method], **look
            )
        axes.set_title(f"S = {sparsity:g}, {part.dtype.iloc[0]}")
        axes.set_xlabel("layer, in order of name")
    panels[0][1].set_ylabel("encoding efficiency E, %")
    _legend(figure, panels)
    return figure


@draws("package_setting.csv")
def bits_by_part(rows: pd.DataFrame) -> Figure:
    """Stored bits per weight by part, whole models, beside the entropy floor."""
    whole = rows[rows.layer == _TOTAL]
    dtypes = sorted(whole.dtype.unique(), reverse=True)
    figure, grid = canvas(1, len(dtypes), width=1.2 + max(4.6, 4.6 * len(dtypes)), height=3.8)
    parts = ("payload", "correction", "mask", "header")
    for dtype, axes in zip(dtypes, np.atleast_1d(grid), strict=True):
        part = whole[whole.dtype == dtype].sort_values("sparsity", kind="stable")
        places = np.arange(len(part))
        bottom = np.zeros(len(part))
        for i, name in enumerate(parts):
            height = (part[f"{name}_bits"] / part.weights).to_numpy()
            axes.bar(places, height, bottom=bottom, label=name, width=0.7, **bars(i))
            bottom += height
        floor = (part.floor_bits / part.weights).to_numpy()
        for x, value in zip(places, floor, strict=True):
            axes.hlines(value, x - 0.45, x + 0.45, color="black", linewidth=1.6)
        axes.plot([], [], color="black", linewidth=1.6, label="floor")
        labels = [
            f"{_WORDS[m]}\nS = {s:g}" for m, s in zip(part.method, part.sparsity, strict=True)
        ]
        axes.set_xticks(places, labels, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
        axes.set_title(dtype)
        axes.grid(axis="x", visible=False)
    np.atleast_1d(grid)[0].set_ylabel("stored bits per weight")
    _legend(figure, [(0.0, axes) for axes in np.atleast_1d(grid)])
    return figure


@draws("efficiency_by_spread.csv")
def efficiency_by_spread(rows: pd.DataFrame) -> Figure:
    """E of every layer against its care bits beyond n_in per block, in both settings."""
    figure, panels = _panels(rows)
    for sparsity, axes in panels:
        here = rows[rows.sparsity == sparsity]
        for i, method in _methods(here):
            one = here[here.method == method]
            look = series(i) | {"linestyle": "none", "markersize": 4}
            axes.plot(one.excess_percent, one.paper_percent, label=_WORDS[method], **look)
            axes.plot(one.excess_percent, one.package_percent, **look | {"fillstyle": "none"})
        axes.set_title(f"S = {sparsity:g}")
        axes.set_xlabel("care bits beyond n_in per block, %")
    panels[0][1].set_ylabel("E of a layer, %\n(filled: paper's setting, open: this package's)")
    _legend(figure, panels)
    return figure


@draws("standins.csv")
def standin_quality(rows: pd.DataFrame) -> Figure:
    """Quality of the committed stand-ins, per network, method and sparsity."""
    networks = list(rows.network.unique())
    figure, grid = canvas(1, len(networks), width=1.0 + 4.4 * len(networks), height=3.4)
    for name, axes in zip(networks, np.atleast_1d(grid), strict=True):
        part = rows[rows.network == name].reset_index()
        for i, (sparsity, one) in enumerate(part.groupby("sparsity")):
            label = "dense" if sparsity == 0 else f"S = {sparsity:g}"
            axes.bar(one.index, one.recomputed_percent, label=label, width=0.7, **bars(i))
        words = [_WORDS.get(method, method) for method in part.method]
        axes.set_xticks(part.index, words, rotation=60, ha="right", rotation_mode="anchor")
        lowest = np.floor(part.recomputed_percent.min()) - 1
        axes.set_ylim(max(lowest, 0), 100)
        axes.set_title(name)
        axes.set_ylabel(part.metric.iloc[0], fontsize=8)
        axes.grid(axis="x", visible=False)
    _legend(figure, [(0.0, axes) for axes in np.atleast_1d(grid)])
    return figure
