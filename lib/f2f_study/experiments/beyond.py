"""What lies beyond Algorithm 3: the measurements of notebook 03.

Encoders against time, windows and beams; how many care bits depend on earlier ones and how far a
search must look ahead over them; block lengths against stored bits; encoding orders on real masks.
Kinds of decoder matrix are in `f2f_study.experiments.matrices`. Times are of the thread's own
processor time, so that a busy machine disturbs them less.

Paper symbols: S = `sparsity`, N_in = `N_IN`, N_out = `n_out`, N_s = `n_s`, E = efficiency in %.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from f2f.base import validate
from f2f.base.jit import njit
from f2f.base.masks import positions_of
from f2f.decoder import MAX_N_OUT, Decoder
from f2f.encoder.beam import encode_beam
from f2f.encoder.exact import encode_viterbi
from f2f.encoder.rate import choose_n_out, kappa, overflow
from f2f.format.orders import Order, matrix_shape
from f2f_study import results, sources
from f2f_study.experiments import accounting
from f2f_study.experiments.accounting import N_IN
from f2f_study.experiments.cases import combinations, measure_all
from f2f_study.experiments.model_rows import TOTAL, identity, totals, with_totals
from f2f_study.experiments.planes import PLANES, coded, count_wrong, iid_planes
from f2f_study.experiments.timing import settled
from f2f_study.networks.layers import PrunedModel
from f2f_study.results import Quantity

RATES = ("balanced", "fewest bits")


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
) -> dict[str, Any]:
    """Encode iid planes with the beam encoder, timed: one row of `beyond_encoders.csv`.

    Parameters
    ----------
    n_s, sparsity, blocks, seed
        Name decoder and data; n_out is `accounting.block_length`.
    beam, lookahead, planes
        As in `encode_beam`; the planes are the low bits of the same eight.
    repeats : int
        The time is their median, after a warm-up.
    """
    decoder = Decoder(N_IN, accounting.block_length(N_IN, sparsity), n_s, seed)

    def encode(care: np.ndarray, target: np.ndarray, n: int) -> np.ndarray:
        return encode_beam(care, target, n, decoder, planes, beam, lookahead)

    case = {"beam": beam, "lookahead": lookahead or 0, "planes": planes, "blocks": blocks}
    return _timed("beam", encode, decoder, sparsity, case | {"seed": seed}, repeats)


def measure_optimum(*, n_s: int, sparsity: float, blocks: int, seed: int = 0) -> dict[str, Any]:
    """Encode plane 0 of the data of `measure_encoder` with the exact encoder, timed once."""
    decoder = Decoder(N_IN, accounting.block_length(N_IN, sparsity), n_s, seed)

    def encode(care: np.ndarray, target: np.ndarray, n: int) -> np.ndarray:
        bits, care_mask = np.zeros((2, n), dtype=np.uint8)
        bits[care], care_mask[care] = target & 1, 1
        return encode_viterbi(bits, care_mask, decoder)[:, None]

    case = {"beam": 0, "lookahead": 0, "planes": 1, "blocks": blocks, "seed": seed}
    return _timed("viterbi", encode, decoder, sparsity, case, 1)


def _timed(
    name: str,
    encode: Callable[[np.ndarray, np.ndarray, int], np.ndarray],
    decoder: Decoder,
    sparsity: float,
    case: dict[str, int],
    repeats: int,
) -> dict[str, Any]:
    """The row of an encoder, inputs = encode(care, target, n)."""
    n_out = decoder.n_out
    n = validate.integer("blocks", case["blocks"], 1) * n_out
    care, target = iid_planes(n, sparsity, case["seed"])

    def timed() -> tuple[np.ndarray, float]:
        start = time.thread_time()
        inputs = encode(care, target, n)
        return inputs, time.thread_time() - start

    first = int(np.searchsorted(care, n_out))
    encode(care[:first], target[:first], n_out)  # that what takes long need not be repeated
    samples = [settled(timed) for _ in range(repeats)]
    inputs, seconds = samples[0][0], [sample[1] for sample in samples]
    total = case["planes"] * len(care)
    wrong = count_wrong(inputs, care, target, n, decoder)
    return {
        "encoder": name,
        "n_s": decoder.n_s,
        "n_out": n_out,
        "sparsity": sparsity,
        **case,
        "care_bits": total,
        "wrong_bits": wrong,
        "efficiency_percent": accounting.efficiency(total, wrong),
        "cpu_time_ns_per_care_bit": 1e9 * float(np.median(seconds)) / max(total, 1),
    }


def golden_optima() -> pd.DataFrame:
    """Both encoders on the planes whose optimum another program has found.

    One row for each case of `tests/golden/encoder-optimum.json`. optimum: its least number of wrong
    care bits; beam, viterbi: those of a beam of 2**window, which cuts nothing, and of the exact
    encoder.
    """
    file = results.repository_root() / "tests" / "golden" / "encoder-optimum.json"
    rows = []
    for case in json.loads(file.read_text(encoding="utf-8")):
        matrix = np.array([list(map(int, row)) for row in case["matrix"]])
        decoder = Decoder.from_matrix(matrix, case["n_in"])
        bits = np.array(list(case["target"]), dtype=np.uint8)
        care_mask = np.array(list(case["care"]), dtype=np.uint8)
        care, n = np.flatnonzero(care_mask), len(bits)
        beam = encode_beam(care, bits[care], n, decoder, 1, 1 << decoder.window)
        exact = encode_viterbi(bits, care_mask, decoder)[:, None]
        planes = (care, bits[care], n, decoder)
        row = {"window": decoder.window, "n_out": decoder.n_out}
        row |= {"optimum": case["minimum_errors"], "beam": count_wrong(beam, *planes)}
        rows.append(row | {"viterbi": count_wrong(exact, *planes)})
    return pd.DataFrame(rows)


def dependence(encoded: pd.DataFrame) -> pd.DataFrame:
    """Care bits that are linear combinations of earlier ones, behind each row of `measure_encoder`.

    The columns of `beyond_dependence.csv`. Only dependent bits need be wrong, and half of them
    would be at random.
    """
    keys = ["n_s", "n_out", "sparsity", "blocks", "seed"]
    cases = encoded[keys].drop_duplicates().to_dict("records")
    return measure_all(_count_case, cases).merge(
        encoded[[*keys, "beam", "care_bits", "wrong_bits"]], on=keys
    )


def _count_case(n_s: int, n_out: int, sparsity: float, blocks: int, seed: int) -> dict[str, Any]:
    """Dependent bits of one mask and decoder, by elimination and by the queue of `encoder.rate`."""
    decoder = Decoder(N_IN, n_out, n_s, seed)
    care, _ = iid_planes(blocks * n_out, sparsity, seed)
    mean = len(care) / blocks
    case = {"n_s": n_s, "n_out": n_out, "sparsity": sparsity, "blocks": blocks, "seed": seed}
    return case | {
        "plane_care_bits": len(care),
        "dependent_bits": int(count_dependent(care, decoder.rows, N_IN, n_out)),
        "modelled_dependent_bits": blocks * overflow(mean, mean * sparsity, N_IN, decoder.window),
    }


@njit
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


def kappas(counted: pd.DataFrame) -> pd.DataFrame:
    """The share of the modelled dependent bits that end as errors, beside the fit in use.

    From `dependence`, by n_s and beam. measured: wrong over modelled dependent bits. fit:
    `f2f.encoder.rate.kappa`, by which n_out is chosen.
    """
    planes = counted["care_bits"] / counted["plane_care_bits"]
    return pd.DataFrame(
        {
            "n_s": counted["n_s"],
            "beam": counted["beam"],
            "measured": counted["wrong_bits"] / (planes * counted["modelled_dependent_bits"]),
            "fit": np.vectorize(kappa)(counted["beam"], N_IN * (counted["n_s"] + 1)),
        }
    ).set_index(["n_s", "beam"])


def length_cases(sparsities: Sequence[float], **common: Any) -> list[dict[str, Any]]:
    """Cases of `measure_length`: every n_out within a tenth of n_in/(1-S), for each S.

    >>> [case["n_out"] for case in length_cases([0.7], n_s=7)]
    [23, 24, 25, 26, 27, 28, 29]
    """
    cases = []
    for sparsity in sparsities:
        ideal = accounting.block_length(N_IN, sparsity)
        n_outs = range(round(0.9 * ideal), round(1.1 * ideal) + 1)
        cases += combinations(sparsity=sparsity, **common, n_out=n_outs)
    return cases


def measure_length(
    *, n_s: int, n_out: int, sparsity: float, weights: int, beam: int = 16, seed: int = 0
) -> dict[str, Any]:
    """Encode 8 iid planes of `weights` bits at a block length: one row of `beyond_lengths.csv`.

    Overheads are over the entropy of the care bits, one bit each.
    """
    decoder = Decoder(N_IN, n_out, n_s, seed)
    care, target = iid_planes(weights, sparsity, seed)
    mask = np.zeros(weights, dtype=bool)
    mask[care] = True
    found = coded(care, target, weights, decoder, beam)
    _, modelled = choose_n_out(mask, N_IN, n_s, beam, n_out)
    return {
        "n_s": n_s,
        "n_out": n_out,
        "sparsity": sparsity,
        "beam": beam,
        "chosen": choose_n_out(mask, N_IN, n_s, beam)[0] == n_out,
        **found,
        "overhead_percent": 100 * (found["stored_bits"] / found["care_bits"] - 1),
        "modelled_overhead_percent": 100 * (float(modelled) / len(care) - 1),
    }


def excess_percent(lengths: pd.DataFrame) -> pd.Series:
    """Stored bits at the chosen n_out over the fewest measured, in %, by S and n_s."""
    keys = ["sparsity", "n_s"]
    chosen = lengths[lengths["chosen"]].set_index(keys)["stored_bits"]
    return 100 * (chosen / lengths.groupby(keys)["stored_bits"].min() - 1)


def open_masks(
    source: str, networks: Sequence[str], methods: Sequence[str], sparsity: float, download: bool
) -> list[PrunedModel]:
    """Models whose masks are encoded; arguments as of `sources.open_models`."""
    options = {"values": "none"} if source == "dlmc" else {}
    opened = (
        sources.open_models(source, network, methods, [sparsity], download=download, **options)
        for network in networks
    )
    return [model for models in opened for model in models]


def measure_orders(
    model: PrunedModel,
    orders: Sequence[str],
    rate: str = "balanced",
    n_s: int = 7,
    beam: int = 16,
    seed: int = 0,
) -> pd.DataFrame:
    """Encode 8 planes of random bits on every mask of a model, in each order, on all cores.

    Parameters
    ----------
    model : PrunedModel
        Layers with nothing unpruned are left out.
    orders : sequence of str
        Of `f2f.format.orders.ORDERS`.
    rate : str
        One of `RATES`: "balanced", n_out = round(n_in/p) of each layer with its share p of unpruned
        weights, or "fewest bits", the n_out that `f2f.compress` chooses.
    n_s, beam, seed : int
        Of the decoder, of the encoder, and of the matrix and the bits.

    Returns
    -------
    DataFrame
        The columns of `beyond_orders.csv`; for each order the layers, then a row "total".
    """
    validate.choice("rate", rate, RATES)

    def measure(layer: str, order: str) -> dict[str, Any]:
        mask = model.layers[layer].mask
        care_mask = Order(order, *matrix_shape(mask.shape)).take(mask.reshape(-1))
        care, n = positions_of(care_mask), mask.size
        target = np.random.default_rng((seed, 5)).integers(0, 256, len(care), dtype=np.uint8)
        n_out = min(max(1, round(N_IN * n / len(care))), MAX_N_OUT)
        if rate == "fewest bits":
            n_out, _ = choose_n_out(care_mask, N_IN, n_s, beam)
        found = coded(care, target, n, Decoder(N_IN, n_out, n_s, seed), beam)
        settings = {"rate": rate, "n_s": n_s, "beam": beam, "n_out": n_out}
        counts = {"weights": n} | {name: found[name] for name in ("care_bits", "wrong_bits")}
        return identity(model) | {"layer": layer, "order": order} | settings | counts

    layers = [name for name, layer in model.layers.items() if layer.unpruned]
    found = measure_all(measure, combinations(order=list(orders), layer=layers))
    rows = with_totals(found, ["order"], ["rate", "n_s", "beam", "n_out"])
    return rows.assign(
        n_out=rows["n_out"].where(rows["layer"] != TOTAL, 0),
        efficiency_percent=accounting.efficiency(rows["care_bits"], rows["wrong_bits"]),
    )


def worst_layers(orders: pd.DataFrame, least_weights: int = 50_000) -> pd.DataFrame:
    """E of every model and of its worst layer of more than `least_weights` weights.

    From `measure_orders`, by network, method, rate and order: model_percent, worst_percent (nan if
    no layer is as large), worst_layer.
    """
    keys = ["network", "method", "rate", "order"]
    layers = orders[(orders["layer"] != TOTAL) & (orders["weights"] > least_weights)]
    worst = layers.sort_values("efficiency_percent").drop_duplicates(keys).set_index(keys)
    models = totals(orders).set_index(keys)
    return pd.DataFrame(
        {
            "model_percent": models["efficiency_percent"],
            "worst_percent": worst["efficiency_percent"],
            "worst_layer": worst["layer"],
        }
    )


def summary(
    encoders: pd.DataFrame, lengths: pd.DataFrame, orders: pd.DataFrame, matrices: pd.DataFrame
) -> list[Quantity]:
    """What the notebook stands for; tolerances are what other seeds may change, nan for times.

    `encoders` are rows of `measure_encoder` and `measure_optimum`, `orders` are at the balanced
    rate.
    """
    quantities = []
    beams = encoders[encoders["encoder"] == "beam"].set_index(["n_s", "beam"])
    for n_s, beam in ((2, 16), (7, 1), (7, 16), (7, 256)):
        if (n_s, beam) in beams.index:
            e = beams["efficiency_percent"][n_s, beam]
            quantities.append(Quantity(f"E, n_s = {n_s}, beam {beam}", e, "%", 0.03))
    for beam in (1, 16, 256):
        if (7, beam) in beams.index:
            time_ns = beams["cpu_time_ns_per_care_bit"][7, beam]
            name = f"time, n_s = 7, beam {beam}"
            quantities.append(Quantity(name, time_ns, "ns/care bit", np.nan))
    optimum = encoders[(encoders["encoder"] == "viterbi") & (encoders["n_s"] == 2)]
    e = optimum["efficiency_percent"].item()
    quantities.append(Quantity("optimum at n_s = 2", e, "%", 0.1))
    for row in lengths[lengths["chosen"] & (lengths["n_s"] == 7)].itertuples():
        name = f"stored bits over entropy at the chosen n_out, S = {row.sparsity:g}, n_s = 7"
        quantities.append(Quantity(name, row.overhead_percent, "%", 0.3))
    tolerances = {"row": 0.5, "golden": 0.1, "diagonal": 0.1}
    whole = totals(orders[orders["order"].isin(tolerances)])
    for row in whole.sort_values(["network", "method"], kind="stable").itertuples():
        name = f"E, {row.network} {row.method} ({row.source}), {row.order} order"
        quantities.append(Quantity(name, row.efficiency_percent, "%", tolerances[row.order]))
    wide = matrices[matrices["n_s"] == 7].groupby("kind")[["care_bits", "wrong_bits"]].sum()
    for kind in wide.index.intersection(["random", "weight 8"]):
        e = accounting.efficiency(*wide.loc[kind])
        quantities.append(Quantity(f"E, n_s = 7, rows: {kind}", e, "%", 0.05))
    return quantities
