"""The bits of a torch tensor as a NumPy array, and back; torch is imported when used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


def numpy_dtype(name: str) -> np.dtype:
    """The dtype of a name, of `ml_dtypes` where NumPy has none; `TypeError` if there is none."""
    return np.dtype(getattr(ml_dtypes, name, name))


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
    plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    return plain.reshape(-1).view(torch.uint8).numpy().view(dtype).reshape(tensor.shape)


def to_torch(array: np.ndarray) -> Tensor:
    """A torch tensor with a copy of an array's bits.

    Raises
    ------
    ValueError
        torch has no dtype of that name.
    """
    import torch

    dtype = getattr(torch, array.dtype.name, None)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"array must have a dtype that torch knows, got {array.dtype}")
    little = np.array(array, dtype=array.dtype.newbyteorder("<"), order="C")
    return torch.from_numpy(little.reshape(-1).view(np.uint8)).view(dtype).reshape(array.shape)


def identity(tensor: Tensor) -> tuple[Any, ...]:
    """Equal for tensors that are the same view of the same memory, and only for those."""
    if tensor.numel() == 0:
        return (id(tensor),)
    place = (tensor.device, tensor.data_ptr(), tensor.dtype)
    return (*place, tuple(tensor.shape), tensor.stride(), tensor.is_conj(), tensor.is_neg())
