"""Streams of one plane, such as those of a mask, at the speed of eight planes.

Eight segments of a stream are decoded side by side, as if they were planes: each starts at a block
of its own, and all have as many. What comes out are bytes with a bit of each segment; 64 of them
transposed are a word of each. So the bits of a segment lie in order, whatever n_out is, and only
have to be shifted to where they belong.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from f2f.base.intrinsics import (
    I32,
    I64,
    V64,
    borrowed,
    byte_pointer,
    bytes_from,
    integers_from,
    load,
    permute,
    store,
    words_from,
)
from f2f.base.jit import njit
from f2f.decoder import avx2, gfni, plain
from f2f.decoder.gates import (
    IDENTITY,
    SLACK,
    Avx2Gates,
    GfniGates,
    PlainGates,
    decode_flat,
    work_bytes,
)

SEGMENTS = 8
SEGMENT_BITS = 1024  # of a range that is decoded at once, and up to two blocks more


def stream_work_bytes(n_out: int, n_s: int) -> int:
    """Bytes of the work array of `and_stream`, more for a larger n_out.

    Parameters
    ----------
    n_out, n_s : int
        Of the stream's decoder.

    Returns
    -------
    int
        Room for where segments start, their vectors, decoded bytes, bits, and `decode_blocks`.
    """
    vectors = 8 * SEGMENTS + _lines(8 * (SEGMENT_BITS + 2 + n_s))
    decoded = _lines(SEGMENT_BITS + 2 * n_out + SLACK)
    return vectors + decoded + 8 * SEGMENTS * _stride(n_out) + work_bytes(n_s)


@njit(inline="always")
def _lines(count):
    """The bytes of whole cache lines that hold `count` bytes."""
    return (count + 63) // 64 * 64


def with_matrix(gates, n_out, n_s, matrix):
    """Gates of the same lowering for another matrix (not in a folded form); in numba code only."""


@overload(with_matrix)
def _with_matrix(gates, n_out, n_s, matrix):
    kind = gates.instance_class
    return lambda gates, n_out, n_s, matrix: kind(n_out, n_s, 0, matrix)


def _split_planes(gates, source, count, words, stride):
    """Bit q of byte 64*w + i of source to bit i of word q*stride + w of words; w < count."""


@overload(_split_planes)
def _choose_split(gates, source, count, words, stride):
    kinds = {GfniGates: gfni, Avx2Gates: avx2, PlainGates: plain}
    split = kinds[gates.instance_class].split_planes
    return lambda gates, source, count, words, stride: split(source, count, words, stride)


@njit
def and_stream(inputs, gates, lo, hi, packed, work):
    """AND places lo … hi-1 of a stream into packed.

    Kernel. inputs: uint8 (vectors,), all of the stream. gates: of its decoder. packed: uint64,
    place lo + i is bit i % 64 of packed[i // 64]; bits over hi-lo stay as they are. work: uint8
    (stream_work_bytes(n_out, n_s),), at a cache line.
    """
    n_out = gates.n_out
    inputs, packed, work = bytes_from(inputs, 0), borrowed(packed), bytes_from(work, 0)
    starts = integers_from(work, 0)
    place = lo
    while place < hi:
        first = place // n_out
        left = (hi - 1) // n_out + 1 - first
        blocks = min((left + SEGMENTS - 1) // SEGMENTS, (SEGMENT_BITS + 2 * n_out) // n_out)
        for q in range(SEGMENTS):
            starts[q] = first + q * blocks
        bits = _decode_segments(inputs, gates, starts, blocks, work)
        for q in range(SEGMENTS):
            stop = min(hi, (starts[q] + blocks) * n_out)
            if place < stop:
                source = place - starts[q] * n_out
                _and_segment(bits, q * _stride(n_out), source, packed, place - lo, stop - lo)
                place = stop


@njit
def _decode_segments(inputs, gates, starts, blocks, work):
    """The bits of eight segments of `blocks` blocks from blocks starts[q] on.

    Returns uint64, a view of work: bit i of segment q is bit i % 64 of word
    ``q*_stride(n_out) + 1 + i//64``. There is a word before the first and one behind the last, of
    any value.
    """
    n_out, count = gates.n_out, blocks + gates.n_s
    staged = bytes_from(work, 8 * SEGMENTS)
    _stage_segments(inputs, starts, count, staged)
    at = 8 * SEGMENTS + _lines(8 * (SEGMENT_BITS + 2 + gates.n_s))
    decoded = bytes_from(work, at)
    at += _lines(SEGMENT_BITS + 2 * n_out + SLACK)
    bits = bytes_from(work, at)
    at += 8 * SEGMENTS * _stride(n_out)
    decode_flat(staged, 8, 0, blocks, gates, IDENTITY, decoded, 0, bytes_from(work, at))
    count = (blocks * n_out + 63) // 64
    _split_planes(gates, decoded, count, bytes_from(bits, 8), _stride(n_out))
    return words_from(bits, 0)


@njit(inline="always")
def _stride(n_out):
    """Words from the bits of a segment to those of the next."""
    return (SEGMENT_BITS + 2 * n_out + 63) // 64 + 2


@njit(inline="always")
def _stage_segments(inputs, starts, count, staged):
    """staged[8*t + q] = inputs[starts[q] + t], t < count; anything behind the stream's end."""
    last = 0
    for q in range(SEGMENTS):
        last = max(last, starts[q])
    if last + ((count + 7) & ~7) <= len(inputs):
        interleave(inputs, starts, count, staged)
        return
    for q in range(SEGMENTS):
        for t in range(min(count, len(inputs) - starts[q])):
            staged[8 * t + q] = inputs[starts[q] + t]


@intrinsic
def interleave(typingctx, source, starts, count, staged):
    """staged[8*t + q] = source[starts[q] + t], t < count rounded up to eights."""

    def codegen(context, builder, signature, arguments):
        source, starts, count, staged = arguments
        kinds = signature.args
        origin = byte_pointer(context, builder, kinds[0], source, I64(0))
        target = byte_pointer(context, builder, kinds[3], staged, I64(0))
        places = context.make_array(kinds[1])(context, builder, starts).data
        segments = [
            builder.gep(origin, [builder.load(builder.gep(places, [I64(q)]))])
            for q in range(SEGMENTS)
        ]
        steps = builder.udiv(builder.add(count, I64(7)), I64(8))
        with cgutils.for_range(builder, steps) as loop:
            first = builder.mul(loop.index, I64(8))
            words: Any = ir.Constant(ir.VectorType(I64, 8), ir.Undefined)
            for q, segment in enumerate(segments):
                word = load(builder, I64, builder.gep(segment, [first]))
                words = builder.insert_element(words, word, I32(q))
            lanes = builder.bitcast(words, V64)
            by_step = permute(builder, lanes, lanes, [8 * (i % 8) + i // 8 for i in range(64)])
            store(builder, by_step, builder.gep(target, [builder.mul(first, I64(8))]))
        return context.get_dummy_value()

    return types.void(source, starts, types.intp, staged), codegen


@intrinsic
def _and_shifted(typingctx, bits, at, shift, packed, first, count):
    """packed[first + w] &= bits at…: 64 of them from bit `shift` of word at + w on; w < count."""

    def codegen(context, builder, signature, arguments):
        bits, at, shift, packed, first, count = arguments
        kinds = signature.args
        source = builder.gep(context.make_array(kinds[0])(context, builder, bits).data, [at])
        target = builder.gep(context.make_array(kinds[3])(context, builder, packed).data, [first])

        def step(kind: Any, word: Any) -> None:
            def spread(value: Any) -> Any:
                if kind is I64:
                    return value
                one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, I32(0))
                return permute(builder, one, one, [0] * kind.count)

            here = builder.gep(source, [word])
            low = load(builder, kind, here)
            high = load(builder, kind, builder.gep(here, [I64(1)]))
            # Two shifts: one by 64 would be undefined.
            high = builder.shl(
                builder.shl(high, spread(I64(1))), spread(builder.xor(shift, I64(63)))
            )
            value = builder.or_(builder.lshr(low, spread(shift)), high)
            place = builder.gep(target, [word])
            store(builder, builder.and_(load(builder, kind, place), value), place)

        groups = builder.udiv(count, I64(4))
        with cgutils.for_range(builder, groups) as loop:
            step(ir.VectorType(I64, 4), builder.mul(loop.index, I64(4)))
        done = builder.mul(groups, I64(4))
        with cgutils.for_range(builder, builder.sub(count, done)) as loop:
            step(I64, builder.add(done, loop.index))
        return context.get_dummy_value()

    word = types.intp
    return types.void(bits, word, types.uint64, packed, word, word), codegen


@njit(forceinline=True)
def _and_segment(bits, at, source, packed, begin, end):
    """AND bits of a segment, from bit `source` of word at+1 on, to bits begin … end-1 of packed."""
    ones = ~np.uint64(0)
    first, last = begin >> 6, (end - 1) >> 6
    source += 64 * first - begin  # of the first word's lowest bit; may lie before the segment
    at, shift = at + 1 + (source >> 6), np.uint64(source & 63)
    # What lies beside the range in the first and the last word stays as it is.
    below, above = packed[first], packed[last]
    _and_shifted(bits, at, shift, packed, first, last + 1 - first)
    outside = ~(ones << np.uint64(begin & 63))
    packed[first] |= below & outside
    outside = ~(ones >> np.uint64(63 - ((end - 1) & 63)))
    packed[last] |= above & outside
