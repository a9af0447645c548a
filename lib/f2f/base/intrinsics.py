"""What functions written as LLVM vector operations are made of, and how numba hands arrays to them.

Numba's own loops do not become byte shuffles. An *intrinsic* is a function of numba code that is
given as LLVM instructions instead; the helpers here build those instructions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic
from numba.np import arrayobj

from f2f.base.jit import njit

I1 = ir.IntType(1)
I8 = ir.IntType(8)
I32 = ir.IntType(32)
I64 = ir.IntType(64)
V16 = ir.VectorType(I8, 16)
V32 = ir.VectorType(I8, 32)
V64 = ir.VectorType(I8, 64)


def target_features() -> frozenset[str]:
    """The features of the processor that numba compiles for, by LLVM's names, such as "avx2".

    That is this machine's unless NUMBA_CPU_NAME or NUMBA_CPU_FEATURES say otherwise; numba's
    compile cache is keyed by the same list.
    """
    _, _, features = cpu_target.target_context.codegen().magic_tuple()
    return frozenset(name[1:] for name in features.split(",") if name.startswith("+"))


FEATURES = target_features()
AVX2 = "avx2" in FEATURES
BMI2 = "bmi2" in FEATURES
GFNI = {"gfni", "avx512f", "avx512bw", "avx512vl", "avx512vbmi"} <= FEATURES  # with AVX-512


def aligned_zeros(size: int) -> np.ndarray:
    """uint8 (size,) of zeros that starts a cache line (64 bytes)."""
    space = np.zeros(size + 63, dtype=np.uint8)
    start = -space.ctypes.data % 64
    return space[start : start + size]


def is_bytes(array: Any) -> bool:
    """Whether a numba type is a contiguous uint8 array."""
    return isinstance(array, types.Array) and array.dtype == types.uint8 and array.layout == "C"


def byte_pointer(context: Any, builder: Any, array_type: Any, array: Any, offset: Any) -> Any:
    """Where byte `offset` of an array lies."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(builder.bitcast(data, I8.as_pointer()), [offset])


def element_pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    """Where element `index` of a contiguous array lies."""
    size = array_type.dtype.bitwidth // 8
    return byte_pointer(context, builder, array_type, array, builder.mul(index, I64(size)))


def load(builder: Any, kind: Any, pointer: Any) -> Any:
    """A value of an LLVM type from anywhere in memory, aligned or not."""
    value = builder.load(builder.bitcast(pointer, kind.as_pointer()))
    value.align = 1
    return value


def store(builder: Any, value: Any, pointer: Any) -> None:
    """Put a value anywhere in memory, aligned or not."""
    builder.store(value, builder.bitcast(pointer, value.type.as_pointer())).align = 1


def permute(builder: Any, a: Any, b: Any, lanes: list[int]) -> Any:
    """Elements of a (0…) and b (len(a)…) in the order of `lanes`, known when compiling."""
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, len(lanes)), lanes))


def same_elements(builder: Any, value: Any, count: int) -> Any:
    """A vector of `count` elements that are all the same."""
    kind = ir.VectorType(value.type, count)
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), value, I32(0))
    return permute(builder, first, first, [0] * count)


def same_bytes(builder: Any, byte: Any, kind: Any = V32) -> Any:
    """A vector of bytes that are all the same."""
    return same_elements(builder, byte, kind.count)


def byte_shuffle(builder: Any) -> Any:
    """The LLVM function of `vpshufb`, (table, index): a lookup in each half of 16 bytes."""
    kind = ir.FunctionType(V32, [V32, V32])
    return cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx2.pshuf.b")


@intrinsic
def borrowed(typingctx, value):
    """The same array, or tuple with arrays, without a claim on memory, which the caller keeps.

    Passing it on costs no (atomic) reference counting, which numba otherwise does at every call and
    for every field of a tuple. Borrow only arguments: numba drops a local variable at its last use.
    """
    if not isinstance(value, types.Array | types.BaseTuple):
        return None

    def codegen(context, builder, signature, arguments):
        return _without_claims(context, builder, signature.args[0], arguments[0])

    return value(value), codegen


def _without_claims(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    if isinstance(kind, types.Array):
        view = context.make_array(kind)(context, builder, value)
        view.meminfo = cgutils.get_null_value(view.meminfo.type)
        view.parent = cgutils.get_null_value(view.parent.type)
        return view._getvalue()
    if isinstance(kind, types.BaseTuple):
        for i, part in enumerate(kind):
            inner = builder.extract_value(value, i)
            inner = _without_claims(context, builder, part, inner)
            value = builder.insert_value(value, inner, i)
    return value


def _view_from(kind: Any) -> Any:
    """The intrinsic of a flat view of elements of a numba type."""

    def view_from(typingctx, array, offset):
        """What a contiguous uint8 array of any shape holds from byte `offset` on, borrowed.

        No bounds are kept: what reads or writes it knows them. Costs less than a slice, a `view`
        or `reshape`.
        """
        if not is_bytes(array):
            return None

        def codegen(context, builder, signature, arguments):
            array, offset = arguments
            source = context.make_array(signature.args[0])(context, builder, array)
            size = I64(kind.bitwidth // 8)
            data = byte_pointer(context, builder, signature.args[0], array, offset)
            view = context.make_array(signature.return_type)(context, builder)
            arrayobj.populate_array(
                view,
                data=builder.bitcast(data, context.get_data_type(kind).as_pointer()),
                shape=[builder.udiv(builder.sub(source.nitems, offset), size)],
                strides=[size],
                itemsize=size,
                meminfo=None,
            )
            return view._getvalue()

        return types.Array(kind, 1, "C")(array, types.intp), codegen

    return intrinsic(view_from)


bytes_from: Any = _view_from(types.uint8)
words_from: Any = _view_from(types.uint64)


@intrinsic
def copy_bytes(typingctx, source, source_at, target, target_at, count):
    """`memmove` between contiguous uint8 arrays of any shape, without numba's array views."""
    if not (is_bytes(source) and is_bytes(target)):
        return None
    signature = types.void(source, types.intp, target, types.intp, types.intp)

    def codegen(context, builder, signature, arguments):
        source, source_at, target, target_at, count = arguments
        start = byte_pointer(context, builder, signature.args[0], source, source_at)
        to = byte_pointer(context, builder, signature.args[2], target, target_at)
        cgutils.raw_memmove(builder, to, start, count, 1)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def transpose_bits(typingctx, words, at):
    """The 64 x 64 bits of words[at:at+64], uint64, in place: bit i of word s to bit s of word i."""

    def codegen(context, builder, signature, arguments):
        place = element_pointer(context, builder, signature.args[0], *arguments)
        rows = load(builder, ir.VectorType(I64, 64), place)
        for step in (32, 16, 8, 4, 2, 1):
            # Of each pair of rows the upper half of one changes places with the lower of the other.
            low = sum(1 << j for j in range(64) if not j & step)
            lower, upper = (same_elements(builder, I64(m), 64) for m in (low, low << step))
            shift = same_elements(builder, I64(step), 64)
            other = permute(builder, rows, rows, [i ^ step for i in range(64)])
            first = builder.or_(
                builder.and_(rows, lower), builder.and_(builder.shl(other, shift), upper)
            )
            second = builder.or_(
                builder.and_(rows, upper), builder.and_(builder.lshr(other, shift), lower)
            )
            flags = [int(bool(i & step)) for i in range(64)]
            rows = builder.select(ir.VectorType(I1, 64)(flags), second, first)
        store(builder, rows, place)
        return context.get_dummy_value()

    return types.void(words, types.intp), codegen


def _trailing_zeros(typingctx, value):
    def codegen(context, builder, signature, args):
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), codegen


def _leading_zeros(typingctx, value):
    def codegen(context, builder, signature, args):
        return builder.ctlz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), codegen


def _popcount(typingctx, value):
    def codegen(context, builder, signature, args):
        return builder.ctpop(args[0])

    return types.uint64(types.uint64), codegen


# For kernels, on one uint64: its zeros below the lowest set bit and above the highest (of a word
# that is not 0), and the number of its set bits.
trailing_zeros: Any = intrinsic(_trailing_zeros)
leading_zeros: Any = intrinsic(_leading_zeros)
popcount: Any = intrinsic(_popcount)


@njit(inline="always")
def bits_at(words, bit):
    """The 64 packed bits from bit `bit` of uint64 words on; a word behind the last is read."""
    bit, one = np.uint64(bit), np.uint64(1)
    w, shift = bit >> np.uint64(6), bit & np.uint64(63)
    # Two shifts: one by 64 would be undefined where shift is 0.
    return words[w] >> shift | words[w + one] << one << (np.uint64(63) - shift)
