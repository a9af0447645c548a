"""What notebook 07 shows of a run: every CSV file and every figure on one page."""

from __future__ import annotations

import io
import math
from pathlib import Path

import pandas as pd
from PIL import Image

from f2f_study import results


def files(run: Path) -> pd.DataFrame:
    """Every CSV file of a run: `file` (notebook/name), its `rows` and `columns`."""
    frames = {path: results.read_csv(path) for path in sorted(run.glob("*/*.csv"))}
    rows = [(f"{path.parent.name}/{path.name}", *frame.shape) for path, frame in frames.items()]
    return pd.DataFrame(rows, columns=["file", "rows", "columns"])


def figures(run: Path) -> dict[str, bytes]:
    """Every figure of a run: its name (notebook/name) and it as a small PNG."""
    return {f"{p.parent.name}/{p.stem}": _thumbnail(p) for p in sorted(run.glob("*/*.png"))}


def summary(quantities: pd.DataFrame) -> list[results.Quantity]:
    """How many rows of `f2f_study.run.compare.quantities`, how many judged, how many beyond."""
    counted = {
        "quantities": len(quantities),
        "quantities judged": quantities["tolerance"].notna().sum(),
        "quantities beyond tolerance": (~quantities["agrees"]).sum(),
    }
    return [results.Quantity(name, float(n), "1", math.nan) for name, n in counted.items()]


def _thumbnail(path: Path, width: int = 640) -> bytes:
    """A picture as a PNG of `width` pixels and 64 colours, for a page of many figures."""
    with Image.open(path) as image:
        size = (width, round(image.height * width / image.width))
        small = image.convert("RGB").resize(size, Image.Resampling.LANCZOS).quantize(64)
    buffer = io.BytesIO()
    small.save(buffer, "png", optimize=True)
    return buffer.getvalue()
