"""Figures of whole models (notebooks 00, 04 and 05)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from f2f_study.figures import palette, style
from f2f_study.figures.palette import GREY, look
from f2f_study.figures.style import draws

__all__ = [
    "bits_by_part",
    "efficiency_by_layer",
    "efficiency_by_spread",
    "n_u_histogram",
    "paper_efficiency",
    "standin_quality",
]

_PARTS = ["payload", "correction", "mask", "header"]
_ORDER0: dict[str, Any] = {"linewidth": 1.1, "linestyle": (0, (2, 1))}


@draws("n_u_histogram.csv", "method sparsity n_out n_u share_percent share_binomial_percent")
def n_u_histogram(rows: pd.DataFrame, width: float) -> Figure:
    """Share of blocks by their number of unpruned weights, per method, beside the binomial."""
    figure, panels = style.panels(rows.sparsity.nunique(), width)
    for axes, (_, here) in zip(panels, rows.groupby("sparsity"), strict=True):
        methods = palette.names("method", here.method)
        for i, method in enumerate(methods):
            one = here[here.method == method]
            line = look("method", method).line() | {"markevery": (i, 4)}
            axes.plot(one.n_u, one.share_percent, **line)
        first = here[here.method == methods[0]]
        axes.plot(first.n_u, first.share_binomial_percent, color=GREY, linewidth=0.8)
        seen = here.n_u[here.share_percent > 0.05]
        axes.set(
            xlim=(-0.5, max([1, *seen]) + 0.5), ylim=(0, None),
            title=style.setting(here, "sparsity n_out"), xlabel="unpruned weights of a block $n_u$",
        )  # fmt: skip
        style.whole_numbers(axes)
    panels[0].set_ylabel("share of blocks (%)")
    binomial = Line2D([], [], color=GREY, linewidth=0.8, label="binomial")
    return style.legend(figure, [*palette.handles("method", rows.method), binomial])


@draws("paper_setting.csv", "layer method sparsity dtype n_s inverting care_bits wrong_bits")
def paper_efficiency(rows: pd.DataFrame, width: float) -> Figure:
    """Wrong care bits of the whole model against n_s in the paper's setting, per method, dtype."""
    whole = _total(rows)
    panel = whole["dtype"] + whole.sparsity.map(", $S$ = {:g}".format)
    place = whole["dtype"].map(palette.names("dtype", whole["dtype"]).index)
    whole = whole.assign(wrong=style.wrong_percent(whole), panel=panel, place=place)
    plain, inverted = style.some(whole[~whole.inverting], "inverting False"), whole[whole.inverting]
    in_order = plain.sort_values(["place", "sparsity"])
    grid = style.facets(in_order, "method", width, x="n_s", y="wrong", col="panel")
    for name, axes in grid.axes_dict.items():
        for method, part in inverted[inverted.panel == name].groupby("method"):
            ring = look("method", method).point(filled=False) | {"markersize": 7}
            axes.plot(part.n_s, part.wrong, **ring)
    grid.set_titles("{col_name}").set_xlabels("shift registers $N_s$")
    grid.set(xticks=sorted(set(plain.n_s)))
    handles = palette.handles("method", plain.method)
    with_inverting = style.filled_and_open("", "with inverting")[1:] if len(inverted) else []
    return style.legend(grid.figure, handles + with_inverting)


@draws("package_setting.csv", "layer method sparsity dtype care_bits wrong_bits")
def efficiency_by_layer(rows: pd.DataFrame, width: float) -> Figure:
    """Wrong care bits of every layer in this package's setting, layers in the model's order."""
    layers = style.one_dtype(style.some(rows[rows.layer != "total"], "layers beside the total"))
    place = layers.groupby(["sparsity", "method"]).cumcount() + 1
    layers = layers.assign(wrong=style.wrong_percent(layers), place=place)
    grid = style.facets(
        layers, "method", width, kind="scatter", x="place", y="wrong", col="sparsity", s=14
    )
    grid.set_titles(f"$S$ = {{col_name:g}}, {layers['dtype'].iloc[0]}")
    grid.set_xlabels("layer, in the model's order")
    return style.legend(grid.figure, palette.handles("method", layers.method, "point"))


@draws(
    "package_setting.csv",
    "layer method sparsity dtype weights payload_bits correction_bits mask_bits header_bits "
    "floor_bits order0_bits",
)
def bits_by_part(rows: pd.DataFrame, width: float) -> Figure:
    """Stored bits per weight by part, whole models, beside the bounds.

    The floor is that of incompressible values, dashed the order-0 bound of exponents or integers.
    """
    whole = _total(rows)
    methods = palette.names("method", whole.method)
    whole = whole.assign(place=whole.method.map(methods.index)).sort_values(["sparsity", "place"])
    dtypes = palette.names("dtype", whole["dtype"])
    most = whole.groupby("dtype").size().max()
    figure, panels = style.panels(len(dtypes), width, height=0.8 + 0.2 * most)
    for axes, dtype in zip(panels, dtypes, strict=True):
        here = whole[whole["dtype"] == dtype]
        places, left = np.arange(len(here)), np.zeros(len(here))
        for part in _PARTS:
            size = (here[f"{part}_bits"] / here.weights).to_numpy()
            axes.barh(places, size, left=left, height=0.7, **look("part", part).bar())
            left += size
        floor = here.floor_bits / here.weights
        axes.vlines(floor, places - 0.45, places + 0.45, color="black", linewidth=1.4)
        bound = here.order0_bits / here.weights
        axes.vlines(bound, places - 0.45, places + 0.45, color="black", **_ORDER0)
        words = [
            f"{look('method', row.method).label}, {row.sparsity:g}" for row in here.itertuples()
        ]
        axes.set_yticks(places, words)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set(title=dtype, xlabel="stored bits per weight")
    panels[0].set_ylabel("pruning method, $S$")
    bounds = [
        Line2D([], [], color="black", linewidth=1.4, label="bound, incompressible values"),
        Line2D([], [], color="black", label="order-0 bound", **_ORDER0),
    ]
    return style.legend(figure, [*palette.handles("part", _PARTS, "bar"), *bounds])


@draws("efficiency_by_spread.csv", "method sparsity excess_percent paper_percent package_percent")
def efficiency_by_spread(rows: pd.DataFrame, width: float) -> Figure:
    """Wrong care bits of every layer against its care bits beyond n_in, in both settings."""
    wrong = 100 - rows[["paper_percent", "package_percent"]]
    # A logarithmic axis has no zero: layers without a wrong bit lie on a line of their own.
    edge = wrong[wrong > 0].min().min() / 2
    edge = 0.5 if np.isnan(edge) else edge
    rows = rows.assign(
        wrong=wrong.paper_percent.clip(lower=edge), package=wrong.package_percent.clip(lower=edge)
    )
    grid = style.facets(
        rows, "method", width, kind="scatter", x="excess_percent", y="wrong", col="sparsity",
        height=2.4, s=16, facet_kws={"sharex": False},
    )  # fmt: skip
    for sparsity, axes in grid.axes_dict.items():
        for method, part in rows[rows.sparsity == sparsity].groupby("method"):
            point = look("method", method).point(filled=False)
            axes.plot(part.excess_percent, part.package, **point)
        if (wrong == 0).any(axis=None):
            style.reference(axes, edge)
            below = {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "top"}
            axes.text(0.99, edge / 1.5, "none wrong", fontsize=7, **below)
        style.log_scale(axes)
        if (wrong == 0).any(axis=None):
            axes.set_ylim(bottom=edge / 5)
    grid.set_titles("$S$ = {col_name:g}").set_xlabels("care bits beyond $N_{in}$ per block (%)")
    handles = palette.handles("method", rows.method, "point")
    settings = style.filled_and_open("paper's setting", "this package's")
    return style.legend(grid.figure, handles + settings)


@draws("standins.csv", "network method sparsity metric recomputed_percent")
def standin_quality(rows: pd.DataFrame, width: float) -> Figure:
    """Quality of the committed stand-ins, per network, method and sparsity."""
    pruned = style.some(rows[rows.sparsity > 0], "sparsity above 0")
    dodge = 0.3 if pruned.sparsity.nunique() > 1 else False
    methods = palette.names("method", pruned.method)
    networks = pruned.groupby("network", sort=False)
    figure, panels = style.panels(networks.ngroups, width, height=1.7)
    for axes, (network, here) in zip(panels, networks, strict=True):
        shown = palette.points(here, "sparsity")
        sns.pointplot(
            here, x="recomputed_percent", y="method", order=methods, ax=axes, dodge=dodge,
            linestyle="none", errorbar=None, legend=False, **palette.colours(here, "sparsity"),
            markers=list(shown["markers"].values()),
        )  # fmt: skip
        for value in rows[(rows.network == network) & (rows.sparsity == 0)].recomputed_percent:
            style.reference(axes, value, "dense", horizontal=False)
        axes.set_yticks(range(len(methods)), [look("method", name).label for name in methods])
        axes.set(title=network, xlabel=here.metric.iloc[0], ylabel="")
        axes.margins(x=0.08)
    return style.legend(figure, palette.handles("sparsity", pruned.sparsity, "point"))


def _total(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of whole models."""
    return style.some(rows[rows.layer == "total"], "layer total")
