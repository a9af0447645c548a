"""How a tensor is decoded in chunks of encoding positions, stage by stage, in numba.

A chunk is a few thousand consecutive positions. Its stages, each a function here:

1. `read_mask`: the mask's words of the chunk;
2. `read_planes`: the planes of a group, decoded to one byte a position;
3. `clear_pruned`: zero where pruned; or `care_words`: the words at care positions alone, corrected.

All buffers (`Chunk`) stay in the first-level cache. What is read (`Encoded`) is read forward only:
a list of corrections has a cursor, which stands at the next rank to be used. Multiplying is
the business of `f2f.product`, putting in place that of `f2f.format.expand`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

from f2f.base.intrinsics import (
    BMI2,
    I1,
    I32,
    I64,
    aligned_zeros,
    bits_at,
    borrowed,
    byte_pointer,
    bytes_from,
    copy_bytes,
    element_pointer,
    load,
    popcount,
    store,
    trailing_zeros,
)
from f2f.base.jit import njit
from f2f.decoder.gates import IDENTITY, SLACK, Affine, Gates, decode_flat, work_bytes

CHUNK = 8192  # positions of a chunk at most; a power of two
RANK_WORDS = 8  # mask words from one whose rank is known to the next
END = 1 << 62  # the rank of a cursor whose list is used up

# A group of up to 8 planes: address of its input vectors uint8 (vectors, planes).
PLANES = np.dtype([("address", np.int64), ("vectors", np.int64), ("planes", np.int64)])

# An Elias-Fano list (`f2f.format.corrections`) of care ranks, as `Ranks` has it.
LIST = np.dtype([("upper", np.int64), ("lower", np.int64), ("low", np.int64), ("count", np.int64)])

# Where a list is read on: the next rank, END behind them all, and, to read the one behind it, its
# number, a word of the upper part, and what is left of that word.
CURSOR = np.dtype(
    [("rank", np.int64), ("index", np.int64), ("word", np.int64), ("rest", np.uint64)]
)

# The positions first … end-1 that lie decoded in a buffer.
WINDOW = np.dtype([("first", np.int64), ("end", np.int64)])


class Ranks(NamedTuple):
    """An Elias-Fano list (`f2f.format.corrections`) of care ranks.

    Attributes
    ----------
    upper, lower : int
        First bit of its upper part, which begins a word, and of its low part.
    low : int
        Low bits of a rank.
    length : int
    """

    upper: int
    lower: int
    low: int
    length: int


class Corrections(NamedTuple):
    """The wrong bits of all planes.

    Attributes
    ----------
    bits : ndarray of uint64
        All lists, packed from bit 0 of word 0 on, and a word to spare.
    lists : ndarray of LIST, shape (n_w,)
        Where the list of each plane lies in `bits`.
    flips : ndarray of uint32, shape (n_w,)
        What a wrong bit of the plane flips in a word.
    """

    bits: np.ndarray
    lists: np.ndarray
    flips: np.ndarray


class Encoded(NamedTuple):
    """What the kernels read of a compressed tensor.

    Attributes
    ----------
    mask : ndarray of uint64, shape (8 * len(ranks),)
        Bit i % 64 of word i // 64 is 1 where position i is unpruned; zero behind the last.
    ranks : ndarray of int32, shape (ceil((n // 64 + 2) / 8),)
        Unpruned places before every eighth word of the mask.
    groups : ndarray of PLANES, shape (groups,)
        The planes that have a bit at every position: encoded, or all of them raw.
    gates : Gates
        Their decoder.
    affine : Affine
        From stored bytes to words of one byte.
    tables : ndarray of uint32, shape (groups, 256)
        What the stored byte of each group flips in a word, of any width.
    maps : ndarray of uint8, shape (groups, itemsize, 32)
        The same, byte by byte, see `f2f.format.join`.
    offset : int
        The word whose stored bits are all zero.
    corrections : Corrections
    """

    mask: np.ndarray
    ranks: np.ndarray
    groups: np.ndarray
    gates: Gates
    affine: Affine
    tables: np.ndarray
    maps: np.ndarray
    offset: int
    corrections: Corrections


class Chunk(NamedTuple):
    """Buffers of a chunk, of one thread.

    Attributes
    ----------
    decoded : ndarray of uint8, shape (planes decoded side by side, chunk_bytes(n_out))
        A byte a position; more may lie behind them.
    windows : ndarray of WINDOW
        Which positions lie in each row of `decoded`.
    work : ndarray of uint8
        Of `decode_flat`.
    words : ndarray of uint64, shape (CHUNK // 64,)
        The mask: bit i % 64 of word i // 64 for position i of the chunk.
    """

    decoded: np.ndarray
    windows: np.ndarray
    work: np.ndarray
    words: np.ndarray


class Care(NamedTuple):
    """Buffers for the care positions of a chunk.

    Attributes
    ----------
    positions : ndarray of int64, shape (CHUNK,)
        The care positions, from the chunk's first on.
    words : ndarray of uint32, shape (CHUNK,)
        The weights there, their bits.
    """

    positions: np.ndarray
    words: np.ndarray


def make_chunk(encoded: Encoded, rows: int) -> Chunk:
    """Buffers of a chunk, for `rows` decodings side by side."""
    stride = chunk_bytes(encoded.gates.n_out)
    windows = np.zeros(rows, dtype=WINDOW)
    forget(windows)
    return Chunk(
        decoded=aligned_zeros(rows * stride).reshape(rows, stride),
        windows=windows,
        work=aligned_zeros(work_bytes(encoded.gates.n_s)),
        words=np.empty(CHUNK // 64, dtype=np.uint64),
    )


def forget(windows: np.ndarray) -> None:
    """Say that nothing is decoded yet."""
    windows["first"] = windows["end"] = -1


def make_care() -> Care:
    """Buffers for the care positions of a chunk."""
    return Care(np.empty(CHUNK, dtype=np.int64), np.empty(CHUNK, dtype=np.uint32))


@njit
def chunk_bytes(n_out):
    """Bytes of a chunk's decoded positions and of what is decoded beyond them, in cache lines."""
    return (CHUNK + 2 * n_out + SLACK + 63) // 64 * 64


@intrinsic
def _bytes_at(typingctx, address):
    """An address as a pointer to bytes, for `carray`."""

    def codegen(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.uint8)(types.int64), codegen


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


@njit
def prefetch(encoded, lo, count):
    """Ask for the mask and the inputs of positions lo … lo+count-1, which need not exist."""
    mask, gates = encoded.mask.ctypes.data, encoded.gates
    for line in range(mask + (lo >> 3), mask + (lo + count >> 3), 64):
        _prefetch(line)
    for g in range(len(encoded.groups)):
        planes = encoded.groups[g]
        first = planes.address + lo // gates.n_out * planes.planes
        last = planes.address + ((lo + count) // gates.n_out + gates.n_s) * planes.planes
        for line in range(first, last, 64):
            _prefetch(line)


@njit(inline="always")
def _ones(count):
    """A word whose lowest `count` bits are set, count < 64."""
    return (np.uint64(1) << np.uint64(count)) - np.uint64(1)


@njit(inline="always")
def ranks_of(lists, plane):
    """The list of a plane, read once."""
    one = lists[plane]
    return Ranks(one.upper, one.lower, one.low, one.count)


@njit(inline="always")
def next_rank(bits, ranks, word, rest, index):
    """Read rank number `index`: (number of a word, what is left of it) behind it, and the rank.

    The first is read from word ``ranks.upper >> 6``, whole.
    """
    while rest == 0:
        word += 1
        rest = bits[word]
    high = (word << 6) + np.int64(trailing_zeros(rest)) - ranks.upper - index
    part = bits_at(bits, ranks.lower + index * ranks.low) & _ones(ranks.low)
    return word, rest & (rest - np.uint64(1)), high << ranks.low | np.int64(part)


def cursors_at(corrections: Corrections, rank: int) -> np.ndarray:
    """Where to read each list on from a rank: CURSOR (n_w,)."""
    cursors = np.zeros(len(corrections.lists), dtype=CURSOR)
    _find_cursors(corrections, rank, cursors)
    return cursors


@njit
def _find_cursors(corrections, rank, cursors):
    corrections, cursors = borrowed(corrections), borrowed(cursors)
    for plane in range(len(cursors)):
        ranks, cursor = ranks_of(corrections.lists, plane), cursors[plane]
        word, index, wrong = ranks.upper >> 6, 0, -1
        rest = corrections.bits[word]
        while wrong < rank and index < ranks.length:
            word, rest, wrong = next_rank(corrections.bits, ranks, word, rest, index)
            index += 1
        cursor.word, cursor.rest, cursor.index = word, rest, index
        cursor.rank = wrong if wrong >= rank else END


@njit
def count_care(mask, ranks):
    """Fill in the unpruned places before every eighth word of the mask; returns those in all."""
    rank = np.int64(0)
    for i in range(len(ranks)):
        ranks[i] = rank
        care = np.uint64(0)
        part = mask[RANK_WORDS * i : RANK_WORDS * (i + 1)]
        for w in range(len(part)):
            care += popcount(part[w])
        rank += np.int64(care)
    return rank


@njit
def care_before(mask, ranks, position):
    """The unpruned places before a position."""
    word = position >> 6
    first = word // RANK_WORDS
    care = popcount(mask[word] & _ones(position & 63))
    for w in range(first * RANK_WORDS, word):
        care += popcount(mask[w])
    return ranks[first] + np.int64(care)


@njit(forceinline=True)
def read_mask(mask, lo, count, chunk):
    """Stage 1: the mask of positions lo … lo+count-1 into chunk.words."""
    words, n_words = chunk.words, (count + 63) >> 6
    for w in range(n_words):
        words[w] = bits_at(mask, lo + 64 * w)
    if count & 63:
        words[n_words - 1] &= _ones(count & 63)


@njit(forceinline=True)
def read_planes(encoded, group, affine, lo, count, chunk, row):
    """Stage 2: decoded bytes of positions lo … lo+count-1 of a group into chunk.decoded[row].

    affine: of `decode_flat`. What was decoded beyond the last chunk of the row is kept.
    """
    n_out, window = encoded.gates.n_out, chunk.windows[row]
    decoded, at = bytes_from(chunk.decoded, 0), row * chunk.decoded.shape[1]
    if window.first <= lo <= window.end:
        before, kept = 0, window.end - lo
        copy_bytes(decoded, at + lo - window.first, decoded, at, kept)
    else:  # begin anew, with a whole block, of which some lies before lo
        window.end = lo // n_out * n_out
        before, kept = lo - window.end, 0
    window.first = lo
    if window.end < lo + count:
        blocks = (lo + count - window.end + n_out - 1) // n_out
        first, work = window.end // n_out, chunk.work
        decode_planes(encoded, group, affine, first, blocks, decoded, at + kept, work)
        window.end += blocks * n_out
    if before:
        copy_bytes(decoded, at + before, decoded, at, window.end - lo)


@njit(forceinline=True)
def decode_planes(encoded, group, affine, first, blocks, decoded, at, work):
    """Blocks of a group of planes, from block `first` on, into decoded, flat, from byte `at` on."""
    planes = encoded.groups[group]
    inputs = carray(_bytes_at(planes.address), planes.vectors * planes.planes, np.uint8)
    gates = encoded.gates
    decode_flat(inputs, planes.planes, first, blocks, gates, affine, decoded, at, work)


@intrinsic
def clear_pruned(typingctx, source, source_at, words, bit, count, target, target_at):
    """Stage 3: target[target_at:] = source[source_at:], zero where pruned, for `count` elements.

    source, target: contiguous, of the same unsigned type, or the same array; words: the mask,
    uint64, from bit `bit` on. Whole groups of 32 elements are read and written, and the mask's
    byte behind a group.
    """
    if source.dtype != target.dtype or not source.layout == target.layout == "C":
        return None

    def codegen(context, builder, signature, arguments):
        source, source_at, words, bit, count, target, target_at = arguments
        kinds = signature.args
        start = element_pointer(context, builder, kinds[0], source, source_at)
        to = element_pointer(context, builder, kinds[5], target, target_at)
        masks = byte_pointer(context, builder, kinds[2], words, I64(0))

        width = kinds[0].dtype.bitwidth
        first, shift = builder.lshr(bit, I64(3)), builder.and_(bit, I64(7))
        groups = builder.udiv(builder.add(count, I64(31)), I64(32))

        def clear(group: Any, lanes: int) -> None:
            place = builder.gep(masks, [builder.add(first, builder.mul(group, I64(4)))])
            word = builder.lshr(load(builder, I64, place), shift)
            if lanes == 64:  # two shifts: one by 64 would be undefined where shift is 0
                behind = builder.zext(builder.load(builder.gep(place, [I64(8)])), I64)
                behind = builder.shl(builder.shl(behind, I64(1)), builder.sub(I64(63), shift))
                word = builder.or_(word, behind)
            bits = builder.trunc(word, ir.IntType(lanes)) if lanes < 64 else word
            kind = ir.VectorType(ir.IntType(width), lanes)
            mask = builder.sext(builder.bitcast(bits, ir.VectorType(I1, lanes)), kind)
            along = builder.mul(group, I64(4 * width))
            value = load(builder, kind, builder.gep(start, [along]))
            store(builder, builder.and_(value, mask), builder.gep(to, [along]))

        with cgutils.for_range(builder, builder.udiv(groups, I64(2))) as loop:
            clear(builder.mul(loop.index, I64(2)), 64)
        with builder.if_then(builder.trunc(groups, I1)):
            clear(builder.sub(groups, I64(1)), 32)
        return context.get_dummy_value()

    at, bits = types.intp, types.intp
    return types.void(source, at, words, bits, types.intp, target, at), codegen


@intrinsic
def deposit(typingctx, value, mask):
    """BMI2 `pdep`: the bits of value, in turn, at the set bits of mask."""

    def codegen(context, builder, signature, arguments):
        if not BMI2:  # never called there, but compiled
            return arguments[0]
        kind = ir.FunctionType(I64, [I64, I64])
        name = "llvm.x86.bmi.pdep.64"
        deposit = cgutils.get_or_insert_function(builder.module, kind, name)
        return builder.call(deposit, arguments)

    return types.uint64(types.uint64, types.uint64), codegen


@njit
def select_bit(word, rank):
    """The index of the rank-th set bit (from 0) of a word."""
    if BMI2:
        return np.int64(trailing_zeros(deposit(np.uint64(1) << np.uint64(rank), word)))
    for _ in range(rank):
        word &= word - np.uint64(1)
    return np.int64(trailing_zeros(word))


@njit(inline="always")
def _list_positions(chunk, count, positions):
    """The care positions of a chunk of `count` positions, into positions; returns their number."""
    found = 0
    for w in range((count + 63) >> 6):
        word = chunk.words[w]
        while word:
            positions[found] = 64 * w + np.int64(trailing_zeros(word))
            found += 1
            word &= word - np.uint64(1)
    return found


@njit
def care_words(encoded, rank, cursors, lo, count, chunk, care):
    """The corrected words of a chunk at its care positions, of any width; returns their number.

    Parameters
    ----------
    encoded : Encoded
    rank : int
        Unpruned weights before the chunk.
    cursors : ndarray of CURSOR, shape (n_w,)
        At the chunk; they move behind it.
    lo, count : int
        The chunk's first position and how many it has.
    chunk : Chunk
        With a row for each group of planes.
    care : Care
        Written.
    """
    read_mask(encoded.mask, lo, count, chunk)
    prefetch(encoded, lo + count, count)
    found = _list_positions(chunk, count, care.positions)
    words, positions = care.words, care.positions
    words[:found] = encoded.offset
    for g in range(len(encoded.groups)):
        read_planes(encoded, g, IDENTITY, lo, count, chunk, g)
        for c in range(found):
            words[c] ^= encoded.tables[g, chunk.decoded[g, positions[c]]]
    corrections = encoded.corrections
    for plane in range(len(corrections.lists)):
        ranks, cursor = ranks_of(corrections.lists, plane), cursors[plane]
        word, rest, index, wrong = cursor.word, cursor.rest, cursor.index, cursor.rank
        while wrong < rank + found:
            words[wrong - rank] ^= corrections.flips[plane]
            if index == ranks.length:
                wrong = END
            else:
                word, rest, wrong = next_rank(corrections.bits, ranks, word, rest, index)
                index += 1
        cursor.word, cursor.rest, cursor.index, cursor.rank = word, rest, index, wrong
    return found
