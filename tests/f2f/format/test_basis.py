"""The change of basis is invertible on every input and cheapest among all on small ones."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from f2f.format.basis import choose_basis, exception_cost, invert, linear_map, stored_words


@settings(max_examples=40, deadline=None)
@given(
    dtype=st.sampled_from([np.uint8, np.uint16, np.uint32]),
    spread=st.sampled_from([0, 1, 20, 1000]),
    k=st.integers(0, 300),
    seed=st.integers(0, 99),
)
def test_words_come_back_from_their_stored_bits(dtype, spread, k, seed):
    rng = np.random.default_rng(seed)
    words = np.rint(rng.laplace(0, spread, k)).astype(np.int64).astype(dtype)
    basis = choose_basis(words)
    stored = stored_words(basis, words)
    assert np.array_equal(linear_map(basis.vectors, stored) ^ dtype(basis.offset), words)
    wanted = [
        sum(
            ((int(w) & f).bit_count() & 1) << j for j, f in enumerate(basis.functionals)
        ) ^ basis.flips
        for w in words
    ]  # fmt: skip
    assert stored.tolist() == wanted


def test_uniform_words_keep_their_planes():
    words = np.random.default_rng(0).integers(0, 256, 100_000).astype(np.uint8)
    basis = choose_basis(words)
    assert basis.functionals == (1, 2, 4, 8, 16, 32, 64, 128)
    assert all(basis.payload)


def test_sign_extension_is_folded_away():
    # Numbers of magnitude < 8 in two's complement: the five high bits are all the sign.
    words = np.random.default_rng(0).integers(-8, 8, 50_000).astype(np.int8).view(np.uint8)
    basis = choose_basis(words)
    assert sum(basis.payload) == 4
    constant = [j for j in range(8) if not basis.payload[j]]
    assert not (stored_words(basis, words)[:, None] >> np.array(constant) & 1).any()


def test_the_commoner_value_is_stored_as_zero():
    """Zeros decode from zero inputs; whichever value prevails in a plane is to be that."""
    words = np.full(1000, 0xA5, dtype=np.uint8)
    words[:10] = 0x5A
    assert not stored_words(choose_basis(words), words)[10:].any()


def test_no_linear_basis_of_three_bits_is_cheaper():
    rng = np.random.default_rng(5)
    for _ in range(20):
        p = rng.dirichlet(np.full(8, 0.3))
        words = rng.choice(8, 5000, p=p).astype(np.uint8)

        def cost(mask, words=words):
            ones = float(np.mean([int(w & mask).bit_count() & 1 for w in words]))
            return min(1.02, float(exception_cost(np.array(min(ones, 1 - ones)))))

        costs = {mask: cost(mask) for mask in range(1, 8)}
        best = min(
            sum(costs[m] for m in masks)
            for masks in itertools.permutations(range(1, 8), 3)
            if _independent(masks)
        )
        chosen = choose_basis(words).functionals[:3]  # five high bits are constant and stay last
        assert all(mask < 8 for mask in chosen)
        assert sum(costs[m] for m in chosen) == pytest.approx(best, abs=1e-6)


def _independent(masks):
    return all(
        np.bitwise_xor.reduce(subset)
        for size in (1, 2, 3)
        for subset in itertools.combinations(masks, size)
    )


def test_inverse_of_the_gray_code():
    gray = [0b0011, 0b0110, 0b1100, 0b1000]
    assert invert(gray) == [0b0001, 0b0011, 0b0111, 0b1111]
