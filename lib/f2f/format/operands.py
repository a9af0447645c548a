"""What the kernels need of a compressed tensor: made once per tensor, kept as long as it lives.

The payload is read where it is stored. Copied are the corrections, end to end, and the mask,
unpacked to one bit a weight: `Operands` take n / 8 bytes and the bytes of the corrections.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from f2f.base.errors import FormatError
from f2f.decoder.gates import Affine
from f2f.format.basis import span
from f2f.format.corrections import EliasFano, elias_fano_bits, low_bits
from f2f.format.mask import MaskCode
from f2f.format.places import Walk, permutations, walk_of
from f2f.format.stages import (
    CURSOR,
    GROUP,
    LIST,
    Corrections,
    Encoded,
    RawPlanes,
    count_care,
    find_cursors,
)
from f2f.format.tensor import DTYPES, CompressedTensor


@dataclass(frozen=True, eq=False)
class Operands:
    """A tensor (kind "encoded", n > 0, with its mask) for the kernels.

    Attributes
    ----------
    encoded : Encoded
        What `f2f.format.stages` reads.
    walk : Walk
        Where encoding positions lie.
    row_order, column_order : ndarray of int64, shapes (rows,) and (cols,)
        The row at each place of the permuted rows, the column at each of the permuted columns.
    itemsize : int
        Bytes of a weight.
    kept : tuple
        What `encoded` holds the address of.
    starts : dict
        Where the threads of a product start, by how they share the work; a value is put in when
        it is complete.
    """

    encoded: Encoded
    walk: Walk
    row_order: np.ndarray
    column_order: np.ndarray
    itemsize: int
    kept: tuple[np.ndarray, ...] = field(repr=False)
    starts: dict[tuple[Any, ...], Any] = field(default_factory=dict, repr=False)

    @property
    def n(self) -> int:
        """Weights."""
        return self.walk.rows * self.walk.cols

    @cached_property
    def segments(self) -> int:
        """Segments of the matrix."""
        return self.n // self.walk.segment

    def start(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where kernels start that begin at encoding positions, int64 (s,), rising.

        Returns
        -------
        ranks : ndarray of int64, shape (s,)
            Unpruned weights before each.
        cursors : ndarray of CURSOR, shape (s, n_w)
            The next correction of each plane.
        """
        ranks = count_care(self.encoded.mask, positions)
        corrections = self.encoded.corrections
        cursors = np.zeros((len(positions), len(corrections.lists)), dtype=CURSOR)
        find_cursors(corrections, ranks, cursors)
        return ranks, cursors


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
        found = _OPERANDS[tensor] = _make(tensor)
    return found


def _make(tensor: CompressedTensor) -> Operands:
    assert tensor.mask is not None
    payload = tuple(np.ascontiguousarray(part) for part in tensor.payload)
    groups = [(part.ctypes.data, *part.shape) for part in payload]
    tables = _byte_tables([tensor.basis[p] for p in tensor.encoded])
    raw = np.ascontiguousarray(tensor.raw)
    encoded = Encoded(
        mask=_mask_words(tensor.mask),
        groups=np.array(groups, dtype=GROUP),
        gates=tensor.decoder.gates,
        affine=_affine(tables, tensor.offset),
        tables=tables,
        offset=tensor.offset,
        raw=RawPlanes(
            raw.ctypes.data,
            raw.shape[1],
            np.array([tensor.basis[p] for p in tensor.raw_planes], dtype=np.uint32),
        ),
        corrections=_corrections(tensor),
    )
    return Operands(
        encoded,
        walk_of(tensor.walk),
        *permutations(tensor.walk),
        DTYPES[tensor.dtype],
        (*payload, raw),
    )


def _mask_words(mask: MaskCode) -> np.ndarray:
    """The mask, uint64 (n // 64 + 2,), zero behind its last place."""
    words = np.zeros(mask.n // 64 + 2, dtype=np.uint64)
    packed = mask.bitmap
    if packed is None:
        packed = np.packbits(mask.decode(), bitorder="little")
    words.view(np.uint8)[: len(packed)] = packed
    found = int(np.bitwise_count(words).sum())
    if found != mask.k:
        raise FormatError(f"the mask must have {mask.k} unpruned places, decoded {found}")
    return words


def _corrections(tensor: CompressedTensor) -> Corrections:
    lists = np.zeros(len(tensor.corrections), dtype=LIST)
    sizes = [len(code.data) for code in tensor.corrections]
    data = np.zeros((sum(sizes) // 8 + 2) * 8, dtype=np.uint8)
    at = 0
    for plane, (code, size) in enumerate(zip(tensor.corrections, sizes, strict=True)):
        data[at : at + size] = code.data
        lists[plane] = _list(code, 8 * at)
        at += size
    flips = np.array(tensor.basis, dtype=np.uint32)
    return Corrections(data.view("<u8").astype(np.uint64, copy=False), lists, flips)


def _list(code: EliasFano, at: int) -> tuple[int, int, int, int]:
    """A LIST whose code begins at bit `at`."""
    low = low_bits(code.count, code.universe)
    upper_bits = elias_fano_bits(code.count, code.universe) - code.count * low
    return at, at + upper_bits, low, code.count


def _byte_tables(vectors: list[int]) -> np.ndarray:
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
