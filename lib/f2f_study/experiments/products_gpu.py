"""Times of matrix products on a GPU, encoded and in other formats; called by `f2f_study.experiments.products`.

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

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from f2f.base import validate
from f2f.format.codec import compress
from f2f.format.tensor import CompressedTensor
from f2f.product import device, gpu
from f2f_study.baselines import sizes as baselines

CSV = "spmv_gpu.csv"
FORMATS_CU = Path(baselines.__file__).with_name("formats.cu")
COLD = 4  # copies of a format's arrays together, in level-2 caches
MAX_COPIES = 64
FORMAT_THREADS = 256
FORMATS = (
    "copy",
    "dense_fp32",
    "dense_fp16",
    "csr_fp32",
    "delta_csr",
    "bitmap",
    "encoded",  # diagonal order, decoded by tensor cores
    "encoded_parity",  # the same, decoded by AND and POPC
    "encoded_golden",
)
# Largest norm(y - exact) / norm(exact) that a format may have; only FP16 sums may be coarse.
BOUNDS = {"dense_fp16": 2e-3}
BOUND = 1e-5

_SPIN = """
extern "C" __global__ void spin(long long cycles) {
  for (long long start = clock64(); clock64() - start < cycles;) {}
}"""


@dataclass(frozen=True)
class GpuRow:
    """One sample: the mean time of a product over one round of copies.

    device: name of the card. format: see `FORMATS`. dtype: of the weights. stored_bytes: of the
    format in device memory. moved_bytes: the least that a product reads and writes. copies: of the
    arrays, used in turn. error: norm(y - exact) / norm(exact). copy_gbytes_per_s: median
    bandwidth of the "copy" rows of the case. floor_us: moved_bytes at that bandwidth.
    """

    device: str
    format: str
    dtype: str
    rows: int
    cols: int
    sparsity: float
    columns: int
    repeat: int
    time_us: float
    stored_bytes: int
    moved_bytes: int
    copies: int
    error: float
    copy_gbytes_per_s: float
    floor_us: float


@dataclass(frozen=True)
class Case:
    """One matrix and number of columns; weights uniform (INT8) or normal, pruned at random."""

    rows: int
    cols: int
    sparsity: float
    columns: int = 1
    dtype: str = "int8"
    seed: int = 0


# What the issue asks for: sparsity at two sizes, sizes and columns at S = 0.9, float weights.
CASES = (
    *(Case(n, n, s) for n in (2048, 8192) for s in (0.5, 0.7, 0.8, 0.9, 0.95, 0.98)),
    *(Case(n, n, 0.9) for n in (4096, 16384)),
    *(Case(8192, 8192, 0.9, columns) for columns in (2, 4, 16, 64)),
    *(Case(8192, 8192, 0.9, 1, dtype) for dtype in ("float16", "float32")),
)


@dataclass(frozen=True)
class Candidate:
    """A format of a case on the device. launch(c) multiplies by copy c into `y`, which it may
    expect to be anything before."""

    launch: Callable[[int], None]
    y: Any
    stored_bytes: int
    moved_bytes: int
    copies: int


def status() -> str:
    """One line for results: the card that would be measured, or that none was, and why."""
    found = device.probe()
    return f"GPU: {found.name}" if found else f"GPU: not measured, {found.reason}"


def measure(cases: Sequence[Case] = CASES, repeats: int = 30) -> Iterator[GpuRow]:
    """Rows of all formats for all cases. Raises `RuntimeError` without a GPU."""
    xp = device.require()
    repeats = validate.integer("repeats", repeats, 1)
    for case in cases:
        yield from _measure_case(xp, case, repeats)
        xp.get_default_memory_pool().free_all_blocks()


def matrix(case: Case) -> np.ndarray:
    """The pruned weights of a case, (rows, cols)."""
    rng = np.random.default_rng(case.seed)
    if case.dtype == "int8":
        weight = rng.integers(-127, 128, (case.rows, case.cols), dtype=np.int8)
        weight[weight == 0] = 1
    else:
        weight = rng.standard_normal((case.rows, case.cols), dtype=np.float32).astype(case.dtype)
    weight[rng.random(weight.shape, dtype=np.float32) < case.sparsity] = 0
    return weight


def compare(rows: Iterable[GpuRow], form: str = "encoded") -> list[str]:
    """A line of text a case: median time of `form` with its 10th and 90th percentile, that over
    the medians of the other formats, and the share of it that the byte floor makes up."""
    cases: dict[tuple[Any, ...], dict[str, list[GpuRow]]] = {}
    for row in rows:
        case = (row.device, row.dtype, row.rows, row.cols, row.sparsity, row.columns)
        cases.setdefault(case, {}).setdefault(row.format, []).append(row)
    lines = []
    for (card, dtype, n_rows, n_cols, sparsity, columns), formats in cases.items():
        if form not in formats:
            continue
        times = {name: [row.time_us for row in found] for name, found in formats.items()}
        low, median, high = np.percentile(times[form], (10, 50, 90))
        ratios = [
            f"{median / np.median(times[name]):.2f} of {name}"
            for name in times
            if name not in ("copy", form)
        ]
        floor = formats[form][0].floor_us
        lines.append(
            f"{card}, {dtype}, {n_rows}x{n_cols}, S={sparsity}, {columns} columns: {form} "
            f"{median:.1f} us ({low:.1f} to {high:.1f}), {', '.join(ratios)}; "
            f"byte floor {floor:.1f} us, {floor / median:.0%} of the time"
        )
    return lines


def _measure_case(xp: Any, case: Case, repeats: int) -> Iterator[GpuRow]:
    weight = matrix(case)
    rng = np.random.default_rng(case.seed + 1)
    x = rng.standard_normal((case.cols, case.columns), dtype=np.float32)
    exact = _exact(weight, x)
    name = device.probe().name
    bandwidth = float("nan")
    for form in FORMATS:
        candidate = _prepare(xp, form, weight, x)
        error = 0.0
        if form != "copy":
            candidate.y[...] = np.nan
            candidate.launch(0)
            y = candidate.y.get().astype(np.float64)
            error = float(np.linalg.norm(y - exact)) / max(float(np.linalg.norm(exact)), 1e-300)
            if not error <= BOUNDS.get(form, BOUND):
                raise RuntimeError(f"{form} is wrong by {error:.3g} for {case}")
        samples = _time(xp, candidate, repeats)
        if form == "copy":
            bandwidth = candidate.moved_bytes / float(np.median(samples)) / 1e3
        for repeat, time_us in enumerate(samples):
            yield GpuRow(
                name, form, case.dtype, case.rows, case.cols, case.sparsity, case.columns, repeat,
                time_us, candidate.stored_bytes, candidate.moved_bytes, candidate.copies, error,
                bandwidth, candidate.moved_bytes / bandwidth / 1e3,
            )  # fmt: skip
        del candidate
        xp.get_default_memory_pool().free_all_blocks()


def _exact(weight: np.ndarray, x: np.ndarray) -> np.ndarray:
    """W X in float64, some rows at a time."""
    step = max(1, (1 << 24) // weight.shape[1])
    parts = [
        weight[r : r + step].astype(np.float64) @ x.astype(np.float64)
        for r in range(0, len(weight), step)
    ]
    return np.concatenate(parts)


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


def _prepare(xp: Any, form: str, weight: np.ndarray, x: np.ndarray) -> Candidate:
    makers = {
        "copy": _copy,
        "dense_fp32": _dense,
        "dense_fp16": _dense,
        "csr_fp32": _csr,
        "delta_csr": _own_format,
        "bitmap": _own_format,
        "encoded": _encoded,
        "encoded_parity": _encoded,
        "encoded_golden": _encoded,
    }
    return makers[form](xp, form, weight, x)


def _copies(xp: Any, stored_bytes: int) -> int:
    """How many copies make the cache cold, with at most a third of the free memory."""
    free = xp.cuda.runtime.memGetInfo()[0]
    cache = xp.cuda.runtime.getDeviceProperties(xp.cuda.runtime.getDevice())["l2CacheSize"]
    wanted = -(-COLD * int(cache) // max(stored_bytes, 1))
    return int(max(2, min(wanted, MAX_COPIES, free // 3 // max(stored_bytes, 1))))


def _moved(stored_bytes: int, weight: np.ndarray, x: Any, item: int = 4) -> int:
    return stored_bytes + item * (x.size + weight.shape[0] * x.shape[1])


def _copy(xp: Any, form: str, weight: np.ndarray, x: np.ndarray) -> Candidate:
    stored = 4 * weight.size
    copies = _copies(xp, stored)
    sources = [xp.ones(weight.size, dtype=xp.float32) for _ in range(copies)]
    target = xp.empty(weight.size, dtype=xp.float32)

    def launch(c: int) -> None:
        target.data.copy_from_device_async(sources[c].data, stored)

    return Candidate(launch, target, stored, 2 * stored, copies)


def _dense(xp: Any, form: str, weight: np.ndarray, x: np.ndarray) -> Candidate:
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


def _csr(xp: Any, form: str, weight: np.ndarray, x: np.ndarray) -> Candidate:
    import scipy.sparse
    from cupyx import cusparse
    from cupyx.scipy import sparse

    packed = scipy.sparse.csr_matrix(weight.astype(np.float32))
    stored = packed.data.nbytes + packed.indices.nbytes + packed.indptr.nbytes
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
    packed = baselines.pack(form, weight)
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


def _own_format(xp: Any, form: str, weight: np.ndarray, x: np.ndarray) -> Candidate:
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


def _encoded(xp: Any, form: str, weight: np.ndarray, x: np.ndarray) -> Candidate:
    decode = "parity" if form == "encoded_parity" else "auto"
    first = gpu.prepare(_compressed(weight, "golden" if form == "encoded_golden" else "diagonal"))
    assert first.layout is not None
    copies = _copies(xp, first.nbytes)
    matrices = [first] + [first.copy() for _ in range(copies - 1)]
    sum_type = np.dtype(np.float32)
    vector = xp.asarray(x)
    y = xp.empty((len(weight), x.shape[1]), dtype=sum_type)

    def launch(c: int) -> None:
        y.data.memset_async(0, y.nbytes)
        gpu.multiply(matrices[c], vector, y, sum_type, None, decode)

    return Candidate(launch, y, first.nbytes, first.layout.bytes_moved(x.shape[1]), copies)


_LAST: list[tuple[np.ndarray, str, CompressedTensor]] = []


def _compressed(weight: np.ndarray, order: str) -> CompressedTensor:
    """The tensor of `weight`; the last one is kept, for the next format of the same case."""
    if not _LAST or _LAST[0][0] is not weight or _LAST[0][1] != order:
        threads = os.cpu_count() or 1
        tensor = compress(weight, order=order, threads=threads, mask_codec="bitmap")
        _LAST[:] = [(weight, order, tensor)]
    return _LAST[0][2]
