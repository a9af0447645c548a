"""The paper's four pruning methods, for use inside a PyTorch training loop.

* ``random``: drops weights in an order drawn once.
* ``magnitude``: drops the smallest weights, at once or along the cubic schedule
  (Zhu & Gupta 2017).
* ``l0``: a hard concrete gate per weight; the penalty is the expected number of open gates
  (Louizos et al. 2018).
* ``variational_dropout``: Gaussian noise per weight; pruned where log alpha exceeds a threshold
  (Molchanov et al. 2017).

A method is a rule for a tensor (`f2f_study.networks.parametrizations`), which hangs on
``torch.nn.utils.parametrize``: the module keeps its forward pass, reads ``weight`` as before, and
gets the masked, gated or noisy weight. One loop serves them all::

    pruner = make_pruner("l0", model, names)
    optimizer = torch.optim.Adam(pruner.parameter_groups(lr=1e-3, gate_lr=1e-2))
    for step, batch in enumerate(batches):
        loss = task_loss(model, batch) + strength * pruner.penalty()
        optimizer.zero_grad(); loss.backward(); optimizer.step()
        pruner.step(step)
    masks = pruner.finish(sparsity=0.9)

``torch`` is imported with this module, so import it only where networks are trained.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from f2f.base import validate
from f2f_study.networks.layers import METHODS
from f2f_study.networks.masks import keep_highest, random_scores
from f2f_study.networks.parametrizations import GaussianNoise, HardConcrete, Masked, Rule


@dataclass(frozen=True)
class CubicSchedule:
    """Sparsity over training steps, ``final - final (1 - (t - begin) / (end - begin))^3``.

    Zhu & Gupta 2017, equation 1, from 0 on; 0 before ``begin``, ``final`` from ``end`` on. The mask
    changes every ``every`` steps, and at ``begin`` and ``end``.
    """

    final: float  # share of pruned weights
    begin: int  # optimizer steps, as the next two
    end: int
    every: int = 1

    def __post_init__(self) -> None:
        validate.number("final", self.final, 0, 1)
        if not 0 <= self.begin <= self.end:
            raise ValueError(f"begin must be between 0 and end={self.end}, got {self.begin}")
        if self.every < 1:
            raise ValueError(f"every must be at least 1, got {self.every}")

    def sparsity(self, step: int) -> float:
        """Target sparsity at a step."""
        if step >= self.end:
            return self.final
        if step < self.begin:
            return 0.0
        left = 1.0 - (step - self.begin) / (self.end - self.begin)
        return self.final - self.final * left**3

    def due(self, step: int) -> bool:
        """Whether the mask is to be recomputed at this step."""
        if step < self.begin or step > self.end:
            return False
        return (step - self.begin) % self.every == 0 or step == self.end


class Pruner:
    """Prunes named parameters of a module while it trains; see the module docstring for the loop.

    Along a schedule every tensor reaches its sparsity by itself. A parameter that several layers
    share is pruned in all of them, and stays shared.

    Parameters
    ----------
    module, names
        What is pruned; names are those of ``module.named_parameters()``, e.g.
        ``"encoder.0.qkv.weight"``. `ValueError` where one is not, or none was given.
    rule
        rule(name, weight) makes the rule of a parameter.
    schedule
        For rules of masks that change with the step.
    """

    def __init__(
        self,
        module: nn.Module,
        names: Iterable[str],
        rule: Callable[[str, Tensor], Rule],
        schedule: CubicSchedule | None = None,
    ) -> None:
        self._uses: dict[str, list[tuple[nn.Module, str]]] = {}  # layers, and their name for it
        known = dict(module.named_parameters())
        for name in names:
            if name not in known:
                raise ValueError(
                    f"names must be parameters of the module, got {name!r}; "
                    f"it has {', '.join(sorted(known)[:5])}, ..."
                )
            self._uses[name] = [
                (owner, leaf)
                for owner in module.modules()
                for leaf, parameter in owner._parameters.items()
                if parameter is known[name]
            ]
        if not self._uses:
            raise ValueError("names must hold at least one parameter, got none")
        self.module, self.schedule = module, schedule
        self._rules: dict[str, Any] = {name: rule(name, known[name]) for name in self._uses}
        for name, uses in self._uses.items():
            for owner, leaf in uses:
                parametrize.register_parametrization(owner, leaf, self._rules[name])

    def original(self, name: str) -> Tensor:
        """The trained parameter under the parametrization."""
        owner, leaf = self._uses[name][0]
        found: Tensor = getattr(owner.parametrizations, leaf).original
        return found

    def parameter_groups(self, lr: float, gate_lr: float | None = None) -> list[dict[str, object]]:
        """Optimizer groups: the model at ``lr``, gates or noise at ``gate_lr`` (default ``lr``)."""
        gates = [gate for rule in self._rules.values() for gate in rule.parameters()]
        known = {id(p) for p in gates}
        rest = [p for p in self.module.parameters() if id(p) not in known]
        groups: list[dict[str, object]] = [{"params": rest, "lr": lr}]
        if gates:
            groups.append({"params": gates, "lr": gate_lr or lr, "weight_decay": 0.0})
        return groups

    def penalty(self) -> Tensor:
        """Regularization term per prunable weight, to be scaled and added to the loss."""
        weights = {name: self.original(name) for name in self._rules}
        parts = [rule.penalty(weights[name]) for name, rule in self._rules.items()]
        return torch.stack(parts).sum() / sum(weight.numel() for weight in weights.values())

    def step(self, step: int) -> None:
        """Call after every optimizer step, with its number."""
        if self.schedule and self.schedule.due(step):
            for name, mask in self._masks_of(self.schedule.sparsity(step)).items():
                self._rules[name].mask.copy_(mask)

    def masks(self) -> dict[str, Tensor]:
        """Mask per name, bool, True = kept, by the method's own rule."""
        return {name: rule.kept(self.original(name)) for name, rule in self._rules.items()}

    def _masks_of(self, sparsity: float) -> dict[str, Tensor]:
        """Masks of a sparsity: of every tensor along a schedule, else of all names together."""
        scores = {
            name: rule.score(self.original(name)).detach() for name, rule in self._rules.items()
        }
        if self.schedule:
            return {name: keep_highest(score, sparsity) for name, score in scores.items()}
        flat = [score.reshape(-1) for score in scores.values()]
        keep = keep_highest(torch.cat(flat), sparsity).split([part.numel() for part in flat])
        return {
            name: part.reshape(score.shape)
            for (name, score), part in zip(scores.items(), keep, strict=True)
        }

    def sparsity(self) -> float:
        """Share of pruned weights over all names, by the method's own rule."""
        masks = self.masks().values()
        return 1.0 - sum(int(m.sum()) for m in masks) / sum(m.numel() for m in masks)

    def finish(self, sparsity: float | None = None) -> dict[str, Tensor]:
        """Remove the parametrizations; the module keeps plain weights, +0.0 where pruned.

        `sparsity` is the share to prune: without a schedule it moves the threshold, one for the
        whole model, as the published sparse models did. None takes the method's own rule (exact
        gates at zero, log alpha threshold). Returns the mask per name, bool, True = kept.
        """
        masks = self.masks() if sparsity is None else self._masks_of(sparsity)
        was_training = self.module.training
        self.module.eval()
        for name, uses in self._uses.items():
            value = self._rules[name].finished(self.original(name), masks[name]).detach().clone()
            for owner, leaf in uses:
                parametrize.remove_parametrizations(owner, leaf, leave_parametrized=False)
            with torch.no_grad():
                # Not value * mask, which would leave -0.0 behind, bits that are not all zero.
                getattr(owner, leaf).copy_(torch.where(masks[name], value, 0.0))
        self.module.train(was_training)
        return masks


@dataclass
class PenaltyControl:
    """Sets the strength of a penalty so that the sparsity follows a target.

    Multiplies the strength by ``rate`` while the sparsity is below the target and divides by it
    while above: the simplest controller that needs no knowledge of the loss.
    """

    strength: float  # that of now
    rate: float = 1.05  # factor of one update
    lowest: float = 1e-8  # limits of the strength
    highest: float = 1e3

    def update(self, sparsity: float, target: float) -> float:
        """New strength, given the sparsity now and the sparsity wanted now."""
        factor = self.rate if sparsity < target else 1.0 / self.rate
        self.strength = min(max(self.strength * factor, self.lowest), self.highest)
        return self.strength


def make_pruner(
    method: str,
    module: nn.Module,
    names: Iterable[str],
    schedule: CubicSchedule | None = None,
    seed: int = 0,
) -> Pruner:
    """The pruner of one of `METHODS`; `seed` is that of the random order.

    A schedule with ``begin = end = 0`` is one-shot pruning after the first step. `ValueError` for
    an unknown method, or where random or magnitude pruning have no schedule.
    """
    validate.choice("method", method, METHODS)
    if method == "l0":
        return Pruner(module, names, lambda name, weight: HardConcrete(weight))
    if method == "variational_dropout":
        return Pruner(module, names, lambda name, weight: GaussianNoise(weight))
    if schedule is None:
        raise ValueError(f"schedule must be given for method {method!r}, got None")
    generator = torch.Generator().manual_seed(seed)

    def masked(name: str, weight: Tensor) -> Rule:
        scores = None
        if method == "random":
            scores = random_scores(weight.shape, generator).to(weight.device)
        return Masked(torch.ones_like(weight, dtype=torch.bool), scores)

    return Pruner(module, names, masked, schedule)


def fixed_masks(module: nn.Module, masks: Mapping[str, Tensor]) -> Pruner:
    """A pruner that keeps masks as they are, to fine-tune the surviving weights."""

    def masked(name: str, weight: Tensor) -> Rule:
        mask = masks[name]
        if mask.shape != weight.shape:
            raise ValueError(
                f"masks must have the shape of their weight, got {tuple(mask.shape)} "
                f"for {name!r} of shape {tuple(weight.shape)}"
            )
        return Masked(mask.to(weight.device))

    return Pruner(module, masks, masked)
