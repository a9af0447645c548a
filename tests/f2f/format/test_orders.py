"""Every order is a bijection, and `take` follows `index`."""

import math

import numpy as np
import pytest

from f2f.format.orders import ORDERS, Order, golden_stride, matrix_shape

SHAPES = [(1, 1), (1, 5), (7, 1), (7, 96), (11, 55), (64, 147), (2, 2), (128, 128), (0, 3)]


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize(("rows", "cols"), SHAPES)
def test_order_visits_every_weight_once(name, rows, cols):
    order = Order(name, rows, cols)
    index = order.index(np.arange(order.n))
    assert np.array_equal(np.sort(index), np.arange(order.n))
    flat = np.random.default_rng(0).standard_normal(order.n).astype(np.float32)
    assert np.array_equal(order.take(flat), flat[index])
    assert np.array_equal(order.take(flat, threads=3), flat[index])


def test_orders_follow_their_formulas():
    assert Order("row", 2, 3).index(np.arange(6)).tolist() == [0, 1, 2, 3, 4, 5]
    assert Order("column", 2, 3).index(np.arange(6)).tolist() == [0, 3, 1, 4, 2, 5]
    # n = 8: a = 5 (8/1.618 = 4.94, and 4 is not coprime to 8).
    assert Order("golden", 2, 4).index(np.arange(8)).tolist() == [0, 5, 2, 7, 4, 1, 6, 3]
    # 2 x 3: g_r = 1, g_c = 1, h = 1: row i, column i + d.
    assert Order("diagonal", 2, 3).index(np.arange(6)).tolist() == [0, 4, 1, 5, 2, 3]


def test_golden_stride_is_near_the_golden_section_and_coprime():
    for n in [1, 2, 3, 10, 1000, 2**20, 2359296]:
        a = golden_stride(n)
        assert math.gcd(a, n) == 1
        assert n < 100 or abs(a / n - 0.618) < 0.01


def test_diagonal_windows_meet_rows_and_columns_evenly():
    order = Order("diagonal", 512, 512)
    for d in range(0, 512, 37):
        index = order.index(np.arange(512 * d, 512 * d + 512))
        assert len(set(index // 512)) == len(set(index % 512)) == 512


def test_take_moves_bits_not_numbers():
    payload = np.array([0x7F800001, 0xFFC12345, 0x80000000], dtype=np.uint32)
    moved = Order("golden", 1, 3).take(payload.view(np.float32)).view(np.uint32)
    assert sorted(moved.tolist()) == sorted(payload.tolist())


def test_matrix_shape_is_first_axis_by_the_rest():
    assert matrix_shape(()) == (1, 1)
    assert matrix_shape((5,)) == (1, 5)
    assert matrix_shape((3, 3, 3, 64)) == (3, 576)
    assert matrix_shape((0, 4)) == (0, 4)


def test_unknown_order_is_refused_by_name():
    with pytest.raises(ValueError, match=r"order must be one of row, column.*got 'zigzag'"):
        Order("zigzag", 2, 2)


def test_too_many_weights_are_refused():
    with pytest.raises(ValueError, match=r"rows \* cols must be an integer in 0..2147483647"):
        Order("golden", 2**16, 2**15)
