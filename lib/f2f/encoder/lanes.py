"""Operations on vectors that lie in flat arrays, for the encoders.

Numba vectorises plain loops, yet not these: in-place updates of rows of one array, where it must
assume overlap, and byte permutations. Each is a function of numba code written as LLVM vector
operations, for which LLVM finds the instructions of any processor (for 32 bytes one AVX2 register,
two of SSE2 or NEON). Offsets count elements and need no alignment; nothing is bounds-checked.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from f2f.base.intrinsics import (
    I1,
    I8,
    I64,
    V16,
    V32,
    byte_pointer,
    element_pointer,
    is_bytes,
    load,
    permute,
    same_elements,
    store,
)

LANES = 32  # bytes of a vector
DEAREST = 0x7FFF  # dearer than any child, see `child_costs`
_I16 = ir.IntType(16)
_V8Q = ir.VectorType(I64, 8)
_V64Q = ir.VectorType(I64, 64)
_FLAGS = ir.VectorType(I1, 64)


class GroupSums(NamedTuple):
    """Sums over groups of care rows, one row of a table from each group, for `least_sums`.

    Attributes
    ----------
    tables : ndarray of uint8, flat
        Of all groups. Sums are taken modulo 256.
    offsets : ndarray of int64, (count, groups)
        Where the row of group g for item a begins, but for `shifts`.
    shifts : ndarray of int64, (groups,)
        What is XORed to all offsets of a group.
    """

    tables: np.ndarray
    offsets: np.ndarray
    shifts: np.ndarray


def _minimum(builder: Any, x: Any, y: Any) -> Any:
    return builder.select(builder.icmp_unsigned("<", x, y), x, y)


def _call(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    """A function of LLVM's own."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(function, arguments)


def _make_butterflies(dims: int) -> Any:
    """Kernel for `dims` butterfly passes at once on 2**dims vectors held in registers."""

    @intrinsic
    def butterflies(typingctx, table, at, stride):
        """Vectors lie at byte `at` of table and every `stride` bytes after it."""
        if not is_bytes(table):
            return None

        def codegen(context, builder, signature, arguments):
            table, at, stride = arguments
            base = byte_pointer(context, builder, signature.args[0], table, at)
            places = [builder.gep(base, [builder.mul(stride, I64(i))]) for i in range(1 << dims)]
            v = [load(builder, V32, place) for place in places]

            def add_one(value):
                return _call(builder, "llvm.uadd.sat.v32i8", V32, value, V32([1] * LANES))

            for dim in range(dims):
                for i in range(1 << dims):
                    j = i ^ 1 << dim
                    if i < j:
                        low, high = v[i], v[j]
                        v[i] = _minimum(builder, low, add_one(high))
                        v[j] = _minimum(builder, high, add_one(low))
            for place, value in zip(places, v, strict=True):
                store(builder, value, place)
            return context.get_dummy_value()

        return types.void(table, types.intp, types.intp), codegen

    return butterflies


butterflies_1 = _make_butterflies(1)
butterflies_2 = _make_butterflies(2)
butterflies_3 = _make_butterflies(3)


@intrinsic
def transpose_16(typingctx, source, offsets, first, column, out, at, stride):
    """Rows at source[offsets[first + i] + column], 16 bytes each, become columns of out.

    Byte j of row i goes to ``out[at + j*stride + i]``; offsets are int64.
    """
    if not (is_bytes(source) and is_bytes(out)):
        return None

    def codegen(context, builder, signature, arguments):
        source, offsets, first, column, out, at, stride = arguments
        data = context.make_array(signature.args[1])(context, builder, offsets).data
        rows = []
        for i in range(16):
            place = builder.load(builder.gep(data, [builder.add(first, I64(i))]))
            begin = builder.add(place, column)
            p = byte_pointer(context, builder, signature.args[0], source, begin)
            rows.append(load(builder, V16, p))
        # Four perfect shuffles of the 16x16 bytes: each interleaves row i with row i + 8.
        halves = [[half + i // 2 + 16 * (i % 2) for i in range(16)] for half in (0, 8)]
        for _ in range(4):
            rows = [
                permute(builder, rows[i // 2], rows[i // 2 + 8], halves[i % 2]) for i in range(16)
            ]
        base = byte_pointer(context, builder, signature.args[4], out, at)
        for j, row in enumerate(rows):
            store(builder, row, builder.gep(base, [builder.mul(stride, I64(j))]))
        return context.get_dummy_value()

    signature = types.void(source, offsets, types.intp, types.intp, out, types.intp, types.intp)
    return signature, codegen


def _make_exchange(bit: int) -> Any:
    """Kernel that swaps the lanes whose number has `bit` set between two vectors of table."""
    lanes = [lane ^ (LANES if lane >> bit & 1 else 0) for lane in range(LANES)]

    @intrinsic
    def exchange(typingctx, table, first, second):
        if not is_bytes(table):
            return None

        def codegen(context, builder, signature, arguments):
            table, first, second = arguments
            p = byte_pointer(context, builder, signature.args[0], table, first)
            q = byte_pointer(context, builder, signature.args[0], table, second)
            x, y = load(builder, V32, p), load(builder, V32, q)
            store(builder, permute(builder, x, y, lanes), p)
            store(builder, permute(builder, y, x, lanes), q)
            return context.get_dummy_value()

        return types.void(table, types.intp, types.intp), codegen

    return exchange


exchange_0 = _make_exchange(0)
exchange_1 = _make_exchange(1)
exchange_2 = _make_exchange(2)
exchange_3 = _make_exchange(3)
exchange_4 = _make_exchange(4)


@intrinsic
def minimum(typingctx, first, p, second, q, out, at):
    """out[at : at + 32] = min(first[p : p + 32], second[q : q + 32])."""
    if not all(is_bytes(array) for array in (first, second, out)):
        return None

    def codegen(context, builder, signature, arguments):
        first, p, second, q, out, at = arguments
        x = load(builder, V32, byte_pointer(context, builder, signature.args[0], first, p))
        y = load(builder, V32, byte_pointer(context, builder, signature.args[2], second, q))
        place = byte_pointer(context, builder, signature.args[4], out, at)
        store(builder, _minimum(builder, x, y), place)
        return context.get_dummy_value()

    signature = types.void(first, types.intp, second, types.intp, out, types.intp)
    return signature, codegen


@intrinsic
def copy(typingctx, source, start, out, at):
    """out[at : at + 32] = source[start : start + 32]."""
    if not (is_bytes(source) and is_bytes(out)):
        return None

    def codegen(context, builder, signature, arguments):
        source, start, out, at = arguments
        pointer = byte_pointer(context, builder, signature.args[0], source, start)
        value = load(builder, V32, pointer)
        store(builder, value, byte_pointer(context, builder, signature.args[2], out, at))
        return context.get_dummy_value()

    return types.void(source, types.intp, out, types.intp), codegen


def _make_least_sums(vectors: int) -> Any:
    """Kernel for the least of many sums of table rows, for `vectors` neighbouring vectors."""

    @intrinsic
    def least_sums(typingctx, sums, column, start, first, step, out, at):
        """out[at + i] = min over a of start[first + a*step] + Σ_g tables[at_ag + column + i].

        at_ag = offsets[a, g] ^ shifts[g], with the fields of `sums`, a `GroupSums`.
        """
        if not all(is_bytes(array) for array in (sums.types[0], start, out)):
            return None

        def codegen(context, builder, signature, arguments):
            sums, column, start, first, step, out, at = arguments
            kinds = signature.args[0].types
            tables, offsets, shifts = (builder.extract_value(sums, i) for i in range(3))
            rows = context.make_array(kinds[1])(context, builder, offsets)
            count, groups = cgutils.unpack_tuple(builder, rows.shape)
            flips = context.make_array(kinds[2])(context, builder, shifts).data
            base = byte_pointer(context, builder, kinds[0], tables, column)
            dearest = V32([255] * LANES)
            least = [cgutils.alloca_once_value(builder, dearest) for _ in range(vectors)]
            total = [cgutils.alloca_once(builder, V32) for _ in range(vectors)]
            with cgutils.for_range(builder, count) as loop:
                place = builder.add(first, builder.mul(step, loop.index))
                byte = builder.load(byte_pointer(context, builder, signature.args[2], start, place))
                spread = same_elements(builder, byte, LANES)
                for i in range(vectors):
                    builder.store(spread, total[i])
                row = builder.gep(rows.data, [builder.mul(loop.index, groups)])
                with cgutils.for_range(builder, groups) as inner:
                    offset = builder.load(builder.gep(row, [inner.index]))
                    offset = builder.xor(offset, builder.load(builder.gep(flips, [inner.index])))
                    for i in range(vectors):
                        place = builder.gep(base, [builder.add(offset, I64(LANES * i))])
                        term = load(builder, V32, place)
                        builder.store(builder.add(builder.load(total[i]), term), total[i])
                for i in range(vectors):
                    value = _minimum(builder, builder.load(least[i]), builder.load(total[i]))
                    builder.store(value, least[i])
            base = byte_pointer(context, builder, signature.args[5], out, at)
            for i in range(vectors):
                place = builder.gep(base, [I64(LANES * i)])
                store(builder, builder.load(least[i]), place)
            return context.get_dummy_value()

        signature = types.void(sums, types.intp, start, types.intp, types.intp, out, types.intp)
        return signature, codegen

    return least_sums


least_sums_1 = _make_least_sums(1)
least_sums_8 = _make_least_sums(8)


@intrinsic
def xor_of_64(typingctx, words, chosen):
    """The XOR of words[p] over the set bits p of `chosen`; words is uint64 (64,)."""

    def codegen(context, builder, signature, arguments):
        words, chosen = arguments
        data = context.make_array(signature.args[0])(context, builder, words).data
        terms = load(builder, _V64Q, data)
        terms = builder.select(builder.bitcast(chosen, _FLAGS), terms, _V64Q([0] * 64))
        return _call(builder, "llvm.vector.reduce.xor.v64i64", I64, terms)

    return types.uint64(words, types.uint64), codegen


@intrinsic
def replace_64(typingctx, words, bit, word):
    """XOR `word` to all words[p] that have `bit`; returns which, as bits. words is uint64 (64,)."""

    def codegen(context, builder, signature, arguments):
        words, bit, word = arguments
        data = context.make_array(signature.args[0])(context, builder, words).data
        before = load(builder, _V64Q, data)
        common = builder.and_(before, same_elements(builder, bit, 64))
        held = builder.icmp_unsigned("!=", common, _V64Q([0] * 64))
        added = builder.xor(before, same_elements(builder, word, 64))
        store(builder, builder.select(held, added, before), data)
        return builder.bitcast(held, I64)

    return types.uint64(words, types.uint64, types.uint64), codegen


@intrinsic
def make_units_64(typingctx, words, chosen):
    """words[p] = 1 << p for the set bits p of `chosen`; words is uint64 (64,)."""

    def codegen(context, builder, signature, arguments):
        words, chosen = arguments
        data = context.make_array(signature.args[0])(context, builder, words).data
        units = _V64Q([1 << p for p in range(64)])
        before = load(builder, _V64Q, data)
        store(builder, builder.select(builder.bitcast(chosen, _FLAGS), units, before), data)
        return context.get_dummy_value()

    return types.void(words, types.uint64), codegen


@intrinsic
def xor_at_64(typingctx, words, chosen, word, cleared):
    """XOR `word` to words[p] for the set bits p of `chosen`, clear those of `cleared`.

    words is uint64 (64,).
    """

    def codegen(context, builder, signature, arguments):
        words, chosen, word, cleared = arguments
        data = context.make_array(signature.args[0])(context, builder, words).data
        before = load(builder, _V64Q, data)
        added = builder.xor(before, same_elements(builder, word, 64))
        after = builder.select(builder.bitcast(chosen, _FLAGS), added, before)
        zeros = _V64Q([0] * 64)
        store(builder, builder.select(builder.bitcast(cleared, _FLAGS), zeros, after), data)
        return context.get_dummy_value()

    return types.void(words, types.uint64, types.uint64, types.uint64), codegen


@intrinsic
def spread_8(typingctx, words, at, word):
    """words.flat[at : at + 8] = word, all uint64."""

    def codegen(context, builder, signature, arguments):
        words, at, word = arguments
        place = element_pointer(context, builder, signature.args[0], words, at)
        store(builder, same_elements(builder, word, 8), place)
        return context.get_dummy_value()

    return types.void(words, types.intp, types.uint64), codegen


@intrinsic
def child_costs(typingctx, outputs, choices, free, count, costs):
    """Costs of `count` children, as of `f2f.encoder.shaping.Hypotheses`; returns the least.

    Child c, choice x = c mod 2**free of hypothesis h = c >> free, costs what stands in the last row
    of outputs for h, and the distances of the words before it from choices[:, x]; at most
    DEAREST - 1. The eight children of a turn find theirs side by side. Written in eights.
    """

    def codegen(context, builder, signature, arguments):
        outputs, choices, free, count, costs = arguments
        kinds = signature.args
        outputs = context.make_array(kinds[0])(context, builder, outputs)
        choices = context.make_array(kinds[1])(context, builder, choices)
        words, x_stride = cgutils.unpack_tuple(builder, choices.shape)
        _, h_stride = cgutils.unpack_tuple(builder, outputs.shape)
        few = builder.icmp_signed("<", free, I64(3))
        shift = builder.select(few, I64(3), free)
        wrap = builder.sub(builder.shl(I64(1), shift), I64(1))
        dearest = _V8Q([DEAREST - 1] * 8)
        least = cgutils.alloca_once_value(builder, dearest)
        total = cgutils.alloca_once(builder, _V8Q)

        def row_of(array: Any, row: Any, stride: Any, at: Any) -> Any:
            place = builder.add(builder.mul(row, stride), at)
            return load(builder, _V8Q, builder.gep(array.data, [place]))

        steps = builder.lshr(builder.add(count, I64(7)), I64(3))
        with cgutils.for_range(builder, steps) as loop:
            first = builder.shl(loop.index, I64(3))
            h = builder.shl(builder.lshr(first, shift), I64(3))
            x = builder.and_(first, wrap)
            builder.store(row_of(outputs, words, h_stride, h), total)
            with cgutils.for_range(builder, words) as inner:
                output = row_of(outputs, inner.index, h_stride, h)
                choice = row_of(choices, inner.index, x_stride, x)
                ones = _call(builder, "llvm.ctpop.v8i64", _V8Q, builder.xor(output, choice))
                builder.store(builder.add(builder.load(total), ones), total)
            value = _minimum(builder, builder.load(total), dearest)
            builder.store(_minimum(builder, builder.load(least), value), least)
            place = element_pointer(context, builder, kinds[4], costs, first)
            store(builder, builder.trunc(value, ir.VectorType(_I16, 8)), place)
        return _call(builder, "llvm.vector.reduce.umin.v8i64", I64, builder.load(least))

    return types.int64(outputs, choices, types.int64, types.int64, costs), codegen


@intrinsic
def flags_64(typingctx, values, at, limit):
    """uint64: bit i is set if values[at + i] < limit; values is int16, limit an int64."""

    def codegen(context, builder, signature, arguments):
        values, at, limit = arguments
        data = context.make_array(signature.args[0])(context, builder, values).data
        found = load(builder, ir.VectorType(_I16, 64), builder.gep(data, [at]))
        limits = same_elements(builder, builder.trunc(limit, _I16), 64)
        return builder.bitcast(builder.icmp_signed("<", found, limits), I64)

    return types.uint64(values, types.intp, types.int64), codegen


@intrinsic
def parities_8(typingctx, masks, at, word):
    """uint8: bit i is the parity of word & masks.flat[at + i]; masks is uint64."""

    def codegen(context, builder, signature, arguments):
        masks, at, word = arguments
        data = context.make_array(signature.args[0])(context, builder, masks).data
        rows = load(builder, _V8Q, builder.gep(data, [at]))
        common = builder.and_(rows, same_elements(builder, word, 8))
        count = _call(builder, "llvm.ctpop.v8i64", _V8Q, common)
        odd = builder.trunc(count, ir.VectorType(I1, 8))
        return builder.bitcast(odd, I8)

    return types.uint8(masks, types.intp, types.uint64), codegen
