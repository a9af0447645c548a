"""Compiled kernels are found again, never those of other sources, and need no place to write."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import f2f


@pytest.fixture
def sources(tmp_path):
    """A copy of the package's foundation with a kernel that calls another file's."""
    package = tmp_path / "lib" / "f2f"
    (package / "base").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    for name in ("__init__.py", "jit.py"):
        shutil.copy(Path(f2f.__file__).parent / "base" / name, package / "base" / name)
    (package / "factor.py").write_text(
        "from f2f.base.jit import njit\n@njit\ndef times(x):\n    return 2 * x\n"
    )
    (package / "kernel.py").write_text(
        "from f2f.base.jit import njit\nfrom f2f.factor import times\n"
        "@njit\ndef apply(x):\n    return times(x)\n"
    )
    return package


CALL = "from f2f.kernel import apply; print(apply(21))"


def run(sources, code=CALL, *, quiet=False, **environment):
    """(what the code prints, standard error)."""
    variables = {k: v for k, v in os.environ.items() if k not in ("NUMBA_CACHE_DIR", "F2F_QUIET")}
    variables |= {"PYTHONPATH": str(sources.parent), "PYTHONDONTWRITEBYTECODE": "1"} | environment
    if quiet:
        variables["F2F_QUIET"] = "1"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=variables, check=True)
    return int(done.stdout), done.stderr


def test_a_call_says_that_it_compiles_once_and_again_when_another_file_has_changed(sources):
    value, said = run(sources)
    assert value == 42 and said.startswith("f2f: compiling kernels") and said.count("\n") == 1
    assert run(sources) == (42, "")
    path = sources / "factor.py"
    path.write_text(path.read_text().replace("2 * x", "3 * x"))
    assert run(sources, quiet=True) == (63, "")


def test_the_cache_of_a_version_with_types_that_are_gone(sources):
    kernel = (
        "from typing import NamedTuple\nfrom f2f.base.jit import njit\n"
        "class Pair(NamedTuple):\n    x: int\n    y: int\n"
        "@njit\ndef apply(pair):\n    return pair.x * pair.y\n"
    )
    for name in ("Pair", "Couple"):
        (sources / "kernel.py").write_text(kernel.replace("Pair", name))
        call = f"from f2f.kernel import apply, {name}; print(apply({name}(6, 7)))"
        value, said = run(sources, call)
        assert value == 42 and said.startswith("f2f: compiling kernels")
    assert run(sources, call) == (42, "")


def test_no_place_to_write_is_no_error(sources, tmp_path):
    nowhere = tmp_path / "file"
    nowhere.write_text("")
    unusable = str(nowhere / "below")
    # Root may write anywhere: a file stands where each folder would.
    (sources / "__pycache__").write_text("")
    value, said = run(sources, XDG_CACHE_HOME=unusable, HOME=unusable)
    assert value == 42 and "compiling" in said


READ_ONLY = """
import tempfile
def refuse(*_, **options):
    raise PermissionError
tempfile.TemporaryFile = refuse
"""


def test_a_named_folder_is_used_and_read_where_it_is_read_only(sources, tmp_path):
    named = {"NUMBA_CACHE_DIR": str(tmp_path / "named")}
    run(sources, **named)
    assert list((tmp_path / "named").rglob("*.nbc"))
    assert not (sources / "__pycache__").exists()
    assert run(sources, READ_ONLY + CALL, **named) == (42, "")


def test_constant_arguments_are_not_compiled_apart(sources):
    (sources / "kernel.py").write_text(
        "from f2f.base.jit import njit\nfrom f2f.factor import times\n"
        "@njit\ndef apply(x):\n    return times(x) + times(1) - times(x=1)\n"
    )
    code = "from f2f.factor import times; from f2f.kernel import apply; "
    assert run(sources, code + "apply(21); print(len(times.signatures))", quiet=True) == (1, "")
