"""What one would store instead, by name: real encoders, real sizes.

Each format turns a tensor into named arrays and back, bit for bit, a weight whose bits are all
zero being a pruned one. Tensors are seen as matrices (first axis by all others). Sizes are those
of the arrays, so no format is charged for a container. The compressors are the packages that one
would install; only the layouts of delta_csr and bitmap are written here.

| name | stored | random access |
|---|---|---|
| dense | the weights as they are | any weight |
| zstd | the dense bytes through zstandard, level 3 | none |
| zipnn | the dense bytes through ZipNN: bytes of equal place, Huffman coded | none |
| csr | 32-bit row offsets and column indices, values (scipy) | any row |
| scipy csr npz | the same as `scipy.sparse.save_npz` writes it, deflated | none |
| delta_csr | 32-bit row offsets, 4-bit gaps, values; a gap over 15 takes filler entries | any row |
| bitmap | one mask bit a weight, values one after another | after a count of the mask |
| bitmap_zipnn | one mask bit a weight, values through ZipNN | none |
| ans_bitmap | mask through constriction's ANS, values one after another | none |
| ans_values | mask and values through constriction's ANS, a static model a byte | none |
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

from f2f.base import validate
from f2f.format.orders import matrix_shape

Arrays = dict[str, np.ndarray]

GAP_BITS = 4
STEP = 1 << GAP_BITS  # the most positions one entry of delta_csr can advance
MODEL_BITS = 16  # of a probability that is stored for constriction
# What ZipNN calls a weight of so many bytes; it splits floats into bytes, and has no integers.
ZIPNN_DTYPES = {1: "float8_e4m3fn", 2: "float16", 4: "float32", 8: "float32"}


class Layout(NamedTuple):
    """What a format needs to know to give a tensor back."""

    rows: int  # of the tensor as a matrix
    cols: int
    dtype: np.dtype  # of the weights
    word: np.dtype  # unsigned, of the same size; all formats but ZipNN's work on these bits

    @classmethod
    def of(cls, shape: tuple[int, ...], dtype: np.dtype) -> Layout:
        """The matrix of a tensor of this shape and dtype."""
        dtype = np.dtype(dtype)
        return cls(*matrix_shape(shape), dtype, np.dtype(f"u{dtype.itemsize}"))


class Format(NamedTuple):
    """A storage format: from the words of a matrix (rows, cols), or of one flat row, and back."""

    pack: Callable[[np.ndarray, Layout], Arrays]
    unpack: Callable[[Arrays, Layout], np.ndarray]  # of any shape in row-major order
    needs: str = ""  # the package that it runs on and that may be absent


class MaskCode(NamedTuple):
    """How a mask, bool (n,), is stored, and how it is read, given n."""

    pack: Callable[[np.ndarray], Arrays]
    unpack: Callable[[Arrays, int], np.ndarray]
    needs: str = ""


def pack(name: str, array: np.ndarray) -> Arrays:
    """The arrays that one of `FORMATS` stores: all that `unpack` needs beside shape and dtype.

    `array` is of any shape, integers or floats of 1, 2, 4 or 8 bytes. `ValueError` for an unknown
    name, `RuntimeError` where the package of the format is not installed.

    >>> weight = np.eye(64, dtype=np.int8)
    >>> packed_bytes(pack("bitmap", weight))  # 64*64/8 mask bytes and 64 values
    576
    """
    form, layout = _format(name), Layout.of(array.shape, array.dtype)
    words = np.ascontiguousarray(array).reshape(-1).view(layout.word)
    return form.pack(words.reshape(layout.rows, layout.cols), layout)


def unpack(name: str, arrays: Arrays, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """The tensor that `pack` was given, bit for bit."""
    layout = Layout.of(shape, dtype)
    words = _format(name).unpack(arrays, layout)
    return words.reshape(-1).view(layout.dtype).reshape(shape)


def packed_bytes(arrays: Arrays) -> int:
    """Bytes of all arrays."""
    return sum(array.nbytes for array in arrays.values())


def absent(name: str) -> str:
    """Why a format cannot be used here, in one line; "" where it can.

    >>> absent("csr")
    ''
    """
    needs = FORMATS[validate.choice("name", name, tuple(FORMATS))].needs
    if not needs or importlib.util.find_spec(needs):
        return ""
    return f"{name}: not measured, the package {needs} is not installed (pip install {needs})"


def _format(name: str) -> Format:
    if reason := absent(name):
        raise RuntimeError(reason)
    return FORMATS[name]


def _pack_dense(words: np.ndarray, layout: Layout) -> Arrays:
    return {"values": words}


def _unpack_dense(arrays: Arrays, layout: Layout) -> np.ndarray:
    return arrays["values"].copy()


def _pack_zstd(words: np.ndarray, layout: Layout) -> Arrays:
    import zstandard

    data = zstandard.ZstdCompressor(level=3).compress(words.tobytes())
    return {"frame": np.frombuffer(data, np.uint8)}


def _unpack_zstd(arrays: Arrays, layout: Layout) -> np.ndarray:
    import zstandard

    data = zstandard.ZstdDecompressor().decompress(arrays["frame"].tobytes())
    return np.frombuffer(data, layout.word)


def _pack_zipnn(words: np.ndarray, layout: Layout) -> Arrays:
    # ZipNN reorders bits in the buffer that it is given: a copy.
    data = _zipnn(layout.dtype).compress(bytearray(words.tobytes()))
    return {"frame": np.frombuffer(data, np.uint8)}


def _unpack_zipnn(arrays: Arrays, layout: Layout) -> np.ndarray:
    data = _zipnn(layout.dtype).decompress(arrays["frame"].tobytes())
    return np.frombuffer(data, layout.word)


def _zipnn(dtype: np.dtype) -> Any:
    import zipnn

    kind = "bfloat16" if dtype.name == "bfloat16" else ZIPNN_DTYPES[dtype.itemsize]
    return zipnn.ZipNN(input_format="byte", bytearray_dtype=kind, threads=1)


def _pack_csr(words: np.ndarray, layout: Layout) -> Arrays:
    matrix = scipy.sparse.csr_array(words)
    return {"offsets": matrix.indptr, "columns": matrix.indices, "values": matrix.data}


def _unpack_csr(arrays: Arrays, layout: Layout) -> np.ndarray:
    parts = (arrays["values"], arrays["columns"], arrays["offsets"])
    return scipy.sparse.csr_array(parts, shape=(layout.rows, layout.cols)).toarray()


def _pack_npz(words: np.ndarray, layout: Layout) -> Arrays:
    file = io.BytesIO()
    scipy.sparse.save_npz(file, scipy.sparse.csr_array(words))
    return {"file": np.frombuffer(file.getvalue(), np.uint8)}


def _unpack_npz(arrays: Arrays, layout: Layout) -> np.ndarray:
    return scipy.sparse.load_npz(io.BytesIO(arrays["file"].tobytes())).toarray()


def _pack_delta_csr(words: np.ndarray, layout: Layout) -> Arrays:
    row, col = np.nonzero(words)
    previous = np.concatenate([[-1], col[:-1]])
    previous[np.concatenate([[True], row[1:] != row[:-1]])[: len(row)]] = -1
    zeros = col - previous[: len(col)] - 1  # pruned weights before this one
    entries = zeros // STEP + 1  # fillers and the entry itself
    last = np.cumsum(entries) - 1
    gaps = np.full(int(entries.sum()), STEP - 1, np.uint8)
    gaps[last] = zeros % STEP
    values = np.zeros(len(gaps), words.dtype)
    values[last] = words[row, col]
    counts = np.bincount(row, weights=entries, minlength=len(words)).astype(np.int64)
    even = np.append(gaps, np.uint8(0)) if len(gaps) % 2 else gaps
    return {
        "offsets": np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
        "gaps": even[0::2] | even[1::2] << GAP_BITS,
        "values": values,
    }


def _unpack_delta_csr(arrays: Arrays, layout: Layout) -> np.ndarray:
    gaps = np.stack([arrays["gaps"] & (STEP - 1), arrays["gaps"] >> GAP_BITS], axis=1)
    steps = gaps.reshape(-1)[: len(arrays["values"])].astype(np.int64) + 1
    offsets = arrays["offsets"]
    reached = np.concatenate([[0], np.cumsum(steps)])
    row = np.repeat(np.arange(layout.rows), np.diff(offsets))
    out = np.zeros((layout.rows, layout.cols), layout.word)
    # A filler writes zero where nothing else is written.
    out[row, reached[1:] - reached[offsets[row]] - 1] = arrays["values"]
    return out


def _pack_ans(words: np.ndarray, layout: Layout) -> Arrays:
    import constriction

    symbols = _rotated(words.reshape(-1), layout, 1)[:, None].view(np.uint8).astype(np.int32)
    counts = np.stack([np.bincount(column, minlength=256) for column in symbols.T])
    # Scaled to 16 bits, and no symbol that occurs loses its place.
    top = (1 << MODEL_BITS) - 1
    scale = min(1.0, top / max(int(counts.max()), 1))
    counts = np.ceil(counts * scale).astype(np.uint16)
    coder = constriction.stream.stack.AnsCoder()
    for column, row in reversed(list(zip(symbols.T, counts, strict=True))):
        coder.encode_reverse(np.ascontiguousarray(column), _byte_model(row))
    return {"counts": counts, "values": coder.get_compressed()}


def _unpack_ans(arrays: Arrays, layout: Layout) -> np.ndarray:
    import constriction

    coder, n = constriction.stream.stack.AnsCoder(arrays["values"]), layout.rows * layout.cols
    columns = [coder.decode(_byte_model(row), n).astype(np.uint8) for row in arrays["counts"]]
    words = np.ascontiguousarray(np.stack(columns, axis=1)).view(layout.word).reshape(-1)
    return _rotated(words, layout, -1)


def _rotated(words: np.ndarray, layout: Layout, by: int) -> np.ndarray:
    """Floats rotated left by one bit (back: -1), so that the last byte is the exponent alone."""
    if layout.dtype.kind in "iu":
        return words
    bits, by = 8 * layout.word.itemsize, by % (8 * layout.word.itemsize)
    return (words << layout.word.type(by)) | (words >> layout.word.type(bits - by))


def _byte_model(counts: np.ndarray) -> Any:
    """The static model of one byte of a value, from the counts of its 256 symbols."""
    import constriction

    shares = counts.astype(np.float64) + (counts.sum() == 0)
    return constriction.stream.model.Categorical(shares / shares.sum(), perfect=False)


def _pack_bits(care_mask: np.ndarray) -> Arrays:
    return {"mask": np.packbits(care_mask, bitorder="little")}


def _unpack_bits(arrays: Arrays, n: int) -> np.ndarray:
    return np.unpackbits(arrays["mask"], count=n, bitorder="little").astype(bool)


def _pack_ans_mask(care_mask: np.ndarray) -> Arrays:
    """Every place as one binary symbol; "ones" is P(1) in units of 2**-16."""
    import constriction

    share = round(np.count_nonzero(care_mask) / max(care_mask.size, 1) * (1 << MODEL_BITS))
    ones = np.array([min(max(share, 1), (1 << MODEL_BITS) - 1)], np.uint16)
    coder = constriction.stream.stack.AnsCoder()
    coder.encode_reverse(care_mask.astype(np.int32), _mask_model(ones))
    return {"mask": coder.get_compressed(), "ones": ones}


def _unpack_ans_mask(arrays: Arrays, n: int) -> np.ndarray:
    import constriction

    coder = constriction.stream.stack.AnsCoder(arrays["mask"])
    return coder.decode(_mask_model(arrays["ones"]), n).astype(bool)


def _mask_model(ones: np.ndarray) -> Any:
    import constriction

    return constriction.stream.model.Bernoulli(int(ones[0]) / (1 << MODEL_BITS), perfect=False)


def _masked(mask: MaskCode, values: Format) -> Format:
    """The mask of the words that are not zero, and these as a row in a format of their own."""

    def pack(words: np.ndarray, layout: Layout) -> Arrays:
        care_mask = words.reshape(-1) != 0
        kept = words.reshape(-1)[care_mask]
        return mask.pack(care_mask) | values.pack(kept, layout._replace(rows=1, cols=kept.size))

    def unpack(arrays: Arrays, layout: Layout) -> np.ndarray:
        care_mask = mask.unpack(arrays, layout.rows * layout.cols)
        row = layout._replace(rows=1, cols=int(np.count_nonzero(care_mask)))
        out = np.zeros(len(care_mask), layout.word)
        out[care_mask] = values.unpack(arrays, row)
        return out

    return Format(pack, unpack, mask.needs or values.needs)


_DENSE = Format(_pack_dense, _unpack_dense)
_ZIPNN = Format(_pack_zipnn, _unpack_zipnn, "zipnn")
_BITMAP = MaskCode(_pack_bits, _unpack_bits)
_ANS_MASK = MaskCode(_pack_ans_mask, _unpack_ans_mask, "constriction")
FORMATS = {
    "dense": _DENSE,
    "zstd": Format(_pack_zstd, _unpack_zstd, "zstandard"),
    "zipnn": _ZIPNN,
    "csr": Format(_pack_csr, _unpack_csr),
    "scipy csr npz": Format(_pack_npz, _unpack_npz),
    "delta_csr": Format(_pack_delta_csr, _unpack_delta_csr),
    "bitmap": _masked(_BITMAP, _DENSE),
    "bitmap_zipnn": _masked(_BITMAP, _ZIPNN),
    "ans_bitmap": _masked(_ANS_MASK, _DENSE),
    "ans_values": _masked(_ANS_MASK, Format(_pack_ans, _unpack_ans, "constriction")),
}
