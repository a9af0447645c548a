"""Fixed-to-fixed encoding of irregularly sparse weights.

A block of weight bits with pruned places becomes a fixed, smaller number of bits, from which an
XOR-gate decoder regenerates it; see the README for the idea and `docs/architecture.md` for where
things live.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

# Names are imported when they are first used: the command line answers without loading numba.
_MODULES = {
    "f2f.base.errors": ("FormatError",),
    "f2f.decoder": ("Decoder",),
    "f2f.format.codec": ("compress", "decompress"),
    "f2f.format.container": ("load", "open_file", "save"),
    "f2f.format.plane": ("EncodedPlane", "decode_plane", "encode_plane"),
    "f2f.format.tensor": ("CompressedTensor",),
    "f2f.product": ("spmm", "spmv"),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            globals()[name] = getattr(import_module(module), name)
            return globals()[name]
    raise AttributeError(f"module 'f2f' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
