"""Decompressing the default file: this version, the one before, zstd and ZipNN, in one run.

    python benchmarks/decompress.py [--before CHECKOUT] [--out FOLDER] [--repeats N]

Normal values pruned at random, with the defaults of `f2f.compress`; zstd (level 3) and ZipNN as
`f2f_study.baselines.storage` has them. "first": fresh from the file, nothing of the tensor is
prepared; "again": decompressed before; of FP32 also a call of `CompressedLinear`, batch 1, and of
the dense layer, with torch's threads. Each is a process of its own; samples, wall time, are taken
by turns, medians printed, and all samples go to decompress.csv, with the processor. Checked first:
all give the tensor back, the layers the same bits. AVX2 only: as `benchmarks/decode.py` says.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pandas as pd
from _versions import CHECKOUT, Request, Version, answer, arguments, versions

CASES = [("int8", 0.9, 2048), ("int8", 0.9, 8192), ("bfloat16", 0.5, 2048), ("float32", 0.9, 2048)]
PEERS = ("zstd", "zipnn")
KEYS = ["dtype", "sparsity", "side", "call", "format"]
FOLDER = tempfile.TemporaryDirectory()
Call = Callable[[], Any]


def weights(dtype: str, sparsity: float, side: int) -> np.ndarray:
    """(side, side), INT8 with a scale for the tensor."""
    rng = np.random.default_rng(0)
    array: Any = rng.standard_normal((side, side), dtype=np.float32)
    if dtype == "int8":
        array = np.round(array * (127 / np.abs(array).max()))
        array[array == 0] = 1
    array = array.astype(getattr(ml_dtypes, dtype, dtype))
    array[rng.random(array.shape, dtype=np.float32) < sparsity] = 0
    return array


@cache
def prepared(form: str, *case: Any) -> tuple[Callable[[], Call], dict[str, Call]]:
    """What gives the next first call of a format, and its other calls."""
    array = weights(*case)
    if form in PEERS:
        from f2f_study.baselines.storage import pack, unpack

        stored = pack(form, array)
        fresh, others = lambda: partial(unpack, form, stored, array.shape, array.dtype), {}
    else:
        fresh, others = ours(array)
    if np.asarray(fresh()()).tobytes() != array.tobytes():
        raise RuntimeError(f"{form} does not give the tensor back")
    return fresh, others


def ours(array: np.ndarray) -> tuple[Callable[[], Call], dict[str, Call]]:
    """As `prepared`, of the version that is imported."""
    import f2f

    path = Path(FOLDER.name, f"{array.dtype}_{len(array)}.safetensors")
    f2f.save(path, {"w": f2f.compress(array, threads=2)})
    kept = f2f.load(path)["w"]
    found: dict[str, Call] = {"again": partial(f2f.decompress, kept)}
    if array.dtype == np.float32:
        import torch

        from f2f.nn import CompressedLinear

        torch.set_grad_enabled(False)
        dense = torch.nn.Linear(*array.shape[::-1], bias=False)
        dense.weight = torch.nn.Parameter(torch.from_numpy(array.copy()))
        layer = CompressedLinear(dataclasses.replace(kept, library="torch"))
        x = torch.ones(1, array.shape[1])
        if not torch.equal(layer(x), dense(x)):
            raise RuntimeError("the layer is not the dense one")
        found |= {"layer": partial(layer, x), "dense layer": partial(dense, x)}
    return lambda: partial(f2f.decompress, f2f.load(path)["w"]), found


def measure(request: Request) -> dict[str, float]:
    """A worker's answer: a sample of each call, in ms."""
    fresh, others = prepared(request["format"], *request["case"])
    sample = {}
    for call, run in ({"first": fresh()} | others).items():
        start = time.perf_counter()
        result = run()
        sample[call] = 1e3 * (time.perf_counter() - start)
        del result
    return sample


def main() -> int:
    """Check, measure, print, write."""
    given = arguments(__file__, __doc__, repeats=25).parse_args()
    if given.worker:
        return answer(measure)
    from f2f.decoder.gates import LOWERINGS
    from f2f_study import provenance, results

    workers = versions(given.before, __file__)
    workers += [Version(peer, CHECKOUT, __file__) for peer in PEERS]
    rows: list[tuple[Any, ...]] = []
    for case in CASES:
        for repeat in range(-1, given.repeats):  # the first is not counted
            for worker in workers:
                sample = worker({"format": worker.name, "case": case})
                rows += [(*case, call, worker.name, repeat, ms) for call, ms in sample.items()]
    samples = pd.DataFrame(rows, columns=[*KEYS, "repeat", "time_ms"]).query("repeat >= 0")
    samples["ns_per_weight"] = 1e6 * samples["time_ms"] / samples["side"] ** 2
    samples = samples.assign(lowering=LOWERINGS[0], hardware=provenance.hardware())
    results.write_csv(given.out / "decompress.csv", samples)
    table = samples.groupby(KEYS, sort=False)[["time_ms", "ns_per_weight"]].median().unstack()
    ratios = table["time_ms"].div(table["time_ms"]["now"], axis=0).drop(columns="now")
    print(f"lowering {LOWERINGS[0]}; {provenance.hardware()}")
    print(table.join(pd.concat({"times now's": ratios}, axis=1)).round(3).to_string())
    return 0


if __name__ == "__main__":
    sys.exit(main())
