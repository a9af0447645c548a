"""Named arrays from and to the files that models come in: .safetensors, .npz, .pt and .pth.

Nothing here runs code from a file: .npz is read without pickle, .pt and .pth with
``weights_only=True``. What cannot be read that way is refused.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, deserialize, safe_open
from safetensors.numpy import save

from f2f.base.atomic import atomic_write
from f2f.base.errors import FormatError
from f2f.base.tensors import identity, to_numpy, to_torch

SUFFIXES = (".safetensors", ".npz", ".pt", ".pth")

# safetensors' dtype codes; those of ml_dtypes come from its import.
_DTYPES = {
    "BOOL": np.dtype(np.bool_),
    "U8": np.dtype(np.uint8),
    "I8": np.dtype(np.int8),
    "U16": np.dtype(np.uint16),
    "I16": np.dtype(np.int16),
    "U32": np.dtype(np.uint32),
    "I32": np.dtype(np.int32),
    "U64": np.dtype(np.uint64),
    "I64": np.dtype(np.int64),
    "F16": np.dtype(np.float16),
    "F32": np.dtype(np.float32),
    "F64": np.dtype(np.float64),
    "C64": np.dtype(np.complex64),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "F8_E8M0": np.dtype(ml_dtypes.float8_e8m0fnu),
}


def suffix(path: str | os.PathLike[str]) -> str:
    """The suffix of a path, in lower case, if it is one of `SUFFIXES`, or `ValueError`."""
    found = Path(path).suffix.lower()
    if found not in SUFFIXES:
        raise ValueError(f"path must end in one of {', '.join(SUFFIXES)}, got {os.fspath(path)!r}")
    return found


def read_tensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read every tensor of a file: {name: array}; bfloat16 comes as `ml_dtypes.bfloat16`.

    A .pt or .pth file holds a state dict, or a dict with one under "state_dict"; names that share
    one tensor in it get the same array object.

    Raises
    ------
    ValueError
        An unknown suffix.
    FormatError
        The file cannot be parsed, or holds anything but tensors.
    OSError
        It cannot be read.
    """
    kind = suffix(path)
    with open(path, "rb"):  # a missing file is an OSError, whatever the library would make of it
        pass
    if kind == ".safetensors":
        return _read_safetensors(path)
    if kind == ".npz":
        return _read_npz(path)
    return _read_torch(path)


def write_tensors(path: str | os.PathLike[str], tensors: Mapping[str, np.ndarray]) -> None:
    """Write arrays to a file of the kind its suffix says, whole or not at all.

    In .pt and .pth files names with the same array object share one tensor.

    Raises
    ------
    ValueError
        An unknown suffix, or a dtype that the kind cannot hold.
    OSError
        The file cannot be written.
    """
    kind = suffix(path)
    if kind == ".npz":
        for name, array in tensors.items():
            if array.dtype.isbuiltin != 1:
                raise ValueError(f".npz cannot hold dtype {array.dtype} of tensor {name!r}")
    with atomic_write(path) as file:
        if kind == ".safetensors":
            file.write(_safetensors_bytes(tensors))
        elif kind == ".npz":
            # savez takes names as keyword arguments, and "file" is its own.
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
                for name, array in tensors.items():
                    with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as out:
                        np.lib.format.write_array(out, np.asarray(array), allow_pickle=False)
        else:
            import torch

            shared = {id(array): to_torch(array) for array in tensors.values()}
            torch.save({name: shared[id(array)] for name, array in tensors.items()}, file)


def _safetensors_bytes(tensors: Mapping[str, np.ndarray]) -> bytes:
    try:
        return save({name: np.asarray(array, order="C") for name, array in tensors.items()})
    except SafetensorError as error:
        raise ValueError(f".safetensors cannot hold the tensors: {error}") from error


def _read_safetensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    try:
        with safe_open(path, framework="np") as file:
            if (file.metadata() or {}).get("format") == "f2f":
                raise FormatError(f"{path}: is a compressed file already")
        # Not safe_open's tensors: NumPy has no names for the 8-bit floats that ml_dtypes adds.
        return {name: _array(entry) for name, entry in deserialize(Path(path).read_bytes())}
    except (SafetensorError, LookupError) as error:
        raise FormatError(f"{path}: cannot be read as safetensors: {error}") from error


def _array(entry: dict[str, Any]) -> np.ndarray:
    """An array from safetensors' own dtype code, shape and bytes."""
    return np.frombuffer(entry["data"], dtype=_DTYPES[entry["dtype"]]).reshape(entry["shape"])


def _read_npz(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise FormatError(f"{path}: is not an .npz archive")
            return {name: file[name] for name in file.files}
    except FormatError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError) as error:
        raise FormatError(f"{path}: cannot be read as .npz: {error}") from error


def _read_torch(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    import torch

    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its unpickler meets in a damaged file
        reason = str(error).split("\n")[0]
        raise FormatError(f"{path}: cannot be read as weights only: {reason}") from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping):
        raise FormatError(f"{path}: holds a {type(content).__name__}, not a dict of tensors")
    arrays: dict[str, np.ndarray] = {}
    shared: dict[tuple[Any, ...], np.ndarray] = {}
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise FormatError(f"{path}: entry {name!r} is a {type(value).__name__}, not a tensor")
        try:
            array = to_numpy(value)
        except ValueError as error:
            raise FormatError(f"{path}: entry {name!r}: {error}") from error
        arrays[name] = shared.setdefault(identity(value), array)
    return arrays
