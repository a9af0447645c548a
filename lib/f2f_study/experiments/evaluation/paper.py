"""A pruned model in the paper's setting: row order, one n_out, planes as they are or inverted."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

import numpy as np

from f2f.decoder.decoder import Decoder
from f2f.encoder.exact import encode_viterbi
from f2f_study.experiments.accounting import paper_bits
from f2f_study.experiments.evaluation.rows import TOTAL, PaperRow
from f2f_study.experiments.evaluation.spread import N_IN, identity, layer_weights, paper_n_out
from f2f_study.networks.layers import PrunedModel

_PIECE = 32  # blocks of a sampled tensor judged in one piece
_MARGIN = 6  # blocks encoded at either end of a piece and not judged; n_s is at most 2 here


def _pieces(n: int, n_out: int, max_blocks: int) -> list[tuple[int, int, int, int]]:
    """Evenly spaced pieces of max_blocks blocks together; 0 = the whole plane.

    A piece is encoded from `start` to `stop` and judged from `first` to `last`: the blocks at its
    cut ends are easier than those of a long plane, as their state is free.
    """
    blocks = -(-n // n_out)
    count = max(1, max_blocks // _PIECE)
    if not max_blocks or blocks <= max_blocks + 2 * _MARGIN * count:
        return [(0, 0, n, n)]
    each = max_blocks // count
    pieces = []
    for first in np.linspace(0, blocks - each, count).astype(int).tolist():
        start, last = max(0, first - _MARGIN), first + each
        edges = (start, first, last, last + _MARGIN)
        pieces.append((edges[0] * n_out, edges[1] * n_out, *(min(n, e * n_out) for e in edges[2:])))
    return pieces


def _wrong_bits(
    words: np.ndarray, care: np.ndarray, decoder: Decoder, max_blocks: int
) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Wrong care bits per plane, as they are and with inverting; care positions and bits judged.

    words: unsigned weight bits in row order. The encoder runs on planes as they are, and again on
    those of which most care bits of the whole tensor are ones.
    """
    n_w = 8 * words.itemsize
    ones = [np.count_nonzero(words[care] >> words.dtype.type(p) & 1) for p in range(n_w)]
    flipped = 2 * np.array(ones) > np.count_nonzero(care)
    plain, inverted = np.zeros(n_w, np.int64), np.zeros(n_w, np.int64)
    positions = sampled = 0
    for start, first, last, stop in _pieces(words.size, decoder.n_out, max_blocks):
        judged = care[start:stop].copy()
        judged[: first - start] = judged[last - start :] = False
        positions += int(np.count_nonzero(judged))
        sampled += last - first
        for p in range(n_w):
            bits = (words[start:stop] >> words.dtype.type(p) & 1).astype(np.uint8)
            plain[p] += _errors(bits, care[start:stop], judged, decoder)
            if flipped[p]:
                inverted[p] += _errors(bits ^ 1, care[start:stop], judged, decoder)
    return plain, np.where(flipped, inverted, plain), positions, sampled


def _errors(bits: np.ndarray, care: np.ndarray, judged: np.ndarray, decoder: Decoder) -> int:
    """Wrong ones of the judged care bits of a plane after encoding, by decoding."""
    inputs = encode_viterbi(bits, care.astype(np.uint8), decoder)
    return int(np.count_nonzero((decoder.decode(inputs, bits.size) ^ bits)[judged]))


def paper_rows(
    model: PrunedModel,
    dtype: str,
    *,
    n_s: Sequence[int] = (0, 1, 2),
    n_out: int | None = None,
    max_blocks: int = 0,
    scheme: str = "channel",
    threads: int = 1,
    seed: int = 0,
) -> list[PaperRow]:
    """Every layer and the total in the paper's setting, with and without inverting.

    Algorithm 3 itself, the exact optimum; where blocks hold far more care bits than n_in, as many
    do here, narrower searches fall short of it by whole per cents. n_out: None takes the nominal
    sparsity's, one for the model. max_blocks: blocks measured per layer (evenly spaced pieces), 0 =
    all; half as many for float32, which has four times the planes. Sizes are scaled up. threads:
    layers are spread over so many, with the same result. seed: of the decoder matrix.
    """
    n_out = paper_n_out(model.sparsity) if n_out is None else n_out
    blocks = -(-max_blocks // 2) if dtype == "float32" else max_blocks
    rows = []
    for shifts in n_s:
        decoder = Decoder(N_IN, n_out, shifts, seed)

        def measure(name: str, decoder: Decoder = decoder) -> list[PaperRow]:
            weights = layer_weights(model.layers[name], dtype, scheme).reshape(-1)
            words, n_w = weights.view(f"u{weights.itemsize}"), 8 * weights.itemsize
            care = model.layers[name].mask.reshape(-1)
            plain, inverted, positions, sampled = _wrong_bits(words, care, decoder, blocks)
            return [
                _paper_row(
                    model,
                    dtype,
                    name,
                    decoder,
                    inverting,
                    positions * n_w,
                    int(errors.sum()),
                    words.size,
                    n_w,
                    words.size / sampled,
                )
                for inverting, errors in ((False, plain), (True, inverted))
            ]

        with ThreadPoolExecutor(threads) as pool:
            pairs = list(pool.map(measure, model.layers))
        for column in zip(*pairs, strict=True):
            rows += [*column, _paper_total(list(column))]
    return rows


def _paper_row(
    model: PrunedModel,
    dtype: str,
    name: str,
    decoder: Decoder,
    inverting: bool,
    care_bits: int,
    wrong_bits: int,
    n: int,
    n_w: int,
    scale: float,
) -> PaperRow:
    payload = n_w * decoder.n_in * decoder.n_vectors(n)
    correction = paper_bits(n * n_w, round(wrong_bits * scale))
    return PaperRow(
        *identity(model), dtype, name, decoder.n_out, decoder.n_s, inverting,
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
