"""Logarithm and exponential that are the same to the last bit on every processor.

Those of C and NumPy differ in their last bits from one library and processor to another, and a
last bit can tip a choice, such as that of a rate, and with it every byte that is coded. These are
made of additions, multiplications and divisions of doubles alone, which IEEE 754 rounds in one way
only; they are exact to a few units in the last place.
"""

from __future__ import annotations

import numpy as np

LN2 = 0.6931471805599453
_SQRT_HALF = 0.7071067811865476


def scale(x: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """(m, e) with ``x = m * 2**e`` and m in sqrt(1/2)…sqrt(2), for x > 0: e is log2 x, rounded."""
    m, e = np.frexp(x)
    small = m < _SQRT_HALF
    return np.where(small, 2 * m, m), e - small


def log(x: np.ndarray | float) -> np.ndarray:
    """Natural logarithm of doubles above 0.

    ``log m = 2 artanh s`` with ``s = (m-1)/(m+1)``, by its series.
    """
    m, e = scale(x)
    s = (m - 1) / (m + 1)
    square = s * s
    series = 0.0
    for k in range(23, 0, -2):
        series = series * square + 1 / k
    return 2 * s * series + LN2 * e


def expm1(x: np.ndarray | float) -> np.ndarray:
    """``exp(x) - 1`` for \\|x\\| <= 700.

    The series at ``x / 1024``, then ten times ``exp(2y) - 1 = (exp(y) - 1) * (exp(y) - 1 + 2)``.
    """
    y = np.asarray(x) / 1024
    result = np.zeros_like(y)
    for k in range(20, 0, -1):
        result = (1 + result) * y / k
    for _ in range(10):
        result = result * (result + 2)
    return result


def interpolate(x: np.ndarray | float, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """As `numpy.interp`: linear between the points (xs, ys), constant outside; xs increase."""
    left = np.clip(np.searchsorted(xs, x, side="right") - 1, 0, len(xs) - 2)
    slope = (ys[left + 1] - ys[left]) / (xs[left + 1] - xs[left])
    return ys[left] + slope * (np.clip(x, xs[0], xs[-1]) - xs[left])
