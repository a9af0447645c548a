"""Kinds of decoder matrix beside the random one, and what they do to E and to the XOR gates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from f2f.base import validate
from f2f.decoder.decoder import MATRICES, Decoder
from f2f.encoder.beam import encode_beam
from f2f_study.experiments import entropy
from f2f_study.experiments.beyond import N_IN, PLANES, block_length, iid_planes, wrong_positions


@dataclass(frozen=True)
class MatrixRow:
    """One encoding of 8 iid planes with a drawn matrix of a certain kind, see `make_matrix`.

    seed: of the matrix. xor_gates_per_bit: mean over the output bits. nibbles_per_row: lookups in
    tables of 4 bits that decoding needs, mean over groups of 32 rows that share the tables.
    """

    kind: str
    n_s: int
    n_out: int
    sparsity: float
    beam: int
    seed: int
    care_bits: int
    wrong_bits: int
    efficiency_percent: float
    xor_gates_per_bit: float
    nibbles_per_row: float


MATRIX_KINDS = (
    "random",
    "folded",
    "full rank ends",
    "best of N",
    "weight W",
    "byte weight W",
    "half the nibbles",
)


def make_matrix(kind: str, n_out: int, n_s: int, seed: int) -> Decoder:
    """A decoder, n_in = 8, whose matrix is drawn under a condition, of the kinds MATRIX_KINDS.

    "random", "folded": as `Decoder`. "full rank ends": every 8 consecutive rows have full rank in
    the newest byte and in the oldest. "best of N": of N random ones that with the best E on planes
    of its own at S = 1 - 8/n_out. "weight W", "byte weight W": exactly W ones in a row, or in every
    byte of it. "half the nibbles": each row uses the newest and the oldest byte and half of the
    nibbles between.
    """
    number = int("0" + "".join(c for c in kind if c.isdigit()))
    name = kind if kind in MATRIX_KINDS else kind.replace(str(number), "W" if "w" in kind else "N")
    validate.choice("kind", name, MATRIX_KINDS)
    if kind in MATRICES:
        return Decoder(N_IN, n_out, n_s, seed, kind)
    if name == "best of N":
        return _best_of(number, n_out, n_s, seed)
    rng = np.random.default_rng((seed, 4))
    window = (n_s + 1) * N_IN
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
    wrong = []
    for decoder in drawn:
        inputs = encode_beam(care, target, n, decoder)
        found = wrong_positions(inputs, care, target, n, decoder)
        wrong.append(int(np.bitwise_count(found).sum()))
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
) -> MatrixRow:
    """Encode 8 iid planes, named by data_seed, with the matrix that `kind` and `seed` name."""
    n_out = block_length(sparsity)
    decoder = make_matrix(kind, n_out, n_s, seed)
    n = blocks * n_out
    care, target = iid_planes(n, sparsity, data_seed)
    inputs = encode_beam(care, target, n, decoder, PLANES, beam)
    wrong = int(np.bitwise_count(wrong_positions(inputs, care, target, n, decoder)).sum())
    total = PLANES * len(care)
    if decoder.nibbles is None:
        used = [np.bitwise_or.reduce(decoder.rows[g : g + 32]) for g in range(0, n_out, 32)]
        shifts = 4 * np.arange(decoder.window // 4, dtype=np.uint64)
        lookups = [int(np.count_nonzero(word >> shifts & np.uint64(15))) for word in used]
    else:
        lookups = [decoder.nibbles.shape[1]]
    return MatrixRow(
        kind,
        n_s,
        n_out,
        sparsity,
        beam,
        seed,
        total,
        wrong,
        entropy.efficiency(total, wrong),
        float(entropy.xor_gates(decoder).mean()),
        float(np.mean(lookups)),
    )
