"""Banded elimination over GF(2): the linear algebra under the beam encoder.

Every care bit is one equation ``parity(row & window) = target`` in the input bits. The unknowns are
numbered in time: bit b of input vector t is variable v = t*n_in + b, and block t sees the variables
t*n_in … t*n_in + window - 1. A machine word holds variable v at bit v mod 64, whatever the block,
so nothing shifts as blocks pass; a decoder row is only rotated left by t*n_in.

The system is kept *fully reduced*, with the oldest variable of each equation as its pivot, so an
equation stays in the system exactly as long as its pivot is in the window. Because no equation
holds the pivot of another, the set of equations that a new row must be added to is known at once,
``combo = row & pivots``, and what remains of the row has non-pivot variables only. Three cases:

* something remains: its oldest variable becomes a pivot and is cleared from the equations that hold
  it, ``column``; the right-hand sides w (bit p belongs to pivot p) change by
  ``w ^= b·(column | 1 << pivot)`` where ``b = parity(w & combo) ^ target``;
* nothing remains: the row is a *check*, satisfied or not whatever the unknowns will be.

The pairs (combo, column | pivot) of all rows, the log, say all there is to know about right-hand
sides; rows need not be reduced again to follow another set of targets (`replay`). Equations whose
pivot leaves the window are final; `substitute` solves them from the newest variable to the oldest.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from f2f.correction import popcount, trailing_zeros


@njit(cache=True, nogil=True, inline="always")
def rotate_left(word, count):
    """The 64-bit word rotated left by 0 <= count < 64."""
    return (word << np.uint64(count)) | (word >> np.uint64((64 - count) & 63))


@njit(cache=True, nogil=True)
def replay(log, care, target, first, last, n_in, n_out, inputs):
    """Follow the right-hand sides of care rows through their log, up to retirement.

    log: uint64 (k, 2). care: int64 (k,), positions. target: uint8 (k,), bit q for plane q.
    Blocks first…last-1 have rows; vectors first…last+n_s-1 of inputs, uint8 (vectors, planes),
    receive the right-hand sides of their pivots.
    """
    planes = inputs.shape[1]
    one = np.uint64(1)
    field = (one << np.uint64(n_in)) - one
    words = np.zeros(planes, dtype=np.uint64)
    i = 0
    k = len(care)
    for t in range(first, len(inputs)):
        end = (t + 1) * n_out
        while i < k and care[i] < end:
            combo = log[i, 0]
            change = log[i, 1]
            wanted = np.uint64(target[i])
            if change != 0:
                for q in range(planes):
                    wrong = (popcount(words[q] & combo) ^ (wanted >> np.uint64(q))) & one
                    words[q] ^= (np.uint64(0) - wrong) & change
            i += 1
        place = (t * n_in) & 63
        keep = ~rotate_left(field, place)
        for q in range(planes):
            inputs[t, q] = np.uint8(rotate_left(words[q], (64 - place) & 63) & field)
            words[q] &= keep


@njit(cache=True, nogil=True)
def substitute(retired, n_in, inputs):
    """Solve the retired equations, newest first; variables without an equation become 0.

    retired: uint64 (vectors*n_in,), the equation whose pivot is variable v, 0 if v is free.
    inputs: uint8 (vectors, planes), right-hand sides in, solution out.
    """
    vectors, planes = inputs.shape
    one = np.uint64(1)
    words = np.zeros(planes, dtype=np.uint64)
    for t in range(vectors - 1, -1, -1):
        place = (t * n_in) & 63
        for b in range(n_in - 1, -1, -1):
            at = np.uint64((place + b) & 63)
            bit = one << at
            row = retired[t * n_in + b]
            others = row & ~bit
            known = np.uint64(row != 0)
            for q in range(planes):
                value = (popcount(words[q] & others) ^ np.uint64(inputs[t, q] >> b)) & known
                words[q] = (words[q] & ~bit) | (value << at)
        field = (one << np.uint64(n_in)) - one
        for q in range(planes):
            inputs[t, q] = np.uint8(rotate_left(words[q], (64 - place) & 63) & field)
