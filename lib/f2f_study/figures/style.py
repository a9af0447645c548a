"""One look for every figure, and the register of what is drawn from what.

A figure is a function of the rows of one CSV file and of its width; `draws` names the file and the
columns it needs:

    @draws("efficiency.csv", "n_s sparsity efficiency_percent", width=COLUMN)
    def efficiency(rows: pd.DataFrame, width: float) -> Figure:
        grid = facets(rows, "n_s", width, x="sparsity", y="efficiency_percent")
        return legend(grid.figure, palette.handles("n_s", rows.n_s))

and it is called as ``efficiency(csv_path)``: it reads the CSV file, draws with matplotlib's
defaults and `THEME`, whatever the user's settings are, writes ``efficiency.png`` and ``.svg``
beside the file and returns the figure, which a notebook shows. The same CSV file gives the same
bytes of SVG. `redraw` does this for every CSV file of a run.
"""

from __future__ import annotations

import functools
import math
import textwrap
import warnings
from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from f2f_study.figures import palette

COLUMN, PAGE = 3.3, 6.9
"""Widths in inches: a column of a printed page, and the page."""

# Inches; a panel narrower than this goes into the next line. A facet has fewer labels of its own.
_LEAST_PANEL, _LEAST_FACET = 2.0, 1.6
_HEIGHT = 2.3

THEME: dict[str, Any] = {
    "figure.dpi": 144,
    "savefig.dpi": 250,
    # Sizes in points at the printed width.
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "figure.titlesize": 8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "legend.handletextpad": 0.6,
    "legend.columnspacing": 1.4,
    "lines.markersize": 4.5,
    "lines.markeredgewidth": 0.6,
    "lines.linewidth": 1.1,
    "hatch.linewidth": 0.5,
    "svg.hashsalt": "f2f",
    # TrueType, whole: journals refuse Type 3 fonts.
    "pdf.fonttype": 42,
}

NONE_PRINTED = pd.DataFrame(columns=["method", "sparsity", "n_s", "dtype", "quantity", "value"])
"""The columns of ``paper_values.csv``, numbers that the paper prints, without a row."""

RANGE: dict[str, Any] = {
    "estimator": "median",
    "errorbar": ("pi", 100),
    "err_style": "bars",
    "err_kws": {"capsize": 1.5, "elinewidth": 0.8},
}
"""Arguments of `seaborn.lineplot`: the median of the repeats, bars over all of them."""

WRONG = "wrong care bits, 100 − $E$ (%)"

# Columns that hold words; all others hold numbers or truth values.
_WORDS = {
    "backend", "device", "dtype", "encoder", "format", "hardware", "kind", "layer", "method",
    "metric", "network", "notebook", "order", "quantity", "source", "tensors", "values", "written",
}  # fmt: skip

_PRINTED: dict[str, Any] = {
    "linestyle": "none", "marker": "8", "markersize": 9, "fillstyle": "none",
    "markeredgewidth": 1.0, "zorder": 3,
}  # fmt: skip

Drawn = Callable[..., Figure]
"""A registered figure, as `draws` makes it."""

REGISTER: dict[str, list[Drawn]] = {}
"""For every CSV file name, the figures drawn from it."""


def draws(
    csv_name: str, columns: str, width: float = PAGE, paper: bool = False
) -> Callable[[Callable[..., Figure]], Drawn]:
    """Register a figure of `csv_name`, which is given the columns named in `columns`, no others.

    `width` is in inches, unless the call says otherwise. With `paper`, the figure also takes what
    the paper prints: ``paper_values.csv`` beside the CSV file, if there is one. The decorated
    function of rows and width is called as
    ``figure(csv_path, out_stem=None, width=width, formats=("png", "svg"))``, where `out_stem` is
    the path to write less suffix (None: beside the CSV file) and `formats` are those of `save`.
    `ValueError` names the file, and the columns in question, where it lacks what the figure shows.
    """

    def register(draw: Callable[..., Figure]) -> Drawn:
        @functools.wraps(draw)
        def drawn(
            csv_path: str | PathLike[str],
            out_stem: str | PathLike[str] | None = None,
            width: float = width,
            formats: Sequence[str] = ("png", "svg"),
        ) -> Figure:
            path = Path(csv_path)
            stem = Path(out_stem or path.parent / draw.__name__)
            beside = path.with_name("paper_values.csv")
            printed = [pd.read_csv(beside)] if paper and beside.is_file() else []
            open_before = set(plt.get_fignums())
            try:
                rows = _read(path, columns.split())
                with plt.style.context(THEME, after_reset=True):
                    figure = draw(rows, width, *printed)
                    save(figure, stem, formats)
            except ValueError as error:
                raise ValueError(f"{csv_path}: {error}") from error
            finally:
                # A notebook shows what is returned, once.
                for number in set(plt.get_fignums()) - open_before:
                    plt.close(number)
            return figure

        REGISTER.setdefault(csv_name, []).append(drawn)
        return drawn

    return register


def save(figure: Figure, stem: Path, formats: Sequence[str]) -> None:
    """Write `stem` with the suffixes "png", "svg" or "pdf"; equal figures give equal files."""
    undated: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    stem.parent.mkdir(parents=True, exist_ok=True)
    for suffix in formats:
        figure.savefig(f"{stem}.{suffix}", metadata=undated.get(suffix))


def _read(path: Path, columns: list[str]) -> pd.DataFrame:
    """The columns of a CSV file; ValueError names those that are missing or hold no numbers.

    A warning says where rows differ in nothing but times: two runs, put together, would be drawn
    as repeats of one.
    """
    try:
        rows = pd.read_csv(path, keep_default_na=False, na_values=["", "nan"])
    except pd.errors.EmptyDataError:
        rows = pd.DataFrame()
    missing = [column for column in columns if column not in rows]
    if missing:
        raise ValueError(f"must have the columns {', '.join(columns)}, lacks {', '.join(missing)}")
    if rows.empty:
        raise ValueError(f"must have rows with {', '.join(columns)}, got a header only")
    numbers = [column for column in columns if column not in _WORDS]
    words = rows[numbers].select_dtypes(exclude=["number", "bool"]).columns
    if len(words):
        raise ValueError(f"must hold numbers in {', '.join(words)}, got {rows[words[0]].iloc[0]!r}")
    twice = rows.filter(regex="^(?!.*(time|_ns_per_))").duplicated().sum()
    if twice:
        warnings.warn(f"{path}: {twice} rows stand there twice; two runs in one?", stacklevel=3)
    return rows[columns]


def redraw(run: str | PathLike[str]) -> list[Path]:
    """Draw every registered figure of every CSV file under `run` again, beside it; the PNG files.

    `ValueError` says, after all others have been drawn, which figures could not be, and why.
    """
    drawn, failures = [], []
    for csv_path in sorted(Path(run).rglob("*.csv")):
        for figure in REGISTER.get(csv_path.name, []):
            try:
                figure(csv_path)
            # Whatever is wrong with one file, the others are drawn.
            except Exception as error:
                failures.append(f"{figure.__name__}: {error}")
            else:
                drawn.append(csv_path.with_name(f"{figure.__name__}.png"))
    if failures:
        reasons = "\n  ".join(failures)
        raise ValueError(f"{len(drawn)} figures drawn, {len(failures)} not:\n  {reasons}")
    return drawn


def _arrangement(count: int, width: float, least: float) -> tuple[int, int]:
    """Columns and lines of `count` panels in `width`, as many in every line, no narrower."""
    lines = math.ceil(count / max(1, int(width / least)))
    return math.ceil(count / lines), lines


def panels(
    count: int, width: float, height: float = _HEIGHT, sharey: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels, each `height` inches high, and its axes."""
    columns, lines = _arrangement(count, width, _LEAST_PANEL)
    figure, axes = plt.subplots(
        lines, columns, figsize=(width, lines * height), layout="constrained", squeeze=False,
        sharey=sharey,
    )  # fmt: skip
    for axis in axes.flat[count:]:
        axis.remove()
    return figure, list(axes.flat[:count])


def facets(
    rows: pd.DataFrame,
    by: str,
    width: float,
    height: float = _HEIGHT,
    kind: str = "line",
    **arguments: Any,
) -> sns.FacetGrid:
    """`seaborn.relplot` by the looks of the column `by`, in panels of `height` inches.

    Lines go through the median of the repeats, bars from the least to the greatest. The axis of
    `y="wrong"` is logarithmic and called `WRONG`.
    """
    looks = RANGE | palette.lines(rows, by) if kind == "line" else palette.points(rows, by)
    columns = rows[arguments["col"]].nunique() if "col" in arguments else 1
    lines = rows[arguments["row"]].nunique() if "row" in arguments else 1
    if "col" in arguments and "row" not in arguments:
        columns, lines = _arrangement(columns, width, _LEAST_FACET)
        arguments["col_wrap"] = columns
    grid = sns.relplot(rows, kind=kind, legend=False, height=height, **looks | arguments)
    grid.figure.set_layout_engine("constrained")
    grid.figure.set_size_inches(width, lines * height)
    if arguments["y"] == "wrong":
        log_scale(*grid.axes.flat)
        grid.set_ylabels(WRONG)
    return grid


def legend(figure: Figure, handles: Iterable[Artist] = ()) -> Figure:
    """The figure with a legend below the panels, as broad as fits; it grows by the legend.

    Its entries are `handles`, then whatever else in the panels has a label, once each.
    """
    entries: dict[str, Artist] = {str(artist.get_label()): artist for artist in handles}
    for axes in figure.axes:
        for artist, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, artist)
    # What is said in brackets comes last.
    entries = dict(sorted(entries.items(), key=lambda entry: entry[0].startswith("(")))
    for columns in range(len(entries), 0, -1):
        balanced = math.ceil(len(entries) / math.ceil(len(entries) / columns))
        below: dict[str, Any] = {"loc": "outside lower center", "ncols": balanced}
        drawn = figure.legend([*entries.values()], [*entries], **below)
        box = drawn.get_window_extent()
        if box.width <= 0.97 * figure.bbox.width or columns == 1:
            break
        drawn.remove()
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + box.height / figure.dpi)
    return figure


def wrong_percent(rows: pd.DataFrame) -> pd.Series:
    """100 - E, at least half a wrong bit for a logarithmic axis: see `half_bit_note`."""
    return 100 * rows.wrong_bits.clip(lower=0.5) / rows.care_bits


def half_bit_note(rows: pd.DataFrame) -> list[Artist]:
    """Where a row has no wrong bit, the legend entry that says how it is drawn."""
    said = Line2D([], [], linestyle="none", label="(no wrong bit is drawn as half of one)")
    return [said] if (rows.wrong_bits == 0).any() else []


def setting(rows: pd.DataFrame, columns: str) -> str:
    """What the first row says of its setting: "ResNet, stand-in, $S$ = 0.9", as legends call it."""
    first = rows.iloc[0]
    return ", ".join(palette.look(name, first[name]).label for name in columns.split())


def wrapped(words: str, figure: Figure) -> str:
    """Words in lines as broad as the figure."""
    return textwrap.fill(words, int(14 * figure.get_figwidth()))


def log_scale(*axes: Axes, which: str = "y") -> None:
    """Logarithmic axes with plain numbers, the more of them the fewer decades they span."""
    for one in axes:
        one.set(**{f"{which}scale": "log"})
        axis = one.xaxis if which == "x" else one.yaxis
        low, high = axis.get_view_interval()
        decades = math.log10(high / low)
        subs = (
            (1.0,) if decades > 2.5 else (1.0, 3.0) if decades > 1.5
            else (1.0, 2.0, 3.0, 5.0) if decades > 0.8 else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)
        )  # fmt: skip
        axis.set_major_locator(LogLocator(subs=subs, numticks=20))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())


def whole_numbers(axis: Axis) -> None:
    """Ticks at whole numbers only."""
    axis.set_major_locator(MaxNLocator(6, integer=True))


def reference(
    axes: Axes, value: float, label: str = "", horizontal: bool = True, dashes: Any = (4, 2)
) -> None:
    """A thin grey line at `value`, a bound or a baseline, which the legend calls `label`."""
    draw = axes.axhline if horizontal else axes.axvline
    look: dict[str, Any] = {"linewidth": 0.8, "linestyle": (0, dashes), "color": palette.GREY}
    draw(value, zorder=1, label=label, **look)


def rings(axes: Axes, rows: pd.DataFrame, x: str, y: str, by: str, size: float = 4.5) -> None:
    """Open markers of the looks of the column `by`."""
    for name, part in rows.groupby(by):
        point = palette.look(by, name).point(filled=False)
        axes.plot(part[x], part[y], markersize=size, **point)


def numbers(axes: Axes, points: pd.DataFrame, colour: str, place: tuple[int, int]) -> None:
    """The index of `points`, columns x and y, beside them: `place` is to the right and upwards."""
    right, up = ("left" if place[0] > 0 else "right"), ("bottom" if place[1] > 0 else "top")
    for number, x, y in points.itertuples():
        axes.annotate(
            f"{number:g}", (x, y), xytext=place, textcoords="offset points", ha=right, va=up,
            fontsize=7, color=colour,
        )  # fmt: skip


def required(rows: pd.DataFrame, what: str) -> pd.DataFrame:
    """The chosen rows; ValueError says what they are where there are none."""
    if rows.empty:
        raise ValueError(f"must have rows with {what}, got none")
    return rows


def paper_points(axes: Axes, printed: pd.DataFrame, x: str, by: str) -> None:
    """What the paper prints: hollow octagons over `x`, in the colours of the lines of `by`."""
    for name, part in printed.groupby(by):
        axes.plot(part[x], part["value"], color=palette.look(by, name).colour, **_PRINTED)
    if len(printed):
        axes.plot([], [], color=palette.GREY, label="paper", **_PRINTED)


def filled_and_open(filled: str, hollow: str) -> list[Artist]:
    """Legend entries of what filled and open markers mean, whatever their colour."""
    grey = palette.Look("", palette.GREY, "o", "", ())
    return [
        Line2D([], [], label=label, **grey.point(filled=full))
        for label, full in ((filled, True), (hollow, False))
    ]
