"""The modelled rate: limits of the queue formula, and agreement with what encoding measures."""

import itertools

import numpy as np
import pytest

import f2f
from f2f.decoder import Decoder
from f2f.encoder.beam import encode_beam
from f2f.encoder.rate import CareCounts, choose_n_out, correction_cost, error_rate, overflow
from f2f.format.corrections import elias_fano_bits


def test_overflow_of_the_queue_in_its_limits():
    balanced = overflow(8.0, 7.2, 8, 64)
    assert balanced == pytest.approx(7.2 / (2 * 60))
    assert overflow(8.0 + 1e-7, 7.2, 8, 64) == pytest.approx(balanced, rel=1e-3)
    assert overflow(2.0, 2.0, 8, 64) < 1e-12  # far below capacity: nothing is lost
    assert overflow(20.0, 7.2, 8, 64) == pytest.approx(12.0, rel=1e-3)  # far above: all excess is
    assert overflow(8.0, 7.2, 8, 24) > balanced  # a shorter window loses more
    assert overflow(9.0, 0.0, 8, 64) == pytest.approx(1.0)


@pytest.mark.parametrize("share", [1e-4, 1e-3, 0.01, 0.1, 0.3])
def test_correction_cost_is_that_of_elias_fano(share):
    universe = 1_000_000
    bits = elias_fano_bits(round(share * universe), universe)
    assert universe * correction_cost(share) == pytest.approx(bits, rel=0.02)


@pytest.mark.parametrize("n", [0, 1, 63, 64, 65, 1000])
def test_care_bits_are_counted_before_every_position(n):
    care = np.random.default_rng(n).random(n) < 0.4
    counts = CareCounts(care)
    assert (counts.n, counts.k) == (n, care.sum())
    assert counts.before(np.arange(n + 1)).tolist() == [0, *np.cumsum(care)]


@pytest.mark.parametrize(("sparsity", "n_out"), [(0.9, 79), (0.9, 81), (0.7, 27), (0.5, 16)])
@pytest.mark.parametrize("n_s", [2, 7])
def test_error_rate_is_near_the_measured_one(sparsity, n_out, n_s):
    rng = np.random.default_rng(0)
    n = 3_000_000 if n_s == 7 else 600_000
    care = rng.random(n) >= sparsity
    positions = np.flatnonzero(care)
    target = rng.integers(0, 2, len(positions)).astype(np.uint8)
    decoder = Decoder(n_out=n_out, n_s=n_s)
    inputs = encode_beam(positions, target, n, decoder, 1, 16)[:, 0]
    measured = np.mean(decoder.decode(inputs, n)[positions] != target)
    assert error_rate(CareCounts(care), n_out, 8, n_s, 16) == pytest.approx(measured, rel=0.35)


def test_chosen_n_out_is_near_the_best_by_exhaustive_encoding():
    rng = np.random.default_rng(1)
    n = 400_000
    care = rng.random(n) < 0.1
    positions = np.flatnonzero(care)
    target = rng.integers(0, 2, len(positions)).astype(np.uint8)

    def stored(n_out):
        decoder = Decoder(n_out=n_out, n_s=7)
        inputs = encode_beam(positions, target, n, decoder, 1, 16)[:, 0]
        wrong = int(np.count_nonzero(decoder.decode(inputs, n)[positions] != target))
        return 8 * len(inputs) + elias_fano_bits(wrong, len(positions))

    chosen, modelled = choose_n_out(care, 8, 7, 16)
    best = min(stored(n_out) for n_out in range(74, 86))
    assert stored(chosen) <= 1.004 * best
    assert modelled == pytest.approx(stored(chosen), rel=0.01)


def test_uneven_masks_are_given_more_room():
    rng = np.random.default_rng(2)
    density = np.repeat(rng.choice([0.02, 0.18], 500), 2000)
    uneven = rng.random(len(density)) < density
    even = rng.permutation(uneven)
    assert choose_n_out(uneven, 8, 7, 16)[1] > 1.05 * choose_n_out(even, 8, 7, 16)[1]


@pytest.mark.parametrize("sparsity", [0.3, 0.5, 0.8, 0.9])
def test_a_wider_beam_never_stores_more(sparsity):
    rng = np.random.default_rng(3)
    weights = rng.integers(-127, 128, (256, 512)).astype(np.int8)
    weights[rng.random(weights.shape) < sparsity] = 0
    sizes = [
        f2f.compress(weights, beam=beam, mask_codec="bitmap").nbytes for beam in (1, 16, 64, 256)
    ]
    assert all(wide <= 1.001 * narrow for narrow, wide in itertools.pairwise(sizes))


def test_extreme_densities():
    assert choose_n_out(np.ones(1000, dtype=bool), 8, 7, 16)[0] == 8
    lonely = np.zeros(1_000_000, dtype=bool)
    lonely[77] = True
    assert choose_n_out(lonely, 8, 7, 16)[0] == 65535
