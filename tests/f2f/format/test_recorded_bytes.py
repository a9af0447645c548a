"""Compressed bytes are for all time: every case must give the bytes that were recorded.

`recorded-bytes.json` holds a checksum of header and data per case. It was written by the version
before the package was split into rooms (`python tests/f2f/format/test_recorded_bytes.py` writes it
again, which is only right when a new default is meant to change what new files hold).
"""

import hashlib
import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import f2f

RECORDED = Path(__file__).resolve().parents[2] / "golden" / "recorded-bytes.json"

DTYPES = ("int8", "uint8", "int16", "float16", "bfloat16", "float32")
ORDERS = ("golden", "row", "column", "diagonal")
CODECS = ("auto", "bitmap", "list", "cascade", "none")
SHAPES = ((64, 96), (257, 33), (8, 3, 3, 5), (1500,), (1, 700), (0, 4))


def weights(dtype, shape, sparsity, seed):
    """Pruned weights whose bits depend on the integer stream of PCG64 alone."""
    rng = np.random.default_rng(seed)
    n = int(np.prod(shape))
    pruned = rng.integers(0, 1000, n) < int(1000 * sparsity)
    if dtype in ("int8", "uint8", "int16"):
        values = np.clip(rng.integers(-300, 300, n) // 3, -128, 127).astype(dtype)
        values[values == 0] = 1
    else:
        kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype)
        values = ((rng.integers(0, 2001, n) - 1000.5) / 16384).astype(kind)
    values[pruned] = 0
    return values.reshape(shape)


def cases():
    """name -> (arguments of `weights`, options of `f2f.compress`)."""
    found = {}

    def add(dtype="int8", shape=(64, 96), sparsity=0.9, seed=1, **options):
        name = " ".join([dtype, "x".join(map(str, shape)), f"{sparsity:g}", f"seed={seed}"])
        name += "".join(f" {key}={value}" for key, value in options.items())
        found[name] = ((dtype, shape, sparsity, seed), options)

    for dtype in DTYPES:
        for order in ORDERS:
            for codec in ("auto", "bitmap"):
                add(dtype, order=order, mask_codec=codec, beam=16)
        for sparsity in (0.0, 0.5, 0.99, 1.0):
            add(dtype, (96, 100), sparsity, 2)
    for codec in CODECS:
        for sparsity in (0.3, 0.8, 0.95):
            add(shape=(120, 130), sparsity=sparsity, mask_codec=codec, beam=16)
    for shape in SHAPES:
        add(shape=shape, seed=3)
        add("float32", shape, 0.7, 4, order="golden")
    for n_s in (0, 1, 2, 4, 7):
        add(shape=(128, 96), n_s=n_s, matrix="random")
        add(shape=(128, 96), n_s=n_s, n_out=40, sparsity=0.7)
    for beam in (1, 4, 64, 256):
        add(shape=(128, 160), beam=beam, seed=5)
    add(shape=(128, 160), beam=16, threads=2, seed=5)
    add(shape=(96, 96), n_s=1, n_out=60, method="viterbi", seed=6)
    add(shape=(40, 1000), sparsity=0.9, beam=16, seed=11)
    return found


def checksum(arguments, options):
    """Of everything a file stores of the tensor."""
    tensor = f2f.compress(weights(*arguments), **options)
    digest = hashlib.blake2b(digest_size=12)
    digest.update(json.dumps(tensor.header(), sort_keys=True).encode())
    for name, part in sorted(tensor.arrays().items()):
        digest.update(name.encode() + part.tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("name", cases())
def test_bytes_are_those_recorded(name):
    recorded = json.loads(RECORDED.read_text())
    assert set(recorded) == set(cases())
    assert checksum(*cases()[name]) == recorded[name]


if __name__ == "__main__":
    found = {name: checksum(*case) for name, case in cases().items()}
    RECORDED.write_text(json.dumps(found, indent=1) + "\n")
