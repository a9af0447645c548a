"""The sparse way through a chunk: the care positions listed, each weight looked up and multiplied.

For every dtype, order and number of columns; `f2f.product.cpu` says when it is taken.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from f2f.base.intrinsics import borrowed
from f2f.decoder.gates import IDENTITY
from f2f.format.operands import GOLDEN
from f2f.format.places import golden_places, segment_places
from f2f.format.stages import (
    CHUNK,
    CONTRACT,
    advance,
    bits_at,
    chunk_bytes,
    list_positions,
    read_mask,
    read_planes,
)


@njit(nogil=True, cache=True)
def add_sparse(
    fixed, groups, tables, offset, raw, mask, lists, flips, walk, share, start, x, y, scratch
):
    """Add the product of positions share[0] … share[1]-1 to y, the sparse way.

    fixed: (gates, code of the dtype). raw: (where, bits) of the raw planes. walk: (kind,
    segment, cols, step, index of the first position). start: (rank, cursors). x: (cols, m),
    y: (rows, m), permuted. scratch: of the backend.
    """
    gates, code = fixed
    groups, tables, raw_bits = borrowed(groups), borrowed(tables), borrowed(raw[1])
    raw_planes, lists, flips = borrowed(raw[0]), borrowed(lists), borrowed(flips)
    mask_kind, inverted, bitmap, streams = mask[0], mask[1], mask[2], borrowed(mask[3])
    rank, cursor, x, y = start[0], borrowed(start[1]), borrowed(x), borrowed(y)
    buffer, weights, words = borrowed(scratch[0]), borrowed(scratch[1]), borrowed(scratch[2])
    before, windows, positions = borrowed(scratch[3]), borrowed(scratch[4]), borrowed(scratch[5])
    places, bits, floats = borrowed(scratch[6]), borrowed(scratch[7]), borrowed(scratch[8])
    steps = borrowed(scratch[9])
    kind, segment, cols, step, walk_index = walk
    stride = chunk_bytes(gates.n_out)
    work = buffer[len(groups) * stride :]
    for lo in range(share[0], share[1], CHUNK):
        count = min(CHUNK, share[1] - lo)
        read_mask(mask_kind, inverted, bitmap, streams, lists, cursor, lo, count, words, before)
        care = list_positions(words, count, positions)
        for c in range(care):
            bits[c] = offset
        for g in range(len(groups)):
            at = g * stride
            # The tables say what stored bytes stand for.
            read_planes(groups[g], gates, IDENTITY, work, windows[g], lo, count, buffer, at)
            for c in range(care):
                bits[c] ^= tables[g, buffer[at + positions[c]]]
        for r in range(len(raw_planes)):
            for c in range(care):
                bit = bits_at(raw_planes[r, 0], raw_planes[r, 1], lo + positions[c])
                bits[c] ^= raw_bits[r] * np.uint32(bit & np.uint64(1))
        for p in range(len(flips)):
            while cursor[2, p] < rank + care:
                bits[cursor[2, p] - rank] ^= flips[p]
                advance(lists, p, cursor)
        rank += care
        _numbers(code, bits, floats, care, weights)
        if kind == GOLDEN:
            walk_index = golden_places(
                steps, walk_index, segment, cols, positions, care, count, places
            )
        else:
            segment_places(kind, segment, cols, step, lo, positions, care, places)
        if x.shape[1] == 1:
            for c in range(care):
                y[places[0, c], 0] += weights[c] * x[places[1, c], 0]
        else:
            for c in range(care):
                _add_row(y[places[0, c]], weights[c], x[places[1, c]])


@njit(nogil=True, cache=True, fastmath=CONTRACT)
def _add_row(y, weight, x):
    for m in range(len(y)):
        y[m] += weight * x[m]


INT8, UINT8, INT16, FLOAT16, BFLOAT16, FLOAT32 = range(6)
CODES = {
    "int8": INT8,
    "uint8": UINT8,
    "int16": INT16,
    "float16": FLOAT16,
    "bfloat16": BFLOAT16,
    "float32": FLOAT32,
}


@njit(nogil=True, cache=True)
def _numbers(code, bits, floats, care, weights):
    """The numbers that the weights' bits stand for; `floats` is the memory of `bits`."""
    if code == INT8:
        for c in range(care):
            weights[c] = np.int8(bits[c])
    elif code == UINT8:
        for c in range(care):
            weights[c] = np.uint8(bits[c])
    elif code == INT16:
        for c in range(care):
            weights[c] = np.int16(bits[c])
    else:
        if code == FLOAT16:
            for c in range(care):
                bits[c] = _single(bits[c])
        elif code == BFLOAT16:
            for c in range(care):
                bits[c] <<= np.uint32(16)
        for c in range(care):
            weights[c] = floats[c]


@njit(nogil=True, cache=True, inline="always")
def _single(half):
    """The float32 bits of float16 bits, exact; NaN stays NaN."""
    sign = (half & np.uint32(0x8000)) << np.uint32(16)
    exponent = (half >> np.uint32(10)) & np.uint32(31)
    fraction = (half & np.uint32(0x3FF)) << np.uint32(13)
    if exponent == 31:
        return sign | np.uint32(0x7F800000) | fraction
    if exponent:
        return sign | ((exponent + np.uint32(112)) << np.uint32(23)) | fraction
    if fraction == 0:
        return sign
    exponent = np.uint32(113)
    while not fraction & np.uint32(0x800000):
        fraction <<= np.uint32(1)
        exponent -= np.uint32(1)
    return sign | (exponent << np.uint32(23)) | (fraction & np.uint32(0x7FFFFF))
