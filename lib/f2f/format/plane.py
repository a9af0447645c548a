"""One bit plane, encoded and decoded: the smallest complete use of the package.

A plane is a sequence of n bits with a care mask. The encoder chooses input vectors whose decoded
bits agree with the plane at as many care positions as it can; the positions where they do not are
the errors, which a correction stream stores so that the whole is lossless.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from f2f.base import validate
from f2f.decoder.decoder import Decoder
from f2f.encoder.beam import encode_beam
from f2f.encoder.exact import encode_reference, encode_viterbi
from f2f.format.corrections import EliasFano

METHODS = ("beam", "viterbi", "reference")


@dataclass(frozen=True, eq=False)
class EncodedPlane:
    """An encoded bit plane.

    inputs: uint8 (l + n_s,), the vectors fed to the decoder, oldest first; the first n_s are the
    start state. errors: int64 sorted positions of care bits that decode wrong. n_care: care bits.
    nbits: bits stored, n_in a vector and the Elias-Fano code of the errors.
    """

    inputs: np.ndarray
    errors: np.ndarray
    n_care: int
    nbits: int

    @property
    def efficiency(self) -> float:
        """Encoding efficiency E: care bits that decode right, in % (100 if there are none)."""
        return 100.0 * (1 - len(self.errors) / self.n_care) if self.n_care else 100.0


def encode_plane(
    bits: np.ndarray,
    care: np.ndarray,
    decoder: Decoder,
    method: str = "beam",
    beam: int = 64,
) -> EncodedPlane:
    """Encode a plane for a decoder.

    bits, care: bool or 0/1 (n,); bits matter only where care is 1. method: "beam" (any window;
    `beam` hypotheses are kept, see `f2f.encoder.beam`), "viterbi" (the exact optimum, n_in*n_s <= 16) or
    "reference" (Algorithm 3 of the paper as written, tiny sizes only). The errors are found by
    decoding. Raises `ValueError` for unequal lengths, other values, or an unknown method.

    >>> rng = np.random.default_rng(0)
    >>> bits, care = rng.integers(0, 2, 800), rng.random(800) < 0.1
    >>> decoder = Decoder(n_in=8, n_out=80, n_s=2, seed=0)
    >>> plane = encode_plane(bits, care, decoder)
    >>> bool((decode_plane(plane, decoder, 800)[care] == bits[care]).all())
    True
    """
    validate.choice("method", method, METHODS)
    bits = validate.bits("bits", bits)
    care = validate.bits("care", care, len(bits))
    n = len(bits)
    positions = np.flatnonzero(care)
    if method == "beam":
        beam = validate.integer("beam", beam, 1)
        inputs = encode_beam(positions, bits[positions], n, decoder, 1, beam)[:, 0]
    else:
        encode = encode_viterbi if method == "viterbi" else encode_reference
        inputs = encode(bits, care, decoder)
    decoded = decoder.decode(inputs, n)
    errors = positions[decoded[positions] != bits[positions]]
    nbits = decoder.n_in * len(inputs) + EliasFano.encode(errors, n).nbits
    return EncodedPlane(inputs, errors, len(positions), nbits)


def decode_plane(
    encoded: EncodedPlane, decoder: Decoder, n: int, corrected: bool = True
) -> np.ndarray:
    """Decode a plane of n bits: uint8 (n,), exact at care positions, arbitrary elsewhere.

    corrected=False leaves the errors in, as the decoder alone would put them out.
    """
    bits = decoder.decode(encoded.inputs, n)
    if corrected:
        bits[encoded.errors] ^= 1
    return bits
