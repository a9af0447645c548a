"""XOR networks: straight-line programs of two-input XOR gates that compute a matrix over GF(2).

A row of weight w takes w - 1 gates by itself. Rows have terms in common, though, and the fewest
gates for all of them together is a hard problem; the greedy answer of Paar (C. Paar, "Optimized
arithmetic for Reed-Solomon encoders", ISIT 1997) is good: give a gate of its own to the pair of
signals that most rows contain, put the new signal in their place, and go on while two rows share a
pair. Among equals the shallowest pair is taken, and what is left of a row is summed shallowest
first, which keeps the longest path short.

The matrix of a decoder is such a program over its window; a folded one is written in the two
stages it has (`f2f.decoder.folded`): the folds, which all rows of a half share, then the rows.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from f2f.base import validate
from f2f.decoder import Decoder
from f2f.decoder.folded import FOLD, HALF

ZERO = -1  # the output of a row without ones
PAIRED_ROWS = 512  # that share gates: time grows with the cube of their number


class Network(NamedTuple):
    """A straight-line program; signal i < inputs is input i, signal inputs + g is gate g."""

    inputs: int  # number of input bits
    gates: tuple[tuple[int, int], ...]  # the two signals that a gate adds, both before it
    outputs: tuple[int, ...]  # the signal of each output bit, `ZERO` for one that is always 0

    @property
    def levels(self) -> np.ndarray:
        """Gates on the longest path to each signal, int64 (inputs + gates,)."""
        levels = np.zeros(self.inputs + len(self.gates), dtype=np.int64)
        for g, (a, b) in enumerate(self.gates, self.inputs):
            levels[g] = 1 + max(levels[a], levels[b])
        return levels

    @property
    def depth(self) -> int:
        """Gates on the longest path to an output."""
        used = [signal for signal in self.outputs if signal != ZERO]
        return int(self.levels[used].max(initial=0))

    def matrix(self) -> np.ndarray:
        """The matrix that the network computes, uint8 0/1 (outputs, inputs)."""
        rows = list(np.eye(self.inputs, dtype=np.uint8))
        for a, b in self.gates:
            rows.append(rows[a] ^ rows[b])
        rows.append(np.zeros(self.inputs, dtype=np.uint8))  # ZERO = -1
        return np.array([rows[signal] for signal in self.outputs], dtype=np.uint8)


def of_decoder(decoder: Decoder) -> Network:
    """The network of a decoder, with what its rows share.

    Parameters
    ----------
    decoder : Decoder
        Of any matrix.

    Returns
    -------
    Network
        Its input ``s*n_in + i`` is bit i of x_{t-s}, output r is bit r of the block.

    Examples
    --------
    >>> decoder = Decoder(n_in=8, n_out=80, n_s=2)
    >>> network = of_decoder(decoder)
    >>> bool((network.matrix() == decoder.matrix).all()), len(network.gates) < 455
    (True, True)
    """
    validate.instance("decoder", decoder, Decoder)
    if decoder.nibbles is None:
        return shared(decoder.matrix)
    program = _Program(decoder.window)
    outputs = np.zeros(decoder.n_out, dtype=np.int64)
    half_of = np.arange(decoder.n_out) // HALF % 2
    for half in (0, 1):
        rows = np.flatnonzero(half_of == half)
        if len(rows):
            folds = _folds(program, half)
            bits = np.unpackbits(decoder.nibbles[rows, :, None], axis=2, bitorder="little")
            outputs[rows] = program.shared_sums(folds, bits[:, :, :4].reshape(len(rows), -1))
    return program.network(outputs.tolist())


def _folds(program: _Program, half: int) -> list[int]:
    """The signals of the 20 bits of the folded window that the rows of a half read."""
    return [
        program.sum([8 * age + 4 * (half ^ swapped) + bit for age, swapped in terms])
        for terms in FOLD
        for bit in range(4)
    ]


def shared(matrix: np.ndarray) -> Network:
    """A network of few gates, by greedy pairing (see the module).

    Parameters
    ----------
    matrix : ndarray of 0/1, (outputs, inputs)

    Returns
    -------
    Network

    Examples
    --------
    >>> len(shared(np.array([[1, 1, 1, 0], [1, 1, 0, 1], [0, 0, 0, 0]])).gates)
    3
    """
    matrix = _checked(matrix)
    program = _Program(matrix.shape[1])
    return program.network(program.shared_sums(range(matrix.shape[1]), matrix))


def separate(matrix: np.ndarray) -> Network:
    """The network whose rows share nothing: a balanced tree each. Parameters as of `shared`."""
    matrix = _checked(matrix)
    program = _Program(matrix.shape[1])
    return program.network([program.sum(np.flatnonzero(row).tolist()) for row in matrix])


def _checked(matrix: np.ndarray) -> np.ndarray:
    array = np.asarray(matrix)
    if array.ndim != 2:
        raise ValueError(f"matrix must be two-dimensional, got shape {array.shape}")
    return validate.bits("matrix", array.reshape(-1)).reshape(array.shape)


class _Program:
    """A network while it is written: its gates, and the level of every signal."""

    def __init__(self, inputs: int) -> None:
        self.inputs = inputs
        self.gates: list[tuple[int, int]] = []
        self.levels = [0] * inputs

    def network(self, outputs: Sequence[int]) -> Network:
        return Network(self.inputs, tuple(self.gates), tuple(outputs))

    def gate(self, a: int, b: int) -> int:
        self.gates.append((min(a, b), max(a, b)))
        self.levels.append(1 + max(self.levels[a], self.levels[b]))
        return len(self.levels) - 1

    def sum(self, signals: Iterable[int]) -> int:
        """The sum of signals, the shallowest first: no order has a shorter longest path."""
        heap = [(self.levels[signal], signal) for signal in signals]
        heapq.heapify(heap)
        while len(heap) > 1:
            new = self.gate(heapq.heappop(heap)[1], heapq.heappop(heap)[1])
            heapq.heappush(heap, (self.levels[new], new))
        return heap[0][1] if heap else ZERO

    def shared_sums(self, signals: Iterable[int], matrix: np.ndarray) -> list[int]:
        """The sums of signals[c] over the ones of each row of the matrix, by greedy pairing."""
        inputs = list(signals)
        outputs = []
        for start in range(0, len(matrix), PAIRED_ROWS):
            rows = matrix[start : start + PAIRED_ROWS]
            pairing = _Pairing(list(inputs), rows)
            while (pair := pairing.commonest(self.levels)) is not None:
                a, b = (pairing.signals[c] for c in pair)
                pairing.replace(*pair, self.gate(a, b))
            outputs += [self.sum(row) for row in pairing.rows(len(rows))]
        return outputs


class _Pairing:
    """Which rows contain which signals, and how many contain each pair of them.

    The rows of a column are the bits of words, uint64 (columns, words); counts[c, d] = rows that
    contain the signals of the columns c and d, for d < c, else 0.
    """

    def __init__(self, signals: list[int], matrix: np.ndarray) -> None:
        self.signals = signals
        rows, columns = matrix.shape
        padded = np.zeros((columns, -(-max(rows, 1) // 64) * 64), dtype=np.uint8)
        padded[:, :rows] = matrix.T
        self.words = np.packbits(padded, axis=1, bitorder="little").view("<u8")
        self.counts = np.zeros((columns, columns), dtype=np.int32)
        for c in range(columns):
            self._count(c)

    def _count(self, c: int) -> None:
        """Counts of the pairs of column c, after it has changed."""
        used = len(self.signals)
        both = np.bitwise_count(self.words[:used] & self.words[c]).sum(axis=1, dtype=np.int32)
        self.counts[c, :c] = both[:c]
        self.counts[c + 1 : used, c] = both[c + 1 :]

    def commonest(self, levels: list[int]) -> tuple[int, int] | None:
        """The columns of the pair that most rows contain, the shallowest of such; None below 2."""
        used = len(self.signals)
        counts = self.counts[:used, :used]
        most = counts.max(initial=0)
        if most < 2:
            return None
        level = np.array([levels[signal] for signal in self.signals])
        c, d = np.divmod(np.flatnonzero(counts == most), used)
        best = np.argmin(np.maximum(level[c], level[d]))
        return int(c[best]), int(d[best])

    def replace(self, c: int, d: int, signal: int) -> None:
        """Put a signal, the sum of those of columns c and d, where rows contain both."""
        new = len(self.signals)
        if new == len(self.counts):
            self.counts = np.pad(self.counts, (0, new))
            self.words = np.pad(self.words, ((0, new), (0, 0)))
        self.signals.append(signal)
        self.words[new] = self.words[c] & self.words[d]
        self.words[c] ^= self.words[new]
        self.words[d] ^= self.words[new]
        for column in (c, d, new):
            self._count(column)

    def rows(self, count: int) -> list[list[int]]:
        """The signals that each row contains."""
        used = self.words[: len(self.signals)].view(np.uint8)
        bits = np.unpackbits(used, axis=1, count=count, bitorder="little")
        return [[self.signals[c] for c in np.flatnonzero(bits[:, r])] for r in range(count)]
