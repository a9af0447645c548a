"""One bit plane, encoded and decoded: the smallest complete use of the package.

A plane is a sequence of n bits with a care mask. The encoder chooses input vectors whose decoded
bits agree with the plane at as many care positions as it can; the positions where they do not are
the errors, which a correction stream stores so that the whole is lossless.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from f2f.base import validate
from f2f.decoder import Decoder
from f2f.encoder.beam import encode_beam
from f2f.encoder.exact import encode_reference, encode_viterbi
from f2f.format.corrections import EliasFano

PLANE_ENCODERS = ("beam", "viterbi", "reference")


@dataclass(frozen=True, eq=False)
class EncodedPlane:
    """An encoded bit plane.

    Attributes
    ----------
    inputs : numpy.ndarray
        uint8 (l + n_s,), the vectors fed to the decoder, oldest first; the first n_s are the start
        state.
    errors : numpy.ndarray
        int64, sorted positions of care bits that decode wrong.
    n_care : int
        Care bits.
    nbits : int
        Bits stored: n_in a vector, and the Elias-Fano code of the errors.

    Examples
    --------
    >>> plane = encode_plane([1, 0, 1, 1], [1, 1, 0, 0], Decoder(n_in=1, n_out=4, n_s=1))
    >>> len(plane.inputs), plane.n_care, plane.efficiency
    (2, 2, 100.0)
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
    care_mask: np.ndarray,
    decoder: Decoder,
    method: str = "beam",
    beam: int = 64,
) -> EncodedPlane:
    """Encode a plane for a decoder; the errors are found by decoding.

    Parameters
    ----------
    bits, care_mask : array of bool or 0/1
        (n,); bits matter only where care_mask is 1.
    decoder : Decoder
    method : {"beam", "viterbi", "reference"}
        "beam" for any window (`f2f.encoder.beam`), "viterbi" for the exact optimum
        (n_in*n_s <= 16), "reference" for Algorithm 3 of the paper as written (tiny sizes only).
    beam : int
        Hypotheses that the beam encoder keeps, 1 or more; of "beam" alone.

    Returns
    -------
    EncodedPlane

    Raises
    ------
    ValueError
        Unequal lengths, other values, or an unknown method.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> bits, care_mask = rng.integers(0, 2, 800), rng.random(800) < 0.1
    >>> decoder = Decoder(n_in=8, n_out=80, n_s=2, seed=0)
    >>> plane = encode_plane(bits, care_mask, decoder)
    >>> bool((decode_plane(plane, decoder, 800)[care_mask] == bits[care_mask]).all())
    True
    """
    validate.choice("method", method, PLANE_ENCODERS)
    bits = validate.bits("bits", bits)
    care_mask = validate.bits("care_mask", care_mask, len(bits))
    n = len(bits)
    validate.instance("decoder", decoder, Decoder)
    care = np.flatnonzero(care_mask)
    if method == "beam":
        beam = validate.integer("beam", beam, 1)
        inputs = encode_beam(care, bits[care], n, decoder, 1, beam)[:, 0]
    else:
        encode = encode_viterbi if method == "viterbi" else encode_reference
        inputs = encode(bits, care_mask, decoder)
    decoded = decoder.decode(inputs, n)
    errors = care[decoded[care] != bits[care]]
    nbits = decoder.n_in * len(inputs) + EliasFano.encode(errors, n).nbits
    return EncodedPlane(inputs, errors, len(care), nbits)


def decode_plane(
    encoded: EncodedPlane, decoder: Decoder, n: int, corrected: bool = True
) -> np.ndarray:
    """Decode a plane of n bits.

    Parameters
    ----------
    encoded : EncodedPlane
    decoder : Decoder
        The one it was encoded for.
    n : int
        Bits of the plane.
    corrected : bool
        False leaves the errors in, as the decoder alone would put them out.

    Returns
    -------
    numpy.ndarray
        uint8 (n,), exact at care positions, arbitrary elsewhere.

    Raises
    ------
    ValueError
        An argument is none of these, or the plane is not one of n bits.

    Examples
    --------
    >>> bits, decoder = np.array([1, 0, 1, 1]), Decoder(n_in=2, n_out=4, n_s=1)
    >>> plane = encode_plane(bits, np.ones(4, dtype=bool), decoder)
    >>> decode_plane(plane, decoder, 4).tolist()
    [1, 0, 1, 1]
    """
    validate.instance("encoded", encoded, EncodedPlane, "an EncodedPlane")
    bits = validate.instance("decoder", decoder, Decoder).decode(encoded.inputs, n)
    if corrected:
        bits[validate.positions("encoded.errors", encoded.errors, n)] ^= 1
    return bits
