"""The decoder of up to eight planes, written once, as LLVM instructions over one primitive.

Over GF(2), `gf2_affine` multiplies 8 x 8 bit matrices with bytes. The bytes that the eight planes
hold at one step *are* such a matrix, 8 planes x 8 bits of a vector; byte r of a register of rows is
what row r of the decoder matrix multiplies it with. So the decoded bytes of a group of rows are

    out = XOR_j gf2_affine(matrix of vector t+j, the rows' bytes for vector j),    j = 0 … n_s.

What the primitive looks like, how wide a register is and how its operands are prepared is a
`Lowering`, of which `f2f.decoder.gfni` and `f2f.decoder.avx2` have one each (and
`f2f.decoder.plain` has the same in numba code). Here is what they share: several blocks are decoded
together, so that rows are loaded once for them and a vector's matrix once for the blocks whose
windows hold it; where the last rows of a block leave half a register or more empty, blocks lie
side by side in it; windows are padded to whole steps of the loop with rows of zeros.

The functions take pointers, not numba's arrays, so that tests can compile them for any processor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from f2f.base.intrinsics import I64, aligned_zeros, byte_pointer, permute, same_bytes, store


@dataclass(frozen=True)
class Lowering:
    """How a processor multiplies matrices with bytes.

    Attributes
    ----------
    lanes : LLVM type
        A register, as bytes.
    staged : int
        Bytes of the prepared matrix of a vector.
    together : int
        Blocks that are decoded together.
    step : int
        Vectors of a window that are multiplied in one step of the loop.
    shares : tuple of int
        How many blocks may lie side by side in a register, beside 1; falling.
    row_bytes : int
        Bytes of one vector's part of a register of rows.
    """

    lanes: ir.VectorType
    staged: int
    together: int
    step: int
    shares: tuple[int, ...]
    row_bytes: int

    @property
    def rows(self) -> int:
        """Rows of a register."""
        return self.lanes.count

    def matrices(self, builder: Any, place: Any, blocks: int) -> Any:
        """The matrices of a vector for each of `blocks` successive blocks, side by side."""
        raise NotImplementedError

    def row_operand(self, builder: Any, place: Any) -> Any:
        """What `gf2_affine` needs of the rows for one vector."""
        raise NotImplementedError

    def gf2_affine(self, builder: Any, matrices: Any, rows: Any) -> Any:
        """The product, a register."""
        raise NotImplementedError

    def by_register(self, by_vector: np.ndarray) -> np.ndarray:
        """The rows' bytes, uint8 (groups of rows, padded vectors, rows), of (n_out, vectors).

        Last rows that share their register with those of other blocks are there once for each.
        """
        n_out, vectors = by_vector.shape
        groups, padded = -(-n_out // self.rows), -(-vectors // self.step) * self.step
        rows = np.zeros((groups * self.rows, padded), dtype=np.uint8)
        rows[:n_out, :vectors] = by_vector
        tail = n_out % self.rows
        for blocks in self.shares:
            part = self.rows // blocks
            if 0 < tail <= part:
                rows[-self.rows :] = np.tile(rows[-self.rows :][:part], (blocks, 1))
                break
        return rows.reshape(groups, self.rows, padded).transpose(0, 2, 1)





def _decode_rows(
    builder: Any, lowering: Lowering, prepared: Any, rows: Any, steps: Any, start: Any,
    registers: int, blocks: int,
) -> list[Any]:  # fmt: skip
    """The registers of one group of rows, each of `blocks` blocks side by side."""
    sums = [cgutils.alloca_once_value(builder, start) for _ in range(registers)]
    window_step = I64(lowering.staged * lowering.step)
    row_step = I64(lowering.row_bytes * lowering.step)
    with cgutils.for_range(builder, steps) as loop:
        window = builder.gep(prepared, [builder.mul(loop.index, window_step)])
        part = builder.gep(rows, [builder.mul(loop.index, row_step)])
        operands = [
            lowering.row_operand(builder, builder.gep(part, [I64(lowering.row_bytes * j)]))
            for j in range(lowering.step)
        ]
        totals = [builder.load(total) for total in sums]
        for vector in range(lowering.step + blocks * (registers - 1)):
            # Register r multiplies this vector with rows j = vector - blocks * r.
            using = [r for r in range(registers) if 0 <= vector - blocks * r < lowering.step]
            if not using:
                continue
            place = builder.gep(window, [I64(lowering.staged * vector)])
            matrices = lowering.matrices(builder, place, blocks)
            for r in using:
                row = operands[vector - blocks * r]
                product = lowering.gf2_affine(builder, matrices, row)
                totals[r] = builder.xor(totals[r], product)
        for total, value in zip(sums, totals, strict=True):
            builder.store(value, total)
    return [builder.load(total) for total in sums]


def _store_blocks(builder: Any, values: list[Any], blocks: int, place: Any, n_out: Any) -> None:
    """Registers of `blocks` blocks each, to where their rows belong, a block every n_out bytes."""
    for number in range(len(values) * blocks):
        register, part = divmod(number, blocks)
        value = values[register]
        size = value.type.count // blocks
        value = permute(builder, value, value, list(range(size * part, size * (part + 1))))
        store(builder, value, builder.gep(place, [builder.mul(n_out, I64(number))]))


def emit_multiply(
    builder: Any, lowering: Lowering, prepared: Any, blocks: Any, matrix: Any,
    sizes: tuple[Any, Any], offset: Any, out: Any,
) -> None:  # fmt: skip
    """Decode `blocks` blocks to `out`, and up to a register too much; sizes: (n_out, vectors).

    prepared: the matrices of the vectors. matrix: the rows. Groups of rows are taken last first,
    and blocks in order: what rows spill behind a block must not outlive the next block's first.
    """
    n_out, vectors = sizes
    width = I64(lowering.rows)
    steps = builder.udiv(builder.add(vectors, I64(lowering.step - 1)), I64(lowering.step))
    group_bytes = builder.mul(steps, I64(lowering.row_bytes * lowering.step))
    full, tail = builder.udiv(n_out, width), builder.urem(n_out, width)
    groups = builder.udiv(builder.add(n_out, I64(lowering.rows - 1)), width)
    start = same_bytes(builder, offset, lowering.lanes)

    def decode(first: Any, group: Any, registers: int, side_by_side: int) -> None:
        source = builder.gep(prepared, [builder.mul(first, I64(lowering.staged))])
        rows = builder.gep(matrix, [builder.mul(group, group_bytes)])
        values = _decode_rows(
            builder, lowering, source, rows, steps, start, registers, side_by_side
        )
        to = builder.add(builder.mul(first, n_out), builder.mul(group, width))
        _store_blocks(builder, values, side_by_side, builder.gep(out, [to]), n_out)

    def decode_groups(first: Any, count: Any, registers: int) -> None:
        with cgutils.for_range(builder, count) as loop:
            group = builder.sub(builder.sub(count, I64(1)), loop.index)
            decode(first, group, registers, 1)

    shared = []
    below = 0
    for side_by_side in lowering.shares:
        most = lowering.rows // side_by_side
        fits = builder.and_(
            builder.icmp_unsigned(">", tail, I64(below)),
            builder.icmp_unsigned("<=", tail, I64(most)),
        )
        shared.append((side_by_side, fits))
        below = most
    alone = builder.icmp_unsigned(">", tail, I64(below))
    whole = builder.select(alone, groups, full)
    batches = builder.udiv(blocks, I64(lowering.together))
    with cgutils.for_range(builder, batches) as loop:
        first = builder.mul(loop.index, I64(lowering.together))
        for side_by_side, fits in shared:
            with builder.if_then(fits):
                decode(first, full, lowering.together // side_by_side, side_by_side)
        decode_groups(first, whole, lowering.together)
    done = builder.mul(batches, I64(lowering.together))
    with cgutils.for_range(builder, builder.sub(blocks, done)) as loop:
        decode_groups(builder.add(done, loop.index), groups, 1)


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
