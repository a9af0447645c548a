"""Transposition of tiles: what lies along 64 segments becomes lines across them, in registers.

A line has a byte, or a bit, of each of 64 segments. What it is joined to (`f2f.format.join`) are
words in the order of the segments if their bytes lie in the line as `line_places` says.
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
    byte_pointer,
    element_pointer,
    load,
    permute,
    store,
)

SIDE = 64  # segments of a tile, bytes of a line
DEPTH = 16  # lines that are transposed together
LANES = SIDE // DEPTH


def line_places(itemsize: int) -> np.ndarray:
    """int64 (64,): where in a line the byte of each segment lies, for words of so many bytes.

    Bytes of several lines are interleaved in each lane of 16 by itself: its words come out in
    vectors 0, 1, … in turn, and so a vector has words of every lane.
    """
    segment = np.arange(SIDE).reshape(itemsize, LANES, DEPTH // itemsize)
    places = np.empty(SIDE, dtype=np.int64)
    places[segment.transpose(1, 0, 2).reshape(-1)] = np.arange(SIDE)
    return places


def unpacked(builder: Any, a: Any, b: Any, high: int) -> Any:
    """The low or high halves of each lane of a and b, element by element in turn."""
    count = a.type.count // LANES
    starts = [lane * count + high * (count // 2) for lane in range(LANES)]
    places = [start + i for start in starts for i in range(count // 2)]
    return permute(builder, a, b, [at for one in places for at in (one, a.type.count + one)])


@intrinsic
def transpose_bytes(typingctx, tile, at, stride, lines, to, pitch):
    """lines[to + pitch*e + s] = tile[at + e + stride*s], e < 16, s < 64; uint8."""

    def codegen(context, builder, signature, arguments):
        tile, at, stride, lines, to, pitch = arguments
        source = byte_pointer(context, builder, signature.args[0], tile, at)
        target = byte_pointer(context, builder, signature.args[3], lines, to)
        # Lane l of row s holds segment 16*l + s.
        rows = []
        for s in range(DEPTH):
            places = [builder.mul(stride, I64(DEPTH * lane + s)) for lane in range(LANES)]
            parts = [load(builder, V16, builder.gep(source, [place])) for place in places]
            halves = [permute(builder, parts[i], parts[i + 1], list(range(32))) for i in (0, 2)]
            rows.append(permute(builder, halves[0], halves[1], list(range(SIDE))))
        # Rows i and i + 8 are interleaved, four times: a perfect shuffle each time.
        for _ in range(4):
            rows = [
                unpacked(builder, rows[i], rows[i + DEPTH // 2], high)
                for i in range(DEPTH // 2)
                for high in (0, 1)
            ]
        for e, values in enumerate(rows):
            store(builder, values, builder.gep(target, [builder.mul(pitch, I64(e))]))
        return context.get_dummy_value()

    word = types.intp
    return types.void(tile, word, word, lines, word, word), codegen


@intrinsic
def copy_elements(typingctx, source, at, target, to, count):
    """Copy `count` elements from source[at] on to target[to], arrays of the same type."""
    if not all(isinstance(a, types.Array) and a.layout == "C" for a in (source, target)):
        return None

    def codegen(context, builder, signature, arguments):
        source, at, target, to, count = arguments
        here = element_pointer(context, builder, signature.args[0], source, at)
        there = element_pointer(context, builder, signature.args[2], target, to)
        cgutils.raw_memcpy(builder, there, here, count, signature.args[0].dtype.bitwidth // 8)
        return context.get_dummy_value()

    word = types.intp
    return types.void(source, word, target, word, word), codegen


@intrinsic
def prefetch_words(typingctx, words, at):
    """Ask for the cache lines of words[at : at+64], to be written; they need not exist."""

    def codegen(context, builder, signature, arguments):
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), I32, I32, I32])
        prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        place = element_pointer(context, builder, signature.args[0], *arguments)
        size = SIDE * signature.args[0].dtype.bitwidth // 8
        for byte in (*range(0, size, 64), size - 1):
            line = builder.gep(place, [I64(byte)])
            builder.call(prefetch, [line, I32(1), I32(3), I32(1)])
        return context.get_dummy_value()

    return types.void(words, types.intp), codegen
