"""The weights of a tensor of one-byte numbers, decoded as fast as a product decodes them.

The stages of `f2f.format.stages` on one chunk after another; what a product would multiply is put
where it belongs in the matrix.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from f2f.base.errors import FormatError
from f2f.base.intrinsics import aligned_zeros, borrowed, copy_bytes
from f2f.decoder.gates import work_bytes
from f2f.format.operands import GOLDEN, ROW, operands
from f2f.format.places import golden_places, golden_steps, segment_places
from f2f.format.stages import (
    CHUNK,
    DUE,
    chunk_bytes,
    flip_words,
    list_positions,
    mask_bytes,
    mask_scratch,
    read_mask,
    read_planes,
)
from f2f.format.tensor import CompressedTensor


def expand(tensor: CompressedTensor) -> np.ndarray:
    """The bits of all weights, uint8 (n,), row-major, zero where pruned.

    tensor: of kind "encoded", int8 or uint8, with its mask and without raw planes, n > 0. Raises
    `FormatError` if the mask has not as many unpruned places as the tensor says.
    """
    op = operands(tensor)
    out = np.zeros(tensor.n, dtype=np.uint8)
    buffer = aligned_zeros(chunk_bytes(op.gates.n_out) + work_bytes(op.gates.n_s))
    _, cursors = op.start(np.zeros(1, dtype=np.int64))
    mask = (op.mask_kind, op.inverted, op.bitmap, op.streams)
    scratch = (
        buffer,
        *mask_scratch(),
        np.full(2, -1, dtype=np.int64),  # window
        np.empty(DUE, dtype=np.int64),
        np.empty(CHUNK, dtype=np.int64),  # positions
        np.empty((2, CHUNK), dtype=np.int64),  # places
        golden_steps(op),
    )
    flips = op.flips.astype(np.uint8)
    fixed = (op.gates, op.groups)
    walk = (op.walk, op.segment, op.cols, op.column_step, op.row_order, op.column_order)
    found = _expand(fixed, mask, op.lists, flips, op.affine, walk, cursors[0], out, scratch)
    if found != tensor.k:
        raise FormatError(f"the mask must have {tensor.k} unpruned places, decoded {found}")
    return out


@njit(nogil=True, cache=True)
def _expand(fixed, mask, lists, flips, affine, walk, cursor, out, scratch):
    gates, groups = fixed[0], borrowed(fixed[1])
    mask_kind, inverted, bitmap, streams = mask[0], mask[1], mask[2], borrowed(mask[3])
    lists, flips = borrowed(lists), borrowed(flips)
    kind, segment, cols, column_step = walk[0], walk[1], walk[2], walk[3]
    row_order, column_order = borrowed(walk[4]), borrowed(walk[5])
    cursor, out, buffer = borrowed(cursor), borrowed(out), borrowed(scratch[0])
    words, before, window = borrowed(scratch[1]), borrowed(scratch[2]), borrowed(scratch[3])
    due, positions, places = borrowed(scratch[4]), borrowed(scratch[5]), borrowed(scratch[6])
    steps = borrowed(scratch[7])
    work = buffer[chunk_bytes(gates.n_out) :]
    rank, walk_index = 0, 0
    for lo in range(0, len(out), CHUNK):
        count = min(CHUNK, len(out) - lo)
        care = read_mask(
            mask_kind, inverted, bitmap, streams, lists, cursor, lo, count, words, before
        )
        if len(groups):
            read_planes(groups[0], gates, affine, work, window, lo, count, buffer, 0)
        else:
            buffer[:count] = affine.offset
        mask_bytes(buffer, 0, words, count)
        flip_words(lists, flips, cursor, words, before, rank, care, due, buffer, 0)
        rank += care
        if kind == ROW:
            copy_bytes(buffer, 0, out, lo, count)
            continue
        list_positions(words, count, positions)
        if kind == GOLDEN:
            walk_index = golden_places(
                steps, walk_index, segment, cols, positions, care, count, places
            )
        else:
            segment_places(kind, segment, cols, column_step, lo, positions, care, places)
        for c in range(care):
            row, column = row_order[places[0, c]], column_order[places[1, c]]
            out[row * cols + column] = buffer[positions[c]]
    return rank
