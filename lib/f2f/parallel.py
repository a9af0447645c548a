"""Whole models: many tensors compressed and decompressed side by side, by joblib.

The parallel back end is the caller's choice and no concern of this module. Over all cores of this
machine, and over a Dask cluster:

    model = compress_model(tensors, n_jobs=-1, progress=True)

    with dask.distributed.Client("scheduler:8786"), joblib.parallel_config(backend="dask"):
        model = compress_model(tensors, progress=True)

Both give the same bytes. Worker processes end with the process that started them, however that
ends. A tensor is one task, so more workers than tensors gain nothing; inside a task ``threads=``
(an option of `f2f.compress`) spreads planes and mask.
"""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from numbers import Integral
from pickle import PicklingError
from typing import Any

import joblib
import numpy as np
from tqdm import tqdm

from f2f.base import validate
from f2f.base.errors import FormatError
from f2f.base.tensors import is_numeric
from f2f.format.codec import (
    COMMON,
    NEGATIVE_ZERO_HINT,
    compress,
    decompress_numpy,
    negative_zero_share,
)
from f2f.format.tensor import DTYPES, CompressedTensor


def compress_model(
    tensors: Mapping[str, np.ndarray],
    *,
    masks: Mapping[str, np.ndarray] | None = None,
    n_jobs: int | None = None,
    progress: bool = False,
    **options: Any,
) -> dict[str, CompressedTensor]:
    """Compress every tensor of a model: {name: CompressedTensor}, in the order given.

    What cannot gain is stored as it is: dtypes that `f2f.compress` does not code, and tensors of
    fewer than two axes (biases, norms, counters) unless `masks` names them. The result does not
    depend on the number of jobs or the back end.

    Parameters
    ----------
    tensors : mapping of str to numpy.ndarray
        An array object under several names is compressed once, and its names share the result.
    masks : mapping of str to array of bool, or of 0 and 1, optional
        True = unpruned; where there is none, zeros are pruned. Names are the tensors', a prefix
        such as ``module.`` included.
    n_jobs : int, optional
        As joblib's; None leaves it to `joblib.parallel_config`, or 1.
    progress : bool
        Show a bar on standard error.
    **options
        As of `f2f.compress`.

    Raises
    ------
    ValueError
        Wrong options or masks; the message names the tensor.

    Examples
    --------
    >>> weight = np.zeros((64, 64), np.int8)
    >>> weight[::9] = 5
    >>> model = compress_model({"fc.weight": weight, "fc.bias": np.ones(64, np.float32)})
    >>> model["fc.weight"].kind, model["fc.bias"].kind
    ('encoded', 'dense')
    """
    arrays = validate.arrays("tensors", tensors)
    masks = validate.mapping("masks", {} if masks is None else masks, object, "an array")
    if unknown := sorted(set(masks) - set(arrays)):
        raise ValueError(f"masks must be of tensors of the model, got {unknown}")
    compress(np.zeros(0, np.int8), **options)  # a wrong option fails here, not in a worker
    first = _first_names(arrays)
    shared_masks: dict[str, np.ndarray] = {}
    for name, mask in masks.items():
        given = shared_masks.setdefault(first[name], mask)
        if given is not mask and not np.array_equal(given, mask):
            raise ValueError(f"masks must be equal for names that share a tensor, as {name!r} does")

    if options.get("negative_zero") is None:
        found = {name: arrays[name] for name in first.values() if name not in shared_masks}
        _warn_of_negative_zeros({name: a for name, a in found.items() if _is_coded(a)})
        options["negative_zero"] = "keep"

    def task(name: str) -> Any:
        array = arrays[name]
        if name in shared_masks or _is_coded(array):
            return joblib.delayed(_compress)(name, array, shared_masks.get(name), options)
        return joblib.delayed(_store)(name, array)

    tasks = [(task(name), arrays[name].nbytes) for name in dict.fromkeys(first.values())]
    done = _run(tasks, n_jobs, progress, "compress", "processes")
    return {name: done[first[name]] for name in arrays}


def decompress_model(
    tensors: Mapping[str, CompressedTensor],
    *,
    masks: Mapping[str, np.ndarray] | None = None,
    n_jobs: int | None = None,
    progress: bool = False,
) -> dict[str, np.ndarray]:
    """Decompress every tensor of a model: {name: NumPy array}, in the order given.

    Parameters
    ----------
    tensors : mapping of str to CompressedTensor
        Names that share one share the array.
    masks : mapping of str to array of bool, optional
        Of the tensors that were compressed without theirs (``mask_codec="none"``).
    n_jobs, progress
        As `compress_model`, but threads, not processes, unless the caller's back end says
        otherwise.

    Raises
    ------
    ValueError
        A mask is missing or too many; the message names the tensor.
    FormatError
        A stored mask has not as many unpruned places as its tensor.

    Notes
    -----
    Nothing is kept for a later call, as `f2f.decompress` does (`f2f.format.operands`).

    Examples
    --------
    >>> weight = np.eye(64, dtype=np.int8)
    >>> model = compress_model({"fc.weight": weight, "fc.bias": np.ones(64, np.float32)})
    >>> back = decompress_model(model)
    >>> list(back), bool((back["fc.weight"] == weight).all())
    (['fc.weight', 'fc.bias'], True)
    """
    loaded = validate.mapping("tensors", tensors, CompressedTensor)
    masks = validate.mapping("masks", {} if masks is None else masks, object, "an array")
    first = _first_names(loaded)
    tasks = [
        (joblib.delayed(_decompress)(name, loaded[name], masks.get(name)), loaded[name].nbytes)
        for name in dict.fromkeys(first.values())
    ]
    # Decoding takes less time than sending its result to another process; kernels free the GIL.
    done = _run(tasks, n_jobs, progress, "decompress", "threads")
    return {name: done[first[name]] for name in loaded}


def _is_coded(array: np.ndarray) -> bool:
    """Whether an array is coded without a mask."""
    return array.ndim > 1 and array.dtype.name in DTYPES


def _warn_of_negative_zeros(arrays: dict[str, np.ndarray]) -> None:
    """One warning for all arrays where -0.0 is common."""
    shares = {name: negative_zero_share(array) for name, array in arrays.items()}
    common = {name: share for name, share in shares.items() if share >= COMMON}
    if common:
        name, share = max(common.items(), key=lambda item: item[1])
        warnings.warn(
            f"{100 * share:.0f} % of tensor {name!r} is {NEGATIVE_ZERO_HINT}"
            + (f"; {len(common) - 1} more tensors hold much of it" if len(common) > 1 else ""),
            stacklevel=3,
        )


def _first_names(values: dict[str, Any]) -> dict[str, str]:
    """For each name the first name of the same object; the dict keeps the objects alive."""
    names: dict[int, str] = {}
    return {name: names.setdefault(id(value), name) for name, value in values.items()}


def _run(
    tasks: Sequence[tuple[Any, int]], n_jobs: int | None, progress: bool, title: str, prefer: str
) -> dict[str, Any]:
    """Results by name of tasks: (delayed call that returns (name, result, bytes), its bytes)."""
    validate.instance("n_jobs", n_jobs, Integral | None, "an integer or None")
    if n_jobs == 0:
        raise ValueError("n_jobs must be an integer other than 0, or None, got 0")
    if n_jobs is not None:
        n_jobs = min(int(n_jobs), max(len(tasks), 1))  # a worker more would have nothing to do
    total = sum(size for _, size in tasks)
    # The largest first: a large one that starts last would keep one worker busy alone.
    calls = [call for call, _ in sorted(tasks, key=lambda task: -task[1])]
    parallel = joblib.Parallel(
        n_jobs=n_jobs,
        prefer=prefer,
        return_as="generator_unordered",
        batch_size=1,
        **({} if _has_initializer() else {"initializer": end_with, "initargs": (os.getpid(),)}),
    )
    results = {}
    with tqdm(total=total, desc=title, unit="B", unit_scale=True, disable=not progress) as bar:
        try:
            for name, result, size in parallel(calls):
                results[name] = result
                bar.update(size)
        except PicklingError as error:  # whatever joblib met when it wrote a task to a file
            reason = str(error.__cause__ or error).strip('"\n ').split("\n")[-1]
            raise OSError(
                f"tensors cannot be handed to workers: {reason}; "
                "JOBLIB_TEMP_FOLDER names another folder for temporary files"
            ) from error
    return results


def end_with(parent: int) -> None:
    """Let this process end when `parent`, which started it, is gone: an initializer of workers.

    A worker whose parent was killed would wait for ever for somebody to take its result.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _has_initializer() -> bool:
    """Whether the caller's choice of a back end has an initializer of its own."""
    backend, _ = joblib.parallel.get_active_backend()
    return "initializer" in getattr(backend, "backend_kwargs", {})


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Errors about the tensor of that name say so."""
    try:
        yield
    except FormatError as error:
        raise FormatError(f"tensor {name!r}: {error}") from error
    except ValueError as error:
        raise ValueError(f"tensor {name!r}: {error}") from error


def _compress(
    name: str, array: np.ndarray, mask: np.ndarray | None, options: dict[str, Any]
) -> tuple[str, CompressedTensor, int]:
    with _named(name):
        return name, compress(array, mask, **options), array.nbytes


def _store(name: str, array: np.ndarray) -> tuple[str, CompressedTensor, int]:
    if not is_numeric(array.dtype):
        raise ValueError(f"tensor {name!r} must hold numbers, got dtype {array.dtype}")
    little = np.array(array, dtype=array.dtype.newbyteorder("<"), order="C")
    data = little.reshape(-1).view(np.uint8)
    tensor = CompressedTensor(array.shape, array.dtype.name, "numpy", "dense", data)
    return name, tensor, array.nbytes


def _decompress(
    name: str, tensor: CompressedTensor, mask: np.ndarray | None
) -> tuple[str, np.ndarray, int]:
    with _named(name):
        # Of a copy: what kernels keep of a tensor goes with it, where over a model it would add up.
        return name, decompress_numpy(replace(tensor), mask), tensor.nbytes
