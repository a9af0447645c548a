"""Stored parts that do not fit together: refused where they are made, whoever makes them."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest

import f2f
from f2f.base.errors import FormatError
from f2f.format.corrections import EliasFano
from f2f.format.mask import encode_mask
from f2f.hardware.export import write_project

RNG = np.random.default_rng(0)
WEIGHT = RNG.integers(-127, 128, (130, 100), dtype=np.int8)
WEIGHT[RNG.random(WEIGHT.shape) < 0.8] = 0
TENSOR = f2f.compress(WEIGHT, mask_codec="cascade", beam=1)
DENSE = f2f.compress(np.arange(12.0))
LIST, CODE = encode_mask(WEIGHT[0] != 0, "list"), EliasFano.encode(np.arange(0, 80, 9), 81)
BITMAP = encode_mask(np.ones(13, dtype=bool), "bitmap")
PARTS = {"tensor": TENSOR, "dense": DENSE, "cascade": TENSOR.mask, "list": LIST} | {
    "bitmap": BITMAP,
    "corrections": CODE,
}
BYTES = np.zeros(3, np.uint8)
OTHER = encode_mask(WEIGHT.reshape(-1) == 0, "bitmap")  # of as many places, but not of k weights

ANYTHING = [None, "x", -1, 3, 2**70, 1.5, (), (1,), (BYTES,), [1] * 99, BYTES, CODE, OTHER]
WRONG = {
    "encoded": [TENSOR.encoded[::-1], TENSOR.encoded[:-1], (*TENSOR.encoded, 7, 7)],
    "payload": [(TENSOR.payload[0][:-1],), TENSOR.payload * 2, (TENSOR.payload[0].view("i1"),)],
    "corrections": [TENSOR.corrections[:-1], (CODE,) * 8, (None,) * 8],
    "basis": [TENSOR.basis[:-1], (256,) * 8, (0,) * 8],
    "mask": [BITMAP, replace(OTHER, k=TENSOR.k)],
    "raw": [np.zeros((1, 1625), np.uint8)],
    "k": [TENSOR.k + 1],
    "n": [WEIGHT.size + 1],
    "seed": [1],
    "n_out": [TENSOR.n_out + 1],
    "n_outs": [TENSOR.mask.n_outs[:-1], TENSOR.mask.n_outs * 9],
    "shape": [(131, 100), [130, 100], (13, 10, 100, 0), (100, 130)],
    "dtype": ["int16", "float64", "uint8"],
    "inverted": [not LIST.inverted],
    "streams": [TENSOR.mask.streams[:-1], tuple(map(np.zeros_like, TENSOR.mask.streams))],
    "bitmap": [np.array([255, 63], np.uint8), np.array([255], np.uint8)],
    "data": [CODE.data[:-1], CODE.data ^ 1, CODE.data.astype(np.int64)],
    "count": [CODE.count - 1],
    "universe": [CODE.universe - 9, 10**6],
    "order": ["row"],
    "matrix": ["random"],
    "library": ["torch"],
}


def outcome(function, *args, **kwargs):
    """What a function gives, as text to compare, or that it refused."""
    try:
        return np.asarray(function(*args, **kwargs)).tobytes()
    except FormatError:
        return "refused"


@pytest.mark.parametrize("name", PARTS)
def test_a_part_is_refused_or_means_the_same_everywhere(name):
    """Each field of each part changed: refused when made, or by all who use it, or by none."""
    part, refused = PARTS[name], 0
    for field in part.__dataclass_fields__:
        for value in [*ANYTHING, *WRONG.get(field, [])]:
            try:
                changed = replace(part, **{field: value})
                tensor = replace(TENSOR, mask=changed) if name == "cascade" else changed
            except FormatError:
                refused += 1
                continue
            if isinstance(tensor, f2f.CompressedTensor) and tensor.mask is not None:
                again = f2f.CompressedTensor.from_parts(tensor.header(), tensor.arrays())
                x = RNG.integers(-9, 9, tensor.shape[1])
                weight = outcome(f2f.decompress, tensor)
                product = outcome(f2f.spmv, tensor, x)
                assert weight == outcome(f2f.decompress, again)
                assert product == outcome(f2f.spmv, tensor, x, backend="numpy")
                assert (weight == "refused") == (product == "refused")
    assert refused > 15


@pytest.mark.parametrize("field", ["k", "payload", "corrections", "n_out", "encoded", "seed"])
def test_the_message_says_what_does_not_fit(field):
    with pytest.raises(FormatError, match=f"must have parts that fit: .*({field}|payload|mask)"):
        replace(TENSOR, **{field: WRONG[field][0]})


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_no_product_with_a_cascade_of_another_number_of_weights(backend):
    mask = TENSOR.mask.decode()
    mask[np.flatnonzero(mask)[0]] = False
    fewer = encode_mask(mask, "cascade", beam=1)
    with pytest.raises(FormatError, match="mask must be of "):
        replace(TENSOR, mask=fewer)
    claimed = replace(TENSOR, mask=replace(fewer, k=TENSOR.k))
    with pytest.raises(FormatError, match=f"mask must have {TENSOR.k} unpruned places, decoded"):
        f2f.spmv(claimed, np.ones(100), backend=backend)


def test_verilog_of_a_mask_that_is_none(tmp_path):
    claimed = replace(TENSOR, mask=replace(TENSOR.mask, streams=WRONG["streams"][1]))
    with pytest.raises(FormatError, match="mask must have"):
        write_project(claimed, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy, lambda part: replace(part)])
def test_parts_and_their_copies_cannot_be_written_to(make):
    tensor = make(pickle.loads(pickle.dumps(TENSOR)))
    mask = tensor.mask
    arrays = [
        tensor.raw,
        *tensor.payload,
        *mask.streams,
        mask.corrections.data,
        make(BITMAP).bitmap,
    ]
    arrays += [code.data for code in tensor.corrections]
    for array in arrays:
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    assert f2f.decompress(tensor).tobytes() == WEIGHT.tobytes()


def test_a_pickle_holds_what_is_stored_and_no_more():
    f2f.decompress(TENSOR)
    assert len(pickle.dumps(TENSOR)) < TENSOR.nbytes + 2000
