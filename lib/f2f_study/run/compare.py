"""Compare a run with the reference run: `python -m f2f_study.run.compare runs/RUN`.

Every `summary.csv` of the run is held against the one of the reference. A quantity differs when
the two values are further apart than the tolerance that the reference states; a quantity without
tolerance (a time) is not judged. Every other CSV file must be there with the same columns.
Notebooks that the run did not execute are named but are no difference.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from f2f.base.console import accept_any_text
from f2f_study import provenance, results


def notebooks(run: Path) -> list[str]:
    """Names of the notebooks (they begin with a number) that have CSV files in a run."""
    return sorted({path.parent.name for path in run.glob("[0-9]*/*.csv")})


def quantities(run: Path, reference: Path) -> pd.DataFrame:
    """Every quantity of a run beside the same one of the reference.

    Parameters
    ----------
    run, reference : Path
        Folders of two runs.

    Returns
    -------
    DataFrame
        Columns `notebook`, `quantity`; `value` and `reference`, both in `unit`, NaN where one of
        them lacks the quantity; `tolerance` as the reference states it, NaN: not judged;
        `deviation`, (value - reference) / tolerance; `agrees`, whether the value is accepted. A
        quantity that the reference lacks agrees, one that the run lacks does not.
    """
    both = _beside(run, reference)
    distance = both["value"] - both["value_there"]
    return both[["notebook", "quantity"]].assign(
        value=both["value"],
        reference=both["value_there"],
        unit=both["unit"].fillna(both["unit_there"]),
        tolerance=both["tolerance_there"],
        deviation=(distance / both["tolerance_there"]).mask(distance == 0, 0.0),
        agrees=both["agrees"],
    )


def _beside(run: Path, reference: Path) -> pd.DataFrame:
    """The summaries of both, `_there` behind the columns of the reference, and `agrees`."""
    keys = ["notebook", "quantity"]
    ours, theirs = (results.summaries(folder).set_index(keys) for folder in (run, reference))
    theirs = theirs[theirs.index.get_level_values("notebook").isin(notebooks(run))]
    both = pd.concat([ours, theirs.add_suffix("_there")], axis=1).reset_index()
    both = both.sort_values("notebook", kind="stable", ignore_index=True)
    near = within(both["value_there"], both["value"], both["tolerance_there"])
    same_unit = (both["unit"] == both["unit_there"]) | both["unit_there"].isna()
    return both.assign(agrees=near & same_unit)


def differences(run: Path, reference: Path) -> pd.DataFrame:
    """What of `run` differs from `reference` beyond the stated tolerances.

    Returns
    -------
    DataFrame
        One row per difference, in words: `notebook`; `what`, a quantity, a file or its columns;
        `reference` and `found`, the two values as text.

    Raises
    ------
    ValueError
        One of them is not a run folder, or they share no notebook.
    """
    for name, folder in (("run", run), ("reference", reference)):
        if not folder.is_dir():
            raise ValueError(f"{name} must be the folder of a run, got {str(folder)!r}")
    shared = [stem for stem in notebooks(reference) if stem in notebooks(run)]
    if not shared:
        raise ValueError(f"run must share a notebook with {reference}, got {notebooks(run)}")
    rows = []
    for path in sorted(path for stem in shared for path in (reference / stem).glob("*.csv")):
        other = run / path.parent.name / path.name
        if not other.exists():
            rows.append((path.parent.name, path.name, "file", "absent"))
            continue
        wanted, found = (", ".join(results.read_csv(p).columns) for p in (path, other))
        if wanted != found:
            rows.append((path.parent.name, f"columns of {path.name}", wanted, found))
    beside = _beside(run, reference)
    for row in beside[~beside["agrees"]].itertuples():
        wanted = results.shown(row.value_there, row.unit_there, row.tolerance_there)
        found = "absent" if pd.isna(row.unit) else results.shown(row.value, row.unit)
        rows.append((row.notebook, row.quantity, wanted, found))
    return pd.DataFrame(rows, columns=["notebook", "what", "reference", "found"])


def within(reference: Any, value: Any, tolerance: Any) -> Any:
    """Whether values agree; without a tolerance (NaN) any two do, and NaN agrees with NaN.

    >>> within(99.46, 99.43, 0.05), within(99.46, 99.40, 0.05)
    (np.True_, np.False_)
    """
    # The last binary digits of the two numbers are no difference.
    slack = 1e-9 * np.maximum(1.0, np.abs(reference))
    near = np.abs(reference - value) <= tolerance + slack
    return np.isnan(tolerance) | (np.isnan(reference) & np.isnan(value)) | near


def conditions(run: Path, reference: Path) -> list[str]:
    """Where profile, parameters, hardware or versions differ: the first reason of a difference."""
    lines = []
    ours, theirs = (provenance.read(folder)["notebooks"] for folder in (run, reference))
    for stem in sorted(ours.keys() & theirs.keys()):
        for key in ("profile", "parameters", "hardware", "versions"):
            here, there = ours[stem].get(key), theirs[stem].get(key)
            if isinstance(here, dict) and isinstance(there, dict):
                changed = [k for k in sorted(here | there) if here.get(k) != there.get(k)]
                here, there = (
                    ", ".join(f"{k}={facts.get(k)}" for k in changed) for facts in (here, there)
                )
            if here != there:
                lines.append(f"{stem}: {key} differ: {here} (reference: {there})")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns 0 if the run agrees, 1 if it differs, 2 on a wrong argument."""
    accept_any_text()
    parser = argparse.ArgumentParser(prog="python -m f2f_study.run.compare", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("--reference", type=Path, default=Path("runs/reference"))
    given = parser.parse_args(arguments)
    root = results.repository_root()
    run, reference = root / given.run, root / given.reference
    try:
        found = differences(run, reference)
        lines = conditions(run, reference)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    absent = [stem for stem in notebooks(reference) if stem not in notebooks(run)]
    if absent:
        lines.append(f"not in this run: {', '.join(absent)}")
    for row in found.itertuples():
        lines.append(f"{row.notebook}: {row.what}")
        lines += [f"    reference {row.reference}", f"    this run  {row.found}"]
    count = len(found)
    lines.append(
        f"{count} difference{'' if count == 1 else 's'} beyond tolerance" if count else "agrees"
    )
    print("\n".join(lines))
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
