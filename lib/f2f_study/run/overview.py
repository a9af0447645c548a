"""One page for a whole run: every CSV file, every figure, and every quantity beside the reference.

Notebook 07 shows it; `page` is the same as Markdown.
"""

from __future__ import annotations

import io
import math
import os
from dataclasses import dataclass
from pathlib import Path

from f2f_study import results
from f2f_study.run.compare import notebooks, within


@dataclass(frozen=True)
class File:
    """A CSV file of a run: how many rows, and the figures beside it.

    notebook, file: where. rows: measurements in it. columns: their number.
    """

    notebook: str
    file: str
    rows: int
    columns: int


@dataclass(frozen=True)
class Beside:
    """A quantity of a run beside the same one of the reference.

    value, reference: both in `unit`, the reference NaN if it has none. tolerance: as the reference
    states it (NaN: not judged). deviation: (value - reference) / tolerance; within -1…1 agrees.
    agrees: whether `f2f_study.run.compare` accepts the value.
    """

    notebook: str
    quantity: str
    value: float
    reference: float
    unit: str
    tolerance: float
    deviation: float
    agrees: bool


def files(run: Path) -> list[File]:
    """Every CSV file of a run."""
    rows = []
    for path in sorted(run.glob("*/*.csv")):
        frame = results.read_csv(path)
        rows.append(File(path.parent.name, path.name, len(frame), len(frame.columns)))
    return rows


def beside(run: Path, reference: Path) -> list[Beside]:
    """Every quantity of a run beside the reference's, in the order of the run."""
    rows = []
    for stem in notebooks(run):
        there = _summary(reference / stem)
        for name, ours in _summary(run / stem).items():
            theirs = there.get(name)
            value = theirs.value if theirs else math.nan
            tolerance = theirs.tolerance if theirs else math.nan
            distance = ours.value - value
            deviation = 0.0 if distance == 0 else distance / tolerance if tolerance else math.inf
            agrees = theirs is None or within(value, ours.value, tolerance)
            rows.append(
                Beside(stem, name, ours.value, value, ours.unit, tolerance, deviation, agrees)
            )
    return rows


def _summary(folder: Path) -> dict[str, results.Quantity]:
    path = folder / "summary.csv"
    if not path.exists():
        return {}
    frame = results.read_csv(path, results.Quantity)
    return {row.quantity: results.Quantity(*row) for row in frame.itertuples(index=False)}


def figure_files(run: Path) -> list[Path]:
    """The PNG figures of a run."""
    return sorted(run.glob("*/*.png"))


def thumbnail(path: Path, width: int = 640) -> bytes:
    """A figure as a small PNG of `width` pixels and 64 colours, for a page of many figures."""
    from PIL import Image

    with Image.open(path) as image:
        size = (width, round(image.height * width / image.width))
        small = image.convert("RGB").resize(size, Image.Resampling.LANCZOS).quantize(64)
    buffer = io.BytesIO()
    small.save(buffer, "png", optimize=True)
    return buffer.getvalue()


def page(run: Path, reference: Path, start: Path) -> str:
    """The overview of a run as Markdown for a file in the folder `start`, where its links begin."""
    lines = [f"# Run {run.name}", "", "## Results", ""]
    lines += ["| notebook | quantity | this run | reference | accepted |", "|---|---|--:|--:|---|"]
    for row in beside(run, reference):
        accepted = "not judged" if math.isnan(row.tolerance) else f"± {row.tolerance:.3g}"
        mark = accepted if row.agrees else f"**{accepted}: beyond**"
        value = f"{row.value:.6g} {results.shown_unit(row.unit)}".strip()
        cells = (row.notebook[:2], row.quantity, value, f"{row.reference:.6g}", mark)
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "## Data", "", "| file | rows | columns |", "|---|--:|--:|"]
    for file in files(run):
        name = f"{file.notebook}/{file.file}"
        link = os.path.relpath(run / name, start)
        lines.append(f"| [{name}]({link}) | {file.rows} | {file.columns} |")
    lines += ["", "## Figures"]
    for path in figure_files(run):
        png = Path(os.path.relpath(path, start))
        lines += ["", f"### {path.parent.name}: {png.stem}", ""]
        lines += [f"[![{png.stem}]({png})]({png.with_suffix('.svg')})"]
    return "\n".join(lines) + "\n"
