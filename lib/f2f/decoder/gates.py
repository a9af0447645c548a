"""Dense decoding of up to eight planes at once, by byte shuffles.

The planes of a group share the decoder matrix, and byte q of an input vector belongs to plane q.
*Bit-sliced*, a vector is n_in bytes, byte i holding bit i of all eight planes; the eight decoded
bits of a position are then one byte, the XOR of those window bytes that its matrix row selects.
Four window bits at a time, the row's nibble picks one of 16 XOR combinations:

    out[r] = XOR_k T_k[nibble k of rows[r]],    k = 0 … window/4 - 1.

The 16-byte tables T_k depend on the block, the nibbles on the matrix alone: a table lookup with
constant indices is one byte shuffle (`vpshufb`) for 32 rows. With n_in = 8 a vector has two
tables, which its n_s + 1 blocks share. A folded matrix (`f2f.decoder.folded`) has five tables for each
half of 32 rows, XORs of those 16.

On x86 with AVX2 the shuffles are LLVM intrinsics; elsewhere, and with `portable=True`, the same
tables are read byte by byte. Both equal `Decoder.decode_plain` bit for bit.

Paper symbols: N_in = `n_in`, N_out = `n_out`, N_s = `n_s`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from f2f.base import validate
from f2f.base.intrinsics import AVX2, aligned_zeros, borrowed, copy_bytes
from f2f.decoder.folded import FOLD, HALF, N_S
from f2f.decoder.shuffles import (
    GROUP,
    TABLES,
    folded_1,
    folded_2,
    four_tables,
    full_1x1,
    full_1x2,
    full_2x2,
    full_3x2,
    tail_0x2,
    tail_1x2,
    tail_2x2,
)

SLACK = 2 * GROUP  # bytes behind the last block that `decode_blocks` may overwrite
BATCH = 128  # blocks whose tables are built at once


class Gates(NamedTuple):
    """A decoder as its kernels want it; `Decoder.gates` makes it.

    Attributes
    ----------
    n_in, n_out, n_s : int
        Of the decoder.
    folded : int
        1 for a folded matrix, 0 for any other.
    portable : int
        1 to decode without vector instructions, 0 to decode as fast as the processor can.
    index : ndarray of uint8
        The matrix, flat, in an order that is the kernels' own.
    """

    n_in: int
    n_out: int
    n_s: int
    folded: int
    portable: int
    index: np.ndarray


class Affine(NamedTuple):
    """An affine map of decoded bytes over GF(2).

    The byte w comes out as ``by_nibble[w & 15] ^ by_nibble[16 + (w >> 4)] ^ offset``.

    Attributes
    ----------
    by_nibble : ndarray of uint8, (32,)
        The images of the 16 low nibbles, then of the 16 high ones, under the linear part.
    offset : uint8
        The image of 0.
    """

    by_nibble: np.ndarray
    offset: np.uint8


IDENTITY = Affine(np.concatenate([np.arange(16), 16 * np.arange(16)]).astype(np.uint8), np.uint8(0))


def shuffle_index(rows: np.ndarray, window: int) -> np.ndarray:
    """The constant shuffle indices of a matrix.

    rows: uint64 (n_out,), as `Decoder.rows`; window: its bits. Returns flat uint8, the array
    [group of 32 rows][nibble k][row in group]. If the last group has at most 16 rows they are
    there twice, so that one shuffle can serve two blocks.
    """
    n_out, nibbles = len(rows), 2 * -(-window // 8)
    groups = -(-n_out // GROUP)
    padded = np.zeros(groups * GROUP, dtype=np.uint64)
    padded[:n_out] = rows
    if 0 < n_out % GROUP <= 16:
        padded[-16:] = padded[-32:-16]
    out = aligned_zeros(groups * nibbles * GROUP)
    index, by_group = out.reshape(groups, nibbles, GROUP), padded.reshape(groups, GROUP)
    for k in range(nibbles):
        index[:, k] = by_group >> np.uint64(4 * k) & np.uint64(15)
    return out


def work_bytes(n_s: int) -> int:
    """Bytes of the work array of `decode_blocks`."""
    return (BATCH + max(n_s, N_S) + 4) * (8 + TABLES) + TABLES * len(FOLD)


def decode_words(
    inputs: np.ndarray,
    gates: Gates,
    n: int,
    start_block: int = 0,
) -> np.ndarray:
    """Decode n words from block `start_block` on: bit q of a word is the bit of plane q.

    inputs: uint8 (vectors, P), P <= 8, byte [t, q] the input vector t of plane q, oldest first.
    Returns uint8 (n,). Raises `ValueError` if the inputs end before the last block.
    """
    n = validate.integer("n", n, 0)
    start_block = validate.integer("start_block", start_block, 0)
    if inputs.dtype != np.uint8 or inputs.ndim != 2 or not 1 <= inputs.shape[1] <= 8:
        raise ValueError(
            f"inputs must be uint8 (vectors, 1..8 planes), got {inputs.dtype} {inputs.shape}"
        )
    n_out, n_s = gates.n_out, gates.n_s
    blocks = -(-n // n_out)
    if n and len(inputs) < start_block + blocks + n_s:
        raise ValueError(
            f"inputs must hold {start_block + blocks + n_s} vectors for {n} words from "
            f"block {start_block}, got {len(inputs)}"
        )
    out = np.empty(blocks * n_out + SLACK, dtype=np.uint8)
    decode_blocks(
        np.ascontiguousarray(inputs),
        start_block,
        blocks,
        gates,
        IDENTITY,
        out,
        0,
        aligned_zeros(work_bytes(n_s)),
    )
    return out[:n]


@njit(nogil=True, cache=True)
def decode_blocks(inputs, start, blocks, gates, affine, out, out_at, work):
    """Decode `blocks` blocks from block `start` on into out[out_at:]; overwrites SLACK bytes more.

    inputs: uint8 (vectors, P), C-contiguous. gates: of the decoder. affine: what the words are
    mapped by; that costs less here than it would afterwards, for the map is applied to the input
    vectors. work: uint8 (work_bytes(n_s),), best at a cache line.
    """
    n_in, n_out, n_s = gates.n_in, gates.n_out, gates.n_s
    folded, portable, index = gates.folded, gates.portable, borrowed(gates.index)
    inputs, out, work = borrowed(inputs), borrowed(out), borrowed(work)
    linear, offset = borrowed(affine.by_nibble), affine.offset
    vectors = work[TABLES * (BATCH + max(n_s, N_S) + 4) + TABLES * len(FOLD) :]
    if n_in == 8:
        for first in range(0, blocks, BATCH):
            count = min(BATCH, blocks - first)
            _stage_vectors(inputs, start + first, count + n_s, vectors)
            _build_tables(vectors, count + n_s, linear, work, portable)
            if folded:
                _shuffle_folded(work, count, index, n_out, offset, out, out_at, portable)
            else:
                nibbles = 2 * n_s + 2
                _shuffle_blocks(work, count, nibbles, index, n_out, offset, out, out_at, portable)
            out_at += count * n_out
    else:
        # The windows of different blocks do not meet at bytes: each is a case of its own.
        window_bytes = ((n_s + 1) * n_in + 7) // 8
        for t in range(start, start + blocks):
            _stage_window(inputs, t, n_in, n_s, window_bytes, vectors)
            _build_tables(vectors, window_bytes, linear, work, portable)
            _shuffle_blocks(work, 1, 2 * window_bytes, index, n_out, offset, out, out_at, portable)
            out_at += n_out


@njit(nogil=True, cache=True, forceinline=True)
def _stage_vectors(inputs, first, count, vectors):
    """vectors[8*t + q] = inputs[first + t, q], zero for missing planes."""
    planes = inputs.shape[1]
    if planes == 8:
        copy_bytes(inputs, 8 * first, vectors, 0, 8 * count)
        return
    for t in range(count):
        for q in range(8):
            vectors[8 * t + q] = inputs[first + t, q] if q < planes else 0


@njit(nogil=True, cache=True)
def _stage_window(inputs, t, n_in, n_s, window_bytes, vectors):
    """vectors[8*j + q] = byte j of the window word of block t in plane q."""
    vectors[: 8 * window_bytes] = 0
    for q in range(inputs.shape[1]):
        window = np.uint64(0)
        for j in range(n_s + 1):
            window |= np.uint64(inputs[t + j, q]) << np.uint64(n_in * j)
        for j in range(window_bytes):
            vectors[8 * j + q] = np.uint8(window >> np.uint64(8 * j))


@njit(nogil=True, cache=True, forceinline=True)
def _build_tables(vectors, count, linear, tables, portable):
    """The two nibble tables of each vector; up to 3 vectors more are read and written."""
    if AVX2 and not portable:
        for t in range(0, count, 4):
            four_tables(vectors, 8 * t, linear, tables, TABLES * t)
        return
    for t in range(count):
        for i in range(8):
            sliced = 0
            for q in range(8):
                sliced |= ((vectors[8 * t + q] >> i) & 1) << q
            sliced = linear[sliced & 15] ^ linear[16 + (sliced >> 4)]
            at, half = TABLES * t + (i // 4) * 16, 1 << (i % 4)
            if half == 1:
                tables[at] = 0
            for entry in range(half):
                tables[at + half + entry] = tables[at + entry] ^ sliced


@njit(nogil=True, cache=True)
def _shuffle_blocks(tables, blocks, nibbles, index, n_out, offset, out, out_at, portable):
    """Decode consecutive blocks from tables; a block may spill into the next, written later."""
    if not AVX2 or portable:
        for t in range(blocks):
            for r in range(n_out):
                word = offset
                at = (r // GROUP * nibbles) * GROUP + r % GROUP
                for k in range(nibbles):
                    word ^= tables[TABLES * t + 16 * k + index[at + GROUP * k]]
                out[out_at + t * n_out + r] = word
        return
    # Groups are taken last first: what the last one spills must not outlive the next block's first.
    step = GROUP * nibbles
    full, tail = n_out // GROUP, n_out % GROUP
    half_tail = 0 < tail <= 16
    t = 0
    while t + 2 <= blocks:
        at, end = TABLES * t, full + (tail > 16)
        to = out_at + t * n_out
        if half_tail:
            end = max(0, full - 2)
            where = step * end
            if full - end == 2:
                tail_2x2(tables, at, index, where, nibbles, offset, out, to + GROUP * end, n_out)
            elif full - end == 1:
                tail_1x2(tables, at, index, where, nibbles, offset, out, to + GROUP * end, n_out)
            else:
                tail_0x2(tables, at, index, where, nibbles, offset, out, to + GROUP * end, n_out)
        while end > 0:
            first = max(0, end - 3)
            where = step * first
            if end - first == 3:
                full_3x2(tables, at, index, where, nibbles, offset, out, to + GROUP * first, n_out)
            elif end - first == 2:
                full_2x2(tables, at, index, where, nibbles, offset, out, to + GROUP * first, n_out)
            else:
                full_1x2(tables, at, index, where, nibbles, offset, out, to + GROUP * first, n_out)
            end = first
        t += 2
    if t < blocks:
        for g in range(full + (tail > 0)):
            to = out_at + t * n_out + GROUP * g
            full_1x1(tables, TABLES * t, index, step * g, nibbles, offset, out, to, n_out)


@njit(nogil=True, cache=True, forceinline=True)
def _shuffle_folded(tables, blocks, index, n_out, offset, out, out_at, portable):
    """As `_shuffle_blocks`, of a folded matrix."""
    if not AVX2 or portable:
        folds = tables[TABLES * (BATCH + N_S + 4) :]
        for t in range(blocks):
            _fold_tables(tables, TABLES * t, folds)
            for r in range(n_out):
                word = offset
                at = r // GROUP * len(FOLD) * GROUP + r % GROUP
                for k in range(len(FOLD)):
                    entry = TABLES * k + r % GROUP // HALF * 16 + index[at + GROUP * k]
                    word ^= folds[entry]
                out[out_at + t * n_out + r] = word
        return
    groups = (n_out + GROUP - 1) // GROUP
    for t in range(0, blocks - 1, 2):
        folded_2(tables, TABLES * t, index, groups, offset, out, out_at + t * n_out, n_out)
    if blocks % 2:
        t = blocks - 1
        folded_1(tables, TABLES * t, index, groups, offset, out, out_at + t * n_out, n_out)


_TERMS = np.array([(k, *term) for k, terms in enumerate(FOLD) for term in terms])


@njit(nogil=True, cache=True)
def _fold_tables(tables, at, folds):
    """folds[TABLES*k:] = the tables of folded nibble k, of the block whose oldest are at `at`."""
    folds[: TABLES * len(FOLD)] = 0
    for i in range(len(_TERMS)):
        k, age, swapped = _TERMS[i]
        begin = at + TABLES * (N_S - age)
        for entry in range(TABLES):
            folds[TABLES * k + entry] ^= tables[begin + (entry ^ 16 * swapped)]
