"""Compare a run with the reference run: `python -m f2f_study.run.compare runs/RUN`.

Every `summary.csv` of the run is held against the one of the reference. A quantity differs when
the two values are further apart than the tolerance that the reference states; a quantity without
tolerance (a time) is not judged. Every other CSV file must be there with the same columns.
Notebooks that the run did not execute are named but are no difference.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from f2f_study import results


@dataclass(frozen=True)
class Difference:
    """One difference of a run from the reference, in words.

    notebook, what: where. reference, found: the two values as text, empty if absent.
    """

    notebook: str
    what: str
    reference: str
    found: str


def compare(run: Path, reference: Path) -> list[Difference]:
    """What of `run` differs from `reference` beyond the stated tolerances; empty if nothing does.

    Raises `ValueError` if one of them is not a run folder, or if they share no notebook.
    """
    for name, folder in (("run", run), ("reference", reference)):
        if not folder.is_dir():
            raise ValueError(f"{name} must be the folder of a run, got {str(folder)!r}")
    shared = [stem for stem in notebooks(reference) if stem in notebooks(run)]
    if not shared:
        raise ValueError(f"run must share a notebook with {reference}, got {notebooks(run)}")
    differences = []
    for stem in shared:
        differences += _compare_files(stem, run / stem, reference / stem)
        if (reference / stem / "summary.csv").exists() and (run / stem / "summary.csv").exists():
            differences += _compare_summaries(stem, run / stem, reference / stem)
    return differences


def notebooks(run: Path) -> list[str]:
    """Names of the notebooks (they begin with a number) that have CSV files in a run."""
    return sorted({path.parent.name for path in run.glob("[0-9]*/*.csv")})


def _compare_files(stem: str, run: Path, reference: Path) -> list[Difference]:
    differences = []
    for path in sorted(reference.glob("*.csv")):
        other = run / path.name
        if not other.exists():
            differences.append(Difference(stem, path.name, "file", "absent"))
            continue
        wanted, found = (list(results.read_csv(p).columns) for p in (path, other))
        if wanted != found:
            differences.append(
                Difference(stem, f"columns of {path.name}", ", ".join(wanted), ", ".join(found))
            )
    return differences


def _compare_summaries(stem: str, run: Path, reference: Path) -> list[Difference]:
    wanted, found = (
        {
            row.quantity: row
            for row in results.read_csv(p / "summary.csv", results.Quantity).itertuples()
        }
        for p in (reference, run)
    )
    differences = []
    for quantity, row in wanted.items():
        text = f"{row.value:.6g} ± {row.tolerance:.3g} {row.unit}"
        other = found.get(quantity)
        if other is None:
            differences.append(Difference(stem, quantity, text, "absent"))
        elif other.unit != row.unit or not within(row.value, other.value, row.tolerance):
            differences.append(Difference(stem, quantity, text, f"{other.value:.6g} {other.unit}"))
    return differences


def within(reference: float, value: float, tolerance: float) -> bool:
    """Whether two values agree; without a tolerance (NaN) any two do, and NaN agrees with NaN.

    >>> within(99.46, 99.43, 0.05), within(99.46, 99.40, 0.05)
    (True, False)
    """
    if math.isnan(tolerance) or (math.isnan(reference) and math.isnan(value)):
        return True
    # The last binary digits of the two numbers are no difference.
    slack = 1e-9 * max(1.0, abs(reference))
    return abs(reference - value) <= tolerance + slack


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns 0 if the run agrees, 1 if it differs, 2 on a wrong argument."""
    parser = argparse.ArgumentParser(prog="python -m f2f_study.run.compare", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("--reference", type=Path, default=Path("runs/reference"))
    given = parser.parse_args(arguments)
    root = results.repository_root()
    run, reference = root / given.run, root / given.reference
    try:
        differences = compare(run, reference)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    _print_conditions(run, reference)
    absent = [stem for stem in notebooks(reference) if stem not in notebooks(run)]
    if absent:
        print(f"not in this run: {', '.join(absent)}")
    for d in differences:
        print(f"{d.notebook}: {d.what}\n    reference {d.reference}\n    this run  {d.found}")
    count = len(differences)
    print(f"{count} difference{'' if count == 1 else 's'} beyond tolerance" if count else "agrees")
    return 1 if differences else 0


def _print_conditions(run: Path, reference: Path) -> None:
    """Say where profile, parameters or hardware differ: the first reason of a difference."""
    facts = []
    for folder in (run, reference):
        path = folder / "provenance.json"
        facts.append(json.loads(path.read_text())["notebooks"] if path.exists() else {})
    for stem in facts[0].keys() & facts[1].keys():
        for key in ("profile", "parameters", "hardware", "versions"):
            ours, theirs = facts[0][stem].get(key), facts[1][stem].get(key)
            if isinstance(ours, dict) and isinstance(theirs, dict):
                changed = sorted(
                    k for k in ours.keys() | theirs.keys() if ours.get(k) != theirs.get(k)
                )
                ours = ", ".join(f"{k}={ours.get(k)}" for k in changed)
                theirs = ", ".join(f"{k}={theirs.get(k)}" for k in changed)
            if ours != theirs:
                print(f"{stem}: {key} differ: {ours} (reference: {theirs})")


if __name__ == "__main__":
    sys.exit(main())
