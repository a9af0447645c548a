"""Everything under `runs/reference/`, from nothing: `python -m f2f_study.run.reference`.

The reference is a run of all notebooks at the profile "default", and in a folder below it one run
for every profile that reads what cannot be committed (`PARTS`). What is not in the data folder
(`F2F_DATA`, else `data/raw`) is left out, and a line says how to get it; the rest is made.

A notebook that was run by this very code with these settings is kept (`grid.cell_name`, recorded as
`inputs` in provenance.json), so that a stopped call goes on where it was. Notebooks run one after
another, for they measure times.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from f2f.base.console import accept_any_text
from f2f_study import provenance, results
from f2f_study.run import launch
from f2f_study.run.folders import shown
from f2f_study.run.grid import cell_name
from f2f_study.run.parameters import (
    Job,
    find_notebooks,
    missing_for,
    notebook_folder,
    read_yaml,
)

OVERVIEW = "07_overview"


class Part(NamedTuple):
    """A run below the reference.

    Attributes
    ----------
    profile : str
        Of `notebooks/profiles.yaml`; the notebooks that it names are run, into a folder of its
        name.
    place : str
        What must lie in the data folder.
    fetch : str
        How to get it, in words.
    """

    profile: str
    place: str
    fetch: str


PARTS = (
    Part(
        "dlmc",
        "dlmc",
        "get https://storage.googleapis.com/sgk-sc2020/dlmc.tar.gz and unpack it there",
    ),
    Part(
        "file",
        "resnet50-imagenet-partial.safetensors",
        "see data/README.md for its origin and checksum, or for torchvision's in its place",
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns 0, or 1 if a notebook failed."""
    accept_any_text()
    parser = argparse.ArgumentParser(
        prog="python -m f2f_study.run.reference",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--run-dir", type=Path, default=Path("runs/reference"), help="where to")
    given = parser.parse_args(arguments)
    target = results.repository_root() / given.run_dir
    started = time.perf_counter()
    try:
        _make("default", target, find_notebooks())
        for part in PARTS:
            if (data_folder() / part.place).exists():
                _make(part.profile, target / part.profile, _named_by(part.profile))
            else:
                print(f"{part.profile}: left out, no {part.place} in the data folder; {part.fetch}")
    except launch.NotebookError as error:
        print(f"\nStopped. {error}\nWhat has passed is kept.", file=sys.stderr)
        return 1
    print(f"{shown(target)} is up to date, {(time.perf_counter() - started) / 60:.1f} minutes")
    return 0


def data_folder() -> Path:
    """The folder of downloaded files: `$F2F_DATA`, else `data/raw` of the repository."""
    named = os.environ.get("F2F_DATA")
    return Path(named).expanduser() if named else results.repository_root() / "data" / "raw"


def _named_by(profile: str) -> list[Path]:
    """The notebooks for which `profiles.yaml` has this profile."""
    listed = read_yaml(notebook_folder() / "profiles.yaml")
    return find_notebooks([stem for stem, profiles in listed.items() if profile in profiles])


def _make(profile: str, target: Path, notebooks: Sequence[Path]) -> None:
    """Run into `target` what it lacks; the overview last, where anything else was run."""
    changed = False
    for path in sorted(notebooks, key=lambda path: (path.stem == OVERVIEW, path)):
        if missing := missing_for(path):
            print(missing)
            continue
        job = Job.of(path, profile, {})
        inputs = cell_name(job)
        done = provenance.read(target)["notebooks"].get(path.stem, {})
        if done.get("inputs") == inputs and not (changed and path.stem == OVERVIEW):
            print(f"{path.stem:24s}     kept", flush=True)
            continue
        launch.run([job], target, profile)
        changed = True
        facts = provenance.read(target)
        facts["notebooks"][path.stem]["inputs"] = inputs
        provenance.write(target, facts)


if __name__ == "__main__":
    sys.exit(main())
