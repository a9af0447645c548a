"""The library stands alone: what a wheel holds, and what using it brings into a process."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STUDY = ("cupy", "matplotlib", "pandas", "papermill", "seaborn", "sklearn", "torch", "zstandard")

TEN_LINES = """
import sys
import numpy as np
import f2f

rng = np.random.default_rng(0)
weight = rng.integers(-127, 128, (64, 512)).astype(np.int8)
weight[rng.random(weight.shape) < 0.9] = 0
tensor = f2f.compress(weight, beam=4)
f2f.save(sys.argv[1], {"layer": tensor})
again = f2f.decompress(f2f.load(sys.argv[1])["layer"])
assert (again == weight).all()
assert (f2f.spmv(tensor, np.arange(512)) == weight.astype(int) @ np.arange(512)).all()
print(*(name for name in sys.argv[2:] if name in sys.modules))
"""


def test_using_the_library_loads_nothing_of_the_study(tmp_path):
    command = [sys.executable, "-c", TEN_LINES, str(tmp_path / "a.safetensors"), "f2f_study"]
    done = subprocess.run([*command, *STUDY], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The names in a wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    # A copy: what builds it writes beside the packages.
    shutil.copytree(ROOT / "lib", source / "lib", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (source / name).symlink_to(ROOT / name)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", str(folder), str(source)], check=True)
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path).namelist()


def test_a_wheel_holds_both_packages_and_their_kernels(wheel):
    """Every module, and what is no module but is read: CUDA sources and the type marker."""
    kept = {".py", ".cu", ".typed"}
    files = {
        path.relative_to(ROOT / "lib").as_posix()
        for package in ("f2f", "f2f_study")
        for path in (ROOT / "lib" / package).rglob("*")
        if path.suffix in kept
    }
    assert {"f2f/product/encoded.cu", "f2f/py.typed", "f2f_study/py.typed"} <= files
    assert files <= set(wheel)
