"""The arrays that the GPU kernel of `encoded.cu` reads, built once per tensor on the host.

The kernel decodes unpruned weights only, 32 at a time, and wants to know where they are without a
search. So the mask becomes a list of *groups* of up to 32 weights (8 bytes each) and of *steps*
(one byte a weight): the low byte of the weight's distance from the first block of its group, that
block being a multiple of 4. Distances rise by less than 256, so a fall of the byte is a carry. All
windows of a group lie in 16 consecutive input vectors, the operand of one tensor-core product. A
group is always one of weights here; what `f2f.format` calls a group of planes is one of the
*stored bytes* of a word.

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

from f2f.base import validate
from f2f.base.jit import njit
from f2f.format.codec import stored_mask
from f2f.format.expand import expand
from f2f.format.operands import byte_tables
from f2f.format.orders import MAX_WEIGHTS, Walk
from f2f.format.places import Places, find_places
from f2f.format.tensor import DTYPES, FLOAT8, CompressedTensor

GROUPS_PER_BLOCK = 128  # groups that a thread block takes at a time, at most
VECTORS = 16  # input vectors in the 128 bits of a tensor-core operand
MAX_DEVICE_N_OUT = (1 << 14) - 1  # of the kernel's division; sparser tensors become exceptions
FLIP_SHARE = 1 / 64  # a plane flipped more often than this gets a bit a weight


class Arrays(NamedTuple):
    """The kernel's arrays on the host (NumPy) or the device (CuPy); names as in `encoded.cu`.

    Attributes
    ----------
    heads : array of uint32, shape (g, 2)
        First block / 4, and distance of the first weight | count << 24. Empty groups follow the
        others, to whole chunks and one beyond.
    steps : array of uint8, shape (g, 32)
        Low bytes of the weights' distances.
    payload : array of uint32, shape (vectors / 4 + 4, 8 * stored bytes)
        Byte j of word [w, q] is input vector 4w + j of plane q.
    rows : array of uint64, shape (n_out,)
        Of the decoder matrix, as `Decoder.rows`.
    luts : array of uint32, shape (stored bytes, 256)
        What stored bytes flip in a word; of length 0 where they are its bytes already.
    flips : array of uint32, shape (g, f)
        Bit i for weight i of the group.
    flip_words : array of uint32, shape (f,)
        What each flips in a word.
    exception_index : array of uint32, shape (e,)
        i * cols + j in permuted rows and columns (`f2f.format.places`).
    exception_word : array of uint32, shape (e,)
    """

    heads: np.ndarray
    steps: np.ndarray
    payload: np.ndarray
    rows: np.ndarray
    luts: np.ndarray
    flips: np.ndarray
    flip_words: np.ndarray
    exception_index: np.ndarray
    exception_word: np.ndarray

    @property
    def nbytes(self) -> int:
        """Bytes of them all."""
        return sum(int(array.nbytes) for array in self)


@dataclass(frozen=True, eq=False)
class DeviceLayout:
    """A tensor as the kernel wants it.

    Attributes
    ----------
    dtype : str
        Of the weights.
    walk : Walk
        Where encoding positions lie.
    n_out, n_s : int
        Of the decoder.
    stored_bytes : int
        Of a word: groups of 8 planes.
    n_groups : int
        Groups of weights that are not empty.
    offset : int
        The word whose stored bits are all zero.
    arrays : Arrays
    """

    dtype: str
    walk: Walk
    n_out: int
    n_s: int
    stored_bytes: int
    n_groups: int
    offset: int
    arrays: Arrays

    def bytes_moved(self, columns: int = 1) -> int:
        """Fewest bytes that a product moves through device memory.

        Every array and `columns` columns of x are read once, as many of y written once, four bytes
        an element.
        """
        return self.arrays.nbytes + 4 * columns * (self.walk.rows + self.walk.cols)


def build_layout(tensor: CompressedTensor, mask: np.ndarray | None = None) -> DeviceLayout:
    """The layout of a tensor of kind "encoded", n > 0.

    Peak memory on the host: about 40 bytes an unpruned weight, the mask as bool (n,), and where
    there are exceptions the weights.

    Parameters
    ----------
    tensor : CompressedTensor
    mask : ndarray of bool, of the tensor's shape, optional
        Where the tensor stores none.

    Raises
    ------
    ValueError
        For a tensor of kind "dense", of float8, or of 2**31 weights or more, or a wrong mask.
    """
    validate.instance("tensor", tensor, CompressedTensor)
    if tensor.kind != "encoded":
        raise ValueError(f"tensor must be of kind 'encoded', got {tensor.kind!r}")
    if tensor.dtype in FLOAT8:
        raise ValueError(f"tensor must not be of {tensor.dtype} on a GPU; the CPU takes it")
    if tensor.n > MAX_WEIGHTS:
        raise ValueError(f"tensor must have at most {MAX_WEIGHTS} weights, got {tensor.n}")
    care_mask = stored_mask(tensor, mask)
    positions = np.flatnonzero(care_mask)
    exceptional, flipped = _split_corrections(tensor, positions)
    listed = np.flatnonzero(~exceptional)  # care ranks that the kernel decodes
    packed = _pack_steps(positions[listed], tensor.n_out, tensor.n_s)
    flips = np.zeros((len(packed.heads), len(flipped)), dtype=np.uint32)
    for f, at_care in enumerate(flipped.values()):
        bits = np.zeros(packed.steps.shape, dtype=np.uint8)
        bits.reshape(-1)[packed.members] = at_care[listed]
        flips[:, f] = np.packbits(bits, axis=1, bitorder="little").view("<u4")[:, 0]

    walk, rare = tensor.encoding_order.walk, positions[exceptional]
    words = np.zeros(0, dtype=np.uint32)
    if len(rare):
        words = expand(tensor, care_mask)[tensor.encoding_order.index(rare)].astype(np.uint32)
    payload, luts = _payload(tensor)
    arrays = Arrays(
        heads=packed.heads,
        steps=packed.steps,
        payload=payload,
        rows=tensor.decoder.rows[: min(tensor.n_out, MAX_DEVICE_N_OUT)],
        luts=luts,
        flips=flips,
        flip_words=np.array([tensor.basis[p] for p in flipped], dtype=np.uint32),
        exception_index=_permuted_index(walk, rare),
        exception_word=words,
    )
    return DeviceLayout(
        dtype=tensor.dtype,
        walk=walk,
        n_out=tensor.n_out,
        n_s=tensor.n_s,
        stored_bytes=payload.shape[1] // 8,
        n_groups=packed.n_groups,
        offset=tensor.offset,
        arrays=arrays,
    )


def _split_corrections(
    tensor: CompressedTensor, positions: np.ndarray
) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """What becomes of the corrections of weights at care positions, int64 (k,).

    Returns which weights leave the list, bool (k,), and for each plane that has a bit a weight,
    rising, that bit, uint8 (k,); both by care rank.
    """
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
    return exceptional, dict(sorted(flips.items()))


class Steps(NamedTuple):
    """Weights in groups.

    Attributes
    ----------
    n_groups : int
        As in `DeviceLayout`.
    steps, heads : ndarray
        As in `Arrays`.
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


def _payload(tensor: CompressedTensor) -> tuple[np.ndarray, np.ndarray]:
    """`payload` and `luts` of `Arrays`."""
    planes = (
        np.concatenate(tensor.payload, axis=1) if tensor.payload else np.zeros((0, 0), np.uint8)
    )
    luts = byte_tables([tensor.basis[p] for p in tensor.encoded] or [0])
    count = tensor.decoder.n_vectors(tensor.n)
    by_four = np.zeros((-(-count // 4) + 4, 4, 8 * len(luts)), dtype=np.uint8)
    mapped = by_four.reshape(-1, 8 * len(luts))[: len(planes)]
    if len(luts) == DTYPES[tensor.dtype]:
        for q, p in enumerate(tensor.encoded):
            for bit in range(mapped.shape[1]):
                if tensor.basis[p] >> bit & 1:
                    mapped[:, bit] ^= planes[:, q]
        luts = luts[:0]
    else:
        mapped[:, : planes.shape[1]] = planes
    return np.ascontiguousarray(by_four.transpose(0, 2, 1)).view("<u4")[..., 0], luts


def _permuted_index(walk: Walk, positions: np.ndarray) -> np.ndarray:
    """i * cols + j of rising encoding positions, in permuted rows and columns, uint32."""
    places = Places(np.empty_like(positions), np.empty_like(positions))
    find_places(walk, 0, positions, len(positions), places)
    return (places.rows * walk.cols + places.columns).astype(np.uint32)


def is_narrow(walk: Walk) -> bool:
    """Whether 32-bit fractions give a diagonal's columns exactly, see NARROW in `encoded.cu`."""
    return (walk.rows + walk.cols) * walk.cols < 1 << 32


def walk_fields(walk: Walk) -> list[np.generic]:
    """The members of `struct Walk` in `encoded.cu`, in turn."""
    n, bits = walk.rows * walk.cols, 32 if is_narrow(walk) else 64

    def fraction(a: int, b: int, bits: int = 64) -> np.generic:
        return np.uint64((a % b << bits) // b)

    return [
        fraction(walk.stride or 1, n),
        fraction(1, walk.cols, bits),
        fraction(walk.turn, walk.cols, bits),
        *map(np.uint32, (walk.rows, walk.cols, walk.row_step, walk.column_step)),
    ]
