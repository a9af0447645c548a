"""Hard concrete gates and variational noise against their equations."""

import math

import pytest
import torch

from f2f_study.networks import parametrizations as rules


def test_hard_concrete_gates_are_exactly_zero_and_one_at_the_ends():
    gates = rules.HardConcrete(torch.ones(1001))
    with torch.no_grad():
        gates.log_alpha.copy_(torch.linspace(-6, 6, 1001))
    gates.eval()
    gate = gates(torch.ones(1001))
    assert torch.equal(gate == 0, gates.log_alpha <= -math.log(11) + 1e-6)
    assert torch.equal(gate == 1, gates.log_alpha >= math.log(11) - 1e-6)
    gates.train()
    torch.manual_seed(0)
    sample = torch.stack([gates(torch.ones(1001)) for _ in range(400)])
    assert bool((sample == 0).any())
    assert bool((sample == 1).any())
    # Equation 12: the share of samples that are not zero is the expected number of open gates.
    measured = float((sample != 0).float().sum(dim=1).mean())
    assert measured == pytest.approx(float(gates.penalty(torch.ones(1001)).detach()), rel=0.01)


def test_divergence_falls_with_log_alpha_and_vanishes_for_pure_noise():
    weight = torch.ones(1)
    values = []
    for log_sigma2 in (-6.0, -2.0, 0.0, 3.0, 8.0):
        values.append(float(rules.GaussianNoise(weight, log_sigma2).penalty(weight).detach()))
    assert values == sorted(values, reverse=True)
    assert abs(values[-1]) < 1e-3


def test_variational_dropout_drops_by_log_alpha():
    weight = torch.tensor([1.0, 0.01, -2.0, 0.0])
    noise = rules.GaussianNoise(weight, log_sigma2=-4.0).eval()
    # log alpha = -4 - ln(weight^2): -4, 5.2, -5.4, 14.4
    assert noise(weight).tolist() == [1.0, 0.0, -2.0, 0.0]
