"""The folder of a run appears under its name only when everything in it has passed.

It is written as `<name>.partial-<random>` beside it, becomes `<name>`, or is added to the run of
that name, at the end, and stays as `<name>.failed` if something stopped it. What a killed launcher
left goes when a later run of that name has passed: a living one holds a lock on its folder.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path

from f2f_study import provenance, results


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """A new folder beside `target` that becomes it, or part of it, when the body has passed.

    Raises
    ------
    ValueError
        `target` is a file, a folder with other things than a run, which would be replaced, or a
        run whose provenance is damaged.
    """
    target = target.resolve()
    is_run = (target / "provenance.json").is_file()
    if target.exists() and not is_run and not (target.is_dir() and not any(target.iterdir())):
        raise ValueError(
            f"--run-dir must be a new folder or one with a run (provenance.json), got {target}"
        )
    provenance.read(target)  # or what it has could not be added to after hours
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{target.name}.partial-", dir=target.parent))
    folder.chmod(0o755)
    failed = target.with_name(target.name + ".failed")
    with _held(folder):
        try:
            yield folder
        except BaseException:
            shutil.rmtree(failed, ignore_errors=True)
            folder.rename(failed)
            raise
    _clean_paths(folder, target)
    if target.exists():
        _merge(folder, target)
    else:
        folder.rename(target)
    shutil.rmtree(failed, ignore_errors=True)
    for draft in target.parent.glob(f"{escape(target.name)}.partial-*"):
        with _held(draft) as abandoned:
            if abandoned:
                shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def _held(folder: Path) -> Iterator[bool]:
    """Hold the lock of a draft; False if another process has it, or nothing can be locked here."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked = True
        except OSError:
            locked = False
        yield locked
    finally:
        os.close(descriptor)


def _clean_paths(folder: Path, target: Path) -> None:
    """In executed notebooks and pages: the final name instead of the draft's, no absolute paths."""
    root = str(results.repository_root()) + os.sep
    for path in [*folder.glob("*.ipynb"), *folder.glob("*/*.md")]:
        text = path.read_text(encoding="utf-8").replace(root, "")
        path.write_text(text.replace(folder.name, target.name), encoding="utf-8")


def _merge(folder: Path, target: Path) -> None:
    """Move what `folder` holds into the run `target`, in place of what has its names."""
    facts = provenance.read(folder)
    facts["notebooks"] = provenance.read(target)["notebooks"] | facts["notebooks"]
    for path in folder.iterdir():
        place = target / path.name
        if place.is_dir():
            shutil.rmtree(place)
        path.replace(place)
    provenance.write(target, facts)
    folder.rmdir()


def shown(path: Path) -> str:
    """A path as messages give it, from the root of the checkout where it lies in it."""
    root = results.repository_root()
    return str(path.relative_to(root) if path.is_relative_to(root) else path)
