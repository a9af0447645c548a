"""Figures of the walkthrough and of the synthetic study (notebooks 01 and 02)."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from f2f_study.figures.style import bars, canvas, draws, reference_line, series

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


def _mean_line(axes: Axes, rows: pd.DataFrame, x: str, y: str, i: int, label: str) -> None:
    """Mean over the drawn matrices, bars from the least to the greatest."""
    found = rows.groupby(x)[y].agg(["mean", "min", "max"])
    reach = [found["mean"] - found["min"], found["max"] - found["mean"]]
    axes.errorbar(found.index, found["mean"], yerr=reach, label=label, capsize=2, **series(i))


def _mark(axes: Axes, x: float, label: str) -> None:
    """A thin vertical line whose meaning stands at its foot, where these figures are empty."""
    reference_line(axes, x, "", horizontal=False)
    place = axes.get_xaxis_transform()
    axes.text(x, 0.02, f" {label}", transform=place, ha="left", va="bottom", fontsize=8)


@draws("trellis.csv")
def trellis(rows: pd.DataFrame) -> Figure:
    """States against blocks, the surviving steps, their costs, and the best path."""
    states = int(rows.state_after.max()) + 1
    blocks = int(rows.block.max()) + 1
    figure, axes = canvas(width=1.9 * blocks + 1.6, height=0.75 * states + 1.1)
    for row in rows[~rows.survives].itertuples():
        axes.plot(
            [row.block, row.block + 1], [row.state_before, row.state_after],
            color="#dddddd", linewidth=0.8, zorder=1,
        )  # fmt: skip
    for row in rows[rows.survives].itertuples():
        look = dict(color="#0072B2", linewidth=1.1, zorder=2)
        if row.on_best_path:
            look = dict(color="#D55E00", linewidth=3.0, zorder=3)
        axes.plot([row.block, row.block + 1], [row.state_before, row.state_after], **look)
    costs = {(0, state): 0 for state in range(states)}
    costs |= {(r.block + 1, r.state_after): r.cost_after for r in rows.itertuples() if r.survives}
    best = rows[rows.on_best_path]
    path = set(zip(best.block, best.state_before, strict=True))
    path |= set(zip(best.block + 1, best.state_after, strict=True))
    for (block, state), cost in costs.items():
        edge = "#D55E00" if (block, state) in path else "#0072B2"
        axes.plot(block, state, "o", markersize=17, color="white", markeredgecolor=edge, zorder=4)
        axes.text(block, state, str(cost), ha="center", va="center_baseline", fontsize=9, zorder=5)
    axes.set(
        xticks=range(blocks + 1), yticks=range(states), ylim=(states - 0.6, -0.4),
        xlabel="blocks encoded", ylabel="state (last input vector)",
        title="Fewest wrong care bits of any way into a state",
    )  # fmt: skip
    axes.plot([], [], color="#D55E00", linewidth=3, label="best path")
    axes.plot([], [], color="#0072B2", label="best way into a state")
    axes.plot([], [], color="#dddddd", label="other transitions")
    axes.grid(False)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3)
    return figure


@draws("synthetic_sparsity.csv")
def synthetic_sparsity(rows: pd.DataFrame) -> Figure:
    """E, memory reduction, and what is missing to its bound, over S for each n_s."""
    figure, (left, middle, right) = canvas(1, 3, width=11.5, height=3.5)
    rows = rows.assign(gap=rows.bound_percent - rows.memory_reduction_percent)
    for i, (n_s, part) in enumerate(rows.groupby("n_s")):
        label = f"$N_s$ = {n_s}"
        _mean_line(left, part, "sparsity", "efficiency_percent", i, label)
        _mean_line(middle, part, "sparsity", "memory_reduction_percent", i, label)
        _mean_line(right, part, "sparsity", "gap", i, label)
    bound = rows.groupby("sparsity").bound_percent.first()
    middle.plot(bound.index, bound, color="#555555", linewidth=0.9, label="bound by entropy, $S$")
    left.set(ylabel="encoding efficiency $E$ (%)")
    middle.set(ylabel="memory reduction (%)")
    right.set(ylabel="memory reduction missing\nto the bound (% points)", ylim=(0, None))
    for axes in (left, middle, right):
        axes.set_xlabel("sparsity $S$")
    middle.legend()
    return figure


@draws("synthetic_rate.csv")
def synthetic_rate(rows: pd.DataFrame) -> Figure:
    """E and memory reduction over the block length, one column of panels per S."""
    values = sorted(rows.sparsity.unique())
    figure, axes = canvas(2, len(values), width=4.6 * len(values), height=5.6)
    axes = axes.reshape(2, -1)
    for column, sparsity in enumerate(values):
        part = rows[rows.sparsity == sparsity]
        upper, lower = axes[:, column]
        for i, (n_s, one) in enumerate(part.groupby("n_s")):
            label = f"$N_s$ = {n_s}"
            _mean_line(upper, one, "n_out", "efficiency_percent", i, label)
            _mean_line(lower, one, "n_out", "memory_reduction_percent", i, label)
        ideal = part.n_in.iloc[0] / (1 - sparsity)
        _mark(upper, ideal, "$N_{in}/(1-S)$")
        reference_line(lower, ideal, "", horizontal=False)
        reference_line(lower, part.bound_percent.iloc[0], "bound by entropy")
        upper.set(title=f"$S$ = {sparsity}")
        lower.set(xlabel="block length $N_{out}$ (bits)")
    axes[0, 0].set_ylabel("encoding efficiency $E$ (%)")
    axes[1, 0].set_ylabel("memory reduction (%)")
    axes[0, 0].legend(loc="lower left")
    return figure


@draws("synthetic_window.csv")
def synthetic_window(rows: pd.DataFrame) -> Figure:
    """Wrong care bits over the window, one line per n_in."""
    figure, axes = canvas(width=5.6, height=3.8)
    rows = rows.assign(
        window=rows.n_in * (rows.n_s + 1), wrong_percent=100 - rows.efficiency_percent
    )
    for i, (n_in, part) in enumerate(rows.groupby("n_in")):
        _mean_line(axes, part, "window", "wrong_percent", i, f"$N_{{in}}$ = {n_in}")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set(
        xlabel="window $(N_s+1)\\,N_{in}$ (bits)",
        ylabel="wrong care bits, 100 − $E$ (%)",
        title=f"$S$ = {rows.sparsity.iloc[0]}, $N_{{out}} = N_{{in}}/(1-S)$",
    )
    axes.legend()
    return figure


@draws("synthetic_n_u.csv")
def synthetic_n_u(rows: pd.DataFrame) -> Figure:
    """Distribution of n_u beside the binomial law, one panel per S."""
    values = sorted(rows.sparsity.unique())
    figure, panels = canvas(1, len(values), width=3.4 * len(values), height=3.2)
    for axes, sparsity in zip([panels] if len(values) == 1 else panels, values, strict=True):
        part = rows[rows.sparsity == sparsity]
        axes.bar(part.n_u, part.share_percent, width=0.85, label="drawn", **bars(4))
        axes.plot(part.n_u, part.binomial_percent, label="binomial", **series(6))
        axes.set(
            title=f"$S$ = {sparsity}, $N_{{out}}$ = {part.n_out.iloc[0]}",
            xlabel="unpruned weights of a block $n_u$",
        )
    first = axes if len(values) == 1 else panels[0]
    first.set_ylabel("share of blocks (%)")
    first.legend()
    return figure


@draws("synthetic_spread.csv")
def synthetic_spread(rows: pd.DataFrame) -> Figure:
    """E over the coefficient of variation of n_u."""
    figure, axes = canvas(width=5.6, height=3.8)
    # Masks asked for one spread differ a little: place each group at its mean.
    rows = rows.assign(x=rows.groupby(rows.variation_wanted.fillna(-1)).variation.transform("mean"))
    for i, (n_s, part) in enumerate(rows.groupby("n_s")):
        _mean_line(axes, part, "x", "efficiency_percent", i, f"$N_s$ = {n_s}")
    _mark(axes, rows.variation_binomial.mean(), "independent pruning")
    axes.set(
        xlabel="coefficient of variation of $n_u$",
        ylabel="encoding efficiency $E$ (%)",
        title=f"$S$ = {rows.sparsity.iloc[0]}, $N_{{out}}$ = {rows.n_out.iloc[0]}",
    )
    axes.legend(loc="lower left")
    return figure


@draws("synthetic_skew.csv")
def synthetic_skew(rows: pd.DataFrame) -> Figure:
    """E over the share of ones, as it is and inverted, one panel per n_s."""
    values = sorted(rows.n_s.unique())
    figure, panels = canvas(1, len(values), width=3.6 * len(values), height=3.4)
    for axes, n_s in zip([panels] if len(values) == 1 else panels, values, strict=True):
        part = rows[rows.n_s == n_s]
        for i, (inverted, one) in enumerate(part.groupby("inverted")):
            label = "inverted" if inverted else "as it is"
            _mean_line(axes, one, "ones", "efficiency_percent", i, label)
        axes.set(title=f"$N_s$ = {n_s}", xlabel="share of ones among care bits")
    first = axes if len(values) == 1 else panels[0]
    first.set_ylabel("encoding efficiency $E$ (%)")
    first.legend(loc="upper center")
    return figure


@draws("synthetic_mask.csv")
def synthetic_mask(rows: pd.DataFrame) -> Figure:
    """Memory reduction with and without the mask beside the bounds, one panel per n_w."""
    values = sorted(rows.n_w.unique())
    figure, panels = canvas(1, len(values), width=4.4 * len(values), height=3.6)
    for axes, n_w in zip([panels] if len(values) == 1 else panels, values, strict=True):
        part = rows[rows.n_w == n_w].sort_values("sparsity")
        lines = {
            "without mask": "without_mask_percent",
            "with a bitmap": "with_bitmap_percent",
        }
        for i, (label, column) in enumerate(lines.items()):
            axes.plot(part.sparsity, part[column], label=label, **series(i))
        bounds = {
            "bound without mask": "bound_percent",
            "bound with mask": "bound_with_mask_percent",
        }
        for i, (label, column) in enumerate(bounds.items()):
            look = series(i, marker=False) | {"linewidth": 3.5, "alpha": 0.3, "linestyle": "-"}
            axes.plot(part.sparsity, part[column], label=label, **look)
        axes.set(title=f"{n_w} bits a weight, $N_s$ = {part.n_s.iloc[0]}", xlabel="sparsity $S$")
    first = axes if len(values) == 1 else panels[0]
    first.set_ylabel("memory reduction (%)")
    first.legend(loc="upper left")
    return figure


@draws("real_layer.csv")
def real_layer(rows: pd.DataFrame) -> Figure:
    """Wrong care bits of each bit plane of a real pruned layer, by order of the weights."""
    figure, axes = canvas(width=6.0, height=3.6)
    orders = list(dict.fromkeys(rows.order))
    width = 0.8 / len(orders)
    for i, order in enumerate(orders):
        part = rows[rows.order == order]
        places = part.plane + (i - (len(orders) - 1) / 2) * width
        variation = part.variation.iloc[0]
        label = f"{order} order, variation of $n_u$ {variation:.2f}"
        axes.bar(places, 100 - part.efficiency_percent, width=width, label=label, **bars(i))
    axes.set(
        xticks=sorted(rows.plane.unique()),
        xlabel="bit plane (7: sign)",
        ylabel="wrong care bits, 100 − $E$ (%)",
        title=f"{rows.layer.iloc[0]}\n$S$ = {rows.sparsity.iloc[0]:.2f}, "
        f"$N_{{out}}$ = {rows.n_out.iloc[0]}, $N_s$ = {rows.n_s.iloc[0]}",
    )
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=len(orders))
    return figure
