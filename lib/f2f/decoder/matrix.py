"""The XOR-gate decoder (section 3 of the paper), its matrix, and how it decodes.

At step t the decoder sees the window ``x_t ⌢ x_{t-1} ⌢ … ⌢ x_{t-n_s}`` of the last n_s + 1 input
vectors of n_in bits each and puts out the n_out bits ``M · window`` over GF(2). There is no
feedback, so a block needs only n_s + 1 neighbouring vectors and decodes by itself.

Paper symbols: N_in = `n_in`, N_out = `n_out`, N_s = `n_s`, M = `Decoder.matrix`.

Two layouts of the same matrix are used. `matrix` is the paper's: column ``s*n_in + i`` multiplies
bit i (0 = least significant) of x_{t-s}. `rows` is the machine's: the inputs of a plane are stored
oldest first, so the window of block t is the word ``W_t = Σ_j inputs[t+j] << (n_in*j)``,
j = 0…n_s, and bit ``(n_s-s)*n_in + i`` of ``rows[r]`` is ``matrix[r, s*n_in + i]``; decoded bit r
of block t is ``parity(rows[r] & W_t)``.
"""

from __future__ import annotations

from functools import cached_property, lru_cache

import numpy as np

from f2f.base import validate
from f2f.decoder.folded import N_S, folded_nibbles, unfold
from f2f.decoder.gates import LOWERINGS, Gates, decode_words, make_gates

MATRICES = ("random", "folded")
MAX_WINDOW = 64
MAX_N_OUT = 65535


def seed_words(seed: int, count: int) -> np.ndarray:
    """The first words of the infinite bit matrix that a seed names.

    Word r is SplitMix64 (Steele, Lea, Flood 2014) at counter r + 1 of a stream that starts at
    the mixed seed. This function never changes between versions: stored files depend on it.

    Parameters
    ----------
    seed : int
        0…2**64-1.
    count : int
        Words wanted.

    Returns
    -------
    ndarray of uint64, (count,)
        Row r of the bit matrix, bit i = column i.
    """
    with np.errstate(over="ignore"):
        start = _splitmix(np.array([seed], dtype=np.uint64))[0]
        counter = np.arange(1, count + 1, dtype=np.uint64)
        return _splitmix(start + counter * np.uint64(0x9E3779B97F4A7C15))


def _splitmix(z: np.ndarray) -> np.ndarray:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


class Decoder:
    """A decoder with a matrix named by its kind and its seed.

    Parameters
    ----------
    n_in : int
        Bits of an input vector, 1…8.
    n_out : int
        Bits of a block, 1…65535.
    n_s : int
        Shift registers, with a window ``(n_s+1)*n_in`` of at most 64 bits.
    seed : int
        0…2**64-1; it names one infinite random bit matrix for all time, of which this decoder takes
        the first n_out rows.
    matrix : str
        "random", the paper's, takes their first ``(n_s+1)*n_in`` columns as they are; "folded"
        (n_in = 8 and n_s = 7 only) takes 20 columns as combinations of a folded window, with E as
        good and much less to do per decoded bit (`f2f.decoder.folded`).

    Attributes
    ----------
    matrix : ndarray of uint8, (n_out, (n_s+1)*n_in)
        The paper's matrix, 0/1; see the module.
    rows : ndarray of uint64, (n_out,)
        The same for windows as words; see the module.
    nibbles : ndarray of uint8, (n_out, 5), or None
        Of a folded matrix.
    seed : int or None
        None of an explicit matrix.

    Raises
    ------
    ValueError
        If an argument is outside its range.

    Examples
    --------
    >>> decoder = Decoder(n_in=8, n_out=80, n_s=2, seed=0)
    >>> decoder.matrix.shape
    (80, 24)
    >>> inputs = np.arange(5, dtype=np.uint8)  # 3 blocks and n_s = 2 vectors before them
    >>> bool((decoder.decode(inputs, 200) == decoder.decode_plain(inputs, 200)).all())
    True
    """

    def __init__(
        self, n_in: int = 8, n_out: int = 80, n_s: int = 2, seed: int = 0, matrix: str = "random"
    ) -> None:
        self._set_sizes(n_in, n_out, n_s)
        self.seed: int | None = validate.integer("seed", seed, 0, 2**64 - 1)
        validate.choice("matrix", matrix, MATRICES)
        words = seed_words(self.seed, self.n_out)
        self.nibbles: np.ndarray | None = None  # of a folded matrix
        if matrix == "folded":
            if (self.n_in, self.n_s) != (8, N_S):
                raise ValueError(
                    f'matrix must be "random" for n_in={self.n_in} and n_s={self.n_s}, '
                    f'"folded" is for n_in=8 and n_s={N_S}'
                )
            self.nibbles = folded_nibbles(words)
            oldest_first = self._bits(unfold(self.nibbles))
            by_age = oldest_first.reshape(self.n_out, n_s + 1, n_in)[:, ::-1]
            self._set_matrix(by_age.reshape(self.n_out, self.window))
        else:
            self._set_matrix(self._bits(words))

    @classmethod
    def from_matrix(cls, matrix: np.ndarray, n_in: int) -> Decoder:
        """A decoder of an explicit matrix.

        Parameters
        ----------
        matrix : array_like, (n_out, (n_s+1)*n_in)
            0/1, as `matrix` of the class.
        n_in : int
            Bits of an input vector, 1…8.

        Returns
        -------
        Decoder
            Its seed is None.

        Raises
        ------
        ValueError
            If the matrix has other entries or another form.

        Examples
        --------
        >>> decoder = Decoder.from_matrix([[1, 0], [1, 1]], n_in=1)
        >>> decoder.n_s, decoder.decode(np.array([0, 1, 0], dtype=np.uint8), 4).tolist()
        (1, [1, 1, 0, 1])
        """
        array = np.asarray(validate.unmasked("matrix", matrix))
        if array.ndim != 2:
            raise ValueError(f"matrix must be two-dimensional, got shape {array.shape}")
        entries = validate.bits("matrix", array.reshape(-1)).reshape(array.shape)
        n_in = validate.integer("n_in", n_in, 1, 8)
        n_out, window = array.shape[0], array.shape[1]
        if window == 0 or window % n_in:
            raise ValueError(
                f"matrix must have a multiple of n_in={n_in} columns, got {window} columns"
            )
        decoder = cls.__new__(cls)
        decoder._set_sizes(n_in, n_out, window // n_in - 1)
        decoder.seed = None
        decoder.nibbles = None
        decoder._set_matrix(entries)
        return decoder

    def _set_sizes(self, n_in: int, n_out: int, n_s: int) -> None:
        self.n_in = validate.integer("n_in", n_in, 1, 8)
        self.n_out = validate.integer("n_out", n_out, 1, MAX_N_OUT)
        self.n_s = validate.integer("n_s", n_s, 0, MAX_WINDOW // self.n_in - 1)

    def _bits(self, words: np.ndarray) -> np.ndarray:
        """The first `window` bits of words, 0/1, uint8 (n_out, window)."""
        by_byte = words.astype("<u8").view(np.uint8).reshape(self.n_out, 8)
        return np.unpackbits(by_byte, axis=1, count=self.window, bitorder="little")

    def _set_matrix(self, matrix: np.ndarray) -> None:
        matrix.setflags(write=False)
        self.matrix = matrix
        by_age = matrix.reshape(self.n_out, self.n_s + 1, self.n_in)
        oldest_first = np.zeros((self.n_out, MAX_WINDOW), dtype=np.uint8)
        oldest_first[:, : self.window] = by_age[:, ::-1].reshape(self.n_out, self.window)
        packed = np.packbits(oldest_first, axis=1, bitorder="little")
        self.rows = packed.view("<u8")[:, 0].astype(np.uint64)
        self.rows.setflags(write=False)

    def __repr__(self) -> str:
        name = "from_matrix" if self.seed is None else f"seed={self.seed}"
        name += ', matrix="folded"' if self.folded else ""
        return f"Decoder(n_in={self.n_in}, n_out={self.n_out}, n_s={self.n_s}, {name})"

    @property
    def folded(self) -> bool:
        """Whether the matrix is a folded one."""
        return self.nibbles is not None

    @property
    def window(self) -> int:
        """Bits the decoder sees at one step, (n_s+1)*n_in."""
        return (self.n_s + 1) * self.n_in

    def n_blocks(self, n: int) -> int:
        """Blocks of a plane of n bits, ceil(n / n_out)."""
        return -(-n // self.n_out)

    def n_vectors(self, n: int) -> int:
        """Input vectors of a plane of n bits: one a block and n_s before the first; 0 if n = 0."""
        return self.n_blocks(n) + self.n_s if n else 0

    @cached_property
    def tables(self) -> np.ndarray:
        """What each vector adds to a block at each place, uint64 (n_s+1, 2**n_in, ceil(n_out/64)).

        The block is the XOR over j of ``tables[j, inputs[t+j]]``; bit r%64 of word r//64 is
        output bit r.
        """
        words = -(-self.n_out // 64)
        packed = np.zeros((self.window, words * 8), dtype=np.uint8)
        by_window_bit = (self.rows >> np.arange(self.window, dtype=np.uint64)[:, None]) & np.uint64(
            1
        )
        used = -(-self.n_out // 8)
        packed[:, :used] = np.packbits(by_window_bit.astype(np.uint8), axis=1, bitorder="little")
        columns = packed.view("<u8").reshape(self.n_s + 1, self.n_in, words)
        tables = np.zeros((self.n_s + 1, 1 << self.n_in, words), dtype=np.uint64)
        for bit in range(self.n_in):
            half = 1 << bit
            tables[:, half : 2 * half] = tables[:, :half] ^ columns[:, bit : bit + 1]
        return tables

    @cached_property
    def gates(self) -> Gates:
        """The decoder as kernels want it, of the processor's fastest lowering."""
        return self.gates_for(LOWERINGS[0])

    def gates_for(self, lowering: str) -> Gates:
        """As `gates`, of one of `f2f.decoder.gates.LOWERINGS`."""
        return make_gates(self.rows, self.n_in, self.n_s, self.nibbles, lowering)

    def decode(self, inputs: np.ndarray, n: int) -> np.ndarray:
        """The n bits that the inputs decode to, or words of the bits of up to 8 planes.

        Parameters
        ----------
        inputs : ndarray of uint8, (n_vectors(n),) or (n_vectors(n), P)
            Of one plane, or of P <= 8 planes side by side, the oldest vector first.
        n : int
            Bits to decode.

        Returns
        -------
        ndarray of uint8, (n,)
            The bits, or the words whose bit q is the bit of plane q.

        Raises
        ------
        ValueError
            If the inputs have another form or number, or a value of n_in bits or more.
        """
        inputs, n = self._check(inputs, n)
        planes = inputs if inputs.ndim == 2 else inputs[:, None]
        if planes.shape[1] == 0:
            return np.zeros(n, dtype=np.uint8)
        return decode_words(planes, self.gates, n)

    def decode_plain(self, inputs: np.ndarray, n: int) -> np.ndarray:
        """As `decode`, as the matrix product it is: the reference that fast paths must equal."""
        inputs, n = self._check(inputs, n)
        planes = inputs if inputs.ndim == 2 else inputs[:, None]
        blocks, out = self.n_blocks(n), np.zeros(n, dtype=np.uint8)
        matrix = self.matrix.astype(np.float32)  # products of floats are fast, sums of 64 exact
        for q in range(planes.shape[1]):
            bits = np.unpackbits(planes[:, q, None], axis=1, count=self.n_in, bitorder="little")
            # Row t: x_t ⌢ x_{t-1} ⌢ … ⌢ x_{t-n_s}
            windows = np.hstack([bits[j : j + blocks] for j in range(self.n_s, -1, -1)])
            sums = (windows.astype(np.float32) @ matrix.T).reshape(-1)[:n]
            out |= (sums.astype(np.uint8) & 1) << q
        return out

    def decode_block(self, inputs: np.ndarray, t: int) -> np.ndarray:
        """One block of a plane by itself.

        Parameters
        ----------
        inputs : ndarray of uint8, (vectors,)
            Of which t…t+n_s are read.
        t : int
            Number of the block.

        Returns
        -------
        ndarray of uint8, (n_out,)
            Its bits.

        Raises
        ------
        ValueError
            If the inputs have no such block.
        """
        inputs = np.asarray(inputs)
        if inputs.ndim != 1:
            raise ValueError(f"inputs must be one-dimensional, got shape {inputs.shape}")
        t = validate.integer("t", t, 0, len(inputs) - self.n_s - 1)
        return self.decode(inputs[t : t + self.n_s + 1], self.n_out)

    def _check(self, inputs: np.ndarray, n: int) -> tuple[np.ndarray, int]:
        n = validate.integer("n", n, 0)
        array = np.asarray(validate.unmasked("inputs", inputs))
        if array.dtype != np.uint8 or array.ndim not in (1, 2) or array.shape[1:] > (8,):
            raise ValueError(
                "inputs must be uint8 (vectors,) or (vectors, planes <= 8), "
                f"got {array.dtype} {array.shape}"
            )
        if len(array) != self.n_vectors(n):
            raise ValueError(
                f"inputs must hold {self.n_vectors(n)} vectors for n={n} bits, got {len(array)}"
            )
        if self.n_in < 8 and array.size and array.max() >> self.n_in:
            raise ValueError(f"inputs must be below 2**n_in={1 << self.n_in}, got {array.max()}")
        return array, n


@lru_cache(maxsize=64)
def shared_decoder(n_in: int, n_out: int, n_s: int, seed: int, matrix: str = "random") -> Decoder:
    """The `Decoder` of these arguments, kept: the tensors of a model have many in common."""
    return Decoder(n_in, n_out, n_s, seed, matrix)
