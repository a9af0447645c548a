"""What the fused product does to a chunk of encoding positions, stage by stage, in numba.

A chunk is a few thousand consecutive positions. Its mask becomes 64-bit words, its planes decoded
bytes, both in buffers that stay in the first-level cache; wrong bits are flipped; what the chunk
then adds to the product is the business of `f2f.product.cpu`. Everything reads the stored
arrays in place, given as addresses (`Operands`), and moves forward only: an Elias-Fano list has a
cursor, which stands at the next position to be used.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import carray, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from f2f.base.intrinsics import (
    BMI2,
    I32,
    I64,
    V32,
    byte_pointer,
    copy_bytes,
    is_bytes,
    load,
    popcount,
    store,
    trailing_zeros,
)
from f2f.decoder.gates import SLACK, decode_blocks
from f2f.format.mask import and_stream

CHUNK = 8192  # positions of a chunk at most; a power of two
DUE = 64  # corrections that wait to be applied together
END = 1 << 62  # the position of a cursor whose list is used up
LIST_FIELDS = 5  # address, bytes, low bits, upper bits, count
CURSOR_FIELDS = 3  # upper bit to read on from, index of the next position, that position
STREAM_FIELDS = 9  # address, vectors, address and three sizes of tables, n_out, words, stride

FULL, BITMAP, STREAMS = 0, 1, 2  # kinds of masks, as in `f2f.format.mask`

# Multiply and add may contract to one instruction: one rounding less, and integers stay exact.
CONTRACT = {"contract"}


@njit(nogil=True, cache=True)
def chunk_bytes(n_out):
    """Bytes of the buffer of a chunk and of what is decoded beyond it, in cache lines."""
    return (CHUNK + 2 * n_out + SLACK + 63) // 64 * 64


@intrinsic
def _at(typingctx, address):
    """An address as a pointer to bytes, for `carray`."""

    def codegen(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.uint8)(types.int64), codegen


@intrinsic
def _words_at(typingctx, address):
    def codegen(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.uint64)(types.int64), codegen


@intrinsic
def _load_word(typingctx, address):
    """The little-endian 64-bit word at an address, which need not be aligned."""

    def codegen(context, builder, signature, arguments):
        return load(builder, I64, builder.inttoptr(arguments[0], ir.IntType(8).as_pointer()))

    return types.uint64(types.int64), codegen


@njit(nogil=True, cache=True)
def _last_word(address, n_bytes, byte):
    """As `_load_word` from `byte` on, with zeros behind the last of n_bytes."""
    word = np.uint64(0)
    data = carray(_at(address), (n_bytes,), np.uint8)
    for i in range(byte, min(byte + 8, n_bytes)):
        word |= np.uint64(data[i]) << np.uint64(8 * (i - byte))
    return word


@njit(nogil=True, cache=True, inline="always")
def bits_at(address, n_bytes, bit):
    """Packed bits from bit `bit` on: 57 at least, then zeros."""
    byte = bit >> 3
    if byte + 8 <= n_bytes:
        return _load_word(address + byte) >> np.uint64(bit & 7)
    return _last_word(address, n_bytes, byte) >> np.uint64(bit & 7)


@intrinsic
def _prefetch(typingctx, address):
    """Ask for the cache line at an address, which need not exist."""

    def codegen(context, builder, signature, arguments):
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), I32, I32, I32])
        prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        place = builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())
        builder.call(prefetch, [place, I32(0), I32(2), I32(1)])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@njit(nogil=True, cache=True, inline="always")
def _low_bits(count):
    return (np.uint64(1) << np.uint64(count)) - np.uint64(1)


@njit(nogil=True, cache=True, inline="always")
def _next(address, n_bytes, low, upper_bits, bit, index):
    """(upper bit behind it, position) of position number `index`, looked for from `bit` on."""
    word = bits_at(address, n_bytes, bit)
    while word == 0:
        bit += 64 - (bit & 7)
        word = bits_at(address, n_bytes, bit)
    bit += np.int64(trailing_zeros(word))
    part = bits_at(address, n_bytes, upper_bits + index * low)  # low < 57: lists are shorter
    return bit + 1, (bit - index) << low | np.int64(part & _low_bits(low))


@njit(nogil=True, cache=True)
def advance(lists, which, cursor):
    """Move cursor[:, which] to the next position of its list (format: `f2f.format.corrections`)."""
    index = cursor[1, which]
    if index == lists[which, 4]:
        cursor[2, which] = END
        return
    cursor[0, which], cursor[2, which] = _next(
        lists[which, 0], lists[which, 1], lists[which, 2], lists[which, 3], cursor[0, which], index
    )
    cursor[1, which] = index + 1


@njit(nogil=True, cache=True)
def find_cursors(lists, which, starts, cursors):
    """cursors[s, :, which] = where list `which` reaches starts[s]; starts in rising order."""
    running = np.zeros((CURSOR_FIELDS, len(lists)), dtype=np.int64)
    advance(lists, which, running)
    for s in range(len(starts)):
        while running[2, which] < starts[s]:
            advance(lists, which, running)
        cursors[s, :, which] = running[:, which]


@njit(nogil=True, cache=True, forceinline=True)
def read_mask(kind, inverted, bitmap, streams, lists, cursor, lo, count, words, before):
    """The mask of positions lo … lo+count-1, bit i%64 of words[i//64]; returns the care positions.

    kind: FULL, BITMAP or STREAMS. bitmap: (address, bytes). streams: int64 (streams,
    STREAM_FIELDS). The last list is the mask's corrections, cursor the cursors of this thread.
    words: uint64, at least count/64 + 2 of them; zero behind the last position. before: int32, as
    many, the care positions before each word, and in all behind the last.
    """
    n_words = (count + 63) >> 6
    if kind == BITMAP:
        byte, shift = lo >> 3, np.uint64(lo & 7)
        for line in range(0, 8 * n_words, 64):
            _prefetch(bitmap[0] + byte + 8 * n_words + line)
        inside = min(n_words, (bitmap[1] - byte - 1) >> 3)  # words that have a byte behind them
        if shift == 0:
            for w in range(inside):
                words[w] = _load_word(bitmap[0] + byte + 8 * w)
        else:
            for w in range(inside):
                word = _load_word(bitmap[0] + byte + 8 * w) >> shift
                next_byte = _load_word(bitmap[0] + byte + 8 * w + 1) >> np.uint64(56)
                words[w] = word | next_byte << (np.uint64(64) - shift)
        for w in range(max(inside, 0), n_words):
            word = _last_word(bitmap[0], bitmap[1], byte + 8 * w) >> shift
            next_byte = _last_word(bitmap[0], bitmap[1], byte + 8 * w + 8)
            # Two shifts: one by 64 would be undefined.
            words[w] = word | (next_byte << np.uint64(1) << (np.uint64(63) - shift))
    else:
        words[: n_words + 1] = ~np.uint64(0)
    if kind == STREAMS:
        for s in range(len(streams)):
            inputs = carray(_at(streams[s, 0]), (streams[s, 1],), np.uint8)
            shape = (streams[s, 3], streams[s, 4], streams[s, 5])
            tables = carray(_words_at(streams[s, 2]), shape, np.uint64)
            n_out, shuffled, stride = streams[s, 6], streams[s, 7], streams[s, 8]
            and_stream(inputs, tables, n_out, shuffled, stride, lo, lo + count, words)
        if inverted:
            for w in range(n_words):
                words[w] = ~words[w]
        last = len(lists) - 1
        while cursor[2, last] < lo + count:
            at = cursor[2, last] - lo
            words[at >> 6] ^= np.uint64(1) << np.uint64(at & 63)
            advance(lists, last, cursor)
    if count & 63:
        words[n_words - 1] &= _low_bits(count & 63)
    total = 0
    for w in range(n_words):
        before[w] = total
        total += int(popcount(words[w]))
    before[n_words:] = total
    return total


@njit(nogil=True, cache=True)
def count_care(kind, inverted, bitmap, streams, lists, positions):
    """Care ranks, int64, of rising positions (s,): unpruned places before each."""
    ranks = np.zeros(len(positions), dtype=np.int64)
    cursor = np.zeros((CURSOR_FIELDS, len(lists)), dtype=np.int64)
    advance(lists, len(lists) - 1, cursor)
    words = np.empty(CHUNK // 64 + 2, dtype=np.uint64)
    before = np.empty(CHUNK // 64 + 2, dtype=np.int32)
    lo, rank = 0, 0
    for s in range(len(positions)):
        while lo < positions[s]:
            count = min(CHUNK, positions[s] - lo)
            rank += read_mask(
                kind, inverted, bitmap, streams, lists, cursor, lo, count, words, before
            )
            lo += count
        ranks[s] = rank
    return ranks


@njit(nogil=True, cache=True, forceinline=True)
def read_planes(group, gates, affine, work, window, lo, count, buffer, at):
    """Decoded words of positions lo … lo+count-1 of a group of planes into buffer[at:].

    group: (address, vectors, planes) of its inputs. gates, affine: of `decode_blocks`.
    window: int64 [first, end), the positions that lie in buffer[at:] already; what was decoded
    beyond the last chunk is kept.
    """
    inputs = carray(_at(group[0]), (group[1], group[2]), np.uint8)
    n_out = gates.n_out
    if not window[0] <= lo <= window[1]:
        first = lo // n_out
        decode_blocks(inputs, first, 1, gates, affine, buffer, at, work)
        window[0], window[1] = first * n_out, (first + 1) * n_out
    kept = window[1] - lo
    copy_bytes(buffer, at + lo - window[0], buffer, at, kept)
    window[0] = lo
    if kept < count:
        blocks = (count - kept + n_out - 1) // n_out
        decode_blocks(inputs, window[1] // n_out, blocks, gates, affine, buffer, at + kept, work)
        window[1] += blocks * n_out
        for line in range(0, blocks * group[2], 64):
            _prefetch(group[0] + (window[1] // n_out + gates.n_s) * group[2] + line)


@njit(nogil=True, cache=True, forceinline=True)
def flip_words(lists, flips, cursor, words, before, rank, care, due, buffer, at):
    """Flip the wrong bits of a chunk of one-byte words.

    lists: the planes' corrections; flips[p]: what a wrong bit of plane p flips. words, before,
    care: of `read_mask`. rank: care rank of the chunk's first care position. due: int64 scratch.
    """
    end = rank + care
    waiting = 0
    for p in range(len(flips)):
        position = cursor[2, p]
        if position >= end:
            continue
        bit, index, count = cursor[0, p], cursor[1, p], lists[p, 4]
        address, n_bytes, low, upper_bits = lists[p, 0], lists[p, 1], lists[p, 2], lists[p, 3]
        while position < end:
            due[waiting] = (position - rank) << 8 | flips[p]
            waiting += 1
            if waiting == len(due):
                _flip_due(words, before, due, waiting, buffer, at)
                waiting = 0
            if index == count:
                position = END
            else:
                bit, position = _next(address, n_bytes, low, upper_bits, bit, index)
                index += 1
        cursor[0, p], cursor[1, p], cursor[2, p] = bit, index, position
    _flip_due(words, before, due, waiting, buffer, at)


@njit(nogil=True, cache=True, forceinline=True)
def _flip_due(words, before, due, waiting, buffer, at):
    """Flip due[i] & 255 of care position due[i] >> 8 of the chunk, i < waiting."""
    for i in range(waiting):
        which = due[i] >> 8
        w, step = 0, CHUNK // 128
        while step:  # binary search without a branch to mispredict
            w += step * int(before[w + step] <= which)
            step >>= 1
        bit = select_bit(words[w], which - before[w])
        buffer[at + 64 * w + bit] ^= np.uint8(due[i])


@intrinsic
def _deposit(typingctx, value, mask):
    """BMI2 `pdep`: the bits of value, in turn, at the set bits of mask."""

    def codegen(context, builder, signature, arguments):
        if not BMI2:  # never called there, but compiled
            return arguments[0]
        kind = ir.FunctionType(I64, [I64, I64])
        name = "llvm.x86.bmi.pdep.64"
        deposit = cgutils.get_or_insert_function(builder.module, kind, name)
        return builder.call(deposit, arguments)

    return types.uint64(types.uint64, types.uint64), codegen


@njit(nogil=True, cache=True)
def select_bit(word, rank):
    """The index of the rank-th set bit (from 0) of a word."""
    if BMI2:
        return np.int64(trailing_zeros(_deposit(np.uint64(1) << np.uint64(rank), word)))
    for _ in range(rank):
        word &= word - np.uint64(1)
    return np.int64(trailing_zeros(word))


@njit(nogil=True, cache=True)
def list_positions(words, count, positions):
    """The set bits of the mask words of `count` positions, into positions; returns their number."""
    found = 0
    for w in range((count + 63) >> 6):
        word = words[w]
        while word:
            positions[found] = 64 * w + np.int64(trailing_zeros(word))
            found += 1
            word &= word - np.uint64(1)
    return found


@intrinsic
def mask_bytes(typingctx, buffer, at, words, count):
    """Zero the pruned bytes of buffer[at:at+count]; whole groups of 32 bytes are written."""
    if not is_bytes(buffer):
        return None

    def codegen(context, builder, signature, arguments):
        buffer, at, words, count = arguments
        target = byte_pointer(context, builder, signature.args[0], buffer, at)
        masks = byte_pointer(context, builder, signature.args[2], words, I64(0))
        groups = builder.udiv(builder.add(count, I64(31)), I64(32))
        with cgutils.for_range(builder, groups) as loop:
            place = builder.gep(target, [builder.mul(loop.index, I64(32))])
            bits = load(builder, I32, builder.gep(masks, [builder.mul(loop.index, I64(4))]))
            lanes = builder.sext(builder.bitcast(bits, ir.VectorType(ir.IntType(1), 32)), V32)
            store(builder, builder.and_(load(builder, V32, place), lanes), place)
        return context.get_dummy_value()

    return types.void(buffer, types.intp, words, types.intp), codegen


def mask_scratch() -> tuple[np.ndarray, np.ndarray]:
    """Buffers of a chunk for the words of its mask and what lies before each."""
    words = CHUNK // 64 + 2
    return np.empty(words, dtype=np.uint64), np.empty(words, dtype=np.int32)
