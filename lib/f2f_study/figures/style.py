"""One look for every figure, readable without colour, and the register of what is drawn from what.

A figure is a function from the rows of one CSV file to a `Figure`; `draws` names that file:

    @draws("efficiency.csv")
    def efficiency(rows: pd.DataFrame) -> Figure:
        figure, axes = canvas()
        for i, (n_s, part) in enumerate(rows.groupby("n_s")):
            axes.plot(part.sparsity, part.efficiency_percent, label=f"n_s = {n_s}", **series(i))
        ...
        return figure

and it is called as ``efficiency(csv_path, out_stem)``: it reads the CSV, draws with the common
theme, writes ``out_stem.png`` and ``out_stem.svg`` and returns the figure, which a notebook shows.
`redraw` does this for every CSV file of a run.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from f2f_study.results import read_csv

# Okabe and Ito's colours, ordered so that neighbours also differ in lightness; marker and line
# style change with the colour, so that a grey print is as readable.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#999933")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (5, 5)))
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "+++", "ooo", "---")

THEME: Any = {
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "savefig.bbox": "tight",
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.markersize": 5,
    "lines.linewidth": 1.4,
    "hatch.linewidth": 0.5,
    # The same CSV gives the same bytes of SVG.
    "svg.hashsalt": "f2f",
}

Draw = Callable[..., Figure]


class Drawn(Protocol):
    """A registered figure: called with the CSV file to read and the path to write, less suffix."""

    __name__: str

    def __call__(
        self,
        csv_path: str | PathLike[str],
        out_stem: str | PathLike[str] | None = None,
        **options: Any,
    ) -> Figure: ...


REGISTER: dict[str, list[Drawn]] = {}
"""For every CSV file name, the figures drawn from it."""


def draws(csv_name: str) -> Callable[[Draw], Drawn]:
    """Register a figure function of the rows of `csv_name`; see the module's text."""

    def register(draw: Draw) -> Drawn:
        @functools.wraps(draw)
        def drawn(
            csv_path: str | PathLike[str],
            out_stem: str | PathLike[str] | None = None,
            **options: Any,
        ) -> Figure:
            with matplotlib.rc_context(THEME):
                figure = draw(read_csv(csv_path), **options)
                save(figure, out_stem or Path(csv_path).parent / draw.__name__)
            return figure

        REGISTER.setdefault(csv_name, []).append(drawn)
        return drawn

    return register


def canvas(rows: int = 1, cols: int = 1, width: float = 6.0, height: float = 3.8) -> Any:
    """A figure of `width` × `height` inches and its axes (one, or an array as of `subplots`)."""
    return plt.subplots(rows, cols, figsize=(width, height), layout="constrained")


def series(i: int, marker: bool = True) -> dict[str, Any]:
    """Colour, line style and marker of the i-th line of a plot, as arguments of `Axes.plot`."""
    look: dict[str, Any] = {"color": COLOURS[i % len(COLOURS)], "linestyle": LINES[i % len(LINES)]}
    return look | ({"marker": MARKERS[i % len(MARKERS)]} if marker else {})


def bars(i: int) -> dict[str, Any]:
    """Colour and hatch of the i-th kind of bar, as arguments of `Axes.bar`."""
    return {
        "color": COLOURS[i % len(COLOURS)],
        "hatch": HATCHES[i % len(HATCHES)],
        "edgecolor": "white",
    }


def reference_line(axes: Axes, value: float, label: str, horizontal: bool = True) -> None:
    """A thin grey line at `value` with its meaning written on it (a bound, a baseline)."""
    if horizontal:
        axes.axhline(value, color="#555555", linewidth=0.9, linestyle=(0, (4, 2)))
        x, y, ha, va = 0.99, value, "right", "bottom"
        transform = axes.get_yaxis_transform()
        rotation = 0
    else:
        axes.axvline(value, color="#555555", linewidth=0.9, linestyle=(0, (4, 2)))
        x, y, ha, va = value, 0.99, "right", "top"
        transform = axes.get_xaxis_transform()
        rotation = 90
    axes.text(
        x, y, label, transform=transform, ha=ha, va=va, rotation=rotation, fontsize=8, color="#333"
    )


def save(figure: Figure, out_stem: str | PathLike[str]) -> None:
    """Write `out_stem`.png and .svg, and close the figure so that a notebook shows it once."""
    stem = Path(out_stem)
    stem.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(THEME):
        figure.savefig(stem.with_name(stem.name + ".png"))
        figure.savefig(stem.with_name(stem.name + ".svg"), metadata={"Date": None})
    plt.close(figure)


def redraw(run: str | PathLike[str]) -> list[Path]:
    """Draw every registered figure of every CSV file under `run` again; returns the PNG paths.

    A figure named f from `<notebook>/x.csv` is written to `<notebook>/f.png` and `.svg`.
    """
    drawn = []
    for csv_path in sorted(Path(run).rglob("*.csv")):
        for figure in REGISTER.get(csv_path.name, []):
            stem = csv_path.parent / figure.__name__
            figure(csv_path, stem)
            drawn.append(stem.with_name(stem.name + ".png"))
    return drawn
