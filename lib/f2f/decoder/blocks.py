"""The decoder of up to eight planes, written once, as LLVM instructions over one primitive.

Over GF(2), `gf2_affine` multiplies 8 x 8 bit matrices with bytes. The bytes that the eight planes
hold at one step *are* such a matrix, 8 planes x 8 bits of a vector; byte r of a register of rows is
what row r of the decoder matrix multiplies it with. So the decoded bytes of a group of rows are

    out = XOR_j gf2_affine(matrix of vector t+j, the rows' bytes for vector j),    j = 0 … n_s.

What the primitive looks like, and how its operands lie in registers, is a `Lowering`, of which
`f2f.decoder.gfni` and `f2f.decoder.avx2` have one each (`f2f.decoder.plain` has the same in numba
code). Here is what they share: several blocks are decoded together, so that rows are loaded once
for them, and the matrix of a vector once for all blocks whose windows hold it; the last rows of a
block, where they are few, have a layout of their own.

The functions take pointers, not numba's arrays, so that tests can compile them for any processor.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from f2f.base.intrinsics import I64, aligned_zeros, byte_pointer, permute, same_bytes, store


@dataclass(frozen=True)
class Layout(ABC):
    """How a group of rows lies in a register.

    Attributes
    ----------
    lanes : LLVM type
        The register, as bytes.
    rows : int
        Rows of a group.
    blocks : int
        Blocks whose rows lie side by side.
    row_bytes : int
        Bytes of what is stored of the group's rows for one vector.
    """

    lanes: ir.VectorType
    rows: int
    blocks: int
    row_bytes: int

    def arrange(self, rows: np.ndarray) -> np.ndarray:
        """What is stored, uint8 (vectors, row_bytes), of rows' bytes (rows, vectors)."""
        return np.tile(rows, (self.blocks, 1)).T

    @abstractmethod
    def matrices(self, builder: Any, place: Any) -> Any:
        """The matrices of a vector, and of those after it for further blocks, as an operand."""

    @abstractmethod
    def row_operand(self, builder: Any, place: Any) -> Any:
        """The rows' bytes for a vector as an operand."""

    @abstractmethod
    def gf2_affine(self, builder: Any, matrices: Any, rows: Any) -> Any:
        """The product, a register."""

    def start(self, builder: Any, offset: Any) -> Any:
        """The register that products are added to."""
        return same_bytes(builder, offset, self.lanes)

    def results(self, builder: Any, total: Any) -> list[Any]:
        """The decoded bytes of each block, at least `rows` of them."""
        lanes = [range(self.rows * b, self.rows * (b + 1)) for b in range(self.blocks)]
        return [permute(builder, total, total, list(part)) for part in lanes]


@dataclass(frozen=True)
class Lowering:
    """How a processor multiplies matrices with bytes.

    Attributes
    ----------
    staged : int
        Bytes of the prepared matrix of a vector.
    together : int
        Blocks that are decoded together.
    step : int
        Vectors of a window that are multiplied in one step of the loop; those left over, in steps
        of one.
    layouts : tuple of Layout
        The widest first. It holds all whole groups of rows; the narrowest that can hold the rows
        after them does.
    """

    staged: int
    together: int
    step: int
    layouts: tuple[Layout, ...]

    def pack(self, by_vector: np.ndarray) -> np.ndarray:
        """The matrix as `emit_multiply` wants it, flat uint8: [group of rows][vector][row].

        by_vector: uint8 (n_out, n_s+1), the bits of a row for each vector, oldest first.
        """
        n_out, vectors = by_vector.shape
        widest = self.layouts[0]
        group_bytes = widest.row_bytes * vectors
        out = aligned_zeros(-(-n_out // widest.rows) * group_bytes)
        for group, first in enumerate(range(0, n_out, widest.rows)):
            part = by_vector[first : first + widest.rows]
            layout = [layout for layout in self.layouts if layout.rows >= len(part)][-1]
            rows = np.zeros((layout.rows, vectors), dtype=np.uint8)
            rows[: len(part)] = part
            stored = layout.arrange(rows)
            out[group * group_bytes :][: stored.size] = stored.reshape(-1)
        return out


def _decode_rows(
    builder: Any, lowering: Lowering, layout: Layout, prepared: Any, rows: Any, vectors: Any,
    offset: Any, registers: int,
) -> list[Any]:  # fmt: skip
    """The decoded bytes of one group of rows, of each block in `registers` registers."""
    start = layout.start(builder, offset)
    sums = [cgutils.alloca_once_value(builder, start) for _ in range(registers)]

    def add(first: Any, count: int) -> None:
        """The products of vectors first … first + count - 1 of the windows."""
        window = builder.gep(prepared, [builder.mul(first, I64(lowering.staged))])
        part = builder.gep(rows, [builder.mul(first, I64(layout.row_bytes))])
        operands = [
            layout.row_operand(builder, builder.gep(part, [I64(layout.row_bytes * j)]))
            for j in range(count)
        ]
        totals = [builder.load(total) for total in sums]
        for vector in range(count + layout.blocks * (registers - 1)):
            # In register r this vector meets the rows for vector - blocks * r.
            places = [(r, vector - layout.blocks * r) for r in range(registers)]
            using = [(r, j) for r, j in places if 0 <= j < count]
            if not using:
                continue
            place = builder.gep(window, [I64(lowering.staged * vector)])
            matrices = layout.matrices(builder, place)
            for r, j in using:
                product = layout.gf2_affine(builder, matrices, operands[j])
                totals[r] = builder.xor(totals[r], product)
        for total, value in zip(sums, totals, strict=True):
            builder.store(value, total)

    steps = builder.udiv(vectors, I64(lowering.step))
    with cgutils.for_range(builder, steps) as loop:
        add(builder.mul(loop.index, I64(lowering.step)), lowering.step)
    done = builder.mul(steps, I64(lowering.step))
    with cgutils.for_range(builder, builder.sub(vectors, done)) as loop:
        add(builder.add(done, loop.index), 1)
    return [part for total in sums for part in layout.results(builder, builder.load(total))]


def emit_multiply(
    builder: Any, lowering: Lowering, prepared: Any, blocks: Any, matrix: Any,
    sizes: tuple[Any, Any], offset: Any, out: Any,
) -> None:  # fmt: skip
    """Decode `blocks` blocks to `out`, and up to a register too much; sizes: (n_out, vectors).

    prepared: the matrices of the vectors, of a few more than the windows have. matrix: of
    `Lowering.pack`. Groups of rows are taken last first, and blocks in order: what rows spill
    behind a block must not outlive the next block's first.
    """
    n_out, vectors = sizes
    widest = lowering.layouts[0]
    group_bytes = builder.mul(vectors, I64(widest.row_bytes))
    full, tail = builder.udiv(n_out, I64(widest.rows)), builder.urem(n_out, I64(widest.rows))

    def decode(first: Any, group: Any, layout: Layout, together: int) -> None:
        """Of `together` blocks from block `first` on."""
        source = builder.gep(prepared, [builder.mul(first, I64(lowering.staged))])
        rows = builder.gep(matrix, [builder.mul(group, group_bytes)])
        registers = -(-together // layout.blocks)
        values = _decode_rows(builder, lowering, layout, source, rows, vectors, offset, registers)
        to = builder.add(builder.mul(first, n_out), builder.mul(group, I64(widest.rows)))
        place = builder.gep(out, [to])
        for number in range(together):
            target = builder.gep(place, [builder.mul(n_out, I64(number))])
            store(builder, values[number], target)

    def holds_tail(layout: Layout, narrower: int) -> Any:
        above = builder.icmp_unsigned(">", tail, I64(narrower))
        return builder.and_(above, builder.icmp_unsigned("<=", tail, I64(layout.rows)))

    narrower = [*(layout.rows for layout in lowering.layouts[1:]), 0]
    held = [holds_tail(*pair) for pair in zip(lowering.layouts, narrower, strict=True)]
    whole = builder.add(full, builder.zext(held[0], I64))

    def decode_all(first: Any, together: int) -> None:
        for layout, holds in zip(lowering.layouts[1:], held[1:], strict=True):
            with builder.if_then(holds):
                decode(first, full, layout, together)
        with cgutils.for_range(builder, whole) as loop:
            group = builder.sub(builder.sub(whole, I64(1)), loop.index)
            decode(first, group, widest, together)

    # The last batch may decode blocks of the one before again; too few for one go one by one.
    few = builder.icmp_unsigned("<", blocks, I64(lowering.together))
    with builder.if_else(few) as (then, otherwise):
        with then, cgutils.for_range(builder, blocks) as loop:
            decode_all(loop.index, 1)
        with otherwise:
            last = builder.sub(blocks, I64(lowering.together))
            batches = builder.udiv(
                builder.add(blocks, I64(lowering.together - 1)), I64(lowering.together)
            )
            with cgutils.for_range(builder, batches) as loop:
                first = builder.mul(loop.index, I64(lowering.together))
                late = builder.icmp_unsigned(">", first, last)
                decode_all(builder.select(late, last, first), lowering.together)


def make_multiply(lowering: Lowering) -> Any:
    """`emit_multiply` as a function of numba code."""

    @intrinsic
    def multiply(typingctx, prepared, blocks, matrix, sizes, offset, out, out_at):
        """Decode blocks from prepared vectors into out[out_at:]; sizes: (n_out, vectors)."""

        def codegen(context, builder, signature, arguments):
            prepared, blocks, matrix, sizes, offset, out, out_at = arguments
            kinds = signature.args
            emit_multiply(
                builder,
                lowering,
                byte_pointer(context, builder, kinds[0], prepared, I64(0)),
                blocks,
                byte_pointer(context, builder, kinds[2], matrix, I64(0)),
                cgutils.unpack_tuple(builder, sizes, 2),
                offset,
                byte_pointer(context, builder, kinds[5], out, out_at),
            )
            return context.get_dummy_value()

        word = types.intp
        pair = types.UniTuple(word, 2)
        return types.void(prepared, word, matrix, pair, types.uint8, out, word), codegen

    return multiply


def split_kernel(emit_split: Any) -> Any:
    """The intrinsic `split_planes` of a lowering, whose LLVM loop `emit_split` writes."""

    @intrinsic
    def split_planes(typingctx, source, count, words, stride):
        """Bit q of byte 64*w + i of source to bit i of word q*stride + w of words; w < count."""

        def codegen(context, builder, signature, arguments):
            source, count, words, stride = arguments
            kinds = signature.args
            emit_split(
                builder,
                byte_pointer(context, builder, kinds[0], source, I64(0)),
                count,
                byte_pointer(context, builder, kinds[2], words, I64(0)),
                stride,
            )
            return context.get_dummy_value()

        return types.void(source, types.intp, words, types.intp), codegen

    return split_planes
