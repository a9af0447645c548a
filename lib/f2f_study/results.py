"""Where measurements go: flat CSV files in the folder of a run.

A row is a measurement, a column has its unit in its name (`time_us`, `size_bits`). Figures and
comparisons read these files and nothing else. Beside them a notebook writes `summary.csv`: the few
numbers it stands for (`Quantity`). The columns of every file are defined in `runs/README.md`.

>>> import tempfile
>>> with tempfile.TemporaryDirectory() as folder:
...     samples = pd.DataFrame({"n_s": [0, 1], "time_us": [1.5, 2]})
...     path = write_csv(Path(folder, "rows.csv"), samples)
...     read_csv(path)["time_us"].tolist()
[1.5, 2.0]
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from f2f.base.atomic import atomic_write


@dataclass(frozen=True)
class Quantity:
    """One row of `summary.csv`: a result of a notebook, and how much it may differ elsewhere.

    The tolerance is the largest absolute difference, in the unit of the value, that
    `f2f_study.run.compare` accepts between two runs; NaN where the value depends on the machine
    (times) and is only reported.
    """

    quantity: str  # unique in the file
    value: float
    unit: str  # "1" for a pure number
    tolerance: float


SUMMARY = [field.name for field in dataclasses.fields(Quantity)]


def repository_root() -> Path:
    """The folder that holds `notebooks/profiles.yaml` and `pyproject.toml`.

    Looked for upwards from the working folder, so that a notebook finds it wherever it was
    started, then upwards from this file; the working folder itself if there is none.
    """
    here = Path.cwd()
    for folder in (here, *here.parents, *Path(__file__).resolve().parents):
        if (folder / "notebooks/profiles.yaml").is_file() and (folder / "pyproject.toml").is_file():
            return folder
    return here


def data_dir() -> Path:
    """The folder of downloaded files: ``$F2F_DATA``, else ``data/raw`` of the repository."""
    named = os.environ.get("F2F_DATA")
    return Path(named).expanduser() if named else repository_root() / "data" / "raw"


def run_dir(run_dir: str | os.PathLike[str] = "runs/interactive", notebook: str = "") -> Path:
    """The folder `run_dir`/`notebook`, created if absent; a relative path is taken from the root.

    >>> run_dir("runs/interactive", "02_synthetic").parts[-3:]  # doctest: +SKIP
    ('runs', 'interactive', '02_synthetic')
    """
    folder = repository_root() / run_dir / notebook
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_csv(path: str | os.PathLike[str], frame: pd.DataFrame | Sequence[Any]) -> Path:
    """Write a data frame, or what `pandas.DataFrame` makes one of, and return the path.

    The file appears whole or not at all, in a folder that is created if absent; no index is
    written. `ValueError` if there are no columns.
    """
    frame = pd.DataFrame(frame)
    if frame.columns.empty:
        raise ValueError(f"rows of {path} must have columns, got none")
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(target) as file:
        file.write(frame.to_csv(index=False, lineterminator="\n").encode())
    return target


def read_csv(path: str | os.PathLike[str], **options: Any) -> pd.DataFrame:
    """Read a CSV file by `pandas.read_csv`; only an empty cell and "nan" are missing values.

    `ValueError` names the file if it is no CSV.
    """
    try:
        return pd.read_csv(path, keep_default_na=False, na_values=["", "nan"], **options)
    except ValueError as error:  # pandas' parser errors and wrong encodings among them
        raise ValueError(f"{path} must be a CSV file: {error}") from None


def write_summary(folder: str | os.PathLike[str], quantities: Sequence[Quantity]) -> Path:
    """Write `summary.csv` of a notebook into its folder of the run."""
    names = [quantity.quantity for quantity in quantities]
    if len(set(names)) != len(names):
        raise ValueError(f"quantities must have different names, got {names}")
    return write_csv(Path(folder) / "summary.csv", pd.DataFrame(quantities, columns=SUMMARY))


def read_summary(folder: str | os.PathLike[str]) -> pd.DataFrame:
    """Read `summary.csv` of a notebook: the columns of `Quantity`.

    Raises
    ------
    ValueError
        Columns are missing or unknown, or a value or tolerance is no number; the message names
        the file and them.
    """
    path = Path(folder) / "summary.csv"
    frame = read_csv(path, dtype={"quantity": str, "unit": str})
    missing = [name for name in SUMMARY if name not in frame]
    unknown = [name for name in frame if name not in SUMMARY]
    if missing or unknown:
        raise ValueError(f"{path}: columns must be {SUMMARY}, missing {missing}, unknown {unknown}")
    for name in ("value", "tolerance"):
        if not pd.api.types.is_numeric_dtype(frame[name].dtype):
            raise ValueError(f"{path}: column {name} must hold numbers, got {frame[name].dtype}")
    return frame.fillna({"quantity": "", "unit": ""})


def notebooks(run: Path) -> dict[str, Path]:
    """The folders of a run that notebooks filled, by name, as "02_synthetic".

    Their names begin with a number and they hold CSV files. Those of a run that lies in the run,
    as in `runs/reference/dlmc`, follow: "dlmc/04_transformer_wmt14_dlmc".
    """
    below = sorted(path.parent for path in run.glob("*/provenance.json"))
    folders = {path.parent for part in (run, *below) for path in part.glob("[0-9]*/*.csv")}
    names = {folder.relative_to(run).as_posix(): folder for folder in folders}
    return {name: names[name] for name in sorted(names, key=lambda name: ("/" in name, name))}


def summaries(run: Path) -> pd.DataFrame:
    """The quantities of all `notebooks` of a run: column `notebook`, then those of `Quantity`."""
    folders = notebooks(run).items()
    parts = {name: read_summary(at) for name, at in folders if (at / "summary.csv").exists()}
    if not parts:
        nothing = pd.DataFrame(columns=["notebook", *SUMMARY])
        return nothing.astype({"value": float, "tolerance": float})
    return pd.concat(parts, names=["notebook"]).reset_index("notebook")


def shown(value: float, unit: str = "1", tolerance: float = math.nan) -> str:
    """A number with six digits, what it may differ, and its unit, which "1" is not.

    >>> shown(99.4612345, "%", 0.05), shown(3)
    ('99.4612 ± 0.05 %', '3')
    """
    accepted = "" if math.isnan(tolerance) else f" ± {tolerance:.3g}"
    return f"{value:.6g}{accepted} {'' if unit == '1' else unit}".strip()
