"""Bounds and accounting against values computed by hand, and against real encodings."""

import functools
import math
import operator

import numpy as np
import pandas as pd
import pytest

from f2f.decoder import Decoder
from f2f.decoder.folded import FOLD
from f2f.format.corrections import EliasFano
from f2f.format.plane import encode_plane
from f2f_study.experiments import accounting
from f2f_study.experiments.accounting import paper_bits


def test_the_bound_with_and_without_mask():
    # H(0.1) = 0.4690: 1.269 bits a weight for INT8 at S = 0.9
    reduction = accounting.memory_reduction_bound(0.9, 8)
    assert reduction == pytest.approx(100 * (1 - 1.268996 / 8), abs=1e-4)
    assert accounting.memory_reduction_bound(1, 8) == 100
    assert accounting.memory_reduction_bound(0.7, 32, with_mask=False) == pytest.approx(70)
    assert accounting.memory_reduction_bound(0.5, 1) == pytest.approx(-50)


def test_efficiency_and_reduction():
    assert accounting.efficiency(200, 1) == 99.5
    assert accounting.efficiency(0, 0) == 100
    columns = accounting.efficiency(pd.Series([200, 0, 8]), pd.Series([1, 0, 8]))
    assert columns.tolist() == [99.5, 100, 0]
    assert accounting.memory_reduction(25, 100) == 75
    # 8/80 + 0.1*0.005*10 + 1/512 = 0.106953
    assert accounting.analytic_memory_reduction(8, 80, 0.9, 99.5) == pytest.approx(
        89.3047, abs=1e-4
    )


def test_analytic_and_stored_reduction_agree_for_real_planes():
    rng = np.random.default_rng(0)
    n = 80 * 2000
    decoder = Decoder(n_in=8, n_out=80, n_s=2, seed=0)
    care = rng.random(n) < 0.1
    plane = encode_plane(rng.integers(0, 2, n), care, decoder, beam=4)
    real = plane.n_care / n
    analytic = accounting.analytic_memory_reduction(8, 80, 1 - real, plane.efficiency)
    paper = accounting.memory_reduction(8 * len(plane.inputs) + paper_bits(n, len(plane.errors)), n)
    stored = accounting.memory_reduction(plane.nbits, n)
    assert analytic == pytest.approx(paper, abs=0.02)
    # Elias-Fano takes about log2(n/errors) + 2 bits an error, more than 10 when errors are so rare.
    assert plane.nbits == 8 * len(plane.inputs) + EliasFano.encode(plane.errors, n).nbits
    assert stored == pytest.approx(paper, abs=0.3)


def spread_of(care_mask, n_out):
    return accounting.spread(accounting.unpruned_per_block(care_mask, n_out), n_out)


def test_order0_bits_count_exponents_and_integers():
    rng = np.random.default_rng(0)
    coins = rng.integers(0, 256, 100_000, np.uint8).view(np.int8)
    assert accounting.order0_bits(coins, coins.size) == pytest.approx(8 * coins.size, rel=0.001)
    values = rng.choice(np.array([0.5, 1.0, 2.0, -2.0], np.float32), 4096)
    whole = accounting.order0_bits(values, 2 * values.size)
    assert whole == pytest.approx(2 * values.size + values.size * (2 + 23), rel=0.001)
    assert accounting.order0_bits(values[:0], 100) == 0
    # Exponents of 1 and 2 in turn, one bit each, and a mask of half of the places.
    alternating = np.tile([1.0, 3.0], 16)
    for dtype, mantissa in (("float16", 10), ("bfloat16", 7), ("float32", 23)):
        found = accounting.order0_bits(alternating.astype(dtype), 64)
        assert found == 64 + 32 * (1 + mantissa)
    assert accounting.order0_bits(alternating.astype(np.int8), 64) == 64 + 32


def test_spread_of_independent_and_of_clustered_masks():
    rng = np.random.default_rng(1)
    independent = spread_of(rng.random(80 * 20000) < 0.1, 80)
    assert independent.binomial == pytest.approx(math.sqrt(0.9 / 8), rel=0.02)
    assert independent.variation == pytest.approx(independent.binomial, rel=0.02)
    clustered = spread_of(np.repeat(rng.random(80 * 2000) < 0.1, 10), 80)
    assert clustered.variation > 2.5 * clustered.binomial
    exact = spread_of(np.tile([1, 0, 0, 0], 100), 8)
    assert exact == (2, 0, pytest.approx(math.sqrt(0.75 / (8 * 0.25))))


def test_only_whole_blocks_are_counted():
    care = np.array([1, 1, 0, 1, 0, 0, 1, 1, 1], dtype=np.uint8)
    assert accounting.unpruned_per_block(care, 4).tolist() == [3, 2]
    assert math.isnan(spread_of(care * 0, 4).variation)
    assert math.isnan(spread_of(care, 10).mean)
    assert math.isnan(accounting.binomial_variation(1, 4))


def test_no_code_beats_the_rate_distortion_bound():
    assert accounting.least_wrong_share(0) == pytest.approx(0.5, abs=1e-4)
    for rate in (0.25, 0.6, 0.95):
        d = accounting.least_wrong_share(rate)
        assert 1 + d * math.log2(d) + (1 - d) * math.log2(1 - d) == pytest.approx(rate)
    # Three care bits a block of one input bit: the nearer of two words lies beyond the bound.
    found = accounting.nearest_of_random_words(3, 2) / 3
    assert accounting.least_wrong_share(1 / 3) < found


def test_gates_of_a_matrix():
    decoder = Decoder.from_matrix([[1, 1, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0]], n_in=2)
    assert accounting.xor_gates(decoder).tolist() == [2, 0, 0]
    # random n_s = 2: rows of weight 12 on average, 11 gates
    assert accounting.xor_gates(Decoder(n_out=20000)).mean() == pytest.approx(11, abs=0.1)


def test_xor_gates_of_a_folded_matrix_are_those_that_compute_it():
    """Fold, then combine, gate by gate: the sum is the number of XORs, the bits are the rows."""
    decoder = Decoder(n_out=64, n_s=7, seed=2, matrix="folded")
    window = [1 << bit for bit in range(64)]  # each wire as the window bits it is the XOR of
    gates = 0

    def xor(wires):
        nonlocal gates
        gates += len(wires) - 1
        return functools.reduce(operator.xor, wires)

    folded = {}
    for half in range(2):
        for k, terms in enumerate(FOLD):
            for i in range(4):
                places = [8 * (7 - age) + 4 * (half ^ swapped) + i for age, swapped in terms]
                folded[half, 4 * k + i] = xor([window[place] for place in places])
    for r, row in enumerate(decoder.nibbles):
        bits = [4 * k + i for k, nibble in enumerate(row) for i in range(4) if nibble >> i & 1]
        assert xor([folded[r // 16 % 2, bit] for bit in bits]) == int(decoder.rows[r])
    assert accounting.xor_gates(decoder).sum() == pytest.approx(gates)


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: accounting.memory_reduction_bound(1.5, 8),
            "sparsity must be a number in 0..1, got 1.5",
        ),
        (lambda: accounting.memory_reduction_bound(0.5, 0), "n_w must be an integer >= 1, got 0"),
        (lambda: accounting.block_length(8, 1), "sparsity must be at least 0 and below 1, got 1"),
        (lambda: accounting.efficiency(10, 11), "wrong_bits must be in 0..10, got 11"),
        (lambda: accounting.efficiency(10, -1), "wrong_bits must be in 0..10, got -1"),
        (lambda: accounting.memory_reduction(1, 0), "original_bits must be positive, got 0"),
        (
            lambda: accounting.binomial_variation(float("nan"), 8),
            "sparsity must be a number in 0..1, got nan",
        ),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_n_out_of_the_paper():
    found = [accounting.block_length(8, s) for s in (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)]
    assert found == [16, 20, 26, 40, 80, 160]
    with pytest.raises(ValueError, match="sparsity must be at least 0 and below 1"):
        accounting.block_length(8, 1.0)
