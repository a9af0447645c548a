"""The CUDA kernels: compiled for sm_80 and sm_90 by NVRTC, run on the CPU through a shim, and, with
`-m gpu`, on a real device. Everything is compared with the product of the decompressed matrix."""

import ctypes
import hashlib
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest
from exact import assert_product
from hypothesis import given, settings
from hypothesis import strategies as st

import f2f
from f2f.format.orders import ORDERS, Order
from f2f.format.tensor import CompressedTensor
from f2f.product import device, gpu, gpu_layout
from f2f_study.experiments import products_gpu
from f2f_study.experiments.product_cases import Case, table

HERE = Path(__file__).parent
KERNELS = {
    "encoded.cu": Path(gpu.__file__).with_name("encoded.cu"),
    "formats.cu": products_gpu.FORMATS_CU,
}
THREADS = 64  # two warps a block are enough to go wrong
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
    path = KERNELS.get(name, name)
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
    layout = gpu_layout.build_layout(tensor)
    arrays = layout.arrays
    sum_type = gpu.accumulation(layout.dtype, x.dtype, layout.walk.cols)
    x = np.ascontiguousarray(x, dtype=sum_type)
    y_type = sum_type if scale is None else scale.dtype
    y = np.zeros((layout.walk.rows, x.shape[1]), dtype=y_type)
    at = 0
    while at < x.shape[1]:
        launch = gpu.plan(
            layout, x.shape[1] - at, sum_type, scale is not None, decode, 3, shared, THREADS
        )
        run = shim("encoded.cu", gpu.KERNEL, launch.options, folder)
        arguments = gpu.fixed_arguments(launch, layout, arrays)
        arguments += gpu.vector_arguments(x[:, at:], y[:, at:], scale, arrays.rows)
        call(run, launch.blocks, THREADS, arguments, reverse)
        at += launch.columns
    return y


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
    (64, 120, 0.20, "bfloat16", "float32", 1, "golden", 7, "bmma"),
    (48, 130, 0.10, "float32", "float32", 1, "golden", 7, "bmma"),
    (48, 130, 0.10, "float32", "float64", 1, "diagonal", 0, "bmma"),
    (40, 70, 0.02, "uint8", "int8", 1, "golden", 7, "bmma"),
]


def name(case):
    return "-".join(map(str, case))


def case_tensor(case):
    rows, cols, density, dtype, x_dtype, columns, order, n_s, _ = case
    rng = np.random.default_rng(1)
    matrix = weights(rows, cols, density, dtype, rng)
    tensor = f2f.compress(matrix, order=order, n_s=n_s, beam=4)
    assert tensor.kind == "encoded"
    return tensor, vectors(x_dtype, cols, columns, rng)


@needs_compiler
@pytest.mark.parametrize("case", CASES, ids=name)
def test_kernel_equals_dense_product(case, folder):
    tensor, x = case_tensor(case)
    assert_product(tensor, x, emulate(tensor, x, folder, decode=case[-1]))
    assert_product(tensor, x, emulate(tensor, x, folder, decode=case[-1], reverse=True))


def test_cases_cover_every_path_of_the_layout():
    layouts = [gpu_layout.build_layout(case_tensor(case)[0]) for case in CASES]
    assert {layout.stored_bytes for layout in layouts} >= {1, 2, 4}
    assert any(len(layout.arrays.luts) for layout in layouts)
    assert any(len(layout.arrays.flip_words) for layout in layouts)
    assert any(len(layout.arrays.exception_word) for layout in layouts)
    assert any(layout.n_groups > 2 * 4 * THREADS // 32 for layout in layouts)  # several rounds


@needs_compiler
@pytest.mark.parametrize(
    ("shape", "density", "order", "n_out"),
    [
        ((1, 1), 1.0, "golden", None),
        ((1, 300), 0.1, "diagonal", None),
        ((300, 1), 0.1, "diagonal", None),
        ((5, 7), 0.0, "golden", None),
        ((7, 96), 1.0, "golden", 8),
        ((31, 33), 0.9, "diagonal", 7),
        ((20, 50), 0.3, "golden", 1),
        ((3, 1000), 0.003, "row", 3000),
        ((100, 300), 0.001, "golden", 20000),  # n_out beyond the kernel's: all exceptions
        ((6, 2, 3, 5), 0.5, "golden", 16),
    ],
)
def test_extreme_shapes_and_densities(shape, density, order, n_out, folder, monkeypatch):
    # Whether encoding pays is not the question here.
    monkeypatch.setattr(CompressedTensor, "nbytes", property(lambda t: int(t.kind == "dense")))
    rng = np.random.default_rng(2)
    flat = rng.integers(1, 128, (shape[0], int(np.prod(shape[1:]))), dtype=np.int8)
    flat[rng.random(flat.shape) >= density] = 0
    tensor = f2f.compress(flat.reshape(shape), order=order, n_out=n_out, beam=4)
    assert tensor.kind == "encoded"
    x = vectors("int8", flat.shape[1], 1, rng)
    assert_product(tensor, x, emulate(tensor, x, folder, decode="auto"))
    assert_product(tensor, x, emulate(tensor, x, folder, decode="parity"))


@needs_compiler
def test_vectors_that_do_not_fit_in_shared_memory(folder):
    tensor, x = case_tensor(CASES[2])
    assert_product(tensor, x, emulate(tensor, x, folder, decode="parity", shared=100))


@needs_compiler
@pytest.mark.parametrize("shared", [EMULATED_SHARED, 100])
def test_scale_per_row(shared, folder):
    tensor, x = case_tensor(CASES[1])
    scale = np.random.default_rng(3).random(tensor.shape[0], dtype=np.float32)
    assert_product(tensor, x, emulate(tensor, x, folder, scale, "parity", shared=shared), scale)


@needs_compiler
def test_many_columns_take_several_launches(folder):
    tensor, _ = case_tensor(CASES[0])
    x = vectors("int8", tensor.shape[1], 11, np.random.default_rng(4))
    assert_product(tensor, x, emulate(tensor, x, folder))


@needs_compiler
@pytest.mark.parametrize("order", ORDERS)
def test_positions_of_large_matrices(order, folder):
    """`locate` itself, on more weights than one would multiply here."""
    caller = Path(folder) / "locate.cu"
    caller.write_text(f"""#include "{KERNELS["encoded.cu"]}"
    void locate_all(u64 f, u64 column, u64 turn, u32 rows, u32 cols, u32 g_r, u32 g_c,
                    const u32 *k, u32 *i, u32 *j, u32 n) {{
      const Walk walk = {{f, column, turn, rows, cols, g_r, g_c}};
      for (u32 e = threadIdx.x; e < n; e += THREADS) {{
        locate(walk, k[e], i + e, j + e);
        i[e] = row_of(walk, i[e]);
        j[e] = column_of(walk, j[e]);
      }}
    }}""")
    options = dict.fromkeys(
        ("DTYPE", "ACC", "FLIPS", "LUT", "IN_SHARED", "SCALED", "DECODE_BMMA"), 0
    )
    options |= {"BYTES": 1, "COLUMNS": 1, "N_S": 7, "UNROLL": 1, "THREADS": THREADS}
    rng = np.random.default_rng(6)
    for rows, cols in (
        (8192, 8192),
        (46340, 46340),
        (3, 700_000_001),
        (1_000_003, 2003),
        (1, 9),
        (46300, 46300),
    ):
        sequence = Order(order, rows, cols)
        walk = sequence.walk
        options |= {"ORDER": walk.kind, "NARROW": int(gpu_layout.is_narrow(walk))}
        flags = tuple(f"-D{key}={value}" for key, value in options.items())
        run = shim(str(caller), "locate_all", flags, folder)
        edge = np.arange(min(1000, sequence.n))
        k = np.concatenate([edge, sequence.n - 1 - edge, rng.integers(0, sequence.n, 5000)])
        k = k.astype(np.uint32)
        i, j = np.zeros_like(k), np.zeros_like(k)
        fields = gpu_layout.walk_fields(walk)
        call(run, 1, THREADS, [*fields, k, i, j, np.uint32(len(k))])
        np.testing.assert_array_equal(i.astype(np.int64) * cols + j, sequence.index(k))


@given(
    gaps=st.lists(st.integers(1, 40) | st.integers(200, 700), max_size=200),
    n_out=st.integers(1, 300),
    n_s=st.integers(0, 7),
)
@settings(max_examples=60, deadline=None)
def test_steps_say_where_the_weights_are(gaps, n_out, n_s):
    positions = np.cumsum(np.array(gaps, dtype=np.int64)) - 1
    n_groups, steps, heads, members = gpu_layout._pack_steps(positions, n_out, n_s)
    count, first = heads[:, 1] >> 24, (heads[:, 1] & 0xFFFFFF).astype(np.int64)
    assert (
        len(heads) % gpu_layout.GROUPS_PER_BLOCK == 0
        and len(heads) >= n_groups + gpu_layout.GROUPS_PER_BLOCK
    )
    carries = np.cumsum(np.diff(steps.astype(int), axis=1, prepend=0) < 0, axis=1)
    distance = first[:, None] + steps + 256 * carries
    assert (distance[count > 0] // n_out <= 15 - n_s).all()  # windows in 16 vectors
    found = 4 * n_out * heads[:, :1].astype(np.int64) + distance
    np.testing.assert_array_equal(found.reshape(-1)[members], positions)
    np.testing.assert_array_equal(found[np.arange(32) < count[:, None]], positions)


@needs_compiler
@pytest.mark.parametrize("form", ["delta_csr", "bitmap"])
@pytest.mark.parametrize(("dtype", "columns"), [("int8", 1), ("float16", 3), ("float32", 1)])
@pytest.mark.parametrize("shape", [(9, 700), (7, 96), (40, 33)])
def test_other_formats_equal_dense_product(form, dtype, columns, shape, folder):
    rng = np.random.default_rng(5)
    matrix = weights(*shape, 0.1, dtype, rng)
    x = vectors("float32", shape[1], columns, rng)
    before, values = products_gpu.pack_for_gpu(form, matrix)
    run = shim("formats.cu", form, products_gpu.format_options(dtype, columns, THREADS), folder)
    y = np.full((shape[0], columns), np.nan, dtype=np.float32)
    padded = np.concatenate([x, np.zeros((8, columns), dtype=np.float32)])
    scale = np.ones(shape[0], dtype=np.float32)
    blocks = -(-32 * shape[0] // THREADS)
    call(run, blocks, THREADS, [*before, values, np.uint32(shape[0]), padded, y, scale])
    exact = matrix.astype(np.float64) @ x.astype(np.float64)
    bound = (shape[1] + 4) * 2.0**-24 * (abs(matrix.astype(np.float64)) @ abs(x))
    assert (abs(y - exact) <= bound).all()


def variants():
    """(file, options) as a GPU would get them: every case, and some with the rarer defines."""
    found = {}
    most = gpu.MAX_COLUMNS
    rare = ((0, most, True, "bmma", 232448), (5, 1, True, "parity", 4200))
    for number, columns, scaled, decode, limit in (
        *((number, 1, False, case[-1], 232448) for number, case in enumerate(CASES)),
        *rare,
    ):
        layout = gpu_layout.build_layout(case_tensor(CASES[number])[0])
        sums = gpu.accumulation(layout.dtype, CASES[number][4], layout.walk.cols)
        launch = gpu.plan(layout, columns, sums, scaled, decode, 132, limit)
        found["encoded.cu", launch.options] = None
    for dtype, columns in (("int8", 1), ("float16", 1), ("float32", 64)):
        found["formats.cu", products_gpu.format_options(dtype, columns)] = None
    return list(found)


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_every_variant_compiles_without_spilling(architecture):
    nvrtc = pytest.importorskip("cupy.cuda", reason="CuPy is not installed").nvrtc
    try:
        nvrtc.getVersion()
    except RuntimeError as error:
        pytest.skip(f"NVRTC (wheel nvidia-cuda-nvrtc) is not installed: {error}")
    for file, options in variants():
        program = nvrtc.createProgram(KERNELS[file].read_text(), file, (), ())
        flags = (*options, f"--gpu-architecture={architecture}", "--ptxas-options=-v")
        try:
            nvrtc.compileProgram(program, flags)
        except nvrtc.NVRTCError:
            pytest.fail(f"{file} {options}: {nvrtc.getProgramLog(program)}")
        log = nvrtc.getProgramLog(program)
        assert nvrtc.getCUBIN(program)[:4] == b"\x7fELF"
        spills = re.findall(r"(\d+) bytes spill", log)
        assert spills and not any(map(int, spills)), f"{file} {options}: {log}"


def test_bytes_are_counted():
    tensor, _ = case_tensor(CASES[0])
    layout = gpu_layout.build_layout(tensor)
    assert layout.arrays.nbytes == sum(array.nbytes for array in layout.arrays)
    assert layout.bytes_moved(2) == layout.arrays.nbytes + 8 * (37 + 91)
    # Each weight is listed once, with few lanes idle.
    counts = layout.arrays.heads[:, 1] >> 24
    assert counts.sum() + len(layout.arrays.exception_word) == tensor.k
    assert layout.n_groups == np.count_nonzero(counts) <= 1.1 * tensor.k / 32 + 1


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="x must hold integers .* or real floats, got complex128"):
        gpu.accumulation("int8", np.complex128, 10)
    with pytest.raises(ValueError, match="tensor must be of kind 'encoded', got 'dense'"):
        gpu_layout.build_layout(f2f.compress(np.ones(3, dtype=np.float64)))
    float8 = f2f.compress(np.eye(64, dtype=ml_dtypes.float8_e5m2), beam=1)
    with pytest.raises(ValueError, match="tensor must not be of float8_e5m2 on a GPU"):
        gpu_layout.build_layout(float8)


def test_sums_of_integers_cannot_overflow():
    assert gpu.accumulation("int8", np.int8, 8192) == np.int32
    assert gpu.accumulation("int8", np.int64, 1) == np.int64
    assert gpu.accumulation("int16", np.int16, 2) == np.int64
    assert gpu.accumulation("float32", np.int8, 2) == np.float32


@pytest.mark.skipif(bool(device.probe()), reason="there is a GPU")
def test_without_a_gpu_products_say_why():
    tensor, x = case_tensor(CASES[0])
    reason = re.escape(device.probe().reason)
    assert len(device.probe().reason) > 20
    for attempt in (
        lambda: f2f.spmv(tensor, x[:, 0], backend="cupy"),
        lambda: gpu.spmm(tensor, x),
        lambda: gpu.DeviceMatrix(tensor),
        lambda: products_gpu.measure(),
    ):
        with pytest.raises(RuntimeError, match=f"needs a CUDA GPU: {reason}"):
            attempt()
    assert products_gpu.status() == f"GPU: not measured, {device.probe().reason}"


class Array(np.ndarray):
    """A CuPy array, as far as `f2f.spmv` uses more of it than NumPy arrays have."""

    __cuda_array_interface__ = None

    def get(self):
        return np.array(self)

    @property
    def data(self):
        return self

    def memset_async(self, value, size):
        assert size == self.nbytes
        self.view(np.uint8)[...] = value

    def copy_from_device_async(self, source, size):
        assert size == self.nbytes
        self[...] = source


def fake_cupy(folder):
    """NumPy under CuPy's names; kernels run through the shim."""

    def array(function):
        return lambda *args, **options: function(*args, **options).view(Array)

    class Kernel:
        def __init__(self, code, name, options=None):
            self.name, self.options = name, options
            self.file = next((n for n, p in KERNELS.items() if code == p.read_text()), None)

        def __call__(self, grid, block, args, shared_mem=0):
            if self.name == "spin":
                return
            assert shared_mem == getattr(self, "max_dynamic_shared_size_bytes", 0)
            run = shim(self.file, self.name, self.options, folder)
            assert all(isinstance(a, Array | np.generic) for a in args)
            call(run, *grid, *block, args)

    class Module:
        def __init__(self, code, options):
            self.get_function = lambda name: Kernel(code, name, options)

    event = SimpleNamespace(record=lambda: None, synchronize=lambda: None)
    return SimpleNamespace(
        ndarray=Array,
        float32=np.float32,
        asnumpy=np.asarray,
        matmul=np.matmul,
        **{name: array(getattr(np, name)) for name in ("asarray", "zeros", "ones", "empty")},
        ascontiguousarray=array(np.ascontiguousarray),
        RawKernel=Kernel,
        RawModule=Module,
        get_default_memory_pool=lambda: SimpleNamespace(free_all_blocks=lambda: None),
        cuda=SimpleNamespace(
            Event=lambda: event,
            get_elapsed_time=lambda start, stop: 1.0,
            runtime=SimpleNamespace(
                memGetInfo=lambda: (10**7, 10**7),
                getDevice=lambda: 0,
                getDeviceProperties=lambda device: {"l2CacheSize": 1000},
            ),
        ),
    )


@pytest.fixture
def pretend(folder, monkeypatch):
    """A device whose arrays are NumPy's and whose kernels run through the shim."""
    pretended = device.Gpu("", "shim", (9, 0), 2, EMULATED_SHARED, 10**7)
    cupy = fake_cupy(folder)
    monkeypatch.setattr(device, "probe", lambda: pretended)
    monkeypatch.setattr(device, "require", lambda: cupy)
    monkeypatch.setattr(gpu, "_compiled", gpu._compiled.__wrapped__)
    monkeypatch.setattr(gpu, "THREADS", THREADS)
    monkeypatch.setattr(gpu.plan, "__defaults__", ("auto", 2, EMULATED_SHARED, THREADS))
    monkeypatch.setattr(products_gpu, "FORMAT_THREADS", THREADS)
    monkeypatch.setattr(products_gpu.format_options, "__defaults__", (THREADS,))
    return cupy


@needs_compiler
def test_wrapper_on_a_pretended_device(pretend):
    tensor, x = case_tensor(CASES[0])
    matrix = gpu.DeviceMatrix(tensor)
    assert matrix.nbytes == matrix.layout.arrays.nbytes
    y = f2f.spmm(tensor, x, backend="cupy")
    assert type(y) is np.ndarray and y.dtype == np.int64
    assert_product(tensor, x, y)
    assert_product(tensor, x, gpu.spmm(matrix.copy(), x))
    on_device = x.view(Array)
    for y in (gpu.spmm(matrix, on_device), f2f.spmm(tensor, on_device, backend="cupy")):
        assert type(y) is Array
        assert_product(tensor, x, y.get())
    scale = np.full(len(y), 0.5, dtype=np.float32)
    for same in (0.5, scale, scale.view(Array)):
        assert_product(tensor, x, gpu.spmm(matrix, x, same), 0.5)
    dense = f2f.compress(np.arange(12, dtype=np.float32).reshape(3, 4) + 1)
    assert dense.kind == "dense"
    vector = np.ones(4, dtype=np.float32)
    scale = np.array([1, 2, 3], dtype=np.float32)
    y = f2f.spmv(dense, vector, backend="cupy", scale=scale)
    np.testing.assert_array_equal(y, [10, 52, 126])
    y = f2f.spmv(dense, vector.astype(np.float64), backend="cupy", scale=1 / 3)
    np.testing.assert_allclose(y, np.array([10, 26, 42]) / 3, rtol=1e-15)
    for wrong, what in ((x[:-1], "x must have shape"), (x[:, 0], "x must have shape")):
        with pytest.raises(ValueError, match=what):
            gpu.spmm(matrix, wrong)
    with pytest.raises(ValueError, match="scale must be a number or have shape"):
        gpu.spmm(matrix, x, scale)
    with pytest.raises(ValueError, match="x must be one-dimensional"):
        f2f.spmv(tensor, x, backend="cupy")


@needs_compiler
def test_benchmark_on_a_pretended_device(pretend, monkeypatch):
    # cuSPARSE cannot be pretended.
    monkeypatch.setitem(products_gpu.FORMATS, "csr_fp32", products_gpu._dense)
    rows = products_gpu.measure([Case(24, 64, 0.8)], repeats=2)
    assert list(rows["format"]) == [form for form in products_gpu.FORMATS for _ in range(2)]
    assert list(rows) == list(products_gpu.COLUMNS) and set(rows["device"]) == {"shim"}
    found = table(rows).loc[24, 64, 0.8, 1, "int8"]
    assert found.encoded_over["encoded"] == 1 and found.over_dense["csr_fp32"] == 1
    assert (found.time_us > 0).all() and len(found) == len(products_gpu.FORMATS) - 1
    monkeypatch.setattr(products_gpu, "BOUND", 0.0)
    with pytest.raises(RuntimeError, match="is wrong by"):
        products_gpu.measure([Case(24, 64, 0.8)], repeats=1)


needs_gpu = pytest.mark.skipif(not device.probe(), reason=f"no GPU: {device.probe().reason}")


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("case", CASES, ids=name)
def test_gpu_equals_dense_product(case):
    tensor, x = case_tensor(case)
    assert_product(tensor, x, gpu.spmm(tensor, x, decode=case[-1]))
    matrix = gpu.DeviceMatrix(tensor)
    scale = np.random.default_rng(3).random(tensor.shape[0], dtype=np.float32)
    assert_product(tensor, x, gpu.spmm(matrix, x, scale), scale)
    assert_product(tensor, x[:, :1], gpu.spmm(matrix, x[:, :1]))


@pytest.mark.gpu
@needs_gpu
def test_gpu_benchmark_runs_small():
    cases = [Case(256, 512, 0.9), Case(256, 512, 0.9, 4, "float16")]
    rows = products_gpu.measure(cases, repeats=2)
    assert set(rows["format"]) == set(products_gpu.FORMATS)
    assert (rows["time_us"] > 0).all()
