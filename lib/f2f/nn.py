"""PyTorch: state dicts in and out, and layers that keep their weight encoded.

Importing this module imports torch; nothing else in the package needs it.
"""

from __future__ import annotations

import dataclasses
import os
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.prune import BasePruningMethod

from f2f.base import validate
from f2f.base.tensors import identity, numpy_dtype, state_to_numpy, state_to_torch, to_torch
from f2f.checkpoint import read_folder
from f2f.format import container
from f2f.format.codec import compress, decompress_numpy
from f2f.format.expand import expand, memory_bytes
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
    does the work). Names that share one tensor share it in the result too.

    Parameters
    ----------
    state_dict : mapping of str to torch.Tensor
    masks : mapping of str to torch.Tensor, optional
        Of bool, or of 0 and 1; True = unpruned.
    n_jobs, progress, **options
        As of `f2f.parallel.compress_model`.

    Raises
    ------
    ValueError
        An entry is no dense tensor, an option or a mask is wrong; the message names it.

    Examples
    --------
    >>> import torch
    >>> layer = torch.nn.Linear(64, 32)
    >>> _ = torch.nn.init.sparse_(layer.weight, 0.9)
    >>> back = load_state_dict(compress_state_dict(layer.state_dict()))
    >>> torch.equal(back["weight"], layer.weight)
    True
    """
    # Tensors stay alive in it, so that their places tell them apart.
    state = validate.mapping("state_dict", state_dict, Tensor)
    given = validate.mapping("masks", {} if masks is None else masks, Tensor)
    model = compress_model(
        state_to_numpy(state, "state_dict[{!r}]"),
        masks=state_to_numpy(given, "masks[{!r}]"),
        n_jobs=n_jobs,
        progress=progress,
        **options,
    )
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
    """The state dict of a file, a folder of shards, or of what `compress_state_dict` returned.

    Bit for bit. Give it to the module's own `load_state_dict`. A file's names come sorted, as they
    were, a prefix such as ``module.`` included.

    Parameters
    ----------
    source : path-like or mapping of str to CompressedTensor
    n_jobs, progress
        As of `f2f.parallel.decompress_model`.

    Raises
    ------
    ValueError
        source is none of these.
    FormatError, OSError
        As `f2f.load`.

    Examples
    --------
    >>> import tempfile, f2f
    >>> layer = torch.nn.Linear(64, 32)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     f2f.save(f"{folder}/m.safetensors", compress_state_dict(layer.state_dict()))
    ...     layer.load_state_dict(load_state_dict(f"{folder}/m.safetensors"))
    <All keys matched successfully>
    """
    if isinstance(source, Mapping):
        tensors = validate.mapping("source", source, CompressedTensor)
        return _as_tensors(tensors, n_jobs, progress)
    source = validate.path("source", source)
    if not source.is_dir():
        with container.open_file(source) as file:
            return _as_tensors(file, n_jobs, progress)
    state: dict[str, Tensor] = {}
    folder = read_folder(source)
    for shard in folder.shards:
        with container.open_file(folder.path / shard) as file:
            own = {name: file[name] for name in folder.own(shard, file)}
            state |= _as_tensors(own, n_jobs, progress)
    return state


def _as_tensors(
    model: Mapping[str, CompressedTensor], n_jobs: int | None, progress: bool
) -> dict[str, Tensor]:
    return state_to_torch(decompress_model(model, n_jobs=n_jobs, progress=progress))


class _Compressed(nn.Module):
    """What the two layers share: an encoded weight, which is no parameter and is not trained.

    The layer stands in a state dict as the layer it replaces does: `state_dict()` holds the
    decoded weight under "weight", and loading one encodes the weight it brings. ``to``, ``half``
    and their kin change the dtype and device in which the weight is given, not how it is kept.
    """

    encoded: CompressedTensor
    bias: nn.Parameter | None
    _like: Tensor
    _replaces: type[nn.Module] = nn.Linear
    _settings: tuple[str, ...] = ()  # of the dense layer, and arguments of this one

    def __init__(self, encoded: CompressedTensor, bias: Tensor | None, axes: int) -> None:
        super().__init__()
        validate.instance("encoded", encoded, CompressedTensor)
        validate.instance("bias", bias, Tensor | None, "a Tensor or None")
        if len(encoded.shape) != axes:
            raise ValueError(f"encoded must have {axes} axes, got shape {encoded.shape}")
        if encoded.kind == "encoded" and encoded.mask is None:
            raise ValueError('encoded must store its mask, got mask_codec="none"')
        if bias is not None and bias.shape != encoded.shape[:1]:
            raise ValueError(f"bias must have shape {encoded.shape[:1]}, got {tuple(bias.shape)}")
        self.encoded = encoded
        self.register_parameter("bias", None if bias is None else nn.Parameter(bias.detach()))
        # No elements: it follows the module's dtype and device, and the weight follows it.
        like = torch.empty(0, dtype=getattr(torch, encoded.dtype))
        self.register_buffer("_like", like, persistent=False)
        # Of `compress`, for a weight that is loaded.
        kept = ("order", "n_s", "seed") if encoded.kind == "encoded" else ()
        self.options: dict[str, Any] = {name: getattr(encoded, name) for name in kept}

    @classmethod
    def from_dense(
        cls, layer: Any, encoded: CompressedTensor | None = None, **options: Any
    ) -> Self:
        """The same layer with its weight encoded now (options of `f2f.compress`) or beforehand.

        In the layer's mode, dtype and device, with its hooks and the very same bias.
        """
        validate.instance("layer", layer, cls._replaces)
        weight = current_weight(layer)
        if encoded is None:
            encoded = compress(weight, **options)
        validate.instance("encoded", encoded, CompressedTensor)
        if encoded.shape != tuple(weight.shape):
            raise ValueError(
                f"encoded must have the weight's shape {tuple(weight.shape)}, got {encoded.shape}"
            )
        new = cls(encoded, _bias(layer), *(getattr(layer, name) for name in cls._settings))
        new.bias = layer._parameters.get("bias", new.bias)  # a pruned one is no parameter
        new.options |= options
        new._like = new._like.to(device=weight.device)
        for name in _HOOKS:
            new.__dict__[name] = layer.__dict__[name]
        hooks = layer._forward_pre_hooks
        if any(isinstance(hook, BasePruningMethod) for hook in hooks.values()):
            others = {k: h for k, h in hooks.items() if not isinstance(h, BasePruningMethod)}
            new._forward_pre_hooks = OrderedDict(others)
        return new.train(layer.training)

    @property
    def weight(self) -> Tensor:
        """The weight, decoded now: bit for bit what was encoded, in the dtype of the module."""
        return self._decoded(lent=False)

    def _weight_for(self, x: Tensor) -> Tensor:
        """The weight for one call; a gradient of x, if there is one, may want it after that."""
        return self._decoded(lent=not (torch.is_grad_enabled() and x.requires_grad))

    @torch.compiler.disable
    def _decoded(self, lent: bool) -> Tensor:
        """The weight; lent: until the next call of a layer in this thread, which reuses memory."""
        encoded, threads = self.encoded, torch.get_num_threads()
        if lent and encoded.kind == "encoded" and (size := memory_bytes(encoded)) >= MAPPED:
            words = expand(encoded, threads=threads, memory=_thread_memory(size))
            array = words.view(numpy_dtype(encoded.dtype)).reshape(encoded.shape)
        else:
            array = decompress_numpy(encoded, threads=threads)
        return to_torch(array).to(self._like)

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
        elif not isinstance(weight, Tensor) or weight.shape != self.encoded.shape:
            got = tuple(weight.shape) if isinstance(weight, Tensor) else type(weight).__name__
            error_msgs.append(f"{key} must have shape {self.encoded.shape}, got {got}")
        else:
            self.encoded = compress(weight.to(self._like.dtype), **self.options)
        super()._load_from_state_dict(
            others, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )


class CompressedLinear(_Compressed):
    """`torch.nn.Linear` with its weight (out_features, in_features) kept encoded.

    Each call decodes the weight, in as many threads as torch uses, uses it and drops it. Memory of
    a weight of 32 MB or more is kept by the thread, as much as the largest needs, and written anew
    by the next call, but where x needs a gradient. Gradients flow to the input and the bias. The
    result is bitwise that of the dense layer with the same weight.

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
        self.out_features, self.in_features = encoded.shape

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self._weight_for(x), self.bias)


class CompressedConv2d(_Compressed):
    """`torch.nn.Conv2d` with its weight (out, in / groups, height, width) kept encoded.

    As `CompressedLinear`; stride, padding, dilation, groups and padding_mode as of the dense layer.

    Examples
    --------
    >>> import torch
    >>> layer = torch.nn.Conv2d(16, 32, 3, padding=1)
    >>> x = torch.randn(1, 16, 8, 8)
    >>> torch.equal(CompressedConv2d.from_dense(layer)(x), layer(x))
    True
    """

    _replaces = nn.Conv2d
    _settings = ("stride", "padding", "dilation", "groups", "padding_mode")

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
        for name in _GEOMETRY:
            setattr(self, name, getattr(geometry, name))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.__dict__["_geometry"]._conv_forward(x, self._weight_for(x), self.bias)
        return out


MAPPED = 1 << 25  # bytes from which on new memory is mapped page by page, as long as decoding takes
_THREAD = threading.local()


def _thread_memory(size: int) -> np.ndarray:
    """uint8 (size,) of this thread, kept for the next call."""
    memory: np.ndarray | None = getattr(_THREAD, "memory", None)
    if memory is None or memory.nbytes < size:
        memory = _THREAD.memory = np.empty(size, dtype=np.uint8)
    return memory[:size]


# What a Conv2d says of itself.
_GEOMETRY = (
    *("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups"),
    *("padding_mode", "transposed", "output_padding"),
)


def compress_module(
    module: nn.Module,
    tensors: Mapping[str, CompressedTensor] | None = None,
    **options: Any,
) -> nn.Module:
    """Replace every Linear and Conv2d below `module` by its compressed form, in place.

    A weight that is stored as it is (kind "dense") gains nothing, and its layer stays. A layer or
    a weight used in several places stays shared, hooks stay, and a layer under
    `torch.nn.utils.prune` gives the weight that its next call would use.

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

    Raises
    ------
    ValueError
        The weight of a layer is made by a hook that is not `torch.nn.utils.prune`'s; the message
        names the layer.

    Examples
    --------
    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU())
    >>> _ = torch.nn.init.sparse_(net[0].weight, 0.9)
    >>> type(compress_module(net)[0]).__name__
    'CompressedLinear'
    """
    kinds: dict[type, Any] = {nn.Linear: CompressedLinear, nn.Conv2d: CompressedConv2d}
    validate.instance("module", module, nn.Module, "a torch.nn.Module")
    given = None if tensors is None else validate.mapping("tensors", tensors, CompressedTensor)
    # With the layer or weight itself, which is kept: an address alone may be another's by now.
    weights: dict[tuple[Any, ...], tuple[Tensor, CompressedTensor]] = {}
    layers: dict[int, tuple[nn.Module, nn.Module]] = {}

    def encode(layer: Any, name: str) -> CompressedTensor | None:
        weight = current_weight(layer)
        key = identity(weight)
        if given is not None and f"{name}weight" in given:
            weights[key] = weight, given[f"{name}weight"]
        elif given is None and key not in weights:
            weights[key] = weight, compress(weight, **options)
        return weights[key][1] if key in weights else None

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
            try:
                encoded = encode(layer, name)
                stays = encoded is None or encoded.kind == "dense"
                new = layer if stays else kind.from_dense(layer, encoded, **options)
            except ValueError as error:
                raise ValueError(f"layer {name[:-1] or 'module'!r}: {error}") from error
            layers[id(layer)] = layer, new
        return layers[id(layer)][1]

    new: nn.Module = replace(module, "")
    return new


def current_weight(layer: nn.Module) -> Tensor:
    """The weight that the next call of a layer would use.

    Raises
    ------
    ValueError
        A hook makes it that is not `torch.nn.utils.prune`'s.
    """
    return _current(layer, "weight")


def _current(layer: nn.Module, name: str) -> Tensor:
    value = layer._parameters.get(name)
    if value is not None:
        return value
    mask: Any = getattr(layer, f"{name}_mask", None)
    if isinstance(mask, Tensor):
        # What is in layer.weight was made before the last call. Not a product, which would leave
        # -0.0 at pruned places.
        original: Any = getattr(layer, f"{name}_orig")
        return torch.where(mask != 0, original.detach(), original.new_zeros(()))
    raise ValueError(f"{name} must be a parameter, got one that a hook makes; remove that first")


def _bias(layer: nn.Linear | nn.Conv2d) -> Tensor | None:
    return None if layer.bias is None else _current(layer, "bias")


# What `register_forward_hook` and its kin keep; pruning's own hooks make a weight and go.
_HOOKS = (
    *("_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called"),
    *("_forward_pre_hooks", "_forward_pre_hooks_with_kwargs"),
    *("_backward_hooks", "_backward_pre_hooks", "_is_full_backward_hook"),
)
