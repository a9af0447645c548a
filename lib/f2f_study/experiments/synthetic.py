"""Random planes of the synthetic study, a real layer beside them, and theory: notebook 02.

The plane of the paper's synthetic data: every bit is pruned with probability S, every care bit is a
fair coin. Two things can be turned: how much n_u, the unpruned weights of a block, varies, and how
many care bits are ones.

Paper symbols: S = `sparsity`, N_in = `n_in`, N_out = `n_out`, N_s = `n_s`, E = efficiency in %.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binom

from f2f.base import validate
from f2f.base.masks import positions_of
from f2f.decoder import Decoder
from f2f.format.orders import Order, matrix_shape
from f2f.format.plane import decode_plane, encode_plane
from f2f_study import sources
from f2f_study.experiments import accounting
from f2f_study.networks.layers import Layer, PrunedModel
from f2f_study.networks.quantize import quantize
from f2f_study.results import Quantity

KNOWN_EFFICIENCY = {0: (91.0, 93.5), 1: (98.3, 98.9), 2: (99.35, 99.6)}
"""n_s: range of E in %, mean over matrices, at n_in = 8 and S = 0.9 by two independent programs."""

MAX_LAYER = 300_000  # weights of the real layer that is encoded exactly


def random_care_mask(
    blocks: int, n_out: int, sparsity: float, seed: int, variation: float | None = None
) -> np.ndarray:
    """A care mask of independent pruning, or one whose n_u has a chosen spread.

    Parameters
    ----------
    blocks, n_out : int
        Blocks, and positions of each.
    sparsity : float
        Probability of pruning, 0 to 1.
    seed : int
        Names the mask.
    variation : float or None
        None: every position independently. Else n_u of each block is a gamma variate of mean
        n_out·(1-S) and this coefficient of variation, rounded up or down at random and at most
        n_out, at random places of the block; 0 makes blocks as equal as whole numbers allow.

    Returns
    -------
    ndarray of uint8, shape (blocks·n_out,)
        1 = unpruned.
    """
    blocks, n_out = validate.integer("blocks", blocks, 1), validate.integer("n_out", n_out, 1)
    sparsity = validate.number("sparsity", sparsity, 0, 1)
    rng = np.random.default_rng((seed, 1))
    if variation is None:
        return (rng.random(blocks * n_out) >= sparsity).astype(np.uint8)
    if not variation >= 0:
        raise ValueError(f"variation must be at least 0, got {variation!r}")
    mean = n_out * (1 - sparsity)
    shape = 1 / variation**2 if variation else np.inf
    n_u = rng.gamma(shape, mean / shape, blocks) if variation else np.full(blocks, mean)
    n_u = np.minimum(np.floor(n_u + rng.random(blocks)), n_out)
    ranks = rng.random((blocks, n_out)).argsort(1).argsort(1)
    return (ranks < n_u[:, None]).astype(np.uint8).reshape(-1)


def random_bits(n: int, seed: int, ones: float = 0.5) -> np.ndarray:
    """n bits, uint8 (n,), each 1 with probability `ones`."""
    ones = validate.number("ones", ones, 0, 1)
    return (np.random.default_rng((seed, 2)).random(n) < ones).astype(np.uint8)


def measure(  # noqa: PLR0913  the columns of a study, all by name
    *,
    n_in: int,
    n_s: int,
    sparsity: float,
    blocks: int,
    seed: int,
    n_out: int | None = None,
    variation: float | None = None,
    ones: float = 0.5,
    inverted: bool = False,
) -> dict[str, Any]:
    """Encode one random plane exactly for one random matrix; errors are counted after decoding.

    One row of `synthetic_sparsity.csv`, whose columns the arguments are: n_out None is
    `accounting.block_length`, variation None independent pruning (see `random_care_mask`). The same
    seed gives the same data, and rows of the same matrix, for every n_s.
    """
    n_out = accounting.block_length(n_in, sparsity) if n_out is None else n_out
    care_mask = random_care_mask(blocks, n_out, sparsity, seed, variation)
    bits = random_bits(len(care_mask), seed, ones) ^ np.uint8(inverted)
    plane = encode_plane(bits, care_mask, Decoder(n_in, n_out, n_s, seed), "viterbi")
    n, wrong = len(care_mask), len(plane.errors)
    payload, correction = n_in * len(plane.inputs), accounting.paper_bits(n, wrong)
    drawn = accounting.spread(accounting.unpruned_per_block(care_mask, n_out), n_out)
    return {
        "n_in": n_in,
        "n_s": n_s,
        "n_out": n_out,
        "sparsity": sparsity,
        "ones": ones,
        "inverted": inverted,
        "blocks": blocks,
        "seed": seed,
        "variation_wanted": math.nan if variation is None else variation,
        "variation": drawn.variation,
        "variation_binomial": drawn.binomial,
        "care_bits": plane.n_care,
        "wrong_bits": wrong,
        "efficiency_percent": plane.efficiency,
        "payload_bits": payload,
        "correction_bits": correction,
        "stored_bits": plane.nbits,
        "memory_reduction_percent": accounting.memory_reduction(payload + correction, n),
        "stored_reduction_percent": accounting.memory_reduction(plane.nbits, n),
        "bound_percent": accounting.memory_reduction_bound(sparsity, 1, with_mask=False),
    }


def searched_wrong_bits(*, n_in: int, sparsity: float, blocks: int, seed: int) -> int:
    """Fewest wrong care bits of the plane of `measure` at n_s = 0, every input of a block tried."""
    n_out = accounting.block_length(n_in, sparsity)
    care_mask = random_care_mask(blocks, n_out, sparsity, seed).reshape(blocks, n_out, 1)
    target = random_bits(care_mask.size, seed).reshape(care_mask.shape)
    inputs = np.arange(1 << n_in) >> np.arange(n_in)[:, None] & 1
    outputs = Decoder(n_in, n_out, 0, seed).matrix @ inputs & 1
    return int(((outputs != target) & (care_mask == 1)).sum(1).min(1).sum())


def random_coding_efficiency(n_in: int, n_out: int, sparsity: float) -> float:
    """`accounting.random_coding_efficiency` of independent pruning.

    >>> round(random_coding_efficiency(8, 80, 0.9), 2)
    93.85
    """
    shares = binom.pmf(np.arange(n_out + 1), n_out, 1 - sparsity)
    return accounting.random_coding_efficiency(n_in, shares)


def with_mask(rows: pd.DataFrame, n_w: int) -> pd.DataFrame:
    """What a bitmap for the mask costs weights of n_w bits, beside the bounds.

    The columns of `synthetic_mask.csv`, from rows of `measure`: for each (n_s, n_out, S) the mean.
    """
    means = rows.groupby(["n_s", "n_out", "sparsity"], as_index=False).agg(
        without_mask_percent=("memory_reduction_percent", "mean")
    )
    bound = accounting.memory_reduction_bound
    means.insert(0, "n_w", n_w)
    return means.assign(
        with_bitmap_percent=means["without_mask_percent"] - 100 / n_w,
        bound_percent=[bound(s, n_w, with_mask=False) for s in means["sparsity"]],
        bound_with_mask_percent=[bound(s, n_w) for s in means["sparsity"]],
    )


def reductions(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean memory reductions of `measure` by S and n_s, and the paper's form from the mean E."""
    columns = ["efficiency_percent", "memory_reduction_percent", "stored_reduction_percent"]
    keys = ["sparsity", "n_s", "n_in", "n_out"]
    means = rows.groupby(keys)[[*columns, "bound_percent"]].mean()
    analytic = [
        accounting.analytic_memory_reduction(n_in, n_out, s, e)
        for (s, _, n_in, n_out), e in means["efficiency_percent"].items()
    ]
    return means.assign(analytic_percent=analytic).droplevel(["n_in", "n_out"])


def block_shares(n_out: int, sparsity: float, blocks: int, seed: int) -> pd.DataFrame:
    """The distribution of n_u in an independently drawn mask beside the binomial law.

    The columns of `synthetic_n_u.csv`, one row for each n_u up to the greatest drawn.
    """
    n_u = accounting.unpruned_per_block(random_care_mask(blocks, n_out, sparsity, seed), n_out)
    counts = np.bincount(n_u)
    return pd.DataFrame(
        {
            "n_out": n_out,
            "sparsity": sparsity,
            "blocks": blocks,
            "n_u": np.arange(len(counts)),
            "share_percent": 100 * counts / blocks,
            "binomial_percent": 100 * binom.pmf(np.arange(len(counts)), n_out, 1 - sparsity),
        }
    )


def open_layer(source: str, method: str, path: str = "", sparsity: float = 0.9) -> PrunedModel:
    """The Transformer cut down to one layer, in INT8.

    The one with the most unpruned weights, of those that are small enough. Arguments as of
    `f2f_study.sources.open_model`.
    """
    model = sources.open_model(source, "transformer", method, sparsity, path=path)
    small = {name: layer for name, layer in model.layers.items() if layer.size <= MAX_LAYER}
    name = max(small, key=lambda name: small[name].unpruned)
    weights = small[name].weights
    if weights is None:
        raise ValueError(f"source must have values, got masks only from {source!r}")
    if weights.dtype != np.int8:
        weights = quantize(weights).values
    return replace(model, layers={name: Layer(weights, small[name].mask)})


def measure_layer(
    model: PrunedModel, order: str, decoder: Decoder
) -> tuple[pd.DataFrame, np.ndarray]:
    """Encode the eight bit planes of an `open_layer` one by one, exactly, and decode them again.

    Returns
    -------
    rows : DataFrame
        One row a plane; the columns of `real_layer.csv`.
    decoded : ndarray of int8
        The weights, zero at pruned places.
    """
    ((name, layer),) = model.layers.items()
    walk = Order(order, *matrix_shape(layer.mask.shape))
    words = walk.take(np.where(layer.mask, model.state()[name], 0).reshape(-1).view(np.uint8))
    care_mask = walk.take(layer.mask.reshape(-1).astype(np.uint8))
    n_u, n = accounting.unpruned_per_block(care_mask, decoder.n_out), len(words)
    drawn = accounting.spread(n_u, decoder.n_out)
    planes = [encode_plane(words >> p & 1, care_mask, decoder, "viterbi") for p in range(8)]
    decoded = np.zeros(n, dtype=np.uint8)
    for p, plane in enumerate(planes):
        decoded |= decode_plane(plane, decoder, n) << p
    rows = pd.DataFrame(
        {
            "source": model.source,
            "network": model.network,
            "method": model.method,
            "layer": name,
            "values": model.values,
            "order": order,
            "n_s": decoder.n_s,
            "n_out": decoder.n_out,
            "sparsity": 1 - np.count_nonzero(care_mask) / n,
            "plane": p,
            "variation": drawn.variation,
            "variation_binomial": drawn.binomial,
            "care_bits": plane.n_care,
            "wrong_bits": len(plane.errors),
            "efficiency_percent": plane.efficiency,
            "payload_bits": decoder.n_in * len(plane.inputs),
            "stored_bits": plane.nbits,
        }
        for p, plane in enumerate(planes)
    )
    kept = positions_of(care_mask)
    again = np.zeros(layer.mask.shape, dtype=np.int8)
    again.reshape(-1)[walk.index(kept)] = decoded[kept].view(np.int8)
    return rows, again


def layer_totals(rows: pd.DataFrame) -> pd.DataFrame:
    """`measure_layer` summed over the planes, by order."""
    how = dict.fromkeys(["variation", "variation_binomial"], "first")
    how |= dict.fromkeys(["care_bits", "wrong_bits"], "sum")
    totals = rows.groupby("order", sort=False).agg(how)
    return totals.assign(
        efficiency_percent=accounting.efficiency(totals["care_bits"], totals["wrong_bits"])
    )


def summary(over_sparsity: pd.DataFrame, layer: pd.DataFrame, sparsity: float) -> list[Quantity]:
    """What the notebook stands for; tolerances are what another matrix and other data may change.

    Rows of `measure` over S, whose `sparsity` is named, and of `measure_layer` in both orders.
    """
    means = over_sparsity.groupby(["sparsity", "n_s"])["efficiency_percent"].mean()
    totals = layer_totals(layer)["efficiency_percent"]
    found = [
        Quantity(f"E at S = {sparsity:g}, n_s = {n_s}", means[sparsity, n_s], "%", tolerance)
        for n_s, tolerance in ((0, 1.0), (1, 0.2), (2, 0.1))
        if (sparsity, n_s) in means.index
    ]
    least = means.xs(2, level="n_s").min()
    found.append(Quantity("least E of any S, n_s = 2", least, "%", 0.1))
    return found + [
        Quantity(f"E of a real layer, {order} order, n_s = 2", totals[order], "%", 0.3)
        for order in ("row", "golden")
    ]
