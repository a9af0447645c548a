"""PyTorch: state dicts in and out, and layers that keep their weight encoded.

Importing this module imports torch; nothing else in the package needs it.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn import functional

from f2f.base.tensors import identity, to_numpy, to_torch
from f2f.format import container
from f2f.format.codec import compress, decompress_numpy
from f2f.format.tensor import CompressedTensor
from f2f.parallel import compress_model, decompress_model


def compress_state_dict(
    state_dict: Mapping[str, Tensor],
    *,
    masks: Mapping[str, Tensor] | None = None,
    n_jobs: int | None = None,
    progress: bool = False,
    **options: Any,
) -> dict[str, CompressedTensor]:
    """Compress a state dict without loss: {name: CompressedTensor}, ready for `f2f.save`.

    Biases, norms and counters are stored as they are (see `f2f.parallel.compress_model`, which
    does the work and defines the other arguments). Names that share one tensor share it in the
    result too.

    Raises
    ------
    ValueError
        An entry is no dense tensor; the message names it.

    Examples
    --------
    >>> import torch
    >>> layer = torch.nn.Linear(64, 32)
    >>> _ = torch.nn.init.sparse_(layer.weight, 0.9)
    >>> back = load_state_dict(compress_state_dict(layer.state_dict()))
    >>> torch.equal(back["weight"], layer.weight)
    True
    """
    arrays: dict[str, np.ndarray] = {}
    shared: dict[tuple[Any, ...], np.ndarray] = {}
    for name, value in state_dict.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"state_dict[{name!r}] must be a tensor, got {type(value).__name__}")
        try:
            array = to_numpy(value)
        except ValueError as error:
            raise ValueError(f"state_dict[{name!r}]: {error}") from error
        arrays[name] = shared.setdefault(identity(value), array)
    given = {name: to_numpy(mask) for name, mask in (masks or {}).items()}
    model = compress_model(arrays, masks=given, n_jobs=n_jobs, progress=progress, **options)
    as_torch = {
        id(tensor): dataclasses.replace(tensor, library="torch") for tensor in model.values()
    }
    return {name: as_torch[id(tensor)] for name, tensor in model.items()}


def load_state_dict(
    source: str | os.PathLike[str] | Mapping[str, CompressedTensor],
    *,
    n_jobs: int | None = None,
    progress: bool = False,
) -> dict[str, Tensor]:
    """The state dict of a file, or of what `compress_state_dict` returned, bit for bit.

    Give it to the module's own `load_state_dict`. A file's names come sorted.

    Raises
    ------
    FormatError, OSError
        As `f2f.load`.
    """
    model = source if isinstance(source, Mapping) else container.load(source)
    arrays = decompress_model(model, n_jobs=n_jobs, progress=progress)
    shared = {id(array): to_torch(array) for array in arrays.values()}
    return {name: shared[id(array)] for name, array in arrays.items()}


class _Compressed(nn.Module):
    """What the two layers share: an encoded weight, which is no parameter and is not trained.

    The layer stands in a state dict as the layer it replaces does: `state_dict()` holds the
    decoded weight under "weight", and loading one encodes the weight it brings.
    """

    encoded: CompressedTensor
    bias: nn.Parameter | None
    _geometry: Any

    def __init__(self, encoded: CompressedTensor, bias: Tensor | None, axes: int) -> None:
        super().__init__()
        if len(encoded.shape) != axes:
            raise ValueError(f"encoded must have {axes} axes, got shape {encoded.shape}")
        if encoded.kind == "encoded" and encoded.mask is None:
            raise ValueError('encoded must store its mask, got mask_codec="none"')
        if bias is not None and bias.shape != encoded.shape[:1]:
            raise ValueError(f"bias must have shape {encoded.shape[:1]}, got {tuple(bias.shape)}")
        self.encoded = encoded
        self.register_parameter("bias", None if bias is None else nn.Parameter(bias.detach()))

    @property
    def weight(self) -> Tensor:
        """The weight, decoded now: the tensor that was encoded, bit for bit, on the CPU."""
        return to_torch(decompress_numpy(self.encoded))

    def extra_repr(self) -> str:
        bits = 8 * self.encoded.nbytes / max(self.encoded.n, 1)
        return (
            f"{self.encoded.dtype} {self.encoded.shape}, S={self.encoded.sparsity:.3f}, "
            f"{bits:.3f} bits/weight, bias={self.bias is not None}"
        )

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        destination[prefix + "weight"] = self.weight
        super()._save_to_state_dict(destination, prefix, keep_vars)

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: Any, strict: bool,
        missing_keys: list[str], unexpected_keys: list[str], error_msgs: list[str],
    ) -> None:  # fmt: skip
        key = prefix + "weight"
        weight = state_dict.get(key)
        others = {name: value for name, value in state_dict.items() if name != key}
        if weight is None:
            missing_keys.append(key)
        elif tuple(weight.shape) != self.encoded.shape:
            error_msgs.append(
                f"{key} must have shape {self.encoded.shape}, got {tuple(weight.shape)}"
            )
        else:
            self.encoded = compress(weight)
        super()._load_from_state_dict(
            others, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )


class CompressedLinear(_Compressed):
    """`torch.nn.Linear` with its weight (out_features, in_features) kept encoded.

    Each call decodes the weight, uses it and drops it: memory for time. Gradients flow to the
    input and the bias. The result is bitwise that of the dense layer with the same weight.

    Parameters
    ----------
    encoded : CompressedTensor
        The weight, with its mask.
    bias : torch.Tensor, optional
        (out_features,).

    Examples
    --------
    >>> import torch
    >>> layer = torch.nn.Linear(64, 32)
    >>> _ = torch.nn.init.sparse_(layer.weight, 0.9)
    >>> x = torch.randn(5, 64)
    >>> torch.equal(CompressedLinear.from_dense(layer)(x), layer(x))
    True
    """

    def __init__(self, encoded: CompressedTensor, bias: Tensor | None = None) -> None:
        super().__init__(encoded, bias, axes=2)

    @classmethod
    def from_dense(
        cls, layer: nn.Linear, encoded: CompressedTensor | None = None, **options: Any
    ) -> CompressedLinear:
        """The same layer with its weight encoded now (options of `f2f.compress`) or beforehand."""
        new = cls(_encode(layer, encoded, options), layer.bias)
        return _as_was(new, layer)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight.to(x.device), self.bias)


class CompressedConv2d(_Compressed):
    """`torch.nn.Conv2d` with its weight (out, in / groups, height, width) kept encoded.

    As `CompressedLinear`; stride, padding, dilation, groups and padding_mode as of the dense layer.
    """

    def __init__(
        self,
        encoded: CompressedTensor,
        bias: Tensor | None = None,
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] | str = 0,
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
        padding_mode: str = "zeros",
    ) -> None:
        super().__init__(encoded, bias, axes=4)
        out, per_group, height, width = encoded.shape
        # The dense layer itself, without memory for its weight, does the work: one convolution
        # with all its padding modes is not written twice.
        conv: Any = nn.Conv2d
        geometry = conv(
            per_group * groups, out, (height, width), stride, padding, dilation, groups,
            bias=False, padding_mode=padding_mode, device="meta",
        )  # fmt: skip
        self.__dict__["_geometry"] = geometry  # not a submodule: it holds no state

    @classmethod
    def from_dense(
        cls, layer: nn.Conv2d, encoded: CompressedTensor | None = None, **options: Any
    ) -> CompressedConv2d:
        """The same layer with its weight encoded now (options of `f2f.compress`) or beforehand."""
        new = cls(
            _encode(layer, encoded, options), layer.bias, layer.stride, layer.padding,
            layer.dilation, layer.groups, layer.padding_mode,
        )  # fmt: skip
        return _as_was(new, layer)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self._geometry._conv_forward(x, self.weight.to(x.device), self.bias)
        return out


def compress_module(
    module: nn.Module,
    tensors: Mapping[str, CompressedTensor] | None = None,
    **options: Any,
) -> nn.Module:
    """Replace every Linear and Conv2d below `module` by its compressed form, in place.

    A weight that is stored as it is (kind "dense") gains nothing, and its layer stays. A layer or
    a weight used in several places stays shared.

    Parameters
    ----------
    module : torch.nn.Module
    tensors : mapping of str to CompressedTensor, optional
        Encoded weights by state-dict name, as `compress_state_dict` or `f2f.load` gives them;
        layers whose weight they have take it from there. Without them, weights are encoded now.
    **options
        As of `f2f.compress`, without tensors.

    Returns
    -------
    torch.nn.Module
        The module, or a new one where `module` is itself such a layer.
    """
    kinds: dict[type, Any] = {nn.Linear: CompressedLinear, nn.Conv2d: CompressedConv2d}
    weights: dict[tuple[Any, ...], CompressedTensor] = {}
    layers: dict[int, Any] = {}

    def replace(layer: Any, name: str) -> Any:
        kind = kinds.get(type(layer))
        if kind is None:
            # Not named_children(), which leaves out a module's second name.
            for child_name, child in list(layer._modules.items()):
                if child is None:
                    continue
                setattr(layer, child_name, replace(child, f"{name}{child_name}."))
            return layer
        if id(layer) not in layers:
            key = identity(layer.weight)
            if tensors is not None and f"{name}weight" in tensors:
                weights[key] = tensors[f"{name}weight"]
            elif tensors is None and key not in weights:
                weights[key] = compress(layer.weight, **options)
            encoded = weights.get(key)
            dense = encoded is None or encoded.kind == "dense"
            layers[id(layer)] = layer if dense else kind.from_dense(layer, encoded)
        return layers[id(layer)]

    new: nn.Module = replace(module, "")
    return new


def _encode(
    layer: nn.Linear | nn.Conv2d, encoded: CompressedTensor | None, options: dict[str, Any]
) -> CompressedTensor:
    if encoded is None:
        return compress(layer.weight, **options)
    if encoded.shape != tuple(layer.weight.shape):
        raise ValueError(
            f"encoded must have the weight's shape {tuple(layer.weight.shape)}, got {encoded.shape}"
        )
    return encoded


def _as_was(new: Any, layer: nn.Module) -> Any:
    """The new layer in the old one's mode, with the very same bias."""
    new.bias = layer.bias
    return new.train(layer.training)
