"""Lowerings follow the processor that numba compiles for, and compile where they cannot run."""

import os
import subprocess
import sys

import llvmlite.binding as llvm
import pytest
from llvmlite import ir

from f2f.base.intrinsics import FEATURES, I8, I64
from f2f.decoder import avx2, gfni
from f2f.decoder.blocks import emit_multiply
from f2f.decoder.gates import LOWERINGS

BYTES = I8.as_pointer()
KERNELS = {
    "prepare": (
        [BYTES, I64, I64, BYTES, BYTES],
        {
            "gfni": gfni.emit_prepare,
            "avx2": lambda builder, inputs, planes, *rest: avx2.emit_prepare(
                builder, inputs, *rest
            ),
        },
    ),
    "multiply": (
        [BYTES, I64, BYTES, I64, I64, I8, BYTES],
        {
            name: lambda builder, vectors, blocks, matrix, n_out, count, offset, out, low=low: (
                emit_multiply(builder, low, vectors, blocks, matrix, (n_out, count), offset, out)
            )
            for name, low in (("gfni", gfni.LOWERING), ("avx2", avx2.LOWERING))
        },
    ),
    "multiply_folded": (
        [BYTES, I64, BYTES, I64, I8, BYTES],
        {"avx2": avx2.emit_multiply_folded},
    ),
    "split": (
        [BYTES, I64, BYTES, I64],
        {"gfni": gfni.emit_split, "avx2": avx2.emit_split},
    ),
}
PROCESSORS = {
    "gfni": ("znver4", "+gfni,+avx512f,+avx512bw,+avx512vl,+avx512vbmi", "vgf2p8affineqb"),
    "avx2": ("znver3", "+avx2", "vpshufb"),
}


def assembly(lowering: str, kernel: str) -> str:
    """Machine code of a kernel for a processor that need not be this one."""
    kinds, emitters = KERNELS[kernel]
    module = ir.Module()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), kernel)
    builder = ir.IRBuilder(function.append_basic_block())
    emitters[lowering](builder, *function.args)
    builder.ret_void()
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple("x86_64-unknown-linux-gnu")
    cpu, features, _ = PROCESSORS[lowering]
    machine = target.create_target_machine(cpu=cpu, features=features, opt=2)
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    return machine.emit_assembly(parsed)


@pytest.mark.parametrize(
    ("lowering", "kernel"),
    [(name, kernel) for kernel, (_, names) in KERNELS.items() for name in names],
)
def test_kernels_compile_for_processors_that_have_their_instructions(lowering, kernel):
    code = assembly(lowering, kernel)
    instruction = PROCESSORS[lowering][2]
    if (lowering, kernel) == ("avx2", "split"):
        instruction = "vpmovmskb"
    assert code.count(instruction) >= 2
    assert lowering == "gfni" or "zmm" not in code


def test_lowerings_are_those_of_the_features_of_numba_s_processor():
    assert LOWERINGS[-1] == "plain"
    assert ("avx2" in LOWERINGS) == ("avx2" in FEATURES)
    assert ("gfni" in LOWERINGS) == ({"gfni", "avx512vbmi", "avx512bw"} <= FEATURES)


PROGRAM = """
import numpy as np
from f2f.decoder import Decoder
from f2f.decoder.gates import LOWERINGS
from f2f.format.stages import select_bit
decoder = Decoder(n_out=45, n_s=7, matrix="folded")
inputs = np.random.default_rng(0).integers(0, 256, (27, 8), dtype=np.uint8)
assert (decoder.decode(inputs, 900) == decoder.decode_plain(inputs, 900)).all()
assert select_bit(np.uint64(0b10110), 2) == 4
print(*LOWERINGS)
"""


@pytest.mark.parametrize(
    ("cpu", "features", "lowerings"),
    [
        ("generic", None, "plain"),
        ("haswell", "+avx2,+avx,+sse4.2,+ssse3,-bmi2", "avx2 plain"),  # without BMI2
    ],
)
def test_processors_that_numba_is_told_to_compile_for(cpu, features, lowerings):
    if features and "avx2" not in FEATURES:
        pytest.skip("cannot run AVX2 here")
    environment = {**os.environ, "NUMBA_CPU_NAME": cpu}
    environment.pop("NUMBA_CPU_FEATURES", None)
    if features:
        environment["NUMBA_CPU_FEATURES"] = features
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == lowerings.split()
