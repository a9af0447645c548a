"""Rows and columns of encoding positions, against `Order.index`."""

import numpy as np
import pytest

from f2f.format.orders import ORDERS, Order
from f2f.format.places import Places, find_places, permutations
from f2f.format.stages import CHUNK

SHAPES = [(1, 1), (1, 300), (300, 1), (7, 96), (11, 55), (130, 67), (70, 2100), (2100, 9)]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("density", [0.02, 0.5, 1.0])
def test_places_are_those_of_the_order(order, shape, density):
    order = Order(order, *shape)
    walk = order.walk
    permuted = permutations(walk)
    rng = np.random.default_rng(0)
    places = Places(np.empty(CHUNK, dtype=np.int64), np.empty(CHUNK, dtype=np.int64))
    for lo in sorted({0, *rng.integers(0, order.n, 8).tolist(), order.n - 1}):
        count = min(CHUNK, order.n - lo)
        positions = np.flatnonzero(rng.random(count) < density)
        find_places(walk, lo, positions, len(positions), places)
        rows = permuted.rows[places.rows[: len(positions)]]
        columns = permuted.columns[places.columns[: len(positions)]]
        np.testing.assert_array_equal(rows * shape[1] + columns, order.index(lo + positions))


@pytest.mark.parametrize("order", ["column", "diagonal"])
@pytest.mark.parametrize("shape", SHAPES)
def test_neighbours_lie_in_neighbouring_columns(order, shape):
    order = Order(order, *shape)
    walk = order.walk
    rows, cols = shape
    i, j = np.arange(rows)[:, None], np.arange(cols)
    index = order.index(j * walk.neighbour % cols * rows + i)
    np.testing.assert_array_equal(index % cols, (walk.column_step * i + j) % cols)
    assert (index // cols == index[:, :1] // cols).all()
