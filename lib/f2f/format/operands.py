"""What the kernels need of a compressed tensor: sizes, tables, and where its arrays lie.

Made once per tensor and kept as long as it lives. Nothing of the size of the weights is copied:
`groups`, `lists`, `bitmap`, `streams` and `raw` hold addresses of the stored arrays.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from f2f.decoder.gates import Affine, Gates
from f2f.format.corrections import EliasFano, elias_fano_bits, low_bits
from f2f.format.mask import stream_decoder
from f2f.format.orders import matrix_shape
from f2f.format.stages import (
    BITMAP,
    CHUNK,
    CURSOR_FIELDS,
    FULL,
    LIST_FIELDS,
    STREAM_FIELDS,
    STREAMS,
    count_care,
    find_cursors,
)
from f2f.format.tensor import CompressedTensor

GOLDEN, ROW, COLUMN, DIAGONAL = 0, 1, 2, 3
WALKS = {"golden": GOLDEN, "row": ROW, "column": COLUMN, "diagonal": DIAGONAL}


@dataclass(frozen=True, eq=False)
class Operands:
    """A tensor (kind "encoded", n > 0) as a matrix, for the kernels of `f2f.product.cpu`.

    stride, torus: of the order, see `f2f.format.orders`. gates: of the decoder. groups: int64 (groups, 3), address, vectors and planes of the
    inputs. tables: uint32 (groups, 256), what a decoded byte stands for. raw: int64 (raw planes,
    2), address and bytes; raw_bits: uint32, what their bits stand for. flips: uint32 (n_w,), what
    a wrong bit of a plane flips. lists: int64 (n_w + 1, LIST_FIELDS), the Elias-Fano lists of the
    planes and, last, of the mask. streams: of a cascade mask. shares: where the threads of a
    product start, by their number.
    """

    rows: int
    cols: int
    walk: int
    stride: int
    torus: tuple[int, int, int]
    gates: Gates
    groups: np.ndarray
    tables: np.ndarray
    offset: int
    raw: np.ndarray
    raw_bits: np.ndarray
    flips: np.ndarray
    lists: np.ndarray
    mask_kind: int
    inverted: bool
    bitmap: tuple[int, int]
    streams: np.ndarray
    kept: tuple[np.ndarray, ...] = field(repr=False)
    shares: dict[tuple[int, int], list[Any]] = field(default_factory=dict, repr=False)

    @property
    def segment(self) -> int:
        """Consecutive positions along which row and column advance by constant steps."""
        if self.walk == GOLDEN:
            return self.rows * self.cols
        return self.cols if self.walk == ROW else self.rows

    @property
    def segments(self) -> int:
        """Segments of the matrix."""
        return self.rows * self.cols // self.segment

    @cached_property
    def column_step(self) -> int:
        """How far a segment's first column is from the last one's, in permuted columns."""
        if self.walk != DIAGONAL:
            return 1
        _, g_c, h = self.torus
        return h * pow(g_c, -1, self.cols) % self.cols

    @cached_property
    def row_order(self) -> np.ndarray:
        """int64 (rows,): the row at each place of the permuted result."""
        if self.walk != DIAGONAL:
            return np.arange(self.rows)
        return np.arange(self.rows) * self.torus[0] % self.rows

    @cached_property
    def column_order(self) -> np.ndarray:
        """int64 (cols,): the column at each place of the permuted vector."""
        if self.walk != DIAGONAL:
            return np.arange(self.cols)
        return np.arange(self.cols) * self.torus[1] % self.cols

    @cached_property
    def reached_columns(self) -> np.ndarray:
        """int64: the columns in walked order, as far as a segment that starts anywhere reaches."""
        if self.walk != DIAGONAL:
            return self.column_order
        return np.resize(self.column_order, self.cols + min(self.segment, CHUNK))

    @cached_property
    def affine(self) -> Affine:
        """What the stored bytes of one-byte weights stand for, as `decode_blocks` wants it."""
        table = self.tables[0] if len(self.tables) else np.zeros(256)
        by_nibble = np.concatenate([table[:16], table[::16]]).astype(np.uint8)
        return Affine(by_nibble, np.uint8(self.offset))

    def start(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Care ranks int64 (s,) and list cursors int64 (s, 3, n_w + 1) at rising positions (s,)."""
        cursors = np.zeros((len(positions), CURSOR_FIELDS, len(self.lists)), dtype=np.int64)
        find_cursors(self.lists, len(self.lists) - 1, positions, cursors)
        ranks = count_care(
            self.mask_kind, self.inverted, self.bitmap, self.streams, self.lists, positions
        )
        for p in range(len(self.flips)):
            find_cursors(self.lists, p, ranks, cursors)
        return ranks, cursors


_OPERANDS: WeakKeyDictionary[CompressedTensor, Operands] = WeakKeyDictionary()


def operands(tensor: CompressedTensor) -> Operands:
    """The operands of a tensor of kind "encoded"; made at the first use, kept with the tensor."""
    found = _OPERANDS.get(tensor)
    if found is None:
        found = _OPERANDS[tensor] = _make(tensor)
    return found


def _make(tensor: CompressedTensor) -> Operands:
    mask = tensor.mask
    assert mask is not None
    rows, cols = matrix_shape(tensor.shape)
    kept: list[np.ndarray] = []

    def address(array: np.ndarray) -> int:
        kept.append(np.ascontiguousarray(array))
        return kept[-1].ctypes.data

    groups = [(address(part), *part.shape) for part in tensor.payload]
    raw = [(address(plane), plane.nbytes) for plane in tensor.raw]
    lists = [_list(code, address) for code in (*tensor.corrections, mask.corrections)]
    streams = []
    for number, (inputs, n_out) in enumerate(zip(mask.streams, mask.n_outs, strict=True)):
        tables = stream_decoder(mask.n_in, n_out, mask.n_s, mask.seed, number).tables
        sizes = (*tables.shape, n_out, *mask.word_order(number))
        streams.append((address(inputs), len(inputs), address(tables), *sizes))
    bitmap = (0, 0) if mask.bitmap is None else (address(mask.bitmap), mask.bitmap.nbytes)
    kinds = {"full": FULL, "bitmap": BITMAP, "list": STREAMS, "cascade": STREAMS}
    return Operands(
        rows=rows,
        cols=cols,
        walk=WALKS[tensor.order],
        stride=tensor.walk.stride,
        torus=(0, 0, 0) if tensor.walk.is_stride_walk else tensor.walk.torus,
        gates=tensor.decoder.gates,
        groups=_table(groups, 3),
        tables=_byte_tables([tensor.basis[p] for p in tensor.encoded]),
        offset=tensor.offset,
        raw=_table(raw, 2),
        raw_bits=np.array([tensor.basis[p] for p in tensor.raw_planes], dtype=np.uint32),
        flips=np.array(tensor.basis, dtype=np.uint32),
        lists=_table(lists, LIST_FIELDS),
        mask_kind=kinds[mask.codec],
        inverted=mask.inverted,
        bitmap=bitmap,
        streams=_table(streams, STREAM_FIELDS),
        kept=tuple(kept),
    )


def _list(code: EliasFano | None, address: Any) -> tuple[int, ...]:
    if code is None or code.count == 0:
        return 0, 0, 0, 0, 0
    low = low_bits(code.count, code.universe)
    upper = elias_fano_bits(code.count, code.universe) - code.count * low
    return address(code.data), code.data.nbytes, low, upper, code.count


def _table(rows: list[Any], fields: int) -> np.ndarray:
    return np.array(rows, dtype=np.int64).reshape(len(rows), fields)


def _byte_tables(vectors: list[int]) -> np.ndarray:
    """uint32 (groups, 256): the XOR of the vectors at the set bits of each byte of stored bits."""
    groups = -(-len(vectors) // 8)
    tables = np.zeros((groups, 256), dtype=np.uint32)
    for j, vector in enumerate(vectors):
        bit = 1 << j % 8
        tables[j // 8, bit : 2 * bit] = tables[j // 8, :bit] ^ np.uint32(vector)
    # A group of fewer than 8 planes has zeros in the missing ones.
    return tables
