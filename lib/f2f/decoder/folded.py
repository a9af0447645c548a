"""Folded decoder matrices: as good as random ones, for a third of the work.

Decoding a row of a random matrix reads all 16 nibbles (4 bits) of a 64-bit window. Here the window
is first *folded* to five nibbles, each the XOR of a few nibbles of the window; a row is a random
combination of those 20 bits. So it reads five tables instead of 16, and takes nine XOR gates
instead of 31, beside those of the fold, which all rows share.

A single fold would leave all rows in a space of 20 of the 64 dimensions. Two halves of 32 rows
read two different folds: where rows 0…15 read the low nibble of a vector, rows 16…31 read the high
one, and the other way round. That is also how a 256-bit byte shuffle works, whose two halves have
a table each. And the window moves by a vector a block, and its folds with it.

`FOLD` was found by search; notebook 03 measures E beside that of random matrices
(`f2f_study.experiments.matrices`). It needs both nibbles of the newest vector in tables of their
own: their 8 bits are all unknown when a block is encoded, and each equation has to be able to use
any of them.
"""

from __future__ import annotations

import numpy as np

N_S = 7  # the only number of shift registers: windows of 8 vectors of 8 bits
HALF = 16  # rows that read the same nibbles

# Folded nibble k is the XOR of nibbles (age of the vector, whether the halves are swapped).
FOLD = (
    ((0, 0), (7, 1)),
    ((0, 1),),
    ((1, 1), (3, 0), (4, 1), (6, 1)),
    ((2, 1), (3, 1), (5, 1), (6, 0)),
    ((4, 0), (7, 0)),
)

FOLD_GATES = 8 * sum(len(terms) - 1 for terms in FOLD)  # XOR gates of both halves' four bits each


def folded_nibbles(words: np.ndarray) -> np.ndarray:
    """The coefficients of a folded matrix.

    Parameters
    ----------
    words : ndarray of uint64, (n_out,)
        Random words, a row each.

    Returns
    -------
    ndarray of uint8, (n_out, 5)
        The row's coefficients of the bits of each folded nibble: nibble k is bits 4k…4k+3 of the
        word.
    """
    shifts = 4 * np.arange(len(FOLD), dtype=np.uint64)
    return (words[:, None] >> shifts & np.uint64(15)).astype(np.uint8)


def unfold(nibbles: np.ndarray) -> np.ndarray:
    """The matrix over the window that folded nibbles stand for.

    Parameters
    ----------
    nibbles : ndarray of uint8, (n_out, 5)
        Of `folded_nibbles`.

    Returns
    -------
    ndarray of uint64, (n_out,)
        As `Decoder.rows`.
    """
    rows = np.zeros(len(nibbles), dtype=np.uint64)
    half = np.arange(len(nibbles)) // HALF % 2
    for k, terms in enumerate(FOLD):
        for age, swapped in terms:
            place = 8 * (N_S - age) + 4 * (half ^ swapped)
            rows ^= nibbles[:, k].astype(np.uint64) << place.astype(np.uint64)
    return rows
