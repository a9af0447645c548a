"""64-bit words as vectors over GF(2), and linear maps between them.

A map is 64 columns, the images of the unit vectors. To apply it to many words it is tabulated: one
table of 256 images for each byte of the argument, so that an image is the XOR of eight look-ups.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from f2f.base.intrinsics import I64
from f2f.base.jit import njit

TABLE_WORDS = 8 * 256  # of a tabulated map


@intrinsic
def rotate_left(typingctx, word, count):
    """The 64-bit word rotated left by 0 <= count < 64."""

    def codegen(context, builder, signature, arguments):
        word, count = arguments
        kind = ir.FunctionType(I64, [I64] * 3)
        rotate = cgutils.get_or_insert_function(builder.module, kind, "llvm.fshl.i64")
        return builder.call(rotate, [word, word, count])

    return types.uint64(types.uint64, types.uint64), codegen


@njit
def transpose(square):
    """Transpose a 64×64 bit matrix, uint64 (64,), in place: bit j of word i is the entry (i, j)."""
    mask = np.uint64(0x00000000FFFFFFFF)
    step = 32
    while step:
        shift = np.uint64(step)
        i = 0
        while i < 64:
            swap = ((square[i] >> shift) ^ square[i + step]) & mask
            square[i] ^= swap << shift
            square[i + step] ^= swap
            i = (i + step + 1) & ~step
        step >>= 1
        mask ^= mask << np.uint64(step)


@njit
def tabulate(columns, table):
    """Tabulate a linear map: word ``256*g + y`` of the table is the image of ``y << 8*g``.

    columns: uint64 (64,), word p the image of the word whose only bit is p; table: (TABLE_WORDS,).
    """
    for group in range(8):
        base = 256 * group
        table[base] = np.uint64(0)
        for b in range(8):
            half = 1 << b
            column = columns[8 * group + b]
            for y in range(half):
                table[base + half + y] = table[base + y] ^ column


@njit(forceinline=True)
def image(table, word):
    """The image of a word under the linear map in a table that `tabulate` filled."""
    byte = np.uint64(255)
    result = table[word & byte]
    for group in range(1, 8):
        at = np.uint64(256 * group) + ((word >> np.uint64(8 * group)) & byte)
        result ^= table[at]
    return result
