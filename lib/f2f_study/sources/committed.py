"""The stand-ins that are committed in ``data/standin``."""

from __future__ import annotations

from pathlib import Path

from f2f_study.networks.layers import METHODS, PrunedModel
from f2f_study.networks.packed import load_packed
from f2f_study.results import repository_root
from f2f_study.sources.download import ModelUnavailable

SPARSITIES = (0.7, 0.9)
"""Those of the committed networks."""


def standin_folder() -> Path:
    """Where the committed stand-ins lie."""
    return repository_root() / "data" / "standin"


def standin_name(network: str, method: str, sparsity: float) -> str:
    """The file name of a stand-in."""
    kind = "dense" if method == "dense" else f"{method}-{sparsity:g}"
    return f"{network}-{kind}.safetensors"


def available(network: str) -> list[tuple[str, float]]:
    """(method, sparsity) of every committed pruned network."""
    return [
        (method, sparsity)
        for method in METHODS
        for sparsity in SPARSITIES
        if (standin_folder() / standin_name(network, method, sparsity)).exists()
    ]


def open_standin(network: str, method: str = "dense", sparsity: float = 0.0) -> PrunedModel:
    """A committed stand-in; also the dense one, which has no pruned layers.

    `ModelUnavailable` names those there are, if there is no such file.
    """
    path = standin_folder() / standin_name(network, method, sparsity)
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in standin_folder().glob("*.safetensors"))) or "none"
        raise ModelUnavailable(
            f"data/standin/{path.name} was not found (there are: {known}); "
            "work in a checkout of the repository, or run notebooks/00_train_standins.ipynb"
        )
    return load_packed(path)
