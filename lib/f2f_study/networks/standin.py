"""Small trained networks that stand in for the paper's two where nothing can be downloaded.

* ``transformer``: encoder-decoder Transformer that translates English number words into German
  ("forty-two thousand one" -> "zweiundvierzigtausendeins"), 0 to 999999. A true translation task
  with reordering, whose every pair is made by rule. Quality: share of held-out numbers translated
  exactly, in %.
* ``resnet``: bottleneck ResNet on the 8x8 images of scikit-learn's handwritten digits. Quality:
  accuracy on the 360 images held out, in %.

The architectures are the paper's in kind (post-norm Transformer, bottleneck ResNet with batch
normalization) and some hundred times smaller, and so are their tensors: figures measured on them
carry more overhead per tensor than those of the real models.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from f2f_study.networks.layers import Layer, PrunedModel
from f2f_study.networks.prune import CubicSchedule, FixedMaskPruner, PenaltyControl, make_pruner

NETWORKS = ("transformer", "resnet")
QUALITIES = {
    "transformer": "% of held-out numbers translated exactly",
    "resnet": "% of held-out digits recognised",
}

Groups = list[dict[str, object]]

# fmt: off
ENGLISH = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]
ENGLISH_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
GERMAN = [
    "null", "ein", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "zehn", "elf",
    "zwölf", "dreizehn", "vierzehn", "fünfzehn", "sechzehn", "siebzehn", "achtzehn", "neunzehn",
]
GERMAN_TENS = [
    "zwanzig", "dreißig", "vierzig", "fünfzig", "sechzig", "siebzig", "achtzig", "neunzig",
]
# fmt: on

PAD, START, END = 0, 1, 2
SOURCE_WORDS = ["<pad>", "<s>", "</s>", *ENGLISH, *ENGLISH_TENS, "hundred", "thousand"]
TARGET_WORDS = ["<pad>", "<s>", "</s>", *GERMAN, "eins", *GERMAN_TENS, "und", "hundert", "tausend"]
LENGTH = 14  # longest sentence with its end mark is 12 tokens


def english(number: int) -> list[str]:
    """Words of a number in English, hyphens taken as spaces.

    >>> " ".join(english(42_001))
    'forty two thousand one'
    """
    _check_number(number)
    if number >= 1000:
        rest = english(number % 1000) if number % 1000 else []
        return [*english(number // 1000), "thousand", *rest]
    if number >= 100:
        rest = english(number % 100) if number % 100 else []
        return [ENGLISH[number // 100], "hundred", *rest]
    if number >= 20:
        return [ENGLISH_TENS[number // 10 - 2], *([ENGLISH[number % 10]] if number % 10 else [])]
    return [ENGLISH[number]]


def german(number: int) -> list[str]:
    """Parts of a number in German; written together they are the word.

    >>> "".join(german(42_001))
    'zweiundvierzigtausendeins'
    """
    _check_number(number)
    parts = _german(number)
    return [*parts[:-1], "eins"] if parts[-1] == "ein" else parts


def _german(number: int) -> list[str]:
    if number >= 1000:
        rest = _german(number % 1000) if number % 1000 else []
        return [*_german(number // 1000), "tausend", *rest]
    if number >= 100:
        return [GERMAN[number // 100], "hundert", *(_german(number % 100) if number % 100 else [])]
    if number >= 20:
        tens = GERMAN_TENS[number // 10 - 2]
        return [GERMAN[number % 10], "und", tens] if number % 10 else [tens]
    return [GERMAN[number]]


def _check_number(number: int) -> None:
    if not 0 <= number < 1_000_000:
        raise ValueError(f"number must be between 0 and 999999, got {number}")


def _tokens(numbers: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Padded token numbers of the sentences, two int64 tensors (len(numbers), LENGTH)."""
    sides = []
    for words, spell in ((SOURCE_WORDS, english), (TARGET_WORDS, german)):
        known = {word: index for index, word in enumerate(words)}
        table = np.full((len(numbers), LENGTH), PAD, dtype=np.int64)
        for row, number in enumerate(numbers):
            sentence = [known[word] for word in spell(int(number))]
            table[row, : len(sentence) + 1] = [*sentence, END]
        sides.append(torch.from_numpy(table))
    return sides[0], sides[1]


@cache
def number_pairs(part: str) -> tuple[Tensor, Tensor]:
    """Tokens of the training or the test sentences; every 20th number is held out.

    Drawn with a fixed seed, the number of digits first, so that short numbers are there too.
    """
    if part not in ("train", "test"):
        raise ValueError(f"part must be train or test, got {part!r}")
    rng = np.random.default_rng(20190225)
    numbers = rng.integers(0, 10 ** rng.integers(1, 7, size=60_000))
    held_out = numbers % 20 == 7
    numbers = numbers[held_out][:1500] if part == "test" else numbers[~held_out]
    return _tokens(np.unique(numbers) if part == "test" else numbers)


@cache
def digit_images(part: str) -> tuple[Tensor, Tensor]:
    """Images (n, 1, 8, 8) float32 in -1..1 and classes (n,) of scikit-learn's digits."""
    if part not in ("train", "test"):
        raise ValueError(f"part must be train or test, got {part!r}")
    from sklearn.datasets import load_digits  # bundled with scikit-learn, no download

    digits = load_digits()
    order = np.random.default_rng(20190225).permutation(len(digits.target))
    chosen = order[:360] if part == "test" else order[360:]
    images = torch.from_numpy(digits.images[chosen].astype(np.float32))[:, None] / 8 - 1
    return images, torch.from_numpy(digits.target[chosen].astype(np.int64))


class Attention(nn.Module):
    """Multi-head attention; ``qkv`` is one matrix where queries and keys come from one place."""

    def __init__(self, width: int, heads: int, cross: bool) -> None:
        super().__init__()
        self.heads, self.cross = heads, cross
        if cross:
            self.q = nn.Linear(width, width)
            self.kv = nn.Linear(width, 2 * width)
        else:
            self.qkv = nn.Linear(width, 3 * width)
        self.output_transform = nn.Linear(width, width)

    def forward(self, x: Tensor, memory: Tensor | None, mask: Tensor) -> Tensor:
        if memory is not None:
            q, (k, v) = self.q(x), self.kv(memory).chunk(2, dim=-1)
        else:
            q, k, v = self.qkv(x).chunk(3, dim=-1)
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.output_transform(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Post-norm layer: self-attention, in the decoder attention to the source, feed-forward."""

    def __init__(self, width: int, inner: int, heads: int, decoder: bool) -> None:
        super().__init__()
        self.self_attention = Attention(width, heads, cross=False)
        self.norm1 = nn.LayerNorm(width)
        self.decoder = decoder
        if decoder:
            self.encdec_attention = Attention(width, heads, cross=True)
            self.norm2 = nn.LayerNorm(width)
        self.ffn1, self.ffn2 = nn.Linear(width, inner), nn.Linear(inner, width)
        self.norm3 = nn.LayerNorm(width)

    def forward(
        self, x: Tensor, mask: Tensor, memory: Tensor | None = None, over: Tensor | None = None
    ) -> Tensor:
        x = self.norm1(x + self.self_attention(x, None, mask))
        if self.decoder:
            x = self.norm2(x + self.encdec_attention(x, memory, over))
        return self.norm3(x + self.ffn2(torch.relu(self.ffn1(x))))


class Transformer(nn.Module):
    """Encoder-decoder Transformer over the two small vocabularies."""

    def __init__(self, width: int = 128, inner: int = 512, heads: int = 4, layers: int = 1) -> None:
        super().__init__()
        self.source = nn.Embedding(len(SOURCE_WORDS), width)
        self.target = nn.Embedding(len(TARGET_WORDS), width)
        self.place = nn.Parameter(torch.randn(LENGTH, width) * 0.1)
        self.encoder = nn.ModuleList(Block(width, inner, heads, False) for _ in range(layers))
        self.decoder = nn.ModuleList(Block(width, inner, heads, True) for _ in range(layers))
        self.output = nn.Linear(width, len(TARGET_WORDS))

    def encode(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states (b, LENGTH, width) of token numbers (b, LENGTH), and the padding mask."""
        seen = (source != PAD)[:, None, None, :]
        x = self.source(source) + self.place[: source.shape[1]]
        for block in self.encoder:
            x = block(x, seen)
        return x, seen

    def decode(self, target: Tensor, memory: Tensor, seen: Tensor) -> Tensor:
        """Logits (b, t, words) of the next token after every prefix of ``target`` (b, t)."""
        t = target.shape[1]
        causal = torch.ones(t, t, dtype=torch.bool, device=target.device).tril()
        x = self.target(target) + self.place[:t]
        for block in self.decoder:
            x = block(x, causal, memory, seen)
        logits: Tensor = self.output(x)
        return logits

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        start = torch.full_like(target[:, :1], START)
        return self.decode(torch.cat([start, target[:, :-1]], dim=1), *self.encode(source))

    @torch.no_grad()
    def translate(self, source: Tensor) -> Tensor:
        """Greedy translation, int64 (b, LENGTH), PAD after the end mark."""
        memory, seen = self.encode(source)
        found = torch.full((len(source), 1), START, dtype=torch.int64, device=source.device)
        open_ = torch.ones(len(source), dtype=torch.bool, device=source.device)
        for _ in range(LENGTH):
            best = self.decode(found, memory, seen)[:, -1].argmax(dim=-1)
            found = torch.cat([found, torch.where(open_, best, PAD)[:, None]], dim=1)
            open_ &= best != END
        return found[:, 1:]


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions with batch normalization and a skip connection (He et al.)."""

    def __init__(self, inside: int, width: int, stride: int) -> None:
        super().__init__()
        outside = 4 * width
        self.conv1 = nn.Conv2d(inside, width, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.conv3 = nn.Conv2d(width, outside, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.bn3, self.bn4 = nn.BatchNorm2d(outside), nn.BatchNorm2d(outside)
        self.downsample = nn.Conv2d(inside, outside, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        return torch.relu(self.bn3(self.conv3(y)) + self.bn4(self.downsample(x)))


class ResNet(nn.Module):
    """Bottleneck ResNet for 8x8 images."""

    def __init__(self, widths: tuple[int, ...] = (32, 64, 96)) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 32, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(32)
        inside, blocks = 32, []
        for index, width in enumerate(widths):
            blocks.append(Bottleneck(inside, width, stride=1 if index == 0 else 2))
            inside = 4 * width
        self.layers = nn.Sequential(*blocks)
        self.classifier = nn.Linear(inside, 10)

    def forward(self, image: Tensor) -> Tensor:
        y = self.layers(torch.relu(self.norm(self.stem(image))))
        logits: Tensor = self.classifier(y.mean(dim=(2, 3)))
        return logits


@dataclass(frozen=True)
class Recipe:
    """How a stand-in is trained; the defaults are those of the committed files."""

    dense_steps: int
    prune_steps: int
    tune_steps: int
    batch: int
    lr: float = 2e-3
    gate_lr: float = 3e-2
    l0_strength: float = 1.0
    variational_strength: float = 1e-2
    seed: int = 0


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

    def steps(count: int) -> int:
        return max(2, round(count * percent / 100))

    return replace(
        whole,
        dense_steps=steps(whole.dense_steps),
        prune_steps=steps(whole.prune_steps),
        tune_steps=steps(whole.tune_steps),
        seed=seed,
    )


def build(network: str, seed: int = 0) -> nn.Module:
    """A freshly initialised stand-in.

    Raises:
        ValueError: unknown network.
    """
    if network not in NETWORKS:
        raise ValueError(f"network must be one of {', '.join(NETWORKS)}, got {network!r}")
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
        source, target = number_pairs("test")
        right = (model.translate(source) == target).all(dim=1)
    else:
        images, classes = digit_images("test")
        right = model(images).argmax(dim=1) == classes
    return 100.0 * float(right.float().mean())


def _batches(network: str, batch: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    inputs, targets = number_pairs("train") if network == "transformer" else digit_images("train")
    generator = torch.Generator().manual_seed(seed)
    while True:
        for chosen in torch.randperm(len(inputs), generator=generator).split(batch):
            if len(chosen) == batch:
                yield inputs[chosen], targets[chosen]


def _loss(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
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
    penalty: Callable[[int], Tensor] | None = None,
    after: Callable[[int], None] | None = None,
) -> None:
    optimizer = torch.optim.Adam(groups)
    warm = max(1, min(100, steps // 5))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda t: min((t + 1) / warm, max(0.02, (steps - t) / max(1, steps - warm)))
    )
    model.train()
    for step in range(steps):
        loss = _loss(model, *next(batches))
        if penalty is not None:
            loss = loss + penalty(step)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if after is not None:
            after(step)


def train_dense(network: str, recipe: Recipe | None = None) -> PrunedModel:
    """Train a stand-in from scratch; its parameters are rounded to float16, all in ``others``."""
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

    Random and magnitude pruning follow the cubic schedule, every tensor to ``sparsity``. L0 and
    variational dropout get a penalty whose strength follows the same schedule by
    `PenaltyControl`; one threshold for the whole network then fixes the sparsity exactly, so their
    tensors differ in sparsity, as those of the published models do.

    Raises:
        ValueError: unknown method or impossible sparsity.
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
    penalty = lambda step: control.strength * pruner.penalty()  # noqa: E731
    _train(model, batches, groups, steps, penalty, after)
    masks = pruner.finish(sparsity)
    tuner = FixedMaskPruner(model, masks)
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
    words = "trained, stand-in of this project"
    plain = PrunedModel("standin", network, method, sparsity, layers, words, others)
    percent = quality(load(network, plain.state()))
    return replace(plain, quality=f"{percent:.2f} {QUALITIES[network]}")
