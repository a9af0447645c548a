"""Streams of one plane, such as those of a mask, at the speed of eight planes.

Eight segments of a stream are decoded side by side, as if they were planes: they follow each other,
and all have as many blocks. What comes out are bytes with a bit of each segment; 64 of them
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
SEGMENT_BITS = 4096  # decoded at once, and up to a block more


def stream_work_bytes(n_out: int, n_s: int) -> int:
    """Bytes of the work array of `and_stream`, more for a larger n_out.

    Parameters
    ----------
    n_out, n_s : int
        Of the stream's decoder.

    Returns
    -------
    int
        Room for the segments' vectors, decoded bytes, bits, and `decode_blocks`.
    """
    bits = 8 * SEGMENTS * _stride(n_out)
    return _vector_bytes(n_s) + _decoded_bytes(n_out) + bits + work_bytes(n_s)


@njit(inline="always")
def _vector_bytes(n_s):
    return _lines(SEGMENTS * (SEGMENT_BITS + 1 + n_s))


@njit(inline="always")
def _decoded_bytes(n_out):
    return _lines(SEGMENT_BITS + n_out + SLACK)


@njit(inline="always")
def _lines(count):
    """The bytes of whole cache lines that hold `count` bytes."""
    return (count + 63) // 64 * 64


def _split_planes(gates, source, count, words, stride):
    """Bit q of byte 64*w + i of source to bit i of word q*stride + w of words; w < count."""


@overload(_split_planes)
def _choose_split(gates, source, count, words, stride):
    kinds = {GfniGates: gfni, Avx2Gates: avx2, PlainGates: plain}
    split = kinds[gates.instance_class].split_planes
    return lambda gates, source, count, words, stride: split(source, count, words, stride)


@njit
def and_stream(inputs, gates, n, packed, work):
    """AND the n places of a stream into packed.

    Kernel. inputs: uint8 (vectors,). gates: of its decoder. packed: uint64 (ceil(n / 64),), place i
    is bit i % 64 of word i // 64; bits over n stay as they are. work: uint8
    (stream_work_bytes(n_out, n_s),), at a cache line.
    """
    n_out, stride = gates.n_out, _stride(gates.n_out)
    inputs, packed, work = bytes_from(inputs, 0), borrowed(packed), bytes_from(work, 0)
    first, end = 0, (n + n_out - 1) // n_out
    while first < end:
        blocks = min((end - first + SEGMENTS - 1) // SEGMENTS, SEGMENT_BITS // n_out + 1)
        bits = _decode_segments(inputs, gates, first, blocks, work)
        for q in range(SEGMENTS):
            if first < end:
                behind = min(n, (first + blocks) * n_out)
                _and_segment(bits, q * stride + 1, packed, first * n_out, behind)
            first += blocks


@njit
def _decode_segments(inputs, gates, first, blocks, work):
    """The bits of eight segments of `blocks` blocks, from block `first` on.

    Returns uint64, a view of work: bit i of segment q is bit i % 64 of word
    ``q*_stride(n_out) + 1 + i//64``. There is a word before the first and one behind the last, of
    any value.
    """
    n_out = gates.n_out
    _stage_segments(inputs, first, blocks, blocks + gates.n_s, work)
    at = _vector_bytes(gates.n_s)
    decoded = bytes_from(work, at)
    at += _decoded_bytes(n_out)
    bits = bytes_from(work, at)
    at += 8 * SEGMENTS * _stride(n_out)
    decode_flat(work, SEGMENTS, 0, blocks, gates, IDENTITY, decoded, 0, bytes_from(work, at))
    count = (blocks * n_out + 63) // 64
    _split_planes(gates, decoded, count, bytes_from(bits, 8), _stride(n_out))
    return words_from(bits, 0)


@njit(inline="always")
def _stride(n_out):
    """Words from the bits of a segment to those of the next."""
    return (SEGMENT_BITS + n_out + 63) // 64 + 2


@njit(inline="always")
def _stage_segments(inputs, first, apart, count, staged):
    """staged[8*t + q] = inputs[first + apart*q + t], t < count; anything behind the inputs."""
    if first + apart * (SEGMENTS - 1) + ((count + 7) & ~7) <= len(inputs):
        interleave(inputs, first, apart, count, staged)
        return
    for q in range(SEGMENTS):
        start = first + apart * q
        for t in range(min(count, len(inputs) - start)):
            staged[SEGMENTS * t + q] = inputs[start + t]


@intrinsic
def interleave(typingctx, source, first, apart, count, staged):
    """staged[8*t + q] = source[first + apart*q + t], t < count rounded up to eights."""

    def codegen(context, builder, signature, arguments):
        source, first, apart, count, staged = arguments
        kinds = signature.args
        origin = byte_pointer(context, builder, kinds[0], source, first)
        target = byte_pointer(context, builder, kinds[4], staged, I64(0))
        segments = [builder.gep(origin, [builder.mul(apart, I64(q))]) for q in range(SEGMENTS)]
        steps = builder.udiv(builder.add(count, I64(7)), I64(8))
        with cgutils.for_range(builder, steps) as loop:
            step = builder.mul(loop.index, I64(8))
            words: Any = ir.Constant(ir.VectorType(I64, 8), ir.Undefined)
            for q, segment in enumerate(segments):
                word = load(builder, I64, builder.gep(segment, [step]))
                words = builder.insert_element(words, word, I32(q))
            lanes = builder.bitcast(words, V64)
            by_step = permute(builder, lanes, lanes, [8 * (i % 8) + i // 8 for i in range(64)])
            store(builder, by_step, builder.gep(target, [builder.mul(step, I64(8))]))
        return context.get_dummy_value()

    word = types.intp
    return types.void(source, word, word, word, staged), codegen


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
def _and_segment(bits, at, packed, begin, end):
    """AND bits of a segment, from word `at` on, to bits begin … end-1 of packed."""
    ones = ~np.uint64(0)
    first, last, offset = begin >> 6, (end - 1) >> 6, begin & 63
    # What lies beside the range in the first and the last word stays as it is.
    below, above = packed[first], packed[last]
    _and_shifted(bits, at - (offset > 0), np.uint64(-offset & 63), packed, first, last + 1 - first)
    packed[first] |= below & ~(ones << np.uint64(offset))
    packed[last] |= above & ~(ones >> np.uint64(63 - ((end - 1) & 63)))
