"""The arrays that the GPU kernel of `encoded.cu` reads, built once per tensor on the host.

The kernel decodes unpruned weights only, 32 at a time, and wants to know where they are without a
search. So the mask becomes a list of *groups* of up to 32 weights (8 bytes each) and of *steps*
(one byte a weight): the low byte of the weight's distance from the first block of its group, that
block being a multiple of 4. Distances rise by less than 256, so a fall of the byte is a carry. All
windows of a group lie in 16 consecutive input vectors, the operand of one tensor-core product.

The payload is the stored one, regrouped so that a 32-bit word is four vectors of one plane. Where
it costs no memory, the change of basis is applied to the payload itself (both are linear). Planes
whose stored bit is often corrected (skewed planes, stored as constants with exceptions) or raw get
one bit a weight beside the steps; weights with a rarer correction leave the list and are kept as
(index, word) pairs, so that garbage such as a decoded NaN never meets the sum.

Only NumPy and numba are used here: the layout is tested without a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from f2f.base.jit import njit
from f2f.format.basis import linear_map
from f2f.format.codec import stored_mask
from f2f.format.orders import MAX_WEIGHTS, Order
from f2f.format.tensor import DTYPES, FLOAT8, GROUP_PLANES, CompressedTensor

GROUPS_PER_BLOCK = 128  # groups that a thread block takes at a time, at most
VECTORS = 16  # input vectors in the 128 bits of a tensor-core operand
MAX_DEVICE_N_OUT = (1 << 14) - 1  # of the kernel's division; sparser tensors become exceptions
FLIP_SHARE = 1 / 64  # a plane flipped more often than this gets a bit a weight

_ARRAYS = (
    *("heads", "steps", "payload", "rows", "luts", "flips", "flip_words"),
    *("exception_index", "exception_word"),
)


@dataclass(frozen=True, eq=False)
class DeviceLayout:
    """Host copies of the kernel's arrays; names as in `encoded.cu`.

    Attributes
    ----------
    shape : (int, int)
        Rows and columns.
    dtype : str
        Of the weights.
    order : Order
    n_out, n_s : int
        Of the decoder.
    groups : int
        Groups of 8 planes.
    n_groups : int
        Groups of up to 32 weights; empty ones follow, to whole chunks and one beyond.
    heads : ndarray of uint32, shape (g, 2)
        First block / 4, and distance of the first weight | count << 24.
    steps : ndarray of uint8, shape (g, 32)
        Low bytes of the weights' distances.
    payload : ndarray of uint32, shape (vectors / 4 + 4, 8 * groups)
        Byte j of word [w, q] is input vector 4w + j of plane q.
    rows : ndarray of uint64, shape (n_out,)
        Of the decoder matrix, as `Decoder.rows`.
    luts : ndarray of uint32, shape (groups, 256)
        What decoded bytes stand for; of length 0 where they are word bytes already.
    flips : ndarray of uint32, shape (g, f)
        Bit i for weight i of the group.
    flip_words : ndarray of uint32, shape (f,)
        What each flips in a word.
    offset : int
        The affine part of the words.
    exception_index : ndarray of uint32, shape (e,)
        i * cols + j in walked rows and columns.
    exception_word : ndarray of uint32, shape (e,)
    weights : int
        Unpruned weights of the tensor, the exceptions among them.
    """

    shape: tuple[int, int]
    dtype: str
    order: Order
    n_out: int
    n_s: int
    groups: int
    n_groups: int
    heads: np.ndarray
    steps: np.ndarray
    payload: np.ndarray
    rows: np.ndarray
    luts: np.ndarray
    flips: np.ndarray
    flip_words: np.ndarray
    offset: int
    exception_index: np.ndarray
    exception_word: np.ndarray
    weights: int

    def arrays(self) -> dict[str, np.ndarray]:
        """Every array that goes to the device, by name."""
        return {name: getattr(self, name) for name in _ARRAYS}

    @property
    def nbytes(self) -> int:
        """Bytes of device memory that the matrix takes."""
        return sum(array.nbytes for array in self.arrays().values())

    def bytes_moved(self, columns: int = 1) -> int:
        """Fewest bytes that a product moves through device memory.

        Every array and `columns` columns of x are read once, as many of y written once, four bytes
        an element.
        """
        return self.nbytes + 4 * columns * sum(self.shape)


def build_layout(tensor: CompressedTensor, mask: np.ndarray | None = None) -> DeviceLayout:
    """The layout of a tensor of kind "encoded".

    Peak memory on the host: about 40 bytes an unpruned weight and the mask as bool (n,).

    Parameters
    ----------
    tensor : CompressedTensor
    mask : ndarray of bool, of the tensor's shape, optional
        Where the tensor stores none.

    Raises
    ------
    ValueError
        For a tensor of kind "dense", of float8, or of 2**31 weights or more.
    """
    if tensor.kind != "encoded":
        raise ValueError(f"tensor must be of kind 'encoded', got {tensor.kind!r}")
    if tensor.dtype in FLOAT8:
        raise ValueError(f"tensor must not be of {tensor.dtype} on a GPU; the CPU takes it")
    if tensor.n > MAX_WEIGHTS:
        raise ValueError(f"tensor must have at most {MAX_WEIGHTS} weights, got {tensor.n}")
    positions = np.flatnonzero(stored_mask(tensor, mask))
    wrong = _split_corrections(tensor, positions)
    listed = np.flatnonzero(~wrong.exceptional)  # care ranks that the kernel decodes
    packed = _pack_steps(positions[listed], tensor.n_out, tensor.n_s)
    groups, payload, luts = _payload(tensor, DTYPES[tensor.dtype])
    flips = np.zeros((len(packed.heads), len(wrong.flips)), dtype=np.uint32)
    for f, at_care in enumerate(wrong.flips.values()):
        bits = np.zeros(packed.steps.shape, dtype=np.uint8)
        bits.reshape(-1)[packed.members] = at_care[listed]
        flips[:, f] = np.packbits(bits, axis=1, bitorder="little").view("<u4")[:, 0]

    rare = np.flatnonzero(wrong.exceptional)
    words = _words_at(tensor, positions, rare)
    return DeviceLayout(
        shape=(tensor.walk.rows, tensor.walk.cols),
        dtype=tensor.dtype,
        order=tensor.walk,
        n_out=tensor.n_out,
        n_s=tensor.n_s,
        groups=groups,
        n_groups=packed.n_groups,
        heads=packed.heads,
        steps=packed.steps,
        payload=payload,
        rows=tensor.decoder.rows[: min(tensor.n_out, MAX_DEVICE_N_OUT)],
        luts=luts,
        flips=flips,
        flip_words=np.array([tensor.basis[p] for p in wrong.flips], dtype=np.uint32),
        offset=tensor.offset,
        exception_index=_walked_index(tensor.walk, positions[rare]),
        exception_word=words.astype(np.uint32),
        weights=tensor.k,
    )


class Wrong(NamedTuple):
    """How the corrections of a tensor are made on the device.

    Attributes
    ----------
    exceptional : ndarray of bool, shape (k,)
        Weights that leave the list, by care rank.
    flips : dict of int to ndarray of uint8, shape (k,)
        For each plane that has a bit a weight, rising, that bit by care rank.
    """

    exceptional: np.ndarray
    flips: dict[int, np.ndarray]


def _split_corrections(tensor: CompressedTensor, positions: np.ndarray) -> Wrong:
    """What becomes of the corrections of weights at care positions, int64 (k,)."""
    exceptional = np.full(tensor.k, tensor.n_out > MAX_DEVICE_N_OUT)
    flips: dict[int, np.ndarray] = {}
    for row, p in zip(tensor.raw, tensor.raw_planes, strict=False):
        flips[p] = np.unpackbits(row, count=tensor.n, bitorder="little")[positions]
    for p, code in enumerate(tensor.corrections):
        if not code.count:
            continue
        ranks = code.decode()
        if p in flips or code.count > FLIP_SHARE * tensor.k:
            flips.setdefault(p, np.zeros(tensor.k, dtype=np.uint8))[ranks] ^= 1
        else:
            exceptional[ranks] = True
    return Wrong(exceptional, dict(sorted(flips.items())))


class Steps(NamedTuple):
    """Weights in groups; n_groups, steps and heads as in `DeviceLayout`.

    Attributes
    ----------
    n_groups : int
    steps, heads : ndarray
    members : ndarray of int64
        Index of each weight in the flattened steps.
    """

    n_groups: int
    steps: np.ndarray
    heads: np.ndarray
    members: np.ndarray


def _pack_steps(positions: np.ndarray, n_out: int, n_s: int) -> Steps:
    """The groups of weights at rising encoding positions, int64."""
    group_of = np.empty(len(positions), dtype=np.int64)
    g = _assign_groups(positions, n_out, VECTORS - n_s, group_of) if len(positions) else 0
    starts = np.searchsorted(group_of, np.arange(g))
    counts = np.diff(np.append(starts, len(positions)))
    quarter = positions[starts] // (4 * n_out)
    distance = positions - 4 * n_out * quarter[group_of]
    lane = np.arange(len(positions)) - starts[group_of]
    members = 32 * group_of + lane

    first = distance[starts]
    # A lane without a weight repeats the last distance: no carry, and a place that exists.
    low = ((distance - first[group_of]) & 255).astype(np.uint8)
    padded = (-(-g // GROUPS_PER_BLOCK) + 1) * GROUPS_PER_BLOCK
    steps = np.zeros((padded, 32), dtype=np.uint8)
    steps[:g] = low[starts + counts - 1, None]
    steps.reshape(-1)[members] = low
    heads = np.zeros((padded, 2), dtype=np.uint32)
    heads[:g, 0] = quarter
    heads[:g, 1] = first | counts << 24
    return Steps(g, steps, heads, members)


@njit
def _assign_groups(positions, n_out, blocks, group_of):
    """Number the groups greedily; `blocks` consecutive blocks have all windows in 16 vectors."""
    group = -1
    count = 32
    end = -1
    before = 0
    for w in range(len(positions)):
        position = positions[w]
        if count == 32 or position >= end or position - before > 255:
            group += 1
            count = 0
            end = (position // (4 * n_out) * 4 + blocks) * n_out
        group_of[w] = group
        count += 1
        before = position
    return group + 1


def _payload(tensor: CompressedTensor, n_bytes: int) -> tuple[int, np.ndarray, np.ndarray]:
    """(groups of 8 planes, words (vectors / 4 + 4, 8 * groups), tables or none)."""
    planes = (
        np.concatenate(tensor.payload, axis=1) if tensor.payload else np.zeros((0, 0), np.uint8)
    )
    groups = max(1, -(-planes.shape[1] // GROUP_PLANES))
    vectors = [tensor.basis[p] for p in tensor.encoded]
    mapped = np.zeros((len(planes), 8 * groups), dtype=np.uint8)
    if groups == n_bytes:
        for q, vector in enumerate(vectors):
            for p in range(8 * n_bytes):
                if vector >> p & 1:
                    mapped[:, p] ^= planes[:, q]
        luts = np.zeros((0, 256), dtype=np.uint32)
    else:
        mapped[:, : planes.shape[1]] = planes
        vectors += [0] * (8 * groups - len(vectors))
        bytes_ = np.arange(256, dtype=np.uint32)
        luts = np.stack(
            [linear_map(tuple(vectors[8 * g : 8 * g + 8]), bytes_) for g in range(groups)]
        )
    count = tensor.decoder.n_vectors(tensor.n)
    tiles = np.zeros((-(-count // 4) + 4, 4, 8 * groups), dtype=np.uint8)
    tiles.reshape(-1, 8 * groups)[: len(mapped)] = mapped
    words = np.ascontiguousarray(tiles.transpose(0, 2, 1)).view("<u4")[..., 0]
    return groups, words, luts


def _words_at(tensor: CompressedTensor, positions: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """True words, unsigned, of the weights with these care ranks: a parity each, then corrections.

    Memory: 24 bytes a weight and plane of a chunk.
    """
    dtype = np.dtype(f"u{DTYPES[tensor.dtype]}")
    stored = np.zeros(len(ranks), dtype=dtype)
    at = positions[ranks]
    blocks, r = at // tensor.n_out, at % tensor.n_out
    rows = tensor.decoder.rows[r]
    for g, inputs in enumerate(tensor.payload):
        for q in range(inputs.shape[1]):
            window = np.zeros(len(at), dtype=np.uint64)
            for j in range(tensor.n_s + 1):
                window |= inputs[blocks + j, q].astype(np.uint64) << np.uint64(8 * j)
            bit = (np.bitwise_count(rows & window) & 1).astype(dtype)
            stored |= bit << dtype.type(tensor.encoded[GROUP_PLANES * g + q])
    for row, p in zip(tensor.raw, tensor.raw_planes, strict=False):
        stored |= ((row[at >> 3] >> (at & 7)) & 1).astype(dtype) << dtype.type(p)
    for p, code in enumerate(tensor.corrections):
        if code.count:
            stored ^= np.isin(ranks, code.decode()).astype(dtype) << dtype.type(p)
    return linear_map(tensor.basis, stored) ^ dtype.type(tensor.offset)


def _walked_index(order: Order, positions: np.ndarray) -> np.ndarray:
    """i * cols + j of each position, in the rows and columns that the order walks."""
    if order.is_stride_walk or order.name == "column" or not len(positions):
        return order.index(positions).astype(np.uint32)
    i, d = positions % order.rows, positions // order.rows
    return (i * order.cols + (i + d * diagonal_turn(order)) % order.cols).astype(np.uint32)


def diagonal_turn(order: Order) -> int:
    """Walked columns between the starts of two diagonals: g_c * turn = h (mod cols)."""
    _, g_c, h = order.torus
    return h * pow(g_c, -1, order.cols) % order.cols if order.cols > 1 else 0


def is_narrow(order: Order) -> bool:
    """Whether 32-bit fractions give a diagonal's columns exactly, see NARROW in `encoded.cu`."""
    return (order.rows + order.cols) * order.cols < 1 << 32


class WalkFields(NamedTuple):
    """The members of `struct Walk` in `encoded.cu`: three fractions and four counts."""

    fraction: int
    column_fraction: int
    turn_fraction: int
    n_rows: int
    n_cols: int
    g_row: int
    g_col: int


def walk_fields(order: Order) -> WalkFields:
    """How the kernel walks through a matrix in this order."""

    def fraction(a: int, b: int, bits: int = 64) -> int:
        return (a % b << bits) // b

    rows, cols = order.rows, order.cols
    if order.name != "diagonal":
        return WalkFields(fraction(order.stride, order.n), 0, 0, rows, cols, 1, 1)
    g_r, g_c, _ = order.torus
    bits = 32 if is_narrow(order) else 64
    turn = fraction(diagonal_turn(order), cols, bits)
    return WalkFields(fraction(1, order.n), fraction(1, cols, bits), turn, rows, cols, g_r, g_c)
