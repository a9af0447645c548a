"""Corrections: where decoded bits are wrong, as a compact list of sorted distinct positions.

The list is an Elias-Fano code (Elias 1974, Fano 1971): about ``log2(universe/count) + 1.5…2`` bits
a position, within half a bit of the entropy of a random subset. It can be read from any place on
(`f2f.format.stages` does).

Format of `EliasFano.data`, for m = count positions below u = universe. With
``l = low_bits(m, u)``, each position splits into its l low bits and its high part. Bits are
numbered from bit 0 (least significant) of byte 0 upward:

* bits 0 … m + h - 1, where ``h = (u-1) >> l``: the upper part; position i (from 0) sets bit
  ``(position >> l) + i``, so the ones count positions and the zeros count steps of the high part;
* then l bits for each position in turn: its low bits, least significant first;
* zero bits up to the byte.

An empty list has no bytes. Nothing else is stored: l follows from count and universe.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from f2f.base import validate
from f2f.base.errors import FormatError
from f2f.base.intrinsics import bits_at, borrowed, popcount, trailing_zeros
from f2f.base.jit import njit
from f2f.base.parts import Claims, Part, check_bytes

MAX_UNIVERSE = 1 << 62


def low_bits(count: int, universe: int) -> int:
    """Low bits per position that make the code shortest; the smaller of two equals."""
    if count == 0:
        return 0
    guess = max((universe // count).bit_length() - 1, 0)
    return min(range(max(guess - 1, 0), guess + 2), key=lambda low: _cost(count, universe, low))


def elias_fano_bits(count: int, universe: int) -> int:
    """Bits of the code of `count` positions below `universe`, before padding to a byte."""
    return _cost(count, universe, low_bits(count, universe)) if count else 0


def _cost(count: int, universe: int, low: int) -> int:
    return count * (low + 1) + ((universe - 1) >> low)


@dataclass(frozen=True, eq=False)
class EliasFano(Part):
    """Sorted distinct positions below `universe`, coded (format: see the module).

    Make one with `encode`, or of stored bytes, which are checked completely and made read-only;
    memory used is a small multiple of theirs.

    Parameters
    ----------
    data : numpy.ndarray
        uint8 (ceil(nbits/8),), every byte stored.
    count : int
        Positions in the list.
    universe : int

    Raises
    ------
    FormatError
        Unless there is exactly one list of `count` positions whose code these bytes are.

    Examples
    --------
    >>> code = EliasFano.encode(np.array([3, 400, 401]), universe=1000)
    >>> code.nbits, code.decode().tolist()
    (30, [3, 400, 401])
    """

    data: np.ndarray = field(repr=False)
    count: int
    universe: int

    def __post_init__(self) -> None:
        data, count, universe = self.data, self.count, self.universe
        claims = Claims({"universe": universe, "count": count}, "correction ")
        claims.integer("count", 0, claims.integer("universe", 0, MAX_UNIVERSE))
        check_bytes("corrections", data, (-(-self.nbits // 8),))
        data.setflags(write=False)
        if self.nbits % 8 and data[-1] >> (self.nbits % 8):
            raise FormatError("padding bits after the corrections must be zero")
        if _count_ones(self._words, self.upper_bits) != count:
            raise FormatError(f"the upper part of the corrections must hold {count} ones")
        positions = self.decode()
        if count and (positions[-1] >= universe or (positions[1:] <= positions[:-1]).any()):
            raise FormatError(f"corrections must be strictly increasing and below {universe}")

    @classmethod
    def encode(cls, positions: np.ndarray, universe: int) -> EliasFano:
        """Code a list of positions.

        Parameters
        ----------
        positions : numpy.ndarray
            Integers (m,), strictly increasing, in 0…universe-1.
        universe : int
            0…2**62.

        Raises
        ------
        ValueError
            They are not.
        """
        universe = validate.integer("universe", universe, 0, MAX_UNIVERSE)
        array = np.asarray(positions)
        if array.ndim != 1 or (array.size and not np.issubdtype(array.dtype, np.integer)):
            raise ValueError(
                f"positions must be integers in one dimension, got {array.dtype} {array.shape}"
            )
        array = np.ascontiguousarray(array, dtype=np.int64)
        if array.size and (
            array[0] < 0 or array[-1] >= universe or (array[1:] <= array[:-1]).any()
        ):
            raise ValueError(
                f"positions must be strictly increasing in 0..{universe - 1}, "
                f"got {array[0]} ... {array[-1]}"
            )
        count = len(array)
        low = low_bits(count, universe)
        nbits = elias_fano_bits(count, universe)
        words = np.zeros(-(-nbits // 64) + 1, dtype=np.uint64)
        if count:
            _encode(array, low, nbits - count * low, words)
        return cls(words.view(np.uint8)[: -(-nbits // 8)].copy(), count, universe)

    @property
    def nbits(self) -> int:
        """Bits of the code, before padding to a byte."""
        return elias_fano_bits(self.count, self.universe)

    def decode(self) -> np.ndarray:
        """All positions, int64 (count,), increasing."""
        out = np.empty(self.count, dtype=np.int64)
        if self.count:
            _decode(self._words, self.low, self.upper_bits, out)
        return out

    def flip(self, bits: np.ndarray) -> None:
        """Flip bit p % 64 of bits[p // 64], uint64, for every position p."""
        if self.count:
            _flip(self._words, self.low, self.upper_bits, self.count, bits)

    @cached_property
    def low(self) -> int:
        """Low bits of a position."""
        return low_bits(self.count, self.universe)

    @cached_property
    def upper_bits(self) -> int:
        """Bits of the upper part."""
        return self.nbits - self.count * self.low

    @cached_property
    def _words(self) -> np.ndarray:
        # One word to spare, so that a read across a word boundary needs no check.
        padded = np.zeros((len(self.data) // 8 + 2) * 8, dtype=np.uint8)
        padded[: len(self.data)] = self.data
        return padded.view("<u8")


@njit
def _encode(positions, low, upper_bits, words):
    mask = (np.uint64(1) << np.uint64(low)) - np.uint64(1)
    for i in range(len(positions)):
        position = np.uint64(positions[i])
        bit = np.int64(position >> np.uint64(low)) + i
        words[bit >> 6] |= np.uint64(1) << np.uint64(bit & 63)
        bit = upper_bits + i * low
        shift = np.uint64(bit & 63)
        part = position & mask
        words[bit >> 6] |= part << shift
        if shift + np.uint64(low) > np.uint64(64):
            words[(bit >> 6) + 1] |= part >> (np.uint64(64) - shift)


@njit
def _decode(words, low, upper_bits, out):
    """All positions into out."""
    mask = (np.uint64(1) << np.uint64(low)) - np.uint64(1)
    w, word = 0, words[0]
    for i in range(len(out)):
        while word == 0:
            w += 1
            word = words[w]
        high = (w << 6) + np.int64(trailing_zeros(word)) - i
        word &= word - np.uint64(1)
        part = bits_at(words, upper_bits + i * low) & mask
        out[i] = (high << low) | np.int64(part)


@njit
def _flip(words, low, upper_bits, count, bits):
    """Flip the bits at all positions."""
    words, bits = borrowed(words), borrowed(bits)
    mask = (np.uint64(1) << np.uint64(low)) - np.uint64(1)
    w, word = 0, words[0]
    for i in range(count):
        while word == 0:
            w += 1
            word = words[w]
        high = np.uint64((w << 6) - i) + trailing_zeros(word)
        word &= word - np.uint64(1)
        position = high << np.uint64(low) | bits_at(words, upper_bits + i * low) & mask
        bits[position >> np.uint64(6)] ^= np.uint64(1) << (position & np.uint64(63))


@njit
def _count_ones(words, nbits):
    total = np.uint64(0)
    for w in range(nbits >> 6):
        total += popcount(words[w])
    last = words[nbits >> 6] & ((np.uint64(1) << np.uint64(nbits & 63)) - np.uint64(1))
    return np.int64(total + popcount(last))
