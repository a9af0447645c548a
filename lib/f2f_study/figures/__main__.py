"""One figure of a run for print: `python -m f2f_study.figures RUN --figure NAME --format pdf`.

Of two runs, what the second shows is laid over the first: lines dotted, points and bars open.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from f2f_study import figures
from f2f_study.figures import style


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns 0, or 2 after a line that says what is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m f2f_study.figures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, nargs="+", metavar="RUN", help="one run, or two")
    parser.add_argument("--figure", required=True, metavar="NAME", help="such as synthetic_rate")
    parser.add_argument("--format", choices=("pdf", "png", "svg"), default="pdf")
    parser.add_argument("--width", type=float, help="inches; 3.3 is a column, 6.9 a page")
    parser.add_argument("--out", type=Path, help="folder; without it beside the CSV of the run")
    given = parser.parse_args(arguments)
    try:
        for path in draw(given.run, given.figure, given.format, given.width, given.out):
            print(path)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def draw(
    runs: Sequence[Path], name: str, suffix: str, width: float | None, out: Path | None
) -> list[Path]:
    """Draw a figure of every CSV file that it is made of; returns the files.

    `ValueError` if no figure has this name, a run has nothing of it, or there are over two runs.
    """
    known = {one.__name__: (csv, one) for csv, all in figures.REGISTER.items() for one in all}
    if name not in known:
        raise ValueError(f"--figure must be one of {', '.join(sorted(known))}, got {name!r}")
    if len(runs) > 2:
        raise ValueError(f"RUN must be one run or two, got {len(runs)}")
    csv, figure = known[name]
    if width is not None and not 1 <= width <= 20:
        raise ValueError(f"--width must be 1 to 20 inches, got {width:g}")
    options: dict[str, Any] = {} if width is None else {"width": width}
    found = sorted(runs[0].rglob(csv))
    if not found:
        raise ValueError(f"{runs[0]} must be a run with {csv}, found none")
    names = [run.resolve().name for run in runs]
    title = "_and_".join([name, *names[1:]])
    written = []
    for path in found:
        below = path.parent.relative_to(runs[0])
        several = below.parts if len(found) > 1 else ()
        stem = out / "_".join([*several, title]) if out else path.with_name(title)
        one = figure(path, stem, formats=() if len(runs) == 2 else (suffix,), **options)
        if len(runs) == 2:
            if not (runs[1] / below / csv).is_file():
                raise ValueError(f"{runs[1]} must be a run with {below / csv}, found none")
            other = figure(runs[1] / below / csv, stem, formats=(), **options)
            with plt.style.context(style.THEME, after_reset=True):
                style.save(overlay(one, other, names), stem, (suffix,))
        written.append(stem.with_name(f"{stem.name}.{suffix}"))
    return written


def overlay(first: Figure, second: Figure, names: Sequence[str]) -> Figure:
    """The first figure with the lines, points and bars of the second; panels must be the same."""
    if len(first.axes) != len(second.axes):
        raise ValueError(f"runs must have the same panels, {len(first.axes)}, {len(second.axes)}")
    for axes, other in zip(first.axes, second.axes, strict=True):
        for line in other.lines:
            if line.get_transform() != other.transData:  # a bound or the like
                continue
            drawn: dict[str, Any] = {"color": line.get_color(), "marker": line.get_marker()}
            dotted = ":" if line.get_linestyle() != "None" else "None"
            axes.plot(
                *line.get_data(), **drawn, linestyle=dotted, markersize=3, markerfacecolor="none"
            )
        for points in other.collections:
            if isinstance(points, PathCollection):
                x, y = np.asarray(points.get_offsets()).reshape(-1, 2).T
                edge = points.get_facecolor()
                axes.scatter(x, y, s=24, facecolors="none", edgecolors=edge, linewidths=0.6)
        for bar in (patch for patch in other.patches if isinstance(patch, Rectangle)):
            place = bar.get_xy(), bar.get_width(), bar.get_height()
            axes.add_patch(Rectangle(*place, fill=False, linestyle=":", linewidth=0.8))
    runs = style.wrapped(f"{names[0]}; dotted, open: {names[1]}", first)
    first.suptitle("\n".join(filter(None, [first.get_suptitle(), runs])))
    return first


if __name__ == "__main__":
    sys.exit(main())
