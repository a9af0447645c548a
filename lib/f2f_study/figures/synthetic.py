"""Figures of the walkthrough and of the synthetic study (notebooks 01 and 02).

Lines are medians over the drawn matrices and planes, bars reach from the least to the greatest.
"""

from __future__ import annotations

import textwrap

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from f2f_study.figures import palette, style
from f2f_study.figures.models import block_shares
from f2f_study.figures.style import COLUMN, WRONG, draws

__all__ = [
    "real_layer", "synthetic_mask", "synthetic_n_u", "synthetic_rate", "synthetic_skew",
    "synthetic_sparsity", "synthetic_spread", "synthetic_window", "trellis",
]  # fmt: skip

_SPARSITY = "sparsity $S$"
_REDUCTION = "memory reduction (%)"
_BEST, _WAY, _OTHER = "#D55E00", "#0072B2", "#cccccc"
_BOUND = "bound for incompressible values"


@draws("trellis.csv", "block state_before state_after cost_after survives on_best_path")
def trellis(rows: pd.DataFrame, width: float) -> Figure:
    """States against blocks, the surviving steps, their costs, and the best path."""
    rows = rows.assign(after=rows.block + 1)
    states, blocks = rows.state_after.max() + 1, rows.after.max()
    figure, (axes,) = style.panels(1, width, height=0.5 * states + 0.9)
    best, ways = rows[rows.on_best_path], rows[rows.survives]
    for steps, colour, thick, label in (
        (rows, _OTHER, 0.8, "other transitions"),
        (ways, _WAY, 1.1, "best way into a state"),
        (best, _BEST, 2.5, "best path"),
    ):
        places = [steps.block, steps.after], [steps.state_before, steps.state_after]
        axes.plot(*places, color=colour, linewidth=thick, label=label)
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
    return style.legend(figure)


@draws(
    "synthetic_sparsity.csv",
    "n_s sparsity care_bits wrong_bits memory_reduction_percent bound_percent",
    paper=True,
)
def synthetic_sparsity(
    rows: pd.DataFrame, width: float, printed: pd.DataFrame = style.NONE_PRINTED
) -> Figure:
    """Wrong care bits, memory reduction, and what is missing to its bound, over S for each n_s."""
    bound = rows.groupby("sparsity").bound_percent.first()
    gap = "short of the bound (points)"
    values = {
        WRONG: style.wrong_percent(rows),
        _REDUCTION: rows.memory_reduction_percent,
        gap: rows.bound_percent - rows.memory_reduction_percent,
    }
    theirs = {
        WRONG: 100 - printed.value[printed.quantity == "E"],
        _REDUCTION: printed.value[printed.quantity == "memory reduction"],
    }
    figure, axes = style.panels(3, width)
    for axis, (label, value) in zip(axes, values.items(), strict=True):
        sns.lineplot(
            rows.assign(value=value), x="sparsity", y="value", ax=axis, legend=False,
            **style.RANGE, **palette.lines(rows, "n_s"),
        )  # fmt: skip
        axis.set(xlabel=_SPARSITY, ylabel=label)
        entries = printed.assign(value=theirs.get(label)).dropna(subset="value")
        style.paper_points(axis, entries, "sparsity", "n_s")
    style.log_scale(axes[0])
    axes[2].set_ylim(bottom=0)
    axes[1].plot(bound, color=palette.GREY, linewidth=0.8, label=f"{_BOUND}, $S$")
    return style.legend(figure, palette.handles("n_s", rows.n_s))


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
        style.reference(axes, first.n_in / (1 - sparsity), "$N_{in}/(1-S)$", horizontal=False)
        if label == WRONG:
            axes.set_ylim(values[WRONG].min() / 1.5, values[WRONG].max() * 1.5)
            style.log_scale(axes)
        else:
            style.reference(axes, first.bound_percent, _BOUND, dashes=(1, 1))
        axes.set_title(f"$S$ = {sparsity:g}" if label == WRONG else "")
        axes.set_ylabel(label if axes in grid.axes[:, 0] else "")
    grid.set_xlabels("block length $N_{out}$")
    return style.legend(grid.figure, palette.handles("n_s", rows.n_s) + style.half_bit_note(rows))


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
    names = {"binomial_percent": "share_binomial_percent"}
    return block_shares(rows.rename(columns=names).assign(method="random"), width)


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
    return style.legend(grid.figure, palette.handles("n_s", rows.n_s) + style.half_bit_note(rows))


@draws("synthetic_skew.csv", "n_s n_out sparsity ones inverted care_bits wrong_bits")
def synthetic_skew(rows: pd.DataFrame, width: float) -> Figure:
    """Wrong care bits over the share of ones, as it is and inverted, one panel per n_s."""
    rows = rows.assign(wrong=style.wrong_percent(rows))
    grid = style.facets(rows, "inverted", width, x="ones", y="wrong", col="n_s")
    grid.set_titles("$N_s$ = {col_name}").set_xlabels("share of ones")
    grid.figure.suptitle(style.setting(rows, "sparsity n_out"))
    handles = palette.handles("inverted", rows.inverted) + style.half_bit_note(rows)
    return style.legend(grid.figure, handles)


@draws(
    "synthetic_mask.csv",
    "n_w n_s sparsity without_mask_percent with_bitmap_percent bound_percent "
    "bound_with_mask_percent",
)
def synthetic_mask(rows: pd.DataFrame, width: float) -> Figure:
    """Memory reduction with and without the mask beside the bounds, one panel per n_w."""
    measured = {"without": rows.without_mask_percent, "bitmap": rows.with_bitmap_percent}
    bounds = {"bound_percent": ("-", "without"), "bound_with_mask_percent": (":", "with")}
    long = [rows.assign(mask=mask, value=value) for mask, value in measured.items()]
    grid = style.facets(
        pd.concat(long, ignore_index=True), "mask", width, x="sparsity", y="value", col="n_w"
    )
    for n_w, axes in grid.axes_dict.items():
        here = rows[rows.n_w == n_w].set_index("sparsity").sort_index()
        for column, (dashes, word) in bounds.items():
            label = f"{_BOUND}, {word} mask"
            axes.plot(here[column], dashes, color=palette.GREY, zorder=1, label=label)
    grid.set_titles(f"$n_w$ = {{col_name}} bits, {style.setting(rows, 'n_s')}")
    grid.set_axis_labels(_SPARSITY, _REDUCTION)
    return style.legend(grid.figure, palette.handles("mask", measured))


@draws(
    "real_layer.csv",
    "network source method layer order n_s n_out sparsity plane variation care_bits wrong_bits",
    width=COLUMN,
)
def real_layer(rows: pd.DataFrame, width: float) -> Figure:
    """Wrong care bits of each bit plane of a real pruned layer, by order of the weights."""
    figure, (axes,) = style.panels(1, width)
    orders, variation = palette.names("order", rows.order), rows.groupby("order").variation.first()
    wide = rows.assign(wrong=100 * rows.wrong_bits / rows.care_bits)
    wide = wide.pivot_table("wrong", "plane", "order")[orders]
    wide.plot.bar(ax=axes, legend=False, width=0.8, rot=0)
    for order, bars in zip(orders, axes.containers, strict=True):
        plt.setp(bars, **palette.look("order", order).bar())
        bars.set_label(f"{order} order, variation of $n_u$ {variation[order]:.2f}")
    axes.grid(axis="x", visible=False)
    layer = textwrap.fill(rows.layer.iloc[0].replace("_", " "), 45)
    words = style.setting(rows, "network source method")
    title = f"{words}\n{layer}\n{style.setting(rows, 'sparsity n_out n_s')}"
    axes.set(xlabel="bit plane (7: sign)", ylabel=WRONG, title=title)
    return style.legend(figure)
