"""Small trained networks that stand in for the paper's two where nothing can be downloaded.

``transformer`` translates number words, ``resnet`` recognises digits (`f2f_study.networks.tasks`).
Training is deterministic: the same recipe gives the same parameters.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from f2f.base import validate
from f2f_study.networks.architectures import ResNet, Transformer
from f2f_study.networks.layers import Layer, PrunedModel
from f2f_study.networks.prune import CubicSchedule, PenaltyControl, fixed_masks, make_pruner
from f2f_study.networks.tasks import METRICS, PAD, examples

NETWORKS = ("transformer", "resnet")

Groups = list[dict[str, object]]


@dataclass(frozen=True)
class Recipe:
    """How a stand-in is trained; the defaults are those of the committed files."""

    dense_steps: int  # optimizer steps of the dense training,
    prune_steps: int  # while pruning,
    tune_steps: int  # and under the fixed mask
    batch: int  # examples per step
    lr: float = 2e-3  # learning rate of weights, half of it once pruning begins,
    gate_lr: float = 3e-2  # and of gates or noise
    l0_strength: float = 1.0  # where the strength of the penalty begins
    variational_strength: float = 1e-2
    seed: int = 0  # of initial weights, batches and random masks


RECIPES = {
    "transformer": Recipe(dense_steps=1500, prune_steps=350, tune_steps=250, batch=128),
    "resnet": Recipe(dense_steps=300, prune_steps=200, tune_steps=150, batch=64),
}


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch on one thread: tensors this small make several threads wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def scaled(network: str, percent: float, seed: int = 0) -> Recipe:
    """The recipe of a network with a share of its steps, in %, and another seed."""
    whole = RECIPES[network]
    kinds = ("dense_steps", "prune_steps", "tune_steps")
    steps = {kind: max(2, round(getattr(whole, kind) * percent / 100)) for kind in kinds}
    return replace(whole, **steps, seed=seed)


def build(network: str, seed: int = 0) -> nn.Module:
    """A freshly initialised stand-in; `ValueError` for an unknown network."""
    validate.choice("network", network, NETWORKS)
    torch.manual_seed(seed)
    return Transformer() if network == "transformer" else ResNet()


def load(network: str, state: Mapping[str, np.ndarray]) -> nn.Module:
    """A stand-in with the given parameters, in evaluation mode."""
    model = build(network)
    model.load_state_dict({name: torch.from_numpy(np.array(a)) for name, a in state.items()})
    return model.eval()


def prunable(model: nn.Module) -> list[str]:
    """Names of the weights that are pruned: all matrices and convolutions but the two ends.

    Embeddings, the output layer, the first convolution and the classifier stay dense.
    """
    ends = {"output", "stem", "classifier"}
    return [
        f"{name}.weight"
        for name, part in model.named_modules()
        if isinstance(part, nn.Linear | nn.Conv2d) and name not in ends
    ]


@one_thread()
@torch.no_grad()
def quality(model: nn.Module) -> float:
    """Share of held-out numbers translated exactly, or of held-out digits recognised, in %."""
    model.eval()
    if isinstance(model, Transformer):
        source, target = examples("transformer", "test")
        right = (model.translate(source) == target).all(dim=1)
    else:
        images, classes = examples("resnet", "test")
        right = model(images).argmax(dim=1) == classes
    return 100.0 * float(right.float().mean())


def _batches(network: str, batch: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Whole batches of the training examples, shuffled anew in every epoch, for ever."""
    inputs, targets = examples(network, "train")
    generator = torch.Generator().manual_seed(seed)
    while True:
        for chosen in torch.randperm(len(inputs), generator=generator).split(batch):
            if len(chosen) == batch:
                yield inputs[chosen], targets[chosen]


def _loss(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy, smoothed for the digits."""
    if isinstance(model, Transformer):
        used = int((targets != PAD).sum(dim=1).max())  # no padding beyond the longest of the batch
        targets = targets[:, :used]
        logits = model(inputs[:, : int((inputs != PAD).sum(dim=1).max())], targets)
        return functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=PAD)
    return functional.cross_entropy(model(inputs), targets, label_smoothing=0.1)


@one_thread()
def _train(
    model: nn.Module,
    batches: Iterator[tuple[Tensor, Tensor]],
    groups: Groups,
    steps: int,
    penalty: Callable[[], Tensor] | None = None,
    after: Callable[[int], None] | None = None,
) -> None:
    """Adam with a short warm-up and a linear decline; `penalty` is added to the loss of a step."""
    optimizer = torch.optim.Adam(groups)
    warm = max(1, min(100, steps // 5))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda t: min((t + 1) / warm, max(0.02, (steps - t) / max(1, steps - warm)))
    )
    model.train()
    for step in range(steps):
        loss = _loss(model, *next(batches))
        if penalty is not None:
            loss = loss + penalty()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if after is not None:
            after(step)


def train_dense(network: str, recipe: Recipe | None = None) -> PrunedModel:
    """Train one of `NETWORKS` from scratch, by the recipe of the committed file if none is given.

    The model has no pruned layers: its parameters, rounded to float16, are all in `others`.
    """
    recipe = recipe or RECIPES[network]
    model = build(network, recipe.seed)
    batches = _batches(network, recipe.batch, recipe.seed)
    groups: Groups = [{"params": list(model.parameters()), "lr": recipe.lr}]
    _train(model, batches, groups, recipe.dense_steps)
    others = {
        name: (value.half() if value.is_floating_point() else value).numpy()
        for name, value in model.state_dict().items()
    }
    return _packed(network, "dense", 0.0, {}, others)


def train_pruned(
    dense: PrunedModel, method: str, sparsity: float, recipe: Recipe | None = None
) -> PrunedModel:
    """Prune a dense stand-in while training on, then fine-tune under the fixed mask.

    Random and magnitude pruning follow the cubic schedule, every tensor to `sparsity`. L0 and
    variational dropout get a penalty whose strength follows the same schedule by
    `PenaltyControl`; one threshold for the whole network then fixes the sparsity exactly, so their
    tensors differ in sparsity, as those of the published models do. Parameters are float32.
    `ValueError` for an unknown method or impossible sparsity.
    """
    network = dense.network
    recipe = recipe or RECIPES[network]
    model = load(network, dense.state())
    steps = recipe.prune_steps
    schedule = CubicSchedule(sparsity, 0, max(1, int(0.8 * steps)), every=10)
    pruner = make_pruner(method, model, prunable(model), schedule, recipe.seed)
    torch.manual_seed(recipe.seed)
    start = recipe.l0_strength if method == "l0" else recipe.variational_strength
    control = PenaltyControl(start, rate=1.1)
    # L0 stops short, so that the last gates are closed by the threshold and none is opened again.
    margin = 0.03 if method == "l0" else 0.0

    def after(step: int) -> None:
        pruner.step(step)
        if step % 5 == 0 and method in ("l0", "variational_dropout"):
            control.update(pruner.sparsity(), schedule.sparsity(step) - margin)

    batches = _batches(network, recipe.batch, recipe.seed + 1)
    groups = pruner.parameter_groups(recipe.lr / 2, recipe.gate_lr)
    _train(model, batches, groups, steps, lambda: control.strength * pruner.penalty(), after)
    masks = pruner.finish(sparsity)
    tuner = fixed_masks(model, masks)
    _train(model, batches, tuner.parameter_groups(recipe.lr / 2), recipe.tune_steps)
    tuner.finish()
    state = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    layers = {name: Layer(state.pop(name), mask.numpy()) for name, mask in masks.items()}
    return _packed(network, method, sparsity, layers, state)


def _packed(
    network: str,
    method: str,
    sparsity: float,
    layers: dict[str, Layer],
    others: dict[str, np.ndarray],
) -> PrunedModel:
    """The model with its quality, judged as it will be read from a file."""
    words = "trained, stand-in of this project"
    plain = PrunedModel("standin", network, method, sparsity, layers, words, others)
    percent = quality(load(network, plain.state()))
    return replace(plain, quality=f"{percent:.2f} {METRICS[network]}")
