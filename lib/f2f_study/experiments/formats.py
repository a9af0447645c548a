"""Size and speed of this package beside the formats one would use instead, on the same tensors.

Tensors are weights drawn at random, those of a committed stand-in, or those of a model file, pruned
to one sparsity, as BF16, INT8 or FP32. The formats are those of `f2f_study.baselines.storage` and
this package with its defaults. Every one is first checked to give the tensors back bit for bit,
from memory and from a file.

size: bytes of the arrays; file: of the file that holds them. compress: tensors to arrays in memory;
decompress: back to dense tensors; load: file (in the page cache) to dense tensors. Times are
processor time of one process, so that other work on the machine counts little.

Two bounds, in bits per weight. *floor* is for incompressible values: the entropy of the mask plus
every bit of an unpruned value (`f2f.base.entropy.floor_bits`); who codes values may go below it.
*order0* is for a code of values without memory (`accounting.order0_bits`).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

import f2f
from f2f.base import validate
from f2f.base.entropy import floor_bits
from f2f.tensorfile import read_tensors, write_tensors
from f2f_study import results
from f2f_study.baselines import storage
from f2f_study.experiments.accounting import order0_bits
from f2f_study.experiments.product_cases import Case, matrix
from f2f_study.networks.layers import PrunedModel
from f2f_study.networks.quantize import quantize
from f2f_study.sources import open_model
from f2f_study.sources.committed import open_standin
from f2f_study.sources.dense import from_tensors

CSV = "formats.csv"
DTYPES = ("bfloat16", "int8", "float32")
PACKAGE = "f2f"  # the format that is this package, with its defaults
CASE = ["tensors", "dtype", "sparsity"]
TIMES = ("compress", "decompress", "load")
COLUMNS = [
    *CASE, "weights", "format",
    *(f"{bits}_bits_per_weight" for bits in ("size", "file", "floor", "order0")),
    "repeat", *(f"{what}_ns_per_weight" for what in TIMES),
]  # fmt: skip

Tensors = Mapping[str, np.ndarray]


class Package:
    """This package with its defaults, as a format of whole models."""

    def pack(self, tensors: Tensors) -> Any:
        """What lies in memory."""
        return {key: f2f.compress(array) for key, array in tensors.items()}

    def unpack(self, packed: Any) -> Tensors:
        """The tensors of what `pack` made."""
        return {key: np.asarray(f2f.decompress(tensor)) for key, tensor in packed.items()}

    def size(self, packed: Any) -> int:
        """Bytes of what lies in memory."""
        return sum(tensor.nbytes for tensor in packed.values())

    def save(self, path: Path, packed: Any) -> None:
        """Write a file."""
        f2f.save(path, packed)

    def load(self, path: Path) -> Tensors:
        """The tensors of a file."""
        return self.unpack(f2f.load(path))


class Baseline:
    """A format of `storage`, for tensors `like` these; its file is a .safetensors of all arrays."""

    def __init__(self, name: str, like: Tensors) -> None:
        self.name, self.like = name, like

    def pack(self, tensors: Tensors) -> Any:
        return {key: storage.pack(self.name, array) for key, array in tensors.items()}

    def unpack(self, packed: Any) -> Tensors:
        return {
            key: storage.unpack(self.name, packed[key], array.shape, array.dtype)
            for key, array in self.like.items()
        }

    def size(self, packed: Any) -> int:
        return sum(map(storage.packed_bytes, packed.values()))

    def save(self, path: Path, packed: Any) -> None:
        entries = {f"{key}/{p}": a for key, arrays in packed.items() for p, a in arrays.items()}
        write_tensors(path, entries)

    def load(self, path: Path) -> Tensors:
        packed: dict[str, storage.Arrays] = {key: {} for key in self.like}
        for entry, array in read_tensors(path).items():
            key, _, part = entry.rpartition("/")
            packed[key][part] = array
        return self.unpack(packed)


Contender = Package | Baseline


def drawn(dtype: str, sparsity: float, size: int, seed: int = 0) -> Tensors:
    """A size × size matrix, pruned at random: uniform INT8, or normal FP32."""
    return {"weight": matrix(Case(size, size, sparsity, dtype=dtype, seed=seed))}


def model(path: str, sparsity: float) -> PrunedModel:
    """A model file, or the committed dense ResNet where `path` is "", pruned by magnitude."""
    if path:
        return open_model("file", "resnet", "magnitude", sparsity, path=path)
    dense = open_standin("resnet")
    tensors = {name: array.astype(np.float32) for name, array in dense.others.items()}
    return from_tensors(tensors, "standin", "resnet", "magnitude", sparsity, dense.values)


def stored_as(layers: Mapping[str, np.ndarray], dtype: str) -> Tensors:
    """Float weights as what is stored: rounded, or quantized by channel to INT8."""
    if dtype == "int8":
        return {name: quantize(weight).values for name, weight in layers.items()}
    return {name: weight.astype(dtype) for name, weight in layers.items()}


def thinned(pruned: PrunedModel, most_weights: int) -> tuple[str, Mapping[str, np.ndarray]]:
    """Every k-th layer of a model, at most about `most_weights` in all, and the words for them."""
    layers = {
        name: layer.weights for name, layer in pruned.layers.items() if layer.weights is not None
    }
    step = max(1, -(-sum(weight.size for weight in layers.values()) // most_weights))
    chosen = dict(list(layers.items())[step // 2 :: step])
    return f"{pruned.network}, {pruned.source}, {len(chosen)} of {len(layers)} layers", chosen


def measure(title: str, tensors: Tensors, sparsity: float, repeats: int = 3) -> pd.DataFrame:
    """Time every format on the same tensors; the formats take turns within a repeat.

    Parameters
    ----------
    title : str
        What the tensors are, for the column `tensors`.
    tensors : mapping of str to numpy.ndarray
        Of one dtype; zeros are pruned.
    sparsity : float
        Nominal, for the column.
    repeats : int
        Samples of each time; one more round, unmeasured, warms up and checks.

    Returns
    -------
    DataFrame
        One row a sample; `COLUMNS`, as runs/README.md defines them. Formats whose package is
        absent are left out; `storage.absent` says so.

    Raises
    ------
    RuntimeError
        A format does not give the tensors back.
    """
    repeats = validate.integer("repeats", repeats, 1)
    there = [name for name in storage.FORMATS if not storage.absent(name)]
    contenders: dict[str, Contender] = {name: Baseline(name, tensors) for name in there}
    contenders[PACKAGE] = Package()
    n = sum(array.size for array in tensors.values())
    kept = {name: array[array != 0] for name, array in tensors.items()}
    samples = []
    for repeat in range(-1, repeats):
        for name, contender in contenders.items():
            sample = _sample(name, contender, tensors, check=repeat < 0)
            samples.append({"format": name, "repeat": repeat} | sample)
    found = pd.DataFrame(samples[len(contenders) :]).assign(
        tensors=title,
        dtype=str(next(iter(tensors.values())).dtype),
        sparsity=sparsity,
        weights=n,
        floor_bits_per_weight=sum(
            floor_bits(array.size, kept[name].size, 8 * array.itemsize)
            for name, array in tensors.items()
        )
        / n,
        order0_bits_per_weight=sum(order0_bits(kept[k], a.size) for k, a in tensors.items()) / n,
    )
    for what in TIMES:
        found[f"{what}_ns_per_weight"] = 1e9 * found[f"{what}_s"] / n
    for what in ("size", "file"):
        found[f"{what}_bits_per_weight"] = 8 * found[f"{what}_bytes"] / n
    return found[COLUMNS]


def study(
    dtypes: Sequence[str],
    sparsities: Sequence[float],
    model_file: str = "",
    *,
    most_weights: int = 2_000_000,
    drawn_size: int = 512,
    repeats: int = 3,
    seed: int = 0,
) -> pd.DataFrame:
    """Rows of `measure`: a drawn INT8 matrix, then a model in every dtype, at every sparsity.

    Parameters
    ----------
    dtypes : sequence of str
        Of `DTYPES`.
    sparsities : sequence of float
        Shares of pruned weights.
    model_file, most_weights
        A dense model, by path or name in the data folder, "": the committed ResNet; of a larger one
        every k-th layer is taken.
    drawn_size, seed : int
        Rows and columns of the drawn matrix, and its seed.
    repeats : int
        Samples of each time.
    """
    for dtype in dtypes:
        validate.choice("dtypes", dtype, DTYPES)
    title = f"drawn {drawn_size}x{drawn_size}"
    parts = []
    for sparsity in tqdm(sparsities, desc="drawn matrix", unit=" sparsities", delay=2):
        tensors = drawn("int8", sparsity, drawn_size, seed)
        parts.append(measure(title, tensors, sparsity, repeats))
    for sparsity in tqdm(sparsities, desc="model", unit=" sparsities", delay=2):
        title, layers = thinned(model(model_file, sparsity), most_weights)
        parts += [measure(title, stored_as(layers, d), sparsity, repeats) for d in dtypes]
    return pd.concat(parts, ignore_index=True)


def table(samples: pd.DataFrame) -> pd.DataFrame:
    """Medians of every format, smallest first, and the size over both bounds."""
    found = samples.groupby([*CASE, "format"], sort=False).median(numeric_only=True)
    for bound in ("floor", "order0"):
        found[f"over_{bound}"] = found["size_bits_per_weight"] / found[f"{bound}_bits_per_weight"]
    found = found.drop(columns=["weights", "repeat"]).rename(
        columns=lambda name: name.removesuffix("_per_weight")
    )
    return found.sort_values([*CASE, "size_bits"], ascending=[False, True, True, True])


def smaller(samples: pd.DataFrame) -> pd.DataFrame:
    """The sequential entropy coder of mask and values beside this package, by `CASE`.

    Bits per weight of "ans_values" and of this package, and `percent` that the former stores less
    (negative: more). Empty without the coder's package.
    """
    sizes = table(samples)["size_bits"].unstack("format")
    if "ans_values" not in sizes:
        return pd.DataFrame(columns=["ans_values", PACKAGE, "percent"])
    found = sizes[["ans_values", PACKAGE]]
    return found.assign(percent=100 * (1 - found["ans_values"] / found[PACKAGE]))


def missed(samples: pd.DataFrame) -> list[str]:
    """What is required of the sizes and does not hold, in words.

    Against another's program: the mask of a drawn matrix through ANS reaches the floor within
    0.5 %, and mask and INT8 values through ANS take between 1 and 1.05 of the order-0 bound.
    Of this package: INT8 of 100 thousand weights or more takes at most 1.1 of the floor at S ≥ 0.8,
    and floats at S ≥ 0.5 take less than bitmap and packed values.
    """
    failed = []
    for case in table(samples).reset_index().groupby(CASE, sort=False):
        (title, dtype, sparsity), rows = case
        over = rows.set_index("format")[["size_bits", "over_floor", "over_order0"]]
        large = samples.loc[samples["tensors"] == title, "weights"].iloc[0] >= 1e5
        name, ours = f"{title}, {dtype}, S = {sparsity:g}", over.loc[PACKAGE]
        if "ans_bitmap" in over.index and title.startswith("drawn"):
            coded = over["over_floor"]["ans_bitmap"]
            if not 0.9999 <= coded < 1.005:
                failed.append(f"{name}: ANS takes {coded:.4f} of the floor, 1 to 1.005")
            coded = over["over_order0"]["ans_values"]
            if large and not 0.9999 <= coded < 1.05:
                failed.append(f"{name}: ANS takes {coded:.4f} of the order-0 bound, 1 to 1.05")
        if large and dtype == "int8" and sparsity >= 0.8 and ours["over_floor"] > 1.1:
            failed.append(f"{name}: {ours['over_floor']:.4f} of the floor, at most 1.1")
        bitmap = over["size_bits"]["bitmap"]
        if dtype != "int8" and sparsity >= 0.5 and ours["size_bits"] >= bitmap:
            failed.append(f"{name}: {ours['size_bits'] / bitmap:.4f} of the bitmap, below 1")
    return failed


def summary(samples: pd.DataFrame) -> list[results.Quantity]:
    """Bits a weight of this package over both bounds, for the model, by dtype and sparsity."""
    last = samples[samples["tensors"] == samples["tensors"].iloc[-1]]
    sizes = table(last).xs(PACKAGE, level="format").droplevel("tensors")
    return [
        results.Quantity(f"bits over {words}, {dtype}, S = {s:g}", float(row[column]), "1", 0.005)
        for (dtype, s), row in sizes.iterrows()
        for words, column in (("floor", "over_floor"), ("order-0 bound", "over_order0"))
    ]


def _sample(name: str, contender: Contender, tensors: Tensors, check: bool) -> dict[str, float]:
    """Bytes and seconds of one pass through memory and a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        packed, compress_s = _timed(contender.pack, tensors)
        back, decompress_s = _timed(contender.unpack, packed)
        contender.save(path, packed)
        loaded, load_s = _timed(contender.load, path)
        file_bytes = path.stat().st_size
    if check:
        _check(name, tensors, back)
        _check(name, tensors, loaded)
    return {
        "size_bytes": contender.size(packed),
        "file_bytes": file_bytes,
        "compress_s": compress_s,
        "decompress_s": decompress_s,
        "load_s": load_s,
    }


def _timed(call: Callable[[Any], Any], argument: Any) -> tuple[Any, float]:
    """Result and seconds of processor time of a call."""
    started = time.process_time()
    result = call(argument)
    return result, time.process_time() - started


def _check(name: str, tensors: Tensors, back: Tensors) -> None:
    for key, array in tensors.items():
        if back[key].dtype != array.dtype or back[key].tobytes() != array.tobytes():
            raise RuntimeError(f"{name}: tensor {key} does not come back")
