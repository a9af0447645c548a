"""The CUDA kernels: compiled for sm_80 and sm_90 by NVRTC, run on the CPU through a shim, and, with
`-m gpu`, on a real device. Everything is compared with the product of the decompressed matrix."""

import ctypes
import hashlib
import shutil
import subprocess
from functools import cache
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import f2f
from f2f.spmv import cupy_backend, device_layout, gpu

HERE = Path(__file__).parent
THREADS = 64  # two warps a block are enough to go wrong
DTYPES = ("int8", "uint8", "int16", "float16", "bfloat16", "float32")
EMULATED_SHARED = 1 << 18

needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None,
    reason="no C++ compiler (g++): the kernels cannot be run on the CPU",
)


def weights(rows, cols, density, dtype, rng):
    """A pruned matrix whose skewed planes, exceptions and empty rows meet every path."""
    if dtype in ("int8", "uint8", "int16"):
        info = np.iinfo(dtype)
        values = rng.integers(info.min, info.max + 1, (rows, cols)).astype(dtype)
        values[values == 0] = 1
    else:
        kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
        values = (rng.standard_normal((rows, cols)) + 0.01).astype(kind)
    values[rng.random((rows, cols)) >= density] = 0
    values[rows // 3] = 0  # an empty row
    return values


@cache
def shim(name, kernel, options, folder):
    """The kernel as a C++ function of the CPU; options as NVRTC gets them."""
    stem = hashlib.sha256(repr((name, kernel, options)).encode()).hexdigest()[:16]
    library = Path(folder) / f"{stem}.so"
    path = Path(cupy_backend.__file__).parent / name
    subprocess.run(
        [
            *("g++", "-std=c++17", "-O1", "-shared", "-fPIC", "-w"),
            *(f'-DSOURCE="{path}"', f"-DKERNEL={kernel}"),
            *(option for option in options if option.startswith("-D")),
            *(str(HERE / "cuda_shim.cpp"), "-o", str(library)),
        ],
        check=True,
    )
    return ctypes.CDLL(str(library)).run_kernel


def call(run, blocks, threads, arguments, reverse=False):
    """Launch with arguments as CuPy takes them: arrays by address, NumPy scalars by value."""
    held = []
    for argument in arguments:
        if isinstance(argument, np.ndarray):
            held.append(ctypes.c_void_p(argument.ctypes.data))
        else:
            held.append(np.ctypeslib.as_ctypes_type(argument.dtype)(argument.item()))
    pointers = (ctypes.c_void_p * len(held))(*(ctypes.addressof(value) for value in held))
    assert run(blocks, threads, int(reverse), pointers) == 0, "threads wait for each other forever"


def emulate(tensor, x, folder, scale=None, decode="bmma", reverse=False, shared=EMULATED_SHARED):
    """W X by the kernel on the CPU, with the plan, layout and arguments a GPU would get."""
    layout = device_layout.build_layout(tensor)
    x_type, sum_type = cupy_backend.accumulation(layout.dtype, x.dtype, layout.shape[1])
    x = np.ascontiguousarray(x, dtype=x_type)
    y_type = sum_type if scale is None else np.float64 if x.dtype == np.float64 else np.float32
    y = np.zeros((layout.shape[0], x.shape[1]), dtype=y_type)
    at = 0
    while layout.weights and at < x.shape[1]:
        launch = cupy_backend.plan(
            layout, x.shape[1] - at, sum_type, scale is not None, decode, 3, shared, THREADS
        )
        run = shim("encoded.cu", cupy_backend.KERNEL, launch.options, folder)
        arguments = cupy_backend.arguments(
            launch, layout, layout.arrays(), x[:, at:], y[:, at:], scale
        )
        call(run, launch.blocks, THREADS, arguments, reverse)
        at += launch.columns
    return y


def check(y, tensor, x, scale=None):
    """Exact for integers; for floats within the bound that `cupy_backend` states."""
    dense = np.asarray(f2f.decompress(tensor)).reshape(len(y), -1)
    if y.dtype.kind == "i":
        np.testing.assert_array_equal(y, dense.astype(np.int64) @ x.astype(np.int64))
        return
    dense, x = dense.astype(np.float64), x.astype(np.float64)
    factor = np.ones(len(y)) if scale is None else scale.astype(np.float64)
    want = factor[:, None] * (dense @ x)
    m = np.count_nonzero(dense, axis=1)[:, None]
    unit = 2.0**-52 if y.dtype == np.float64 else 2.0**-24
    # One rounding more for the scale, one for x to float32.
    bound = (m + 4) * unit * np.abs(factor)[:, None] * (np.abs(dense) @ np.abs(x))
    assert (np.abs(y - want) <= bound).all()


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return str(tmp_path_factory.mktemp("shim"))


def vectors(dtype, cols, columns, rng):
    if np.dtype(dtype).kind in "iu":
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, (cols, columns), dtype=dtype, endpoint=True)
    return rng.standard_normal((cols, columns)).astype(dtype)


CASES = [
    # rows, cols, density, weights, x, columns, order, n_s, decode
    (37, 91, 0.10, "int8", "int8", 1, "golden", 7, "bmma"),
    (37, 91, 0.10, "int8", "int8", 1, "golden", 7, "parity"),
    (64, 96, 0.05, "int8", "float32", 3, "diagonal", 7, "bmma"),
    (11, 55, 0.30, "int16", "int32", 1, "column", 2, "bmma"),
    (7, 96, 0.50, "float16", "float32", 2, "row", 3, "bmma"),
    (55, 11, 0.10, "bfloat16", "float32", 1, "diagonal", 5, "parity"),
    (48, 130, 0.10, "float32", "float32", 1, "golden", 7, "bmma"),
    (48, 130, 0.10, "float32", "float64", 1, "diagonal", 0, "bmma"),
    (40, 70, 0.02, "uint8", "int8", 1, "golden", 7, "bmma"),
]


@needs_compiler
@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
def test_kernel_equals_dense_product(case, folder):
    rows, cols, density, dtype, x_dtype, columns, order, n_s, decode = case
    rng = np.random.default_rng(1)
    matrix = weights(rows, cols, density, dtype, rng)
    tensor = f2f.compress(matrix, order=order, n_s=n_s, beam=4)
    assert tensor.kind == "encoded"
    x = vectors(x_dtype, cols, columns, rng)
    check(emulate(tensor, x, folder, decode=decode), tensor, x)
    check(emulate(tensor, x, folder, decode=decode, reverse=True), tensor, x)
