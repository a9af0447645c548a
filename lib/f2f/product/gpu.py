"""The matrix product from encoded weights on a GPU: compiles, caches and launches `encoded.cu`.

A tensor is laid out and copied to the device once (`DeviceMatrix`), then multiplied as often as
wanted; `spmm(tensor, x)` does both, and keeps the matrix as long as the tensor lives.

Device memory: for every 8 planes 8 bytes a block of n_out weights for the payload, 1.25 bytes an
unpruned weight for its place (32 steps and 8 bytes of header a group), one bit a weight and flip
plane, 8 bytes an exception; `DeviceMatrix.nbytes` is the exact sum. The mask is expanded to that
list on the host; it is not kept in its coded form on the device.

Sums are made by atomic additions in no fixed order: integers are exact, floats may differ between
runs within the bound of `f2f.product`.

Importing this module needs neither CuPy nor a GPU; a product without one raises `RuntimeError`.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from f2f.base import validate
from f2f.format.orders import DIAGONAL, matrix_shape
from f2f.format.tensor import CompressedTensor
from f2f.product import device
from f2f.product.dense import check_operands, dense_matrix, host_array, sum_dtype
from f2f.product.gpu_layout import (
    GROUPS_PER_BLOCK,
    VECTORS,
    Arrays,
    DeviceLayout,
    build_layout,
    is_narrow,
    walk_fields,
)

if TYPE_CHECKING:
    import cupy

THREADS = 1024
MAX_COLUMNS = 8  # of x in one launch; more columns take more launches
DECODES = ("auto", "bmma", "parity")  # by tensor cores, or by AND and POPC
SOURCE, KERNEL = Path(__file__).with_name("encoded.cu"), "encoded_product"

_DTYPE_CODE = {"int8": 0, "uint8": 1, "int16": 2, "float16": 3, "bfloat16": 4, "float32": 5}
_SUM_CODE = {"float32": 0, "int32": 1, "int64": 2, "float64": 3}
_LARGEST = {"int8": 128, "uint8": 255, "int16": 32768}  # magnitude of a weight


class Launch(NamedTuple):
    """One compiled variant of the kernel and its geometry.

    Attributes
    ----------
    defines : tuple of (str, int)
        The -D options of `encoded.cu`.
    columns : int
        Of x that it multiplies.
    blocks : int
        Thread blocks.
    chunk : int
        Groups that a thread block takes at a time.
    shared_bytes : int
        Of shared memory that each takes.
    """

    defines: tuple[tuple[str, int], ...]
    columns: int
    blocks: int
    chunk: int
    shared_bytes: int

    @property
    def options(self) -> tuple[str, ...]:
        """As NVRTC takes them."""
        return ("--std=c++17", *(f"-D{name}={value}" for name, value in self.defines))


# What adds W X, some columns of it, to y; scale or None.
Multiply = Callable[["cupy.ndarray", "cupy.ndarray", "cupy.ndarray | None"], None]


class DeviceMatrix:
    """A compressed matrix in device memory.

    Parameters
    ----------
    tensor : CompressedTensor
    mask : ndarray of bool, optional
        As for `f2f.decompress`.

    Raises
    ------
    RuntimeError
        Without a GPU.
    ValueError
        For 2**31 weights or more.

    Attributes
    ----------
    shape : (int, int)
        Rows and columns.
    dtype : str
        Of the weights.
    layout : DeviceLayout or None
        The host description; None for a tensor stored as it is.
    dense : cupy.ndarray or None
        The matrix, of a tensor stored as it is.
    arrays : Arrays or None
        Those of the layout, on the device.
    launches : dict
        What `multiply` has prepared so far, by its arguments.
    """

    def __init__(self, tensor: CompressedTensor, mask: np.ndarray | None = None) -> None:
        validate.instance("tensor", tensor, CompressedTensor)
        xp = device.require()
        self.shape = matrix_shape(tensor.shape)
        self.dtype = tensor.dtype
        self.layout: DeviceLayout | None = None
        self.dense: cupy.ndarray | None = None
        self.arrays: Arrays | None = None
        self.launches: dict[tuple[int, str, bool, str], list[Multiply]] = {}
        if tensor.kind == "dense" or tensor.n == 0:
            self.dense = xp.asarray(dense_matrix(tensor))
        else:
            self.layout = build_layout(tensor, mask)
            self.arrays = Arrays(*map(xp.asarray, self.layout.arrays))

    @property
    def nbytes(self) -> int:
        """Bytes of device memory."""
        kept: Any = self.dense if self.arrays is None else self.arrays
        return int(kept.nbytes)

    def copy(self) -> DeviceMatrix:
        """Another matrix with arrays of its own on the device; not of a tensor stored as it is."""
        twin = copy(self)
        assert self.arrays is not None
        twin.arrays = Arrays(*(array.copy() for array in self.arrays))
        twin.launches = {}
        return twin


def given_array(name: str, values: Any) -> Any:
    """Numbers as an array where they lie: CuPy's on the GPU, otherwise NumPy's; or `ValueError`."""
    values = values.detach() if hasattr(values, "detach") else values
    if hasattr(values, "__cuda_array_interface__"):
        return device.require().asarray(values)
    return host_array(name, values)


def spmm(
    matrix: CompressedTensor | DeviceMatrix, x: Any, scale: Any = None, decode: str = "auto"
) -> Any:
    """The product Y = W X.

    The weights are decoded once for every `Launch.columns` columns (as many as fit into shared
    memory, at most 8).

    Parameters
    ----------
    matrix : CompressedTensor or DeviceMatrix, (rows, cols)
        A tensor is prepared at its first product and kept on the device as long as it lives.
    x : array, list or torch.Tensor, shape (cols, m)
        On the host or the GPU.
    scale : number or array, shape (rows,), optional
        Multiplies the rows of Y.
    decode : {"auto", "bmma", "parity"}
        By tensor cores, or by AND and POPC.

    Returns
    -------
    ndarray, shape (rows, m)
        CuPy's where x lies on the GPU, otherwise NumPy's; of the dtype that `f2f.product.spmv`
        names.

    Raises
    ------
    ValueError
        An argument is none of these; the message names it.
    FormatError
        The stored mask has not as many unpruned places as the tensor.
    RuntimeError
        Without a GPU.
    """
    wanted = "a CompressedTensor or a DeviceMatrix"
    validate.instance("matrix", matrix, CompressedTensor | DeviceMatrix, wanted)
    validate.choice("decode", decode, DECODES)
    x = given_array("x", x)
    scale = None if scale is None else given_array("scale", scale)
    rows = check_operands(matrix, x, scale)
    xp = device.require()
    on_device = matrix if isinstance(matrix, DeviceMatrix) else _kept(matrix)
    on_host = not isinstance(x, xp.ndarray)
    sum_type = accumulation(matrix.dtype, x.dtype, len(x))
    x = xp.ascontiguousarray(xp.asarray(x), dtype=sum_type)
    y_type, by_row = sum_type, None
    if scale is not None:
        y_type = np.dtype(np.float64 if sum_type == np.float64 else np.float32)
        by_row = xp.empty(rows, dtype=y_type)
        by_row[...] = xp.asarray(scale)
    y = xp.zeros((rows, x.shape[1]), dtype=y_type)
    if on_device.dense is not None:
        product = on_device.dense.astype(sum_type) @ x
        y[...] = product if by_row is None else product * by_row[:, None]
    else:
        multiply(on_device, x, y, by_row, decode)
    if y_type == np.int32:
        y = y.astype(np.int64)
    return y.get() if on_host else y


_KEPT: WeakKeyDictionary[CompressedTensor, DeviceMatrix] = WeakKeyDictionary()


def _kept(tensor: CompressedTensor) -> DeviceMatrix:
    if tensor not in _KEPT:
        _KEPT[tensor] = DeviceMatrix(tensor)
    return _KEPT[tensor]


def multiply(
    matrix: DeviceMatrix,
    x: cupy.ndarray,
    y: cupy.ndarray,
    scale: cupy.ndarray | None = None,
    decode: str = "auto",
) -> None:
    """y += W x on the current stream, without checks, allocations or synchronisation.

    Parameters
    ----------
    matrix : DeviceMatrix
        Not of a tensor stored as it is.
    x : cupy.ndarray, shape (cols, m)
        Of the dtype that `accumulation` gives, C-contiguous.
    y : cupy.ndarray, shape (rows, m)
        Of x's dtype, or with a scale float32 (float64 for float64 sums), C-contiguous.
    scale : cupy.ndarray, shape (rows,), optional
        Of y's dtype.
    decode : {"auto", "bmma", "parity"}
        As for `spmm`.
    """
    variant = x.shape[1], x.dtype.name, scale is not None, decode
    launches = matrix.launches.get(variant)
    if launches is None:
        launches = matrix.launches[variant] = _prepare_launches(matrix, *variant)
    for launch in launches:
        launch(x, y, scale)


def _prepare_launches(
    matrix: DeviceMatrix, columns: int, sums: str, scaled: bool, decode: str
) -> list[Multiply]:
    """What multiplies by x of so many columns, one launch of the kernel each."""
    layout, found = matrix.layout, device.probe()
    assert layout is not None
    limits = (found.multiprocessors, found.shared_bytes)
    launches: list[Multiply] = []
    first = 0
    while first < columns:
        launch = plan(layout, columns - first, np.dtype(sums), scaled, decode, *limits)
        launches.append(_prepare_launch(matrix, first, launch))
        first += launch.columns
    return launches


def _prepare_launch(matrix: DeviceMatrix, first: int, launch: Launch) -> Multiply:
    """One launch, of columns from `first` on."""
    layout, arrays = matrix.layout, matrix.arrays
    assert layout is not None and arrays is not None
    kernel, fixed = _compiled(launch), fixed_arguments(launch, layout, arrays)

    def run(x: cupy.ndarray, y: cupy.ndarray, scale: cupy.ndarray | None) -> None:
        if first:
            x, y = x[:, first:], y[:, first:]
        args = (*fixed, *vector_arguments(x, y, scale, arrays.flip_words))
        kernel((launch.blocks,), (THREADS,), args, shared_mem=launch.shared_bytes)

    return run


def accumulation(dtype: str, x_dtype: Any, cols: int) -> np.dtype:
    """The dtype in which x is taken and products with weights of `dtype` are summed on a GPU.

    As `f2f.product.dense.sum_dtype`, but int32 where no x of its dtype can make a sum of `cols`
    terms overflow.
    """
    x_dtype = np.dtype(x_dtype)
    wide = sum_dtype(dtype, x_dtype)
    if wide != np.int64:
        return wide
    info = np.iinfo(x_dtype)
    bound = _LARGEST[dtype] * max(-int(info.min), int(info.max)) * max(cols, 1)
    return np.dtype(np.int32) if bound < 2**31 else wide


def plan(
    layout: DeviceLayout,
    columns: int,
    sum_type: np.dtype,
    scaled: bool,
    decode: str = "auto",
    multiprocessors: int = 132,
    shared_limit: int = 232448,
    threads: int = THREADS,
) -> Launch:
    """The variant of the kernel for these sizes, and how to launch it (pure arithmetic).

    Parameters
    ----------
    layout : DeviceLayout
    columns : int
        Of x that are left to multiply.
    sum_type : dtype
        As `accumulation` gives it.
    scaled : bool
        Whether the rows of y are scaled.
    decode : {"auto", "bmma", "parity"}
    multiprocessors, shared_limit : int
        Of the device; shared memory in bytes for a thread block.
    threads : int
        Of a thread block, a multiple of 32.

    Raises
    ------
    ValueError
        For "bmma" where the decoder does not fit in shared memory.
    """
    walk, arrays = layout.walk, layout.arrays
    tables = arrays.luts.nbytes
    matrix = 16 * (VECTORS - layout.n_s) * layout.n_out
    a_column = (walk.rows + walk.cols) * sum_type.itemsize
    # Shifted decoder rows are worth their shared memory where the vectors still fit beside them.
    small = tables + matrix <= shared_limit // 4 or tables + matrix + a_column <= shared_limit
    use_bmma = layout.n_groups > 0 and (decode == "bmma" or (decode == "auto" and small))
    fixed = tables + (matrix if use_bmma else 0)
    if fixed > shared_limit:
        raise ValueError(f"decode must be 'parity' for n_out = {layout.n_out}, got {decode!r}")
    columns = min(columns, MAX_COLUMNS)
    fit = (shared_limit - fixed) // a_column
    in_shared = fit >= 1
    if in_shared:
        columns = min(columns, fit)
    unroll = 4 if layout.stored_bytes == 1 else 2
    chunk = threads // 32 * unroll
    assert GROUPS_PER_BLOCK % chunk == 0
    work = max(-(-layout.n_groups // chunk), -(-len(arrays.exception_word) // threads))
    defines = {
        "DTYPE": _DTYPE_CODE[layout.dtype],
        "ACC": _SUM_CODE[sum_type.name],
        "ORDER": walk.kind,
        "BYTES": layout.stored_bytes,
        "FLIPS": len(arrays.flip_words),
        "LUT": int(len(arrays.luts) > 0),
        "COLUMNS": columns,
        "IN_SHARED": int(in_shared),
        "SCALED": int(scaled),
        "N_S": layout.n_s,
        "NARROW": int(walk.kind == DIAGONAL and is_narrow(walk)),
        "DECODE_BMMA": int(use_bmma),
        "THREADS": threads,
        "UNROLL": unroll,
    }
    return Launch(
        tuple(defines.items()),
        columns,
        max(1, min(multiprocessors, work)),
        chunk,
        fixed + (a_column * columns if in_shared else 0),
    )


def fixed_arguments(launch: Launch, layout: DeviceLayout, arrays: Arrays) -> list[Any]:
    """The kernel's first arguments: arrays and NumPy scalars."""
    magic = min((1 << 32) // layout.n_out, (1 << 32) - 1)
    return [
        arrays.heads,
        arrays.steps,
        np.uint32(-(-layout.n_groups // launch.chunk)),
        arrays.payload,
        arrays.rows,
        np.uint32(layout.n_out),
        np.uint32(magic),
        arrays.luts,
        arrays.flips,
        arrays.flip_words,
        np.uint32(layout.offset),
        arrays.exception_index,
        arrays.exception_word,
        np.uint32(len(arrays.exception_word)),
        *walk_fields(layout.walk),
    ]


def vector_arguments(x: Any, y: Any, scale: Any, unused: Any) -> list[Any]:
    """The kernel's last arguments; `unused`: any array, passed where there is no scale."""
    return [
        x,
        np.uint32(x.strides[0] // x.itemsize),
        y,
        np.uint32(y.strides[0] // y.itemsize),
        unused if scale is None else scale,
    ]


@cache
def _compiled(launch: Launch) -> Any:
    xp = device.require()
    code = SOURCE.read_text(encoding="utf-8")
    kernel = xp.RawModule(code=code, options=launch.options).get_function(KERNEL)
    kernel.max_dynamic_shared_size_bytes = launch.shared_bytes
    return kernel
