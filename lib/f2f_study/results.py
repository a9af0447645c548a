"""Measurements as flat CSV files, where they go, and how they came about.

One frozen dataclass is one kind of row; its fields are the columns, with the unit in the name
(`time_us`, `size_bits`). Figures and comparisons read these files and nothing else. Beside the
rows, a notebook writes `summary.csv`: the few numbers it stands for (`Quantity`). The columns of
every file are defined in `runs/README.md`.

>>> from dataclasses import dataclass
>>> @dataclass(frozen=True)
... class Row:
...     n_s: int
...     efficiency_percent: float
>>> import tempfile
>>> with tempfile.TemporaryDirectory() as folder:
...     path = write_csv(Path(folder, "rows.csv"), [Row(0, 92.7), Row(1, 98.7)])
...     read_csv(path, Row)["efficiency_percent"].tolist()
[92.7, 98.7]
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import platform
import subprocess
import sys
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from f2f.base.atomic import atomic_write

if TYPE_CHECKING:
    import pandas as pd

# The packages whose version can change a number or a figure.
PACKAGES = ("f2f", "numpy", "scipy", "numba", "pandas", "matplotlib", "torch", "safetensors")


@dataclass(frozen=True)
class Quantity:
    """One row of `summary.csv`: a result of a notebook, and how much it may differ elsewhere.

    quantity: what, unique in the file. value, unit: the result; unit "1" is a pure number.
    tolerance: largest absolute difference, in the same unit, that `f2f_study.run.compare` accepts between
    two runs; NaN where the value depends on the machine (times) and is only reported.
    """

    quantity: str
    value: float
    unit: str
    tolerance: float


def repository_root() -> Path:
    """The folder that holds `notebooks/` and `pyproject.toml`.

    Looked for upwards from the working folder, so that a notebook finds it wherever it was
    started, then upwards from this file; the working folder itself if there is none.
    """
    here = Path.cwd()
    for folder in (here, *here.parents, *Path(__file__).resolve().parents):
        if (folder / "notebooks").is_dir() and (folder / "pyproject.toml").is_file():
            return folder
    return here


def run_dir(run_dir: str | os.PathLike[str] = "runs/interactive", notebook: str = "") -> Path:
    """The folder `run_dir`/`notebook`, created if absent; a relative path is taken from the root.

    >>> run_dir("runs/interactive", "02_synthetic").parts[-3:]  # doctest: +SKIP
    ('runs', 'interactive', '02_synthetic')
    """
    folder = repository_root() / run_dir / notebook
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def columns(row_class: type) -> list[str]:
    """The CSV columns of a row dataclass, in order."""
    if not (isinstance(row_class, type) and dataclasses.is_dataclass(row_class)):
        raise ValueError(f"row_class must be a dataclass, got {row_class!r}")
    return [field.name for field in dataclasses.fields(row_class)]


def write_csv(path: str | os.PathLike[str], rows: Sequence[Any] | pd.DataFrame) -> Path:
    """Write rows of one dataclass, or a data frame without its index, and return the path.

    The file appears whole or not at all, in a folder that is created if absent. Raises
    `ValueError` for no rows (there would be no columns) or rows of several classes.
    """
    import pandas as pd

    if isinstance(rows, pd.DataFrame):
        frame = rows
    else:
        kinds = {type(row) for row in rows}
        if len(kinds) != 1:
            names = sorted(kind.__name__ for kind in kinds)
            raise ValueError(f"rows must be one or more rows of one dataclass, got {names}")
        header = columns(kinds.pop())
        frame = pd.DataFrame(
            [[getattr(row, name) for name in header] for row in rows], columns=header
        )
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(target) as file:
        file.write(frame.to_csv(index=False, lineterminator="\n").encode())
    return target


def read_csv(path: str | os.PathLike[str], row_class: type | None = None) -> pd.DataFrame:
    """Read a CSV file; with `row_class`, check that it holds exactly the columns of that class.

    Raises `ValueError` that names the file and the missing or unknown columns, or the column whose
    values do not fit the type the class declares.
    """
    import pandas as pd

    kinds = {
        int: ("integers", pd.api.types.is_integer_dtype),
        float: ("numbers", pd.api.types.is_numeric_dtype),
        bool: ("True or False", pd.api.types.is_bool_dtype),
    }
    frame = pd.read_csv(path, keep_default_na=False, na_values=["", "nan"])
    if row_class is None:
        return frame
    wanted, found = columns(row_class), list(frame.columns)
    if wanted != found:
        missing = [name for name in wanted if name not in found]
        unknown = [name for name in found if name not in wanted]
        raise ValueError(
            f"{path}: columns must be those of {row_class.__name__}, "
            f"missing {missing}, unknown {unknown}, got the order {found}"
        )
    for name, kind in typing.get_type_hints(row_class).items():
        if kind is str:
            frame[name] = frame[name].astype(object).where(frame[name].notna(), "").astype(str)
        elif kind in kinds:
            wanted_type, test = kinds[kind]
            if not test(frame[name].dtype):
                raise ValueError(
                    f"{path}: column {name} must hold {wanted_type}, got {frame[name].dtype}"
                )
            frame[name] = frame[name].astype(kind)
    return frame


def write_summary(folder: str | os.PathLike[str], quantities: Sequence[Quantity]) -> Path:
    """Write `summary.csv` of a notebook into its folder of the run."""
    names = [quantity.quantity for quantity in quantities]
    if len(set(names)) != len(names):
        raise ValueError(f"quantities must have different names, got {names}")
    return write_csv(Path(folder) / "summary.csv", quantities)


def shown_unit(unit: str) -> str:
    """The unit as written behind a number: nothing for a pure number, whose unit is "1"."""
    return "" if unit == "1" else unit


@functools.cache
def hardware() -> str:
    """This machine in words: CPU, cores, memory, and the GPU or that there is none."""
    name = platform.processor() or platform.machine()
    vectors: list[str] = []
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        pairs = [line.split(":", 1) for line in lines if ":" in line]
        facts = {key.strip(): value.strip() for key, value in pairs}
        name = facts.get("model name", name)
        flags = facts.get("flags", "").split()
        vectors = [flag for flag in ("avx2", "avx512bw", "gfni") if flag in flags]
    except OSError:
        pass
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    parts = [name, f"{os.cpu_count()} cores", *vectors, f"{memory:.0f} GiB", _gpu()]
    return ", ".join(parts)


def _gpu() -> str:
    """The name of the first NVIDIA GPU as its driver reports it, or "no GPU"."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return "no GPU"
    return found.stdout.strip().splitlines()[0] if found.stdout.strip() else "no GPU"


def provenance(**parameters: Any) -> dict[str, Any]:
    """What a result depends on: commit, versions, hardware, time, and the given parameters.

    `commit` ends in "+changes" when files that git follows differ from it, and is "unknown"
    outside a checkout. Parameters must be values that JSON can hold.
    """
    return {
        "commit": _commit(),
        "python": platform.python_version(),
        "versions": _versions(),
        "hardware": hardware(),
        "system": platform.platform(),
        "threads": os.environ.get("NUMBA_NUM_THREADS", str(os.cpu_count())),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python", *sys.orig_argv[1:]]),
        "parameters": parameters,
    }


def write_provenance(folder: str | os.PathLike[str], facts: dict[str, Any]) -> Path:
    """Write `provenance.json` into a run's folder."""
    path = Path(folder) / "provenance.json"
    with atomic_write(path) as file:
        file.write((json.dumps(facts, indent=2, ensure_ascii=False) + "\n").encode())
    return path


def _versions() -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def _commit() -> str:
    def git(*words: str) -> str:
        command = ["git", "-C", str(repository_root()), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        commit = git("rev-parse", "HEAD")
        return commit + ("+changes" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
