"""Transposition of a tile: what lies along segments becomes lines across them, in registers.

A tile is as many segments as fill a cache line (64 bytes) side by side. `transpose_lines` takes 16
bytes of each, and puts out as many lines as 16 bytes hold elements.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from f2f.base.intrinsics import I64, element_pointer, load, permute, store

LINE = 64  # bytes
_LANES = 4  # of 16 bytes in a line


def _unpacked(builder: Any, a: Any, b: Any, high: int, per_lane: int) -> Any:
    """The low or high halves of each lane of a and b, element by element in turn."""
    lanes = []
    for lane in range(_LANES):
        for i in range(per_lane // 2):
            at = lane * per_lane + high * (per_lane // 2) + i
            lanes += [at, a.type.count + at]
    return permute(builder, a, b, lanes)


@intrinsic
def transpose_lines(typingctx, tile, at, stride, lines, to, row):
    """lines[to + e*row + s] = tile[at + e + stride*s], E elements e of 16 bytes, 4*E segments s.

    tile, lines: contiguous arrays of the same unsigned type.
    """
    if not all(isinstance(a, types.Array) and a.layout == "C" for a in (tile, lines)):
        return None

    def codegen(context, builder, signature, arguments):
        tile, at, stride, lines, to, row = arguments
        width = signature.args[0].dtype.bitwidth
        count = 128 // width
        small = ir.VectorType(ir.IntType(width), count)
        step = builder.mul(stride, I64(width // 8))
        source = element_pointer(context, builder, signature.args[0], tile, at)
        target = element_pointer(context, builder, signature.args[3], lines, to)
        line = builder.mul(row, I64(width // 8))
        # Lane l of row s holds segment count*l + s.
        rows = []
        for s in range(count):
            parts = [
                load(
                    builder, small, builder.gep(source, [builder.mul(step, I64(count * lane + s))])
                )
                for lane in range(_LANES)
            ]
            halves = [
                permute(builder, parts[i], parts[i + 1], list(range(2 * count))) for i in (0, 2)
            ]
            rows.append(permute(builder, halves[0], halves[1], list(range(4 * count))))
        # Rows i and i + count/2 are interleaved, as often as it takes: a perfect shuffle each time.
        for _ in range(count.bit_length() - 1):
            half = count // 2
            rows = [
                _unpacked(builder, rows[i], rows[i + half], high, count)
                for i in range(half)
                for high in (0, 1)
            ]
        for e, values in enumerate(rows):
            store(builder, values, builder.gep(target, [builder.mul(line, I64(e))]))
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
