"""The XOR gates on a processor: up to eight planes of blocks decoded at once.

The planes of a group share the decoder matrix, and byte q of an input vector belongs to plane q;
the eight decoded bits of a position are one byte. `f2f.decoder.blocks` has the algebra, and the
loops over it. It runs on one of three *lowerings*, which equal `Decoder.decode_plain` bit for bit:

* "gfni", for AVX-512 with GFNI: 8 x 8 bit matrices are multiplied by one instruction.
* "avx2", for x86 with AVX2: by byte shuffles; folded matrices faster than others.
* "plain", for everything else.

`LOWERINGS` has those of the processor that numba compiles for, the fastest first. Each has a type
of `Gates` of its own, and what is compiled for one type never runs for another.

Paper symbols: N_in = `n_in`, N_out = `n_out`, N_s = `n_s`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba.extending import overload

from f2f.base import validate
from f2f.base.intrinsics import AVX2, GFNI, aligned_zeros, borrowed, bytes_from
from f2f.base.jit import njit
from f2f.decoder import avx2, gfni, plain

BATCH = 128  # blocks whose vectors are prepared at once
SLACK = 64  # bytes behind the last block that `decode_blocks` may overwrite
PADDING = 16  # vectors of a batch beyond the last one that may be prepared or read


class Gates(NamedTuple):
    """A decoder as its kernels want it; `Decoder.gates` makes it.

    Attributes
    ----------
    n_out, n_s : int
        Of the decoder.
    folded : int
        1 if `matrix` is in the form of a folded matrix, else 0.
    matrix : ndarray of uint8
        The decoder matrix, flat, in an order that is the lowering's own.
    """

    n_out: int
    n_s: int
    folded: int
    matrix: np.ndarray


class GfniGates(Gates):
    """Gates of lowering "gfni"."""

    __slots__ = ()


class Avx2Gates(Gates):
    """Gates of lowering "avx2"."""

    __slots__ = ()


class PlainGates(Gates):
    """Gates of lowering "plain"."""

    __slots__ = ()


KINDS: dict[str, type[Gates]] = {"gfni": GfniGates, "avx2": Avx2Gates, "plain": PlainGates}
_RUNS = {"gfni": GFNI, "avx2": AVX2, "plain": True}
LOWERINGS = tuple(name for name in KINDS if _RUNS[name])


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


def make_gates(
    rows: np.ndarray, n_in: int, n_s: int, nibbles: np.ndarray | None, lowering: str
) -> Gates:
    """The gates of a decoder matrix.

    Parameters
    ----------
    rows : ndarray of uint64, (n_out,)
        The matrix, as `Decoder.rows`.
    n_in, n_s : int
        Bits of a vector, and shift registers.
    nibbles : ndarray of uint8, (n_out, 5), or None
        Of a folded matrix, see `f2f.decoder.folded`.
    lowering : str
        One of `LOWERINGS`.

    Returns
    -------
    Gates
        Of the lowering's type.

    Raises
    ------
    ValueError
        If the processor that numba compiles for has not got the lowering.
    """
    validate.choice("lowering", lowering, LOWERINGS)
    kind = KINDS[lowering]
    if nibbles is not None and lowering == "avx2":
        return kind(len(rows), n_s, 1, avx2.pack_folded(nibbles))
    first = n_in * np.arange(n_s + 1, dtype=np.uint64)
    by_vector = (rows[:, None] >> first & np.uint64((1 << n_in) - 1)).astype(np.uint8)
    pack = {"gfni": gfni.LOWERING.pack, "avx2": avx2.LOWERING.pack, "plain": plain.pack}[lowering]
    return kind(len(rows), n_s, 0, pack(by_vector))


def work_bytes(n_s: int) -> int:
    """Bytes of the work array of `decode_blocks`.

    Parameters
    ----------
    n_s : int
        Shift registers of the decoder.

    Returns
    -------
    int
        Enough for every lowering: the prepared vectors of a batch, then the vectors themselves.
    """
    return (BATCH + n_s + PADDING) * (avx2.STAGED + 8)


def decode_words(inputs: np.ndarray, gates: Gates, n: int, start_block: int = 0) -> np.ndarray:
    """Decode n words from a block on.

    Parameters
    ----------
    inputs : ndarray of uint8, (vectors, P)
        P <= 8 planes; byte [t, q] is the input vector t of plane q, oldest first.
    gates : Gates
        Of the decoder.
    n : int
        Words to decode.
    start_block : int
        The block to start with.

    Returns
    -------
    ndarray of uint8, (n,)
        Bit q of a word is the bit of plane q.

    Raises
    ------
    ValueError
        If the inputs are of another form or end before the last block.
    """
    n = validate.integer("n", n, 0)
    start_block = validate.integer("start_block", start_block, 0)
    if inputs.dtype != np.uint8 or inputs.ndim != 2 or not 1 <= inputs.shape[1] <= 8:
        raise ValueError(
            f"inputs must be uint8 (vectors, 1..8 planes), got {inputs.dtype} {inputs.shape}"
        )
    blocks = -(-n // gates.n_out)
    if n and len(inputs) < start_block + blocks + gates.n_s:
        raise ValueError(
            f"inputs must hold {start_block + blocks + gates.n_s} vectors for {n} words from "
            f"block {start_block}, got {len(inputs)}"
        )
    out = np.empty(blocks * gates.n_out + SLACK, dtype=np.uint8)
    work = aligned_zeros(work_bytes(gates.n_s))
    inputs = np.ascontiguousarray(inputs)
    decode_blocks(inputs, start_block, blocks, gates, IDENTITY, out, 0, work)
    return out[:n]


@njit
def decode_blocks(inputs, start, blocks, gates, affine, out, out_at, work):
    """Decode `blocks` blocks from block `start` on into out[out_at:]; overwrites SLACK bytes more.

    Kernel. inputs: uint8 (vectors, P), P <= 8, C-contiguous. gates: of the decoder. affine: what
    the decoded bytes are mapped by; that costs less here than it would afterwards, for the map is
    applied to the input vectors. work: uint8 (work_bytes(n_s),), best at a cache line.
    """
    flat, planes = bytes_from(inputs, 0), inputs.shape[1]
    decode_flat(flat, planes, start, blocks, gates, affine, out, out_at, work)


@njit(inline="always")
def decode_flat(inputs, planes, start, blocks, gates, affine, out, out_at, work):  # noqa: PLR0913 as `decode_blocks`, of a flat array
    """As `decode_blocks`, of inputs in a flat array, `planes` bytes a vector."""
    by_nibble, matrix = borrowed(affine.by_nibble), borrowed(gates.matrix)
    out, work = borrowed(out), borrowed(work)
    for first in range(0, blocks, BATCH):
        count = min(BATCH, blocks - first)
        vectors = bytes_from(inputs, planes * (start + first))
        _prepare(gates, vectors, planes, count + gates.n_s, by_nibble, work)
        _multiply(gates, matrix, work, count, affine.offset, out, out_at)
        out_at += count * gates.n_out


def _prepare(gates, inputs, planes, count, by_nibble, work):
    """Bring the first `count` vectors of inputs into the form that `_multiply` needs."""


def _multiply(gates, matrix, work, blocks, offset, out, out_at):
    """Decode blocks from prepared vectors into out[out_at:]."""


def _prepare_gfni(gates, inputs, planes, count, by_nibble, work):
    gfni.prepare(inputs, planes, count, by_nibble, work)


def _prepare_avx2(gates, inputs, planes, count, by_nibble, work):
    vectors = bytes_from(work, avx2.STAGED * (BATCH + gates.n_s + PADDING))
    avx2.stage(inputs, planes, count, vectors)
    avx2.build_tables(vectors, count, by_nibble, work)


def _prepare_plain(gates, inputs, planes, count, by_nibble, work):
    plain.prepare(inputs, planes, count, by_nibble, work)


def _multiply_gfni(gates, matrix, work, blocks, offset, out, out_at):
    gfni.multiply(work, blocks, matrix, (gates.n_out, gates.n_s + 1), offset, out, out_at)


def _multiply_avx2(gates, matrix, work, blocks, offset, out, out_at):
    if gates.folded:
        avx2.multiply_folded(work, blocks, matrix, gates.n_out, offset, out, out_at)
    else:
        avx2.multiply(work, blocks, matrix, (gates.n_out, gates.n_s + 1), offset, out, out_at)


def _multiply_plain(gates, matrix, work, blocks, offset, out, out_at):
    plain.multiply(work, blocks, matrix, gates.n_out, gates.n_s + 1, offset, out, out_at)


@overload(_prepare)
def _choose_prepare(gates, inputs, planes, count, by_nibble, work):
    kinds = {GfniGates: _prepare_gfni, Avx2Gates: _prepare_avx2, PlainGates: _prepare_plain}
    return kinds[gates.instance_class]


@overload(_multiply)
def _choose_multiply(gates, matrix, work, blocks, offset, out, out_at):
    kinds = {GfniGates: _multiply_gfni, Avx2Gates: _multiply_avx2, PlainGates: _multiply_plain}
    return kinds[gates.instance_class]
