"""How a result came about: code, versions, hardware, parameters (`provenance.json`)."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

import f2f
from f2f.base.atomic import atomic_write
from f2f_study.results import repository_root

# The packages whose version can change a number or a figure.
PACKAGES = (
    "f2f",
    "numpy",
    "scipy",
    "numba",
    "pandas",
    "matplotlib",
    "seaborn",
    "torch",
    "safetensors",
)

# What the fingerprint compresses, beside the exact encoder.
FINGERPRINT_DTYPES = ("int8", "float16", "bfloat16", "float32")


def gather(**parameters: Any) -> dict[str, Any]:
    """What a result depends on: commit, fingerprint, versions, hardware, and what is given.

    The parameters are values that JSON can hold.
    """
    return {
        "commit": commit(),
        "fingerprint": fingerprint(),
        "python": platform.python_version(),
        "versions": {package: _version(package) for package in PACKAGES},
        "hardware": hardware(),
        "system": platform.platform(),
        "threads": os.environ.get("NUMBA_NUM_THREADS", str(os.cpu_count())),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python", *sys.orig_argv[1:]]),
        "parameters": parameters,
    }


def write(folder: str | os.PathLike[str], facts: dict[str, Any]) -> Path:
    """Write `provenance.json` into a run's folder; returns its path."""
    path = Path(folder) / "provenance.json"
    with atomic_write(path) as file:
        file.write((json.dumps(facts, indent=2, ensure_ascii=False) + "\n").encode())
    return path


def read(folder: Path) -> dict[str, Any]:
    """`provenance.json` of a run: facts, among them `notebooks`, those of every notebook by name.

    Raises
    ------
    ValueError
        The file is no provenance of a run; the message names it.
    """
    path = folder / "provenance.json"
    if not path.exists():
        return {"notebooks": {}}
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        return facts | {"notebooks": dict(facts["notebooks"])}
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} must be the provenance of a run, got {error!r}") from None


def commit() -> str:
    """The commit of the checkout; "unknown" outside one.

    "+changes" follows it where files differ that git follows, those of runs apart.
    """

    def git(*words: str) -> str:
        command = ["git", "-C", str(repository_root()), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        head = git("rev-parse", "HEAD")
        return head + (
            "+changes" if git("status", "--porcelain", "-uno", "--", ".", ":!runs") else ""
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


@functools.cache
def fingerprint() -> dict[str, str]:
    """Hashes of what a few small fixed tensors compress to: equal where the code codes alike.

    Returns
    -------
    dict of str to str
        For each of `FINGERPRINT_DTYPES`, compressed with the defaults, and for "exact", int8 by
        Algorithm 3: the first 16 hex digits of the SHA-256 of every stored array.
    """
    rng = np.random.default_rng(0)
    words = rng.integers(-127, 128, (48, 64)).astype(np.int8)
    words[rng.random(words.shape) < 0.8] = 0
    numbers = np.where(words, rng.standard_normal(words.shape), 0)
    found = {}
    for name in FINGERPRINT_DTYPES:
        found[name] = _hash(f2f.compress(words if name == "int8" else numbers.astype(name)))
    return found | {"exact": _hash(f2f.compress(words, n_s=1, method="viterbi", order="row"))}


def _hash(tensor: f2f.CompressedTensor) -> str:
    digest = hashlib.sha256()
    for name, array in sorted(tensor.arrays().items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
    return digest.hexdigest()[:16]


@functools.cache
def hardware() -> str:
    """This machine in words: CPU, cores, memory, and the GPU or that there is none."""
    name = platform.processor() or platform.machine()
    vectors: list[str] = []
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        pairs = [line.split(":", 1) for line in lines if ":" in line]
        facts = {key.strip(): value.strip() for key, value in pairs}
        name = facts.get("model name", name)
        flags = facts.get("flags", "").split()
        vectors = [flag for flag in ("avx2", "avx512bw", "gfni") if flag in flags]
    except OSError:
        pass
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return ", ".join([name, f"{os.cpu_count()} cores", *vectors, f"{memory:.0f} GiB", _gpu()])


def _gpu() -> str:
    """The name of the first NVIDIA GPU as its driver reports it, or "no GPU"."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return "no GPU"
    return found.stdout.strip().splitlines()[0] if found.stdout.strip() else "no GPU"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
