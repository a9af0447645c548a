"""64-bit words as vectors over GF(2), and linear maps between them.

A map is given by 64 rows: bit r of an image is ``parity(rows[r] & word)``. To apply it to many
words it is prepared (`prepare_map`), in TABLE_WORDS words of memory, for what the processor has.
With GFNI eight words at once are 8×8 bit matrices, multiplied by the bytes of the rows. Without, a
table has 256 images for each byte of the word, and an image is the XOR of eight look-ups.
"""

from __future__ import annotations

from functools import reduce

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from f2f.base.intrinsics import (
    GFNI,
    I8,
    I64,
    V64,
    byte_pointer,
    element_pointer,
    load,
    permute,
    same_elements,
    store,
    transpose_bits,
)
from f2f.base.jit import njit
from f2f.decoder import gfni

TABLE_WORDS = 8 * 256  # of a prepared map
SPARE = 7  # words behind the last that `apply_map` may read and write
_V64Q = ir.VectorType(I64, 64)


@intrinsic
def rotate_left(typingctx, word, count):
    """The 64-bit word rotated left by 0 <= count < 64."""

    def codegen(context, builder, signature, arguments):
        word, count = arguments
        kind = ir.FunctionType(I64, [I64] * 3)
        rotate = cgutils.get_or_insert_function(builder.module, kind, "llvm.fshl.i64")
        return builder.call(rotate, [word, word, count])

    return types.uint64(types.uint64, types.uint64), codegen


@intrinsic
def split_bytes(typingctx, words, table):
    """Byte j of words[r], r < 64, to byte 64*j + r of the table; both are uint64."""

    def codegen(context, builder, signature, arguments):
        words, table = arguments
        kinds = signature.args
        rows = load(builder, _V64Q, element_pointer(context, builder, kinds[0], words, I64(0)))
        for j in range(8):
            part = builder.lshr(rows, same_elements(builder, I64(8 * j), 64))
            part = builder.trunc(part, ir.VectorType(I8, 64))
            store(builder, part, byte_pointer(context, builder, kinds[1], table, I64(64 * j)))
        return context.get_dummy_value()

    return types.void(words, table), codegen


@intrinsic
def images_of_8(typingctx, table, words, first, out):
    """Images, at out[first], of eight words from words[first] on, all uint64, by GFNI.

    The table is that of `split_bytes`.
    """

    def codegen(context, builder, signature, arguments):
        table, words, first, out = arguments
        kinds = signature.args
        rows = byte_pointer(context, builder, kinds[0], table, I64(0))
        eight = load(builder, V64, element_pointer(context, builder, kinds[1], words, first))
        products = []
        for j in range(8):  # bytes j of the words are a matrix, see `f2f.decoder.gfni`
            matrix = permute(builder, eight, eight, [8 * (7 - i % 8) + j for i in range(64)])
            vectors = load(builder, V64, builder.gep(rows, [I64(64 * j)]))
            products.append(gfni.gf2_affine(builder, matrix, vectors))
        found = gfni.planes_of(builder, reduce(builder.xor, products))
        store(builder, found, element_pointer(context, builder, kinds[3], out, first))
        return context.get_dummy_value()

    return types.void(table, words, types.intp, out), codegen


@njit(forceinline=True)
def prepare_by_gfni(rows, table):
    """As `prepare_by_tables`, for `apply_by_gfni`."""
    split_bytes(rows, table)


@njit(inline="always")
def apply_by_gfni(table, words, count, out):
    """As `apply_by_tables`; SPARE more words are read and written."""
    for at in range(0, count, 8):
        images_of_8(table, words, at, out)


@njit
def prepare_by_tables(rows, table):
    """Prepare a map; its rows, uint64 (64,), do not outlast it.

    Word ``256*g + y`` of the table, (TABLE_WORDS,), is the image of ``y << 8*g``.
    """
    transpose_bits(rows, 0)
    for group in range(8):
        base = 256 * group
        table[base] = np.uint64(0)
        for b in range(8):
            half = 1 << b
            column = rows[8 * group + b]
            for y in range(half):
                table[base + half + y] = table[base + y] ^ column


@njit(inline="always")
def apply_by_tables(table, words, count, out):
    """Images of the first `count` words under a prepared map; out may be `words`."""
    byte = np.uint64(255)
    for at in range(count):
        word = words[at]
        result = table[word & byte]
        for group in range(1, 8):
            result ^= table[np.uint64(256 * group) + ((word >> np.uint64(8 * group)) & byte)]
        out[at] = result


prepare_map = prepare_by_gfni if GFNI else prepare_by_tables
apply_map = apply_by_gfni if GFNI else apply_by_tables
