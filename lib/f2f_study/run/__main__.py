"""Run the notebooks.

    python -m f2f_study.run                               all notebooks, default profile
    python -m f2f_study.run --notebook 02 --set seed=1    one of them, one parameter changed
    python -m f2f_study.run --set 'sparsities=[0.7, 0.9]' --notebook 04     a list
    python -m f2f_study.run --profile paper --jobs 2      sizes of a publication, 2 at a time
    python -m f2f_study.run --grid grid.yaml --jobs 2     every combination of parameters
    python -m f2f_study.run --figures-only runs/RUN       draw the figures again from CSV

A run is written to `runs/<run-id>.partial-…` and gets its name when every notebook has passed. With
`--run-dir` of a run that exists, the notebooks that were run replace theirs in it.

Grids of parameters are described in `f2f_study.run.grid`.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from f2f.base.console import accept_any_text
from f2f_study import provenance, results
from f2f_study.run import grid, launch
from f2f_study.run.folders import shown
from f2f_study.run.parameters import PROFILES, Job, find_notebooks, missing_for


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    accept_any_text()
    given = _arguments().parse_args(arguments)
    root = results.repository_root()
    target = root / (given.run_dir or "runs")
    try:
        if given.jobs < 1:
            raise ValueError(f"--jobs must be at least 1, got {given.jobs}")
        if given.figures_only:
            _redraw(root / given.figures_only)
            return 0
        changes = _changes(given.set)
        if given.grid:
            target = target if given.run_dir else target / given.grid.stem
            return grid.run_grid(
                given.grid, target, given.notebook, given.profile, changes, given.jobs
            )
        profile = given.profile or "default"
        target = target if given.run_dir else target / _new_run_id(profile)
        paths = _runnable(find_notebooks(given.notebook))
        jobs = [Job.of(path, profile, changes) for path in paths]
        print(f"{len(jobs)} notebooks, profile {profile}, into {shown(target)}", flush=True)
        launch.run(jobs, target, given.jobs)
    except launch.NotebookError as error:
        print(f"\nStopped. {error}", file=sys.stderr)
        print(f"The executed notebook is in {shown(target)}.failed", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        kept = "finished cells are kept" if given.grid else "nothing was added to the run"
        print(f"\nInterrupted; {kept}", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"\n{_closing_table(target)}\n\nEverything is in {shown(target)}")
    return 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m f2f_study.run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--notebook", nargs="+", action="extend", default=[], metavar="NN", help="run only these")
    add("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="as YAML")
    add("--profile", choices=PROFILES, help="set of parameters (default: default)")
    add("--jobs", type=int, default=1, metavar="N", help="notebooks or grid cells at a time")
    add("--grid", type=Path, metavar="YAML", help="run every combination of parameters")
    add(
        "--run-dir", type=Path, metavar="DIR", help="where to (default: runs/<time-profile-commit>)"
    )
    add("--figures-only", type=Path, metavar="RUN", help="only draw the figures of a run again")
    return parser


def _changes(settings: Sequence[str]) -> dict[str, Any]:
    for setting in settings:
        if "=" not in setting:
            raise ValueError(f"--set must be NAME=VALUE, got {setting!r}")
    return dict(setting.split("=", 1) for setting in settings)


def _runnable(paths: Sequence[Path]) -> list[Path]:
    """The notebooks whose packages are installed; a line says which are left out, and why."""
    missing = {path: missing_for(path) for path in paths}
    runnable = [path for path in paths if not missing[path]]
    lines = [line for line in missing.values() if line]
    if not runnable:
        raise ValueError("; ".join(lines))
    for line in lines:
        print(line, flush=True)
    return runnable


def _new_run_id(profile: str) -> str:
    """Time, profile and commit: `20260131-093000-default-1a2b3c4`."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{profile}-{provenance.commit()[:7]}"


def _redraw(target: Path) -> None:
    """Draw the figures of a run again from its CSV files, without running anything."""
    from f2f_study.figures import redraw  # a second of imports that only this needs

    if not target.is_dir():
        raise ValueError(f"--figures-only must be the folder of a run, got {str(target)!r}")
    for path in redraw(target):
        print(path)


def _closing_table(target: Path) -> str:
    """The quantities of every notebook of a run, as text."""
    rows = results.summaries(target).itertuples()
    lines = []
    for notebook, group in itertools.groupby(rows, lambda row: row.notebook):
        lines.append(notebook)
        lines += [f"  {r.quantity:60s} {results.shown(r.value, r.unit):>12s}" for r in group]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
