"""Backend "numpy": Algorithm 2 of the paper, SpMV using encoded weights, as written.

For each block: decode n_out weight bits a plane from n_s + 1 input vectors, repair the wrong ones,
multiply the unpruned weights by their x and add to their rows. The paper does the blocks in
parallel; here they come one after another, for reading and for tests.
"""

from __future__ import annotations

import numpy as np

from f2f.base.tensors import numpy_dtype
from f2f.format.orders import matrix_shape
from f2f.format.tensor import DTYPES, GROUP_PLANES, CompressedTensor


def product(tensor: CompressedTensor, x: np.ndarray, threads: int | None = None) -> np.ndarray:
    """The product of a tensor of kind "encoded" and x, block by block.

    Parameters
    ----------
    tensor : CompressedTensor
        With its mask.
    x : ndarray, shape (cols, m)
        Its dtype is that of the sums.
    threads : int, optional
        For backends that have them; not used.

    Returns
    -------
    ndarray, shape (rows, m), of the dtype of x
    """
    rows, cols = matrix_shape(tensor.shape)
    assert tensor.mask is not None
    mask = tensor.mask.decode()
    wrong = [code.decode() for code in tensor.corrections]  # care ranks, by plane
    y = np.zeros((rows, x.shape[1]), dtype=x.dtype)
    rank = 0
    for block, first in enumerate(range(0, tensor.n, tensor.n_out)):
        places = first + np.flatnonzero(mask[first : first + tensor.n_out])
        words = _block_words(tensor, block, places)
        for ranks, flip in zip(wrong, tensor.basis, strict=True):
            lo, hi = np.searchsorted(ranks, (rank, rank + len(places)))
            words[ranks[lo:hi] - rank] ^= words.dtype.type(flip)
        rank += len(places)
        weights = words.view(numpy_dtype(tensor.dtype)).astype(x.dtype)
        row, column = np.divmod(tensor.encoding_order.index(places), cols)
        np.add.at(y, row, weights[:, None] * x[column])
    return y


def _block_words(tensor: CompressedTensor, block: int, places: np.ndarray) -> np.ndarray:
    """The decoded bits of the weights at rising encoding positions of one block, unsigned (p,)."""
    word = np.dtype(f"u{DTYPES[tensor.dtype]}").type
    words = np.full(len(places), tensor.offset, dtype=word)
    for g, inputs in enumerate(tensor.payload):
        # out_t = M (x_t ⌢ x_{t-1} ⌢ … ⌢ x_{t-n_s}), for the planes of a group side by side
        window = inputs[block : block + tensor.n_s + 1]
        decoded = tensor.decoder.decode_plain(window, tensor.n_out)[places - block * tensor.n_out]
        for q, plane in enumerate(tensor.encoded[GROUP_PLANES * g : GROUP_PLANES * (g + 1)]):
            words ^= (decoded >> q & 1).astype(word) * word(tensor.basis[plane])
    for packed, plane in zip(tensor.raw, tensor.raw_planes, strict=True):
        bits = packed[places >> 3] >> (places & 7).astype(np.uint8) & 1
        words ^= bits.astype(word) * word(tensor.basis[plane])
    return words
