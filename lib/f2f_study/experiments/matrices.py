"""Kinds of decoder matrix beside the random one, what they do to E and to the XOR gates."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

from f2f.base import validate
from f2f.decoder import MATRICES, Decoder
from f2f.encoder.beam import encode_beam
from f2f_study.experiments import accounting
from f2f_study.experiments.accounting import N_IN
from f2f_study.experiments.planes import coded, count_wrong, iid_planes

MATRIX_KINDS = (
    *MATRICES,
    "full rank ends",
    "best of N",
    "weight W",
    "quarter weight",
    "eighth weight",
    "byte weight W",
    "half the nibbles",
)


def make_matrix(kind: str, n_out: int, n_s: int, seed: int) -> Decoder:
    """A decoder, n_in = 8, whose matrix is drawn under a condition.

    Parameters
    ----------
    kind : str
        One of `MATRIX_KINDS`, with a number for its capital letter. "random", "folded": as
        `Decoder`. "full rank ends": every 8 consecutive rows have full rank in the newest byte and
        in the oldest. "best of N": of N random ones that with the best E on planes of its own at
        S = 1 - 8/n_out. "weight W", "byte weight W": exactly W ones in a row, or in every byte of
        it; "quarter weight" and "eighth weight" are rows of about that share of ones, of an odd
        number, as rows of even weight would waste a dimension. "half the nibbles": each row uses
        the newest and the oldest byte and half of the nibbles between.
    n_out, n_s, seed
        As in `Decoder`.

    Raises
    ------
    ValueError
        An unknown kind, or more ones than there is room for.
    """
    window = (n_s + 1) * N_IN
    number = int("0" + re.sub(r"\D", "", kind))
    name = re.sub(r"\d+", "N" if kind.startswith("best") else "W", kind)
    validate.choice("kind", name, MATRIX_KINDS)
    if name in MATRICES:
        return Decoder(N_IN, n_out, n_s, seed, name)
    if name == "best of N":
        return _best_of(number, n_out, n_s, seed)
    if name in ("quarter weight", "eighth weight"):
        name, number = "weight W", window // (4 if name == "quarter weight" else 8) | 1
    rng = np.random.default_rng((seed, 4))
    validate.integer("the weight", number, 0, N_IN if name == "byte weight W" else window)
    matrix = np.zeros((n_out, window), dtype=np.uint8)
    nibbles = np.arange(2, window // 4 - 2)
    for r in range(n_out):
        if name == "byte weight W":
            for byte in range(n_s + 1):
                matrix[r, 8 * byte + rng.choice(8, number, replace=False)] = 1
        elif name == "weight W":
            matrix[r, rng.choice(window, number, replace=False)] = 1
        elif name == "full rank ends":
            matrix[r] = _independent(rng, matrix[r // 8 * 8 : r], window)
        else:
            unused = rng.permutation(nibbles)[len(nibbles) // 2 :]
            matrix[r] = rng.integers(0, 2, window)
            matrix[r].reshape(-1, 4)[unused] = 0
    return Decoder.from_matrix(matrix, N_IN)


def _best_of(count: int, n_out: int, n_s: int, seed: int, blocks: int = 16_000) -> Decoder:
    """The best of `count` random matrices on planes that no measurement uses."""
    drawn = [Decoder(N_IN, n_out, n_s, (seed + 1) << 20 | i) for i in range(count)]
    n = blocks * n_out
    care, target = iid_planes(n, max(0.0, 1 - N_IN / n_out), (1 << 20) + seed)
    wrong = [
        count_wrong(encode_beam(care, target, n, decoder), care, target, n, decoder)
        for decoder in drawn
    ]
    return drawn[int(np.argmin(wrong))]


def _independent(rng: np.random.Generator, before: np.ndarray, window: int) -> np.ndarray:
    """A random row, independent of the rows `before` in its first byte and in its last."""
    while True:
        row = rng.integers(0, 2, window, dtype=np.uint8)
        rows = np.vstack([before, row])
        if min(_rank(rows[:, :8]), _rank(rows[:, -8:])) == len(rows):
            return row


def _rank(rows: np.ndarray) -> int:
    """Rank over GF(2) of 0/1 rows of at most 8 columns."""
    basis: list[int] = []
    for word in np.packbits(rows, axis=1)[:, 0].tolist():
        for b in basis:
            word = min(word, word ^ b)
        if word:
            basis.append(word)
    return len(basis)


def measure_matrix(
    kind: str,
    *,
    n_s: int,
    sparsity: float,
    blocks: int,
    seed: int,
    data_seed: int = 0,
    beam: int = 16,
) -> dict[str, Any]:
    """Encode 8 iid planes with one matrix of a kind: one row of `beyond_gates.csv`.

    Parameters
    ----------
    kind, n_s, seed
        Name the matrix, see `make_matrix`.
    sparsity, blocks, data_seed
        Name the planes: cases that share them are measured on the same data.
    beam : int
        Hypotheses kept.
    """
    n_out = accounting.block_length(N_IN, sparsity)
    decoder, n = make_matrix(kind, n_out, n_s, seed), blocks * n_out
    care, target = iid_planes(n, sparsity, data_seed)
    return {
        "kind": kind,
        "n_s": n_s,
        "n_out": n_out,
        "sparsity": sparsity,
        "beam": beam,
        "seed": seed,
        **coded(care, target, n, decoder, beam),
        "xor_gates_per_bit": float(accounting.xor_gates(decoder).mean()),
        "nibbles_per_row": _lookups(decoder),
    }


def _lookups(decoder: Decoder) -> float:
    """Lookups of 4 window bits that decoding needs: mean over groups of 32 rows, sharing tables."""
    if decoder.nibbles is not None:
        return float(decoder.nibbles.shape[1])
    used = np.bitwise_or.reduceat(decoder.rows, np.arange(0, decoder.n_out, 32))
    shifts = 4 * np.arange(decoder.window // 4, dtype=np.uint64)
    return float(np.count_nonzero(used[:, None] >> shifts & np.uint64(15), axis=1).mean())


def against_random(rows: pd.DataFrame) -> pd.DataFrame:
    """E of every kind of matrix beside that of random ones, at equal n_s and S.

    From rows of `measure_matrix`, some draws of every kind on common planes; by n_s, sparsity and
    kind. mean, std: of E in % over the draws. gates: XOR gates of an output bit. gain: mean less
    that of random. margin: gain in standard deviations of the random draws (of one wrong bit,
    should those not differ): a kind wins above 1.
    """
    keys = ["n_s", "sparsity"]
    found = rows.groupby([*keys, "kind"], sort=False).agg(
        mean=("efficiency_percent", "mean"),
        std=("efficiency_percent", "std"),
        gates=("xor_gates_per_bit", "mean"),
        one=("care_bits", lambda care_bits: 100 / care_bits.iloc[0]),
    )
    found = found.sort_index(level=keys, sort_remaining=False, kind="stable")
    base = found.xs("random", level="kind").reindex(found.droplevel("kind").index)
    gain = found["mean"] - base["mean"].to_numpy()
    spread = np.maximum(base["std"], base["one"]).to_numpy()
    return found.drop(columns="one").assign(gain=gain, margin=gain / spread)
