"""Words from the decoded bytes of their groups of planes: a linear map over GF(2).

Byte b of a word is the offset's, XOR for every group the image of its stored byte under a map of
8 x 8 bits. How 64 bytes are mapped depends on the processor, as in `f2f.decoder`: by one
instruction (GFNI), by a lookup for each of two nibbles (AVX2), or bit by bit; then zero maps are
left out, of which there are many, for a basis is nearly the identity.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from f2f.base.intrinsics import (
    I8,
    I32,
    I64,
    V16,
    V64,
    byte_pointer,
    byte_shuffle,
    element_pointer,
    load,
    permute,
    same_bytes,
    same_elements,
    store,
)
from f2f.decoder import gfni
from f2f.decoder.gates import LOWERINGS
from f2f.format.tiles import SIDE, line_places, unpacked

_MAP = 32  # bytes of a map, whatever the lowering uses of them


def byte_maps(tables: np.ndarray, itemsize: int, lowering: str = LOWERINGS[0]) -> np.ndarray:
    """The maps of tables uint32 (groups, 256), the images of whole stored bytes in words.

    Returns uint8 (groups, itemsize, 32): for each byte of a word its map, in a form that is the
    lowering's own, zero for a zero map.
    """
    shifts = 8 * np.arange(itemsize, dtype=np.uint32)
    images = (tables[:, None] >> shifts[:, None]).astype(np.uint8)
    columns = images[..., 1 << np.arange(8)]
    maps = np.zeros((len(tables), itemsize, _MAP), dtype=np.uint8)
    if lowering == "gfni":  # byte 7-i: which bits of the stored byte bit i of the image is a sum of
        bits = columns[..., None, :] >> np.arange(7, -1, -1, dtype=np.uint8)[:, None] & 1
        maps[..., :8] = np.packbits(bits, axis=-1, bitorder="little")[..., 0]
    elif lowering == "avx2":
        maps[..., :16], maps[..., 16:] = images[..., :16], images[..., ::16]
    else:
        maps[..., :8] = columns
    return maps


def _image(builder: Any, lowering: str, line: Any, place: Any) -> Any:
    """The images of 64 bytes under the map at a place."""
    if lowering == "gfni":
        matrix = same_elements(builder, load(builder, I64, place), 8)
        return gfni.gf2_affine(builder, matrix, line)
    if lowering == "avx2":
        tables = [load(builder, V16, builder.gep(place, [I64(at)])) for at in (0, 16)]
        tables = [permute(builder, table, table, list(range(16)) * 2) for table in tables]
        nibbles = builder.and_(line, V64([15] * SIDE)), builder.lshr(line, V64([4] * SIDE))
        halves = []
        for at in (0, 32):
            parts = [permute(builder, part, part, list(range(at, at + 32))) for part in nibbles]
            pairs = zip(tables, parts, strict=True)
            halves.append(builder.xor(*(builder.call(byte_shuffle(builder), p) for p in pairs)))
        return permute(builder, halves[0], halves[1], list(range(SIDE)))
    total: Any = V64([0] * SIDE)
    for bit in range(8):
        column = same_bytes(builder, load(builder, I8, builder.gep(place, [I64(bit)])), V64)
        chosen = builder.ashr(builder.shl(line, V64([7 - bit] * SIDE)), V64([7] * SIDE))
        total = builder.xor(total, builder.and_(chosen, column))
    return total


def _add_image(builder: Any, lowering: str, line: Any, place: Any, total: Any) -> None:
    """Add the images of 64 bytes under the map at a place to what is stored at `total`."""

    def add() -> None:
        image = _image(builder, lowering, line, place)
        builder.store(builder.xor(builder.load(total), image), total)

    if lowering == "gfni":
        add()
        return
    kind = ir.IntType(8 * _MAP)
    with builder.if_then(builder.icmp_unsigned("!=", load(builder, kind, place), kind(0))):
        add()


def _interleaved(builder: Any, parts: list[Any]) -> list[Any]:
    """Words, in vectors, of vectors with a byte of each; lowest first, lane by lane."""
    rows = [[part] for part in parts]
    while len(rows) > 1:
        pairs = []
        for low, high in zip(rows[::2], rows[1::2], strict=True):
            count = low[0].type.count // 2
            wide = ir.VectorType(ir.IntType(8 * SIDE // count), count)
            pairs.append(
                [
                    builder.bitcast(unpacked(builder, a, b, half), wide)
                    for a, b in zip(low, high, strict=True)
                    for half in (0, 1)
                ]
            )
        rows = pairs
    return rows[0]


def _field(builder: Any, kind: Any, value: Any, name: str) -> tuple[Any, Any]:
    """A field of a NamedTuple: its numba type and its value."""
    number = kind.fields.index(name)
    return kind[number], builder.extract_value(value, number)


def line_joiner(lowering: str, in_order: bool) -> Any:
    """The intrinsic `join_line` of a lowering; "in order": of bytes in the order of the words."""

    @intrinsic
    def join_line(typingctx, tile, line, bit, maps, offset, out, to):
        """out[to + i] = a word of the bytes of a line, zero where pruned; i < 64.

        tile: of `f2f.format.expand`. line: where in `lines` that of group 0 is. bit: which of the
        words of `bits` is the line's. maps: of `byte_maps`. offset: uint32. out: unsigned, flat.
        """

        def codegen(context, builder, signature, arguments):
            tile, line, bit, maps, offset, out, to = arguments
            tile_kind, _, _, maps_kind, _, out_kind, _ = signature.args

            def memory(name: str, at: Any) -> Any:
                """Where element `at` of an array of the tile lies."""
                field = _field(builder, tile_kind, tile, name)
                return element_pointer(context, builder, *field, at)

            def number(array: Any, index: Any, kind: Any = I64) -> Any:
                size = I64(kind.width // 8)
                return load(builder, kind, builder.gep(array, [builder.mul(index, size)]))

            source = memory("lines", line)
            _, apart = _field(builder, tile_kind, tile, "apart")
            size = out_kind.dtype.bitwidth // 8
            count = SIDE // size
            order = [int(place) for place in np.argsort(line_places(size))]
            offsets = [builder.trunc(builder.lshr(offset, I32(8 * b)), I8) for b in range(size)]
            sums = [
                cgutils.alloca_once_value(builder, same_bytes(builder, byte, V64))
                for byte in offsets
            ]
            table = byte_pointer(context, builder, maps_kind, maps, I64(0))
            shape = context.make_array(maps_kind)(context, builder, maps).shape
            groups = builder.extract_value(shape, 0)
            for g in range(size):
                with builder.if_then(builder.icmp_signed("<", I64(g), groups), likely=True):
                    place = builder.gep(source, [builder.mul(I64(g), apart)])
                    stored = load(builder, V64, place)
                    if in_order:
                        stored = permute(builder, stored, stored, order)
                    for b, total in enumerate(sums):
                        at = builder.gep(table, [I64(_MAP * (g * size + b))])
                        _add_image(builder, lowering, stored, at, total)
            kind = ir.VectorType(ir.IntType(8 * size), count)
            words = [
                cgutils.alloca_once_value(builder, builder.bitcast(part, kind))
                for part in _interleaved(builder, [builder.load(total) for total in sums])
            ]

            def chosen(word: Any, vector: int) -> Any:
                """The bits of a word for the elements of a vector."""
                part = builder.lshr(word, I64(count * vector))
                part = builder.trunc(part, ir.IntType(count)) if count < SIDE else part
                return builder.bitcast(part, ir.VectorType(ir.IntType(1), count))

            bits = memory("bits", bit)
            _, step = _field(builder, tile_kind, tile, "step")
            flip_kind, flip_array = _field(builder, tile_kind, tile, "flips")
            planes = context.make_array(flip_kind)(context, builder, flip_array).nitems
            flips = memory("flips", I64(0))
            with cgutils.for_range(builder, planes) as loop:
                along = builder.mul(step, builder.add(loop.index, I64(1)))
                wrong, flip = number(bits, along), number(flips, loop.index, I32)
                flip = builder.trunc(flip, kind.element) if size < 4 else flip
                for vector, word in enumerate(words):
                    value = builder.load(word)
                    flipped = builder.xor(value, same_elements(builder, flip, count))
                    value = builder.select(chosen(wrong, vector), flipped, value)
                    builder.store(value, word)
            target = element_pointer(context, builder, out_kind, out, to)
            kept = number(bits, I64(0))
            for vector, word in enumerate(words):
                value = builder.load(word)
                value = builder.select(chosen(kept, vector), value, kind([0] * count))
                store(builder, value, builder.gep(target, [I64(SIDE * vector)]))
            return context.get_dummy_value()

        at = types.intp
        return types.void(tile, at, at, maps, types.uint32, out, at), codegen

    return join_line


join_line = line_joiner(LOWERINGS[0], in_order=False)
join_in_order = line_joiner(LOWERINGS[0], in_order=True)
