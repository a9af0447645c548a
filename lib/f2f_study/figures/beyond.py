"""Figures of the study of encoders, windows, orders and rates (notebook 03)."""

from __future__ import annotations

from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from f2f_study.figures import palette, style
from f2f_study.figures.palette import GREY, look
from f2f_study.figures.style import WRONG, draws

__all__ = [
    "beyond_dependence",
    "beyond_encoders",
    "beyond_gates",
    "beyond_lengths",
    "beyond_lookahead",
    "beyond_orders",
]

_WORDS = {
    "transformer": "Transformer", "resnet": "ResNet", "standin": "stand-in",
    "dlmc": "published masks",
}  # fmt: skip
_TIME = "time of one core per care bit (ns)"
_REGISTERS = "shift registers $N_s$"
_CHOSEN: dict[str, Any] = {
    "linestyle": "none", "marker": "o", "markersize": 9, "fillstyle": "none", "color": "black",
    "markeredgewidth": 0.8,
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
    """Wrong care bits over time, a line of beams for each n_s, and the exact encoder beside it."""
    rows = rows.assign(wrong=style.wrong_percent(rows), time=rows.cpu_time_ns_per_care_bit)
    beams, exact = rows[rows.encoder == "beam"], rows[rows.encoder == "viterbi"]
    figure, (axes,) = style.panels(1, width, height=3.2)
    for n_s, line in beams.sort_values("beam").groupby("n_s"):
        axes.plot(line.time, line.wrong, **look("n_s", n_s).line())
    for point in exact.itertuples():
        colour = look("n_s", point.n_s).colour
        axes.axhline(point.wrong, color=colour, linewidth=0.6, linestyle=(0, (2, 2)))
        axes.plot(point.time, point.wrong, color=colour, **_EXACT)
    style.log_scale(axes)
    style.log_scale(axes, which="x")
    reach = f"along each line beams of {beams.beam.min()} to {beams.beam.max()}"
    title = f"{style.setting(rows, 'sparsity n_out')}\n{reach}"
    axes.set(xlabel=_TIME, ylabel=WRONG, title=title)
    star = Line2D([], [], color="white", label=look("encoder", "viterbi").label, **_EXACT)
    return style.legend(figure, [*palette.handles("n_s", rows.n_s), star])


@draws(
    "beyond_dependence.csv",
    "n_s plane_care_bits dependent_bits modelled_dependent_bits beam care_bits wrong_bits",
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
        handles += left.plot(one.n_s, share, dashes, color="black", linewidth=0.8, label=label)
    style.log_scale(left)
    left.set_ylabel("share of the care bits (%)")
    right.set(ylabel="wrong per dependent bits (%)", ylim=(0, None))
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
    figure, panels = style.panels(2, width)
    for axes, (x, label) in zip(panels, labels.items(), strict=True):
        # The look-ahead grows along a line; the time need not.
        sns.lineplot(
            rows, x=x, y="wrong", ax=axes, legend=False, estimator=None, sort=False,
            **palette.lines(rows, "beam"),
        )  # fmt: skip
        style.log_scale(axes)
        axes.set(xlabel=label, ylabel=WRONG)
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
        chosen = here[here.chosen]
        axes.plot(chosen.n_out, chosen.overhead_percent, **_CHOSEN)
    grid.set(ylim=(0, None)).set_titles("$S$ = {col_name:g}")
    grid.set_axis_labels("block length $N_{out}$ (bits)", "bits over one per care bit (%)")
    model = Line2D([], [], color=GREY, label="model")
    chosen = Line2D([], [], label="chosen", **_CHOSEN)
    return style.legend(grid.figure, [*palette.handles("n_s", rows.n_s, "point"), model, chosen])


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
            continue
        for point in part.itertuples():
            axes.annotate(
                f"{point.Index}", (point.gates, point.wrong), xytext=(4, 4),
                textcoords="offset points", fontsize=7, color=name.colour,
            )  # fmt: skip
    style.log_scale(axes)
    title = f"{style.setting(rows, 'sparsity n_out')}\nnumbers along a line: $N_s$"
    axes.set(xlabel="XOR gates per output bit", ylabel=WRONG, title=title)
    return style.legend(figure, handles)


_ORDERS = "source network method sparsity layer order weights care_bits wrong_bits"


@draws("beyond_orders.csv", _ORDERS)
def beyond_orders(rows: pd.DataFrame, width: float) -> Figure:
    """Wrong care bits of models and of their worst layer of over 10,000 weights, by order.

    A panel per network: methods across, a line from the model to its worst layer per order.
    """
    rows = rows.assign(wrong=style.wrong_percent(rows))
    keys = ["network", "method", "order"]
    large = rows[(rows.layer != "total") & (rows.weights > 10_000)]
    found = pd.DataFrame(
        {
            "model": rows[rows.layer == "total"].set_index(keys).wrong,
            "worst": large.groupby(keys).wrong.max(),
        }
    )
    networks = rows.groupby("network", sort=False)
    figure, panels = style.panels(networks.ngroups, width, height=2.4)
    orders = palette.names("order", rows.order)
    for axes, (network, here) in zip(panels, networks, strict=True):
        methods = palette.names("method", here.method)
        for i, order in enumerate(orders):
            one = found.reindex([(network, method, order) for method in methods])
            places = [place + 0.17 * (i - (len(orders) - 1) / 2) for place in range(len(methods))]
            name = look("order", order)
            axes.vlines(places, one.model, one.worst, color=name.colour, linewidth=0.8)
            axes.plot(places, one.model, **name.point())
            axes.plot(places, one.worst, **name.point(filled=False))
        words = [look("method", method).label.replace(" ", "\n") for method in methods]
        axes.set_xticks(range(len(methods)), words)
        axes.grid(axis="x", visible=False)
        axes.set_ylim(found.min(axis=None) / 1.3, found.max(axis=None) * 1.3)
        source = here.source.iloc[0]
        title = f"{_WORDS.get(network, network)}, {_WORDS.get(source, source)}"
        axes.set_title(f"{title}, {style.setting(here, 'sparsity')}")
    style.log_scale(*panels)
    panels[0].set_ylabel(WRONG)
    handles = palette.handles("order", orders, "point")
    return style.legend(figure, handles + style.filled_and_open("model", "its worst layer"))
