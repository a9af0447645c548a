"""The .smtx text of the Deep Learning Matrix Collection: a sparse pattern in CSR, no values.

Line 1 ``rows, cols, nnz``, line 2 the rows + 1 row offsets, line 3 the nnz column indices.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from f2f.base.errors import FormatError

_MAX_WEIGHTS = 2**31 - 1  # more, of which a small file may speak, no matrix of the collection has


def read_smtx(path: str | os.PathLike[str]) -> np.ndarray:
    """The pattern of a file as a mask, bool (rows, cols), True where the file has an entry.

    `FormatError` names the file where it is no valid pattern.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
        rows, cols, nnz = (int(word) for word in lines[0].split(","))
        offsets = np.array(lines[1].split(), dtype=np.int64)
        columns = np.array(lines[2].split() if len(lines) > 2 else [], dtype=np.int64)
    except (ValueError, OverflowError, IndexError) as error:
        raise FormatError(f"{path}: cannot be read as .smtx: {error}") from error
    if min(rows, cols, nnz) < 0 or len(offsets) != rows + 1 or len(columns) != nnz:
        raise FormatError(
            f"{path}: header says {rows} rows and {nnz} entries, "
            f"found {len(offsets)} offsets and {len(columns)} columns"
        )
    if rows * cols > _MAX_WEIGHTS:
        raise FormatError(f"{path}: {rows} x {cols} weights are more than {_MAX_WEIGHTS}")
    counts = np.diff(offsets)
    if offsets[0] != 0 or offsets[-1] != nnz or (counts < 0).any():
        raise FormatError(f"{path}: row offsets must rise from 0 to {nnz}")
    if nnz and not 0 <= columns.min() <= columns.max() < cols:
        raise FormatError(f"{path}: column indices must lie in 0..{cols - 1}")
    mask = np.zeros((rows, cols), dtype=bool)
    mask[np.repeat(np.arange(rows), counts), columns] = True
    if np.count_nonzero(mask) != nnz:
        raise FormatError(f"{path}: an entry occurs twice")
    return mask
