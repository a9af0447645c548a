"""Figures of whole models (notebooks 00, 04 and 05)."""

from __future__ import annotations

import textwrap
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from f2f_study.figures import palette, style
from f2f_study.figures.palette import GREY, look
from f2f_study.figures.style import draws

__all__ = [
    "bits_by_part", "efficiency_by_spread", "n_u_histogram", "paper_efficiency", "paper_reduction",
    "standin_quality",
]  # fmt: skip

_PARTS = ["payload", "correction", "mask", "header"]
_BOUNDS: dict[str, Any] = {
    "floor_bits": ("-", "bound for incompressible values"),
    "order0_bits": ((0, (2, 1)), "order-0 bound"),
}


@draws(
    "n_u_histogram.csv",
    "network source method sparsity n_out n_u share_percent share_binomial_percent",
)
def n_u_histogram(rows: pd.DataFrame, width: float) -> Figure:
    """Share of blocks by their number of unpruned weights, per method, beside the binomial."""
    figure = block_shares(rows, width)
    figure.suptitle(style.setting(rows, "network source"))
    return figure


def block_shares(rows: pd.DataFrame, width: float) -> Figure:
    """The panels of `n_u_histogram`, one per S."""
    seen = rows.n_u[rows.share_percent > 0.05]
    grid = style.facets(
        rows, "method", width, x="n_u", y="share_percent", col="sparsity", errorbar=None,
        markevery=4,
    )  # fmt: skip
    for sparsity, axes in grid.axes_dict.items():
        here = rows[rows.sparsity == sparsity]
        law = here.drop_duplicates("n_u").set_index("n_u").share_binomial_percent
        axes.plot(law, color=GREY, linewidth=3, alpha=0.35, label="binomial")
        axes.set_title(style.setting(here, "sparsity n_out"))
        style.whole_numbers(axes.xaxis)
    grid.set(xlim=(-0.5, max([1, *seen]) + 0.5), ylim=(0, None)).set_axis_labels(
        "unpruned weights $n_u$", "share of blocks (%)"
    )
    return style.legend(grid.figure, palette.handles("method", rows.method))


_PAPER_SETTING = "network source layer method sparsity dtype n_s inverting"


@draws("paper_setting.csv", f"{_PAPER_SETTING} care_bits wrong_bits", paper=True)
def paper_efficiency(
    rows: pd.DataFrame, width: float, printed: pd.DataFrame = style.NONE_PRINTED
) -> Figure:
    """Wrong care bits of the whole model against n_s in the paper's setting, per method, dtype."""
    whole = _total(rows).assign(wrong=style.wrong_percent(rows))
    plain = style.required(whole[~whole.inverting], "inverting False")
    theirs = printed[printed.quantity.isin(["E", "E inverting"])]
    theirs = theirs.assign(value=100 - theirs.value)
    return _over_registers(plain, whole[whole.inverting], "wrong", "with inverting", theirs, width)


@draws(
    "paper_setting.csv",
    f"{_PAPER_SETTING} memory_reduction_percent memory_reduction_with_mask_percent",
    paper=True,
)
def paper_reduction(
    rows: pd.DataFrame, width: float, printed: pd.DataFrame = style.NONE_PRINTED
) -> Figure:
    """Memory reduction in the paper's setting, with inverting, against n_s, per method and dtype.

    Corrections count, the mask where a bitmap says so.
    """
    whole = style.required(_total(rows).query("inverting"), "inverting True")
    plain = whole.assign(reduction=whole.memory_reduction_percent)
    masked = whole.assign(reduction=whole.memory_reduction_with_mask_percent)
    theirs = printed[printed.quantity.str.startswith("memory")]
    return _over_registers(plain, masked, "reduction", "with a bitmap mask", theirs, width)


def _over_registers(
    filled: pd.DataFrame, hollow: pd.DataFrame, y: str, meaning: str, printed: pd.DataFrame,
    width: float,
) -> Figure:  # fmt: skip
    """Lines of `filled` over n_s, rings of `hollow`, what the paper prints; per dtype and S."""
    filled, hollow, printed = (
        part.assign(
            panel=part["dtype"].map(lambda dtype: look("dtype", dtype).label)
            + part.sparsity.map(", $S$ = {:g}".format)
        )
        for part in (filled, hollow, printed)
    )
    place = filled["dtype"].map(palette.names("dtype", filled["dtype"]).index)
    filled = filled.assign(place=place).sort_values(["place", "sparsity"])
    grid = style.facets(filled, "method", width, x="n_s", y=y, col="panel")
    for name, axes in grid.axes_dict.items():
        style.rings(axes, hollow[hollow.panel == name], "n_s", y, "method", size=7)
        style.paper_points(axes, printed[printed.panel == name], "n_s", "method")
    grid.set_titles("{col_name}").set_xlabels("shift registers $N_s$")
    grid.set(xticks=sorted(set(filled.n_s)))
    if y != "wrong":
        grid.set_ylabels("memory reduction (%)")
    grid.figure.suptitle(style.setting(filled, "network source"))
    rings = style.filled_and_open("", meaning)[1:] if len(hollow) else []
    return style.legend(grid.figure, palette.handles("method", filled.method) + rings)


@draws(
    "package_setting.csv",
    "network source layer method sparsity dtype weights payload_bits correction_bits mask_bits "
    "header_bits floor_bits order0_bits",
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
        places = np.arange(len(here))
        parts = {part: here[f"{part}_bits"] / here.weights for part in _PARTS}
        pd.DataFrame(parts).plot.barh(stacked=True, ax=axes, legend=False, width=0.7)
        for part, bars in zip(_PARTS, axes.containers, strict=True):
            plt.setp(bars, **look("part", part).bar())
        for column, (dashes, label) in _BOUNDS.items():
            bound = here[column] / here.weights
            reach = {"linestyle": dashes, "color": "black", "label": label}
            axes.vlines(bound, places - 0.45, places + 0.45, **reach)
        words = [
            f"{look('method', row.method).label}, {row.sparsity:g}" for row in here.itertuples()
        ]
        axes.set_yticks(places, words)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set(title=look("dtype", dtype).label, xlabel="bits per weight")
    panels[0].set_ylabel("pruning method, $S$")
    figure.suptitle(style.setting(whole, "network source"))
    return style.legend(figure, palette.handles("part", _PARTS, "bar"))


@draws(
    "efficiency_by_spread.csv",
    "network source method sparsity dtype excess_percent paper_percent package_percent",
)
def efficiency_by_spread(rows: pd.DataFrame, width: float) -> Figure:
    """Wrong care bits of every layer against its care bits beyond n_in, in both settings."""
    dtype = "int8" if (rows["dtype"] == "int8").any() else rows["dtype"].iloc[0]
    rows = rows[rows["dtype"] == dtype]
    wrong = 100 - rows[["paper_percent", "package_percent"]]
    # A logarithmic axis has no zero: layers without a wrong bit lie on a line of their own.
    edge = wrong[wrong > 0].min(axis=None) / 2
    edge = 0.5 if np.isnan(edge) else edge
    wrong = wrong.clip(lower=edge)
    rows = rows.assign(wrong=wrong.paper_percent, package=wrong.package_percent)
    grid = style.facets(
        rows, "method", width, kind="scatter", x="excess_percent", y="wrong", col="sparsity",
        height=2.4, s=16,
    )  # fmt: skip
    handles = palette.handles("method", rows.method, "point")
    handles += style.filled_and_open("paper's setting", "this package's")
    for sparsity, axes in grid.axes_dict.items():
        here = rows[rows.sparsity == sparsity]
        style.rings(axes, here, "excess_percent", "package", "method")
        if (wrong == edge).any(axis=None):
            style.reference(axes, edge, "no wrong bit")
    style.log_scale(*grid.axes.flat)
    grid.set(ylim=(edge / 2, None) if (wrong == edge).any(axis=None) else None)
    grid.set_titles("$S$ = {col_name:g}").set_xlabels("care bits over $N_{in}$ (%)")
    grid.figure.suptitle(style.setting(rows, "network source dtype"))
    return style.legend(grid.figure, handles)


@draws("standins.csv", "network method sparsity metric recomputed_percent")
def standin_quality(rows: pd.DataFrame, width: float) -> Figure:
    """Quality of the committed stand-ins, per network, method and sparsity."""
    pruned = style.required(rows[rows.sparsity > 0], "sparsity above 0")
    methods, sparsities = (palette.names(kind, pruned[kind]) for kind in ("method", "sparsity"))
    figure, panels = style.panels(pruned.network.nunique(), width, height=1.9, sharey=True)
    # The sparsities lie above one another within the line of a method.
    within = (pruned.sparsity.map(sparsities.index) + 0.5) / len(sparsities) - 0.5
    pruned = pruned.assign(y=pruned.method.map(methods.index) + 0.8 * within)
    for axes, (network, here) in zip(panels, pruned.groupby("network", sort=False), strict=True):
        sns.scatterplot(
            here, x="recomputed_percent", y="y", s=22, ax=axes, legend=False, zorder=3,
            **palette.points(here, "sparsity"),
        )  # fmt: skip
        for value in rows[(rows.network == network) & (rows.sparsity == 0)].recomputed_percent:
            style.reference(axes, value, "dense", horizontal=False)
        axes.set_yticks(range(len(methods)), [look("method", name).label for name in methods])
        title = f"{style.setting(here, 'network')}, stand-in"
        axes.set(title=title, xlabel=textwrap.fill(here.metric.iloc[0], 26), ylabel="")
        axes.margins(0.08)
    panels[0].invert_yaxis()
    return style.legend(figure, palette.handles("sparsity", sparsities, "point"))


def _total(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of whole models."""
    return style.required(rows[rows.layer == "total"], "layer total")
