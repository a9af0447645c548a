"""Figures of the study of encoders, windows, orders and rates (notebook 03)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from f2f_study.figures.style import canvas, draws, series

__all__ = [
    "beyond_dependence",
    "beyond_encoders",
    "beyond_gates",
    "beyond_lengths",
    "beyond_lookahead",
    "beyond_orders",
    "orders",
]

_METHODS = {
    "random": "random",
    "magnitude": "magnitude",
    "l0": "L0",
    "variational_dropout": "variational\ndropout",
}
_NAMES = {
    "transformer": "Transformer",
    "resnet": "ResNet",
    "standin": "stand-in",
    "dlmc": "published masks",
}
_WRONG = "wrong care bits, 100 − $E$ (%)"


def _wrong_percent(rows: pd.DataFrame) -> pd.Series:
    """100 - E, at least half a wrong bit so that a logarithmic axis can show it."""
    return 100 * rows.wrong_bits.clip(lower=0.5) / rows.care_bits


@draws("beyond_encoders.csv")
def beyond_encoders(rows: pd.DataFrame) -> Figure:
    """Wrong care bits over time, a line of beams for each n_s, and the exact encoder beside it."""
    figure, axes = canvas(width=7.4, height=4.8)
    rows = rows.assign(wrong=_wrong_percent(rows))
    for i, (n_s, part) in enumerate(rows.groupby("n_s")):
        beams = part[part.encoder == "beam"].sort_values("beam")
        look = series(i) | {"markersize": 4}
        axes.plot(beams.cpu_time_ns_per_care_bit, beams.wrong, label=f"$N_s$ = {n_s}", **look)
        exact = part[part.encoder == "viterbi"]
        axes.plot(
            exact.cpu_time_ns_per_care_bit, exact.wrong, marker="*", markersize=13,
            color=look["color"], markeredgecolor="black", linestyle="none",
        )  # fmt: skip
        for _, point in exact.iterrows():
            axes.axhline(point.wrong, color=look["color"], linewidth=0.7, linestyle=(0, (2, 2)))
    axes.plot(
        [], [], marker="*", markersize=12, color="white", markeredgecolor="black",
        linestyle="none", label="exact optimum",
    )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter("{x:g}")
    first = rows[rows.encoder == "beam"].iloc[0]
    beams = sorted(rows.beam[rows.beam > 0].unique())
    axes.set(
        xlabel="time of one core per care bit (ns)",
        ylabel=_WRONG,
        title=f"$S$ = {first.sparsity:g}, $N_{{out}}$ = {first.n_out}; "
        f"along each line beams of {beams[0]} to {beams[-1]}",
    )
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center")
    return figure


@draws("beyond_dependence.csv")
def beyond_dependence(rows: pd.DataFrame) -> Figure:
    """Care bits that depend on earlier ones, counted and modelled, and those that end up wrong."""
    figure, (left, right) = canvas(1, 2, width=9.6, height=3.8)
    rows = rows.sort_values(["n_s", "beam"])
    one = rows.drop_duplicates("n_s")
    counted = 100 * one.dependent_bits / one.plane_care_bits
    modelled = 100 * one.modelled_dependent_bits / one.plane_care_bits
    left.plot(one.n_s, counted, label="dependent, counted", **series(0))
    left.plot(one.n_s, modelled, label="dependent, by the model of a queue", **series(1))
    shown = [beam for beam in (1, 16, 256) if beam in set(rows.beam)]
    for i, beam in enumerate(shown):
        part = rows[rows.beam == beam]
        left.plot(part.n_s, _wrong_percent(part), label=f"wrong, beam {beam}", **series(i + 2))
        kappa = (part.wrong_bits / part.care_bits) / (part.dependent_bits / part.plane_care_bits)
        right.plot(part.n_s, 100 * kappa, label=f"beam {beam}", **series(i + 2))
    left.set_yscale("log")
    left.yaxis.set_major_formatter("{x:g}")
    left.set(xlabel="shift registers $N_s$", ylabel="share of the care bits (%)")
    left.legend(fontsize=8)
    right.set(
        xlabel="shift registers $N_s$",
        ylabel="wrong bits over dependent ones (%)",
        ylim=(0, None),
    )
    right.legend()
    return figure


@draws("beyond_lookahead.csv")
def beyond_lookahead(rows: pd.DataFrame) -> Figure:
    """Wrong care bits over the dependent bits decided at once, and over time, one line per beam."""
    figure, (left, right) = canvas(1, 2, width=9.6, height=3.8)
    rows = rows.assign(wrong=_wrong_percent(rows))
    for i, (beam, part) in enumerate(rows.groupby("beam")):
        part = part.sort_values("lookahead")
        left.plot(part.lookahead, part.wrong, label=f"beam {beam}", **series(i))
        right.plot(part.cpu_time_ns_per_care_bit, part.wrong, label=f"beam {beam}", **series(i))
    first = rows.iloc[0]
    left.set(xlabel="dependent care bits decided at once", ylabel=_WRONG)
    left.set_xticks(sorted(rows.lookahead.unique()))
    right.set(xlabel="time of one core per care bit (ns)", xscale="log")
    right.xaxis.set_major_formatter("{x:g}")
    right.xaxis.set_minor_formatter("{x:g}")
    for axes in (left, right):
        axes.set_yscale("log")
        axes.grid(axis="y", which="minor")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")
    figure.suptitle(
        f"$S$ = {first.sparsity:g}, $N_{{out}}$ = {first.n_out}, $N_s$ = {first.n_s}", fontsize=10
    )
    left.legend()
    return figure


@draws("beyond_lengths.csv")
def beyond_lengths(rows: pd.DataFrame) -> Figure:
    """Stored bits over the entropy of the care bits against n_out, measured and modelled."""
    values = sorted(rows.sparsity.unique())
    figure, panels = canvas(1, len(values), width=4.8 * len(values), height=3.9)
    for axes, sparsity in zip(np.atleast_1d(panels), values, strict=True):
        here = rows[rows.sparsity == sparsity]
        for i, (n_s, part) in enumerate(here.groupby("n_s")):
            part = part.sort_values("n_out")
            look = series(i)
            axes.plot(
                part.n_out, part.overhead_percent, label=f"$N_s$ = {n_s}",
                **look | {"linestyle": "none"},
            )  # fmt: skip
            axes.plot(
                part.n_out, part.modelled_overhead_percent,
                color=look["color"], linestyle=look["linestyle"],
            )  # fmt: skip
            chosen = part[part.chosen]
            axes.plot(
                chosen.n_out, chosen.overhead_percent, linestyle="none", marker="o",
                markersize=13, fillstyle="none", color="black", markeredgewidth=1.2,
            )  # fmt: skip
        axes.set(
            xlabel="block length $N_{out}$ (bits)", title=f"$S$ = {sparsity:g}", ylim=(0, None)
        )
    first = np.atleast_1d(panels)[0]
    first.set_ylabel("stored bits over one per care bit (%)")
    first.plot([], [], color="#555555", label="model")
    first.plot(
        [], [], linestyle="none", marker="o", markersize=11, fillstyle="none", color="black",
        label="chosen",
    )  # fmt: skip
    first.legend()
    return figure


@draws("beyond_gates.csv")
def beyond_gates(rows: pd.DataFrame) -> Figure:
    """Wrong care bits over XOR gates per output bit: wider windows, and sparser rows at n_s = 7."""
    figure, axes = canvas(width=7.6, height=4.6)
    rows = rows.assign(wrong=_wrong_percent(rows))
    random = rows[rows.kind == "random"]
    found = random.groupby("n_s").agg(
        gates=("xor_gates_per_bit", "mean"), mean=("wrong", "mean"),
        low=("wrong", "min"), high=("wrong", "max"),
    )  # fmt: skip
    reach = [found["mean"] - found.low, found.high - found["mean"]]
    axes.errorbar(
        found.gates, found["mean"], yerr=reach, capsize=2, label="random rows", **series(0)
    )
    for n_s, point in found.iterrows():
        axes.annotate(
            f"{n_s}", (point.gates, point["mean"]), xytext=(5, 5), textcoords="offset points",
            fontsize=8, color="#0072B2",
        )  # fmt: skip
    for i, (kind, part) in enumerate(rows[rows.kind != "random"].groupby("kind", sort=False)):
        error = [[part.wrong.mean() - part.wrong.min()], [part.wrong.max() - part.wrong.mean()]]
        look = series(i + 1) | {"linestyle": "none", "markersize": 7}
        axes.errorbar(
            part.xor_gates_per_bit.mean(), part.wrong.mean(), yerr=error, capsize=2,
            label=f"{kind}, $N_s$ = {part.n_s.iloc[0]}", **look,
        )  # fmt: skip
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    first = rows.iloc[0]
    axes.set(
        xlabel="XOR gates per output bit",
        ylabel=_WRONG,
        title=f"$S$ = {first.sparsity:g}, $N_{{out}}$ = {first.n_out}; "
        "numbers along the line: $N_s$",
    )
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center", fontsize=8)
    return figure


@draws("beyond_orders.csv")
def beyond_orders(rows: pd.DataFrame) -> Figure:
    """Wrong care bits of models and of their worst layer of over 10,000 weights, by order."""
    return _orders(rows, least_weights=10_000)


@draws("orders.csv")
def orders(rows: pd.DataFrame) -> Figure:
    """The same for benchmarks/orders.py at the balanced n_out; layers of over 50,000 weights."""
    return _orders(rows[rows.rate == "balanced"], least_weights=50_000)


def _orders(rows: pd.DataFrame, least_weights: int) -> Figure:
    networks = list(dict.fromkeys(rows.network))
    figure, panels = canvas(1, len(networks), width=5.4 * len(networks), height=4.2)
    rows = rows.assign(wrong=_wrong_percent(rows))
    orders = list(dict.fromkeys(rows.order))
    for axes, network in zip(np.atleast_1d(panels), networks, strict=True):
        here = rows[rows.network == network]
        methods = [method for method in _METHODS if (here.method == method).any()]
        for i, order in enumerate(orders):
            part = here[here.order == order]
            places = np.arange(len(methods)) + (i - (len(orders) - 1) / 2) * 0.17
            total = part[part.layer == "total"].set_index("method").wrong[methods]
            large = part[(part.layer != "total") & (part.weights > least_weights)]
            worst = large.groupby("method").wrong.max()[methods]
            look = series(i) | {"linestyle": "none", "markersize": 7}
            axes.vlines(places, total, worst, color=look["color"], linewidth=0.8)
            axes.plot(places, total, label=f"{order}", **look)
            axes.plot(places, worst, **look | {"markerfacecolor": "white"})
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_xticks(range(len(methods)), [_METHODS[method] for method in methods])
        axes.grid(axis="x", visible=False)
        first = here.iloc[0]
        axes.set_title(f"{_NAMES[network]}, {_NAMES[first.source]}, $S$ = {first.sparsity:g}")
    limits = [axes.get_ylim() for axes in np.atleast_1d(panels)]
    for axes in np.atleast_1d(panels):
        axes.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
    np.atleast_1d(panels)[0].set_ylabel(_WRONG + "\n(filled: model, open: its worst layer)")
    np.atleast_1d(panels)[-1].legend(title="order")
    return figure
