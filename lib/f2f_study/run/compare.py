"""Compare two runs: `python -m f2f_study.run.compare RUN [REFERENCE]`.

Every `summary.csv` of the run is held against the one of the reference (`runs/reference`, or any
other run), those of the runs below (`dlmc`, `file`) included. A quantity differs when the two
values are further apart than the tolerance that the reference states; a quantity without tolerance
(a time) is not judged. Every other CSV file must be there with the same columns. Notebooks that
only one of them has executed are named but are no difference; one that was executed alike and left
no results is.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from f2f.base.console import accept_any_text
from f2f_study import provenance, results

OVERVIEW = "07_overview"  # compares, and so has nothing to be compared


def quantities(run: Path, reference: Path) -> pd.DataFrame:
    """Every quantity of a run beside the same one of the reference.

    Columns `notebook`, `quantity`; `value` in `unit` and `reference` in `reference_unit`, missing
    where one of them lacks the quantity; `tolerance` as the reference states it, NaN: not judged;
    `deviation`, (value - reference) / tolerance; `agrees`, whether the value is accepted. A
    quantity that the reference lacks agrees, one that the run lacks does not.
    """
    keys, names = ["notebook", "quantity"], _notebooks(run)
    ours, theirs = (
        rows[rows["notebook"].isin(names)].set_index(keys)
        for rows in (results.summaries(run), results.summaries(reference))
    )
    theirs = theirs.rename(columns={"value": "reference", "unit": "reference_unit"})
    both = pd.concat([ours[["value", "unit"]], theirs], axis=1).reset_index()
    both = both.sort_values(
        "notebook", kind="stable", ignore_index=True, key=lambda column: column.map(names.index)
    )
    distance = both["value"] - both["reference"]
    same_unit = (both["unit"] == both["reference_unit"]) | both["reference_unit"].isna()
    return both.assign(
        deviation=(distance / both["tolerance"]).mask(distance == 0, 0.0),
        agrees=within(both["reference"], both["value"], both["tolerance"]) & same_unit,
    )


def _notebooks(run: Path) -> list[str]:
    """Names of the notebooks of a run that are compared."""
    return [name for name in results.notebooks(run) if name != OVERVIEW]


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
    names = _notebooks(run)
    shared = [name for name in _notebooks(reference) if name in names]
    if not shared:
        raise ValueError(f"run must share a notebook with {reference}, got {names}")
    ours, theirs = _facts(run), _facts(reference)
    rows = [
        (name, "results", "files", "absent")
        for name in _notebooks(reference)
        if name not in names
        for stem, facts in theirs.items()
        if name.startswith(stem) and stem in ours
        if ours[stem].get("parameters") == facts.get("parameters")
    ]
    for path in (path for name in shared for path in sorted((reference / name).glob("*.csv"))):
        place = path.relative_to(reference)
        other, notebook = run / place, place.parent.as_posix()
        if not other.exists():
            rows.append((notebook, path.name, "file", "absent"))
            continue
        wanted, found = (", ".join(results.read_csv(p).columns) for p in (path, other))
        if wanted != found:
            rows.append((notebook, f"columns of {path.name}", wanted, found))
    beside = quantities(run, reference)
    for row in beside[~beside["agrees"]].itertuples():
        wanted = results.shown(row.reference, row.reference_unit, row.tolerance)
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
    """Where profile, parameters, hardware or versions differ, and which notebooks only one has."""
    where = defaultdict(list)
    ours, theirs = _facts(run), _facts(reference)
    for name in sorted(ours.keys() & theirs.keys()):
        for key in ("profile", "parameters", "hardware", "versions"):
            here, there = ours[name].get(key), theirs[name].get(key)
            if isinstance(here, dict) and isinstance(there, dict):
                changed = [k for k in sorted(here | there) if here.get(k) != there.get(k)]
                here, there = (
                    ", ".join(f"{k}={facts.get(k)}" for k in changed) for facts in (here, there)
                )
            if here != there:
                where[f"{key}: {here} (reference: {there})"].append(name)
    lines = [f"{difference} in {', '.join(names)}" for difference, names in where.items()]
    here, there = _notebooks(run), _notebooks(reference)
    for words, names, others in (
        ("not in this run", there, here),
        ("not in the reference", here, there),
    ):
        absent = [name for name in names if name not in others]
        lines += [f"{words}: {', '.join(absent)}"] if absent else []
    return lines


def _facts(run: Path) -> dict[str, Any]:
    """The provenance of every notebook of a run and of the runs below it, by name."""
    facts = dict(provenance.read(run)["notebooks"])
    for path in sorted(run.glob("*/provenance.json")):
        below = provenance.read(path.parent)["notebooks"]
        facts |= {f"{path.parent.name}/{stem}": entry for stem, entry in below.items()}
    return facts


def counted(rows: int) -> str:
    """The number of differences, in words."""
    return f"{rows} difference{'' if rows == 1 else 's'} beyond tolerance" if rows else "agrees"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns 0 if the run agrees, 1 if it differs, 2 on a wrong argument."""
    accept_any_text()
    parser = argparse.ArgumentParser(prog="python -m f2f_study.run.compare", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("reference", type=Path, nargs="?", default=Path("runs/reference"))
    given = parser.parse_args(arguments)
    root = results.repository_root()
    run, reference = root / given.run, root / given.reference
    try:
        found = differences(run, reference)
        lines = conditions(run, reference)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for row in found.itertuples():
        lines.append(f"{row.notebook}: {row.what}")
        lines += [f"    reference {row.reference}", f"    this run  {row.found}"]
    print("\n".join([*lines, counted(len(found))]))
    return 1 if len(found) else 0


if __name__ == "__main__":
    sys.exit(main())
