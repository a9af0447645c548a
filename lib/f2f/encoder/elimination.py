"""Banded elimination over GF(2): the linear algebra under the beam encoder.

Every care bit is one equation ``parity(row & window) = target`` in the input bits. The unknowns are
numbered in time: bit b of input vector t is variable v = t*n_in + b, and block t sees the variables
t*n_in … t*n_in + window - 1. A machine word holds variable v at bit v mod 64, whatever the block,
so nothing shifts as blocks pass; a decoder row is only rotated left by t*n_in.

The `System` is kept *fully reduced*, with the oldest variable of each equation as its pivot, so an
equation stays in the system exactly as long as its pivot is in the window. Because no equation
holds the pivot of another, the set of equations that a new row must be added to is known at once,
``combo = row & pivots``, and what remains of the row has non-pivot variables only (`gather`). Two
cases:

* something remains: its oldest variable becomes a pivot and is cleared from the equations that hold
  it, ``column`` (`insert`); the right-hand sides w (bit p belongs to pivot p) change by
  ``w ^= b·(column | 1 << pivot)`` where ``b = parity(w & combo) ^ target``;
* nothing remains: the row is a *check*, satisfied or not whatever the unknowns will be.

Adding so many equations to a row is a long wait, and so is adding the row to the system. So the
next row is gathered before this one is inserted; if an odd number of the equations that it needs
have changed since, this one is to be added to it (`catch_up`).

The `Log` of the pairs (combo, column | pivot) of all rows says all there is to know about
right-hand sides: `solve` follows other targets without reducing again. Equations whose pivot leaves
the window are final (`retire`); `solve` substitutes in them from the newest variable to the oldest.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from f2f.base.intrinsics import (
    I1,
    I32,
    I64,
    aligned_zeros,
    borrowed,
    popcount,
    same_elements,
    trailing_zeros,
)
from f2f.base.jit import njit
from f2f.encoder.lanes import xor_at_64
from f2f.encoder.words import rotate_left

WORDS = 8  # of an equation
VARIABLES, STATE, RECENT = 0, 1, 2  # word numbers; RECENT words go on to the end
PLANE_BITS = 8  # lowest bits of word RECENT
MAX_RECENT = 64 * (WORDS - RECENT) - PLANE_BITS
NONE = 64  # number of an equation that is always 0 = 0, behind those of the 64 pivots
SUMS = 65  # number of two more: a row with the equations added to it, and the one before
AT_ONCE = 4  # equations added without asking whether there are so many


class Segment(NamedTuple):
    """The care bits of consecutive blocks, and the input vectors that are given before them.

    Attributes
    ----------
    care : ndarray of int64, (k,)
        Their positions in the plane, increasing.
    target : ndarray of uint8, (k,)
        Their wanted bits, bit q for plane q. Bits that are given up are flipped here.
    rows : ndarray of uint64, (n_out,)
        `f2f.Decoder.rows`.
    n_in, n_out : int
        Bits of an input vector and of a block.
    first : int
        Number of the first block, and of the first input vector that it sees.
    vectors : int
        Input vectors that the blocks see: one a block and n_s more, or fewer if those behind them
        are zeros.
    known : int
        How many of these, the first, are given: n_s, or 0 at the start of the plane.
    words : ndarray of uint64, (planes,)
        The given vectors of each plane as words of variables, see `window_words`.
    """

    care: np.ndarray
    target: np.ndarray
    rows: np.ndarray
    n_in: int
    n_out: int
    first: int
    vectors: int
    known: int
    words: np.ndarray


class System(NamedTuple):
    """The fully reduced equations whose pivot is in the window.

    Attributes
    ----------
    equations : ndarray of uint64, (67, WORDS)
        Row p is the equation with pivot p, if there is one; row NONE is 0, and in the rows from
        SUMS on care bits are reduced. Word VARIABLES holds the variables. The others say what the
        right-hand side is made of, for whoever needs to know (`f2f.encoder.beam`): word STATE the
        state bits in it, and from word RECENT on the right-hand sides of up to PLANE_BITS planes,
        then the recent care bits in it.
    columns : ndarray of uint64, (64,)
        For each variable that is not a pivot the equations that hold it, bit p for pivot p.
    pivots : ndarray of uint64, (1,)
        Bit p is set if there is an equation with pivot p.
    """

    equations: np.ndarray
    columns: np.ndarray
    pivots: np.ndarray


class Log(NamedTuple):
    """What elimination has done to the rows of a segment, whatever their right-hand sides.

    Attributes
    ----------
    combos : ndarray of uint64, (k,)
        The equations that care bit i was added to, bit p for pivot p.
    changes : ndarray of uint64, (k,)
        The equations whose right-hand sides change with that of care bit i; 0 for a check.
    retired : ndarray of uint64, (vectors, n_in)
        The variables of the equation whose pivot is bit b of vector t; 0 where it is free.
    """

    combos: np.ndarray
    changes: np.ndarray
    retired: np.ndarray


_VECTOR = ir.VectorType(I64, WORDS)


def _place(builder: Any, data: Any, number: Any) -> Any:
    """Where an equation lies, as a vector."""
    first = builder.gep(data, [builder.mul(number, I64(WORDS))])
    return builder.bitcast(first, _VECTOR.as_pointer())


def _over_equations(builder: Any, data: Any, mask: Any, value: Any, spread: bool) -> Any:
    """LLVM of a loop over the equations in `mask`, AT_ONCE a turn; a value stays in registers.

    If `spread`, the value is added to each of them; else each of them to the value, and the sum
    returned. Where fewer are left, NONE is taken for the others.
    """
    before = builder.block
    loop = builder.append_basic_block("equations")
    after = builder.append_basic_block("done")
    builder.cbranch(builder.icmp_unsigned("!=", mask, I64(0)), loop, after)

    builder.position_at_end(loop)
    left, total = builder.phi(I64), builder.phi(_VECTOR)
    left.add_incoming(mask, before)
    total.add_incoming(value, before)
    rest, new = left, total
    for _ in range(AT_ONCE):
        at = _place(builder, data, builder.cttz(rest, I1(0)))  # 64, NONE, if there are no more
        rest = builder.and_(rest, builder.sub(rest, I64(1)))
        found = builder.xor(new, builder.load(at, align=8))
        if spread:
            builder.store(found, at, align=8)
        else:
            new = found
    total.add_incoming(new, loop)
    left.add_incoming(rest, loop)
    builder.cbranch(builder.icmp_unsigned("!=", rest, I64(0)), loop, after)

    builder.position_at_end(after)
    if spread:
        builder.store(_VECTOR([0] * WORDS), _place(builder, data, I64(NONE)), align=8)
        return value
    result = builder.phi(_VECTOR)
    result.add_incoming(value, before)
    result.add_incoming(new, loop)
    return result


@intrinsic
def gather(typingctx, equations, mask, row, target, into):
    """Make equation `into` a row with its right-hand sides and the sum of those in `mask`."""

    def codegen(context, builder, signature, arguments):
        equations, mask, row, target, into = arguments
        data = context.make_array(signature.args[0])(context, builder, equations).data
        start = builder.insert_element(_VECTOR([0] * WORDS), row, I32(VARIABLES))
        start = builder.insert_element(start, target, I32(RECENT))
        total = _over_equations(builder, data, mask, start, False)
        builder.store(total, _place(builder, data, into), align=8)
        return context.get_dummy_value()

    word = types.uint64
    return types.void(equations, word, word, word, types.int64), codegen


@intrinsic
def catch_up(typingctx, equations, into, before, odd):
    """Add equation `before` to `into` if `odd` is 1, not 0; returns the variables of `into`."""

    def codegen(context, builder, signature, arguments):
        equations, into, before, odd = arguments
        data = context.make_array(signature.args[0])(context, builder, equations).data
        mask = same_elements(builder, builder.sub(I64(0), odd), WORDS)
        place = _place(builder, data, into)
        added = builder.and_(builder.load(_place(builder, data, before), align=8), mask)
        total = builder.xor(builder.load(place, align=8), added)
        builder.store(total, place, align=8)
        return builder.extract_element(total, I32(VARIABLES))

    word = types.uint64
    return word(equations, types.int64, types.int64, word), codegen


@intrinsic
def spread(typingctx, equations, mask, pivot, number, source):
    """Make equation `source`, of recent care bit `number`, that of a pivot; add it to `mask`."""

    def codegen(context, builder, signature, arguments):
        equations, mask, pivot, number, source = arguments
        data = context.make_array(signature.args[0])(context, builder, equations).data
        bit = builder.add(number, I64(64 * RECENT + PLANE_BITS))
        word = same_elements(builder, builder.lshr(bit, I64(6)), WORDS)
        one = same_elements(builder, builder.shl(I64(1), builder.and_(bit, I64(63))), WORDS)
        here = builder.icmp_unsigned("==", word, _VECTOR(list(range(WORDS))))
        unit = builder.select(here, one, _VECTOR([0] * WORDS))
        place = _place(builder, data, source)
        value = builder.xor(builder.load(place, align=8), unit)
        builder.store(value, place, align=8)
        _over_equations(builder, data, mask, value, True)
        builder.store(value, _place(builder, data, pivot), align=8)
        return context.get_dummy_value()

    whole = types.int64
    return types.void(equations, types.uint64, whole, whole, whole), codegen


def start_system(segment: Segment) -> System:
    """The system in which every variable of the given input vectors is a pivot by itself."""
    # Each equation is to lie in one cache line, and what vectors go through to start one.
    space = aligned_zeros(8 * (SUMS + 2) * WORDS).view(np.uint64)
    equations = space.reshape(SUMS + 2, WORDS)
    system = System(equations, aligned_zeros(512).view(np.uint64), np.zeros(1, dtype=np.uint64))
    if segment.known:  # saves short calls the time
        known = (segment.first * segment.n_in + np.arange(segment.known * segment.n_in)) & 63
        shifts = known.astype(np.uint64)
        equations[known, VARIABLES] = np.uint64(1) << shifts
        for q, word in enumerate(segment.words):
            equations[known, RECENT] |= (word >> shifts & np.uint64(1)) << np.uint64(q)
        system.pivots[0] = np.bitwise_or.reduce(equations[:64, VARIABLES])
    return system


def new_log(segment: Segment) -> Log:
    """A log to be filled."""
    k = len(segment.care)
    return Log(
        np.empty(k, dtype=np.uint64),
        np.empty(k, dtype=np.uint64),
        np.empty((segment.vectors, segment.n_in), dtype=np.uint64),
    )


@njit(inline="always")
def insert(system, place, left, number, source):
    """Put equation `source`, free of pivots, into the system, as recent care bit `number`.

    left: its variables, not 0; place: bit of the oldest variable of the window. Returns the
    equations whose right-hand sides change with that of the equation.
    """
    one = np.uint64(1)
    columns = system.columns
    oldest = np.int64(trailing_zeros(rotate_left(left, (64 - place) & 63)))
    pivot = (oldest + place) & 63
    bit = one << np.uint64(pivot)
    change = columns[pivot] | bit
    spread(system.equations, columns[pivot], pivot, number, source)
    xor_at_64(columns, left, change, bit)
    system.pivots[0] |= bit
    return change


@njit(inline="always")
def retire(system, place, retired):
    """Take out the equations whose pivot leaves the window with the vector at bit `place`.

    Their variables go into `retired`, uint64 (n_in,), 0 where a variable is free.
    """
    one = np.uint64(1)
    n_in = len(retired)
    pivots = system.pivots[0]
    for b in range(n_in):
        at = (place + b) & 63
        if (pivots >> np.uint64(at)) & one:
            retired[b] = system.equations[at, VARIABLES]
        else:
            retired[b] = np.uint64(0)
    stay = ~rotate_left((one << np.uint64(n_in)) - one, place)
    columns = system.columns
    for at in range(64):
        columns[at] &= stay
    system.pivots[0] = pivots & stay


def window_words(inputs: np.ndarray, n_in: int, first: int) -> np.ndarray:
    """Input vectors, uint8 (at most 64 // n_in, planes), as words of variables, uint64 (planes,).

    Bit v mod 64 of word q is variable v of plane q; `first` is the number of inputs[0].
    """
    if not len(inputs):
        return np.zeros(inputs.shape[1], dtype=np.uint64)
    left = (((first + np.arange(len(inputs))) * n_in) & 63).astype(np.uint64)[:, None]
    right = (np.uint64(64) - left) & np.uint64(63)
    vectors = inputs.astype(np.uint64)
    return np.bitwise_or.reduce(vectors << left | vectors >> right, axis=0)


def solve(segment: Segment, log: Log, inputs: np.ndarray) -> None:
    """Input vectors, uint8 (vectors, planes), that meet all targets of a segment but of checks.

    Variables without an equation become 0.
    """
    _solve(segment, log, segment.words.copy(), inputs)


@njit
def _solve(segment, log, words, inputs):
    """As `solve`; words: those of the segment, which change."""
    segment, log = borrowed(segment), borrowed(log)
    words, inputs = borrowed(words), borrowed(inputs)
    _replay(segment, log, words, inputs)
    _substitute(log.retired, segment.first, words, inputs)


@njit(inline="always")
def _replay(segment, log, words, inputs):
    """Follow the right-hand sides of the care bits through their log, up to retirement.

    That of variable v goes to where v will be in inputs.
    """
    planes = inputs.shape[1]
    n_in, n_out, first = segment.n_in, segment.n_out, segment.first
    care, target, combos, changes = segment.care, segment.target, log.combos, log.changes
    one = np.uint64(1)
    field = (one << np.uint64(n_in)) - one
    i = 0
    k = len(care)
    for t in range(len(inputs)):
        end = (first + t + 1) * n_out
        while i < k and care[i] < end:
            combo = combos[i]
            change = changes[i]
            wanted = np.uint64(target[i])
            if change != 0:
                for q in range(planes):
                    value = (popcount(words[q] & combo) ^ (wanted >> np.uint64(q))) & one
                    words[q] ^= (np.uint64(0) - value) & change
            i += 1
        place = ((first + t) * n_in) & 63
        stay = ~rotate_left(field, place)
        for q in range(planes):
            inputs[t, q] = np.uint8(rotate_left(words[q], (64 - place) & 63) & field)
            words[q] &= stay


@njit(inline="always")
def _substitute(retired, first, words, inputs):
    """Solve the retired equations, newest first: right-hand sides in `inputs` become the solution.

    Variables without an equation become 0; vector 0 has number `first`.
    """
    vectors, planes = inputs.shape
    n_in = retired.shape[1]
    one = np.uint64(1)
    field = (one << np.uint64(n_in)) - one
    for q in range(planes):
        words[q] = np.uint64(0)
    for t in range(vectors - 1, -1, -1):
        place = ((first + t) * n_in) & 63
        for b in range(n_in - 1, -1, -1):
            at = np.uint64((place + b) & 63)
            bit = one << at
            row = retired[t, b]
            others = row & ~bit
            bound = np.uint64(row != 0)
            for q in range(planes):
                value = (popcount(words[q] & others) ^ np.uint64(inputs[t, q] >> b)) & bound
                words[q] = (words[q] & ~bit) | (value << at)
        for q in range(planes):
            inputs[t, q] = np.uint8(rotate_left(words[q], (64 - place) & 63) & field)
