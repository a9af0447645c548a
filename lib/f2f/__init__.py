"""Fixed-to-fixed encoding of irregularly sparse weights.

A block of weight bits with pruned places becomes a fixed, smaller number of bits, from which an
XOR-gate decoder regenerates it; see the README for the idea and `docs/architecture.md` for where
things live.
"""

from f2f.base.errors import FormatError
from f2f.decoder import Decoder
from f2f.format.codec import compress, decompress
from f2f.format.container import load, open_file, save
from f2f.format.plane import EncodedPlane, decode_plane, encode_plane
from f2f.format.tensor import CompressedTensor
from f2f.product import spmm, spmv

__version__ = "0.1.0"

__all__ = [
    "CompressedTensor",
    "Decoder",
    "EncodedPlane",
    "FormatError",
    "compress",
    "decode_plane",
    "decompress",
    "encode_plane",
    "load",
    "open_file",
    "save",
    "spmm",
    "spmv",
]
