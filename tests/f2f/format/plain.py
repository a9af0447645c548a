"""The plain path: what every fast one must equal, position by position, from the stored parts."""

import numpy as np

from f2f.base.tensors import numpy_dtype
from f2f.format.tensor import DTYPES, GROUP_PLANES, CompressedTensor


def weights(shape, dtype, density, seed=0):
    """A pruned matrix, normal values; of uint8 any byte."""
    rng = np.random.default_rng(seed)
    normal = rng.standard_normal(shape)
    if dtype in ("int8", "int16"):
        array = (normal * 40).round().clip(-128, 127).astype(dtype)
    elif dtype == "uint8":
        array = rng.integers(0, 256, shape, dtype=np.uint8)
    else:
        array = normal.astype(numpy_dtype(dtype))
    array[rng.random(shape) >= density] = 0
    return array


def encoding(monkeypatch):
    """Make `compress` encode whether or not that pays."""
    monkeypatch.setattr(CompressedTensor, "nbytes", property(lambda t: int(t.kind == "dense")))


def care_words(tensor, mask):
    """The words at the care positions of a mask, bool (n,), unsigned (k,), corrected."""
    word = np.dtype(f"u{DTYPES[tensor.dtype]}").type
    positions = np.flatnonzero(mask)
    words = np.full(len(positions), tensor.offset, dtype=word)
    for g, inputs in enumerate(tensor.payload):
        decoded = tensor.decoder.decode_plain(inputs, tensor.n)[positions]
        for q, plane in enumerate(tensor.encoded[GROUP_PLANES * g : GROUP_PLANES * (g + 1)]):
            words ^= (decoded >> q & 1).astype(word) * word(tensor.basis[plane])
    for packed, plane in zip(tensor.raw, tensor.raw_planes, strict=True):
        bits = np.unpackbits(packed, count=tensor.n, bitorder="little")[positions]
        words ^= bits.astype(word) * word(tensor.basis[plane])
    for plane, code in enumerate(tensor.corrections):
        words[code.decode()] ^= word(tensor.basis[plane])
    return words


def encoded_words(tensor, mask=None):
    """All words in encoding order, unsigned (n,), zero where pruned."""
    mask = tensor.mask.decode() if mask is None else mask
    words = np.zeros(tensor.n, dtype=f"u{DTYPES[tensor.dtype]}")
    words[mask] = care_words(tensor, mask)
    return words


def matrix_words(tensor, mask=None):
    """The same, row-major."""
    words = encoded_words(tensor, mask)
    out = np.empty_like(words)
    out[tensor.encoding_order.index(np.arange(tensor.n))] = words
    return out
