"""What lies beyond Algorithm 3: the measurements of notebook 03 and of the benchmarks beside it.

Encoders against time, windows and beams; how many care bits depend on earlier ones and how far a
search must look ahead over them; encoding orders on real masks; block lengths against stored bits.
Kinds of decoder matrix are in `f2f_study.experiments.matrices`. Times are of the thread's own processor time, so that
a busy machine disturbs them less.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numba import njit

from f2f.base import validate
from f2f.decoder.decoder import MAX_N_OUT, Decoder
from f2f.encoder.beam import encode_beam
from f2f.encoder.exact import encode_viterbi
from f2f.encoder.rate import choose_n_out, overflow
from f2f.format.corrections import EliasFano
from f2f.format.orders import Order, matrix_shape, positions_of
from f2f_study.experiments import entropy
from f2f_study.networks.layers import PrunedModel

N_IN = 8
PLANES = 8


@dataclass(frozen=True)
class EncoderRow:
    """One encoding of iid planes that share a mask.

    encoder: "beam", or "viterbi", the exact optimum. beam, lookahead: 0 for viterbi; lookahead is
    0 too where the encoder chose it. cpu_time_ns_per_care_bit: encoding only, without decoding.
    """

    encoder: str
    n_s: int
    n_out: int
    sparsity: float
    beam: int
    lookahead: int
    planes: int
    blocks: int
    seed: int
    care_bits: int
    wrong_bits: int
    efficiency_percent: float
    cpu_time_ns_per_care_bit: float


@dataclass(frozen=True)
class DependenceRow:
    """Care bits that are linear combinations of earlier ones, and an encoding of the same planes.

    plane_care_bits, dependent_bits: of the mask, counted by elimination;
    modelled_dependent_bits: by the queue of `f2f.encoder.rate`. Only dependent bits need be wrong, and half
    of them would be at random. care_bits, wrong_bits: of the encoding, all planes.
    """

    n_s: int
    n_out: int
    sparsity: float
    blocks: int
    seed: int
    plane_care_bits: int
    dependent_bits: int
    modelled_dependent_bits: float
    beam: int
    care_bits: int
    wrong_bits: int


@dataclass(frozen=True)
class OrderRow:
    """One layer's mask encoded in one order, 8 planes of random bits; layer "total": the model.

    sparsity: nominal, of the model. rate: how n_out was chosen, one of `RATES`; n_out: of the
    layer, 0 for the model. weights, care_bits: of the tensor, and of the 8 planes.
    """

    source: str
    network: str
    method: str
    sparsity: float
    layer: str
    order: str
    rate: str
    n_s: int
    beam: int
    n_out: int
    weights: int
    care_bits: int
    wrong_bits: int
    efficiency_percent: float


@dataclass(frozen=True)
class LengthRow:
    """One encoding of 8 iid planes at one block length, and what is stored for it.

    stored_bits: payload and corrections (an Elias-Fano list a plane); overhead_percent: over the
    entropy of the care bits, one bit each; modelled_overhead_percent: as `f2f.encoder.rate` predicts it.
    chosen: this n_out is the one that `f2f.encoder.rate` chooses.
    """

    n_s: int
    n_out: int
    sparsity: float
    beam: int
    chosen: bool
    care_bits: int
    wrong_bits: int
    efficiency_percent: float
    payload_bits: int
    correction_bits: int
    stored_bits: int
    overhead_percent: float
    modelled_overhead_percent: float


def iid_planes(n: int, sparsity: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """care int64 (k,) and target uint8 (k,): independent pruning, fair bits in all 8 planes."""
    rng = np.random.default_rng((seed, 3))
    care = np.flatnonzero(rng.random(n) >= sparsity)
    return care, rng.integers(0, 256, len(care), dtype=np.uint8)


def wrong_positions(
    inputs: np.ndarray, care: np.ndarray, target: np.ndarray, n: int, decoder: Decoder
) -> np.ndarray:
    """uint8 (k,): the planes, as bits, that decode wrong at each care position."""
    mask = np.uint8((1 << inputs.shape[1]) - 1)
    return (decoder.decode(inputs, n)[care] ^ target) & mask


def block_length(sparsity: float) -> int:
    """n_out = n_in/(1-S), rounded down: as many care bits as input bits, or just fewer."""
    return max(1, int(N_IN / (1 - sparsity) + 1e-9))


def measure_encoder(
    *,
    n_s: int,
    sparsity: float,
    blocks: int,
    beam: int = 16,
    lookahead: int | None = None,
    planes: int = PLANES,
    seed: int = 0,
    repeats: int = 1,
) -> EncoderRow:
    """Encode with `encode_beam`; the time is the median of the repeats, after a warm-up."""
    n_out = block_length(sparsity)
    decoder = Decoder(N_IN, n_out, n_s, seed)
    n = blocks * n_out
    care, target = iid_planes(n, sparsity, seed)
    some = int(np.searchsorted(care, n_out))
    encode_beam(care[:some], target[:some], n_out, decoder, planes, beam, lookahead)
    seconds = []
    for _ in range(repeats):
        start = time.thread_time()
        inputs = encode_beam(care, target, n, decoder, planes, beam, lookahead)
        seconds.append(time.thread_time() - start)
    wrong = int(np.bitwise_count(wrong_positions(inputs, care, target, n, decoder)).sum())
    total = planes * len(care)
    return EncoderRow(
        "beam",
        n_s,
        n_out,
        sparsity,
        beam,
        lookahead or 0,
        planes,
        blocks,
        seed,
        total,
        wrong,
        entropy.efficiency(total, wrong),
        1e9 * float(np.median(seconds)) / max(total, 1),
    )


def measure_optimum(*, n_s: int, sparsity: float, blocks: int, seed: int = 0) -> EncoderRow:
    """Encode plane 0 of the same data with the exact encoder."""
    n_out = block_length(sparsity)
    decoder = Decoder(N_IN, n_out, n_s, seed)
    n = blocks * n_out
    positions, target = iid_planes(n, sparsity, seed)
    care = np.zeros(n, dtype=np.uint8)
    care[positions] = 1
    bits = np.zeros(n, dtype=np.uint8)
    bits[positions] = target & 1
    encode_viterbi(bits[:n_out], care[:n_out], decoder)
    start = time.thread_time()
    inputs = encode_viterbi(bits, care, decoder)[:, None]
    seconds = time.thread_time() - start
    wrong = int(np.count_nonzero(wrong_positions(inputs, positions, target, n, decoder)))
    total = len(positions)
    return EncoderRow(
        "viterbi",
        n_s,
        n_out,
        sparsity,
        0,
        0,
        1,
        blocks,
        seed,
        total,
        wrong,
        entropy.efficiency(total, wrong),
        1e9 * seconds / max(total, 1),
    )


RATES = ("balanced", "fewest bits")


def measure_orders(
    model: PrunedModel,
    orders: Sequence[str],
    rate: str = "balanced",
    n_s: int = 7,
    beam: int = 16,
    seed: int = 0,
) -> list[OrderRow]:
    """Encode 8 planes of random bits on every mask of a model, in each order, on all cores.

    rate: "balanced", n_out = round(n_in/p) of each layer with its share p of unpruned weights, or
    "fewest bits", the n_out that `f2f.compress` chooses. Layers with nothing unpruned are left out.
    """
    validate.choice("rate", rate, RATES)
    layers = {name: layer for name, layer in model.layers.items() if layer.unpruned}

    def measure(case: tuple[str, str]) -> OrderRow:
        name, order = case
        mask = layers[name].mask
        walk = Order(order, *matrix_shape(mask.shape))
        in_order = walk.take(mask.reshape(-1))
        care, n = positions_of(in_order), mask.size
        target = np.random.default_rng((seed, 5)).integers(0, 256, len(care), dtype=np.uint8)
        n_out = min(max(1, round(N_IN * n / len(care))), MAX_N_OUT)
        if rate == "fewest bits":
            n_out, _ = choose_n_out(in_order, N_IN, n_s, beam)
        decoder = Decoder(N_IN, n_out, n_s, seed)
        inputs = encode_beam(care, target, n, decoder, PLANES, beam)
        wrong = int(np.bitwise_count(wrong_positions(inputs, care, target, n, decoder)).sum())
        total = PLANES * len(care)
        return _order_row(model, name, order, rate, (n_s, beam, n_out), (n, total, wrong))

    rows = []
    for order in orders:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            found = list(pool.map(measure, [(name, order) for name in layers]))
        sums = np.sum([(r.weights, r.care_bits, r.wrong_bits) for r in found], axis=0).tolist()
        rows += [*found, _order_row(model, "total", order, rate, (n_s, beam, 0), sums)]
    return rows


def _order_row(
    model: PrunedModel,
    layer: str,
    order: str,
    rate: str,
    settings: tuple[int, int, int],
    counts: Sequence[int],
) -> OrderRow:
    """settings: n_s, beam, n_out. counts: weights, care bits, wrong bits."""
    names = (model.source, model.network, model.method, model.sparsity)
    weights, care, wrong = counts
    percent = entropy.efficiency(care, wrong)
    return OrderRow(*names, layer, order, rate, *settings, weights, care, wrong, percent)


def measure_length(
    *, n_s: int, n_out: int, sparsity: float, weights: int, beam: int = 16, seed: int = 0
) -> LengthRow:
    """Encode 8 iid planes of `weights` bits at a block length; count what is stored."""
    decoder = Decoder(N_IN, n_out, n_s, seed)
    care, target = iid_planes(weights, sparsity, seed)
    mask = np.zeros(weights, dtype=bool)
    mask[care] = True
    inputs = encode_beam(care, target, weights, decoder, PLANES, beam)
    wrong = wrong_positions(inputs, care, target, weights, decoder)
    payload = inputs.size * N_IN
    # Corrections are numbered by care rank, as in `f2f.compress`.
    correction = sum(
        EliasFano.encode(np.flatnonzero(wrong >> q & 1), len(care)).nbits for q in range(PLANES)
    )
    total, errors = PLANES * len(care), int(np.bitwise_count(wrong).sum())
    _, modelled = choose_n_out(mask, N_IN, n_s, beam, n_out)
    return LengthRow(
        n_s,
        n_out,
        sparsity,
        beam,
        choose_n_out(mask, N_IN, n_s, beam)[0] == n_out,
        total,
        errors,
        entropy.efficiency(total, errors),
        payload,
        correction,
        payload + correction,
        100 * ((payload + correction) / total - 1),
        100 * (PLANES * float(modelled) / total - 1),
    )


def chosen_n_out(sparsity: float, n_s: int, weights: int, beam: int = 16, seed: int = 0) -> int:
    """The n_out that `f2f.encoder.rate` chooses for the mask of `measure_length`."""
    mask = np.zeros(weights, dtype=bool)
    mask[iid_planes(weights, sparsity, seed)[0]] = True
    return choose_n_out(mask, N_IN, n_s, beam)[0]


def dependence_rows(encoded: Sequence[EncoderRow]) -> list[DependenceRow]:
    """Count the dependent care bits behind each row of `measure_encoder`."""
    counted: dict[tuple[int, float, int, int], tuple[int, int, float]] = {}
    rows = []
    for row in encoded:
        key = (row.n_s, row.sparsity, row.blocks, row.seed)
        if key not in counted:
            decoder = Decoder(N_IN, row.n_out, row.n_s, row.seed)
            care, _ = iid_planes(row.blocks * row.n_out, row.sparsity, row.seed)
            dependent = int(count_dependent(care, decoder.rows, N_IN, row.n_out))
            mean = len(care) / row.blocks
            modelled = overflow(mean, mean * row.sparsity, N_IN, decoder.window)
            counted[key] = (len(care), dependent, row.blocks * modelled)
        rows.append(
            DependenceRow(
                row.n_s,
                row.n_out,
                row.sparsity,
                row.blocks,
                row.seed,
                *counted[key],
                row.beam,
                row.care_bits,
                row.wrong_bits,
            )
        )
    return rows


@njit(cache=True, nogil=True)
def count_dependent(care, rows, n_in, n_out):
    """Care bits, int64 (k,) sorted, whose equations depend on those of earlier ones.

    rows: uint64 (n_out,), as `Decoder.rows`. Elimination in the window of the current block, bit 0
    the oldest variable and the pivot of its equation, which is dropped when that leaves.
    """
    one = np.uint64(1)
    shift = np.uint64(n_in)
    system = np.zeros(64, dtype=np.uint64)  # 0: no equation with this pivot
    block = dependent = 0
    for position in care:
        while block < position // n_out:
            for p in range(64):
                system[p] = system[p + n_in] >> shift if p + n_in < 64 else np.uint64(0)
            block += 1
        row = rows[position - block * n_out]
        for p in range(64):
            if (row >> np.uint64(p)) & one:
                if system[p] == 0:
                    system[p] = row
                    break
                row ^= system[p]
        dependent += row == 0
    return dependent
