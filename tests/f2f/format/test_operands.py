"""Operands are made once, found again, and safe between threads."""

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from plain import weights

from f2f import FormatError, compress
from f2f.format.mask import encode_mask
from f2f.format.operands import operands


@pytest.mark.parametrize("codec", ["bitmap", "list", "cascade"])
def test_mask_is_unpacked_to_a_bit_a_weight(codec):
    tensor = compress(weights((70, 91), "int8", 0.2), mask_codec=codec, beam=1)
    mask = operands(tensor).encoded.mask
    bits = np.unpackbits(mask.view(np.uint8), bitorder="little")
    assert mask.nbytes <= tensor.n // 8 + 16 + 56  # whole groups of eight words
    assert np.array_equal(bits[: tensor.n], tensor.mask.decode()) and not bits[tensor.n :].any()


def test_found_again_as_long_as_the_tensor_lives():
    tensor = compress(weights((40, 50), "int8", 0.2), beam=1)
    kept = weakref.ref(operands(tensor))
    assert operands(tensor) is kept()
    assert operands(replace(tensor)) is not kept()
    del tensor
    gc.collect()
    assert kept() is None


def test_threads_that_ask_at_once_get_the_same():
    tensor = compress(weights((200, 300), "int8", 0.2), beam=1)
    for _ in range(5):
        fresh = replace(tensor)
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _, t=fresh: operands(t).encoded.mask.tobytes(), range(16)))
        assert len(set(found)) == 1


@pytest.mark.parametrize("codec", ["bitmap", "cascade"])
def test_refuses_a_mask_of_another_number_of_weights(codec):
    tensor = compress(weights((40, 50), "int8", 0.2), beam=1)
    mask = tensor.mask.decode()
    mask[np.flatnonzero(mask)[0]] = False
    other = replace(encode_mask(mask, codec), k=tensor.k)
    with pytest.raises(FormatError, match=f"mask must have {tensor.k} unpruned places, decoded"):
        operands(replace(tensor, mask=other))
