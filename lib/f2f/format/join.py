"""Words from the decoded bytes of their groups of planes: a linear map over GF(2), by shuffles.

Each byte of a word is the offset's, XOR for every group the image of its stored byte; the image of
a byte is the XOR of those of its two nibbles, each a lookup among 16.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from f2f.base.intrinsics import (
    AVX2,
    I8,
    I32,
    I64,
    V16,
    V32,
    byte_pointer,
    byte_shuffle,
    load,
    permute,
    same_bytes,
    store,
)
from f2f.base.jit import njit

_TABLES = 32  # bytes of the two nibbles' images


def nibble_maps(tables: np.ndarray, itemsize: int) -> np.ndarray:
    """The images of nibbles, of tables uint32 (groups, 256) of whole bytes.

    Returns uint8 (groups, itemsize, 32): for each byte of a word, its part of the images of the 16
    low nibbles, then of the 16 high ones.
    """
    by_nibble = np.concatenate([tables[:, :16], tables[:, ::16]], axis=1)
    shifts = 8 * np.arange(itemsize, dtype=np.uint32)
    return (by_nibble[:, None] >> shifts[:, None]).astype(np.uint8)


@njit
def join_bytes(stored, begin, maps, offset, words, at, count):
    """words[at + i] = offset, XOR the images of stored[g, begin + i] of all groups g, i < count.

    Parameters
    ----------
    stored : ndarray of uint8, shape (groups or more, …)
    begin : int
    maps : ndarray of uint8, shape (groups, itemsize, 32)
        As `nibble_maps` gives them.
    offset : int
    words : ndarray of unsigned integers of that itemsize, flat
        Up to 31 more than `count` are written.
    at, count : int
    """
    if AVX2:
        _join_vectors(stored, begin, maps, np.uint32(offset), words, at, count)
        return
    for i in range(count):
        word = np.uint32(offset)
        for g in range(len(maps)):
            byte = stored[g, begin + i]
            for b in range(maps.shape[1]):
                image = maps[g, b, byte & 15] ^ maps[g, b, 16 + (byte >> 4)]
                word ^= np.uint32(image) << np.uint32(8 * b)
        words[at + i] = word


def _interleaved(builder: Any, parts: list[Any]) -> Any:
    """Elements of two vectors in turn, and so of more: bytes of words, lowest first."""
    while len(parts) > 1:
        count = parts[0].type.count
        lanes = [lane for i in range(count) for lane in (i, count + i)]
        wide = ir.VectorType(ir.IntType(2 * parts[0].type.element.width), count)
        parts = [
            builder.bitcast(permute(builder, parts[i], parts[i + 1], lanes), wide)
            for i in range(0, len(parts), 2)
        ]
    return parts[0]


@intrinsic
def _join_vectors(typingctx, stored, begin, maps, offset, words, at, count):
    """`join_bytes`, 32 words at once."""
    signature = types.void(stored, types.intp, maps, types.uint32, words, types.intp, types.intp)

    def codegen(context, builder, signature, arguments):
        if not AVX2:  # never called there, but compiled
            return context.get_dummy_value()
        stored, begin, maps, offset, words, at, count = arguments
        kinds = signature.args
        size = kinds[4].dtype.bitwidth // 8
        source = byte_pointer(context, builder, kinds[0], stored, begin)
        tables = byte_pointer(context, builder, kinds[2], maps, I64(0))
        target = byte_pointer(context, builder, kinds[4], words, builder.mul(at, I64(size)))
        rows = context.make_array(kinds[0])(context, builder, stored)
        row = builder.extract_value(rows.strides, 0)
        shape = context.make_array(kinds[2])(context, builder, maps).shape
        groups = builder.extract_value(shape, 0)
        shuffle = byte_shuffle(builder)
        start = [
            same_bytes(builder, builder.trunc(builder.lshr(offset, I32(8 * b)), I8))
            for b in range(size)
        ]
        sums = [cgutils.alloca_once(builder, V32) for _ in range(size)]
        blocks = builder.udiv(builder.add(count, I64(31)), I64(32))
        with cgutils.for_range(builder, blocks) as loop:
            first = builder.mul(loop.index, I64(32))
            for part, total in zip(start, sums, strict=True):
                builder.store(part, total)
            with cgutils.for_range(builder, groups) as group:
                along = builder.add(builder.mul(group.index, row), first)
                byte = load(builder, V32, builder.gep(source, [along]))
                nibbles = (
                    builder.and_(byte, V32([15] * 32)),
                    builder.lshr(byte, V32([4] * 32)),
                )
                for b, total in enumerate(sums):
                    place = builder.mul(group.index, I64(_TABLES * size))
                    place = builder.add(place, I64(_TABLES * b))
                    for half, lanes in enumerate(nibbles):
                        where = builder.add(place, I64(16 * half))
                        table = load(builder, V16, builder.gep(tables, [where]))
                        both = permute(builder, table, table, list(range(16)) * 2)
                        found = builder.call(shuffle, [both, lanes])
                        builder.store(builder.xor(builder.load(total), found), total)
            joined = _interleaved(builder, [builder.load(total) for total in sums])
            store(builder, joined, builder.gep(target, [builder.mul(first, I64(size))]))
        return context.get_dummy_value()

    return signature, codegen
