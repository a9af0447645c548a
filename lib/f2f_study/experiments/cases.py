"""The cases of a study: every combination of what is varied, measured.

A case is the keyword arguments of a measurement; a measurement returns one flat row as a
dictionary; a study is a data frame, one row a case. The columns are defined in `runs/README.md`.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pandas as pd
from tqdm import tqdm


def combinations(**axes: Any) -> list[dict[str, Any]]:
    """Every combination of the arguments that are lists, tuples or ranges, the last fastest.

    Any other value is the same in every case.

    >>> combinations(n_s=(0, 1), sparsity=0.9)
    [{'n_s': 0, 'sparsity': 0.9}, {'n_s': 1, 'sparsity': 0.9}]
    """
    values = [axis if isinstance(axis, list | tuple | range) else [axis] for axis in axes.values()]
    return [dict(zip(axes, case, strict=True)) for case in itertools.product(*values)]


def measure_all(
    measure: Callable[..., dict[str, Any]],
    cases: Sequence[dict[str, Any]],
    at_a_time: int | None = None,
) -> pd.DataFrame:
    """Measure every case, in order: one row a case.

    `measure` takes the arguments of a case by name and returns a row. Cases are measured together,
    one a core, for which `measure` must release the lock, as encoders and decoders do; where it
    takes times, one `at_a_time`.
    """
    with ThreadPoolExecutor(at_a_time or os.cpu_count()) as pool:
        rows = pool.map(lambda case: measure(**case), cases)
        return pd.DataFrame(list(tqdm(rows, total=len(cases), unit=" cases", delay=2)))
