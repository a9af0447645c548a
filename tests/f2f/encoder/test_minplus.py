"""Steps of the exact encoder against the minimum over all transitions."""

import numpy as np
import pytest

from f2f.encoder import minplus


@pytest.mark.parametrize("n_in, n_s", [(8, 2), (7, 2), (5, 3), (4, 4), (3, 4), (6, 1), (8, 1)])
@pytest.mark.parametrize("k", [0, 1, 4, 7, 8, 9, 12, 13, 20])
def test_steps_equal_the_minimum_over_all_transitions(n_in, n_s, k):
    rng = np.random.default_rng(k)
    size, width = 1 << n_in, 1 << n_in * (n_s - 1)
    groups = max(1, -(-k // 8))
    vectors = [rng.integers(0, 1 << k, bits) for bits in (n_in, n_in * (n_s - 1), n_in)]
    vectors[0][-1] = vectors[0][0] ^ vectors[0][1]  # a kernel for A_old
    old, mid, fresh = (np.zeros(1 << len(v), dtype=np.int64) for v in vectors)
    target = int(rng.integers(0, 1 << k))
    minplus.span(vectors[0], 0, old)
    minplus.span(vectors[1], target, mid)
    minplus.span(vectors[2], 0, fresh)
    assert fresh[5] == vectors[2][0] ^ vectors[2][2]
    terms = minplus.Terms(old, mid, fresh)
    cost = rng.integers(0, 9, size * width).astype(np.uint8)
    some = rng.integers(0, width, 5)
    distance = old[:, None, None] ^ mid[some][:, None] ^ fresh
    expected = (cost.reshape(size, width)[:, some, None] + np.bitwise_count(distance)).min(0)

    def check(new):
        assert np.array_equal(new[: size * width].reshape(width, size)[some], expected)

    new = np.zeros(size * width + minplus.PAD, dtype=np.uint8)
    if k <= minplus.MAX_CONVOLVE:
        minplus.convolve_step(cost, new, terms, k, minplus.new_scratch(size * width))
        check(new)
    in_bytes = minplus.Terms(
        *(np.stack([v >> 8 * g & 255 for g in range(groups)]).astype(np.uint8) for v in terms)
    )
    new[:] = 0
    minplus.direct_step(cost, new, in_bytes)
    check(new)
    wide = np.zeros(len(new), dtype=np.uint32)
    if width <= 256 and k in (0, 9, 20):
        minplus.direct_step_wide(cost.astype(np.uint32), wide, in_bytes)
        check(wide)


@pytest.mark.parametrize("n_in, width", [(3, 5), (5, 64)])
@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_kernel_minimum_is_the_minimum_over_cosets(n_in, width, rank):
    rng = np.random.default_rng(10 * n_in + rank)
    columns = rng.integers(0, 1 << rank, n_in)
    old = np.zeros(1 << n_in, dtype=np.int64)
    minplus.span(columns, 0, old)
    cost = rng.integers(0, 200, (1 << n_in) * width).astype(np.uint8)
    minima = np.zeros_like(cost)
    free, found = minplus.kernel_minimum(cost, width, old, minima)
    values = np.unique(old)
    assert len(values) == 1 << found
    source = minima if free else cost
    representatives = [a for a in range(1 << n_in) if a & free == 0]
    assert sorted(old[representatives]) == list(values)
    table = cost.reshape(1 << n_in, width)
    for a in representatives:
        expected = table[old == old[a]].min(axis=0)
        assert np.array_equal(source.reshape(1 << n_in, width)[a], expected)


@pytest.mark.parametrize("n_in, n_s", [(8, 2), (4, 3), (8, 1)])
def test_a_way_is_chosen_for_its_cost(n_in, n_s):
    pays = [minplus.convolution_pays(k, n_in, n_s) for k in range(20)]
    assert pays == sorted(pays, reverse=True) and pays[0] and not pays[-1]
