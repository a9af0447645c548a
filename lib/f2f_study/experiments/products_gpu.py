"""Times of matrix products on a GPU, encoded and in other formats; called by `products`.

Every format of one case multiplies the same matrix by the same x. A format is first checked
against the product in float64; one that is outside its bound is an error, not a row. Then it is
timed with a cold cache: there are so many copies of its arrays that together they are `COLD` times
the level-2 cache, and successive products use successive copies. A kernel that spins keeps the
device busy until a whole round over the copies is queued, so that no launch waits for the CPU;
events stand around each round, and one sample is the time of a round by its number of products.
The format "copy" is a device-to-device copy of the dense FP32 matrix: its bytes (read and written)
by its time are the bandwidth that the byte floors of the other rows are stated against.

Without a GPU `measure` raises `RuntimeError`, saying why, and nothing is written.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse

from f2f.base import validate
from f2f.format.codec import compress
from f2f.format.tensor import CompressedTensor
from f2f.product import device, gpu
from f2f_study import results
from f2f_study.baselines import csr, storage
from f2f_study.experiments.product_cases import BOUND, CASE, Case, Problem

CSV = "spmv_gpu.csv"
FORMATS_CU = Path(storage.__file__).with_name("formats.cu")
COLD = 4  # copies of a format's arrays together, in level-2 caches
MAX_COPIES = 64
FORMAT_THREADS = 256
BOUNDS = {"dense_fp16": 2e-3}  # of formats that sum in FP16; all others have `BOUND`
COLUMNS = [
    "device", "format", "dtype", *CASE, "repeat", "time_us", "stored_bytes", "moved_bytes",
    "copies", "error", "copy_gbytes_per_s", "floor_us",
]  # fmt: skip

_SPIN = """
extern "C" __global__ void spin(long long cycles) {
  for (long long start = clock64(); clock64() - start < cycles;) {}
}"""

# Sparsity at two sizes, sizes and columns at S = 0.9, float weights.
CASES = (
    *(Case(n, n, s) for n in (2048, 8192) for s in (0.5, 0.7, 0.8, 0.9, 0.95, 0.98)),
    *(Case(n, n, 0.9) for n in (4096, 16384)),
    *(Case(8192, 8192, 0.9, columns) for columns in (2, 4, 16, 64)),
    *(Case(8192, 8192, 0.9, 1, dtype) for dtype in ("float16", "float32")),
)


class Candidate(NamedTuple):
    """A format of a case on the device."""

    launch: Callable[[int], None]  # multiplies by copy c into `y`, which may hold anything before
    y: Any  # the product, cupy.ndarray (rows, columns)
    stored_bytes: int  # of the format in device memory
    moved_bytes: int  # the least that a product reads and writes
    copies: int  # of the arrays, used in turn


def status() -> str:
    """One line for results: the card that would be measured, or that none was, and why."""
    found = device.probe()
    return f"GPU: {found.name}" if found else f"GPU: not measured, {found.reason}"


def measure(cases: Sequence[Case] = CASES, repeats: int = 30) -> pd.DataFrame:
    """Time every format in every case, `repeats` samples each.

    One row a sample, the mean time of a product over one round of copies, with `COLUMNS` as
    runs/README.md defines them. `RuntimeError` without a GPU, or if a product is outside its bound.
    """
    xp = device.require()
    repeats = validate.integer("repeats", repeats, 1)
    parts = [_measure_case(xp, case, repeats) for case in cases]
    return pd.concat(parts, ignore_index=True)


def measured(folder: Path, repeats: int) -> Path | None:
    """The CSV file of `measure` in the folder of a notebook in its run.

    Measured here, else a copy of what the committed reference run holds (its column `device` names
    the card), else None.
    """
    path = folder / CSV
    reference = results.repository_root() / "runs" / "reference" / folder.name / CSV
    if device.probe():
        return results.write_csv(path, measure(repeats=repeats))
    if reference.exists() and reference != path:
        path.write_bytes(reference.read_bytes())
    return path if path.exists() else None


def _measure_case(xp: Any, case: Case, repeats: int) -> pd.DataFrame:
    problem = Problem(case)
    parts = []
    for form, make in FORMATS.items():
        candidate = make(xp, form, problem)
        error = 0.0
        if form != "copy":
            candidate.y[...] = np.nan
            candidate.launch(0)
            error = problem.error(form, candidate.y.get(), BOUNDS.get(form, BOUND))
        samples = pd.DataFrame({"time_us": _time(xp, candidate, repeats)}).rename_axis("repeat")
        parts.append(
            samples.reset_index().assign(
                format=form,
                error=error,
                stored_bytes=candidate.stored_bytes,
                moved_bytes=candidate.moved_bytes,
                copies=candidate.copies,
            )
        )
        del candidate
        xp.get_default_memory_pool().free_all_blocks()
    found = pd.concat(parts).assign(**case._asdict(), device=device.probe().name)
    copied = found[found["format"] == "copy"]
    bandwidth = copied["moved_bytes"].iloc[0] / copied["time_us"].median() / 1e3
    found["copy_gbytes_per_s"] = bandwidth
    found["floor_us"] = found["moved_bytes"] / bandwidth / 1e3
    return found[COLUMNS]


def _time(xp: Any, candidate: Candidate, repeats: int) -> list[float]:
    """Microseconds a product, one sample a round."""
    rounds = max(1, -(-8 // candidate.copies))  # at least 8 products between two events
    products = rounds * candidate.copies
    spin = xp.RawKernel(_SPIN, "spin")
    cycles = np.int64(100_000 * products)  # generously what the CPU needs to queue them
    for c in range(candidate.copies):  # warm up
        candidate.launch(c)
    samples = []
    for _ in range(repeats):
        start, stop = xp.cuda.Event(), xp.cuda.Event()
        spin((1,), (1,), (cycles,))
        start.record()
        for number in range(products):
            candidate.launch(number % candidate.copies)
        stop.record()
        stop.synchronize()
        samples.append(1e3 * xp.cuda.get_elapsed_time(start, stop) / products)
    return samples


def _copies(xp: Any, stored_bytes: int) -> int:
    """How many copies make the cache cold, with at most a third of the free memory."""
    free = xp.cuda.runtime.memGetInfo()[0]
    cache = xp.cuda.runtime.getDeviceProperties(xp.cuda.runtime.getDevice())["l2CacheSize"]
    wanted = -(-COLD * int(cache) // max(stored_bytes, 1))
    return int(max(2, min(wanted, MAX_COPIES, free // 3 // max(stored_bytes, 1))))


def _moved(stored_bytes: int, weight: np.ndarray, x: Any, item: int = 4) -> int:
    return stored_bytes + item * (x.size + weight.shape[0] * x.shape[1])


def _copy(xp: Any, form: str, problem: Problem) -> Candidate:
    stored = 4 * problem.weight.size
    copies = _copies(xp, stored)
    sources = [xp.ones(problem.weight.size, dtype=xp.float32) for _ in range(copies)]
    target = xp.empty(problem.weight.size, dtype=xp.float32)

    def launch(c: int) -> None:
        target.data.copy_from_device_async(sources[c].data, stored)

    return Candidate(launch, target, stored, 2 * stored, copies)


def _dense(xp: Any, form: str, problem: Problem) -> Candidate:
    weight, x = problem.weight, problem.x
    dtype = np.float16 if form == "dense_fp16" else np.float32
    first = xp.asarray(weight).astype(dtype)
    vector = xp.asarray(x).astype(dtype)
    copies = _copies(xp, first.nbytes)
    matrices = [first] + [first.copy() for _ in range(copies - 1)]
    y = xp.empty((len(weight), x.shape[1]), dtype=dtype)

    def launch(c: int) -> None:
        xp.matmul(matrices[c], vector, out=y)

    item = np.dtype(dtype).itemsize
    return Candidate(launch, y, first.nbytes, _moved(first.nbytes, weight, x, item), copies)


def _csr(xp: Any, form: str, problem: Problem) -> Candidate:
    from cupyx import cusparse
    from cupyx.scipy import sparse

    weight, x = problem.weight, problem.x
    packed = scipy.sparse.csr_matrix(weight.astype(np.float32))
    stored = csr.csr_bytes(packed)
    copies = _copies(xp, stored)
    matrices = [sparse.csr_matrix(packed) for _ in range(copies)]
    if x.shape[1] == 1:
        vector = xp.asarray(x[:, 0])
        y = xp.empty(len(weight), dtype=xp.float32)

        def launch(c: int) -> None:
            cusparse.spmv(matrices[c], vector, y=y, alpha=1, beta=0)

        return Candidate(launch, y[:, None], stored, _moved(stored, weight, x), copies)
    columns = xp.asarray(x, order="F")
    out = xp.empty((len(weight), x.shape[1]), dtype=xp.float32, order="F")

    def launch_columns(c: int) -> None:
        cusparse.spmm(matrices[c], columns, c=out, alpha=1, beta=0)

    return Candidate(launch_columns, out, stored, _moved(stored, weight, x), copies)


def pack_for_gpu(form: str, weight: np.ndarray) -> tuple[list[np.ndarray | np.uint32], np.ndarray]:
    """(arguments before the values, values) of the kernel `form` of `formats.cu`.

    delta_csr: rows start at multiples of 8 entries; entries that fill a row up advance by one
    column each, so x must have 7 elements of value 0 after its last.
    """
    packed = storage.pack(form, weight)
    values = packed["values"].view(weight.dtype)
    if form == "delta_csr":
        offsets = packed["offsets"].astype(np.int64)
        eights = -(-np.diff(offsets) // 8)
        starts = np.concatenate([[0], np.cumsum(eights)])
        row = np.repeat(np.arange(len(weight)), np.diff(offsets))
        at = np.arange(len(values)) - offsets[row] + 8 * starts[row]
        gaps = np.zeros(8 * starts[-1], dtype=np.uint8)
        gaps[at] = np.stack([packed["gaps"] & 15, packed["gaps"] >> 4], 1).reshape(-1)[: len(at)]
        padded = np.zeros(len(gaps), dtype=weight.dtype)
        padded[at] = values
        steps = (gaps[0::2] | gaps[1::2] << 4).astype(np.uint8).view("<u4")
        return [starts.astype(np.uint32), steps], padded
    words = -(-weight.shape[1] // 32)
    bits = np.zeros((len(weight), 32 * words), dtype=bool)
    bits[:, : weight.shape[1]] = weight != 0
    mask = np.packbits(bits, axis=1, bitorder="little").view("<u4")
    counts = np.count_nonzero(bits, axis=1)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.uint32)
    return [starts, np.ascontiguousarray(mask), np.uint32(words)], values


def format_options(dtype: Any, columns: int, threads: int = FORMAT_THREADS) -> tuple[str, ...]:
    """The compiler options of `formats.cu` for weights of `dtype`."""
    code = {"int8": 0, "float16": 3, "float32": 5}[np.dtype(dtype).name]
    values = {"VALUE": code, "COLUMNS": columns, "THREADS": threads}
    return ("--std=c++17", *(f"-D{name}={value}" for name, value in values.items()))


def _own_format(xp: Any, form: str, problem: Problem) -> Candidate:
    weight, x = problem.weight, problem.x
    before, values = pack_for_gpu(form, weight)
    rows, columns = len(weight), x.shape[1]
    arrays = [array for array in (*before, values) if isinstance(array, np.ndarray)]
    stored = sum(array.nbytes for array in arrays)
    copies = _copies(xp, stored)
    source = FORMATS_CU.read_text(encoding="utf-8")
    module = xp.RawModule(code=source, options=format_options(weight.dtype, columns))
    kernel = module.get_function(form)
    vector = xp.asarray(np.concatenate([x, np.zeros((8, columns), dtype=np.float32)]))
    scale = xp.ones(rows, dtype=xp.float32)
    y = xp.empty((rows, columns), dtype=xp.float32)
    sets = [
        [xp.asarray(a) if isinstance(a, np.ndarray) else a for a in (*before, values)]
        for _ in range(copies)
    ]
    grid = (-(-rows * 32 // FORMAT_THREADS),)

    def launch(c: int) -> None:
        kernel(grid, (FORMAT_THREADS,), (*sets[c], np.uint32(rows), vector, y, scale))

    return Candidate(launch, y, stored, _moved(stored, weight, x), copies)


@functools.lru_cache(maxsize=1)
def _compressed(problem: Problem, order: str) -> CompressedTensor:
    """The weights of a problem; the last result is kept for the next format that wants it."""
    threads = os.cpu_count() or 1
    return compress(problem.weight, order=order, mask_codec="bitmap", threads=threads)


def _encoded(xp: Any, form: str, problem: Problem) -> Candidate:
    weight, x = problem.weight, problem.x
    decode = "parity" if form == "encoded_parity" else "auto"
    order = "golden" if form == "encoded_golden" else "diagonal"
    first = gpu.DeviceMatrix(_compressed(problem, order))
    assert first.layout is not None
    copies = _copies(xp, first.nbytes)
    matrices = [first] + [first.copy() for _ in range(copies - 1)]
    sum_type = np.dtype(np.float32)
    vector = xp.asarray(x)
    y = xp.empty((len(weight), x.shape[1]), dtype=sum_type)

    def launch(c: int) -> None:
        y.data.memset_async(0, y.nbytes)
        gpu.multiply(matrices[c], vector, y, None, decode)

    return Candidate(launch, y, first.nbytes, first.layout.bytes_moved(x.shape[1]), copies)


FORMATS = {
    "copy": _copy,
    "dense_fp32": _dense,
    "dense_fp16": _dense,
    "csr_fp32": _csr,
    "delta_csr": _own_format,
    "bitmap": _own_format,
    "encoded": _encoded,  # diagonal order, decoded by tensor cores
    "encoded_parity": _encoded,  # the same, decoded by AND and POPC
    "encoded_golden": _encoded,
}
