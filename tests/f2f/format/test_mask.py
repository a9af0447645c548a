"""The mask code: exact round trips for every codec, size near the entropy, refusal of damage."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from f2f.base.errors import FormatError
from f2f.decoder import Decoder
from f2f.format import mask as mask_module
from f2f.format import mask_rates
from f2f.format.corrections import EliasFano
from f2f.format.mask import MAX_STREAM_N_OUT, MaskCode, encode_mask, modelled_bits
from f2f.format.mask_rates import plan_stages
from f2f.format.orders import golden_stride

GOLDEN = Path(__file__).parents[2] / "golden" / "mask-cascade.json"


def _mask(n, p, seed):
    return np.random.default_rng(seed).random(n) < p


def _entropy(p):
    return -p * np.log2(p) - (1 - p) * np.log2(1 - p)


def _stored(code):
    """The code as read back from JSON and plain arrays."""
    header = json.loads(json.dumps(code.header()))
    return MaskCode.from_parts(header, {k: v.copy() for k, v in code.arrays().items()}, code.n)


@settings(max_examples=120, deadline=None)
@given(
    n=st.one_of(st.integers(0, 20), st.integers(0, 4000)),
    p=st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1)),
    codec=st.sampled_from(["auto", "bitmap", "list", "cascade"]),
    n_in=st.sampled_from([1, 3, 8]),
    n_s=st.integers(0, 7),
    beam=st.sampled_from([1, 8]),
    seed=st.integers(0, 2**64 - 1),
)
def test_round_trip(n, p, codec, n_in, n_s, beam, seed):
    mask = _mask(n, p, seed)
    code = encode_mask(mask, codec, n_in=n_in, n_s=n_s, beam=beam, seed=seed)
    again = _stored(code)
    assert code.nbytes == sum(a.nbytes for a in code.arrays().values()) == again.nbytes
    for one in (code, again):
        decoded = one.decode()
        assert decoded.dtype == bool and decoded.shape == (n,)
        assert (decoded == mask).all()


@pytest.mark.parametrize(("n", "p"), [(30_000, 0.1), (5000, 0.004), (9000, 0.3), (7001, 0.85)])
def test_cascade_is_the_and_of_plainly_decoded_streams(n, p):
    mask = _mask(n, p, 1)
    code = encode_mask(mask, "cascade", seed=7, beam=16)
    assert code.codec == "cascade" and code.inverted == (p > 0.5)
    both = np.ones(n, dtype=bool)
    for i, (n_out, stream) in enumerate(zip(code.n_outs, code.streams, strict=True)):
        bits = Decoder(8, n_out, 7, 7 + 1 + i).decode_plain(stream, n).astype(bool)
        if 0 < i == len(code.streams) - 1:
            shuffled, words = bits.copy(), n // 64
            for w in range(words):
                v = golden_stride(words) * w % words
                bits[64 * v : 64 * v + 64] = shuffled[64 * w : 64 * w + 64]
        both &= bits
    both[code.corrections.decode()] ^= True
    assert ((~both if code.inverted else both) == mask).all()


@pytest.mark.parametrize(
    ("mask", "codec", "nbytes"),
    [
        (np.ones(1000, bool), "full", 0),
        (np.ones(1, bool), "full", 0),
        (np.zeros(0, bool), "full", 0),
        (np.zeros(1000, bool), "list", 0),
        (np.zeros(1, bool), "list", 0),
        (_mask(100_000, 0.5, 0), "bitmap", 12_500),
        (np.arange(100_000) % 1000 == 0, "list", 150),
    ],
)
def test_auto_chooses_the_least(mask, codec, nbytes):
    code = encode_mask(mask)
    assert (code.codec, code.nbytes) == (codec, nbytes)
    assert (code.decode() == mask).all()


@pytest.mark.parametrize("density", [0.002, 0.02, 0.1, 0.25, 0.5, 0.8, 0.999])
def test_auto_is_never_beaten(density):
    mask = _mask(40_000, density, 3)
    sizes = {c: encode_mask(mask, c).nbytes for c in ("auto", "bitmap", "list", "cascade")}
    assert sizes["auto"] == min(sizes.values())


@pytest.mark.parametrize("p", [0.05, 0.1, 0.2])
def test_cascade_is_near_the_entropy_and_the_model(p):
    n = 200_000
    mask = _mask(n, p, 4)
    code = encode_mask(mask, "cascade", beam=64)
    bits = 8 * code.nbytes / n
    assert _entropy(p) < bits < 1.07 * _entropy(p)
    assert bits == pytest.approx(modelled_bits(n, int(mask.sum())) / n, rel=0.02)


@pytest.mark.parametrize("p", [0.1, 0.9])
def test_parts_are_the_same_in_threads_and_cost_little(monkeypatch, p):
    monkeypatch.setattr(mask_module, "PART_PLACES", 25_000)
    mask = _mask(103_000, p, 9)
    whole, code = (encode_mask(mask, codec, beam=16) for codec in ("cascade", "auto"))
    with ThreadPoolExecutor(3) as pool:
        threaded = encode_mask(mask, beam=16, pool=pool)
    assert threaded.header() == code.header()
    np.testing.assert_array_equal(threaded.arrays()["data"], code.arrays()["data"])
    assert (_stored(code).decode() == mask).all()
    for n_out, stream in zip(code.n_outs, code.streams, strict=True):
        edges = np.linspace(0, -(-len(mask) // n_out), 5).astype(int)[1:-1]
        for edge in edges:
            assert not stream[edge : edge + 7].any()
    assert whole.nbytes < code.nbytes <= whole.nbytes + 3 * len(code.n_outs) * 25


def test_more_beam_is_smaller():
    mask = _mask(100_000, 0.1, 5)
    assert (
        encode_mask(mask, "cascade", beam=256).nbytes < encode_mask(mask, "cascade", beam=4).nbytes
    )


def test_clustered_masks_survive():
    # Dense rows in row order: no local window can help, the corrections must.
    mask = np.repeat(np.arange(60) % 3 == 0, 100) & _mask(6000, 0.9, 6)
    code = encode_mask(mask, "cascade", beam=4)
    assert (code.decode() == mask).all()
    assert encode_mask(mask, beam=4).nbytes <= code.nbytes


def test_plans_end_with_all_survivors():
    for p in (0.0, 0.001, 0.1, 0.5, 1.0):
        for q in (0.0, 0.3 * (1 - p), 1 - p):
            n_outs, bits = plan_stages(p, q, 8, 7, 64, MAX_STREAM_N_OUT)
            assert 1 <= len(n_outs) <= 16 and all(
                1 <= n_out <= MAX_STREAM_N_OUT for n_out in n_outs
            )
            assert 8 / MAX_STREAM_N_OUT <= bits <= 1.1


@pytest.mark.parametrize("beam", [1, 64])
def test_the_best_rates_are_inside_those_tried(beam):
    thinning = 0
    for p in np.linspace(0.01, 0.45, 12).tolist():
        *n_outs, _ = plan_stages(p, 1 - p, 8, 7, beam, MAX_STREAM_N_OUT)[0]
        highest = 8 / (mask_rates._MOST_BY_P * p + mask_rates._MOST_BY_Q * (1 - p))
        assert all(n_out > int(highest) for n_out in n_outs)
        thinning += len(n_outs)
    assert thinning >= 12
    care = np.linspace(0.01, 0.5, 50)
    n_out, _ = mask_rates._last(care, 8, 64, beam, MAX_STREAM_N_OUT)
    assert (np.abs(n_out * care / 8 - 1.015) < 0.036).all()


def test_golden_file_decodes():
    golden = json.loads(GOLDEN.read_text())
    parts = golden["arrays"]
    names = ["corrections", *(f"stream{i}" for i in range(len(golden["header"]["n_outs"])))]
    data = bytes.fromhex("".join(parts.get(name, "") for name in names))
    arrays = {"data": np.frombuffer(data, np.uint8)}
    code = MaskCode.from_parts(golden["header"], arrays, golden["n"])
    packed = np.packbits(code.decode(), bitorder="little")
    assert packed.tobytes().hex() == golden["mask"]


@pytest.mark.parametrize(
    ("mask", "arguments"),
    [
        (np.array([0, 2]), {}),
        (np.zeros((2, 2), bool), {}),
        (np.array([0.5]), {}),
        (np.array([True, False]), {"codec": "full"}),
        (np.array([True]), {"codec": "zip"}),
        (np.array([True]), {"n_in": 9}),
        (np.array([True]), {"n_s": 8}),
        (np.array([True]), {"beam": 0}),
        (np.array([True]), {"seed": -1}),
    ],
)
def test_wrong_arguments(mask, arguments):
    with pytest.raises(ValueError, match="must"):
        encode_mask(mask, **arguments)


CODES = {
    codec: encode_mask(_mask(900, 0.1, 8), codec, beam=4) for codec in ("bitmap", "list", "cascade")
} | {"full": encode_mask(np.ones(900, bool))}


@pytest.mark.parametrize("codec", CODES)
@pytest.mark.parametrize("value", [None, -1, 2**65, True, "x", 1.0, [], {}, [0], [70000, 3], 7])
def test_wrong_headers(codec, value):
    code = CODES[codec]
    for name, right in code.header().items():
        header = code.header() | {name: value}
        if type(value) is type(right) and name in ("seed", "inverted", "n_s", "k"):
            # Perhaps a valid header of another mask: the count of ones gives it away.
            if value != right:
                with pytest.raises(FormatError, match="mask"):
                    MaskCode.from_parts(header, code.arrays(), code.n).decode()
        else:
            with pytest.raises(FormatError, match="mask|correction"):
                MaskCode.from_parts(header, code.arrays(), code.n)
        del header[name]
        with pytest.raises(FormatError, match="mask|correction"):
            MaskCode.from_parts(header, code.arrays(), code.n)


@pytest.mark.parametrize("codec", CODES)
def test_wrong_arrays_and_sizes(codec):
    code = CODES[codec]
    header, arrays = code.header(), code.arrays()
    for n in (None, -1, 100, 10_000, 2**63, 900.0):
        with pytest.raises(FormatError):
            MaskCode.from_parts(header, arrays, n).decode()
    with pytest.raises(FormatError):
        MaskCode.from_parts(header, arrays | {"more": np.zeros(1, np.uint8)}, 900)
    with pytest.raises(FormatError):
        MaskCode.from_parts(None, arrays, 900)
    for name, array in arrays.items():
        for wrong in (array[:-1], np.append(array, array[:1]), array.astype(np.int8), None):
            with pytest.raises(FormatError):
                MaskCode.from_parts(header, arrays | {name: wrong}, 900)


@pytest.mark.parametrize("codec", ["bitmap", "list", "cascade"])
def test_damaged_bytes_are_refused_or_decode_to_a_mask_of_the_right_size(codec):
    code = CODES[codec]
    mask = _mask(900, 0.1, 8)
    for name, array in code.arrays().items():
        for i in range(len(array)):
            damaged = array.copy()
            damaged[i] ^= 1 << i % 8
            try:
                decoded = MaskCode.from_parts(
                    code.header(), code.arrays() | {name: damaged}, 900
                ).decode()
            except FormatError:
                continue
            assert decoded.shape == (900,) and decoded.sum() == mask.sum()


def test_padding_of_a_bitmap_is_zero():
    code = CODES["bitmap"]
    damaged = code.bitmap.copy()
    damaged[-1] |= 1 << code.n % 8
    with pytest.raises(FormatError, match="padding bits of the mask bitmap must be zero"):
        MaskCode.from_parts(code.header(), {"data": damaged}, code.n)


def test_list_is_checked_against_k():
    code = CODES["list"]
    assert isinstance(code.corrections, EliasFano)
    with pytest.raises(FormatError, match="follow from k"):
        MaskCode.from_parts(code.header() | {"k": code.k + 1}, code.arrays(), 900)
