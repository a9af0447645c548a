"""Decoding speed: megabytes of dense weights per second and core, beside zstd.

    python benchmarks/decode.py [--out FOLDER] [--repeats N] [--size N]

A square INT8 matrix at S = 0.9 (all 8 planes encoded, n_s = 7, one thread) is decoded by
`f2f.decompress` in each order, with a bitmap as mask and, in row order, with the cascade; also the
planes alone (`Decoder.decode`: bits at every place, no mask, no corrections) by shuffles, by the
portable path, and for a single plane. Baseline: zstd (level 3) decompressing the same dense bytes.
Every result is checked first. Requirements: 400 MB/s in row order and 200 MB/s in golden order.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zstandard

from f2f import CompressedTensor, compress, decompress
from f2f.base.intrinsics import AVX2
from f2f.decoder.gates import decode_words
from f2f.format.orders import ORDERS
from f2f_study import results

REQUIRED = {"decompress, row order": 400.0, "decompress, golden order": 200.0}


@dataclass(frozen=True)
class Sample:
    """One timed decoding; time_s: of the processor. size_bytes: of what is decoded from."""

    what: str
    repeat: int
    weights: int
    size_bytes: int
    time_s: float
    mbytes_per_s: float


def measure(
    what: str, size_bytes: int, expected: np.ndarray, run: Callable[[], Any], repeats: int
) -> list[Sample]:
    """Check, then time `run`; it decodes as many bytes as `expected` has."""
    if not np.array_equal(run(), expected):
        raise SystemExit(f"{what}: wrong result")
    samples = []
    for repeat in range(repeats):
        start = time.thread_time()
        run()
        seconds = time.thread_time() - start
        speed = expected.nbytes / seconds / 1e6
        samples.append(Sample(what, repeat, expected.size, size_bytes, seconds, speed))
    return samples


def planes_alone(tensor: CompressedTensor, repeats: int) -> list[Sample]:
    """Words and single planes at every place, without mask and corrections."""
    decoder, inputs, n = tensor.decoder, tensor.payload[0], tensor.n
    words = decode_words(inputs, decoder, n, portable=True)
    few = n // 16 // decoder.n_out * decoder.n_out
    samples = measure(
        "planes, portable", inputs.nbytes, words[:few],
        lambda: decode_words(inputs, decoder, few, portable=True), repeats,
    )  # fmt: skip
    if AVX2:
        samples += measure(
            "planes, AVX2", inputs.nbytes, words, lambda: decoder.decode(inputs, n), repeats
        )
        one = np.ascontiguousarray(inputs[:, 0])
        samples += measure(
            "one plane, AVX2", one.nbytes, words & 1, lambda: decoder.decode(one, n), repeats
        )
    return samples


def main() -> int:
    """Measure, print medians and spread, write CSV; 1 if a requirement is missed."""
    parser = argparse.ArgumentParser(description="Decoding speed.")
    parser.add_argument("--out", type=Path, help="folder for decode.csv")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--size", type=int, default=2048, help="rows and columns of the matrix")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    weight = rng.integers(-128, 128, (options.size, options.size), dtype=np.int8)
    weight[weight == 0] = 1
    weight[rng.random(weight.shape) < 0.9] = 0

    samples: list[Sample] = []
    for order in ORDERS:
        tensor = compress(weight, order=order, mask_codec="bitmap", threads=2)
        samples += measure(
            f"decompress, {order} order", tensor.nbytes, weight,
            lambda tensor=tensor: decompress(tensor), options.repeats,
        )  # fmt: skip
    tensor = compress(weight, order="row", mask_codec="cascade", threads=2)
    samples += measure(
        "decompress, row order, cascade mask", tensor.nbytes, weight,
        lambda: decompress(tensor), options.repeats,
    )  # fmt: skip
    samples += planes_alone(tensor, options.repeats)
    frame = zstandard.ZstdCompressor(level=3).compress(weight.tobytes())
    samples += measure(
        "zstd, level 3", len(frame), weight.reshape(-1).view(np.uint8),
        lambda: np.frombuffer(zstandard.ZstdDecompressor().decompress(frame), np.uint8),
        options.repeats,
    )  # fmt: skip

    if options.out:
        results.write_csv(options.out / "decode.csv", samples)
    missed = []
    print(f"{options.size} x {options.size} INT8, S = 0.9, n_s = 7, one core, MB/s of dense bytes")
    for what in dict.fromkeys(sample.what for sample in samples):
        speeds = [sample.mbytes_per_s for sample in samples if sample.what == what]
        size = next(sample.size_bytes for sample in samples if sample.what == what)
        median = float(np.median(speeds))
        print(
            f"{what:>38} {median:8.0f}  ({min(speeds):.0f}–{max(speeds):.0f})  "
            f"from {size / 1e6:.2f} MB"
        )
        if median < REQUIRED.get(what, 0.0):
            missed.append(f"{what}: {median:.0f} MB/s, required {REQUIRED[what]:.0f}")
    print("\n".join(missed) or "requirements met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
