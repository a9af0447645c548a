"""Banded elimination over GF(2): the linear algebra under the beam encoder.

Every care bit is one equation ``parity(row & window) = target`` in the input bits. The unknowns are
numbered in time: bit b of input vector t is variable v = t*n_in + b, and block t sees the variables
t*n_in … t*n_in + window - 1. A machine word holds variable v at bit v mod 64, whatever the block,
so nothing shifts as blocks pass; a decoder row is only rotated left by t*n_in.

The system is kept *fully reduced*, with the oldest variable of each equation as its pivot, so an
equation stays in the system exactly as long as its pivot is in the window. Because no equation
holds the pivot of another, the set of equations that a new row must be added to is known at once,
``combo = row & pivots``, and what remains of the row has non-pivot variables only. Two cases:

* something remains: its oldest variable becomes a pivot and is cleared from the equations that hold
  it, ``column``; the right-hand sides w (bit p belongs to pivot p) change by
  ``w ^= b·(column | 1 << pivot)`` where ``b = parity(w & combo) ^ target``;
* nothing remains: the row is a *check*, satisfied or not whatever the unknowns will be.

The pairs (combo, column | pivot) of all rows, the *log* (the second is 0 for a check), say all
there is to know about right-hand sides: `replay` follows other targets without reducing again.
Equations whose pivot leaves the window are final; `substitute` solves them from the newest
variable to the oldest.

An equation of the system is WORDS words: its variables; then, for whoever needs to know what its
right-hand side is made of (`f2f.encoder.beam`), the state bits in it; then the recent rows in it, whose
lowest byte is the right-hand sides of up to eight planes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from f2f.base.intrinsics import popcount, trailing_zeros

WORDS = 8  # of an equation
VARIABLES, STATE, RECENT = 0, 1, 2  # word numbers; RECENT words go on to the end
PLANE_BITS = 8  # lowest bits of word RECENT
MAX_RECENT = 64 * (WORDS - RECENT) - PLANE_BITS
ACCUMULATOR = 64  # number of the scratch equation behind those of the 64 pivots

_I64 = ir.IntType(64)
_LANES = 4
_VECTOR = ir.VectorType(_I64, _LANES)


def _over_equations(
    spread: bool, context: Any, builder: Any, signature: Any, arguments: Any
) -> Any:
    """Loop over the equations in `mask`, with the accumulator in registers.

    spread: add the accumulator to each of them; else add each of them to the accumulator.
    """
    system, mask = arguments
    data = context.make_array(signature.args[0])(context, builder, system).data

    def vectors(number: Any) -> list[Any]:
        first = builder.mul(number, ir.Constant(_I64, WORDS))
        places = (builder.add(first, ir.Constant(_I64, i)) for i in range(0, WORDS, _LANES))
        return [builder.bitcast(builder.gep(data, [p]), _VECTOR.as_pointer()) for p in places]

    home = vectors(ir.Constant(_I64, ACCUMULATOR))
    start = [builder.load(place, align=8) for place in home]
    before = builder.block
    loop = builder.append_basic_block("equations")
    after = builder.append_basic_block("done")
    zero, one = ir.Constant(_I64, 0), ir.Constant(_I64, 1)
    builder.cbranch(builder.icmp_unsigned("!=", mask, zero), loop, after)

    builder.position_at_end(loop)
    left = builder.phi(_I64)
    left.add_incoming(mask, before)
    sums = [builder.phi(_VECTOR) for _ in home]
    places = vectors(builder.cttz(left, ir.Constant(ir.IntType(1), 1)))
    new = []
    for total, place, initial in zip(sums, places, start, strict=True):
        total.add_incoming(initial, before)
        value = builder.xor(total, builder.load(place, align=8))
        if spread:
            builder.store(value, place, align=8)
        new.append(total if spread else value)
    for total, value in zip(sums, new, strict=True):
        total.add_incoming(value, loop)
    rest = builder.and_(left, builder.sub(left, one))
    left.add_incoming(rest, loop)
    builder.cbranch(builder.icmp_unsigned("!=", rest, zero), loop, after)

    builder.position_at_end(after)
    if not spread:
        results = [builder.phi(_VECTOR) for _ in home]
        for result, initial, value in zip(results, start, new, strict=True):
            result.add_incoming(initial, before)
            result.add_incoming(value, loop)
        for result, place in zip(results, home, strict=True):
            builder.store(result, place, align=8)
    return context.get_dummy_value()


@intrinsic
def gather(typingctx, system, mask):
    """Add the equations in `mask` to the accumulator; system is uint64 (65, WORDS)."""

    def codegen(context, builder, signature, arguments):
        return _over_equations(False, context, builder, signature, arguments)

    return types.void(system, types.uint64), codegen


@intrinsic
def spread(typingctx, system, mask):
    """Add the accumulator to the equations in `mask`."""

    def codegen(context, builder, signature, arguments):
        return _over_equations(True, context, builder, signature, arguments)

    return types.void(system, types.uint64), codegen


@njit(cache=True, nogil=True, inline="always")
def rotate_left(word, count):
    """The 64-bit word rotated left by 0 <= count < 64."""
    return (word << np.uint64(count)) | (word >> np.uint64((64 - count) & 63))


@njit(cache=True, nogil=True, inline="always")
def insert(system, columns, pivots, place):
    """Put the accumulator, not 0 and free of pivots, into the system.

    columns: uint64 (64,), for each non-pivot variable the equations that hold it. place: bit of the
    oldest variable of the window. Returns the pivots and the change of right-hand sides.
    """
    one = np.uint64(1)
    row = system[ACCUMULATOR, VARIABLES]
    oldest = np.int64(trailing_zeros(rotate_left(row, (64 - place) & 63)))
    pivot = (oldest + place) & 63
    bit = one << np.uint64(pivot)
    column = columns[pivot]
    spread(system, column)
    for word in range(WORDS):
        system[pivot, word] = system[ACCUMULATOR, word]
    change = column | bit
    columns[pivot] = np.uint64(0)
    rest = row & ~bit
    while rest != 0:
        columns[trailing_zeros(rest)] ^= change
        rest &= rest - one
    return pivots | bit, change


@njit(cache=True, nogil=True, inline="always")
def retire(system, columns, pivots, place, n_in, retired):
    """Take out the equations whose pivot leaves the window; returns the other pivots.

    retired: uint64 (n_in,), receives the variables of each, 0 where a variable is free.
    """
    one = np.uint64(1)
    for b in range(n_in):
        at = (place + b) & 63
        if (pivots >> np.uint64(at)) & one:
            retired[b] = system[at, VARIABLES]
        else:
            retired[b] = np.uint64(0)
    stay = ~rotate_left((one << np.uint64(n_in)) - one, place)
    for at in range(64):
        columns[at] &= stay
    return pivots & stay


@njit(cache=True, nogil=True)
def window_words(inputs, n_in, first, count, words):
    """Words of variables, words[q] for plane q, of inputs[:count]; inputs[0] has number first."""
    for q in range(inputs.shape[1]):
        words[q] = np.uint64(0)
        for t in range(count):
            words[q] |= rotate_left(np.uint64(inputs[t, q]), ((first + t) * n_in) & 63)


@njit(cache=True, nogil=True)
def replay(log, care, target, n_in, n_out, first, words, inputs):
    """Follow the right-hand sides of care rows through their log, up to retirement.

    log: uint64 (k, 2). care: int64 (k,), positions. target: uint8 (k,), bit q for plane q.
    first: number of the first vector. words: uint64 (planes,), right-hand sides at the start.
    inputs: uint8 (vectors, planes), receives the right-hand side of variable v where v will be.
    """
    planes = inputs.shape[1]
    one = np.uint64(1)
    field = (one << np.uint64(n_in)) - one
    i = 0
    k = len(care)
    for t in range(len(inputs)):
        end = (first + t + 1) * n_out
        while i < k and care[i] < end:
            combo = log[i, 0]
            change = log[i, 1]
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


@njit(cache=True, nogil=True)
def substitute(retired, n_in, first, inputs):
    """Solve the retired equations, newest first; variables without an equation become 0.

    retired: uint64 (vectors, n_in), the equation whose pivot is bit b of vector t, 0 if it is free.
    inputs: uint8 (vectors, planes), right-hand sides in, solution out; vector 0 has number first.
    """
    vectors, planes = inputs.shape
    one = np.uint64(1)
    words = np.zeros(planes, dtype=np.uint64)
    field = (one << np.uint64(n_in)) - one
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


@njit(cache=True, nogil=True)
def transpose(square):
    """Transpose a 64×64 bit matrix, uint64 (64,), bit j of word i, in place."""
    mask = np.uint64(0x00000000FFFFFFFF)
    step = 32
    while step:
        shift = np.uint64(step)
        i = 0
        while i < 64:
            swap = ((square[i] >> shift) ^ square[i + step]) & mask
            square[i] ^= swap << shift
            square[i + step] ^= swap
            i = (i + step + 1) & ~step
        step >>= 1
        mask ^= mask << np.uint64(step)


@njit(cache=True, nogil=True)
def tabulate(columns, table):
    """Tables of the linear map whose columns are uint64 (64,), a byte of its argument at a time."""
    for group in range(8):
        base = 256 * group
        table[base] = np.uint64(0)
        for b in range(8):
            half = 1 << b
            column = columns[8 * group + b]
            for y in range(half):
                table[base + half + y] = table[base + y] ^ column


@njit(cache=True, nogil=True, inline="always")
def image(table, word):
    """The linear map in uint64 (2048,) tables, applied to a word."""
    byte = np.uint64(255)
    result = table[word & byte]
    for group in range(1, 8):
        at = np.uint64(256 * group) + ((word >> np.uint64(8 * group)) & byte)
        result ^= table[at]
    return result
