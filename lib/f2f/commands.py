"""What the commands of the command line take and do.

Models come and go as .safetensors, .npz, .pt, .pth or .bin, or as a folder of shards with an index
(`f2f.checkpoint`); the compressed file is the one of `f2f.format.container`. Compression is
lossless: every tensor comes back bit for bit. A file is written whole or not at all.

`verilog` writes the decoder of a tensor as hardware (`f2f.hardware`, the extra `hardware`).
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from inspect import signature
from pathlib import Path

import numpy as np
from tqdm import tqdm

from f2f.base.console import is_watched, printable, show
from f2f.checkpoint import (
    compress_folder,
    decompress_folder,
    open_compressed,
    read_folder,
    read_shards,
)
from f2f.format.codec import COMMON, ENCODERS, NEGATIVE_ZEROS, compress, negative_zero_share
from f2f.format.container import open_file, save
from f2f.format.mask import CODECS
from f2f.format.orders import ORDERS, matrix_shape
from f2f.format.tensor import SIGNED_ZEROS, CompressedTensor
from f2f.hardware.export import write_project
from f2f.parallel import compress_model, decompress_model
from f2f.tensorfile import SUFFIXES, read_tensors, suffix, write_tensors

PEERS = ("bitmap", "csr")
BATCH = 1 << 28  # bytes of decoded tensors that `verify` holds at a time
_COLUMNS = ("weights", "stored", "floor", *PEERS)
_KINDS = ", ".join(SUFFIXES)
# What the options mean where they are not given: what they mean to `f2f.compress`.
_OPTIONS = (
    *("n_s", "n_out", "least_efficiency", "seed", "method", "beam", "order", "mask_codec"),
    "negative_zero",
)
_DEFAULTS = {name: signature(compress).parameters[name].default for name in _OPTIONS}


def _compress_arguments(command: argparse.ArgumentParser) -> None:
    command.set_defaults(run=_compress, **_DEFAULTS)
    add = command.add_argument
    add("input", metavar="IN", help=f"{_KINDS}, or a folder of shards")
    add("output", metavar="OUT", help="the compressed file, .safetensors, or folder")
    add("--n-s", type=int, help=f"shift registers, 0 to 7 ({_DEFAULTS['n_s']})")
    add("--n-out", type=int, help="weights a block (chosen for each tensor)")
    add("--least-efficiency", type=float, metavar="E", help="least E, in %% (0)")
    add("--seed", type=int, help="names the decoder matrices (0)")
    add("--method", choices=ENCODERS, help="encoder (beam)")
    add("--beam", type=int, help=f"hypotheses kept ({_DEFAULTS['beam']})")
    add("--order", choices=ORDERS, help=f"encoding order ({_DEFAULTS['order']})")
    add("--mask-codec", metavar="CODEC", help=f"{', '.join(CODECS)} (auto)")
    negative = "-0.0: a weight, or pruned (keep, and warn)"
    add("--negative-zero", choices=NEGATIVE_ZEROS, help=negative)
    _add_common(command)


def _decompress_arguments(command: argparse.ArgumentParser) -> None:
    command.set_defaults(run=_decompress)
    command.add_argument("input", metavar="IN", help="a compressed file or folder")
    command.add_argument("output", metavar="OUT", help=f"{_KINDS}, or a folder")
    _add_common(command)


def _inspect_arguments(command: argparse.ArgumentParser) -> None:
    command.set_defaults(run=_inspect)
    command.add_argument("input", metavar="FILE", help="a compressed file or folder")


def _verify_arguments(command: argparse.ArgumentParser) -> None:
    command.set_defaults(run=_verify)
    command.add_argument("input", metavar="FILE", help="a compressed file or folder")
    command.add_argument("--against", metavar="ORIGINAL", help="compare every tensor bit for bit")
    _add_common(command)


def _verilog_arguments(command: argparse.ArgumentParser) -> None:
    command.set_defaults(run=_verilog)
    command.add_argument("input", metavar="FILE", help="a compressed file or folder")
    command.add_argument("tensor", metavar="TENSOR", help="name of a tensor in it")
    command.add_argument("--out", metavar="DIR", required=True, help="where to write")


ARGUMENTS: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "compress": _compress_arguments,
    "decompress": _decompress_arguments,
    "inspect": _inspect_arguments,
    "verify": _verify_arguments,
    "verilog": _verilog_arguments,
}


def _add_common(command: argparse.ArgumentParser) -> None:
    command.add_argument("--jobs", type=int, default=1, help="processes; -1: one a core (1)")
    command.add_argument("--quiet", action="store_true", help="no progress bar, no summary")


def _progress(arguments: argparse.Namespace) -> bool:
    return not arguments.quiet and is_watched()


def _compress(arguments: argparse.Namespace) -> int:
    started = time.perf_counter()
    if arguments.mask_codec == "none":
        raise ValueError("--mask-codec must store the mask here, got 'none'")
    options = {name: getattr(arguments, name) for name in _DEFAULTS}
    run = {"n_jobs": arguments.jobs, "progress": _progress(arguments)}
    if os.path.isdir(arguments.input):
        before, after = compress_folder(arguments.input, arguments.output, **run, **options)
        what = "shards"
    else:
        if suffix(arguments.output) != ".safetensors":
            raise ValueError(f"OUT must end in .safetensors, got {arguments.output!r}")
        _refuse_overwrite(arguments)
        tensors = read_tensors(arguments.input)
        save(arguments.output, compress_model(tensors, **run, **options), tensors.metadata)
        before = _array_bytes(tensors)
        after = _size(arguments.output)
        what = f"{len(tensors)} tensors"
    if not arguments.quiet:
        ratio = f" -> {_bytes(after)} ({before / after:.2f} times smaller)" if after else ""
        seconds = time.perf_counter() - started
        show(f"{printable(arguments.output)}: {what}, {_bytes(before)}{ratio} in {seconds:.1f} s")
    return 0


def _decompress(arguments: argparse.Namespace) -> int:
    started = time.perf_counter()
    run = {"n_jobs": arguments.jobs, "progress": _progress(arguments)}
    if os.path.isdir(arguments.input):
        size = decompress_folder(arguments.input, arguments.output, **run)
        what = "shards"
    else:
        suffix(arguments.output)
        _refuse_overwrite(arguments)
        with open_file(arguments.input) as file:
            metadata = file.metadata
            tensors = decompress_model(file, **run)
        write_tensors(arguments.output, tensors, metadata)
        size = _array_bytes(tensors)
        what = f"{len(tensors)} tensors"
    if not arguments.quiet:
        seconds = time.perf_counter() - started
        show(f"{printable(arguments.output)}: {what}, {_bytes(size)} in {seconds:.1f} s")
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    differences: list[str] = []
    left_out: list[str] = []
    with open_compressed(arguments.input) as model:
        if arguments.against is None:
            for _ in _decoded(model, list(model), arguments):
                pass
        else:
            missing = dict.fromkeys(model)
            for original in read_shards(arguments.against):
                left_out += original.left_out
                differences += [f"tensor {n!r} is missing" for n in original if n not in model]
                for name, array in _decoded(model, [n for n in original if n in model], arguments):
                    differences += _differences(name, array, original[name])
                for name in original:
                    missing.pop(name, None)
                del original  # or it would stay beside the next shard
            differences += [f"tensor {name!r} is not in the original" for name in missing]
        count = len(model)
    for line in differences:
        show(printable(f"{arguments.input}: {line}"))
    if not differences and not arguments.quiet:
        what = "equal to the original bit for bit" if arguments.against else "checksums match"
        if left_out:
            names = ", ".join(map(repr, left_out))
            what = f"equal to the original's bit for bit, which also has {names}"
        show(printable(f"{arguments.input}: {count} tensors, {what}"))
    return 1 if differences else 0


def _decoded(
    model: Mapping[str, CompressedTensor], names: list[str], arguments: argparse.Namespace
) -> Iterator[tuple[str, np.ndarray]]:
    """Names and arrays, a few tensors in memory at a time."""
    batch: dict[str, CompressedTensor] = {}
    size = 0
    with tqdm(total=len(names), desc="verify", disable=not _progress(arguments)) as bar:
        for name in names:
            batch[name] = model[name]
            size += batch[name].n * max(batch[name].n_w // 8, 1)
            if size > BATCH or name == names[-1]:
                yield from decompress_model(batch, n_jobs=arguments.jobs).items()
                bar.update(len(batch))
                batch, size = {}, 0


def _differences(name: str, a: np.ndarray, b: np.ndarray) -> list[str]:
    """What differs between a tensor and the original, if anything; bits, not numbers."""
    if (a.shape, a.dtype.name) != (b.shape, b.dtype.name):
        return [f"tensor {name!r} is {a.dtype} {a.shape}, original {b.dtype} {b.shape}"]
    if a.dtype != b.dtype:  # of the other byte order
        b = b.astype(a.dtype)
    if a.tobytes() == b.tobytes():
        return []
    bits = [np.ascontiguousarray(x).reshape(-1).view(np.uint8) for x in (a, b)]
    wrong = np.count_nonzero((bits[0] != bits[1]).reshape(a.size, -1).any(axis=1))
    return [f"tensor {name!r} differs in {wrong} of {a.size} elements"]


def _inspect(arguments: argparse.Namespace) -> int:
    rows: list[list[str]] = []
    plain = 0
    zeros: dict[str, float] = {}
    total = dict.fromkeys(_COLUMNS, 0.0)
    with open_compressed(arguments.input) as file:
        for name in tqdm(file, desc="inspect", disable=not is_watched(), leave=False):
            if name in file.aliases:
                rows.append([name, f"= {file.aliases[name]}"])
                continue
            tensor = file[name]
            zeros[name] = _negative_zeros(name, tensor)
            shape = "x".join(map(str, tensor.shape)) or "scalar"
            if tensor.kind == "dense":
                plain += tensor.nbytes
                bits = f"{8 * tensor.nbytes / tensor.n:.3f}" if tensor.n else ""
                rows.append([name, shape, tensor.dtype, "dense", "", "", bits])
                continue
            sizes = _sizes(tensor)
            total = {key: total[key] + sizes.get(key, math.nan) for key in total}
            share = [f"{tensor.sparsity:.3f}", f"{tensor.efficiency:.2f}"]
            rows.append([name, shape, tensor.dtype, tensor.kind, *share, *_per_weight(sizes)])
    if total["weights"]:
        rows.append(["all encoded", f"{total['weights']:.0f}", "", "", "", "", *_per_weight(total)])
    head = ["tensor", "shape", "dtype", "kind", "S", "E %", "bits/w", "floor", "ratio", *PEERS]
    _print_table([head, *rows])
    path = Path(arguments.input)
    files = [path / shard for shard in read_folder(path).shards] if path.is_dir() else [path]
    size = sum(file.stat().st_size for file in files)
    common = size - plain - round(total["stored"] / 8)
    show(f"\n{size} bytes on disk, {plain} of them in tensors stored as they are (dense) and")
    show(f"{common} beside the tensors (file header, names).")
    show("bits/w: bits a weight with mask, corrections and record; floor: the entropy bound with")
    show("the mask; ratio: bits/w to floor; then the bits a weight of other formats.")
    often = {name: share for name, share in zeros.items() if share >= COMMON}
    if often:
        most = max(often, key=lambda name: often[name])
        where = f"{100 * often[most]:.0f} % of {printable(most)}"
        show(f"\n-0.0 is kept as a weight, and common: {where} (tensors so: {len(often)}).")
        show("Compressed with --negative-zero prune, the original gives a smaller file.")
    return 0


def _negative_zeros(name: str, tensor: CompressedTensor) -> float:
    """The share of -0.0 in a tensor that is decoded for it where it may have much."""
    if tensor.dtype not in SIGNED_ZEROS or len(tensor.shape) < 2:
        return 0.0
    if tensor.kind == "encoded" and (tensor.mask is None or tensor.k < COMMON * tensor.n):
        return 0.0
    (array,) = decompress_model({name: tensor}).values()
    return negative_zero_share(array)


def _verilog(arguments: argparse.Namespace) -> int:
    with open_compressed(arguments.input) as model:
        if arguments.tensor not in model:
            names = ", ".join([*list(model)[:8], *(["..."] if len(model) > 8 else [])])
            raise ValueError(f"TENSOR must be one of {names}, got {arguments.tensor!r}")
        tensor = model[arguments.tensor]
    for path in write_project(tensor, arguments.out):
        show(printable(path))
    return 0


def _sizes(tensor: CompressedTensor) -> dict[str, float]:
    """Bits of a tensor as it is stored, at the entropy floor, and in every other format."""
    sizes = {"weights": float(tensor.n), "stored": 8.0 * tensor.nbytes, "floor": tensor.floor}
    if tensor.mask is None:  # its zeros are not in this file
        return sizes
    rows, _ = matrix_shape(tensor.shape)
    values = float(tensor.k * tensor.n_w)
    sizes["bitmap"] = tensor.n + values
    sizes["csr"] = 32.0 * (rows + 1 + tensor.k) + values
    return sizes


def _per_weight(sizes: dict[str, float]) -> list[str]:
    """The columns from bits/w on."""
    weights, floor = max(sizes["weights"], 1), sizes["floor"]
    ratio = f"{sizes['stored'] / floor:.3f}" if floor else ""
    columns = [f"{sizes[key] / weights:.3f}" for key in ("stored", "floor")]
    return [*columns, ratio, *(f"{sizes.get(peer, math.nan) / weights:.3f}" for peer in PEERS)]


def _print_table(rows: list[list[str]]) -> None:
    """Columns as wide as their widest cell of up to 80; names to the left, numbers to the right."""
    count = max(map(len, rows))
    full = [[*map(printable, row)] + [""] * (count - len(row)) for row in rows]
    widths = [min(max(len(row[i]) for row in full), 80) for i in range(count)]
    for row in full:
        cells = [
            cell.ljust(width) if i < 4 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        show("  ".join(cells).rstrip())


def _refuse_overwrite(arguments: argparse.Namespace) -> None:
    out = Path(arguments.output)
    if out.exists() and Path(arguments.input).exists() and out.samefile(arguments.input):
        raise ValueError(f"OUT must be another file than IN, got {arguments.output!r} for both")


def _array_bytes(arrays: Mapping[str, np.ndarray]) -> int:
    """Bytes of arrays; one under several names counts once."""
    return sum({id(array): array.nbytes for array in arrays.values()}.values())


def _size(path: str) -> int:
    """Bytes of a file; 0 of a pipe or a device."""
    return os.path.getsize(path) if os.path.isfile(path) else 0


def _bytes(count: int) -> str:
    return f"{count / 1e6:.2f} MB" if count >= 1e6 else f"{count / 1e3:.2f} kB"
