"""`gf2_affine` as one instruction, for processors with AVX-512 and GFNI.

`vgf2p8affineqb` multiplies 64 bytes with eight matrices, those of each qword with its own: bit i of
a byte x becomes ``parity(A.byte[7-i] & x)``. The eight planes' bytes of a vector, a qword, need
only be turned round (byte 7-i = plane i). An affine map of the decoded bytes is a product from the
left of every such matrix, made when the vectors are prepared.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from f2f.base.intrinsics import (
    I1,
    I8,
    I32,
    I64,
    V64,
    byte_pointer,
    load,
    permute,
    same_bytes,
    store,
)
from f2f.decoder.blocks import Layout, Lowering, make_multiply, split_kernel

ROWS = 64
STAGED = 8

_WORDS = ir.VectorType(I64, 8)
_IDENTITY = _WORDS([0x8040201008040201] * 8)  # byte k is 1 << k
_REVERSED = _WORDS([0x0102040810204080] * 8)  # byte k is 1 << (7-k)


def gf2_affine(builder: Any, matrices: Any, vectors: Any) -> Any:
    """The bytes of eight qwords multiplied by the matrix of their qword each."""
    kind = ir.FunctionType(V64, [V64, V64, I8])
    name = "llvm.x86.vgf2p8affineqb.512"
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    as_bytes = [builder.bitcast(value, V64) for value in (vectors, matrices)]
    return builder.call(function, [*as_bytes, I8(0)])


class _Qwords(Layout):
    """Rows of one, two or four blocks; the qwords of each with the matrix of its vector."""

    def matrices(self, builder: Any, place: Any) -> Any:
        if self.blocks == 1:
            return _splat(builder, load(builder, I64, place))
        words = load(builder, ir.VectorType(I64, self.blocks), place)
        return permute(builder, words, words, [lane * self.blocks // 8 for lane in range(8)])

    def row_operand(self, builder: Any, place: Any) -> Any:
        return load(builder, V64, place)

    def gf2_affine(self, builder: Any, matrices: Any, rows: Any) -> Any:
        return gf2_affine(builder, matrices, rows)


LAYOUTS = tuple(_Qwords(V64, ROWS // blocks, blocks, row_bytes=ROWS) for blocks in (1, 2, 4))
LOWERING = Lowering(staged=STAGED, together=4, step=8, layouts=LAYOUTS)
multiply = make_multiply(LOWERING)


def _splat(builder: Any, word: Any) -> Any:
    first = builder.insert_element(ir.Constant(_WORDS, ir.Undefined), word, I32(0))
    return permute(builder, first, first, [0] * 8)


def _permute_bytes(builder: Any, value: Any, index: Any) -> Any:
    """`vpermb`: byte index[i] of a register, for all i."""
    kind = ir.FunctionType(V64, [V64, V64])
    name = "llvm.x86.avx512.permvar.qi.512"
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(function, [value, index])


def _load_part(builder: Any, place: Any, count: Any) -> Any:
    """A register of `count` bytes from memory and zeros behind them; nothing else is touched."""
    lanes = ir.VectorType(I1, ROWS)
    some = builder.sub(builder.shl(I64(1), count), I64(1))
    bits = builder.select(builder.icmp_signed(">=", count, I64(64)), I64(-1), some)
    kind = ir.FunctionType(V64, [V64.as_pointer(), I32, lanes, V64])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.masked.load.v64i8.p0")
    place = builder.bitcast(place, V64.as_pointer())
    zeros = V64([0] * ROWS)
    return builder.call(function, [place, I32(1), builder.bitcast(bits, lanes), zeros])


def emit_prepare(
    builder: Any, inputs: Any, planes: Any, count: Any, by_nibble: Any, prepared: Any
) -> None:
    """The matrices of `count` input vectors, a qword each, their planes mapped.

    inputs: `planes` bytes a vector. by_nibble: of `Affine`. prepared: written in eights.
    """
    # Byte q of a qword: the image of bit q, column q of the map.
    columns: Any = I64(0)
    for q in range(8):
        place = builder.gep(by_nibble, [I64(1 << q if q < 4 else 16 + (1 << q - 4))])
        image = builder.zext(builder.load(place), I64)
        columns = builder.or_(columns, builder.shl(image, I64(8 * q)))
    mapped = gf2_affine(builder, _splat(builder, columns), _REVERSED)

    plane = V64([i % 8 for i in range(ROWS)])
    each = same_bytes(builder, builder.trunc(planes, I8), V64)
    source_bytes = builder.add(builder.mul(each, V64([i // 8 for i in range(ROWS)])), plane)
    present = builder.sext(builder.icmp_unsigned("<", plane, each), V64)
    steps = builder.udiv(builder.add(count, I64(7)), I64(8))
    with cgutils.for_range(builder, steps) as loop:
        first = builder.mul(loop.index, I64(8))
        left = builder.mul(builder.sub(count, first), planes)
        part = _load_part(builder, builder.gep(inputs, [builder.mul(first, planes)]), left)
        vectors = builder.and_(_permute_bytes(builder, part, source_bytes), present)
        # Bit-sliced (and back), each matrix is transposed: then the map acts on its bytes.
        sliced = gf2_affine(builder, vectors, _REVERSED)
        result = gf2_affine(builder, sliced, mapped)
        store(builder, result, builder.gep(prepared, [builder.mul(first, I64(STAGED))]))


def planes_of(builder: Any, value: Any) -> Any:
    """Bit q of byte i of a register as bit i of word q of another."""
    index = V64([8 * (i % 8) + i // 8 for i in range(ROWS)])
    # Each qword transposed, its bits put back in order, then the bytes of one plane together.
    bits = gf2_affine(builder, value, _IDENTITY)
    bits = gf2_affine(builder, _IDENTITY, bits)
    return builder.bitcast(_permute_bytes(builder, bits, index), _WORDS)


def emit_split(builder: Any, source: Any, count: Any, words: Any, stride: Any) -> None:
    """Bit q of byte 64*w + i to bit i of words[q*stride + w], uint64; w < count."""
    with cgutils.for_range(builder, count) as loop:
        at = builder.mul(loop.index, I64(ROWS))
        planes = planes_of(builder, load(builder, V64, builder.gep(source, [at])))
        for q in range(8):
            place = builder.add(builder.mul(stride, I64(q)), loop.index)
            word = builder.extract_element(planes, I32(q))
            store(builder, word, builder.gep(words, [builder.mul(place, I64(8))]))


@intrinsic
def prepare(typingctx, inputs, planes, count, by_nibble, prepared):
    """Matrices of `count` vectors of `planes` bytes."""

    def codegen(context, builder, signature, arguments):
        inputs, planes, count, by_nibble, prepared = arguments
        kinds = signature.args
        emit_prepare(
            builder,
            byte_pointer(context, builder, kinds[0], inputs, I64(0)),
            planes,
            count,
            byte_pointer(context, builder, kinds[3], by_nibble, I64(0)),
            byte_pointer(context, builder, kinds[4], prepared, I64(0)),
        )
        return context.get_dummy_value()

    return types.void(inputs, types.intp, types.intp, by_nibble, prepared), codegen


split_planes = split_kernel(emit_split)
