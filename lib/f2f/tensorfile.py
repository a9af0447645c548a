"""Named arrays from and to the files that models come in: .safetensors, .npz, .pt, .pth and .bin.

Nothing here runs code from a file: .npz is read without pickle, .pt, .pth and .bin (all of PyTorch)
with ``weights_only=True``. What cannot be read that way is refused.
"""

from __future__ import annotations

import io
import os
import warnings
import zipfile
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from f2f.base import validate
from f2f.base.atomic import atomic_write, open_regular
from f2f.base.errors import FormatError
from f2f.base.safetensors import header_bytes, read_header
from f2f.base.tensors import is_numeric, state_to_numpy, state_to_torch

SUFFIXES = (".safetensors", ".npz", ".pt", ".pth", ".bin")
STATE_KEYS = ("state_dict", "model_state_dict", "model")  # under which checkpoints keep tensors

# A file may claim so many times its own size, which deflate reaches on zeros, and this much more.
_MOST_TIMES, _MOST_MORE = 1100, 64 << 20


class Tensors(dict[str, np.ndarray]):
    """The arrays of a file by name.

    Attributes
    ----------
    metadata : dict of str to str
        The text that a .safetensors file keeps beside its tensors.
    left_out : tuple of str
        Entries of a .pt or .pth checkpoint beside its state dict, which are not here.
    """

    metadata: dict[str, str]
    left_out: tuple[str, ...]

    def __init__(
        self,
        arrays: Mapping[str, np.ndarray],
        metadata: Mapping[str, str] | None = None,
        left_out: tuple[str, ...] = (),
    ) -> None:
        super().__init__(arrays)
        self.metadata = dict(metadata or {})
        self.left_out = left_out


def suffix(path: str | os.PathLike[str]) -> str:
    """The suffix of a path, in lower case, if it is one of `SUFFIXES`, or `ValueError`."""
    found = validate.path("path", path).suffix.lower()
    if found not in SUFFIXES:
        raise ValueError(f"path must end in one of {', '.join(SUFFIXES)}, got {os.fspath(path)!r}")
    return found


def read_tensors(path: str | os.PathLike[str]) -> Tensors:
    """Read every tensor of a file; bfloat16 and 8-bit floats come as types of `ml_dtypes`.

    A .pt or .pth file holds a state dict, or a dict with one under one of `STATE_KEYS`; what is
    beside that is named in a warning. Names that share one tensor in it get the same array object.

    Raises
    ------
    ValueError
        An unknown suffix.
    FormatError
        The file cannot be parsed, holds anything but tensors of numbers, or claims more than a
        file of its size can hold.
    OSError
        It cannot be read.
    """
    read = {".safetensors": _read_safetensors, ".npz": _read_npz}.get(suffix(path), _read_torch)
    with open_regular(path) as file:  # once: another may be put in its place meanwhile
        return read(path, file)


def write_tensors(
    path: str | os.PathLike[str],
    tensors: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write arrays to a file of the kind its suffix says, whole or not at all.

    Parameters
    ----------
    path : path-like
    tensors : mapping of str to numpy.ndarray
        In .pt and .pth files names with the same array object share one tensor.
    metadata : mapping of str to str, optional
        Kept in a .safetensors file; the other kinds have no place for it.

    Raises
    ------
    ValueError
        An unknown suffix, a value that is no array or a masked one, metadata that is not text, or
        a name or dtype that the kind cannot hold.
    OSError
        The file cannot be written.
    """
    kind = suffix(path)
    arrays = validate.arrays("tensors", tensors)
    kept = validate.mapping("metadata", {} if metadata is None else metadata, str, "text")
    if kind == ".npz":
        for name, array in arrays.items():
            if array.dtype.isbuiltin != 1:
                raise ValueError(f".npz cannot hold dtype {array.dtype} of tensor {name!r}")
            if "\0" in name:
                raise ValueError(f".npz cannot hold a name with a zero byte, got {name!r}")
    with atomic_write(path) as file:
        if kind == ".safetensors":
            _write_safetensors(file, arrays, kept)
        elif kind == ".npz":
            # savez takes names as keyword arguments, and "file" is its own.
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
                for name, array in arrays.items():
                    with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as out:
                        np.lib.format.write_array(out, np.asarray(array), allow_pickle=False)
        else:
            import torch

            # Through memory: torch's writer reports a full disk as a position in its archive.
            buffer = io.BytesIO()
            torch.save(state_to_torch(arrays), buffer)
            file.write(buffer.getbuffer())


def _write_safetensors(
    file: BinaryIO, arrays: dict[str, np.ndarray], metadata: Mapping[str, str] | None
) -> None:
    """Array by array; wider dtypes first, so that all are aligned."""
    order = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    kinds = {name: (arrays[name].dtype, arrays[name].shape) for name in order}
    file.write(header_bytes(kinds, metadata))
    for name in order:
        array = np.asarray(arrays[name], dtype=arrays[name].dtype.newbyteorder("<"), order="C")
        file.write(array.reshape(-1).view(np.uint8).data)


def _read_safetensors(path: str | os.PathLike[str], file: BinaryIO) -> Tensors:
    try:
        _, metadata, entries = read_header(file)
    except FormatError as error:
        raise FormatError(f"{path}: cannot be read as safetensors: {error}") from error
    if metadata.get("format") == "f2f":
        raise FormatError(f"{path}: is a compressed file already")
    data = np.fromfile(file, dtype=np.uint8)
    if len(data) != max((entry.end for entry in entries.values()), default=0):
        raise FormatError(f"{path}: changed while it was read")
    arrays = {}
    for name, entry in entries.items():  # views of the bytes where they are aligned
        part = data[entry.begin : entry.end]
        if part.ctypes.data % entry.dtype.itemsize:
            part = part.copy()
        arrays[name] = part.view(entry.dtype).reshape(entry.shape)
    return Tensors(arrays, metadata)


def _read_npz(path: str | os.PathLike[str], opened: BinaryIO) -> Tensors:
    arrays = {}
    size = os.fstat(opened.fileno()).st_size
    try:
        with zipfile.ZipFile(opened) as archive:
            members = archive.infolist()
            _refuse_amplification(path, sum(member.file_size for member in members), size)
            for member in members:
                # By member: NumPy's own reader takes "a.npy" and "a" for one name.
                name = member.filename.removesuffix(".npy")
                if name == member.filename or name in arrays:
                    raise FormatError(f"{path}: member {member.filename!r} is no array of its own")
                with archive.open(member) as file:
                    array = np.lib.format.read_array(file, allow_pickle=False)
                if not is_numeric(array.dtype):
                    raise FormatError(
                        f"{path}: array {name!r} must hold numbers, got dtype {array.dtype}"
                    )
                arrays[name] = array
    except (FormatError, OSError):
        raise
    except Exception as error:  # zipfile and NumPy raise whatever damaged headers lead to
        raise FormatError(f"{path}: cannot be read as .npz: {error}") from error
    return Tensors(arrays)


def _read_torch(path: str | os.PathLike[str], file: BinaryIO) -> Tensors:
    import torch

    try:
        content: Any = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its unpickler meets in a damaged file
        reason = str(error).split("\n")[0]
        raise FormatError(f"{path}: cannot be read as weights only: {reason}") from error
    if not isinstance(content, Mapping):
        raise FormatError(f"{path}: holds a {type(content).__name__}, not a dict of tensors")
    left_out: tuple[str, ...] = ()
    for key in STATE_KEYS:
        if isinstance(content.get(key), Mapping):
            left_out = tuple(str(other) for other in content if other != key)
            content = content[key]
            break
    if left_out:
        names = ", ".join(map(repr, left_out))
        warnings.warn(f"{path}: only {key!r} is read, left out: {names}", stacklevel=3)
    state = dict(content)  # tensors stay alive, so that their places tell them apart
    for name, value in state.items():
        if not isinstance(name, str):
            raise FormatError(f"{path}: names of tensors must be text, got {name!r}")
        if not isinstance(value, torch.Tensor):
            hint = f"; a state dict may be under {', '.join(map(repr, STATE_KEYS))}"
            raise FormatError(
                f"{path}: entry {name!r} is a {type(value).__name__}, not a tensor"
                + (hint if isinstance(value, Mapping) else "")
            )
    claimed = sum(value.numel() * value.element_size() for value in state.values())
    _refuse_amplification(path, claimed, os.fstat(file.fileno()).st_size)
    try:
        arrays = state_to_numpy(state, "entry {!r}")
    except ValueError as error:
        raise FormatError(f"{path}: {error}") from error
    return Tensors(arrays, left_out=left_out)


def _refuse_amplification(path: str | os.PathLike[str], claimed: int, size: int) -> None:
    if claimed > _MOST_TIMES * size + _MOST_MORE:
        raise FormatError(
            f"{path}: claims tensors of {claimed} bytes in a file of {size}; "
            f"at most {_MOST_TIMES} times its size is read"
        )
