"""Transposition of a tile: what lies along segments becomes lines across them, in registers.

A tile is as many segments as fill a cache line (64 bytes) side by side. `transpose_lines` takes 16
bytes of each, and puts out as many lines as 16 bytes hold elements.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from f2f.base.intrinsics import I64, byte_pointer, load, permute, store

LINE = 64  # bytes
_LANES = 4  # of 16 bytes in a line


def _element(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    """Where element `index` of a contiguous array lies."""
    size = array_type.dtype.bitwidth // 8
    return byte_pointer(context, builder, array_type, array, builder.mul(index, I64(size)))


def _unpacked(builder: Any, a: Any, b: Any, high: int, per_lane: int) -> Any:
    """The low or high halves of each lane of a and b, element by element in turn."""
    lanes = []
    for lane in range(_LANES):
        for i in range(per_lane // 2):
            at = lane * per_lane + high * (per_lane // 2) + i
            lanes += [at, a.type.count + at]
    return permute(builder, a, b, lanes)


@intrinsic
def transpose_lines(typingctx, tile, at, stride, lines):
    """lines[e, s] = tile[at + e + stride*s] for the E elements e of 16 bytes and 4*E segments s.

    tile, lines: contiguous arrays of the same unsigned type; lines has 4*E*E elements.
    """
    if not all(isinstance(a, types.Array) and a.layout == "C" for a in (tile, lines)):
        return None

    def codegen(context, builder, signature, arguments):
        tile, at, stride, lines = arguments
        width = signature.args[0].dtype.bitwidth
        count = 128 // width
        small = ir.VectorType(ir.IntType(width), count)
        step = builder.mul(stride, I64(width // 8))
        source = _element(context, builder, signature.args[0], tile, at)
        target = _element(context, builder, signature.args[3], lines, I64(0))
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
        for e, row in enumerate(rows):
            store(builder, row, builder.gep(target, [I64(LINE * e)]))
        return context.get_dummy_value()

    return types.void(tile, types.intp, types.intp, lines), codegen


@intrinsic
def copy_line(typingctx, lines, line_at, out, at):
    """Copy the 64 bytes from lines[line_at] on to out[at], arrays of the same type."""
    if not all(isinstance(a, types.Array) and a.layout == "C" for a in (lines, out)):
        return None

    def codegen(context, builder, signature, arguments):
        lines, line_at, out, at = arguments
        source = _element(context, builder, signature.args[0], lines, line_at)
        target = _element(context, builder, signature.args[2], out, at)
        store(builder, load(builder, ir.VectorType(ir.IntType(8), LINE), source), target)
        return context.get_dummy_value()

    return types.void(lines, types.intp, out, types.intp), codegen
