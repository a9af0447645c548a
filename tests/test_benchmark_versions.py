"""A benchmark measures the versions it names, and no other that lies on the path."""

from pathlib import Path

import pytest
from benchmarks._versions import Version

PROGRAM = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1] / "benchmarks")!r})
from _versions import answer
sys.exit(answer(lambda request: 2 * request["number"]))
"""


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return str(path)


def checkout(folder, *files):
    package = folder / "lib" / "f2f"
    package.mkdir(parents=True)
    for name in files:
        (package / name).touch()
    return folder


def test_a_version_answers_until_it_fails(tmp_path, program):
    version = Version("one", checkout(tmp_path, "__init__.py"), program)
    assert [version({"number": number}) for number in (3, 4)] == [6, 8]
    with pytest.raises(SystemExit, match=r"'one' stopped at \{'other': 1\}"):
        version({"other": 1})


def test_a_checkout_without_the_package_is_refused(tmp_path, program):
    with pytest.raises(SystemExit, match="'old' must be a checkout, which has lib/f2f: .*nothing"):
        Version("old", tmp_path / "nothing", program)


def test_another_package_is_refused(tmp_path, program):
    with pytest.raises(SystemExit, match="'old' must import .*imported "):
        Version("old", checkout(tmp_path), program)
