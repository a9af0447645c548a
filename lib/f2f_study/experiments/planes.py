"""Eight planes of fair bits that share a mask: drawn, encoded, and what decodes wrong.

The data of notebooks 03 and 08, independent unless the mask is a real one; n_in = 8.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from f2f.decoder import Decoder
from f2f.encoder.beam import encode_beam
from f2f.format.corrections import elias_fano_bits
from f2f_study.experiments import accounting
from f2f_study.experiments.accounting import N_IN

PLANES = 8


def iid_planes(n: int, sparsity: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Eight planes of fair bits with an independent mask.

    Returns
    -------
    care : ndarray of int64, shape (k,)
        Positions of the unpruned weights among n, sorted.
    target : ndarray of uint8, shape (k,)
        Bit q of an element is the bit of plane q.
    """
    rng = np.random.default_rng((seed, 3))
    care = np.flatnonzero(rng.random(n) >= sparsity)
    return care, rng.integers(0, 256, len(care), dtype=np.uint8)


def wrong_planes(
    inputs: np.ndarray, care: np.ndarray, target: np.ndarray, n: int, decoder: Decoder
) -> np.ndarray:
    """The planes, as bits of uint8 (k,), that decode wrong at each care position.

    inputs: uint8 (l + n_s, planes), as of `encode_beam`; the rest as of `iid_planes`.
    """
    mask = np.uint8((1 << inputs.shape[1]) - 1)
    return (decoder.decode(inputs, n)[care] ^ target) & mask


def count_wrong(
    inputs: np.ndarray, care: np.ndarray, target: np.ndarray, n: int, decoder: Decoder
) -> int:
    """Wrong care bits of all planes; arguments as `wrong_planes`."""
    return int(np.bitwise_count(wrong_planes(inputs, care, target, n, decoder)).sum())


def coded(
    care: np.ndarray, target: np.ndarray, n: int, decoder: Decoder, beam: int
) -> dict[str, Any]:
    """Encode eight planes, as of `iid_planes`; what is right, and what is stored.

    Corrections are an Elias-Fano list a plane, by care rank as in `f2f.compress`.
    """
    inputs = encode_beam(care, target, n, decoder, PLANES, beam)
    planes = wrong_planes(inputs, care, target, n, decoder)
    errors = [int(np.count_nonzero(planes >> q & 1)) for q in range(PLANES)]
    payload = inputs.size * N_IN
    correction = sum(elias_fano_bits(count, len(care)) for count in errors)
    return {
        "care_bits": PLANES * len(care),
        "wrong_bits": sum(errors),
        "efficiency_percent": accounting.efficiency(PLANES * len(care), sum(errors)),
        "payload_bits": payload,
        "correction_bits": correction,
        "stored_bits": payload + correction,
    }
