"""The byte shuffles of `f2f.decoder.gates`, written as LLVM vector operations for AVX2."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from f2f.base.intrinsics import (
    AVX2,
    I64,
    V16,
    V32,
    byte_pointer,
    byte_shuffle,
    is_bytes,
    load,
    permute,
    same_bytes,
    store,
)
from f2f.decoder.folded import FOLD, N_S

GROUP = 32  # rows of one shuffle
TABLES = 32  # bytes of the two nibble tables of an input vector

_V4x64 = ir.VectorType(I64, 4)


def _make_xor_shuffles(groups: int, blocks: int, tail: bool) -> Any:
    """Kernel for `groups` groups of 32 rows, then with `tail` one of <= 16, of 1 or 2 blocks."""

    @intrinsic
    def xor_shuffles(
        typingctx, tables, table_at, index, index_at, nibbles, offset, out, out_at, n_out
    ):
        if not all(is_bytes(array) for array in (tables, index, out)):
            return None
        word = types.intp
        signature = types.void(tables, word, index, word, word, types.uint8, out, word, word)

        def codegen(context, builder, signature, arguments):
            if not AVX2:  # never called there, but compiled
                return context.get_dummy_value()
            tables, table_at, index, index_at, nibbles, offset, out, out_at, n_out = arguments
            kinds = signature.args
            table_pointer = byte_pointer(context, builder, kinds[0], tables, table_at)
            index_pointer = byte_pointer(context, builder, kinds[2], index, index_at)
            out_pointer = byte_pointer(context, builder, kinds[6], out, out_at)
            shuffle = byte_shuffle(builder)
            start = same_bytes(builder, offset)
            sums = [
                cgutils.alloca_once_value(builder, start) for _ in range(groups * blocks + tail)
            ]
            group_bytes = builder.mul(nibbles, I64(GROUP))

            def add(total: Any, table: Any, lanes: Any) -> None:
                found = builder.call(shuffle, [table, lanes])
                builder.store(builder.xor(builder.load(total), found), total)

            with cgutils.for_range(builder, nibbles) as loop:
                found = []
                for b in range(blocks):
                    at = builder.add(builder.mul(loop.index, I64(16)), I64(TABLES * b))
                    table = load(builder, V16, builder.gep(table_pointer, [at]))
                    found.append(permute(builder, table, table, list(range(16)) * 2))
                for g in range(groups + tail):
                    at = builder.add(
                        builder.mul(loop.index, I64(GROUP)), builder.mul(group_bytes, I64(g))
                    )
                    lanes = load(builder, V32, builder.gep(index_pointer, [at]))
                    if g < groups:
                        for b in range(blocks):
                            add(sums[g * blocks + b], found[b], lanes)
                    else:
                        halves = list(range(16)) + list(range(48, 64))
                        both = permute(builder, found[0], found[1], halves)
                        add(sums[-1], both, lanes)
            for b in range(blocks):
                to = builder.gep(out_pointer, [builder.mul(n_out, I64(b))])
                for g in range(groups):
                    value = builder.load(sums[g * blocks + b])
                    store(builder, value, builder.gep(to, [I64(GROUP * g)]))
                if tail:
                    both = builder.load(sums[-1])
                    half = permute(builder, both, both, list(range(16 * b, 16 * b + 16)))
                    store(builder, half, builder.gep(to, [I64(GROUP * groups)]))
            return context.get_dummy_value()

        return signature, codegen

    return xor_shuffles


full_1x1 = _make_xor_shuffles(1, 1, tail=False)
full_1x2 = _make_xor_shuffles(1, 2, tail=False)
full_2x2 = _make_xor_shuffles(2, 2, tail=False)
full_3x2 = _make_xor_shuffles(3, 2, tail=False)
tail_0x2 = _make_xor_shuffles(0, 2, tail=True)
tail_1x2 = _make_xor_shuffles(1, 2, tail=True)
tail_2x2 = _make_xor_shuffles(2, 2, tail=True)


def _linear_map(context: Any, builder: Any, kind: Any, linear: Any, words: Any) -> Any:
    """The bytes of a vector under a linear map over GF(2), given by the tables of its nibbles."""
    value = builder.bitcast(words, V32)
    halves = (builder.and_(value, V32([15] * 32)), builder.lshr(value, V32([4] * 32)))
    found = []
    for number, lanes in enumerate(halves):
        place = byte_pointer(context, builder, kind, linear, I64(16 * number))
        table = load(builder, V16, place)
        both = permute(builder, table, table, list(range(16)) * 2)
        found.append(builder.call(byte_shuffle(builder), [both, lanes]))
    return builder.bitcast(builder.xor(*found), words.type)


@intrinsic
def four_tables(typingctx, vectors, vector_at, linear, tables, table_at):
    """Nibble tables of four input vectors (32 bytes in, 128 out), mapped as `_linear_map` does."""
    if not all(is_bytes(array) for array in (vectors, linear, tables)):
        return None
    signature = types.void(vectors, types.intp, linear, tables, types.intp)

    def codegen(context, builder, signature, arguments):
        if not AVX2:
            return context.get_dummy_value()
        vectors, vector_at, linear, tables, table_at = arguments
        source = byte_pointer(context, builder, signature.args[0], vectors, vector_at)
        target = byte_pointer(context, builder, signature.args[3], tables, table_at)
        words = load(builder, _V4x64, source)
        # Transpose the 8 x 8 bits of each vector: byte i becomes bit i of all planes.
        swaps = ((7, 0x00AA00AA00AA00AA), (14, 0x0000CCCC0000CCCC), (28, 0x00000000F0F0F0F0))
        for shift, mask in swaps:
            distance = _V4x64([shift] * 4)
            swap = builder.xor(words, builder.lshr(words, distance))
            swap = builder.and_(swap, _V4x64([mask] * 4))
            words = builder.xor(builder.xor(words, swap), builder.shl(swap, distance))
        words = _linear_map(context, builder, signature.args[2], linear, words)
        # Pairs (byte i, byte i ^ byte i+1) hold the non-zero combinations of two bits.
        single = builder.bitcast(words, V32)
        double = builder.bitcast(builder.xor(words, builder.lshr(words, _V4x64([8] * 4))), V32)
        pairs = []
        for half in (0, 8):
            lanes = [at for i in range(half, half + 8) for at in (i, i + 32)]
            lanes += [at for i in range(16 + half, 24 + half) for at in (i, i + 32)]
            pairs.append(permute(builder, single, double, lanes))
        shuffle = byte_shuffle(builder)
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
                    parts.append(builder.call(shuffle, [pair, V32(lanes * 2)]))
                of_nibble.append(builder.xor(parts[0], parts[1]))
            for half in range(2):
                lanes = list(range(16 * half, 16 * half + 16))
                both = lanes + [32 + lane for lane in lanes]
                value = permute(builder, of_nibble[0], of_nibble[1], both)
                store(builder, value, builder.gep(target, [I64(TABLES * (j + 2 * half))]))
        return context.get_dummy_value()

    return signature, codegen


def _make_folded_shuffles(blocks: int) -> Any:
    """Kernel for all rows of 1 or 2 consecutive blocks of a folded matrix."""

    @intrinsic
    def folded_shuffles(typingctx, tables, table_at, index, groups, offset, out, out_at, n_out):
        """table_at: of the oldest vector of the first block.

        The last group is written first, and the first block's before the second's: what the last
        rows spill must not outlive the next block's first.
        """
        if not all(is_bytes(array) for array in (tables, index, out)):
            return None
        word = types.intp
        signature = types.void(tables, word, index, word, types.uint8, out, word, word)

        def codegen(context, builder, signature, arguments):
            if not AVX2:  # never called there, but compiled
                return context.get_dummy_value()
            tables, table_at, index, groups, offset, out, out_at, n_out = arguments
            kinds = signature.args
            table_pointer = byte_pointer(context, builder, kinds[0], tables, table_at)
            index_pointer = byte_pointer(context, builder, kinds[2], index, I64(0))
            out_pointer = byte_pointer(context, builder, kinds[5], out, out_at)
            shuffle = byte_shuffle(builder)
            vectors = [
                load(builder, V32, builder.gep(table_pointer, [I64(TABLES * t)]))
                for t in range(N_S + blocks)
            ]
            folds = [_fold(builder, vectors[b : b + N_S + 1]) for b in range(blocks)]
            start = same_bytes(builder, offset)
            for fold in folds:
                fold[0] = builder.xor(fold[0], start)
            with cgutils.for_range(builder, groups) as loop:
                group = builder.sub(builder.sub(groups, I64(1)), loop.index)
                at = builder.mul(group, I64(len(FOLD) * GROUP))
                sums: list[Any] = [None] * blocks
                for k in range(len(FOLD)):
                    place = builder.gep(index_pointer, [builder.add(at, I64(GROUP * k))])
                    lanes = load(builder, V32, place)
                    for b in range(blocks):
                        found = builder.call(shuffle, [folds[b][k], lanes])
                        sums[b] = found if k == 0 else builder.xor(sums[b], found)
                to = builder.gep(out_pointer, [builder.mul(group, I64(GROUP))])
                for b in range(blocks):
                    store(builder, sums[b], builder.gep(to, [builder.mul(n_out, I64(b))]))
            return context.get_dummy_value()

        return signature, codegen

    return folded_shuffles


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


folded_1 = _make_folded_shuffles(1)
folded_2 = _make_folded_shuffles(2)
