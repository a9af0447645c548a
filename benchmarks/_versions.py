"""Versions of the package side by side: each in a process of its own, which answers requests.

A benchmark starts itself once for every version, with ``--worker`` and that version's library first
on the path. A request is a line of JSON, and so is its answer.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parent.parent
Request = dict[str, Any]


class Version:
    """A program that answers requests with the package of one checkout.

    Raises `SystemExit` where the checkout has no package, or the process imports another one.
    """

    def __init__(self, name: str, checkout: Path, program: str) -> None:
        self.name = name
        package = checkout.resolve() / "lib" / "f2f"
        if not package.is_dir():
            raise SystemExit(f"version {name!r} must be a checkout, which has lib/f2f: {checkout}")
        environment = os.environ | {"PYTHONPATH": str(package.parent), "F2F_QUIET": "1"}
        self._process = subprocess.Popen(
            [sys.executable, program, "--worker"],
            env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        found = self({})
        if Path(found).resolve() != package / "__init__.py":
            raise SystemExit(f"version {name!r} must import {package}, imported {found}")

    def __call__(self, request: Request) -> Any:
        assert self._process.stdin and self._process.stdout
        print(json.dumps(request), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"version {self.name!r} stopped at {request}")
        return json.loads(line)


def arguments(program: str, description: str, repeats: int) -> argparse.ArgumentParser:
    """The options that such benchmarks have in common."""
    out = Path("runs/benchmarks", Path(program).stem)
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--before", type=Path, help="checkout of the version to compare with")
    parser.add_argument("--out", type=Path, default=out, help="folder of the CSV file")
    parser.add_argument("--repeats", type=int, default=repeats, help="samples of each time")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser


def versions(before: Path | None, program: str) -> list[Version]:
    """This version, "now", and the one in the checkout `before`, if there is one."""
    found = [Version("now", CHECKOUT, program)]
    return [*found, Version("before", before, program)] if before else found


def answer(measure: Callable[[Request], Any]) -> int:
    """Be a worker until the requests end; an empty one asks where f2f lies."""
    import f2f

    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(measure(request) if request else str(f2f.__file__)), flush=True)
    return 0
