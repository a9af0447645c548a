"""Run the benchmarks, `python -m benchmarks [NAME ...]`: every program of this folder by turns.

Each checks its results first, then measures, prints a table, and exits non-zero if a check or a
stated requirement fails. NAME selects those whose file name contains it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main(names: list[str]) -> int:
    """Run the selected programs; returns 0 if all of them passed."""
    programs = [p for p in sorted(Path(__file__).parent.glob("*.py")) if p.name[0] != "_"]
    wrong = [name for name in names if not any(name in p.stem for p in programs)]
    if wrong:
        print(f"error: NAME must be part of one of {[p.stem for p in programs]}, got {wrong[0]!r}")
        return 2
    chosen = [p for p in programs if not names or any(name in p.stem for name in names)]
    failed = []
    for program in chosen:
        print(f"== {program.stem}", flush=True)
        if subprocess.run([sys.executable, str(program)]).returncode:
            failed.append(program.stem)
    print(f"{len(chosen) - len(failed)} passed, {len(failed)} failed {' '.join(failed)}".rstrip())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
