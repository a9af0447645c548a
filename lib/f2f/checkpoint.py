"""A checkpoint folder, compressed and back: shards with an index, one shard at a time.

Large models come as a folder: shards, an index (``model.safetensors.index.json``) that says which
tensor lies in which shard, and the files beside them (configuration, tokenizer). The compressed
folder looks the same: every shard a file of `f2f.format.container`, the index with the names of
these, every other file copied. A folder without an index is one shard, its model file. `MODELS`
has the names of model files that are looked for, and ``NAME.index.json`` is an index; without one
of these, the only .safetensors file or index of one will do. Of a name that stands in several
shards, the index says which tensor counts; every shard keeps its own.

Shards are read, coded and written one after another, each whole or not at all. What has been
written is found again by the next call: a compressed shard keeps a checksum of the shard it was
made from and of the options, and is not coded again if they are the same.

Memory: one shard, its compressed form, and the arrays of the tensor that is coded (some ten bytes a
weight and job): below twice the largest shard and 500 MB for shards of many tensors. Three shards
of 663 MB of pruned INT8 and BF16 matrices take 1.1 GB (``benchmarks/memory.py`` measures it).
"""

from __future__ import annotations

import filecmp
import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from tqdm import tqdm

from f2f.base import validate
from f2f.base.atomic import atomic_write, open_regular
from f2f.base.errors import FormatError
from f2f.format.container import ModelFile, open_file, save
from f2f.format.tensor import CompressedTensor
from f2f.parallel import compress_model, decompress_model
from f2f.tensorfile import Tensors, read_tensors, write_tensors

# Model files of transformers and diffusers, and what each is called once it is compressed.
MODELS = {"model.safetensors": "model.safetensors", "pytorch_model.bin": "model.safetensors"} | {
    f"diffusion_pytorch_model.{kind}": "diffusion_pytorch_model.safetensors"
    for kind in ("safetensors", "bin")
}
INDEX = ".index.json"
MADE_FROM = "f2f.made_from"  # in the metadata of a compressed shard


class Folder(NamedTuple):
    """A checkpoint folder as its index describes it.

    Attributes
    ----------
    path : pathlib.Path
    model : str
        Name of the model file, which with an index is there in its shards.
    index_name : str
        Name of the index file; "" if there is none.
    content : dict
        What the index holds.
    shards : dict of str to list of str
        Names of the tensors that the index puts in each shard, in order of the shards' names;
        empty lists without an index.
    """

    path: Path
    model: str
    index_name: str
    content: dict[str, Any]
    shards: dict[str, list[str]]

    def own(self, shard: str, found: Iterable[str]) -> list[str]:
        """Of the names found in a shard, those that the index does not put into another."""
        others = {n for other, names in self.shards.items() if other != shard for n in names}
        return [name for name in found if name not in others]


def read_folder(path: str | os.PathLike[str]) -> Folder:
    """The shards of a checkpoint folder by its index.

    Raises
    ------
    FormatError
        There is neither index nor model file, the index is damaged or names files that are not
        plain names in this folder, or a shard is missing.
    OSError
        The folder cannot be read.
    """
    folder = validate.path("path", path)
    names = set(os.listdir(folder))
    model = _model_file(names, INDEX)
    if not model:
        if single := _model_file(names):
            return Folder(folder, single, "", {}, {single: []})
        raise FormatError(
            f"{path}: has neither one model file ({', '.join(MODELS)} or another .safetensors) "
            f"nor the index of one ({next(iter(MODELS))}{INDEX} ...)"
        )
    index = model + INDEX
    try:
        content = json.loads((folder / index).read_text(encoding="utf-8"))
        places = {str(name): str(shard) for name, shard in content["weight_map"].items()}
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise FormatError(f"{folder / index}: cannot be read as an index: {error!r}") from error
    shards: dict[str, list[str]] = {shard: [] for shard in sorted(set(places.values()))}
    for name, shard in places.items():
        shards[shard].append(name)
    for shard in shards:
        if PurePath(shard).name != shard or shard in ("", ".", ".."):
            raise FormatError(f"{folder / index}: shard {shard!r} must be a name in this folder")
        if shard not in names:
            raise FormatError(f"{folder / index}: shard {shard!r} is missing")
    return Folder(folder, model, index, content, shards)


def _model_file(names: set[str], ending: str = "") -> str:
    """Of the names that end so, the model file's: one of `MODELS`, or the only .safetensors."""
    found = [model for model in MODELS if model + ending in names]
    others = [name for name in names if name.endswith(".safetensors" + ending)]
    return (found or (others if len(others) == 1 else [""]))[0].removesuffix(ending)


def compress_folder(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    n_jobs: int | None = None,
    progress: bool = False,
    **options: Any,
) -> tuple[int, int]:
    """Compress a checkpoint folder; what an earlier call has finished is kept.

    Parameters
    ----------
    source, target : path-like
        Two folders; the target is made if it is absent.
    n_jobs, progress, **options
        As of `f2f.parallel.compress_model`.

    Returns
    -------
    tuple of int
        Bytes of the shards before and after.

    Raises
    ------
    ValueError
        Wrong options, or the same folder twice.
    FormatError
        As `read_folder`, a shard is damaged or lacks a tensor that the index puts there, or would
        get the name of another file.
    OSError
        A file cannot be read or written.

    Warns
    -----
    UserWarning
        Something beside the shards is neither a file nor a folder, and is left out.

    Examples
    --------
    A folder of one shard; `decompress_folder` makes it again.

    >>> import tempfile
    >>> import numpy as np
    >>> from f2f.tensorfile import read_tensors, write_tensors
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model, packed, again = (Path(folder, name) for name in ("model", "packed", "again"))
    ...     model.mkdir()
    ...     _ = (model / "config.json").write_text("{}")
    ...     write_tensors(model / "model.safetensors", {"fc.weight": np.eye(256, dtype=np.int8)})
    ...     before, after = compress_folder(model, packed)
    ...     with open_compressed(packed) as tensors:
    ...         kind = tensors["fc.weight"].kind
    ...     size = decompress_folder(packed, again)
    ...     back = read_tensors(again / "model.safetensors")["fc.weight"]
    ...     sorted(os.listdir(again)), kind, before > 10 * after, size == before
    (['config.json', 'model.safetensors'], 'encoded', True, True)
    >>> bool((back == np.eye(256)).all())
    True
    """
    before = after = 0
    for shard, names, path in _shard_by_shard(source, target, _compressed_names, progress):
        before += shard.stat().st_size
        made_from = _fingerprint(shard, options)
        if not _is_made_from(path, made_from):
            tensors = _read_shard(shard, names)
            metadata = tensors.metadata | {MADE_FROM: made_from}
            model = compress_model(tensors, n_jobs=n_jobs, progress=progress, **options)
            del tensors
            save(path, model, metadata)
            del model  # or it would stay beside the next shard
        after += path.stat().st_size
    return before, after


def decompress_folder(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    n_jobs: int | None = None,
    progress: bool = False,
) -> int:
    """The checkpoint folder again: shards as .safetensors, bit for bit, and everything beside them.

    Parameters
    ----------
    source, target : path-like
        A compressed folder, and another that is made if it is absent.
    n_jobs, progress
        As of `f2f.parallel.decompress_model`.

    Returns
    -------
    int
        Bytes of the shards.

    Raises
    ------
    ValueError
        The same folder twice.
    FormatError, OSError
        As `compress_folder`.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from f2f.tensorfile import write_tensors
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model, packed = Path(folder, "model"), Path(folder, "packed")
    ...     model.mkdir()
    ...     write_tensors(model / "model.safetensors", {"fc.weight": np.eye(64, dtype=np.int8)})
    ...     _ = compress_folder(model, packed)
    ...     decompress_folder(packed, Path(folder, "again")) > 64 * 64
    True
    """
    size = 0
    for shard, names, path in _shard_by_shard(source, target, _same_names, progress):
        with open_file(shard) as file:
            _check_names(shard, names, file)
            metadata = {k: v for k, v in file.metadata.items() if k != MADE_FROM}
            tensors = decompress_model(file, n_jobs=n_jobs, progress=progress)
        write_tensors(path, tensors, metadata)
        del tensors
        size += path.stat().st_size
    return size


class CompressedFolder(Mapping[str, CompressedTensor]):
    """The tensors of a compressed folder by name, read one by one, as of one file.

    One shard is open at a time; names come shard by shard.

    Attributes
    ----------
    aliases : dict of str to str
        Names that share the tensor of another name, to that name.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        folder = read_folder(path)
        self._shards: dict[str, Path] = {}
        self.aliases: dict[str, str] = {}
        self._open: ModelFile | None = None
        for shard, names in folder.shards.items():
            with open_file(folder.path / shard) as file:
                _check_names(file.path, names, file)
                own = folder.own(shard, file)
                self._shards |= dict.fromkeys(own, file.path)
                self.aliases |= {name: file.aliases[name] for name in own if name in file.aliases}

    def __enter__(self) -> CompressedFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the shard that is open; tensors already read stay valid."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def __iter__(self) -> Iterator[str]:
        return iter(self._shards)

    def __len__(self) -> int:
        return len(self._shards)

    def __getitem__(self, name: str) -> CompressedTensor:
        path = self._shards[name]
        if self._open is None or self._open.path != path:
            self.close()
            self._open = open_file(path)
        return self._open[name]


def open_compressed(path: str | os.PathLike[str]) -> ModelFile | CompressedFolder:
    """A compressed file or folder, open for reading tensors one by one.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    ModelFile or CompressedFolder
        A mapping of str to CompressedTensor, and a context manager.

    Raises
    ------
    ValueError
        path is none.
    FormatError, OSError
        The file, the index or a shard cannot be read or is damaged.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from f2f import compress, save
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(f"{folder}/model.safetensors", {"fc": compress(np.eye(64, dtype=np.int8))})
    ...     with open_compressed(folder) as model:
    ...         list(model), model["fc"].shape
    (['fc'], (64, 64))
    """
    path = validate.path("path", path)
    return CompressedFolder(path) if path.is_dir() else open_file(path)


def read_shards(path: str | os.PathLike[str]) -> Iterator[Tensors]:
    """The tensors of a model file, or of the shards of a checkpoint folder one after another.

    Of a name that stands in several shards, only the tensor that counts.
    """
    if not validate.path("path", path).is_dir():
        yield read_tensors(path)
        return
    folder = read_folder(path)
    for shard, names in folder.shards.items():
        tensors = _read_shard(folder.path / shard, names)
        for name in set(tensors).difference(folder.own(shard, tensors)):
            del tensors[name]
        yield tensors
        del tensors  # or it would stay beside the next shard


def _shard_by_shard(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    rename: Callable[[Folder], dict[str, str]],
    progress: bool,
) -> Iterator[tuple[Path, list[str], Path]]:
    """Of every shard its path, the names of its tensors, and the path to write.

    What lies beside the shards is copied before them, and the index is written after all.
    """
    folder, out = _prepare(source, target)
    renamed = rename(folder)
    with tqdm(folder.shards.items(), desc="shards", unit="shard", disable=not progress) as bar:
        for shard, names in bar:
            yield folder.path / shard, names, _place(folder, out / renamed[shard])
    if folder.index_name:
        places = {name: renamed[shard] for shard, names in folder.shards.items() for name in names}
        order = {name: places[name] for name in folder.content["weight_map"]}
        text = json.dumps(folder.content | {"weight_map": order}, indent=2) + "\n"
        with atomic_write(
            _place(folder, out / (MODELS.get(folder.model, folder.model) + INDEX))
        ) as file:
            file.write(text.encode())


def _prepare(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> tuple[Folder, Path]:
    """The source, and the target folder with everything but shards and index."""
    out = validate.path("target", target)
    folder = read_folder(validate.path("source", source))
    if out.resolve() == folder.path.resolve() or folder.path.resolve() in out.resolve().parents:
        raise ValueError(f"target must be a folder outside source, got {os.fspath(target)!r}")
    for place, folders, files in os.walk(folder.path):
        inside = out / Path(place).relative_to(folder.path)
        inside.mkdir(parents=True, exist_ok=True)
        for name in sorted(files + folders):
            path = Path(place, name)
            if path.parent == folder.path and (name == folder.index_name or name in folder.shards):
                continue
            if path.is_file():
                _copy(path, inside / name)
            elif path.is_symlink() or not path.is_dir():  # a link to a folder may lead in circles
                warnings.warn(f"{path}: neither a file nor a folder, left out", stacklevel=4)
    return folder, out


def _place(folder: Folder, path: Path) -> Path:
    """A place to write to; `ValueError` if it is a link into the folder that is read."""
    if folder.path.resolve() in path.resolve().parents:
        raise ValueError(f"target must be a folder outside source, but {path} is a link into it")
    return path


def _copy(path: Path, copy: Path) -> None:
    """Copy a file with its mode; an equal one, read-only maybe, stays."""
    if copy.is_file() and filecmp.cmp(path, copy, shallow=False):
        return
    with open(path, "rb") as old, atomic_write(copy) as new:
        shutil.copyfileobj(old, new)
    shutil.copymode(path, copy)


def _compressed_names(folder: Folder) -> dict[str, str]:
    """The name of each shard once compressed: .bin shards of PyTorch become .safetensors."""
    taken = set(os.listdir(folder.path)).difference(folder.shards)
    renamed = {}
    for shard in folder.shards:
        name = PurePath(shard).stem + ".safetensors"
        name = name if folder.index_name else MODELS.get(shard, shard)
        if name in taken:
            raise FormatError(f"{folder.path / shard}: would become {name!r}, as another file does")
        taken.add(name)
        renamed[shard] = name
    return renamed


def _same_names(folder: Folder) -> dict[str, str]:
    return {shard: shard for shard in folder.shards}


def _fingerprint(shard: Path, options: dict[str, Any]) -> str:
    """BLAKE2b-128 of a shard's bytes and of the options of its compression."""
    with open_regular(shard) as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
    digest.update(json.dumps(options, sort_keys=True, default=str).encode())
    return digest.hexdigest()


def _is_made_from(path: Path, made_from: str) -> bool:
    try:
        with open_file(path) as file:
            return file.metadata.get(MADE_FROM) == made_from
    except (FormatError, OSError):
        return False


def _read_shard(path: Path, names: list[str]) -> Tensors:
    tensors = read_tensors(path)
    _check_names(path, names, tensors)
    return tensors


def _check_names(shard: Path, names: list[str], tensors: Any) -> None:
    if missing := [name for name in names if name not in tensors]:
        raise FormatError(f"{shard}: lacks {missing[0]!r}, which the index puts there")
