"""Run the notebooks: the only place that launches papermill.

    python -m f2f_study.run.reproduce                                   all notebooks, default profile
    python -m f2f_study.run.reproduce --notebook 02 --set n_s=1         one of them, one parameter changed
    python -m f2f_study.run.reproduce --profile paper --jobs 2          sizes of a publication, 2 processes
    python -m f2f_study.run.reproduce --grid grid.yaml --jobs 2         every combination of parameters
    python -m f2f_study.run.reproduce --figures-only runs/RUN           draw the figures again from CSV

A run is written to `runs/<run-id>.partial` and gets its name when every notebook has passed. With
`--run-dir` of a run that exists, the notebooks that were run replace theirs in it.

Grids of parameters are described in `f2f_study.run.grid`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import yaml

from f2f_study import results

PROFILES = ("default", "tiny", "paper")


class NotebookError(RuntimeError):
    """A notebook stopped at a failing cell; the message says which and why."""


def notebook_folder() -> Path:
    """`notebooks/` of the checkout."""
    return results.repository_root() / "notebooks"


def find_notebooks(names: Sequence[str] = ()) -> list[Path]:
    """The notebooks whose file names begin with `names` ("02", "02_synthetic"), or all, sorted.

    Raises `ValueError` for a name that fits none, with the names there are.
    """
    every = sorted(notebook_folder().glob("[0-9]*.ipynb"))
    wrong = [n for n in names if not any(p.stem.startswith(Path(n).stem) for p in every)]
    if wrong:
        stems = ", ".join(path.stem for path in every)
        raise ValueError(f"notebook must be one of {stems}, got {wrong[0]!r}")
    return [p for p in every if not names or any(p.stem.startswith(Path(n).stem) for n in names)]


def profile_parameters(notebook: Path, profile: str) -> dict[str, Any]:
    """The parameters that `notebooks/profiles.yaml` changes for this notebook and profile."""
    if profile not in PROFILES:
        raise ValueError(f"profile must be one of {', '.join(PROFILES)}, got {profile!r}")
    listed = yaml.safe_load((notebook_folder() / "profiles.yaml").read_text()) or {}
    return dict((listed.get(notebook.stem) or {}).get(profile) or {})


def known_parameters(notebook: Path) -> dict[str, tuple[str, Any]]:
    """Type name and default of every name in the notebook's `parameters` cell."""
    import papermill

    found = papermill.inspect_notebook(str(notebook))
    known = {}
    for name, facts in found.items():
        default = yaml.safe_load(str(facts["default"]))
        kind = facts["inferred_type_name"]
        if kind in (None, "None"):
            kind = type(default).__name__
        known[name] = (kind, _convert(notebook, name, kind, default))
    return known


def checked_parameters(notebook: Path, parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters with the types the notebook declares; text from a command line is parsed.

    Raises `ValueError` for a name the notebook does not have (papermill would only warn) and for a
    value that does not fit the declared type.
    """
    known = known_parameters(notebook)
    for name in parameters:
        if name not in known:
            raise ValueError(
                f"parameter of {notebook.stem} must be one of {', '.join(known)}, got {name!r}"
            )
    return {
        name: _convert(notebook, name, known[name][0], value) for name, value in parameters.items()
    }


def _convert(notebook: Path, name: str, kind: str, value: Any) -> Any:
    try:
        if kind == "bool":
            flags = {"true": True, "false": False}
            return value if isinstance(value, bool) else flags[str(value).lower()]
        if kind == "int" and not isinstance(value, bool | float):
            return int(value)
        if kind == "float" and not isinstance(value, bool):
            return float(value)
        if kind == "str":
            return str(value)
        if kind == "list" and isinstance(value, list):
            return value
    except (KeyError, TypeError, ValueError):
        pass
    wanted = kind if kind in ("bool", "int", "float") else "bool, int, float or str"
    raise ValueError(f"{name} of {notebook.stem} must be {wanted}, got {value!r}")


@dataclass(frozen=True)
class Job:
    """A notebook and the parameters to run it with, beside `run_dir`."""

    notebook: Path
    parameters: dict[str, Any]

    @classmethod
    def of(cls, notebook: Path, profile: str, changes: dict[str, Any]) -> Job:
        """Profile and changes together, checked; `changes` win."""
        if "run_dir" in changes:
            raise ValueError("run_dir must be given as --run-dir, got --set run_dir")
        both = profile_parameters(notebook, profile) | changes
        return cls(notebook, checked_parameters(notebook, both))


def execute(job: Job, folder: Path) -> dict[str, Any]:
    """Run one notebook into `folder`; returns its provenance with the seconds it took.

    The executed copy is `folder/<name>.ipynb`, its results are in `folder/<name>/`. Raises
    `NotebookError` when a cell fails; the executed copy then shows where.
    """
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    stem, root = job.notebook.stem, results.repository_root()
    copy = folder / job.notebook.name
    folder.mkdir(parents=True, exist_ok=True)
    parameters = job.parameters | {"run_dir": str(folder)}
    defaults = {name: value for name, (_, value) in known_parameters(job.notebook).items()}
    facts = results.provenance(**(defaults | job.parameters))
    del facts["parameters"]["run_dir"]
    started = time.perf_counter()
    try:
        with _kernel_environment():
            papermill.execute_notebook(
                str(job.notebook),
                str(copy),
                parameters=parameters,
                kernel_name="python3",
                cwd=str(root),
                extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
                progress_bar={"desc": stem, "leave": False, "disable": not sys.stderr.isatty()},
            )
    except papermill.PapermillExecutionError as error:
        where = f"cell {error.cell_index + 1}, which begins {error.source.splitlines()[0]!r}"
        raise NotebookError(
            f"{stem} failed in {where}:\n    {error.ename}: {error.evalue}"
        ) from None
    except (CellTimeoutError, DeadKernelError) as error:
        raise NotebookError(f"{stem} failed: the kernel died or hung ({error})") from None
    facts["seconds"] = round(time.perf_counter() - started, 1)
    return facts


@contextmanager
def _kernel_environment() -> Iterator[None]:
    """Environment of a kernel: figures shown inside the notebook, no debugger warnings."""
    saved = dict(os.environ)
    os.environ.pop("MPLBACKEND", None)
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(saved)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """A new folder beside `target` that becomes it, or part of it, when the body has passed.

    If the body raises, the folder stays as `<target>.failed` for inspection.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{target.name}.partial-", dir=target.parent))
    folder.chmod(0o755)
    try:
        yield folder
    except BaseException:
        failed = target.with_name(target.name + ".failed")
        shutil.rmtree(failed, ignore_errors=True)
        folder.rename(failed)
        raise
    _clean_paths(folder, target)
    if target.exists():
        _merge(folder, target)
    else:
        folder.rename(target)


def _clean_paths(folder: Path, target: Path) -> None:
    """In executed notebooks and pages: the final name instead of the draft's, no absolute paths."""
    root = str(results.repository_root()) + os.sep
    for path in [*folder.glob("*.ipynb"), *folder.glob("*/*.md")]:
        text = path.read_text().replace(root, "").replace(folder.name, target.name)
        path.write_text(text)


def _merge(folder: Path, target: Path) -> None:
    """Move what `folder` holds into the existing run `target`, in place of what has its names."""
    facts = json.loads((folder / "provenance.json").read_text())
    old = target / "provenance.json"
    if old.exists():
        before = json.loads(old.read_text())
        facts["notebooks"] = before.get("notebooks", {}) | facts["notebooks"]
    for path in folder.iterdir():
        place = target / path.name
        if place.is_dir():
            shutil.rmtree(place)
        path.replace(place)
    results.write_provenance(target, facts)
    folder.rmdir()


def run(jobs: Sequence[Job], target: Path, profile: str, processes: int = 1) -> None:
    """Run the jobs into the run folder `target`, in `processes` processes, and write provenance.

    Notebooks marked `after_others` in their metadata (the overview reads the results of the run)
    start when the others have finished. The first failure stops the run.
    """
    later = [job for job in jobs if _runs_last(job.notebook)]
    with atomic_folder(target) as folder:
        facts: dict[str, Any] = {"run": target.name, "profile": profile, "notebooks": {}}
        borrowed = _borrow(target, folder, jobs) if later else []
        for group in ([job for job in jobs if job not in later], later):
            tasks = [(job, folder) for job in group]
            for (job, _), found in in_processes(execute, tasks, processes):
                facts["notebooks"][job.notebook.stem] = found | {"profile": profile}
                results.write_provenance(folder, facts)
                print(f"{job.notebook.stem:24s} {found['seconds']:8.1f} s", flush=True)
        for path in borrowed:
            shutil.rmtree(path)


def _borrow(target: Path, folder: Path, jobs: Sequence[Job]) -> list[Path]:
    """Copy what the existing run has of notebooks that do not run now, for the overview to read."""
    running = {job.notebook.stem for job in jobs}
    found = [p.parent for p in target.glob("*/summary.csv") if p.parent.name not in running]
    return [Path(shutil.copytree(path, folder / path.name)) for path in found]


def _runs_last(notebook: Path) -> bool:
    metadata = json.loads(notebook.read_text())["metadata"]
    return bool(metadata.get("f2f", {}).get("after_others", False))


def in_processes(
    work: Callable[..., Any], tasks: Sequence[tuple[Any, ...]], processes: int
) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Pairs (arguments, `work(*arguments)`) as they finish; the first failure cancels the rest.

    Processes share the cores between them, and are spawned: numba's threads do not survive a fork.
    """
    if processes == 1 or len(tasks) < 2:
        for task in tasks:
            yield task, work(*task)
        return
    threads = str(max(1, (os.cpu_count() or 1) // processes))
    # In the new processes only: numba refuses a change once its threads have started.
    with ProcessPoolExecutor(
        processes, get_context("spawn"), initializer=_share_cores, initargs=(threads,)
    ) as pool:
        waiting = {pool.submit(work, *task): task for task in tasks}
        try:
            while waiting:
                for done in wait(waiting, return_when=FIRST_COMPLETED).done:
                    yield waiting.pop(done), done.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _share_cores(threads: str) -> None:
    os.environ.setdefault("NUMBA_NUM_THREADS", threads)


def closing_table(target: Path) -> str:
    """The quantities of every notebook of a run, as text."""
    lines = []
    for path in sorted(target.glob("*/summary.csv")):
        lines.append(path.parent.name)
        for row in results.read_csv(path, results.Quantity).itertuples():
            lines.append(f"  {row.quantity:60s} {row.value:>12.6g} {results.shown_unit(row.unit)}")
    return "\n".join(lines)


def new_run_id(profile: str) -> str:
    """Time, profile and commit: `20260131-0930-default-1a2b3c4`."""
    commit = results.provenance()["commit"][:7]
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{profile}-{commit}"


def redraw(target: Path) -> None:
    """Draw the figures of a run again from its CSV files, without running anything."""
    if not target.is_dir():
        raise ValueError(f"--figures-only must be the folder of a run, got {str(target)!r}")
    from f2f_study.figures import redraw as redraw_figures

    for path in redraw_figures(target):
        print(path)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m f2f_study.run.reproduce",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--notebook", nargs="+", action="extend", default=[], metavar="NN", help="run only these")
    add("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="parameters")
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


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    given = _arguments().parse_args(arguments)
    root = results.repository_root()
    try:
        if given.jobs < 1:
            raise ValueError(f"--jobs must be at least 1, got {given.jobs}")
        if given.figures_only:
            redraw(root / given.figures_only)
            return 0
        changes = _changes(given.set)
        if given.grid:
            from f2f_study.run import grid

            target = root / (given.run_dir or Path("runs", given.grid.stem))
            return grid.run_grid(
                given.grid, target, given.notebook, given.profile, changes, given.jobs
            )
        profile = given.profile or "default"
        jobs = [Job.of(path, profile, changes) for path in find_notebooks(given.notebook)]
        if not jobs:
            raise ValueError(f"{notebook_folder()} must hold notebooks, got none")
        target = root / (given.run_dir or Path("runs", new_run_id(profile)))
        print(f"{len(jobs)} notebooks, profile {profile}, into {_shown(target)}", flush=True)
        run(jobs, target, profile, given.jobs)
    except NotebookError as error:
        print(f"\nStopped. {error}", file=sys.stderr)
        print(f"The executed notebook is in {_shown(target)}.failed", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; nothing was added to the run", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"\n{closing_table(target)}\n\nEverything is in {_shown(target)}")
    return 0


def _shown(path: Path) -> str:
    root = results.repository_root()
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


if __name__ == "__main__":
    # Through the module's own name, so that there is one NotebookError for all who import it.
    from f2f_study.run.reproduce import main as main_of_module

    sys.exit(main_of_module())
