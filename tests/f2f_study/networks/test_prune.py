"""Pruning methods: target sparsity reached, gradients flow, finished weights are plain."""

import pytest
import torch
from torch import nn

from f2f_study.networks import masks, prune, standin
from f2f_study.networks.prune import CubicSchedule, PenaltyControl, make_pruner


@pytest.fixture(autouse=True)
def one_thread():
    """Tensors this small make several threads wait for each other."""
    with standin.one_thread():
        yield


NAMES = ("0.weight", "2.weight")


def small_network() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 4))


def regression_batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Only the first five inputs matter, so most weights are useless."""
    x = torch.randn(256, 20, generator=torch.Generator().manual_seed(1))
    y = torch.stack([x[:, 0], x[:, 1] * 2, x[:, 2] - x[:, 3], x[:, 4]], dim=1)
    return x, y


def train(pruner: prune.Pruner, network: nn.Module, steps: int, control: PenaltyControl) -> float:
    x, y = regression_batch()
    optimizer = torch.optim.Adam(pruner.parameter_groups(lr=5e-3, gate_lr=5e-2))
    for step in range(steps):
        loss = nn.functional.mse_loss(network(x), y)
        optimizer.zero_grad()
        (loss + control.strength * pruner.penalty()).backward()
        optimizer.step()
        pruner.step(step)
        control.update(pruner.sparsity(), 0.8)
    network.eval()
    return float(nn.functional.mse_loss(network(x), y).detach())


def test_cubic_schedule_is_zhu_and_guptas():
    schedule = CubicSchedule(final=0.8, begin=100, end=500, every=50)
    assert schedule.sparsity(99) == 0.0
    assert schedule.sparsity(100) == 0.0
    assert schedule.sparsity(300) == pytest.approx(0.8 - 0.8 * 0.5**3)
    assert schedule.sparsity(500) == 0.8
    assert schedule.sparsity(9999) == 0.8
    values = [schedule.sparsity(step) for step in range(600)]
    assert values == sorted(values)
    assert [step for step in range(600) if schedule.due(step)] == list(range(100, 501, 50))


@pytest.mark.parametrize("method", ["random", "magnitude"])
def test_gradual_pruning_reaches_its_target_in_every_tensor(method):
    network = small_network()
    pruner = make_pruner(method, network, NAMES, CubicSchedule(0.8, 10, 60, every=10), seed=4)
    seen = []
    x, y = regression_batch()
    optimizer = torch.optim.SGD(pruner.parameter_groups(lr=0.01))
    for step in range(70):
        optimizer.zero_grad()
        nn.functional.mse_loss(network(x), y).backward()
        optimizer.step()
        pruner.step(step)
        seen.append(pruner.sparsity())
    assert seen == sorted(seen)
    masks = pruner.finish()
    assert set(masks) == set(NAMES)
    for name, weight in network.named_parameters():
        if name in masks:
            assert int((~masks[name]).sum()) == round(0.8 * weight.numel())
            assert torch.all(weight[~masks[name]] == 0)
            assert not torch.signbit(weight[~masks[name]]).any(), "bits must be zero, not -0.0"
            assert torch.all(weight[masks[name]] != 0)


def test_masked_weights_get_no_gradient():
    network = small_network()
    mask = masks.keep_highest(torch.rand(30, 20), 0.5)
    pruner = prune.fixed_masks(network, {"0.weight": mask})
    x, y = regression_batch()
    nn.functional.mse_loss(network(x), y).backward()
    gradient = pruner.original("0.weight").grad
    assert torch.all(gradient[~mask] == 0)
    assert torch.count_nonzero(gradient[mask]) > 0.8 * int(mask.sum())


@pytest.mark.parametrize("method", ["l0", "variational_dropout"])
def test_regularizers_reach_the_target_and_find_the_useful_inputs(method):
    network = small_network()
    pruner = make_pruner(method, network, NAMES)
    error = train(pruner, network, 500, PenaltyControl(0.01, rate=1.02))
    assert 0.6 < pruner.sparsity() < 0.95
    assert error < 0.2  # the outputs have variance 1, 4, 2, 1
    masks = pruner.masks()["0.weight"]
    assert masks[:, :5].float().mean() > 3 * masks[:, 5:].float().mean()


@pytest.mark.parametrize("method", ["l0", "variational_dropout"])
def test_gradients_reach_weights_and_gates(method):
    network = small_network()
    pruner = make_pruner(method, network, NAMES)
    x, y = regression_batch()
    loss = nn.functional.mse_loss(network(x), y) + 0.1 * pruner.penalty()
    loss.backward()
    gates = pruner.parameter_groups(lr=1.0, gate_lr=2.0)[1]["params"]
    assert isinstance(gates, list)
    assert len(gates) == 2
    for parameter in [*gates, *(pruner.original(name) for name in NAMES)]:
        assert torch.isfinite(parameter.grad).all()
        assert torch.count_nonzero(parameter.grad) > 0


@pytest.mark.parametrize("method", ["l0", "variational_dropout"])
def test_finish_moves_one_threshold_to_the_asked_sparsity(method):
    network = small_network()
    pruner = make_pruner(method, network, NAMES)
    train(pruner, network, 60, PenaltyControl(0.1))
    masks = pruner.finish(sparsity=0.75)
    total = sum(m.numel() for m in masks.values())
    assert sum(int((~m).sum()) for m in masks.values()) == round(0.75 * total)
    assert {name for name, _ in network.named_parameters()} == {*NAMES, "0.bias", "2.bias"}
    for name, mask in masks.items():
        assert torch.all(network.get_parameter(name)[~mask] == 0)
        assert not torch.signbit(network.get_parameter(name)[~mask]).any()


def test_finish_keeps_what_evaluation_computed():
    for method in ("l0", "variational_dropout"):
        network = small_network()
        pruner = make_pruner(method, network, NAMES)
        train(pruner, network, 60, PenaltyControl(0.1))
        x, _ = regression_batch()
        network.eval()
        before = network(x)
        pruner.finish()
        assert torch.equal(before, network(x))


class Tied(nn.Module):
    """An embedding and a projection back to its words, of one weight, and one behind a name."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.embed = nn.Embedding(30, 8)
        self.out = nn.Linear(8, 30)
        self.out.weight = self.embed.weight
        self.again = nn.ModuleList([self.embed])

    def forward(self, words):
        return self.out(self.embed(words))


@pytest.mark.parametrize("method", ["random", "magnitude", "l0", "variational_dropout"])
def test_a_tied_weight_is_pruned_wherever_it_is_used_and_stays_tied(method):
    network = Tied()
    pruner = make_pruner(method, network, ["embed.weight"], CubicSchedule(0.5, 0, 4), seed=1)
    original = pruner.original("embed.weight")
    optimizer = torch.optim.SGD(pruner.parameter_groups(lr=0.1))
    words = torch.arange(30)
    for step in range(6):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(words), words).backward()
        optimizer.step()
        pruner.step(step)
    network.eval()
    mask = pruner.masks()["embed.weight"]
    assert method not in ("random", "magnitude") or int(mask.sum()) == 120
    for layer in (network.embed, network.out):
        assert layer.parametrizations.weight.original is original
        assert torch.equal(layer.weight != 0, mask)
    before = network(words)
    masks = pruner.finish()
    assert torch.equal(network(words), before)
    assert network.embed.weight is network.out.weight is original
    assert not torch.signbit(original[~masks["embed.weight"]]).any()
    assert torch.equal(original != 0, mask)
    assert [name for name, _ in network.named_parameters()] == ["embed.weight", "out.bias"]


def test_control_pushes_towards_the_target():
    control = PenaltyControl(1.0, rate=2.0, lowest=0.5, highest=4.0)
    assert [control.update(0.1, 0.5) for _ in range(3)] == [2.0, 4.0, 4.0]
    assert [control.update(0.9, 0.5) for _ in range(4)] == [2.0, 1.0, 0.5, 0.5]


def test_bad_arguments_are_named():
    network = small_network()
    with pytest.raises(ValueError, match="method must be one of random, magnitude, l0"):
        make_pruner("lottery", network, NAMES)
    with pytest.raises(ValueError, match="schedule must be given"):
        make_pruner("magnitude", network, NAMES)
    with pytest.raises(ValueError, match=r"names must be parameters of the module, got '9\.w"):
        make_pruner("l0", network, ["9.weight"])
    with pytest.raises(ValueError, match="at least one"):
        make_pruner("l0", network, [])
    with pytest.raises(ValueError, match="begin must be between 0 and end=5, got 9"):
        CubicSchedule(0.5, 9, 5)
    with pytest.raises(ValueError, match="masks must have the shape"):
        prune.fixed_masks(network, {"0.weight": torch.ones(3, dtype=torch.bool)})


def test_a_sparsity_below_the_own_rule_keeps_no_zeros():
    network = small_network()
    pruner = make_pruner("l0", network, NAMES)
    train(pruner, network, 300, PenaltyControl(0.1, rate=1.05))
    assert pruner.sparsity() > 0.4
    masks = pruner.finish(sparsity=0.2)
    for name, mask in masks.items():
        assert torch.equal(network.get_parameter(name) != 0, mask)
