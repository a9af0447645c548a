"""Many runs of one notebook over a grid of parameters, resumed where they stopped.

A grid is a YAML file:

    notebook: 02_synthetic
    profile: tiny                  # optional, default "default"
    parameters:                    # every combination of these
      n_in: [4, 8]
      seed: [0, 1, 2]

Each combination is one run in its own folder, named by a hash of everything it depends on: the
notebook, the values of all its parameters and the source of the package. A folder appears under
its name only when the run has passed, so combinations that are there already are not run again,
and a change of code or parameters makes new ones. `grid.csv` gathers the summaries of all.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from f2f_study import results
from f2f_study.run import reproduce


def read_grid(path: Path) -> dict[str, Any]:
    """The grid file as a dictionary with `notebook`, `profile` and `parameters` (lists).

    Raises `ValueError` that names the file and the key that is missing, unknown or of another kind.
    """
    grid = yaml.safe_load(path.read_text())
    if not isinstance(grid, dict):
        raise ValueError(f"{path} must be a YAML mapping, got {type(grid).__name__}")
    unknown = set(grid) - {"notebook", "profile", "parameters"}
    if unknown:
        raise ValueError(
            f"keys of {path} must be notebook, profile, parameters, got {sorted(unknown)}"
        )
    parameters = grid.get("parameters")
    if not isinstance(parameters, dict) or not parameters:
        raise ValueError(f"parameters of {path} must map names to lists, got {parameters!r}")
    for name, values in parameters.items():
        if not isinstance(values, list) or not values:
            raise ValueError(f"{name} of {path} must be a list of values, got {values!r}")
    return grid


def combinations(parameters: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """Every combination of the listed values, the last name changing fastest.

    >>> combinations({"n_s": [0, 1], "seed": [7]})
    [{'n_s': 0, 'seed': 7}, {'n_s': 1, 'seed': 7}]
    """
    names = list(parameters)
    return [
        dict(zip(names, values, strict=True)) for values in itertools.product(*parameters.values())
    ]


def cell_name(job: reproduce.Job) -> str:
    """Hash (12 hex digits) of all inputs of a run: notebook, parameters, source of the package."""
    defaults = {k: v for k, (_, v) in reproduce.known_parameters(job.notebook).items()}
    values = defaults | job.parameters
    values.pop("run_dir", None)
    digest = hashlib.sha256(job.notebook.read_bytes())
    digest.update(json.dumps(values, sort_keys=True).encode())
    package = Path(__file__).parent
    for path in sorted(package.rglob("*")):
        if path.suffix in (".py", ".cu", ".h"):
            digest.update(str(path.relative_to(package)).encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def run_grid(
    path: Path,
    target: Path,
    notebook: Sequence[str] = (),
    profile: str | None = None,
    changes: dict[str, Any] | None = None,
    processes: int = 1,
) -> int:
    """Run the cells of the grid that `target` lacks; returns the exit status.

    `notebook` and `profile`, where given, win over the file; `changes` hold for every cell. A
    failing cell does not stop the others; it is tried again by the next call.
    """
    grid = read_grid(path)
    names = list(notebook) or [str(grid.get("notebook", ""))]
    found = reproduce.find_notebooks(names)
    if len(found) != 1 or not names[0]:
        raise ValueError(f"notebook of {path} must name one notebook, got {names}")
    profile = profile or str(grid.get("profile", "default"))
    cells: dict[str, dict[str, Any]] = {}
    open_cells = []
    for values in combinations(grid["parameters"]):
        job = reproduce.Job.of(found[0], profile, (changes or {}) | values)
        name = cell_name(job)
        if name not in cells and not (target / name).exists():
            open_cells.append((job, target / name, profile))
        cells[name] = values
    print(f"{len(cells)} cells, {len(cells) - len(open_cells)} finished, into {target}", flush=True)
    failed = 0
    for (_, folder, _), message in reproduce.in_processes(_run_cell, open_cells, processes):
        failed += bool(message)
        print(f"{folder.name} {cells[folder.name]} {message or 'passed'}", flush=True)
    _gather(target, {name: cells[name] for name in cells if (target / name).exists()})
    return 1 if failed else 0


def _run_cell(job: reproduce.Job, folder: Path, profile: str) -> str:
    """Run one cell; returns what went wrong, or nothing."""
    try:
        reproduce.run([job], folder, profile)
    except reproduce.NotebookError as error:
        return f"failed: {error}; see {folder}.failed"
    return ""


def _gather(target: Path, cells: dict[str, dict[str, Any]]) -> None:
    """Write `grid.csv`: the summaries of all finished cells, with their parameters in front."""
    parts = []
    for name, values in cells.items():
        for path in sorted((target / name).glob("*/summary.csv")):
            rows = results.read_csv(path, results.Quantity)
            for at, (key, value) in enumerate(({"cell": name} | values).items()):
                rows.insert(at, key, value)
            parts.append(rows)
    if parts:
        print(results.write_csv(target / "grid.csv", pd.concat(parts)))
