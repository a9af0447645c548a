"""Figures of the walkthrough and of the synthetic study (notebooks 01 and 02).

Lines are medians over the drawn matrices and planes, bars reach from the least to the greatest.
"""

from __future__ import annotations

import textwrap
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from f2f_study.figures import palette, style
from f2f_study.figures.style import COLUMN, WRONG, draws

__all__ = [
    "real_layer",
    "synthetic_mask",
    "synthetic_n_u",
    "synthetic_rate",
    "synthetic_skew",
    "synthetic_sparsity",
    "synthetic_spread",
    "synthetic_window",
    "trellis",
]

_SPARSITY = "sparsity $S$"
_REDUCTION = "memory reduction (%)"
_BEST, _WAY, _OTHER = "#D55E00", "#0072B2", "#cccccc"
_DRAWN: dict[str, Any] = {"color": "#9ecae1", "label": "drawn"}
_BINOMIAL: dict[str, Any] = {
    "color": "black", "linewidth": 0.8, "marker": ".", "markersize": 3, "label": "binomial"
}  # fmt: skip
_BOUND: dict[str, Any] = {"linewidth": 3.5, "alpha": 0.3}


@draws("trellis.csv", "block state_before state_after cost_after survives on_best_path")
def trellis(rows: pd.DataFrame, width: float) -> Figure:
    """States against blocks, the surviving steps, their costs, and the best path."""
    rows = rows.assign(after=rows.block + 1)
    states, blocks = rows.state_after.max() + 1, rows.after.max()
    figure, (axes,) = style.panels(1, width, height=0.5 * states + 0.9)
    best, ways = rows[rows.on_best_path], rows[rows.survives]
    for steps, colour, thick in ((rows, _OTHER, 0.8), (ways, _WAY, 1.1), (best, _BEST, 2.5)):
        places = [steps.block, steps.after], [steps.state_before, steps.state_after]
        axes.plot(*places, color=colour, linewidth=thick)
    costs = {(0, state): 0 for state in range(states)}
    costs |= ways.set_index(["after", "state_after"]).cost_after.to_dict()
    path = {*zip(best.block, best.state_before, strict=True)}
    path |= {*zip(best.after, best.state_after, strict=True)}
    for place, cost in costs.items():
        edge = _BEST if place in path else _WAY
        axes.plot(*place, "o", markersize=13, color="white", markeredgecolor=edge, zorder=4)
        axes.text(*place, f"{cost:g}", ha="center", va="center_baseline", fontsize=7, zorder=5)
    axes.set(
        xticks=range(blocks + 1), yticks=range(states), ylim=(states - 0.6, -0.4),
        xlabel="blocks encoded", ylabel="state (last input vector)",
        title="Fewest wrong care bits of any way into a state",
    )  # fmt: skip
    axes.grid(False)
    handles = [
        Line2D([], [], color=_BEST, linewidth=2.5, label="best path"),
        Line2D([], [], color=_WAY, label="best way into a state"),
        Line2D([], [], color=_OTHER, label="other transitions"),
    ]
    return style.legend(figure, handles)


@draws(
    "synthetic_sparsity.csv",
    "n_s sparsity care_bits wrong_bits memory_reduction_percent bound_percent",
)
def synthetic_sparsity(rows: pd.DataFrame, width: float) -> Figure:
    """Wrong care bits, memory reduction, and what is missing to its bound, over S for each n_s."""
    values = {
        WRONG: style.wrong_percent(rows),
        _REDUCTION: rows.memory_reduction_percent,
        "short of the bound (points)": rows.bound_percent - rows.memory_reduction_percent,
    }
    figure, axes = style.panels(3, width)
    for axis, (label, value) in zip(axes, values.items(), strict=True):
        sns.lineplot(
            rows.assign(value=value), x="sparsity", y="value", ax=axis, legend=False,
            **style.RANGE, **palette.lines(rows, "n_s"),
        )  # fmt: skip
        axis.set(xlabel=_SPARSITY, ylabel=label)
    style.log_scale(axes[0])
    axes[2].set_ylim(bottom=0)
    bound = rows.groupby("sparsity").bound_percent.first()
    (line,) = axes[1].plot(bound, color=palette.GREY, linewidth=0.8, label="bound by entropy, $S$")
    return style.legend(figure, [*palette.handles("n_s", rows.n_s), line])


@draws(
    "synthetic_rate.csv",
    "n_in n_s n_out sparsity care_bits wrong_bits memory_reduction_percent bound_percent",
)
def synthetic_rate(rows: pd.DataFrame, width: float) -> Figure:
    """Wrong care bits and memory reduction over the block length, one column of panels per S."""
    values = {WRONG: style.wrong_percent(rows), _REDUCTION: rows.memory_reduction_percent}
    long = [rows.assign(what=label, value=value) for label, value in values.items()]
    grid = style.facets(
        pd.concat(long, ignore_index=True), "n_s", width, x="n_out", y="value", row="what",
        col="sparsity", facet_kws={"sharey": False, "sharex": "col"},
    )  # fmt: skip
    for (label, sparsity), axes in grid.axes_dict.items():
        first = rows[rows.sparsity == sparsity].iloc[0]
        upper = label == WRONG
        ideal = "$N_{in}/(1-S)$" if upper else ""
        style.reference(axes, first.n_in / (1 - sparsity), ideal, horizontal=False)
        if upper:
            style.log_scale(axes)
        else:
            style.reference(axes, first.bound_percent, "bound by entropy")
        axes.set_title(f"$S$ = {sparsity:g}" if upper else "")
        axes.set_ylabel(label if axes in grid.axes[:, 0] else "")
    grid.set_xlabels("block length $N_{out}$")
    return style.legend(grid.figure, palette.handles("n_s", rows.n_s))


@draws("synthetic_window.csv", "n_in n_s sparsity care_bits wrong_bits", width=COLUMN)
def synthetic_window(rows: pd.DataFrame, width: float) -> Figure:
    """Wrong care bits over the window, one line per n_in."""
    rows = rows.assign(window=rows.n_in * (rows.n_s + 1), wrong=style.wrong_percent(rows))
    grid = style.facets(rows, "n_in", width, x="window", y="wrong")
    grid.set_xlabels("window $(N_s+1)\\,N_{in}$ (bits)")
    grid.ax.set_title(f"{style.setting(rows, 'sparsity')}, $N_{{out}} = N_{{in}}/(1-S)$")
    return style.legend(grid.figure, palette.handles("n_in", rows.n_in))


@draws("synthetic_n_u.csv", "n_out sparsity n_u share_percent binomial_percent")
def synthetic_n_u(rows: pd.DataFrame, width: float) -> Figure:
    """Distribution of n_u beside the binomial law, one panel per S."""
    figure, axes = style.panels(rows.sparsity.nunique(), width)
    for axis, (_, part) in zip(axes, rows.groupby("sparsity"), strict=True):
        axis.bar(part.n_u, part.share_percent, width=0.85, **_DRAWN)
        axis.plot(part.n_u, part.binomial_percent, **_BINOMIAL)
        axis.set(
            title=style.setting(part, "sparsity n_out"), xlabel="unpruned weights of a block $n_u$"
        )
        style.whole_numbers(axis)
    axes[0].set_ylabel("share of blocks (%)")
    return style.legend(figure, [Patch(**_DRAWN), Line2D([], [], **_BINOMIAL)])


@draws(
    "synthetic_spread.csv",
    "n_s n_out sparsity variation_wanted variation variation_binomial care_bits wrong_bits",
    width=COLUMN,
)
def synthetic_spread(rows: pd.DataFrame, width: float) -> Figure:
    """Wrong care bits over the coefficient of variation of n_u."""
    # Masks asked for one spread differ a little: place each group at its mean.
    asked = rows.groupby(rows.variation_wanted.fillna(-1))
    rows = rows.assign(x=asked.variation.transform("mean"), wrong=style.wrong_percent(rows))
    grid = style.facets(rows, "n_s", width, x="x", y="wrong")
    independent = rows.variation_binomial.mean()
    style.reference(grid.ax, independent, "independent pruning", horizontal=False)
    grid.set_xlabels("coefficient of variation of $n_u$")
    grid.ax.set_title(style.setting(rows, "sparsity n_out"))
    return style.legend(grid.figure, palette.handles("n_s", rows.n_s))


@draws("synthetic_skew.csv", "n_s ones inverted care_bits wrong_bits")
def synthetic_skew(rows: pd.DataFrame, width: float) -> Figure:
    """Wrong care bits over the share of ones, as it is and inverted, one panel per n_s."""
    rows = rows.assign(wrong=style.wrong_percent(rows))
    grid = style.facets(rows, "inverted", width, x="ones", y="wrong", col="n_s")
    grid.set_titles("$N_s$ = {col_name}").set_xlabels("share of ones among care bits")
    return style.legend(grid.figure, palette.handles("inverted", rows.inverted))


@draws(
    "synthetic_mask.csv",
    "n_w n_s sparsity without_mask_percent with_bitmap_percent bound_percent "
    "bound_with_mask_percent",
)
def synthetic_mask(rows: pd.DataFrame, width: float) -> Figure:
    """Memory reduction with and without the mask beside the bounds, one panel per n_w."""
    measured = {"without": rows.without_mask_percent, "bitmap": rows.with_bitmap_percent}
    bounds = {"without": "bound_percent", "bitmap": "bound_with_mask_percent"}
    long = [rows.assign(mask=mask, value=value) for mask, value in measured.items()]
    grid = style.facets(
        pd.concat(long, ignore_index=True), "mask", width, x="sparsity", y="value", col="n_w"
    )
    handles = palette.handles("mask", measured)
    for mask, bound in bounds.items():
        look = _BOUND | {"color": palette.look("mask", mask).colour}
        label = f"bound {'without' if mask == 'without' else 'with'} mask"
        handles.append(Line2D([], [], label=label, **look))
        for n_w, axes in grid.axes_dict.items():
            axes.plot(rows[rows.n_w == n_w].set_index("sparsity")[bound].sort_index(), **look)
    grid.set_titles(f"{{col_name}} bits a weight, {style.setting(rows, 'n_s')}")
    grid.set_axis_labels(_SPARSITY, _REDUCTION)
    return style.legend(grid.figure, handles)


@draws(
    "real_layer.csv",
    "layer order n_s n_out sparsity plane variation efficiency_percent",
    width=COLUMN,
)
def real_layer(rows: pd.DataFrame, width: float) -> Figure:
    """Wrong care bits of each bit plane of a real pruned layer, by order of the weights."""
    figure, (axes,) = style.panels(1, width)
    sns.barplot(
        rows.assign(wrong=100 - rows.efficiency_percent), x="plane", y="wrong", ax=axes,
        errorbar=None, legend=False, **palette.colours(rows, "order"),
    )  # fmt: skip
    variation = rows.groupby("order").variation.first()
    handles = palette.handles("order", rows.order, "bar")
    orders = palette.names("order", rows.order)
    for order, bars, handle in zip(orders, axes.containers, handles, strict=True):
        plt.setp(bars, **palette.look("order", order).bar())
        handle.set_label(f"{order} order, variation of $n_u$ {variation[order]:.2f}")
    axes.grid(axis="x", visible=False)
    layer = textwrap.fill(rows.layer.iloc[0].replace("_", " "), 45)
    title = f"{layer}\n{style.setting(rows, 'sparsity n_out n_s')}"
    axes.set(xlabel="bit plane (7: sign)", ylabel=WRONG, title=title)
    return style.legend(figure, handles)
