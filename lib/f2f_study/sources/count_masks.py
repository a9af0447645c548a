"""Count what every row and column of the published masks keeps: the data of source `surrogate`.

``python -m f2f_study.sources.count_masks`` reads the Deep Learning Matrix Collection from the data
folder (data/README.md) and writes ``data/surrogate.npz``, whose layout
`f2f_study.sources.surrogate` describes. The same masks give the same arrays in the same order.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from f2f.base.atomic import atomic_write
from f2f_study.networks.layers import PrunedModel
from f2f_study.sources.opening import open_model
from f2f_study.sources.surrogate import counts_file

MODELS = (
    ("transformer", "magnitude", 0.7),
    ("transformer", "random", 0.9),
    ("transformer", "magnitude", 0.9),
    ("transformer", "l0", 0.9),
    ("transformer", "variational_dropout", 0.9),
    ("resnet", "magnitude", 0.7),
    ("resnet", "random", 0.9),
    ("resnet", "magnitude", 0.9),
    ("resnet", "variational_dropout", 0.9),
)
"""(network, method, sparsity) of what is counted: the paper's models at its sparsities."""


def write_counts(path: Path, models: Iterable[PrunedModel]) -> None:
    """Write the counts of models as `f2f_study.sources.surrogate` reads them.

    Masks are enough, each of two axes; models of one network have the same layers, or `ValueError`.
    A layer that one of the paper's methods names otherwise (``..._fully_connected``) is the same.
    """
    arrays: dict[str, np.ndarray] = {}
    for model in models:
        masks = {n.removesuffix("_fully_connected"): la.mask for n, la in model.layers.items()}
        masks = dict(sorted(masks.items()))
        names, shapes = np.array(list(masks)), np.array([mask.shape for mask in masks.values()])
        known = arrays.setdefault(f"{model.network}/layers", names)
        sizes = arrays.setdefault(f"{model.network}/shapes", shapes)
        if not (np.array_equal(known, names) and np.array_equal(sizes, shapes)):
            raise ValueError(
                f"models of {model.network} must have the same layers, {model.method} "
                f"{model.sparsity:g} differs from the first"
            )
        for axis, side in ((1, "rows"), (0, "columns")):
            counts = [mask.sum(axis, dtype=np.uint16) for mask in masks.values()]
            key = f"{model.network}/{model.method}/{model.sparsity:g}/{side}"
            arrays[key] = np.concatenate(counts)
    with atomic_write(path) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # names, not flags


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m f2f_study.sources.count_masks", description=__doc__.split("\n", 1)[0]
    )
    parser.add_argument("--out", type=Path, default=counts_file(), help="the .npz file to write")
    out = parser.parse_args().out
    write_counts(out, (open_model("dlmc", *model, values="none") for model in MODELS))
    print(f"{out}: {len(MODELS)} models, {out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
