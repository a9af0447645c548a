"""Size and speed of the package beside the formats one would use instead, on the same tensors.

    python benchmarks/formats.py [--out FOLDER] [--repeats N] [--file MODEL] [--beams 1,16,64]

Tensors: weights drawn at random, pruned at random, as INT8 and FP32; with --file (any .safetensors,
.npz, .pt, .pth of float weights) also its convolution and linear layers, pruned by magnitude and
quantized per output channel, all of them as one model. Formats: those of `f2f_study.baselines.sizes` and
scipy's compressed CSR .npz. Every format is first checked to give the tensors back bit for bit.

size: bytes of the arrays; file: of the file that holds them. compress: tensors to arrays in memory;
decompress: back to dense tensors; load: file (in the page cache) to dense tensors. Times are
processor time of the one thread that works, so that other work on the machine counts little.
Requirements, of the whole model or tensor with the default beam: INT8 at most 1.05 of the entropy
floor at S >= 0.8 and 1.02 of the bitmap at S <= 0.7; FP32 at S = 0.9 below its floor.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

import f2f
from f2f.base.entropy import floor_bits
from f2f.format.orders import matrix_shape
from f2f.tensorfile import read_tensors, write_tensors
from f2f_study import provenance, results
from f2f_study.baselines import sizes as baselines
from f2f_study.networks.quantize import quantize

SPARSITIES = (0.5, 0.7, 0.8, 0.9, 0.95)
DEFAULT_BEAM = 16

Tensors = dict[str, np.ndarray]


@dataclass(frozen=True)
class FormatRow:
    """One sample: a set of tensors in one format."""

    tensors: str
    dtype: str
    sparsity: float
    weights: int
    format: str
    size_bits_per_weight: float
    file_bits_per_weight: float
    floor_bits_per_weight: float
    repeat: int
    compress_ns_per_weight: float
    decompress_ns_per_weight: float
    load_ns_per_weight: float


@dataclass(frozen=True)
class Contender:
    """pack: tensors to what lies in memory; unpack: back; size: its bytes; save, load: a file."""

    name: str
    pack: Callable[[Tensors], Any]
    unpack: Callable[[Any], Tensors]
    size: Callable[[Any], int]
    save: Callable[[Path, Any], None]
    load: Callable[[Path], Tensors]


def baseline(name: str, like: Tensors) -> Contender:
    """A format of `f2f_study.baselines.sizes`; its file is one .safetensors of all arrays."""
    shapes = {key: (array.shape, array.dtype) for key, array in like.items()}

    def unpack(packed: dict[str, baselines.Arrays]) -> Tensors:
        return {key: baselines.unpack(name, packed[key], *shapes[key]) for key in packed}

    def load(path: Path) -> Tensors:
        packed: dict[str, baselines.Arrays] = {key: {} for key in shapes}
        for entry, array in read_tensors(path).items():
            key, _, part = entry.rpartition("/")
            packed[key][part] = array
        return unpack(packed)

    def save(path: Path, packed: dict[str, baselines.Arrays]) -> None:
        entries = {f"{key}/{p}": a for key, arrays in packed.items() for p, a in arrays.items()}
        write_tensors(path, entries)

    return Contender(
        name,
        lambda tensors: {key: baselines.pack(name, array) for key, array in tensors.items()},
        unpack,
        lambda packed: sum(map(baselines.packed_bytes, packed.values())),
        save,
        load,
    )


def scipy_npz(like: Tensors) -> Contender:
    """scipy.sparse CSR, 32-bit indices, and its compressed .npz; one file a tensor."""
    shapes = {key: array.shape for key, array in like.items()}

    def unpack(packed: dict[str, Any]) -> Tensors:
        return {key: matrix.toarray().reshape(shapes[key]) for key, matrix in packed.items()}

    def save(path: Path, packed: dict[str, Any]) -> None:
        path.mkdir()
        for key, matrix in packed.items():
            scipy.sparse.save_npz(path / f"{key}.npz", matrix)

    return Contender(
        "scipy csr npz",
        lambda tensors: {
            key: scipy.sparse.csr_array(array.reshape(matrix_shape(array.shape)))
            for key, array in tensors.items()
        },
        unpack,
        lambda packed: sum(
            a.nbytes for m in packed.values() for a in (m.data, m.indices, m.indptr)
        ),
        save,
        lambda path: unpack({key: scipy.sparse.load_npz(path / f"{key}.npz") for key in shapes}),
    )


def package(beam: int) -> Contender:
    """This package with one width of the beam."""
    return Contender(
        f"f2f beam {beam}",
        lambda tensors: {key: f2f.compress(array, beam=beam) for key, array in tensors.items()},
        lambda packed: {key: f2f.decompress(tensor) for key, tensor in packed.items()},
        lambda packed: sum(tensor.nbytes for tensor in packed.values()),
        f2f.save,
        lambda path: {key: f2f.decompress(tensor) for key, tensor in f2f.load(path).items()},
    )


def measure(
    title: str, dtype: str, sparsity: float, tensors: Tensors, beams: list[int], repeats: int
) -> list[FormatRow]:
    """Samples of every format; the formats take turns within a repeat."""
    contenders = [baseline(name, tensors) for name in baselines.FORMATS]
    contenders += [scipy_npz(tensors), *map(package, beams)]
    n = sum(array.size for array in tensors.values())
    floor = sum(
        floor_bits(array.size, np.count_nonzero(array), 8 * array.itemsize)
        for array in tensors.values()
    )
    rows = []
    for repeat in range(-1, repeats):  # the first round warms up and checks
        for contender in contenders:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "model.safetensors")
                packed, compress_s = timed(contender.pack, tensors)
                back, decompress_s = timed(contender.unpack, packed)
                contender.save(path, packed)
                loaded, load_s = timed(contender.load, path)
                files = [path] if path.is_file() else list(path.iterdir())
                file_bytes = sum(file.stat().st_size for file in files)
            if repeat < 0:
                check(contender.name, tensors, back)
                check(contender.name, tensors, loaded)
                continue
            rows.append(
                FormatRow(
                    title, dtype, sparsity, n, contender.name,
                    8 * contender.size(packed) / n, 8 * file_bytes / n, floor / n, repeat,
                    1e9 * compress_s / n, 1e9 * decompress_s / n, 1e9 * load_s / n,
                )
            )  # fmt: skip
    return rows


def timed(call: Callable[[Any], Any], argument: Any) -> tuple[Any, float]:
    """Result and seconds of processor time of a call."""
    started = time.process_time()
    result = call(argument)
    return result, time.process_time() - started


def check(name: str, tensors: Tensors, back: Tensors) -> None:
    """Stop unless every tensor came back bit for bit."""
    for key, array in tensors.items():
        if back[key].dtype != array.dtype or back[key].tobytes() != array.tobytes():
            raise SystemExit(f"{name}: tensor {key} does not come back")


def drawn(dtype: str, sparsity: float, size: int) -> Tensors:
    """A size x size matrix of independent weights: uniform INT8, or normal FP32."""
    rng = np.random.default_rng(0)
    if dtype == "int8":
        weight = rng.integers(-127, 127, (size, size), dtype=np.int8)
        weight[weight >= 0] += 1  # no zero among the unpruned
    else:
        weight = 0.02 * rng.standard_normal((size, size), dtype=np.float32)
    weight[rng.random(weight.shape) < sparsity] = 0
    return {"weight": weight}


def pruned(dense: Tensors, dtype: str, sparsity: float) -> Tensors:
    """Layers pruned by magnitude, each to the same sparsity, and quantized for int8."""
    tensors = {}
    for name, weight in dense.items():
        cut = np.partition(np.abs(weight).ravel(), int(sparsity * weight.size))
        kept = np.where(np.abs(weight) >= cut[int(sparsity * weight.size)], weight, np.float32(0))
        tensors[name] = quantize(kept).values if dtype == "int8" else kept
    return tensors


def print_table(rows: list[FormatRow]) -> dict[str, float]:
    """Print medians by format, smallest file first; return sizes in bits a weight."""
    first = rows[0]
    print(
        f"\n{first.tensors}, {first.dtype}, S = {first.sparsity}, {first.weights} weights, "
        f"floor {first.floor_bits_per_weight:.3f} bits/weight"
    )
    print("  format            size   /floor     file   compress  decompress      load")
    print("                 bits/w             bits/w       ns/w        ns/w      ns/w")
    sizes = {row.format: row.size_bits_per_weight for row in rows}
    for name in sorted(sizes, key=lambda name: sizes[name]):
        found = [row for row in rows if row.format == name]
        medians = [
            float(np.median([getattr(row, f"{what}_ns_per_weight") for row in found]))
            for what in ("compress", "decompress", "load")
        ]
        print(
            f"  {name:14s} {sizes[name]:7.3f} {sizes[name] / first.floor_bits_per_weight:8.3f} "
            f"{found[0].file_bits_per_weight:8.3f} {medians[0]:10.2f} {medians[1]:11.2f} "
            f"{medians[2]:9.2f}"
        )
    return sizes


def requirements(rows: list[FormatRow], sizes: dict[str, float]) -> list[str]:
    """What is required of these tensors and does not hold."""
    size, floor = sizes[f"f2f beam {DEFAULT_BEAM}"], rows[0].floor_bits_per_weight
    case = f"{rows[0].tensors} {rows[0].dtype} S = {rows[0].sparsity}"
    if rows[0].dtype == "int8" and rows[0].sparsity >= 0.8 and size > 1.05 * floor:
        return [f"{case}: {size / floor:.4f} of the floor"]
    if rows[0].dtype == "int8" and rows[0].sparsity <= 0.7 and size > 1.02 * sizes["bitmap"]:
        return [f"{case}: {size / sizes['bitmap']:.4f} of the bitmap"]
    if rows[0].dtype == "float32" and rows[0].sparsity == 0.9 and size >= floor:
        return [f"{case}: {size / floor:.4f} of the floor"]
    return []


def main() -> int:
    """Measure, print, write; returns 1 if a requirement fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="runs/benchmarks/formats", help="folder of the CSV files")
    parser.add_argument("--repeats", type=int, default=3, help="samples of each time")
    parser.add_argument("--file", help="a dense float model to prune and quantize")
    parser.add_argument("--beams", default="1,16,64", help="beams, 16 among them")
    parser.add_argument("--size", type=int, default=1024, help="rows of the drawn matrices")
    given = parser.parse_args()
    beams = sorted({DEFAULT_BEAM, *map(int, given.beams.split(","))})
    print(provenance.hardware())
    cases: list[tuple[str, Callable[[str, float], Tensors]]] = [
        (f"drawn {given.size}x{given.size}", lambda dtype, s: drawn(dtype, s, given.size))
    ]
    if given.file:
        dense = {
            name: array.astype(np.float32)
            for name, array in read_tensors(given.file).items()
            if array.ndim in (2, 4) and array.dtype.kind == "f"
        }
        cases.append((Path(given.file).stem, lambda dtype, s: pruned(dense, dtype, s)))
    rows, failed = [], []
    for title, make in cases:
        for dtype, sparsities in (("int8", SPARSITIES), ("float32", (0.9,))):
            for sparsity in sparsities:
                tensors = make(dtype, sparsity)
                found = measure(title, dtype, sparsity, tensors, beams, given.repeats)
                failed += requirements(found, print_table(found))
                rows += found
                results.write_csv(Path(given.out) / "formats.csv", rows)
    print("failed: " + "; ".join(failed) if failed else "all requirements hold")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
