"""What the kernels need of a compressed tensor: made once per tensor, kept as long as it lives.

The payload is read where it is stored. Copied are the corrections, end to end, and the mask,
unpacked to one bit a weight: `Operands` take n / 8 + n / 128 bytes and the bytes of the
corrections. Once weights have been put in place, wrong bits are kept by their places too: at most
8 bytes each (`f2f.format.wrong`).

Kernels know no raw planes. Where no plane is encoded, the bytes of raw ones, copied to lie side by
side, are the payload of a decoder that puts out what it is given. A raw plane beside encoded ones,
which a file may hold, becomes a constant one whose ones are listed as corrections.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from f2f.base.errors import FormatError
from f2f.decoder import Decoder
from f2f.decoder.gates import Affine
from f2f.format.basis import span
from f2f.format.corrections import EliasFano
from f2f.format.join import byte_maps
from f2f.format.orders import Walk
from f2f.format.places import Places, permutations
from f2f.format.stages import (
    LIST,
    PLANES,
    RANK_WORDS,
    Corrections,
    Encoded,
    count_care,
)
from f2f.format.tensor import DTYPES, GROUP_PLANES, CompressedTensor
from f2f.format.wrong import Wrong, find_wrong

AS_GIVEN = Decoder.from_matrix(np.eye(8, dtype=np.uint8), n_in=8)  # a block is its input vector


@dataclass(frozen=True, eq=False)
class Operands:
    """A tensor (kind "encoded", n > 0, with its mask) for the kernels.

    Attributes
    ----------
    encoded : Encoded
        What `f2f.format.stages` reads.
    walk : Walk
        Where encoding positions lie.
    itemsize : int
        Bytes of a weight.
    corrections : tuple of EliasFano
        Of each plane, as the kernels take it.
    kept : tuple
        What `encoded` holds the address of.
    products : dict
        What products of the tensor keep for those after them (`f2f.product.cpu`); a value is put in
        when it is complete.
    """

    encoded: Encoded
    walk: Walk
    itemsize: int
    corrections: tuple[EliasFano, ...] = field(repr=False)
    kept: tuple[np.ndarray, ...] = field(repr=False)
    products: dict[tuple[str, int], Any] = field(default_factory=dict, repr=False)

    @property
    def n(self) -> int:
        """Weights."""
        return self.walk.rows * self.walk.cols

    @cached_property
    def segments(self) -> int:
        """Segments of the matrix."""
        return self.n // self.walk.segment

    @property
    def permuted(self) -> Places:
        """`permutations` of the walk, kept where they take no more memory than the mask."""
        large = 64 * (self.walk.rows + self.walk.cols) > self.n
        return permutations(self.walk) if large else self._permuted

    @cached_property
    def _permuted(self) -> Places:
        return permutations(self.walk)

    @cached_property
    def wrong(self) -> Wrong:
        """The wrong bits by their places, for weights that are put in place."""
        return find_wrong(self.encoded, self.walk)


_OPERANDS: WeakKeyDictionary[CompressedTensor, Operands] = WeakKeyDictionary()


def operands(tensor: CompressedTensor) -> Operands:
    """The operands of a tensor of kind "encoded" with its mask, n > 0.

    They are made at the first use and found again as long as the tensor lives. Threads that ask at
    once may each make them; one of the results is kept, any is right.

    Raises
    ------
    FormatError
        If the mask has not as many unpruned places as the tensor says.
    """
    found = _OPERANDS.get(tensor)
    if found is None:
        assert tensor.mask is not None
        found = _OPERANDS[tensor] = make_operands(tensor, tensor.mask.packed())
    return found


def make_operands(tensor: CompressedTensor, mask: np.ndarray) -> Operands:
    """New operands of a tensor of kind "encoded", n > 0.

    mask: uint8 (ceil(n / 8),), bit i % 8 of byte i // 8 is 1 where position i is unpruned; no bit
    is set behind the last. Raises `FormatError` if it has not as many ones as the tensor says.
    """
    ranks = np.empty(-(-(tensor.n // 64 + 2) // RANK_WORDS), dtype=np.int32)
    words = np.zeros(RANK_WORDS * len(ranks), dtype=np.uint64)
    words.view(np.uint8)[: len(mask)] = mask
    found = count_care(words, ranks)
    if found != tensor.k:
        raise FormatError(f"the mask must have {tensor.k} unpruned places, decoded {found}")
    if tensor.encoded:
        decoder, planes, payload = tensor.decoder, tensor.encoded, tensor.payload
        corrections = _with_raw_listed(tensor, mask)
    else:
        decoder, planes, corrections = AS_GIVEN, tensor.raw_planes, tensor.corrections
        edges = range(0, len(planes), GROUP_PLANES)
        payload = tuple(tensor.raw[first : first + GROUP_PLANES].T for first in edges)
    payload = tuple(np.ascontiguousarray(part) for part in payload)
    groups = [(part.ctypes.data, *part.shape) for part in payload]
    tables = byte_tables([tensor.basis[p] for p in planes])
    encoded = Encoded(
        mask=words,
        ranks=ranks,
        groups=np.array(groups, dtype=PLANES),
        gates=decoder.gates,
        affine=_affine(tables, tensor.offset),
        tables=tables,
        maps=byte_maps(tables, DTYPES[tensor.dtype]),
        offset=tensor.offset,
        corrections=_corrections(corrections, tensor.basis),
    )
    walk = tensor.encoding_order.walk
    return Operands(encoded, walk, DTYPES[tensor.dtype], corrections, payload)


def _with_raw_listed(tensor: CompressedTensor, mask: np.ndarray) -> tuple[EliasFano, ...]:
    """The corrections of each plane, those of raw planes as of constant ones."""
    corrections = list(tensor.corrections)
    for p, packed in zip(tensor.raw_planes, tensor.raw, strict=True):
        bits, care = (np.unpackbits(a, count=tensor.n, bitorder="little") for a in (packed, mask))
        ones = bits[care.view(bool)]
        ones[corrections[p].decode()] ^= 1
        corrections[p] = EliasFano.encode(np.flatnonzero(ones), tensor.k)
    return tuple(corrections)


def _corrections(codes: tuple[EliasFano, ...], basis: tuple[int, ...]) -> Corrections:
    """The lists of all planes, end to end."""
    lists = np.zeros(len(codes), dtype=LIST)
    sizes = [-(-len(code.data) // 8) for code in codes]
    bits = np.zeros(sum(sizes) + 1, dtype=np.uint64)
    ends = np.cumsum(sizes).tolist()
    for plane, (code, end, size) in enumerate(zip(codes, ends, sizes, strict=True)):
        bits[end - size :].view(np.uint8)[: len(code.data)] = code.data
        at = 64 * (end - size)
        lists[plane] = at, at + code.upper_bits, code.low, code.count
    return Corrections(bits, lists, np.array(basis, dtype=np.uint32))


def byte_tables(vectors: list[int]) -> np.ndarray:
    """uint32 (groups, 256): the XOR of a group's vectors at the set bits of each byte."""
    groups = -(-len(vectors) // 8)
    # A group of fewer than 8 planes has zeros in the others.
    padded = np.zeros((groups, 8), dtype=np.uint32)
    padded.flat[: len(vectors)] = vectors
    return np.array([span(part) for part in padded], dtype=np.uint32).reshape(groups, 256)


def _affine(tables: np.ndarray, offset: int) -> Affine:
    """What the stored bytes of one-byte weights stand for."""
    table = tables[0] if len(tables) else np.zeros(256)
    by_nibble = np.concatenate([table[:16], table[::16]]).astype(np.uint8)
    return Affine(by_nibble, np.uint8(offset & 255))
