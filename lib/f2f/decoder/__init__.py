"""The decoder: its matrix, random or folded, and the XOR gates as a processor runs them."""

from f2f.decoder.matrix import MATRICES, MAX_N_OUT, MAX_WINDOW, Decoder, shared_decoder

__all__ = ["MATRICES", "MAX_N_OUT", "MAX_WINDOW", "Decoder", "shared_decoder"]
