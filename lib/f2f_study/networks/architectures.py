"""The stand-ins' architectures: the paper's in kind, and some hundred times smaller.

A post-norm encoder-decoder Transformer, and a bottleneck ResNet with batch normalization. Their
tensors are as much smaller, so figures measured on them carry more overhead per tensor than those
of the real models.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from f2f_study.networks.tasks import END, LENGTH, PAD, SOURCE_WORDS, START, TARGET_WORDS


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
        found = torch.full((len(source), LENGTH + 1), PAD, device=source.device)
        found[:, 0] = START
        open_ = torch.arange(len(source), device=source.device)
        for t in range(1, LENGTH + 1):
            logits = self.decode(found[open_, :t], memory[open_], seen[open_])
            found[open_, t] = logits[:, -1].argmax(dim=-1)
            open_ = open_[found[open_, t] != END]
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
