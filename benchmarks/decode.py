"""Decoding speed on one core: payload to the first-level cache, and mask streams.

    python benchmarks/decode.py [--out FOLDER] [--repeats N] [--before LIB]

Eight planes of 8 KB are decoded again and again into the same buffer (GB of decoded bytes per
second, beside `memmove` of as many), and a stream of 262144 mask positions in chunks of 8192 (ns
per position); by every lowering of `f2f.decoder.gates` that the processor has, whose results are
checked against each other's first. LIB is the `lib` folder of an older version, say of a git
worktree, that is measured in the same run. Times are processor time; medians are printed and every
sample is written. With AVX2 only, on a processor that has more:
NUMBA_CPU_NAME=znver3 NUMBA_CPU_FEATURES=+avx2,+avx,+bmi,+bmi2,+fma,+f16c,+popcnt,+lzcnt,+sse4.2,\
+ssse3,+pclmul,+movbe and a NUMBA_CACHE_DIR of its own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd
from numba import njit

PAYLOADS = [  # n_out, n_s, matrix
    (64, 7, "random"), (80, 7, "random"), (80, 7, "folded"), (26, 7, "random"), (80, 2, "random"),
]  # fmt: skip
STREAMS = [34, 61, 70, 80, 300]  # n_out; a mask of S = 0.9 has 70, 61 and 34
BYTES, CHUNK, POSITIONS = 8192, 8192, 1 << 18
SAMPLE_S = 0.004
WORDS = POSITIONS // 64

Run = Callable[[int], Any]  # does its work so many times and returns the result


def aligned(size: int) -> np.ndarray:
    """uint8 (size,) that starts a page."""
    space = np.zeros(size + 4095, dtype=np.uint8)
    return space[-space.ctypes.data % 4096 :][:size]


def cases() -> Iterator[tuple[dict[str, Any], Run]]:
    """What to measure of this version: the columns that name it, and its work."""
    from f2f.base.intrinsics import copy_bytes
    from f2f.decoder import Decoder
    from f2f.decoder.gates import IDENTITY, LOWERINGS, decode_blocks, work_bytes
    from f2f.decoder.streams import and_stream, stream_work_bytes

    @njit
    def decode(inputs, blocks, gates, out, work, times):
        for _ in range(times):
            decode_blocks(inputs, 0, blocks, gates, IDENTITY, out, 0, work)

    @njit
    def thin(stream, gates, packed, work, times):
        for _ in range(times):
            for lo in range(0, POSITIONS, CHUNK):
                part = packed[lo // 64 :]
                and_stream(stream, gates, lo, lo + CHUNK, part, work)

    @njit
    def copy(source, target, times):
        for _ in range(times):
            copy_bytes(source, 0, target, 0, BYTES)

    memory = aligned(2 * BYTES)
    memmove = partial(copy, memory[:BYTES], memory[BYTES:])
    yield {"lowering": "memmove", "what": "payload", "n_out": 0, "matrix": ""}, memmove
    for lowering in LOWERINGS:
        for n_out, n_s, matrix in PAYLOADS:
            gates = Decoder(8, n_out, n_s, 0, matrix).gates_for(lowering)
            run = partial(run_payload, decode, (gates,), n_out, n_s, work_bytes(n_s))
            yield named(lowering, "payload", n_out, n_s, matrix), run
        for n_out in STREAMS:
            gates, work = Decoder(8, n_out, 7).gates_for(lowering), stream_work_bytes(n_out, 7)
            run = partial(run_stream, thin, mask_stream(n_out), (gates,), (aligned(work),))
            yield named(lowering, "stream", n_out, 7, "random"), run


def cases_before() -> Iterator[tuple[dict[str, Any], Run]]:
    """As `cases`, of versions before `Gates`, whose modules lay in one folder."""
    from f2f.maskcode import and_stream
    from f2f.simd import IDENTITY, decode_blocks, work_bytes

    from f2f.decoder import Decoder

    @njit
    def decode(inputs, blocks, sizes, index, out, work, times):
        affine = (IDENTITY, np.uint8(0))
        for _ in range(times):
            decode_blocks(inputs, 0, blocks, sizes, index, affine, out, 0, work, False)

    @njit
    def thin(stream, tables, n_out, packed, times):
        for _ in range(times):
            for lo in range(0, POSITIONS, CHUNK):
                part = packed[lo // 64 :]
                and_stream(stream, tables, n_out, 0, 1, lo, lo + CHUNK, part)

    for n_out, n_s, matrix in PAYLOADS:
        decoder = Decoder(8, n_out, n_s, 0, matrix)
        gates = (decoder.sizes, decoder.shuffle_index)
        run = partial(run_payload, decode, gates, n_out, n_s, work_bytes(n_s))
        yield named("before", "payload", n_out, n_s, matrix), run
    for n_out in STREAMS:
        gates = (Decoder(8, n_out, 7).tables, n_out)
        run = partial(run_stream, thin, mask_stream(n_out), gates, ())
        yield named("before", "stream", n_out, 7, "random"), run


def run_payload(
    decode: Any, gates: tuple[Any, ...], n_out: int, n_s: int, work: int, times: int
) -> np.ndarray:
    """Decode about BYTES words; output and work lie side by side, as in the package."""
    blocks, inputs = payload(n_out, n_s)
    buffer = aligned(2 * BYTES + work)
    decode(inputs, blocks, *gates, buffer, buffer[2 * BYTES :], times)
    return buffer[: blocks * n_out]


def run_stream(
    thin: Any, stream: np.ndarray, gates: tuple[Any, ...], work: tuple[Any, ...], times: int
) -> np.ndarray:
    """Decode the stream's bits into words."""
    packed = np.full(WORDS + 1, ~np.uint64(0))  # older kernels want a word to spare
    thin(stream, *gates, packed, *work, times)
    return packed[:-1]


def named(lowering: str, what: str, n_out: int, n_s: int, matrix: str) -> dict[str, Any]:
    """The columns that name a measurement."""
    return {"lowering": lowering, "what": what, "n_out": n_out, "matrix": f"{matrix}, n_s={n_s}"}


def payload(n_out: int, n_s: int) -> tuple[int, np.ndarray]:
    """Blocks of about BYTES words, and inputs for them, uint8 (blocks + n_s, 8)."""
    blocks = BYTES // n_out
    rng = np.random.default_rng(0)
    return blocks, rng.integers(0, 256, (blocks + n_s, 8), dtype=np.uint8)


def mask_stream(n_out: int) -> np.ndarray:
    """Inputs of a stream of POSITIONS places with n_s = 7, uint8 (vectors,)."""
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, -(-POSITIONS // n_out) + 7, dtype=np.uint8)


def timed(run: Run, times: int) -> float:
    """Processor seconds of a run."""
    start = time.thread_time()
    run(times)
    return time.thread_time() - start


def measure(found: Iterator[tuple[dict[str, Any], Run]], repeats: int) -> pd.DataFrame:
    """One row a sample; `result` sums up what was computed, so that versions can be compared."""
    rows = []
    for names, run in found:
        is_payload = names["what"] == "payload"
        result = run(1)
        checksum = crc32(result) if result is not None else 0
        times = 1
        while (took := timed(run, times)) < SAMPLE_S / 4:
            times *= 4
        times = max(1, int(times * SAMPLE_S / took))
        for repeat in range(repeats):
            time_ns = timed(run, times) / times * 1e9
            row = names | {"repeat": repeat, "time_ns": time_ns, "result": checksum}
            if is_payload:
                size = BYTES if result is None else result.size
                rows.append(row | {"gbytes_per_s": size / time_ns})
            else:
                rows.append(row | {"ns_per_position": time_ns / POSITIONS})
    return pd.DataFrame(rows)


def main() -> int:
    """Measure, compare results, print medians and ratios; 1 if a result differs."""
    parser = argparse.ArgumentParser(description="Decoding speed.")
    parser.add_argument("--out", type=Path, help="folder for decode.csv")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--before", type=Path, help="lib folder of an older version")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        measure(cases_before(), options.repeats).to_csv(sys.stdout, index=False)
        return 0
    from f2f_study.provenance import hardware

    frames = [measure(cases(), options.repeats)]
    if options.before:
        command = [sys.executable, __file__, "--worker", "--repeats", str(options.repeats)]
        environment = {**os.environ, "PYTHONPATH": str(options.before)}
        printed = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
        frames.append(pd.read_csv(StringIO(printed.stdout.decode()), keep_default_na=False))
    samples = pd.concat(frames, ignore_index=True).assign(hardware=hardware())
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        samples.to_csv(options.out / "decode.csv", index=False)

    keys = ["what", "n_out", "matrix"]
    print(f"one core; {hardware()}")
    for what, column in (("payload", "gbytes_per_s"), ("stream", "ns_per_position")):
        part = samples[(samples["what"] == "payload") == (what == "payload")]
        part = part.assign(**{column: pd.to_numeric(part[column])})
        table = part.pivot_table(column, keys, "lowering", "median", sort=False)
        if "before" in table:
            ratios = table.div(table["before"], axis=0)
            ratios = ratios if what == "payload" else 1 / ratios
            table = table.join(ratios.drop(columns="before").add_suffix(", times faster"))
        print(f"\n{what}, {column}, medians\n{table.round(3).to_string()}")
    differing = samples.groupby(keys)["result"].nunique() > 1
    if differing.any():
        print(f"results differ: {list(differing[differing].index)}")
    return int(differing.any())


if __name__ == "__main__":
    sys.exit(main())
