"""The notebooks, their parameters and their profiles: what may be given, and of which type.

The cell tagged `parameters` of a notebook holds one typed assignment a line. It is read, not run:

    n_s: int = 7  # shift registers
    sparsities: list = [0.7, 0.9]  # shares of pruned weights

Types are bool, int, float, str and lists of them; `list` alone means the kind of list that the
default is, here `list[float]`. `notebooks/limits.yaml` says which numbers and names they may be,
`notebooks/profiles.yaml` changes some of them by profile, a command line or a grid others.
"""

from __future__ import annotations

import ast
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from reprlib import repr as short  # a few bytes of YAML may stand for gigabytes
from typing import Any, NamedTuple

import nbformat
import yaml

from f2f_study import results

PROFILES = ("default", "tiny", "paper", "dlmc", "file")


class Parameter(NamedTuple):
    """Kind ("int", "list[float]") and default of a parameter, and what it may be: `limits.yaml`."""

    kind: str
    default: Any
    limits: Any


class Job(NamedTuple):
    """A notebook and the parameters to run it with, beside `run_dir`."""

    notebook: Path
    profile: str
    parameters: dict[str, Any]  # what differs from, or repeats, the defaults in the notebook

    @classmethod
    def of(cls, notebook: Path, profile: str, changes: Mapping[str, Any]) -> Job:
        """Profile and changes together, checked; `changes` win."""
        if "run_dir" in changes:
            raise ValueError("run_dir must be given as --run-dir, got --set run_dir")
        both = profile_parameters(notebook, profile) | dict(changes)
        return cls(notebook, profile, checked_parameters(notebook, both))

    def values(self) -> dict[str, Any]:
        """Every parameter with its value, `run_dir` left out."""
        known = known_parameters(self.notebook)
        every = {name: parameter.default for name, parameter in known.items()} | self.parameters
        return {name: value for name, value in every.items() if name != "run_dir"}

    def inputs(self) -> str:
        """Hash (12 hex digits) of all that results depend on: code, parameters, the packages."""
        cells = nbformat.read(self.notebook, 4).cells
        code = [cell.source for cell in cells if cell.cell_type == "code"]
        digest = hashlib.sha256(json.dumps([code, self.values()], sort_keys=True).encode())
        lib = Path(__file__).parents[2]
        for path in sorted([*lib.glob("f2f/**/*"), *lib.glob("f2f_study/**/*")]):
            if path.suffix in (".py", ".cu"):
                digest.update(str(path.relative_to(lib)).encode() + path.read_bytes())
        return digest.hexdigest()[:12]


def notebook_folder() -> Path:
    """`notebooks/` of the checkout."""
    return results.repository_root() / "notebooks"


def find_notebooks(names: Sequence[str] = ()) -> list[Path]:
    """The notebooks whose file names begin with `names` ("02", "02_synthetic"), or all, sorted.

    Raises
    ------
    ValueError
        There are none, or a name fits none; the message has the names there are.
    """
    every = sorted(notebook_folder().glob("[0-9]*.ipynb"))
    if not every:
        raise ValueError(f"{notebook_folder()} must hold notebooks, got none")
    wrong = [n for n in names if not any(p.stem.startswith(Path(n).stem) for p in every)]
    if wrong:
        stems = ", ".join(path.stem for path in every)
        raise ValueError(f"notebook must be one of {stems}, got {wrong[0]!r}")
    return [p for p in every if not names or any(p.stem.startswith(Path(n).stem) for n in names)]


def noted(notebook: Path) -> dict[str, Any]:
    """What a notebook says of itself in its metadata, under "f2f".

    needs, extra: modules that it needs beside the extra `study`, and the extra that brings them;
    after_others: it reads the results of the run.
    """
    return dict(nbformat.read(notebook, 4).metadata.get("f2f", {}))


def missing_for(notebook: Path) -> str:
    """What a notebook needs that is not installed, as a sentence; "" if nothing is missing."""
    needs = noted(notebook)
    missing = [name for name in needs.get("needs", []) if find_spec(name) is None]
    if not missing:
        return ""
    extra = f'pip install "f2f[{needs["extra"]}]"'
    return f"{notebook.stem} is left out: {', '.join(missing)} not installed; {extra}"


def read_yaml(path: Path) -> Any:
    """What a YAML file holds; `ValueError` names the file and the line that is wrong."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} must be YAML: {error}") from None


def profile_parameters(notebook: Path, profile: str) -> dict[str, Any]:
    """The parameters that `notebooks/profiles.yaml` changes for this notebook and profile."""
    if profile not in PROFILES:
        raise ValueError(f"profile must be one of {', '.join(PROFILES)}, got {profile!r}")
    listed = read_yaml(notebook_folder() / "profiles.yaml") or {}
    return dict((listed.get(notebook.stem) or {}).get(profile) or {})


def known_parameters(notebook: Path) -> dict[str, Parameter]:
    """Every parameter of a notebook, in the order of its cell.

    Raises
    ------
    ValueError
        A line of the cell is no typed assignment of a literal that fits its type and limits.
    """
    listed = read_yaml(notebook_folder() / "limits.yaml") or {}
    limits = listed.get("all", {}) | listed.get(notebook.stem, {})
    cells = nbformat.read(notebook, 4).cells
    tagged = [cell.source for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    known = {}
    for line in ast.parse("\n".join(tagged)).body:
        if not (isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)):
            raise ValueError(
                f"parameters of {notebook.stem} must be lines like 'seed: int = 0', "
                f"got {ast.unparse(line)!r}"
            )
        default = ast.literal_eval(line.value) if line.value else None
        kind = ast.unparse(line.annotation)
        kind = _kind(default) if kind == "list" and isinstance(default, list) else kind
        name = line.target.id
        one = Parameter(kind, None, limits.get(name))
        known[name] = one._replace(default=_fitting(notebook, name, one, default))
    return known


def checked_parameters(notebook: Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with the types the notebook declares; text from a command line is parsed.

    Raises
    ------
    ValueError
        A name that the notebook does not have (papermill would only warn), or a value that does
        not fit the declared type or is out of the limits.
    """
    known = known_parameters(notebook)
    for name in parameters:
        if name not in known:
            raise ValueError(
                f"parameter of {notebook.stem} must be one of {', '.join(known)}, got {name!r}"
            )
    return {
        name: _fitting(notebook, name, known[name], value) for name, value in parameters.items()
    }


def _kind(default: Any) -> str:
    """The kind of a default: its type, for a list with the common kind of its elements."""
    if not isinstance(default, list):
        return type(default).__name__
    kinds = {_kind(element) for element in default}
    kinds = {"float"} if kinds == {"int", "float"} else kinds
    return f"list[{kinds.pop()}]" if len(kinds) == 1 else "list"


def _fitting(notebook: Path, name: str, parameter: Parameter, value: Any) -> Any:
    """The value as one of the parameter's kind, or a ValueError that says what to write.

    A list is empty only where the default is: what it loops over would have no results.
    """
    kind, default, limits = parameter
    wanted, hint = kind, ""
    try:
        fitted = _fitted(kind, value)
        if _is_within(fitted, limits) and (fitted != [] or not default):
            return fitted
        if fitted == []:
            wanted += " of at least one value"
        elif all(isinstance(limit, str) for limit in limits):
            wanted += f" of {', '.join(limits)}"
        else:
            wanted += f" in {limits[0]}..{limits[1]}"
    except (TypeError, ValueError, OverflowError, RecursionError, yaml.YAMLError):
        known = kind in ("bool", "int", "float", "str") or kind.startswith("list")
        wanted = kind if known else "bool, int, float, str or list"
        if kind.startswith("list") and isinstance(value, str | int | float):
            parts = str(value).strip("[] ").split(",")
            hint = f"; write [{', '.join(part.strip() for part in parts)}]"
            if kind.startswith("list[list"):
                hint = hint.replace("[", "[[").replace("]", "]]")
    raise ValueError(f"{name} of {notebook.stem} must be {wanted}, got {short(value)}{hint}")


def _is_within(value: Any, limits: Any) -> bool:
    """Whether a value, or each element of a list, is within limits, if there are any."""
    if limits is None:
        return True
    if isinstance(value, list):
        return all(_is_within(element, limits) for element in value)
    if isinstance(value, str):
        return re.sub(r"\d+", "W", value) in limits or value in limits
    return bool(limits[0] <= value <= limits[1])


def _fitted(kind: str, value: Any) -> Any:
    """The value as one of `kind`; text is parsed as YAML unless text is wanted."""
    if isinstance(value, str):
        if kind == "str":
            return value
        value = yaml.safe_load(value)
    if kind == "list" and isinstance(value, list):
        json.dumps(value, allow_nan=False)  # an executed copy, and provenance, are JSON
        return value
    if kind.startswith("list[") and isinstance(value, list):
        return [_fitted(kind[5:-1], element) for element in value]
    if kind == "float" and not isinstance(value, bool):
        number = float(value)  # also of text: YAML takes 1e-3 for a word
        if math.isfinite(number):
            return number
    elif kind in ("bool", "int") and type(value).__name__ == kind:
        return value
    raise TypeError(kind)
