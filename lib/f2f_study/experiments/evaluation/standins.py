"""Training the stand-ins again and judging the committed ones: notebook 00."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from tqdm import tqdm

from f2f_study import sources
from f2f_study.experiments.evaluation.quality import recorded_percent
from f2f_study.networks import standin, tasks
from f2f_study.networks.layers import PrunedModel
from f2f_study.networks.packed import save_packed
from f2f_study.results import Quantity


class Trained(NamedTuple):
    """A network trained in this run, and how long it took."""

    model: PrunedModel
    seconds: float


def train_dense(networks: Sequence[str], steps_percent: float, seed: int) -> list[Trained]:
    """Train stand-ins from scratch, with a share of the training steps of the committed files."""
    found = []
    for network in tqdm(networks, desc="dense"):
        started = time.perf_counter()
        model = standin.train_dense(network, standin.scaled(network, steps_percent, seed))
        found.append(Trained(model, time.perf_counter() - started))
    return found


def train_pruned(
    dense: Sequence[Trained],
    methods: Sequence[str],
    sparsities: Sequence[float],
    steps_percent: float,
    seed: int,
) -> list[Trained]:
    """Prune every dense network of `train_dense` by every method to every sparsity."""
    found = []
    wanted = [(d.model, m, s) for d in dense for s in sparsities for m in methods]
    for model, method, sparsity in tqdm(wanted, desc="pruned"):
        started = time.perf_counter()
        recipe = standin.scaled(model.network, steps_percent, seed)
        pruned = standin.train_pruned(model, method, sparsity, recipe)
        found.append(Trained(pruned, time.perf_counter() - started))
    return found


def save_all(trained: Sequence[Trained], folder: Path) -> None:
    """Write networks as the committed files are named."""
    for model, _ in trained:
        name = sources.standin_name(model.network, model.method, model.sparsity)
        save_packed(folder / name, model)


def standins(trained: Sequence[Trained]) -> pd.DataFrame:
    """Every committed stand-in, judged again, beside the one trained in this run, if any.

    The columns of `standins.csv` (runs/README.md); those of the training may be NaN.
    """
    fresh = {(m.network, m.method, m.sparsity): (m, seconds) for m, seconds in trained}
    committed = [
        (network, method, sparsity)
        for network in standin.NETWORKS
        for method, sparsity in [("dense", 0.0), *sources.available("standin", network)]
    ]
    rows = []
    for network, method, sparsity in tqdm(committed, desc="judge", unit=" networks", delay=2):
        model = sources.open_standin(network, method, sparsity)
        shares = [1 - la.unpruned / la.size for la in model.layers.values()] or [0.0]
        again, seconds = fresh.get((network, method, sparsity), (None, math.nan))
        rows.append(
            {
                "network": network,
                "method": method,
                "sparsity": sparsity,
                "weights": model.size,
                "unpruned": model.unpruned,
                "lowest_sparsity": min(shares),
                "highest_sparsity": max(shares),
                "metric": tasks.METRICS[network],
                "recorded_percent": recorded_percent(model),
                "recomputed_percent": standin.quality(standin.load(network, model.state())),
                "trained_percent": recorded_percent(again) if again else math.nan,
                "train_s": seconds,
            }
        )
    return pd.DataFrame(rows)


def summary(rows: pd.DataFrame) -> list[Quantity]:
    """The quality of every committed network, from `standins`."""
    names = [
        f"{r.network} {r.method} {r.sparsity:g}: quality, {r.metric}" for r in rows.itertuples()
    ]
    found = zip(names, rows["recomputed_percent"], strict=True)
    return [Quantity(name, percent, "%", 1.0) for name, percent in found]
