"""The matrix product from encoded weights on a GPU: compiles, caches and launches `encoded.cu`.

A tensor is laid out and copied to the device once (`DeviceMatrix`), then multiplied as often as
wanted; `spmm(tensor, x)` does both, and keeps the matrix as long as the tensor lives.

Device memory: 8*groups bytes a block of n_out weights for the payload, 1.25 bytes an unpruned
weight for its place (32 steps and 8 bytes of header a group), one bit a weight and flip plane, 8
bytes an exception; `DeviceMatrix.nbytes` is the exact sum. The mask is expanded to that list on
the host; it is not kept in its coded form on the device.

Sums are made by atomic additions in no fixed order: integers are exact, floats may differ between
runs within the bound |error| <= (m + 2) * 2**-24 * sum |w_j * x_j| for a row of m unpruned weights
(to first order in 2**-24), plus the rounding of x to float32.

Importing this module needs neither CuPy nor a GPU; a product without one raises `RuntimeError`.
"""

from __future__ import annotations

from copy import copy
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from f2f.format.orders import matrix_shape
from f2f.format.tensor import CompressedTensor
from f2f.product import device
from f2f.product.dense import dense_matrix, sum_dtype
from f2f.product.gpu_layout import (
    GROUPS_PER_BLOCK,
    VECTORS,
    DeviceLayout,
    build_layout,
    is_narrow,
    walk_fields,
)

if TYPE_CHECKING:
    import cupy

THREADS = 1024
MAX_COLUMNS = 8  # of x in one launch; more columns take more launches
SOURCE, KERNEL = Path(__file__).with_name("encoded.cu"), "encoded_product"

_DTYPE_CODE = {"int8": 0, "uint8": 1, "int16": 2, "float16": 3, "bfloat16": 4, "float32": 5}
_SUM_CODE = {"float32": 0, "int32": 1, "int64": 2, "float64": 3}
ORDER_CODE = {"row": 0, "golden": 0, "column": 1, "diagonal": 2}
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


class Ready(NamedTuple):
    """A launch that waits for its vectors.

    Attributes
    ----------
    column : int
        The first of x that it multiplies.
    launch : Launch
    kernel
        Compiled, as CuPy calls it.
    fixed : list
        Its first arguments, see `fixed_arguments`.
    """

    column: int
    launch: Launch
    kernel: Any
    fixed: list[Any]


class Variant(NamedTuple):
    """What launches of a matrix depend on.

    Attributes
    ----------
    columns : int
        Of x.
    sums : str
        Dtype of x and the sums.
    scaled : bool
        Whether rows are scaled.
    decode : {"auto", "bmma", "parity"}
    """

    columns: int
    sums: str
    scaled: bool
    decode: str


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
    arrays : dict of str to cupy.ndarray
        Those of the layout.
    launches : dict of Variant to list of Ready
        Those made so far.
    """

    def __init__(self, tensor: CompressedTensor, mask: np.ndarray | None = None) -> None:
        xp = device.require()
        self.shape = matrix_shape(tensor.shape)
        self.dtype = tensor.dtype
        self.layout: DeviceLayout | None = None
        self.dense: cupy.ndarray | None = None
        self.arrays: dict[str, cupy.ndarray] = {}
        self.launches: dict[Variant, list[Ready]] = {}
        if tensor.kind == "dense":
            self.dense = xp.asarray(dense_matrix(tensor))
        else:
            self.layout = build_layout(tensor, mask)
            self.arrays = {name: xp.asarray(part) for name, part in self.layout.arrays().items()}

    @property
    def nbytes(self) -> int:
        """Bytes of device memory."""
        kept = self.arrays.values() if self.dense is None else [self.dense]
        return sum(int(array.nbytes) for array in kept)

    def copy(self) -> DeviceMatrix:
        """Another matrix with arrays of its own on the device."""
        twin = copy(self)
        twin.arrays = {name: array.copy() for name, array in self.arrays.items()}
        twin.launches = {}
        return twin


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
    x : ndarray, shape (cols, m)
        NumPy or CuPy.
    scale : ndarray, shape (rows,), optional
        Multiplies the rows of Y.
    decode : {"auto", "bmma", "parity"}
        By tensor cores, or by AND and POPC.

    Returns
    -------
    ndarray, shape (rows, m)
        Of x's library and the dtype that `f2f.product.spmv` names.

    Raises
    ------
    ValueError
        For a wrong shape or dtype.
    RuntimeError
        Without a GPU.
    """
    xp = device.require()
    on_device = matrix if isinstance(matrix, DeviceMatrix) else _kept(matrix)
    rows, cols = on_device.shape
    if np.ndim(x) != 2 or np.shape(x)[0] != cols:
        raise ValueError(f"x must have shape ({cols}, m), got {np.shape(x)}")
    on_host = not isinstance(x, xp.ndarray)
    sum_type = accumulation(on_device.dtype, x.dtype, cols)
    x = xp.ascontiguousarray(xp.asarray(x), dtype=sum_type)
    y_type = sum_type
    if scale is not None:
        if np.shape(scale) != (rows,):
            raise ValueError(f"scale must have shape ({rows},), got {np.shape(scale)}")
        y_type = np.dtype(np.float64 if sum_type == np.float64 else np.float32)
        scale = xp.ascontiguousarray(xp.asarray(scale), dtype=y_type)
    y = xp.zeros((rows, x.shape[1]), dtype=y_type)
    if on_device.dense is not None:
        product = on_device.dense.astype(sum_type) @ x
        y[...] = product if scale is None else product * scale[:, None]
    else:
        multiply(on_device, x, y, sum_type, scale, decode)
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
    sum_type: np.dtype,
    scale: cupy.ndarray | None = None,
    decode: str = "auto",
) -> None:
    """y += W x on the current stream, without checks, allocations or synchronisation.

    Parameters
    ----------
    matrix : DeviceMatrix
        Not of a tensor stored as it is.
    x : cupy.ndarray, shape (cols, m)
        Of sum_type, C-contiguous.
    y : cupy.ndarray, shape (rows, m)
        Of sum_type, or with a scale float32 (float64 for float64 sums), C-contiguous.
    sum_type : dtype
        As `accumulation` gives it.
    scale : cupy.ndarray, shape (rows,), optional
        Of y's dtype.
    decode : {"auto", "bmma", "parity"}
        As for `spmm`.
    """
    variant = Variant(x.shape[1], sum_type.name, scale is not None, decode)
    launches = matrix.launches.get(variant)
    if launches is None:
        launches = matrix.launches[variant] = _prepare_launches(matrix, variant)
    for at, launch, kernel, fixed in launches:
        left, out = (x[:, at:], y[:, at:]) if at else (x, y)
        args = (*fixed, *vector_arguments(left, out, scale, matrix.arrays["flip_words"]))
        kernel((launch.blocks,), (THREADS,), args, shared_mem=launch.shared_bytes)


def _prepare_launches(matrix: DeviceMatrix, variant: Variant) -> list[Ready]:
    """Every launch of a product."""
    layout, sums = matrix.layout, np.dtype(variant.sums)
    assert layout is not None
    found = device.probe()
    limits = (found.multiprocessors, found.shared_bytes)
    launches: list[Ready] = []
    at = 0
    while layout.weights and at < variant.columns:
        left = variant.columns - at
        launch = plan(layout, left, sums, variant.scaled, variant.decode, *limits)
        fixed = fixed_arguments(launch, layout, matrix.arrays)
        launches.append(Ready(at, launch, _compiled(launch), fixed))
        at += launch.columns
    return launches


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
        For another `decode`, or "bmma" where the decoder does not fit in shared memory.
    """
    if decode not in ("auto", "bmma", "parity"):
        raise ValueError(f"decode must be auto, bmma or parity, got {decode!r}")
    rows, cols = layout.shape
    tables = 1024 * layout.groups if len(layout.luts) else 0
    matrix = 16 * (VECTORS - layout.n_s) * layout.n_out
    a_column = (rows + cols) * sum_type.itemsize
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
    unroll = 4 if layout.groups == 1 else 2
    chunk = threads // 32 * unroll
    assert GROUPS_PER_BLOCK % chunk == 0
    work = max(-(-layout.n_groups // chunk), -(-len(layout.exception_word) // threads))
    defines = {
        "DTYPE": _DTYPE_CODE[layout.dtype],
        "ACC": _SUM_CODE[sum_type.name],
        "ORDER": ORDER_CODE[layout.order.name],
        "GROUPS": layout.groups,
        "FLIPS": len(layout.flip_words),
        "LUT": int(len(layout.luts) > 0),
        "COLUMNS": columns,
        "IN_SHARED": int(in_shared),
        "SCALED": int(scaled),
        "N_S": layout.n_s,
        "NARROW": int(layout.order.name == "diagonal" and is_narrow(layout.order)),
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


def fixed_arguments(launch: Launch, layout: DeviceLayout, arrays: dict[str, Any]) -> list[Any]:
    """The kernel's first arguments: the arrays of the layout (NumPy or CuPy) and NumPy scalars."""
    walk = walk_fields(layout.order)
    magic = min((1 << 32) // layout.n_out, (1 << 32) - 1)
    return [
        arrays["heads"],
        arrays["steps"],
        np.uint32(-(-layout.n_groups // launch.chunk)),
        arrays["payload"],
        arrays["rows"],
        np.uint32(layout.n_out),
        np.uint32(magic),
        arrays["luts"],
        arrays["flips"],
        arrays["flip_words"],
        np.uint32(layout.offset),
        arrays["exception_index"],
        arrays["exception_word"],
        np.uint32(len(layout.exception_word)),
        *(np.uint64(fraction) for fraction in walk[:3]),
        *(np.uint32(count) for count in walk[3:]),
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
