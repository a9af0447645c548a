"""Compile the kernels ahead of their first use: `python -m f2f.ahead`.

Small tensors of the common dtypes, and masks of every kind, go through compressing, decompressing
and products; what is compiled on the way lies in the cache of `f2f.base.jit` from then on. Cases
run side by side in processes.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import ml_dtypes
import numpy as np

from f2f.format.codec import compress, decompress
from f2f.parallel import end_with
from f2f.product import spmm, spmv

# dtype, and options of `compress`; what takes longest comes first.
CASES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("int8", {"beam": 16}),
    ("float32", {"beam": 16, "mask_codec": "bitmap"}),
    ("bfloat16", {"beam": 16, "mask_codec": "bitmap", "order": "golden"}),
    ("int8", {"n_s": 0, "n_out": 60, "beam": 256, "mask_codec": "bitmap"}),  # every state
    ("int8", {"n_s": 1, "n_out": 60, "method": "viterbi", "mask_codec": "list", "order": "row"}),
)


def compile_case(number: int) -> None:
    """Compile what one of `CASES` needs."""
    dtype, options = CASES[number]
    rng = np.random.default_rng(0)
    values = rng.integers(-127, 128, (256, 512))
    values[rng.random(values.shape) < 0.9] = 0
    weight = values.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    tensor = compress(weight, **options)
    decompress(tensor)
    x = rng.standard_normal(512)
    for precision in (np.float32, np.float64):
        spmv(tensor, x.astype(precision))
        spmm(tensor, np.stack([x.astype(precision)] * 4, axis=1))
    spmv(tensor, x.astype(np.int64))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: compile all cases, on all cores; returns 0."""
    argparse.ArgumentParser(prog="python -m f2f.ahead", description=__doc__).parse_args(arguments)
    os.environ["F2F_QUIET"] = "1"
    context = get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), context, end_with, (os.getpid(),)) as pool:
        list(pool.map(compile_case, range(len(CASES))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
