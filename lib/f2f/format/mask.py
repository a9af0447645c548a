"""The mask of a tensor, exactly, in few bits and still at a fixed rate.

A decoder stream (see `f2f.decoder`) can be made to put out a one at every unpruned place. The AND
of several such streams keeps the unpruned places and, of the pruned ones, those where every stream
put out a one. All streams but the last only thin these out: their rate exceeds the unpruned share
p a little and `f2f.encoder.shaping` spends the excess on zeros at surviving pruned places. The
last stream has every survivor as a care bit: one where unpruned, zero where pruned. Places that are
still wrong are corrected by an Elias-Fano list. Each stream has a decoder of its own (seed + 1 +
its number), for identical matrices would decode identical streams.

Where more places are unpruned than elsewhere, less is thinned: survivors cluster over more places
than the window of the last stream can level out. It therefore visits the places in another order,
in whole words of 64: its word w, for w below C = n // 64, holds the places of word
``(golden_stride(C) * w) mod C``; the n mod 64 places after them stay at the end. A cascade of one
stream visits places in order.

With ideal shaping two thinning streams cost 0.4737 bits per weight at p = 0.1, where the entropy is
0.469; forcing each surviving place with a whole bit of rate (no shaping) costs 0.5125.

A long mask is encoded in parts of each stream, which n_s vectors of zeros keep apart: parts do not
depend on each other, and may be encoded in threads. A seam costs about 25 bytes a stream.

Codecs, all decoded the same way, AND of streams, XOR of corrections, complement if `inverted`:

* "full": nothing pruned; no bytes.
* "bitmap": one bit a weight, ``np.packbits(bitorder="little")``.
* "list": no stream; the corrections list the pruned places, or, inverted, the unpruned ones.
* "cascade": streams as above, of the pruned places if these are fewer (inverted).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from f2f.base import validate
from f2f.base.errors import FormatError
from f2f.base.intrinsics import aligned_zeros
from f2f.base.jit import njit
from f2f.base.masks import positions_of, values_at
from f2f.base.parts import Claims, Data, Part, check_bytes
from f2f.decoder import MAX_WINDOW, Decoder, shared_decoder
from f2f.decoder.streams import and_stream, stream_work_bytes
from f2f.encoder.beam import encode_beam_of_mask
from f2f.encoder.rate import choose_n_out
from f2f.encoder.shaping import MAX_BEAM, encode_shaped
from f2f.format.corrections import MAX_UNIVERSE, EliasFano, elias_fano_bits
from f2f.format.mask_rates import plan_stages
from f2f.format.orders import golden_stride

CODECS = ("auto", "full", "bitmap", "list", "cascade")
MAX_STREAMS = 16
PART_PLACES = 1 << 20  # of a part of a stream, or more
MAX_STREAM_N_OUT = 1024  # of a mask stream: keeps the tables of a decoder below 300 KB


@dataclass(frozen=True, eq=False)
class MaskCode(Part):
    """A coded mask of n places in encoding order; make one with `encode_mask` or `from_parts`.

    Its arrays are made read-only. `FormatError` for parts that are none of these or do not fit
    together; whether k places are unpruned, `decode` says.

    Attributes
    ----------
    codec : str
        See the module.
    n, k : int
        Places, and unpruned ones.
    inverted : bool
        The streams and corrections describe the pruned places.
    n_in, n_s, seed : int
        Of the decoders.
    n_outs : tuple of int
        Of each stream.
    streams : tuple of numpy.ndarray
        uint8 (vectors,) each, the inputs.
    corrections : EliasFano or None
        Places to flip.
    bitmap : numpy.ndarray or None
        uint8 (ceil(n/8),).
    """

    codec: str
    n: int
    k: int
    inverted: bool = False
    n_in: int = 8
    n_s: int = 7
    seed: int = 0
    n_outs: tuple[int, ...] = ()
    streams: tuple[np.ndarray, ...] = field(default=(), repr=False)
    corrections: EliasFano | None = field(default=None, repr=False)
    bitmap: np.ndarray | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        try:
            self._check()
        except (AttributeError, TypeError, ValueError) as error:
            raise FormatError(f"a mask must have parts that fit: {error}") from error

    def _check(self) -> None:
        code, bitmap = self.corrections, self.bitmap
        own = {} if code is None else {"corrections": code.data}
        own |= {f"stream{i}": stream for i, stream in enumerate(self.streams)}
        own |= {} if bitmap is None else {"bitmap": bitmap}
        sizes = _sizes(self.header(), self.n)
        if sizes.keys() != own.keys() or (code is not None and code.universe != self.n):
            raise FormatError(f"{self.codec} must have {list(sizes)} of {self.n}, got {list(own)}")
        for name, array in own.items():
            check_bytes(name, array, (sizes[name],))
            if name.startswith("stream") and self.n_in < 8 and array.max(initial=0) >> self.n_in:
                raise FormatError(f"mask {name} must hold vectors of {self.n_in} bits")
            array.setflags(write=False)
        if bitmap is not None and self.n % 8 and bitmap[-1] >> self.n % 8:
            raise FormatError("padding bits of the mask bitmap must be zero")

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays (the header is a few dozen more)."""
        return sum(array.nbytes for array in self.arrays().values())

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything stored but the header: "data", uint8 (bytes,); none if there are no bytes.

        The corrections, then the streams in turn; or the bitmap.
        """
        parts = list(self.streams)
        if self.corrections is not None:
            parts.insert(0, self.corrections.data)
        if self.bitmap is not None:
            parts.append(self.bitmap)
        data = np.concatenate([np.zeros(0, dtype=np.uint8), *parts])
        return {"data": data} if data.size else {}

    def header(self) -> dict[str, Any]:
        """What `from_parts` needs beside the arrays and n; can be written as JSON."""
        header: dict[str, Any] = {"codec": self.codec, "k": self.k}
        if self.corrections is not None:
            header |= {"inverted": self.inverted, "errors": self.corrections.count}
        if self.streams:
            header |= {"n_in": self.n_in, "n_s": self.n_s, "seed": self.seed}
            header["n_outs"] = list(self.n_outs)
        return header

    @classmethod
    def from_parts(
        cls, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray], n: int
    ) -> MaskCode:
        """The mask of stored parts, which may be damaged.

        Sizes, ranges and types are checked, and the corrections completely, so that decoding
        gives n places whatever the bytes; `decode` also compares the number of unpruned ones.

        Raises
        ------
        FormatError
            Says what is wrong.
        """
        data = Data(arrays, "mask ")
        parts = {name: data.take(name, (size,)) for name, size in _sizes(header, n).items()}
        data.end()
        codec, k = header["codec"], header["k"]
        if codec in ("full", "bitmap"):
            return cls(codec, n, k, bitmap=parts.get("bitmap"))
        corrections = EliasFano(parts.pop("corrections"), header["errors"], n)
        if codec == "list":
            return cls(codec, n, k, header["inverted"], corrections=corrections)
        n_in, n_s, seed, n_outs = (header[name] for name in ("n_in", "n_s", "seed", "n_outs"))
        streams = tuple(parts.values())
        return cls(
            codec, n, k, header["inverted"], n_in, n_s, seed, tuple(n_outs), streams, corrections
        )

    def decode(self) -> np.ndarray:
        """The mask, bool (n,), True where unpruned. `FormatError` if it has not k True places."""
        mask = np.unpackbits(self.packed(), count=self.n, bitorder="little").view(bool)
        found = int(np.count_nonzero(mask))
        if found != self.k:
            raise FormatError(f"the mask must have {self.k} unpruned places, decoded {found}")
        return mask

    def packed(self) -> np.ndarray:
        """The mask as codec "bitmap" stores it, uint8 (ceil(n/8),), not to be written to."""
        if self.bitmap is not None:
            return self.bitmap
        ones = np.uint64(2**64 - 1)
        words = np.full(-(-self.n // 64), ones)
        work = aligned_zeros(stream_work_bytes(max(self.n_outs, default=1), self.n_s))
        for number, (stream, n_out) in enumerate(zip(self.streams, self.n_outs, strict=True)):
            gates = stream_decoder(self.n_in, n_out, self.n_s, self.seed, number).gates
            if 0 < number == len(self.streams) - 1:
                shuffled = np.full(len(words), ones)
                and_stream(stream, gates, self.n, shuffled, work)
                _and_in_order(words, shuffled, self.n // 64, golden_stride(self.n // 64))
            else:
                and_stream(stream, gates, self.n, words, work)
        if self.inverted:
            np.invert(words, out=words)
        if self.n % 64:
            words[-1] &= np.uint64(2 ** (self.n % 64) - 1)
        if self.corrections is not None:
            self.corrections.flip(words)
        return words.view(np.uint8)[: -(-self.n // 8)]


@njit
def _and_in_order(words, shuffled, count, stride):
    """words[stride*w mod count] &= shuffled[w], w < count, and behind them in order; uint64."""
    at = 0
    for w in range(count):
        words[at] &= shuffled[w]
        at += stride
        if at >= count:
            at -= count
    for w in range(count, len(words)):
        words[w] &= shuffled[w]


def stream_decoder(n_in: int, n_out: int, n_s: int, seed: int, number: int) -> Decoder:
    """The decoder of stream `number` of a mask."""
    return shared_decoder(n_in, n_out, n_s, (seed + 1 + number) % 2**64)


def encode_mask(
    mask: np.ndarray,
    codec: str = "auto",
    *,
    n_in: int = 8,
    n_s: int = 7,
    beam: int = 64,
    seed: int = 0,
    pool: Executor | None = None,
) -> MaskCode:
    """Code a mask exactly.

    Parameters
    ----------
    mask : array of bool or 0/1
        (n,), 1 = unpruned, in encoding order.
    codec : str
        See the module; "auto" has the fewest bytes. It encodes a cascade in as many parts as there
        are 2**20 places, which costs 0.1 % of the mask; "cascade" does so in one.
    n_in, n_s, seed : int
        Of the decoders of "cascade".
    beam : int
        Hypotheses kept by its encoders, 1…65535; more make it smaller and slower.
    pool : concurrent.futures.Executor, optional
        Runs the parts in threads; the result is the same.

    Raises
    ------
    ValueError
        An argument is none of these.

    Examples
    --------
    >>> mask = np.random.default_rng(0).random(100_000) < 0.1
    >>> code = encode_mask(mask)
    >>> code.codec, bool((code.decode() == mask).all()), code.nbytes * 8 / len(mask) < 0.5
    ('cascade', True, True)
    """
    validate.choice("codec", codec, CODECS)
    mask = validate.bits("mask", mask)
    n_in = validate.integer("n_in", n_in, 1, 8)
    n_s = validate.integer("n_s", n_s, 0, MAX_WINDOW // n_in - 1)
    beam = validate.integer("beam", beam, 1, MAX_BEAM)
    seed = validate.integer("seed", seed, 0, 2**64 - 1)
    n, k = len(mask), int(np.count_nonzero(mask))
    if codec == "full" and k < n:
        raise ValueError(f"mask must have no pruned place for codec 'full', got {n - k}")
    if codec == "cascade" and n:
        return _cascade(mask, n_in, n_s, beam, seed, 1, pool)
    if codec == "full" or n == 0 or (codec == "auto" and k == n):
        return MaskCode("full", n, k)
    list_bits = elias_fano_bits(min(k, n - k), n)
    if codec == "auto" and modelled_bits(n, k, n_in, n_s, beam) < min(n, list_bits):
        cascade = _cascade(mask, n_in, n_s, beam, seed, max(1, n // PART_PLACES), pool)
        if cascade.nbytes < -(-min(n, list_bits) // 8):
            return cascade
    if codec == "bitmap" or (codec == "auto" and n <= list_bits):
        return MaskCode("bitmap", n, k, bitmap=np.packbits(mask, bitorder="little"))
    inverted = 2 * k <= n
    listed = positions_of(mask == inverted)
    return MaskCode("list", n, k, inverted, corrections=EliasFano.encode(listed, n))


def modelled_bits(n: int, k: int, n_in: int = 8, n_s: int = 7, beam: int = 64) -> float:
    """About how many bits codec "cascade" needs for k unpruned of n independent places."""
    if n == 0 or k in (0, n):
        return 0.0
    p = min(k, n - k) / n
    n_outs, bits = plan_stages(p, 1 - p, n_in, n_s, beam, MAX_STREAM_N_OUT)
    return n * bits + 8 * n_s * len(n_outs)


def _cascade(
    mask: np.ndarray,
    n_in: int,
    n_s: int,
    beam: int,
    seed: int,
    parts: int,
    pool: Executor | None,
) -> MaskCode:
    """The cascade of a mask, each stream encoded in so many parts."""
    n, k = len(mask), int(np.count_nonzero(mask))
    inverted = 2 * k > n
    wanted = (mask == 0) if inverted else mask.view(bool)
    left = np.ones(n, dtype=bool)  # places where every stream so far decodes to one
    streams: list[np.ndarray] = []
    n_outs: list[int] = []
    last = False
    while not last:
        number = len(streams)
        kept, unwanted = left & wanted, left > wanted
        plan, _ = plan_stages(
            np.count_nonzero(kept) / n,
            np.count_nonzero(unwanted) / n,
            n_in,
            n_s,
            beam,
            max(1, min(n, MAX_STREAM_N_OUT)),
        )
        last = len(plan) == 1 or number == MAX_STREAMS - 1
        n_out = plan[0]
        if last:  # every array takes a byte a place: none is kept longer than it serves
            del unwanted
            if number:
                left = _shuffled(left)
                kept = _shuffled(kept)
            n_out = plan[-1]
            if left.any():
                best, _ = choose_n_out(left, n_in, n_s, beam, universe=n)
                n_out = min(n, MAX_STREAM_N_OUT, best)
        decoder = stream_decoder(n_in, n_out, n_s, seed, number)
        # The last has every survivor as a care bit. Others have ones at the wanted places, and
        # zeros at as many of the others as can be had.
        if last:
            encode = partial(_encode_last, left, kept, decoder, beam)
        else:
            encode = partial(_encode_thinning, kept, unwanted, decoder, beam)
            del unwanted
        del kept
        stream = _in_parts(encode, n, decoder, parts, pool)
        del encode
        streams.append(stream)
        n_outs.append(n_out)
        left &= decoder.decode(stream, n).view(bool)
    if len(streams) > 1:
        left = _shuffled(left, back=True)
    corrections = EliasFano.encode(np.flatnonzero(left != wanted), n)
    return MaskCode(
        "cascade", n, k, inverted, n_in, n_s, seed, tuple(n_outs), tuple(streams), corrections
    )


def _in_parts(
    encode: Callable[..., np.ndarray], n: int, decoder: Decoder, parts: int, pool: Executor | None
) -> np.ndarray:
    """A stream of n places, encoded in parts by ``encode(places, zero_ends)``."""
    edges = np.linspace(0, decoder.n_blocks(n), parts + 1).astype(int) * decoder.n_out

    def part(number: int) -> np.ndarray:
        places = slice(edges[number], min(edges[number + 1], n))
        return encode(places, (number > 0, number < parts - 1))

    first, *others = (pool.map if pool else map)(part, range(parts))
    return np.concatenate([first, *(other[decoder.n_s :] for other in others)])


def _encode_thinning(
    kept: np.ndarray,
    unwanted: np.ndarray,
    decoder: Decoder,
    beam: int,
    places: slice,
    zero_ends: Any,
) -> np.ndarray:
    care = positions_of(kept[places])
    ones = np.ones(len(care), dtype=np.uint8)
    soft = unwanted[places]
    return encode_shaped(care, ones, soft, len(soft), decoder, beam, zero_ends)


def _encode_last(
    left: np.ndarray, kept: np.ndarray, decoder: Decoder, beam: int, places: slice, zero_ends: Any
) -> np.ndarray:
    target = values_at(left[places], kept[places]).view(np.uint8)
    return encode_beam_of_mask(left[places], target, decoder, 1, beam, zero_ends)[:, 0]


def _shuffled(places: np.ndarray, back: bool = False) -> np.ndarray:
    """Places in the order of a shuffled stream (see the module), or `back` from it."""
    words = len(places) // 64
    stride = golden_stride(words)
    if back:
        stride = pow(stride, -1, max(words, 1))
    shuffled = places.copy()
    np.take(
        places[: 64 * words].reshape(-1, 64),
        stride * np.arange(words) % max(words, 1),
        axis=0,
        out=shuffled[: 64 * words].reshape(-1, 64),
        mode="clip",  # of indices that need none: otherwise NumPy makes a copy
    )
    return shuffled


def _sizes(header: Any, n: Any) -> dict[str, int]:
    """Bytes of each part of a mask of n places with this header, all of which is checked."""
    claims = Claims(header, "mask ")
    n = Claims({"n": n}, "mask ").integer("n", 0, MAX_UNIVERSE)
    k = claims.integer("k", 0, n)
    codec = claims.choice("codec", CODECS[1:])
    if codec == "full":
        if k != n:
            raise FormatError(f"a full mask must have k = n = {n}, got {k}")
        return {}
    if codec == "bitmap":
        return {"bitmap": -(-n // 8)}
    inverted = header.get("inverted")
    if not isinstance(inverted, bool):
        raise FormatError(f"mask inverted must be true or false, got {inverted!r}")
    errors = claims.integer("errors", 0, n)
    sizes = {"corrections": -(-elias_fano_bits(errors, n) // 8)}
    if codec == "list":
        if errors != (k if inverted else n - k):
            raise FormatError(f"mask errors must follow from k = {k}, got {errors}")
        return sizes
    n_in = claims.integer("n_in", 1, 8)
    n_s = claims.integer("n_s", 0, MAX_WINDOW // n_in - 1)
    claims.integer("seed", 0, 2**64 - 1)
    n_outs = claims.integers("n_outs", 1, max(1, min(n, MAX_STREAM_N_OUT)))
    if not 1 <= len(n_outs) <= MAX_STREAMS:
        raise FormatError(f"mask n_outs must be a list of 1..{MAX_STREAMS}, got {len(n_outs)}")
    vectors = {f"stream{i}": -(-n // n_out) + n_s if n else 0 for i, n_out in enumerate(n_outs)}
    return sizes | vectors
