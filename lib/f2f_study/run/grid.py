"""Every combination of parameters of one notebook, resumed where it stopped.

A grid is a YAML file:

    notebook: 02_synthetic
    profile: tiny                  # optional, default "default"
    parameters:                    # every combination of these
      n_in: [4, 8]
      sparsities: [[0.7], [0.9]]   # this parameter is a list itself

For every parameter there is a list of the values it takes. Each combination is one run in its own
folder, named by the hash of everything it depends on (`Job.inputs`). A folder appears under its
name only when the run has passed, so combinations that are there already are not run again, and a
change of code or parameters makes new ones. `grid.csv` gathers the summaries of all.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from reprlib import repr as short  # a few bytes of YAML may stand for gigabytes
from typing import Any

import pandas as pd

from f2f_study import results
from f2f_study.run import launch
from f2f_study.run.parameters import Job, find_notebooks, read_yaml


def read_grid(path: Path) -> dict[str, Any]:
    """The grid file as a dictionary with `notebook`, `profile` and `parameters` (lists).

    Raises
    ------
    ValueError
        A key is missing, unknown or of another kind; the message names the file and it.
    """
    grid = read_yaml(path)
    if not isinstance(grid, dict):
        raise ValueError(f"{path} must be a YAML mapping, got {type(grid).__name__}")
    unknown = [key for key in grid if key not in ("notebook", "profile", "parameters")]
    if unknown:
        raise ValueError(f"keys of {path} must be notebook, profile, parameters, got {unknown}")
    for key in ("notebook", "profile"):
        if not isinstance(grid.setdefault(key, ""), str):
            raise ValueError(f"{key} of {path} must be text in quotes, got {short(grid[key])}")
    parameters = grid.get("parameters")
    if not isinstance(parameters, dict) or not parameters:
        raise ValueError(f"parameters of {path} must map names to lists, got {short(parameters)}")
    for name, values in parameters.items():
        if not isinstance(values, list) or not values:
            raise ValueError(f"{name} of {path} must be a list of values, got {short(values)}")
    return grid


def run_grid(
    path: Path,
    target: Path,
    notebook: Sequence[str] = (),
    profile: str | None = None,
    changes: Mapping[str, Any] | None = None,
    at_a_time: int = 1,
) -> int:
    """Run the cells of the grid that `target` lacks; returns the exit status.

    `notebook` and `profile`, where given, win over the file; `changes` hold for every cell. A
    failing cell does not stop the others; it is tried again by the next call.
    """
    grid = read_grid(path)
    names = list(notebook) or [grid["notebook"]]
    found = find_notebooks(names)
    if len(found) != 1 or not names[0]:
        raise ValueError(f"notebook of {path} must name one notebook, got {names}")
    if twice := sorted(set(changes or {}) & set(grid["parameters"])):
        raise ValueError(f"--set must leave what {path} varies, got {', '.join(twice)}")
    profile = profile or grid["profile"] or "default"
    cells: dict[str, dict[str, Any]] = {}
    waiting = {}
    for combination in itertools.product(*grid["parameters"].values()):
        values = dict(zip(grid["parameters"], combination, strict=True))
        job = Job.of(found[0], profile, {**(changes or {}), **values})
        name = job.inputs()
        cells[name] = values
        if not (target / name).exists():
            waiting[name] = (job, target / name)
    print(f"{len(cells)} cells, {len(cells) - len(waiting)} finished, into {target}", flush=True)
    failed = 0
    finished = launch.concurrently(_run_cell, list(waiting.values()), at_a_time)
    for (_, folder), message in finished:
        failed += bool(message)
        print(f"{folder.name} {cells[folder.name]} {message or 'passed'}", flush=True)
    _gather(target, {name: cells[name] for name in cells if (target / name).exists()})
    return 1 if failed else 0


def _run_cell(job: Job, folder: Path) -> str:
    """Run one cell; returns what went wrong, or nothing."""
    try:
        launch.run([job], folder)
    except launch.NotebookError as error:
        return f"failed: {error}; see {folder}.failed"
    return ""


def _gather(target: Path, cells: Mapping[str, Mapping[str, Any]]) -> None:
    """Write `grid.csv`: the summaries of all finished cells, with their parameters in front."""
    parts = []
    for name, values in cells.items():
        rows = results.summaries(target / name).drop(columns="notebook")
        shown = {k: str(v) if isinstance(v, list) else v for k, v in values.items()}
        parts.append(pd.DataFrame({"cell": name} | shown, index=rows.index).join(rows))
    if parts:
        print(results.write_csv(target / "grid.csv", pd.concat(parts)))
