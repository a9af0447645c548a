"""The bits of a torch tensor as a NumPy array, and back; torch is imported when used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


def numpy_dtype(name: str) -> np.dtype:
    """The dtype of a name, of `ml_dtypes` where NumPy has none; `TypeError` if there is none."""
    if not name.isidentifier():  # a list of fields, say
        raise TypeError(f"{name!r} is no name of a dtype")
    return np.dtype(getattr(ml_dtypes, name, name))


def is_numeric(dtype: np.dtype) -> bool:
    """Whether a dtype is of bools, integers or real or complex floats, those of `ml_dtypes` too."""
    return dtype.kind in "biufc" or hasattr(ml_dtypes, dtype.name)


def to_numpy(tensor: Tensor) -> np.ndarray:
    """A NumPy array of a tensor's bits, `ml_dtypes` types where NumPy has none.

    Parameters
    ----------
    tensor : torch.Tensor
        Dense; one on the CPU and contiguous is not copied.

    Raises
    ------
    ValueError
        The tensor is sparse or quantized, or of a dtype without a counterpart.
    """
    import torch

    if not isinstance(tensor, torch.Tensor):
        raise ValueError(f"array must be a dense torch tensor, got {type(tensor).__name__}")
    if tensor.layout != torch.strided or tensor.is_quantized:
        raise ValueError(
            f"tensor must be dense and not quantized, got {tensor.layout} {tensor.dtype}"
        )
    name = str(tensor.dtype).removeprefix("torch.")
    try:
        dtype = numpy_dtype(name)
    except TypeError:
        raise ValueError(f"tensor must have a dtype that NumPy knows, got {tensor.dtype}") from None
    if tensor.is_meta:
        raise ValueError("tensor must have values, got one on the meta device")
    if not tensor.numel():
        return np.empty(tuple(tensor.shape), dtype=dtype)
    try:
        plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
        flat = plain.reshape(-1).view(torch.uint8).numpy()
    except (NotImplementedError, RuntimeError, TypeError) as error:
        raise ValueError(
            f"tensor must be readable as plain values, got {type(tensor).__name__}: {error}"
        ) from error
    return flat.view(dtype).reshape(tensor.shape)


def to_torch(array: np.ndarray) -> Tensor:
    """A contiguous torch tensor of an array's bits, in the array's memory where that may be.

    A copy is made of an array that is read-only, not contiguous or of the other byte order.

    Raises
    ------
    ValueError
        torch has no dtype of that name.
    """
    import torch

    dtype = getattr(torch, array.dtype.name, None)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"array must have a dtype that torch knows, got {array.dtype}")
    little = np.require(array, array.dtype.newbyteorder("<"), ["C", "W"])
    return torch_from_bits(little.reshape(-1).view(np.uint8), array.dtype.name, array.shape)


def torch_from_bits(data: np.ndarray, dtype: str, shape: tuple[int, ...]) -> Tensor:
    """A torch tensor of a dtype of torch in the memory of its bytes: uint8 (bytes,), writable."""
    import torch

    kind = getattr(torch, dtype)
    if not data.size:  # of which torch makes no buffer
        return torch.empty(shape, dtype=kind)
    return torch.frombuffer(data, dtype=kind).reshape(shape)


def state_to_numpy(state: Mapping[str, Tensor], label: str) -> dict[str, np.ndarray]:
    """The tensors of a dict as arrays; names that share a tensor share the array.

    Raises
    ------
    ValueError
        As `to_numpy`; the message begins with the label of the name, such as "entry {!r}".
    """
    arrays: dict[str, np.ndarray] = {}
    shared: dict[tuple[Any, ...], np.ndarray] = {}
    for name, tensor in state.items():
        try:
            array = to_numpy(tensor)
        except ValueError as error:
            raise ValueError(f"{label.format(name)}: {error}") from error
        arrays[name] = shared.setdefault(identity(tensor), array)
    return arrays


def state_to_torch(arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """Arrays as torch tensors; names that share an array share the tensor."""
    shared = {id(array): to_torch(array) for array in arrays.values()}
    return {name: shared[id(array)] for name, array in arrays.items()}


def identity(tensor: Tensor) -> tuple[Any, ...]:
    """Equal for tensors that are the same view of the same memory, and only for those.

    While they live: the caller keeps them, or their places may be another's.
    """
    if tensor.numel() == 0 or tensor.data_ptr() == 0:  # no memory, or none of its own
        return (id(tensor),)
    place = (tensor.device, tensor.data_ptr(), tensor.dtype)
    return (*place, tuple(tensor.shape), tensor.stride(), tensor.is_conj(), tensor.is_neg())
