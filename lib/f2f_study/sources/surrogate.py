"""The paper's two networks at full size, drawn anew from the counts of the published masks.

How many weights each row and column of a layer keeps is nearly all there is to the irregularity of
its mask. These counts are committed in ``data/surrogate.npz``, which is made from the Deep Learning
Matrix Collection by `f2f_study.sources.count_masks`. A mask is drawn from them with independent
places: a weight of row i and column j is unpruned with odds exp(a_i + b_j), where a and b are such
that every row and column is expected to keep what it kept. Of such masks those are drawn whose
rows keep just that, by Pareto sampling (Rosén 1997): the counts have the scatter of a draw in them,
and a second one on top would make even random pruning uneven. Values are drawn too.

The file, read by `numpy.load`: for each network ``NETWORK/layers``, names (layers,), and
``NETWORK/shapes``, int64 (layers, 2); for each model ``NETWORK/METHOD/SPARSITY/rows`` and
``.../columns``, uint16: unpruned weights of every row (column) of every layer, layer after layer.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from f2f.base.errors import FormatError
from f2f_study.networks.layers import PrunedModel, drawn_layers
from f2f_study.results import repository_root
from f2f_study.sources.download import ModelUnavailable

ROUNDS = 40  # of fitting a, then b; both are at rounding error long before


def counts_file() -> Path:
    """Where the committed counts lie."""
    return repository_root() / "data" / "surrogate.npz"


def available(network: str) -> list[tuple[str, float]]:
    """(method, sparsity) of every model whose counts are committed."""
    if not counts_file().exists():
        return []
    keys = [key.split("/") for key in _read() if key.endswith("/rows")]
    return [(key[1], float(key[2])) for key in keys if key[0] == network]


def load(
    network: str, method: str, sparsity: float, values: str, seed: int, every: int
) -> PrunedModel:
    """A model with drawn masks and values; see `f2f_study.sources.open_model`."""
    counts = layer_counts(network, method, sparsity)
    masks = {}
    for name, (rows, columns) in list(counts.items())[::every]:
        stream = f"mask of {network} {method} {sparsity:g} {name}"
        rng = np.random.default_rng([seed, *stream.encode()])
        masks[name] = draw_mask(rows, columns, rng)
    layers, words = drawn_layers(masks, values, seed)
    words = f"masks drawn from counts, values {words}"
    return PrunedModel("surrogate", network, method, sparsity, layers, words)


def layer_counts(
    network: str, method: str, sparsity: float
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Unpruned weights of every row and of every column of every layer of a published model.

    By the layer's name in the collection: uint16 (rows,) and uint16 (columns,), of equal sum.

    Raises
    ------
    ModelUnavailable
        The counts of this model are not committed; names those that are.
    FormatError
        The file is damaged.
    """
    if (method, sparsity) not in available(network):
        known = ", ".join(f"{m} {s:g}" for m, s in available(network))
        raise ModelUnavailable(
            f"method and sparsity must be one of {known or 'none'} for source surrogate and "
            f"network {network}, got {method} {sparsity:g}"
            + ("" if known else f"; data/{counts_file().name} is in a checkout of the repository")
        )
    arrays = _read()
    model = f"{network}/{method}/{sparsity:g}"
    try:
        names, shapes = arrays[f"{network}/layers"].tolist(), arrays[f"{network}/shapes"]
        rows, columns = (
            _by_layer(arrays[f"{model}/{side}"], shapes[:, i])
            for i, side in enumerate(("rows", "columns"))
        )
    except (KeyError, ValueError, IndexError) as error:
        raise FormatError(f"{counts_file()}: counts of {model}: {error}") from error
    counts = dict(zip(names, zip(rows, columns, strict=True), strict=True))
    for name, (kept, below) in counts.items():
        fits = kept.max() <= len(below) and below.max() <= len(kept)
        if not fits or kept.sum(dtype=np.int64) != below.sum(dtype=np.int64):
            raise FormatError(f"{counts_file()}: counts of {model}: {name}: rows, columns disagree")
    return counts


def _read() -> Mapping[str, np.ndarray]:
    """The arrays of the file by name, each read when it is asked for."""
    try:
        return np.load(counts_file(), allow_pickle=False)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise FormatError(f"{counts_file()}: cannot be read as .npz: {error}") from error


def _by_layer(counts: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    """Counts of all layers one after another, cut to those of each."""
    if len(counts) != lengths.sum():
        raise ValueError(f"there must be {lengths.sum()}, found {len(counts)}")
    return np.split(counts, np.cumsum(lengths)[:-1])


def draw_mask(rows: np.ndarray, columns: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A mask, bool (n, m), whose rows (n,) keep given counts, and whose columns (m,) should.

    The counts have equal sums; columns of count 0, or n, are just so.

    >>> draw_mask(np.array([2, 0]), np.array([1, 1]), np.random.default_rng(0)).astype(int)
    array([[1, 1],
           [0, 0]])
    """
    row_values, row_of = np.unique(rows, return_inverse=True)
    column_values, column_of = np.unique(columns, return_inverse=True)
    p = fit_shares(row_values, np.bincount(row_of), column_values, np.bincount(column_of))
    with np.errstate(divide="ignore"):
        against = (1 / p - 1)[row_of][:, column_of]
    # Of a row those with the least u/(1-u) times the odds against them; u is never 0 here.
    u = rng.random(against.shape)
    against *= (u + 2.0**-60) / (1 - u)
    last = np.sort(against, axis=1)[np.arange(len(rows)), np.maximum(rows, 1) - 1]
    return (against <= last[:, None]) & (rows > 0)[:, None]


def fit_shares(
    rows: np.ndarray, row_number: np.ndarray, columns: np.ndarray, column_number: np.ndarray
) -> np.ndarray:
    """Probabilities p of odds exp(a_i + b_j) whose sums over rows and columns are given counts.

    Rows of one count have one a, so only the distinct ones are fitted: by turns all a and all b, a
    step of Newton's method each. rows (r,), columns (c,): the distinct counts; row_number,
    column_number: how many rows and columns have each; p: float64 (r, c).
    """

    def step(
        logits: np.ndarray, others: np.ndarray, counts: np.ndarray, number: np.ndarray
    ) -> np.ndarray:
        p = 1 / (1 + np.exp(-(logits[:, None] + others)))
        slope = np.maximum((p * (1 - p)) @ number, 1e-9)
        return np.clip(logits + np.clip((counts - p @ number) / slope, -1, 1), -40, 40)

    n, m = row_number.sum(), column_number.sum()
    kept = max(float(rows @ row_number), 1.0)
    a = np.log(np.clip(rows / m, 1e-9, 1 - 1e-9))
    b = np.log(np.clip(columns / n, 1e-9, 1 - 1e-9)) - np.log(kept / (n * m))
    for _ in range(ROUNDS):
        a = step(a, b, rows, column_number)
        b = step(b, a, columns, row_number)
    # A count of 0, or of all, is met at infinity only.
    p = 1 / (1 + np.exp(-(a[:, None] + b)))
    p[(rows == 0)[:, None] | (columns == 0)] = 0
    p[(rows == m)[:, None] | (columns == n)] = 1
    return p
