"""What one would store instead: dense, zstd, CSR, delta-CSR, bitmaps; real encoders, real sizes.

Each format turns a tensor into named arrays and back, bit for bit, a weight whose bits are all
zero being a pruned one. Tensors are seen as matrices (first axis by all others). Sizes are those
of the arrays, so no format is charged for a container.

| name | stored | random access |
|---|---|---|
| dense | the weights as they are | any weight |
| zstd | the dense bytes through zstd, level 3 | none |
| csr | 32-bit row offsets and column indices, values | any row |
| delta_csr | 32-bit row offsets, 4-bit gaps, values; a gap over 15 takes filler entries | any row |
| bitmap | one mask bit a weight, values one after another | after a count of the mask |
| ans_bitmap | the mask by a binary rANS coder at its entropy, values one after another | none |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numba import njit

from f2f.format.orders import matrix_shape

Arrays = dict[str, np.ndarray]

_GAP_BITS = 4
_STEP = 1 << _GAP_BITS  # the most positions one entry can advance
_ANS_LOW = 1 << 23  # lower end of the coder's state, which is renormalised byte by byte
_ANS_BITS = 16  # bits of a probability


@dataclass(frozen=True)
class Format:
    """A storage format; pack: matrix of unsigned words (rows, cols) to arrays; unpack: back."""

    name: str
    pack: Callable[[np.ndarray], Arrays]
    unpack: Callable[[Arrays, int, int, np.dtype], np.ndarray]


def pack(name: str, array: np.ndarray) -> Arrays:
    """The arrays that format `name` stores for a tensor; `ValueError` for an unknown name.

    >>> weight = np.eye(64, dtype=np.int8)
    >>> packed_bytes(pack("bitmap", weight))  # 64*64/8 mask bytes and 64 values
    576
    """
    words = np.ascontiguousarray(array).reshape(-1).view(f"u{array.dtype.itemsize}")
    return _format(name).pack(words.reshape(matrix_shape(array.shape)))


def unpack(name: str, arrays: Arrays, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """The tensor that `pack` was given, bit for bit."""
    dtype = np.dtype(dtype)
    word = np.dtype(f"u{dtype.itemsize}")
    words = _format(name).unpack(arrays, *matrix_shape(shape), word)
    return words.reshape(-1).view(dtype).reshape(shape)


def packed_bytes(arrays: Arrays) -> int:
    """Bytes of all arrays."""
    return sum(array.nbytes for array in arrays.values())


def _format(name: str) -> Format:
    if name not in FORMATS:
        raise ValueError(f"name must be one of {', '.join(FORMATS)}, got {name!r}")
    return FORMATS[name]


def _pack_dense(words: np.ndarray) -> Arrays:
    return {"values": words}


def _unpack_dense(arrays: Arrays, rows: int, cols: int, word: np.dtype) -> np.ndarray:
    return arrays["values"].copy()


def _pack_zstd(words: np.ndarray) -> Arrays:
    import zstandard

    data = zstandard.ZstdCompressor(level=3).compress(words.tobytes())
    return {"frame": np.frombuffer(data, np.uint8)}


def _unpack_zstd(arrays: Arrays, rows: int, cols: int, word: np.dtype) -> np.ndarray:
    import zstandard

    data = zstandard.ZstdDecompressor().decompress(arrays["frame"].tobytes())
    return np.frombuffer(data, word).reshape(rows, cols)


def _pack_csr(words: np.ndarray) -> Arrays:
    row, col = np.nonzero(words)
    return {
        "offsets": _offsets(np.bincount(row, minlength=len(words))),
        "columns": col.astype(np.int32),
        "values": words[row, col],
    }


def _unpack_csr(arrays: Arrays, rows: int, cols: int, word: np.dtype) -> np.ndarray:
    out = np.zeros((rows, cols), word)
    row = np.repeat(np.arange(rows), np.diff(arrays["offsets"]))
    out[row, arrays["columns"]] = arrays["values"]
    return out


def _pack_delta_csr(words: np.ndarray) -> Arrays:
    row, col = np.nonzero(words)
    previous = np.concatenate([[-1], col[:-1]])
    previous[np.concatenate([[True], row[1:] != row[:-1]])[: len(row)]] = -1
    zeros = col - previous[: len(col)] - 1  # pruned weights before this one
    entries = zeros // _STEP + 1  # fillers and the entry itself
    last = np.cumsum(entries) - 1
    gaps = np.full(int(entries.sum()), _STEP - 1, np.uint8)
    gaps[last] = zeros % _STEP
    values = np.zeros(len(gaps), words.dtype)
    values[last] = words[row, col]
    counts = np.bincount(row, weights=entries, minlength=len(words)).astype(np.int64)
    even = np.append(gaps, np.uint8(0)) if len(gaps) % 2 else gaps
    return {
        "offsets": _offsets(counts),
        "gaps": even[0::2] | even[1::2] << _GAP_BITS,
        "values": values,
    }


def _unpack_delta_csr(arrays: Arrays, rows: int, cols: int, word: np.dtype) -> np.ndarray:
    gaps = np.stack([arrays["gaps"] & (_STEP - 1), arrays["gaps"] >> _GAP_BITS], axis=1)
    steps = gaps.reshape(-1)[: len(arrays["values"])].astype(np.int64) + 1
    offsets = arrays["offsets"]
    reached = np.concatenate([[0], np.cumsum(steps)])
    row = np.repeat(np.arange(rows), np.diff(offsets))
    out = np.zeros((rows, cols), word)
    # A filler writes zero where nothing else is written.
    out[row, reached[1:] - reached[offsets[row]] - 1] = arrays["values"]
    return out


def _pack_bitmap(words: np.ndarray) -> Arrays:
    flat = words.reshape(-1)
    return {"mask": np.packbits(flat != 0, bitorder="little"), "values": flat[flat != 0]}


def _unpack_bitmap(arrays: Arrays, rows: int, cols: int, word: np.dtype) -> np.ndarray:
    care = np.unpackbits(arrays["mask"], count=rows * cols, bitorder="little").astype(bool)
    return _spread(care, arrays["values"], rows, cols)


def _pack_ans_bitmap(words: np.ndarray) -> Arrays:
    flat = words.reshape(-1)
    values = flat[flat != 0]
    share = round(len(values) / max(len(flat), 1) * (1 << _ANS_BITS))
    ones = min(max(share, 1), (1 << _ANS_BITS) - 1)
    mask = _ans_encode((flat != 0).view(np.uint8), ones)
    return {"mask": mask, "ones": np.array([ones], np.uint16), "values": values}


def _unpack_ans_bitmap(arrays: Arrays, rows: int, cols: int, word: np.dtype) -> np.ndarray:
    care = _ans_decode(arrays["mask"], int(arrays["ones"][0]), rows * cols).view(bool)
    return _spread(care, arrays["values"], rows, cols)


def _offsets(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)


def _spread(care: np.ndarray, values: np.ndarray, rows: int, cols: int) -> np.ndarray:
    out = np.zeros(rows * cols, values.dtype)
    out[care] = values
    return out.reshape(rows, cols)


@njit(cache=True, nogil=True)
def _ans_encode(bits, ones):
    """Static binary rANS (Duda 2013): uint8 bytes of bits (n,), P(1) = ones / 2**16."""
    zeros = (1 << _ANS_BITS) - ones
    out = np.empty(2 * len(bits) + 4, dtype=np.uint8)
    at = len(out)  # written from the end: the decoder reads forwards what is coded backwards
    state = _ANS_LOW
    for i in range(len(bits) - 1, -1, -1):
        width, start = (ones, zeros) if bits[i] else (zeros, 0)
        while state >= ((_ANS_LOW >> _ANS_BITS) << 8) * width:
            at -= 1
            out[at] = state & 255
            state >>= 8
        state = (state // width << _ANS_BITS) + state % width + start
    for _ in range(4):
        at -= 1
        out[at] = state & 255
        state >>= 8
    return out[at:].copy()


@njit(cache=True, nogil=True)
def _ans_decode(data, ones, n):
    """The n bits (uint8) that `_ans_encode` was given."""
    zeros = (1 << _ANS_BITS) - ones
    state = 0
    for at in range(4):
        state = state << 8 | data[at]
    at = 4
    out = np.zeros(n, dtype=np.uint8)
    for i in range(n):
        low = state & ((1 << _ANS_BITS) - 1)
        if low >= zeros:
            out[i] = 1
            state = ones * (state >> _ANS_BITS) + low - zeros
        else:
            state = zeros * (state >> _ANS_BITS) + low
        while state < _ANS_LOW:
            state = state << 8 | data[at]
            at += 1
    return out


FORMATS = {
    form.name: form
    for form in (
        Format("dense", _pack_dense, _unpack_dense),
        Format("zstd", _pack_zstd, _unpack_zstd),
        Format("csr", _pack_csr, _unpack_csr),
        Format("delta_csr", _pack_delta_csr, _unpack_delta_csr),
        Format("bitmap", _pack_bitmap, _unpack_bitmap),
        Format("ans_bitmap", _pack_ans_bitmap, _unpack_ans_bitmap),
    )
}
