"""The tables of notebooks 04 and 05: a pruned model in the paper's setting and in this package's.

The paper's setting: weights in row order, one n_out for the whole model, n_s = 0, 1, 2, every bit
plane encoded as it is, or inverted first where most of its care bits are ones. This package's:
`f2f.compress`, with a wide window, an order that spreads the unpruned weights, n_out chosen per
tensor and skewed planes recoded. Both work on the same weights and masks.

`METHOD` columns are pruning methods throughout.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np

from f2f import validate
from f2f.beam import encode_beam
from f2f.codec import compress, decompress
from f2f.correction import paper_bits
from f2f.decoder import Decoder
from f2f.models.layers import Layer, PrunedModel
from f2f.quantize import quantize

DTYPES = ("float32", "int8")
TOTAL = "total"
N_IN = 8
_SEGMENTS = 8  # pieces a sampled tensor is measured in


@dataclass(frozen=True)
class SpreadRow:
    """Unpruned weights per block (n_u) of a layer, row order, beside independent pruning.

    variation: standard deviation of n_u over its mean. variation_binomial: the same for
    independent pruning at the layer's own sparsity; for the total, at the model's.
    """

    source: str
    network: str
    method: str
    sparsity: float
    layer: str
    weights: int
    unpruned: int
    n_out: int
    mean_n_u: float
    variation: float
    variation_binomial: float


@dataclass(frozen=True)
class HistogramRow:
    """Share of a model's blocks with n_u unpruned weights, and the binomial share."""

    source: str
    network: str
    method: str
    sparsity: float
    n_out: int
    n_u: int
    share_percent: float
    share_binomial_percent: float


@dataclass(frozen=True)
class PaperRow:
    """A layer in the paper's setting; sizes are scaled up from the sampled blocks.

    memory_reduction_percent leaves the mask out, as decoded bits at pruned places are arbitrary;
    memory_reduction_with_mask_percent adds one bit per weight. Corrections by the paper's
    accounting. sampled_percent: share of the blocks that were encoded.
    """

    source: str
    network: str
    method: str
    sparsity: float
    dtype: str
    layer: str
    n_out: int
    n_s: int
    inverting: bool
    beam: int
    care_bits: int
    wrong_bits: int
    efficiency_percent: float
    original_bits: int
    payload_bits: int
    correction_bits: int
    mask_bits: int
    memory_reduction_percent: float
    memory_reduction_with_mask_percent: float
    sampled_percent: float


@dataclass(frozen=True)
class PackageRow:
    """A layer in this package's setting: every stored bit, and whether it came back exactly.

    n_out: that of the layer, 0 for the total. payload_bits holds raw planes too. floor_bits:
    entropy of the mask and unpruned bits taken as incompressible. ratio_to_floor: stored bits,
    header included, over the floor; coded_ratio_to_floor: without the header, which does not grow
    with the layer. lossless: decoded and equal bit for bit.
    """

    source: str
    network: str
    method: str
    sparsity: float
    dtype: str
    layer: str
    order: str
    n_s: int
    n_out: int
    beam: int
    weights: int
    unpruned: int
    encoded_planes: int
    care_bits: int
    wrong_bits: int
    efficiency_percent: float
    original_bits: int
    payload_bits: int
    correction_bits: int
    mask_bits: int
    header_bits: int
    stored_bits: int
    floor_bits: float
    bits_per_weight: float
    ratio_to_floor: float
    coded_ratio_to_floor: float
    memory_reduction_percent: float
    memory_reduction_without_mask_percent: float
    lossless: bool
    encode_s: float
    decode_s: float


def paper_n_out(sparsity: float) -> int:
    """The paper's block for a model: the most whole weights that n_in bits can carry, n_in/(1-S).

    >>> paper_n_out(0.9), paper_n_out(0.7)
    (80, 26)
    """
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity must be at least 0 and below 1, got {sparsity!r}")
    return int(N_IN / (1 - sparsity) + 1e-6)


def layer_weights(layer: Layer, dtype: str, scheme: str = "channel") -> np.ndarray:
    """The layer's weights as float32, or quantized to int8 per output channel or per tensor.

    Raises:
        ValueError: the layer has no values, or is int8 already and float32 was asked for.
    """
    validate.choice("dtype", dtype, DTYPES)
    if layer.weights is None:
        raise ValueError("layer must have values, got a mask only")
    if layer.weights.dtype == np.int8:
        if dtype != "int8":
            raise ValueError("dtype must be int8 for a model published in INT8, got 'float32'")
        return layer.weights
    weights = layer.weights.astype(np.float32, copy=False)
    return weights if dtype == "float32" else quantize(weights, scheme).values


def _identity(model: PrunedModel) -> tuple[str, str, str, float]:
    return model.source, model.network, model.method, model.sparsity


def _block_counts(mask: np.ndarray, n_out: int) -> np.ndarray:
    """n_u of every whole block of n_out weights in row order, int64."""
    flat = mask.reshape(-1)
    whole = flat.size // n_out * n_out
    return np.count_nonzero(flat[:whole].reshape(-1, n_out), axis=1)


def spread_rows(model: PrunedModel, n_out: int) -> list[SpreadRow]:
    """Spread of n_u per layer and, pooled over all blocks, in total."""
    counts = {name: _block_counts(layer.mask, n_out) for name, layer in model.layers.items()}
    rows = []
    pooled = np.concatenate(list(counts.values()))
    every = [(name, counts[name], la.size, la.unpruned) for name, la in model.layers.items()]
    for name, n_u, size, unpruned in [*every, (TOTAL, pooled, model.size, model.unpruned)]:
        kept = unpruned / size
        mean = float(n_u.mean()) if n_u.size else 0.0
        rows.append(
            SpreadRow(
                *_identity(model),
                name,
                size,
                unpruned,
                n_out,
                mean,
                float(n_u.std()) / mean if mean else 0.0,
                float(np.sqrt((1 - kept) / (n_out * kept))) if kept else 0.0,
            )
        )
    return rows


def histogram_rows(model: PrunedModel, n_out: int) -> list[HistogramRow]:
    """Distribution of n_u over all blocks of the model, beside the binomial of its sparsity."""
    from scipy.stats import binom

    counts = np.concatenate([_block_counts(la.mask, n_out) for la in model.layers.values()])
    share = np.bincount(counts, minlength=n_out + 1) / max(counts.size, 1)
    binomial = binom.pmf(np.arange(n_out + 1), n_out, model.unpruned / model.size)
    return [
        HistogramRow(*_identity(model), n_out, n_u, float(100 * a), float(100 * b))
        for n_u, (a, b) in enumerate(zip(share, binomial, strict=True))
    ]


def _segments(n: int, n_out: int, max_blocks: int) -> list[tuple[int, int]]:
    """Evenly spaced pieces (start, stop) of at most max_blocks blocks together; 0 = all."""
    blocks = -(-n // n_out)
    if not max_blocks or blocks <= max_blocks:
        return [(0, n)]
    each = max(1, max_blocks // _SEGMENTS)
    starts = np.linspace(0, blocks - each, min(_SEGMENTS, max_blocks)).astype(int)
    return [(s * n_out, min(n, (s + each) * n_out)) for s in np.unique(starts).tolist()]


def _wrong_bits(
    words: np.ndarray, care: np.ndarray, decoder: Decoder, beam: int, max_blocks: int
) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Wrong care bits per plane, as they are and with inverting; care positions, bits encoded.

    words: unsigned weight bits in row order. The encoder runs on planes as they are, and again on
    those of which most care bits of the whole tensor are ones.
    """
    n_w = 8 * words.itemsize
    care_words = words[care]
    ones = np.array([np.count_nonzero(care_words >> words.dtype.type(p) & 1) for p in range(n_w)])
    flipped = 2 * ones > care_words.size
    plain, inverted = np.zeros(n_w, np.int64), np.zeros(n_w, np.int64)
    positions = sampled = 0
    for start, stop in _segments(words.size, decoder.n_out, max_blocks):
        ranks = np.flatnonzero(care[start:stop]).astype(np.int64)
        part = words[start:stop][ranks]
        positions += len(ranks)
        sampled += stop - start
        for first in range(0, n_w, 8):
            byte = (part >> words.dtype.type(first)).astype(np.uint8)
            group = slice(first, first + 8)
            plain[group] += _errors(ranks, byte, stop - start, decoder, beam)
            if flipped[group].any():
                which = np.flatnonzero(flipped[group])
                again = _pick(~byte, which)
                errors = _errors(ranks, again, stop - start, decoder, beam, len(which))
                inverted[first + which] += errors
    return plain, np.where(flipped, inverted, plain), positions, sampled


def _pick(byte: np.ndarray, planes: np.ndarray) -> np.ndarray:
    """The given bits of every byte, moved together: bit q of the result is bit planes[q]."""
    table = np.zeros(256, np.uint8)
    for q, p in enumerate(planes.tolist()):
        table |= ((np.arange(256) >> p & 1) << q).astype(np.uint8)
    return table[byte]


def _errors(
    ranks: np.ndarray, target: np.ndarray, n: int, decoder: Decoder, beam: int, planes: int = 8
) -> np.ndarray:
    """Wrong care bits of every plane after encoding, by decoding; int64 (planes,)."""
    inputs = encode_beam(ranks, target, n, decoder, planes, beam)
    wrong = decoder.decode(inputs, n)[ranks] ^ target
    return np.array([np.count_nonzero(wrong >> q & 1) for q in range(planes)], dtype=np.int64)


def paper_rows(
    model: PrunedModel,
    dtype: str,
    *,
    n_s: Sequence[int] = (0, 1, 2),
    n_out: int | None = None,
    beam: int = 256,
    max_blocks: int = 0,
    scheme: str = "channel",
    seed: int = 0,
) -> list[PaperRow]:
    """Every layer and the total in the paper's setting, with and without inverting.

    n_out: None takes the nominal sparsity's, one for the model. beam: with n_in = 8 a beam of 256
    is the exact optimum for n_s <= 1 and close to it for n_s = 2, where Algorithm 3 itself would
    take days. max_blocks: blocks encoded per layer (evenly spaced pieces), 0 = all; sizes are
    scaled up. seed: of the decoder matrix.
    """
    n_out = paper_n_out(model.sparsity) if n_out is None else n_out
    rows = []
    for shifts in n_s:
        decoder = Decoder(N_IN, n_out, shifts, seed)
        layers: dict[bool, list[PaperRow]] = {False: [], True: []}
        for name, layer in model.layers.items():
            weights = layer_weights(layer, dtype, scheme).reshape(-1)
            words, n_w = weights.view(f"u{weights.itemsize}"), 8 * weights.itemsize
            care = layer.mask.reshape(-1)
            plain, inverted, positions, sampled = _wrong_bits(
                words, care, decoder, beam, max_blocks
            )
            for inverting, errors in ((False, plain), (True, inverted)):
                scale = words.size / sampled
                row = _paper_row(
                    model, dtype, name, decoder, inverting, beam,
                    positions * n_w, int(errors.sum()), words.size, n_w, scale,
                )  # fmt: skip
                layers[inverting].append(row)
        for found in layers.values():
            rows += [*found, _paper_total(found)]
    return rows


def _paper_row(
    model: PrunedModel,
    dtype: str,
    name: str,
    decoder: Decoder,
    inverting: bool,
    beam: int,
    care_bits: int,
    wrong_bits: int,
    n: int,
    n_w: int,
    scale: float,
) -> PaperRow:
    payload = n_w * decoder.n_in * decoder.n_vectors(n)
    correction = paper_bits(n * n_w, round(wrong_bits * scale))
    return PaperRow(
        *_identity(model), dtype, name, decoder.n_out, decoder.n_s, inverting, beam,
        round(care_bits * scale), round(wrong_bits * scale),
        100 * (1 - wrong_bits / care_bits) if care_bits else 100.0,
        n * n_w, payload, correction, n,
        100 * (1 - (payload + correction) / (n * n_w)),
        100 * (1 - (payload + correction + n) / (n * n_w)),
        100 / scale,
    )  # fmt: skip


def _paper_total(rows: list[PaperRow]) -> PaperRow:
    def total(name: str) -> int:
        return sum(getattr(row, name) for row in rows)

    original, kept = total("original_bits"), total("payload_bits") + total("correction_bits")
    sampled = sum(row.sampled_percent * row.mask_bits for row in rows) / total("mask_bits")
    first = {f.name: getattr(rows[0], f.name) for f in fields(PaperRow)}
    sums = ("care_bits", "wrong_bits", "original_bits", "payload_bits", "correction_bits")
    return PaperRow(
        **first
        | {name: total(name) for name in (*sums, "mask_bits")}
        | {
            "layer": TOTAL,
            "efficiency_percent": 100 * (1 - total("wrong_bits") / max(total("care_bits"), 1)),
            "memory_reduction_percent": 100 * (1 - kept / original),
            "memory_reduction_with_mask_percent": 100
            * (1 - (kept + total("mask_bits")) / original),
            "sampled_percent": sampled,
        }
    )


def package_rows(
    model: PrunedModel,
    dtype: str,
    *,
    n_s: int = 7,
    order: str = "diagonal",
    beam: int = 16,
    scheme: str = "channel",
    threads: int = 2,
    seed: int = 0,
) -> tuple[list[PackageRow], dict[str, np.ndarray]]:
    """Every layer and the total in this package's setting, and the decoded tensors.

    Each tensor is compressed, decompressed, and compared with what went in, bit for bit.
    """
    rows, decoded = [], {}
    for name, layer in model.layers.items():
        weights = layer_weights(layer, dtype, scheme)
        started = time.perf_counter()
        tensor = compress(
            weights, layer.mask, n_s=n_s, order=order, beam=beam, threads=threads, seed=seed
        )
        middle = time.perf_counter()
        decoded[name] = np.asarray(decompress(tensor))
        ended = time.perf_counter()
        bits = tensor.stored_bits()
        wrong = sum(tensor.corrections[p].count for p in tensor.encoded)
        word = f"u{weights.itemsize}"
        same = np.array_equal(decoded[name].reshape(-1).view(word), weights.reshape(-1).view(word))
        payload, header = bits["payload"] + bits["raw"], bits["header"]
        row = PackageRow(
            *_identity(model), dtype, name, tensor.order, tensor.n_s, tensor.n_out, beam,
            layer.size, layer.unpruned, len(tensor.encoded), len(tensor.encoded) * tensor.k, wrong,
            tensor.efficiency, 8 * weights.nbytes, payload, bits["corrections"], bits["mask"],
            header, 8 * tensor.nbytes, tensor.floor, *_ratios(
                layer.size, 8 * weights.nbytes, 8 * tensor.nbytes, bits["mask"], header,
                tensor.floor,
            ), same, middle - started, ended - middle,
        )  # fmt: skip
        rows.append(row)
    return [*rows, _package_total(rows)], decoded


def _ratios(
    weights: int, original: int, stored: int, mask: int, header: int, floor: float
) -> tuple[float, float, float, float, float]:
    return (
        stored / weights,
        stored / floor,
        (stored - header) / floor,
        100 * (1 - stored / original),
        100 * (1 - (stored - mask) / original),
    )


def _package_total(rows: list[PackageRow]) -> PackageRow:
    names = (
        "weights", "unpruned", "encoded_planes", "care_bits", "wrong_bits", "original_bits",
        "payload_bits", "correction_bits", "mask_bits", "header_bits", "stored_bits", "floor_bits",
        "encode_s", "decode_s",
    )  # fmt: skip
    sums = {name: sum(getattr(row, name) for row in rows) for name in names}
    ratios = _ratios(
        sums["weights"], sums["original_bits"], sums["stored_bits"], sums["mask_bits"],
        sums["header_bits"], sums["floor_bits"],
    )  # fmt: skip
    ratio_names = (
        "bits_per_weight", "ratio_to_floor", "coded_ratio_to_floor", "memory_reduction_percent",
        "memory_reduction_without_mask_percent",
    )  # fmt: skip
    first = {f.name: getattr(rows[0], f.name) for f in fields(PackageRow)}
    return PackageRow(
        **first
        | sums
        | dict(zip(ratio_names, ratios, strict=True))
        | {
            "layer": TOTAL,
            "n_out": 0,
            "efficiency_percent": 100 * (1 - sums["wrong_bits"] / max(sums["care_bits"], 1)),
            "lossless": all(row.lossless for row in rows),
        }
    )


def totals(rows: Iterable[PaperRow | PackageRow | SpreadRow]) -> list:
    """The rows of whole models."""
    return [row for row in rows if row.layer == TOTAL]
