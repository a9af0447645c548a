"""The shaper: care bits met, the optimum on tiny cases, thinning near the bound."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from f2f.decoder import Decoder
from f2f.encoder import shaping
from f2f.encoder.shaping import encode_shaped
from f2f.encoder.words import SPARE, apply_map


def _plane(n, p, seed):
    rng = np.random.default_rng(seed)
    mask = rng.random(n) < p
    care = np.flatnonzero(mask)
    return care, rng.integers(0, 2, len(care)).astype(np.uint8), ~mask


@pytest.mark.parametrize("seed", range(12))
def test_wide_beam_is_the_optimum_of_exhaustive_search(seed):
    decoder = Decoder(n_in=2, n_out=5, n_s=1 + seed % 2, seed=seed)
    n = 24
    care, target, soft = _plane(n, 0.15, seed)
    inputs = encode_shaped(care, target, soft, n, decoder, beam=4096)
    decoded = decoder.decode_plain(inputs, n)
    assert (decoded[care] == target).all()
    best = n
    for rest in product(range(4), repeat=len(inputs) - decoder.n_s):
        trial = np.array([*inputs[: decoder.n_s], *rest], dtype=np.uint8)
        bits = decoder.decode(trial, n)
        if (bits[care] == target).all():
            best = min(best, int(bits[soft].sum()))
    assert int(decoded[soft].sum()) == best


@pytest.mark.parametrize(
    ("n_in", "n_s", "n_out"), [(8, 7, 60), (8, 0, 40), (3, 5, 20), (8, 7, 200)]
)
def test_care_bits_are_met_where_there_is_rate_to_spare(n_in, n_s, n_out):
    decoder = Decoder(n_in, n_out, n_s, seed=5)
    n = 20_000
    # Without registers a block stands alone and must have few care bits.
    care, target, soft = _plane(n, (0.75 if n_s else 0.2) * n_in / n_out, 3)
    decoded = decoder.decode(encode_shaped(care, target, soft, n, decoder, beam=4), n)
    wrong = np.count_nonzero(decoded[care] != target)
    assert wrong <= (2 if n_s else 40)


@pytest.mark.parametrize(("beam", "reached"), [(16, 0.55), (128, 0.67)])
def test_thinning_nears_the_rate_distortion_bound(beam, reached):
    n, n_out = 60_000, 68
    decoder = Decoder(8, n_out, 7, seed=1)
    care, _, soft = _plane(n, 0.1, 4)
    inputs = encode_shaped(care, np.ones(len(care), np.uint8), soft, n, decoder, beam)
    decoded = decoder.decode(inputs, n)
    assert decoded[care].all()
    d = decoded[soft].mean()
    thinning = soft.mean() * (1 + d * np.log2(d) + (1 - d) * np.log2(1 - d))
    assert reached < thinning / (8 / n_out - len(care) / n) < 1


def test_long_planes_are_settled_in_pieces():
    # More blocks than the trace holds twice over, so that the oldest are decided early.
    decoder = Decoder(8, 10, 7, seed=2)
    n = 10 * 10_000 + 3
    care, target, soft = _plane(n, 0.6, 5)
    decoded = decoder.decode(encode_shaped(care, target, soft, n, decoder, beam=16), n)
    assert (decoded[care] == target).all()
    assert decoded[soft].mean() < 0.4


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(0, 300),
    p=st.floats(0, 1),
    n_in=st.integers(1, 8),
    n_out=st.integers(1, 130),
    n_s=st.integers(0, 7),
    beam=st.sampled_from([1, 2, 30]),
    seed=st.integers(0, 2**32),
)
def test_any_shape_gives_valid_inputs(n, p, n_in, n_out, n_s, beam, seed):
    decoder = Decoder(n_in, n_out, n_s, seed)
    care, target, soft = _plane(n, p, seed)
    inputs = encode_shaped(care, target, soft, n, decoder, beam)
    assert inputs.shape == (decoder.n_vectors(n),) and inputs.dtype == np.uint8
    assert not inputs.size or inputs.max() < 1 << n_in
    assert (inputs == encode_shaped(care, target, soft, n, decoder, beam)).all()


@pytest.mark.parametrize(("n_in", "n_s"), [(8, 7), (3, 5), (8, 0)])
def test_parts_between_zeros_are_one_stream(n_in, n_s):
    decoder = Decoder(n_in, 8 * n_in, n_s, seed=3)
    length = 150 * decoder.n_out
    care, _, soft = _plane(3 * length, 0.08 if n_s else 0.03, 6)
    parts = []
    for number in range(3):
        lo, hi = number * length, (number + 1) * length
        own = care[(care >= lo) & (care < hi)] - lo
        ends = (number > 0, number < 2)
        ones = np.ones(len(own), np.uint8)
        parts.append(encode_shaped(own, ones, soft[lo:hi], length, decoder, 16, zero_ends=ends))
        vectors = parts[-1]
        assert not (number and vectors[:n_s].any())
        assert not (n_s and number < 2 and vectors[-n_s:].any())
    stream = np.concatenate([parts[0], *(part[n_s:] for part in parts[1:])])
    decoded = decoder.decode_plain(stream, 3 * length)
    assert np.count_nonzero(decoded[care] == 0) <= (12 if n_s else 40)
    assert decoded[soft].mean() < 0.45


def test_nothing_wanted_gives_zeros():
    decoder = Decoder(8, 64, 7, seed=0)
    none = np.zeros(0, np.int64)
    inputs = encode_shaped(none, none.astype(np.uint8), np.ones(1000, bool), 1000, decoder, 8)
    assert not decoder.decode(inputs, 1000).any()


@pytest.mark.parametrize(
    ("care", "target", "soft", "beam"),
    [
        ([3, 3], [1, 1], 9, 4),
        ([9], [1], 9, 4),
        ([-1], [1], 9, 4),
        ([1], [1, 1], 9, 4),
        ([1], [2], 9, 4),
        ([1], [1], 8, 4),
        ([1], [1], 9, 0),
        ([1], [1], 9, 65536),
    ],
)
def test_wrong_arguments(care, target, soft, beam):
    with pytest.raises(ValueError, match="must"):
        encode_shaped(
            np.array(care), np.array(target), np.ones(soft, bool), 9, Decoder(8, 4, 1), beam
        )


@pytest.mark.parametrize("beam", [1, 7, 64, 65, 300])
@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 256, 1000])
def test_the_cheapest_children_survive_the_first_of_equals_first(beam, count):
    hypotheses = shaping.new_hypotheses(beam, Decoder(8, 40, 7).tables)
    rng = np.random.default_rng(beam + count)
    for spread, limit in ((1, 0), (4, 40_000), (60, 3), (30_000, 0)):
        costs = rng.integers(0, spread, min(count, beam << 8)).astype(np.int16) + 5
        hypotheses.child_costs[: len(costs)] = costs
        hypotheses.limit[0] = limit  # whatever the block before had
        kept = shaping.select(hypotheses, len(costs), costs.min())
        best = np.sort(np.argsort(costs, kind="stable")[:beam])
        assert hypotheses.chosen[:kept].tolist() == best.tolist()


@pytest.mark.parametrize(("n_in", "n_out", "n_s"), [(8, 70, 7), (3, 64, 20), (5, 130, 0)])
def test_windows_are_decoded_as_by_the_decoder(n_in, n_out, n_s):
    decoder = Decoder(n_in, n_out, n_s, seed=3)
    vectors = np.random.default_rng(0).integers(0, 1 << n_in, (21, n_s + 1), dtype=np.uint8)
    windows, decoded = np.zeros((2, 21 + SPARE), dtype=np.uint64)
    for h, inputs in enumerate(vectors):
        windows[h] = sum(int(x) << n_in * j for j, x in enumerate(inputs))
    found = []
    for table in shaping.window_maps(decoder.rows):
        apply_map(table, windows, 21, decoded)
        found.append(decoded[:21].copy())
    bits = np.unpackbits(np.stack(found, 1).view(np.uint8), axis=1, bitorder="little")
    for h, inputs in enumerate(vectors):
        np.testing.assert_array_equal(bits[h, :n_out], decoder.decode_plain(inputs, n_out))


@settings(max_examples=40, deadline=None)
@given(
    n_in=st.integers(1, 8),
    n_s=st.integers(0, 15),
    load=st.floats(0.2, 1.3),
    seed=st.integers(0, 2**32),
)
def test_any_choice_of_free_bits_meets_what_elimination_kept(n_in, n_s, load, seed):
    rng = np.random.default_rng(seed)
    n_s = min(n_s, 64 // n_in - 1)
    decoder = Decoder(n_in, int(rng.integers(n_in, 70)), n_s, seed)
    n = int(rng.integers(1, 20 * decoder.n_out))
    care, target, soft = _plane(n, min(1.0, load * n_in / decoder.n_out), seed)
    problem = shaping.new_problem(care, target, soft.astype(np.uint8), decoder)
    freedom = shaping.new_freedom(decoder.n_blocks(n), n_in)
    shaping.eliminate(problem, shaping.new_demands(), freedom)
    vectors = [int(freedom.start[0]) >> n_in * j & ((1 << n_in) - 1) for j in range(n_s)]
    for t in range(decoder.n_blocks(n)):
        older = sum(v << n_in * j for j, v in enumerate(vectors[t:]))
        vector = int(freedom.sides[t])
        for b in range(n_in):
            vector ^= ((int(freedom.masks[t, b]) & older).bit_count() & 1) << b
        for move in freedom.moves[t, : freedom.free[t]].tolist():
            vector ^= int(rng.integers(2)) * move
        vectors.append(vector)
    wrong = decoder.decode(np.array(vectors, dtype=np.uint8), n)[care] != target
    # What was dropped contradicted the rest: an unsolvable system has a dropped row for each free
    # bit that it lacks, and half of the dropped rows are met by chance.
    determined = len(vectors) * n_in - int(freedom.free.sum(dtype=int)) - n_s * n_in
    assert wrong.sum() <= max(0, len(care) - determined)
