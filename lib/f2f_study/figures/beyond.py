"""Figures of the study of encoders, windows, orders and rates (notebook 03)."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from f2f_study.figures import palette, style
from f2f_study.figures.palette import GREY, look
from f2f_study.figures.style import WRONG, draws

__all__ = [
    "beyond_dependence", "beyond_encoders", "beyond_gates", "beyond_lengths", "beyond_lookahead",
    "beyond_orders",
]  # fmt: skip

_TIME = "time of one core per care bit (ns)"
_REGISTERS = "shift registers $N_s$"
_CHOSEN: dict[str, Any] = {
    "linestyle": "none", "marker": "o", "markersize": 9, "fillstyle": "none", "color": "black",
    "markeredgewidth": 0.8, "label": "chosen",
}  # fmt: skip
_EXACT: dict[str, Any] = {
    "linestyle": "none", "marker": look("encoder", "viterbi").marker, "markersize": 9,
    "markeredgecolor": "black",
}  # fmt: skip


@draws(
    "beyond_encoders.csv",
    "encoder n_s n_out sparsity beam care_bits wrong_bits cpu_time_ns_per_care_bit",
)
def beyond_encoders(rows: pd.DataFrame, width: float) -> Figure:
    """Wrong care bits over time, a line of beams for each n_s, and the exact encoder beside it.

    The axis of time is broken: on the right are the exact encoder and beams as slow, such as one of
    256 at n_s = 0, which tries every input.
    """
    rows = rows.assign(wrong=style.wrong_percent(rows), time=rows.cpu_time_ns_per_care_bit)
    beams, exact = rows[rows.encoder == "beam"], rows[rows.encoder == "viterbi"]
    usual = beams[beams.n_s > 0] if (beams.n_s > 0).any() else rows
    split = 1.1 * usual.time.max()
    ends = [(rows.time.min() / 1.1, split), (split, rows.time.max() * 1.5)]
    ends = ends if rows.time.max() > split else ends[:1]
    figure, panels = plt.subplots(
        1, len(ends), figsize=(width, 3.2), layout="constrained", sharey=True, squeeze=False,
        width_ratios=(3, 2)[: len(ends)],
    )  # fmt: skip
    for axes, limits in zip(panels.flat, ends, strict=True):
        for n_s, line in beams.sort_values("beam").groupby("n_s"):
            if line.time.max() > limits[0]:
                axes.plot(line.time, line.wrong, **look("n_s", n_s).line())
        for point in exact.itertuples():
            colour = look("n_s", point.n_s).colour
            axes.axhline(point.wrong, color=colour, linewidth=0.6, linestyle=(0, (2, 2)))
            axes.plot(point.time, point.wrong, color=colour, **_EXACT)
        axes.set_xscale("log")
        axes.set_xlim(limits)
        style.log_scale(axes, which="x")
    style.log_scale(panels[0, 0])
    panels[0, 0].set_ylabel(WRONG)
    panels[0, 0].set_xlabel(_TIME, loc="left")
    reach = f"along each line beams of {beams.beam.min()} to {beams.beam.max()}"
    figure.suptitle(f"{style.setting(rows, 'sparsity n_out')}; {reach}")
    star = Line2D([], [], color="white", label=look("encoder", "viterbi").label, **_EXACT)
    return style.legend(figure, [*palette.handles("n_s", rows.n_s), star])


@draws(
    "beyond_dependence.csv",
    "n_s n_out sparsity plane_care_bits dependent_bits modelled_dependent_bits beam care_bits "
    "wrong_bits",
)
def beyond_dependence(rows: pd.DataFrame, width: float) -> Figure:
    """Care bits that depend on earlier ones, counted and modelled, and those that end up wrong."""
    beams = sorted(set(rows.beam))
    shown = rows[rows.beam.isin([beams[0], beams[len(beams) // 2], beams[-1]])]
    dependent = 100 * shown.dependent_bits / shown.plane_care_bits
    wrong = style.wrong_percent(shown)
    shown = shown.assign(wrong=wrong, kappa=100 * wrong / dependent)
    figure, (left, right) = style.panels(2, width)
    for axes, y in ((left, "wrong"), (right, "kappa")):
        sns.lineplot(
            shown, x="n_s", y=y, ax=axes, legend=False, **style.RANGE,
            **palette.lines(shown, "beam"),
        )  # fmt: skip
        axes.set_xlabel(_REGISTERS)
    handles = palette.handles("beam", shown.beam)
    for handle in handles:
        handle.set_label(f"wrong, {handle.get_label()}")
    one = rows.drop_duplicates("n_s").sort_values("n_s")
    for column, label, dashes in (
        ("dependent_bits", "dependent, counted", "-"),
        ("modelled_dependent_bits", "dependent, by the model of a queue", "--"),
    ):
        share = 100 * one[column] / one.plane_care_bits
        left.plot(one.n_s, share, dashes, color="black", linewidth=0.8, label=label)
    style.log_scale(left)
    left.set_ylabel("share of care bits (%)")
    right.set(ylabel="wrong of the dependent (%)", ylim=(0, None))
    figure.suptitle(style.setting(rows, "sparsity n_out"))
    return style.legend(figure, handles)


@draws(
    "beyond_lookahead.csv",
    "n_s n_out sparsity beam lookahead care_bits wrong_bits cpu_time_ns_per_care_bit",
)
def beyond_lookahead(rows: pd.DataFrame, width: float) -> Figure:
    """Wrong care bits over the dependent bits decided at once, and over time, one line per beam."""
    rows = rows.assign(wrong=style.wrong_percent(rows)).sort_values("lookahead")
    labels = {
        "lookahead": "dependent care bits decided at once", "cpu_time_ns_per_care_bit": _TIME,
    }  # fmt: skip
    figure, panels = style.panels(2, width, sharey=True)
    for axes, (x, label) in zip(panels, labels.items(), strict=True):
        # The look-ahead grows along a line; the time need not.
        sns.lineplot(
            rows, x=x, y="wrong", ax=axes, legend=False, estimator=None, sort=False,
            **palette.lines(rows, "beam"),
        )  # fmt: skip
        axes.set(xlabel=label, ylabel=WRONG)
    style.log_scale(*panels)
    panels[0].set_xticks(sorted(set(rows.lookahead)))
    style.log_scale(panels[1], which="x")
    figure.suptitle(style.setting(rows, "sparsity n_out n_s"))
    return style.legend(figure, palette.handles("beam", rows.beam))


@draws("beyond_lengths.csv", "n_s n_out sparsity chosen overhead_percent modelled_overhead_percent")
def beyond_lengths(rows: pd.DataFrame, width: float) -> Figure:
    """Stored bits over the entropy of the care bits against n_out, measured and modelled."""
    grid = style.facets(
        rows, "n_s", width, kind="scatter", x="n_out", y="overhead_percent", col="sparsity", s=20,
        facet_kws={"sharex": False},
    )  # fmt: skip
    for sparsity, axes in grid.axes_dict.items():
        here = rows[rows.sparsity == sparsity]
        for n_s, part in here.sort_values("n_out").groupby("n_s"):
            line = look("n_s", n_s).line() | {"marker": ""}
            axes.plot(part.n_out, part.modelled_overhead_percent, **line)
        axes.plot("n_out", "overhead_percent", data=here[here.chosen], **_CHOSEN)
    style.log_scale(*grid.axes.flat)
    grid.set_titles("$S$ = {col_name:g}")
    grid.set_axis_labels("block length $N_{out}$ (bits)", "bits beyond one per care bit (%)")
    model = Line2D([], [], color=GREY, label="model")
    return style.legend(grid.figure, [*palette.handles("n_s", rows.n_s, "point"), model])


@draws("beyond_gates.csv", "kind n_s n_out sparsity care_bits wrong_bits xor_gates_per_bit")
def beyond_gates(rows: pd.DataFrame, width: float) -> Figure:
    """Wrong care bits over XOR gates per output bit: wider windows, and sparser rows at n_s = 7."""
    rows = rows.assign(wrong=style.wrong_percent(rows))
    found = rows.groupby(["kind", "n_s"]).agg(
        gates=("xor_gates_per_bit", "median"), wrong=("wrong", "median"),
        low=("wrong", "min"), high=("wrong", "max"),
    )  # fmt: skip
    figure, (axes,) = style.panels(1, width, height=2.8)
    handles = palette.handles("kind", rows.kind, "point")
    for kind, handle in zip(palette.names("kind", rows.kind), handles, strict=True):
        part = found.loc[kind]
        one, name = len(part) == 1, look("kind", kind)
        reach = [part.wrong - part.low, part.high - part.wrong]
        form = name.point() if one else name.line()
        axes.errorbar(part.gates, part.wrong, yerr=reach, capsize=1.5, elinewidth=0.8, **form)
        if one:
            handle.set_label(f"{name.label}, $N_s$ = {part.index[0]}")
        else:
            style.numbers(axes, part[["gates", "wrong"]], name.colour, (3, 3))
    style.log_scale(axes)
    axes.margins(x=0.07)
    title = f"{style.setting(rows, 'sparsity n_out')}; numbers along the line: $N_s$"
    label = "XOR gates per output bit, before synthesis"
    axes.set(xlabel=label, ylabel=WRONG, title=title)
    return style.legend(figure, handles)


@draws(
    "beyond_orders.csv",
    "source network method sparsity layer order weights care_bits wrong_bits",
)
def beyond_orders(rows: pd.DataFrame, width: float) -> Figure:
    """Wrong care bits of models, by order; bars reach to the worst layer of over 10,000 weights.

    A panel per network, methods across.
    """
    rows = rows.assign(wrong=style.wrong_percent(rows))
    whole, large = rows[rows.layer == "total"], rows[(rows.layer != "total") & (rows.weights > 1e4)]
    networks = style.required(whole, "layer total").groupby("network", sort=False)
    found = whole.set_index(["network", "method", "order"])[["wrong"]]
    worst = large.groupby(list(found.index.names)).wrong.max()
    # Small layers may be worse than every large one: then there is no bar.
    found = found.assign(worst=worst.reindex(found.index).fillna(0).clip(lower=found.wrong))
    figure, panels = style.panels(networks.ngroups, width, height=2.4, sharey=True)
    orders = palette.names("order", whole.order)
    for axes, (network, here) in zip(panels, networks, strict=True):
        methods = palette.names("method", here.method)
        for i, order in enumerate(orders):
            one = found.reindex([(network, method, order) for method in methods])
            places = [place + 0.17 * (i - (len(orders) - 1) / 2) for place in range(len(methods))]
            reach = [0 * one.wrong, one.worst - one.wrong]
            axes.errorbar(places, one.wrong, reach, capsize=2, **look("order", order).point())
        words = [look("method", method).label.replace(" ", "\n") for method in methods]
        axes.set_xticks(range(len(methods)), words)
        axes.grid(axis="x", visible=False)
        axes.set_title(style.setting(here, "network source sparsity"))
    style.log_scale(*panels)
    panels[0].set_ylabel(WRONG)
    bar = Line2D([], [], color=GREY, marker="_", label="up to the worst layer")
    return style.legend(figure, [*palette.handles("order", orders, "point"), bar])
