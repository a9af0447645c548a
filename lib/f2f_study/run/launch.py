"""Run notebooks through papermill: one, or the many of a run.

A notebook computes in its kernel, a process of its own, so several run at a time from threads here.
An interrupt ends the kernels; a kernel ends by itself when this process is gone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import papermill
import psutil
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellTimeoutError, DeadKernelError

from f2f.base.console import is_watched
from f2f_study import provenance, results
from f2f_study.run.folders import atomic_folder
from f2f_study.run.parameters import Job, noted


class NotebookError(RuntimeError):
    """A notebook stopped at a failing cell; the message says which and why."""


class Kernel(AsyncKernelManager):
    """The kernel of this interpreter, whatever others are installed, at the root of the checkout.

    Figures are shown inside the notebook; neither debuggers nor kernels that compile say so.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))

    async def start_kernel(self, **options: Any) -> None:  # type: ignore[override]
        environment = os.environ | {"PYDEVD_DISABLE_FILE_VALIDATION": "1", "F2F_QUIET": "1"}
        environment.pop("MPLBACKEND", None)
        root = str(results.repository_root())
        await super().start_kernel(**options | {"env": environment, "cwd": root})


def execute(job: Job, folder: Path) -> dict[str, Any]:
    """Run one notebook into `folder`; returns its provenance with the seconds it took.

    The executed copy is `folder/<name>.ipynb`, its results are in `folder/<name>/`.

    Raises
    ------
    NotebookError
        A cell failed; the executed copy then shows where.
    """
    stem = job.notebook.stem
    folder.mkdir(parents=True, exist_ok=True)
    facts = provenance.gather(**job.values())
    started = time.perf_counter()
    try:
        papermill.execute_notebook(
            job.notebook,
            folder / job.notebook.name,
            parameters=job.parameters | {"run_dir": str(folder)},
            kernel_name="python3",
            kernel_manager_class=Kernel,
            extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
            progress_bar={"desc": stem, "leave": False, "disable": not is_watched()},
        )
    except papermill.PapermillExecutionError as error:
        where = f"cell {error.cell_index + 1}, which begins {error.source.splitlines()[0]!r}"
        raise NotebookError(
            f"{stem} failed in {where}:\n    {error.ename}: {error.evalue}"
        ) from None
    except OSError as error:
        error.filename = error.filename or str(folder)  # a full disk is noticed without a name
        raise
    except (CellTimeoutError, DeadKernelError) as error:
        raise NotebookError(f"{stem} failed: the kernel died or hung ({error})") from None
    return facts | {"seconds": round(time.perf_counter() - started, 1)}


def run(jobs: Sequence[Job], target: Path, at_a_time: int = 1) -> None:
    """Run the jobs into the run folder `target`, several at a time, and write provenance.

    Notebooks marked `after_others` in their metadata (the overview reads the results of the run)
    start when the others have finished, and see what else the run holds already. The first failure
    stops the run.
    """
    later = [job for job in jobs if noted(job.notebook).get("after_others")]
    with atomic_folder(target) as folder:
        facts: dict[str, Any] = {"run": target.name, "notebooks": {}}
        for group in ([job for job in jobs if job not in later], later):
            links = _borrow(target, folder, jobs, facts) if group and group is later else []
            tasks = [(job, folder) for job in group]
            for (job, _), found in concurrently(execute, tasks, at_a_time):
                facts["notebooks"][job.notebook.stem] = found | {"profile": job.profile}
                provenance.write(folder, facts)
                print(f"{job.notebook.stem:24s} {found['seconds']:8.1f} s", flush=True)
            for link in links:
                link.unlink()


def _borrow(
    target: Path, folder: Path, jobs: Sequence[Job], facts: Mapping[str, Any]
) -> list[Path]:
    """Show in `folder` what the existing run has of notebooks that do not run now, by links."""
    kept = provenance.read(target)["notebooks"]
    provenance.write(folder, {**facts, "notebooks": kept | facts["notebooks"]})
    ours = {"provenance.json", *(job.notebook.stem for job in jobs)}
    paths = [path for path in target.glob("*") if path.name.removesuffix(".ipynb") not in ours]
    links = [folder / path.name for path in paths if not (folder / path.name).exists()]
    for link in links:
        link.symlink_to((target / link.name).resolve())
    return links


def concurrently(
    work: Callable[..., Any], tasks: Sequence[tuple[Any, ...]], at_a_time: int
) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Pairs (arguments, `work(*arguments)`) as they finish, `at_a_time` together sharing the cores.

    The first failure starts no further task and waits for those that run; an interrupt, and a
    caller that stops early, end their kernels.
    """
    at_a_time = max(1, min(at_a_time, len(tasks)))
    with _shared_cores(at_a_time), ThreadPoolExecutor(at_a_time) as pool:
        waiting = {pool.submit(work, *task): task for task in tasks}
        try:
            for done in as_completed(waiting):
                yield waiting[done], done.result()
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            if not isinstance(error, Exception):
                _end_kernels(list(waiting))
            raise


def _end_kernels(futures: Sequence[Future[Any]]) -> None:
    """Kill what this process started until no future runs, kernels just starting included."""
    while wait([future for future in futures if not future.done()], timeout=0.2).not_done:
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.kill()


@contextmanager
def _shared_cores(at_a_time: int) -> Iterator[None]:
    """Meanwhile, kernels start with as many threads as each has cores, unless told otherwise."""
    if at_a_time == 1 or "NUMBA_NUM_THREADS" in os.environ:
        yield
        return
    os.environ["NUMBA_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // at_a_time))
    try:
        yield
    finally:
        del os.environ["NUMBA_NUM_THREADS"]
