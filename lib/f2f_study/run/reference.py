"""Everything under `runs/reference/`, from nothing: `python -m f2f_study.run.reference`.

The reference is a run of all notebooks at the profile "default", and in a folder below it one run
for every profile that reads what cannot be committed (`PARTS`). What is not in the data folder
(`F2F_DATA`, else `data/raw`) is left out, and a line says how to get it; the rest is made.

A notebook that was run by this very code with these settings is kept (`Job.inputs`, recorded in
provenance.json), so that a stopped call goes on where it was. Notebooks run one after
another, for they measure times.

What was made is judged by the reference before it, by `f2f_study.run.compare`: the CSV files that
were there when the first call began lie in `runs/reference.earlier` until one has ended. With
`--run-dir runs/again` everything is made a second time, and judged by `runs/reference`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from f2f import ahead
from f2f.base.console import accept_any_text
from f2f_study import provenance, results
from f2f_study.run import compare, launch
from f2f_study.run.compare import OVERVIEW
from f2f_study.run.folders import shown
from f2f_study.run.parameters import (
    Job,
    find_notebooks,
    missing_for,
    notebook_folder,
    read_yaml,
)


class Part(NamedTuple):
    """A run below the reference, in a folder named by its profile."""

    profile: str  # of `notebooks/profiles.yaml`; the notebooks that it names are run
    place: str  # what must lie in the data folder
    fetch: str  # how to get it, in words


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
    """The command line; returns 0, or 1 if a notebook failed or a result differs from earlier."""
    accept_any_text()
    parser = argparse.ArgumentParser(
        prog="python -m f2f_study.run.reference",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--run-dir", type=Path, default=Path("runs/reference"), help="where to")
    given = parser.parse_args(arguments)
    root = results.repository_root()
    target, judge = root / given.run_dir, root / "runs" / "reference"
    changed = 0
    started = time.perf_counter()
    try:
        if target == judge:
            judge = target.with_name(f"{target.name}.earlier")
            changed += judge.exists()  # an earlier call was stopped
            _keep_results(target, judge)
        ahead.main([])  # the minutes of a notebook are those of its work
        books = sorted(find_notebooks(), key=lambda path: (path.stem == OVERVIEW, path))
        *notebooks, overview = books
        changed += _make("default", target, notebooks)
        for part in PARTS:
            if (results.data_dir() / part.place).exists():
                changed += _make(part.profile, target / part.profile, _named_by(part.profile))
            else:
                print(f"{part.profile}: left out, no {part.place} in the data folder; {part.fetch}")
        earlier = str(judge.relative_to(root)) if judge.exists() else ""
        _make("default", target, [overview], {"reference": earlier}, again=changed > 0)
    except launch.NotebookError as error:
        print(f"\nStopped. {error}\nWhat has passed is kept.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; what has passed is kept", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{shown(target)} is up to date, {(time.perf_counter() - started) / 60:.1f} minutes")
    status = compare.main([str(target), str(judge)]) if changed and earlier else 0
    if judge.name.endswith(".earlier"):
        shutil.rmtree(judge, ignore_errors=True)
    return status


def _keep_results(target: Path, place: Path) -> None:
    """Copy the CSV files and provenance of a whole run, unless they are there already."""
    if OVERVIEW in provenance.read(target)["notebooks"] and not place.exists():
        shutil.copytree(target, place, ignore=shutil.ignore_patterns("*.ipynb", "*.png", "*.svg"))


def _named_by(profile: str) -> list[Path]:
    """The notebooks for which `profiles.yaml` has this profile."""
    listed = read_yaml(notebook_folder() / "profiles.yaml")
    return find_notebooks([stem for stem, profiles in listed.items() if profile in profiles])


def _make(
    profile: str,
    target: Path,
    notebooks: Sequence[Path],
    changes: Mapping[str, Any] | None = None,
    again: bool = False,
) -> int:
    """Run into `target` what it lacks, or everything `again`; returns how many were run.

    The `changes` of parameters are no reason to run one again.
    """
    made = 0
    for path in notebooks:
        if missing := missing_for(path):
            print(missing)
            continue
        inputs = Job.of(path, profile, {}).inputs()
        done = provenance.read(target)["notebooks"].get(path.stem, {})
        if done.get("inputs") == inputs and not again:
            print(f"{path.stem:24s}     kept", flush=True)
            continue
        launch.run([Job.of(path, profile, changes or {})], target)
        made += 1
        facts = provenance.read(target)
        facts["notebooks"][path.stem]["inputs"] = inputs
        provenance.write(target, facts)
    return made


if __name__ == "__main__":
    sys.exit(main())
