"""`gf2_affine` as two byte shuffles, for x86 processors with AVX2.

The product of a byte with a matrix is the XOR of what its two nibbles (4 bits) pick from two tables
of 16 bytes, the XOR combinations of the matrix's columns. The tables depend on the vector, the
nibbles on the decoder matrix alone: a table lookup with constant indices is one byte shuffle
(`vpshufb`) for 32 rows. An affine map of the decoded bytes is applied to the tables.

A folded matrix (`f2f.decoder.folded`) has five tables for each half of 32 rows, XORs of those of
the vectors of a window, instead of 16: a loop of its own, which needs less of the processor.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from f2f.base.intrinsics import (
    I32,
    I64,
    V16,
    V32,
    aligned_zeros,
    byte_pointer,
    byte_shuffle,
    copy_bytes,
    load,
    permute,
    same_bytes,
    store,
)
from f2f.base.jit import njit
from f2f.decoder.blocks import Layout, Lowering, make_multiply, split_kernel
from f2f.decoder.folded import FOLD, N_S

SHUFFLE_ROWS = 32  # rows of one shuffle
STAGED = 32  # bytes of the two nibble tables of a vector

_WORDS = ir.VectorType(I64, 4)
_DOUBLE = list(range(16)) * 2


def _pick(builder: Any, table: Any, lanes: Any) -> Any:
    return builder.call(byte_shuffle(builder), [table, lanes])


class _Wide(Layout):
    """32 rows, whose low nibbles and high ones are looked up one after the other."""

    def arrange(self, rows: np.ndarray) -> np.ndarray:
        return np.concatenate([rows & 15, rows >> 4]).T

    def matrices(self, builder: Any, place: Any) -> Any:
        tables = [load(builder, V16, builder.gep(place, [I64(at)])) for at in (0, 16)]
        return [permute(builder, table, table, _DOUBLE) for table in tables]

    def row_operand(self, builder: Any, place: Any) -> Any:
        return [load(builder, V32, builder.gep(place, [I64(at)])) for at in (0, SHUFFLE_ROWS)]

    def gf2_affine(self, builder: Any, matrices: Any, rows: Any) -> Any:
        return builder.xor(*(_pick(builder, *pair) for pair in zip(matrices, rows, strict=True)))


class _Narrow(Layout):
    """16 rows, with their low nibbles in one half and their high ones in the other."""

    def arrange(self, rows: np.ndarray) -> np.ndarray:
        return np.concatenate([rows & 15, rows >> 4]).T

    def matrices(self, builder: Any, place: Any) -> Any:
        return load(builder, V32, place)

    def row_operand(self, builder: Any, place: Any) -> Any:
        return load(builder, V32, place)

    def gf2_affine(self, builder: Any, matrices: Any, rows: Any) -> Any:
        return _pick(builder, matrices, rows)

    def start(self, builder: Any, offset: Any) -> Any:
        return builder.and_(same_bytes(builder, offset), V32([255] * 16 + [0] * 16))

    def results(self, builder: Any, total: Any) -> list[Any]:
        low, high = (permute(builder, total, total, list(range(at, at + 16))) for at in (0, 16))
        return [builder.xor(low, high)]


LAYOUTS = (
    _Wide(V32, SHUFFLE_ROWS, blocks=1, row_bytes=2 * SHUFFLE_ROWS),
    _Narrow(V32, SHUFFLE_ROWS // 2, blocks=1, row_bytes=SHUFFLE_ROWS),
)
LOWERING = Lowering(staged=STAGED, together=4, step=4, layouts=LAYOUTS)
multiply = make_multiply(LOWERING)


def pack_folded(nibbles: np.ndarray) -> np.ndarray:
    """The matrix for `multiply_folded`, flat uint8: [group of 32 rows][folded nibble][row].

    nibbles: uint8 (n_out, 5), of `f2f.decoder.folded.folded_nibbles`.
    """
    n_out = len(nibbles)
    groups = -(-n_out // SHUFFLE_ROWS)
    padded = np.zeros((groups * SHUFFLE_ROWS, len(FOLD)), dtype=np.uint8)
    padded[:n_out] = nibbles
    by_group = padded.reshape(groups, SHUFFLE_ROWS, len(FOLD)).transpose(0, 2, 1)
    out = aligned_zeros(by_group.size)
    out.reshape(by_group.shape)[:] = by_group
    return out


def _linear_map(builder: Any, by_nibble: Any, words: Any) -> Any:
    """The bytes of a vector under a linear map over GF(2), given by the tables of its nibbles."""
    value = builder.bitcast(words, V32)
    halves = (builder.and_(value, V32([15] * 32)), builder.lshr(value, V32([4] * 32)))
    found = []
    for number, lanes in enumerate(halves):
        table = load(builder, V16, builder.gep(by_nibble, [I64(16 * number)]))
        found.append(_pick(builder, permute(builder, table, table, _DOUBLE), lanes))
    return builder.bitcast(builder.xor(*found), words.type)


def emit_tables(builder: Any, vectors: Any, by_nibble: Any, tables: Any) -> None:
    """The nibble tables of four vectors of eight planes (32 bytes in, 128 out), mapped."""
    words = load(builder, _WORDS, vectors)
    # Transpose the 8 x 8 bits of each vector: byte i becomes bit i of all planes.
    swaps = ((7, 0x00AA00AA00AA00AA), (14, 0x0000CCCC0000CCCC), (28, 0x00000000F0F0F0F0))
    for shift, mask in swaps:
        distance = _WORDS([shift] * 4)
        swap = builder.xor(words, builder.lshr(words, distance))
        swap = builder.and_(swap, _WORDS([mask] * 4))
        words = builder.xor(builder.xor(words, swap), builder.shl(swap, distance))
    words = _linear_map(builder, by_nibble, words)
    # Pairs (byte i, byte i ^ byte i+1) hold the non-zero combinations of two bits.
    single = builder.bitcast(words, V32)
    double = builder.bitcast(builder.xor(words, builder.lshr(words, _WORDS([8] * 4))), V32)
    pairs = []
    for half in (0, 8):
        lanes = [at for i in range(half, half + 8) for at in (i, i + 32)]
        lanes += [at for i in range(16 + half, 24 + half) for at in (i, i + 32)]
        pairs.append(permute(builder, single, double, lanes))
    # Byte 2*i is bit i alone, byte 2*i+1 the XOR of bits i and i+1; 0x80 picks zero.
    choice = (0x80, 0, 2, 1)
    low = [choice[entry & 3] for entry in range(16)]
    high = [choice[entry >> 2] | (4 if entry >> 2 else 0) for entry in range(16)]
    for j, pair in enumerate(pairs):  # vectors j and j + 2, a half each
        of_nibble = []
        for nibble in range(2):
            parts = []
            for picked in (low, high):
                lanes = [at if at == 0x80 else at | 8 * nibble for at in picked]
                parts.append(_pick(builder, pair, V32(lanes * 2)))
            of_nibble.append(builder.xor(parts[0], parts[1]))
        for half in range(2):
            lanes = list(range(16 * half, 16 * half + 16))
            both = lanes + [32 + lane for lane in lanes]
            value = permute(builder, of_nibble[0], of_nibble[1], both)
            store(builder, value, builder.gep(tables, [I64(STAGED * (j + 2 * half))]))


def emit_prepare(builder: Any, vectors: Any, count: Any, by_nibble: Any, prepared: Any) -> None:
    """The nibble tables of `count` vectors of eight planes; up to 3 more are read and written."""
    steps = builder.udiv(builder.add(count, I64(3)), I64(4))
    with cgutils.for_range(builder, steps) as loop:
        source = builder.gep(vectors, [builder.mul(loop.index, I64(4 * 8))])
        target = builder.gep(prepared, [builder.mul(loop.index, I64(4 * STAGED))])
        emit_tables(builder, source, by_nibble, target)


def _fold(builder: Any, vectors: list[Any]) -> list[Any]:
    """The tables of the folded nibbles, from those of the vectors of a window, oldest first."""
    folds = []
    for terms in FOLD:
        sums: list[Any] = [None, None]  # of what is not swapped and of what is
        for age, swapped in terms:
            table = vectors[N_S - age]
            total = sums[swapped]
            sums[swapped] = table if total is None else builder.xor(total, table)
        if sums[1] is not None:
            sums[1] = permute(builder, sums[1], sums[1], [(lane + 16) % 32 for lane in range(32)])
        parts = [total for total in sums if total is not None]
        folds.append(parts[0] if len(parts) == 1 else builder.xor(*parts))
    return folds


def emit_multiply_folded(
    builder: Any, prepared: Any, blocks: Any, matrix: Any, n_out: Any, offset: Any, out: Any
) -> None:
    """As `f2f.decoder.blocks.emit_multiply`, of a folded matrix."""
    groups = builder.udiv(builder.add(n_out, I64(SHUFFLE_ROWS - 1)), I64(SHUFFLE_ROWS))
    start = same_bytes(builder, offset)

    def decode(first: Any, together: int) -> None:
        source = builder.gep(prepared, [builder.mul(first, I64(STAGED))])
        target = builder.gep(out, [builder.mul(first, n_out)])
        vectors = [
            load(builder, V32, builder.gep(source, [I64(STAGED * t)]))
            for t in range(N_S + together)
        ]
        folds = [_fold(builder, vectors[b : b + N_S + 1]) for b in range(together)]
        for fold in folds:
            fold[0] = builder.xor(fold[0], start)
        with cgutils.for_range(builder, groups) as loop:
            group = builder.sub(builder.sub(groups, I64(1)), loop.index)
            rows = builder.gep(matrix, [builder.mul(group, I64(len(FOLD) * SHUFFLE_ROWS))])
            sums: list[Any] = [None] * together
            for k in range(len(FOLD)):
                lanes = load(builder, V32, builder.gep(rows, [I64(SHUFFLE_ROWS * k)]))
                for b in range(together):
                    found = _pick(builder, folds[b][k], lanes)
                    sums[b] = found if k == 0 else builder.xor(sums[b], found)
            to = builder.gep(target, [builder.mul(group, I64(SHUFFLE_ROWS))])
            for b in range(together):
                store(builder, sums[b], builder.gep(to, [builder.mul(n_out, I64(b))]))

    pairs = builder.udiv(blocks, I64(2))
    with cgutils.for_range(builder, pairs) as loop:
        decode(builder.mul(loop.index, I64(2)), 2)
    done = builder.mul(pairs, I64(2))
    with builder.if_then(builder.icmp_unsigned("<", done, blocks)):
        decode(done, 1)


def emit_split(builder: Any, source: Any, count: Any, words: Any, stride: Any) -> None:
    """Bit q of byte 64*w + i to bit i of words[q*stride + w], uint64; w < count."""
    with cgutils.for_range(builder, count) as loop:
        at = builder.mul(loop.index, I64(64))
        for half in range(2):
            value = load(builder, V32, builder.gep(source, [builder.add(at, I64(32 * half))]))
            for q in reversed(range(8)):  # the sign of each byte, then of its double
                signs = builder.icmp_signed("<", value, V32([0] * 32))
                place = builder.add(builder.mul(stride, I64(q)), loop.index)
                place = builder.add(builder.mul(place, I64(8)), I64(4 * half))
                store(builder, builder.bitcast(signs, I32), builder.gep(words, [place]))
                value = builder.add(value, value)


@njit
def stage(inputs, planes, count, vectors):
    """vectors[8*t + q] = byte q of vector t of inputs, zero for missing planes."""
    if planes == 8:
        copy_bytes(inputs, 0, vectors, 0, 8 * count)
        return
    for t in range(count):
        for q in range(8):
            vectors[8 * t + q] = inputs[planes * t + q] if q < planes else 0


@intrinsic
def build_tables(typingctx, vectors, count, by_nibble, prepared):
    """The nibble tables of staged vectors."""

    def codegen(context, builder, signature, arguments):
        vectors, count, by_nibble, prepared = arguments
        kinds = signature.args
        emit_prepare(
            builder,
            byte_pointer(context, builder, kinds[0], vectors, I64(0)),
            count,
            byte_pointer(context, builder, kinds[2], by_nibble, I64(0)),
            byte_pointer(context, builder, kinds[3], prepared, I64(0)),
        )
        return context.get_dummy_value()

    return types.void(vectors, types.intp, by_nibble, prepared), codegen


@intrinsic
def multiply_folded(typingctx, prepared, blocks, matrix, n_out, offset, out, out_at):
    """Decode blocks of a folded matrix from prepared vectors into out[out_at:]."""

    def codegen(context, builder, signature, arguments):
        prepared, blocks, matrix, n_out, offset, out, out_at = arguments
        kinds = signature.args
        emit_multiply_folded(
            builder,
            byte_pointer(context, builder, kinds[0], prepared, I64(0)),
            blocks,
            byte_pointer(context, builder, kinds[2], matrix, I64(0)),
            n_out,
            offset,
            byte_pointer(context, builder, kinds[5], out, out_at),
        )
        return context.get_dummy_value()

    word = types.intp
    return types.void(prepared, word, matrix, word, types.uint8, out, word), codegen


split_planes = split_kernel(emit_split)
