"""What notebook 07 shows of a run: a verdict, and the way to the executed notebooks."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pandas as pd

from f2f_study import results
from f2f_study.run import compare


def verdict(quantities: pd.DataFrame, differences: pd.DataFrame, reference: str) -> str:
    """One line of Markdown: how many quantities were judged, and how many differences there are.

    Both are tables of `f2f_study.run.compare`; `reference` names the run that they are compared
    with, "" if there is none.
    """
    if not reference:
        return f"**Compared with nothing**: there is no run before it; {len(quantities)} quantities"
    judged = quantities["tolerance"].notna().sum()
    words = compare.counted(len(differences))
    return f"**{words}** ({reference}): {judged} of {len(quantities)} quantities judged"


def links(run: Path, folder: Path) -> str:
    """One line of Markdown: links to the executed notebooks of a run, as far as they are there.

    `folder` is where the executed overview lies; opened by hand, it lies in the working folder.
    """
    by_hand = Path.cwd() / f"{compare.OVERVIEW}.ipynb"
    start = by_hand.parent if by_hand.exists() else folder
    return " · ".join(
        f"[{path.relative_to(run).with_suffix('')}]({os.path.relpath(path, start)})"
        for path in [*sorted(run.glob("[0-9]*.ipynb")), *sorted(run.glob("*/[0-9]*.ipynb"))]
        if path.stem != compare.OVERVIEW
    )


def summary(quantities: pd.DataFrame, differences: pd.DataFrame) -> list[results.Quantity]:
    """How many quantities there are, how many were judged, how many differences were found."""
    numbers = {
        "quantities": len(quantities),
        "quantities judged": quantities["tolerance"].notna().sum(),
        "differences beyond tolerance": len(differences),
    }
    return [results.Quantity(name, float(n), "1", math.nan) for name, n in numbers.items()]
