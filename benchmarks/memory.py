"""Peak memory of compressing a checkpoint folder, beside its bound.

    python -m benchmarks memory
    python benchmarks/memory.py [--megabytes N] [--shards N] [--beam N]
                                [--sparsity S] [--folder DIR]

A folder of shards of INT8 and BF16 matrices, the last one BF16, is made shard by shard,
and compressed, verified and decompressed by the command line, each in a process of its own. The
peak is the resident memory that the system counted (VmHWM, as ``ru_maxrss`` of `getrusage`, which
however counts the process that started this one too). Checked: verification finds every tensor
equal bit for bit, and no peak exceeds twice the largest shard and 500 MB.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ml_dtypes
import numpy as np

from f2f.tensorfile import write_tensors

ROWS = 2048
_CHILD = """
import sys
from f2f.__main__ import main
code = main(sys.argv[1:])
print(open("/proc/self/status").read())
sys.exit(code)
"""


def make_folder(folder: Path, shards: int, shard_bytes: int, sparsity: float) -> None:
    """Write shards of that size with their index."""
    folder.mkdir(parents=True)
    places: dict[str, str] = {}
    for number in range(shards):
        shard = f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
        dtype = np.dtype(ml_dtypes.bfloat16) if number == shards - 1 else np.dtype(np.int8)
        rows = min(ROWS, max(1, int((shard_bytes / dtype.itemsize) ** 0.5)))
        count = max(1, shard_bytes // (rows * rows * dtype.itemsize))
        tensors = {
            f"layers.{number}.{i}.weight": _matrix(rows, dtype, sparsity, 1000 * number + i)
            for i in range(count)
        }
        write_tensors(folder / shard, tensors, {"format": "pt"})
        places |= dict.fromkeys(tensors, shard)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))


def _matrix(rows: int, dtype: np.dtype, sparsity: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    weight = 30 * rng.standard_normal((rows, rows), dtype=np.float32)
    weight *= rng.random((rows, rows), dtype=np.float32) >= sparsity
    weight += 0  # no -0.0
    return np.clip(weight, -127, 127).astype(dtype) if dtype == np.int8 else weight.astype(dtype)


def peak_of(arguments: list[str]) -> tuple[int, float]:
    """Peak of resident memory in bytes, and seconds, of a run of the command line.

    Raises `RuntimeError` where it fails.
    """
    started = time.perf_counter()
    run = subprocess.run([sys.executable, "-c", _CHILD, *arguments], stdout=subprocess.PIPE)
    found = re.search(rb"VmHWM:\s+(\d+) kB", run.stdout)
    if run.returncode or not found:
        raise RuntimeError(f"f2f {' '.join(arguments)} ended with {run.returncode}")
    return 1024 * int(found[1]), time.perf_counter() - started


def measure(
    folder: Path, shards: int, shard_bytes: int, beam: int, sparsity: float
) -> tuple[int, dict[str, tuple[int, float]]]:
    """Bytes of the largest shard, and per command its peak in bytes and its seconds."""
    source, packed, back = (str(folder / name) for name in ("in", "packed", "back"))
    make_folder(Path(source), shards, shard_bytes, sparsity)
    largest = max(path.stat().st_size for path in Path(source).glob("*.safetensors"))
    commands = {
        "compress": ["compress", source, packed, "--beam", str(beam), "--quiet"],
        "verify": ["verify", packed, "--against", source, "--quiet"],
        "decompress": ["decompress", packed, back, "--quiet"],
    }
    return largest, {name: peak_of(arguments) for name, arguments in commands.items()}


def main(argv: list[str] | None = None) -> int:
    """Check, measure, print; returns 1 if a peak exceeds the bound."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=2000, help="of all shards (2000)")
    parser.add_argument("--shards", type=int, default=3)
    parser.add_argument("--beam", type=int, default=4, help="hypotheses of the encoder (4)")
    parser.add_argument("--sparsity", type=float, default=0.9, help="share of pruned weights (0.9)")
    parser.add_argument("--folder", help="where to make the folders (a temporary one)")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(dir=given.folder) as place:
        measure(Path(place, "warm"), 2, 10**5, given.beam, given.sparsity)  # compiles the kernels
        size = given.megabytes * 10**6 // given.shards
        largest, peaks = measure(
            Path(place, "full"), given.shards, size, given.beam, given.sparsity
        )
    bound = 2 * largest + 500 * 10**6
    print(f"largest shard {largest / 1e6:.0f} MB, bound {bound / 1e6:.0f} MB")
    for name, (peak, seconds) in peaks.items():
        print(f"{name:>10}  peak {peak / 1e6:6.0f} MB  {seconds:6.1f} s")
    wrong = [name for name, (peak, _) in peaks.items() if peak > bound]
    if wrong:
        print(f"failed: more than the bound: {', '.join(wrong)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
