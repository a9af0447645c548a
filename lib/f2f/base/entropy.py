"""Least bits: binary entropy, and the floor of a pruned tensor."""

from __future__ import annotations

import math


def binary_entropy(p: float) -> float:
    """H(p) = -p log2 p - (1-p) log2(1-p), in bits; 0 at p = 0 and p = 1."""
    return 0.0 if p in (0, 1) else -p * math.log2(p) - (1 - p) * math.log2(1 - p)


def floor_bits(n: int, k: int, n_w: int) -> float:
    """Least bits of n weights whose values are incompressible: ``n*H(k/n) + k*n_w``.

    Parameters
    ----------
    n, k : int
        Weights, and unpruned ones among them: n random places at density k/n.
    n_w : int
        Bits of an unpruned weight, every one a fair coin.
    """
    return n * binary_entropy(k / n) + k * n_w if n else 0.0
