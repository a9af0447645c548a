"""What stands between a trained parameter and the weight a layer sees: a mask, a gate, or noise."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

# Stretch interval and temperature of the hard concrete distribution (Louizos et al., section 4.1).
GAMMA, ZETA, BETA = -0.1, 1.1, 2.0 / 3.0
# A weight counts as noise where log alpha exceeds this (Molchanov et al., section 5).
LOG_ALPHA_THRESHOLD = 3.0


class Rule(nn.Module, ABC):
    """A pruning method for one tensor, as ``torch.nn.utils.parametrize`` takes it.

    ``forward(weight)`` is what the layers see of a trained weight.
    """

    @abstractmethod
    def score(self, weight: Tensor) -> Tensor:
        """Importance per weight: the higher, the longer it is kept."""

    @abstractmethod
    def kept(self, weight: Tensor) -> Tensor:
        """Mask in evaluation, bool, True = kept."""

    def penalty(self, weight: Tensor) -> Tensor:
        """What the method adds to the loss, a differentiable scalar, summed over the weights."""
        return weight.new_zeros(())

    def finished(self, weight: Tensor, mask: Tensor) -> Tensor:
        """The plain weight that stays where the mask keeps it."""
        return weight


class Masked(Rule):
    """``weight * mask``; pruned weights keep their value and get no gradient.

    `scores` are importances that do not change; without them it is the weight's magnitude.
    """

    mask: Tensor
    scores: Tensor | None

    def __init__(self, mask: Tensor, scores: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("mask", mask.to(torch.bool))
        self.register_buffer("scores", scores, persistent=False)

    def score(self, weight: Tensor) -> Tensor:
        return weight.abs() if self.scores is None else self.scores

    def kept(self, weight: Tensor) -> Tensor:
        return self.mask.clone()

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.mask


class HardConcrete(Rule):
    """L0 regularization: ``weight * gate``, one hard concrete gate per weight.

    In training the gate is a sample, ``clip(s (zeta - gamma) + gamma, 0, 1)`` with
    ``s = sigmoid((ln u - ln(1 - u) + log_alpha) / beta)`` (Louizos et al., equations 10 and 11);
    in evaluation ``clip(sigmoid(log_alpha) (zeta - gamma) + gamma, 0, 1)`` (equation 13). The gates
    have the weight's shape and begin at `log_alpha`.
    """

    def __init__(self, weight: Tensor, log_alpha: float = 2.0) -> None:
        super().__init__()
        self.log_alpha = nn.Parameter(torch.full_like(weight, log_alpha))

    def gate(self) -> Tensor:
        """Deterministic gate of evaluation, 0..1 with exact zeros."""
        return torch.clamp(torch.sigmoid(self.log_alpha) * (ZETA - GAMMA) + GAMMA, 0.0, 1.0)

    def score(self, weight: Tensor) -> Tensor:
        return self.log_alpha

    def kept(self, weight: Tensor) -> Tensor:
        return self.gate().detach() > 0

    def penalty(self, weight: Tensor) -> Tensor:
        """Expected number of non-zero gates (equation 12)."""
        return torch.sigmoid(self.log_alpha - BETA * math.log(-GAMMA / ZETA)).sum()

    def finished(self, weight: Tensor, mask: Tensor) -> Tensor:
        """Weight times gate, a hundredth where a gate is closed that the mask keeps.

        That is where `mask` has a lower threshold than `kept`.
        """
        gate = self.gate()
        return weight * torch.where(mask & (gate == 0), 0.01, gate)

    def forward(self, weight: Tensor) -> Tensor:
        if not self.training:
            return weight * self.gate()
        u = torch.empty_like(self.log_alpha).uniform_(1e-6, 1.0 - 1e-6)
        s = torch.sigmoid((torch.log(u) - torch.log1p(-u) + self.log_alpha) / BETA)
        return weight * torch.clamp(s * (ZETA - GAMMA) + GAMMA, 0.0, 1.0)


class GaussianNoise(Rule):
    """Sparse variational dropout: ``weight + sigma * noise``.

    ``log alpha = log sigma^2 - log weight^2``. The noise is drawn per weight and step (additive
    reparametrization, Molchanov et al., section 4.2); evaluation drops weights whose log alpha is
    at or above the threshold. The logarithm of the variance, of the weight's shape, begins at
    `log_sigma2`.
    """

    def __init__(self, weight: Tensor, log_sigma2: float = -10.0) -> None:
        super().__init__()
        self.log_sigma2 = nn.Parameter(torch.full_like(weight, log_sigma2))

    def log_alpha(self, weight: Tensor) -> Tensor:
        """log alpha per weight."""
        return self.log_sigma2 - torch.log(weight**2 + 1e-8)

    def score(self, weight: Tensor) -> Tensor:
        return -self.log_alpha(weight)

    def kept(self, weight: Tensor) -> Tensor:
        return self.log_alpha(weight).detach() < LOG_ALPHA_THRESHOLD

    def penalty(self, weight: Tensor) -> Tensor:
        """KL divergence to the log-uniform prior (equation 14)."""
        k1, k2, k3 = 0.63576, 1.87320, 1.48695
        log_alpha = torch.clamp(self.log_alpha(weight), -8.0, 8.0)
        negative = k1 * torch.sigmoid(k2 + k3 * log_alpha)
        negative = negative - 0.5 * torch.nn.functional.softplus(-log_alpha) - k1
        return -negative.sum()

    def forward(self, weight: Tensor) -> Tensor:
        if not self.training:
            return weight * self.kept(weight)
        sigma = torch.exp(0.5 * torch.clamp(self.log_sigma2, max=4.0))
        return weight + sigma * torch.randn_like(weight)
