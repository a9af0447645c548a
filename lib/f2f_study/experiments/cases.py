"""The cases of a study: every combination of what is varied, measured on all cores.

A case is the keyword arguments of a measurement; a measurement returns one flat row as a
dictionary; a study is a data frame, one row a case. The columns are defined in `runs/README.md`.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pandas as pd


def combinations(**axes: Any) -> list[dict[str, Any]]:
    """Every combination of the arguments that are lists, tuples or ranges, the last fastest.

    Any other value is the same in every case.

    >>> combinations(n_s=(0, 1), sparsity=0.9)
    [{'n_s': 0, 'sparsity': 0.9}, {'n_s': 1, 'sparsity': 0.9}]
    """
    values = [axis if isinstance(axis, list | tuple | range) else [axis] for axis in axes.values()]
    return [dict(zip(axes, case, strict=True)) for case in itertools.product(*values)]


def measure_all(
    measure: Callable[..., dict[str, Any]], cases: Iterable[dict[str, Any]]
) -> pd.DataFrame:
    """Measure every case, in order, on all cores: one row a case.

    `measure` takes the arguments of a case by name and returns a row. It must release the lock to
    gain from several cores, as the encoders and decoders do.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return pd.DataFrame(list(pool.map(lambda case: measure(**case), cases)))
