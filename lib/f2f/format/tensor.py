"""`CompressedTensor`: every stored array of a tensor in fixed-to-fixed code, and their accounting.

The dataclass is what lies between `f2f.format.codec` (which makes and reads it),
`f2f.format.container` (which puts it in a file) and `f2f.product` (which multiplies with it).
`header` and `arrays` take it apart into JSON-able values and arrays; `from_parts` puts it together
again and trusts nothing. However a tensor is made, its parts are checked against each other: who
uses one need not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np

from f2f.base.entropy import binary_entropy, floor_bits
from f2f.base.errors import FormatError
from f2f.base.parts import Claims, Data, Part, are_integers, check_bytes
from f2f.base.tensors import is_numeric, numpy_dtype
from f2f.decoder import MATRICES, MAX_N_OUT, Decoder, shared_decoder
from f2f.format.corrections import EliasFano, elias_fano_bits
from f2f.format.mask import MaskCode
from f2f.format.orders import MAX_WEIGHTS, ORDERS, Order, matrix_shape
from f2f.format.record import CHECKSUM, record_bytes, split

FLOAT8 = ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")
DTYPES = {"int8": 1, "uint8": 1, "int16": 2, "float16": 2, "bfloat16": 2, "float32": 4} | (
    dict.fromkeys(FLOAT8, 1)
)
# With a sign bit that 0 may have; in the FNUZ floats a sign bit alone is NaN.
SIGNED_ZEROS = ("float16", "bfloat16", "float32", "float8_e4m3fn", "float8_e5m2")
MAX_ELEMENTS = 1 << 59  # of any array, axes of length 0 counted as 1: NumPy counts its bytes
N_IN = 8
MAX_N_S = 7
MASK_N_S = 7  # the streams of a mask always have the widest window
GROUP_PLANES = 8  # planes decoded side by side, a bit each of a decoded byte


@dataclass(frozen=True, eq=False)
class CompressedTensor(Part):
    """A tensor in fixed-to-fixed code; every array in it is what a file stores.

    Its arrays are made read-only. `FormatError` for parts that are none of these or do not fit
    together.

    Attributes
    ----------
    shape, dtype, library
        Of the tensor that comes back; library is "numpy" or "torch".
    kind : str
        "encoded", or "dense" for a tensor stored as it is (then only `raw` is used).
    raw : numpy.ndarray
        uint8 (len(raw_planes), ceil(n/8)), the planes stored raw, packed in encoding order, least
        significant bit first; kind "dense": (bytes,).
    order, n_s, n_out, seed, matrix
        Encoding order and decoder; n_in is 8.
    k : int
        Unpruned weights, of n.
    mask : MaskCode or None
        Which weights are unpruned, in encoding order; None if the caller keeps the mask.
    encoded : tuple of int
        Numbers of the encoded planes.
    payload : tuple of numpy.ndarray
        Their inputs in groups of up to 8 planes, uint8 (l + n_s, planes of the group); byte [t, q]
        is input vector t of plane q of the group.
    raw_planes : tuple of int
        Numbers of the planes stored raw.
    basis, offset
        A word is ``offset ^ XOR of basis[p] over its stored bits p``.
    corrections : tuple of EliasFano
        Per plane the care ranks whose stored bit is to be flipped.
    seconds : float or None
        Time the encoding took; not stored.

    Examples
    --------
    >>> from f2f import compress
    >>> tensor = compress(np.diag(np.arange(1, 65, dtype=np.int8)))
    >>> tensor.kind, tensor.k, tensor.sparsity, tensor.nbytes < 64 * 64 / 4
    ('encoded', 64, 0.984375, True)
    """

    shape: tuple[int, ...]
    dtype: str
    library: str
    kind: str
    raw: np.ndarray
    order: str = "row"
    n_s: int = 0
    n_out: int = 1
    seed: int = 0
    matrix: str = "random"
    k: int = 0
    mask: MaskCode | None = None
    encoded: tuple[int, ...] = ()
    payload: tuple[np.ndarray, ...] = ()
    raw_planes: tuple[int, ...] = ()
    basis: tuple[int, ...] = ()
    offset: int = 0
    corrections: tuple[EliasFano, ...] = ()
    seconds: float | None = field(default=None, compare=False)

    n_in = N_IN

    def __post_init__(self) -> None:
        try:
            _check(self, _Claims(self.header()))
        except (AttributeError, OverflowError, TypeError, ValueError) as error:
            raise FormatError(f"a compressed tensor must have parts that fit: {error}") from error
        for array in (self.raw, *self.payload):
            array.setflags(write=False)

    @property
    def n(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)

    @property
    def n_w(self) -> int:
        """Bits per weight before compression."""
        if self.kind == "encoded":
            return 8 * DTYPES[self.dtype]
        return 8 * len(self.raw) // self.n if self.n else 0

    @property
    def sparsity(self) -> float:
        """Share of pruned weights (kind "encoded"; a dense tensor is not asked)."""
        return 1 - self.k / self.n if self.n else 0.0

    @cached_property
    def decoder(self) -> Decoder:
        """The decoder of the encoded planes."""
        return shared_decoder(self.n_in, self.n_out, self.n_s, self.seed, self.matrix)

    @cached_property
    def encoding_order(self) -> Order:
        """The encoding order of a matrix of this shape."""
        return Order(self.order, *matrix_shape(self.shape))

    @property
    def efficiency(self) -> float:
        """Encoding efficiency E over all encoded planes, in % (100 where there are none)."""
        errors = sum(self.corrections[p].count for p in self.encoded)
        bits = self.k * len(self.encoded)
        return 100.0 * (1 - errors / bits) if bits else 100.0

    def arrays(self) -> dict[str, np.ndarray]:
        """The one stored array, "data", uint8 (bytes,): all parts end to end; none if empty.

        In this order: basis and offset (words), payload group by group, raw planes, corrections
        plane by plane, mask.
        """
        parts = [self._basis_words().view(np.uint8), *self.payload, self.raw]
        parts += [code.data for code in self.corrections]
        if self.mask is not None:
            parts += self.mask.arrays().values()
        data = np.concatenate([part.reshape(-1) for part in parts])
        return {"data": data} if data.size else {}

    def _basis_words(self) -> np.ndarray:
        words = (*self.basis, self.offset) if self.basis else ()
        return np.array(words, dtype=f"<u{DTYPES.get(self.dtype, 1)}")

    def header(self) -> dict[str, Any]:
        """Everything but the arrays, as JSON-able values."""
        common = {"shape": list(self.shape), "dtype": self.dtype, "library": self.library}
        if self.kind == "dense":
            return common | {"kind": self.kind}
        return common | {
            "kind": self.kind,
            "order": self.order,
            "n_s": self.n_s,
            "n_out": self.n_out,
            "seed": self.seed,
            "matrix": self.matrix,
            "k": self.k,
            "encoded": _bit_set(self.encoded),
            "raw": _bit_set(self.raw_planes),
            "corrections": [code.count for code in self.corrections],
            "mask": self._mask_header(),
        }

    def _mask_header(self) -> dict[str, Any] | None:
        """The mask's header without what follows from the tensor."""
        if self.mask is None:
            return None
        implied = self._mask_implied(self.k, self.seed)
        return {key: v for key, v in self.mask.header().items() if key not in implied}

    @staticmethod
    def _mask_implied(k: int, seed: int) -> dict[str, int]:
        return {"k": k, "n_in": N_IN, "n_s": MASK_N_S, "seed": seed}

    @classmethod
    def from_parts(cls, header: dict[str, Any], arrays: dict[str, np.ndarray]) -> CompressedTensor:
        """The inverse of `header` and `arrays`.

        Sizes that the header claims are compared with the arrays before anything is allocated.

        Raises
        ------
        FormatError
            They do not fit together.
        """
        claims, data = _Claims(header), Data(arrays)
        own = claims.fields
        if claims.kind == "dense":
            own["raw"] = data.take("raw", claims.raw)
        else:
            size = DTYPES[own["dtype"]]
            words = data.take("basis", ((8 * size + 1) * size,)).view(f"<u{size}").tolist()
            own["basis"], own["offset"] = tuple(words[:-1]), words[-1]
            own["payload"] = tuple(data.take("payload", shape) for shape in claims.payload)
            own["raw"] = data.take("raw", claims.raw)
            k = own["k"]
            sizes = [-(-elias_fano_bits(count, k) // 8) for count in claims.counts]
            own["corrections"] = tuple(
                EliasFano(data.take("corrections", (size,)), count, k)
                for size, count in zip(sizes, claims.counts, strict=True)
            )
            if claims.mask is not None:
                implied = cls._mask_implied(k, own["seed"])
                rest = {"data": data.take("mask", (data.left,))}
                own["mask"] = MaskCode.from_parts(claims.mask | implied, rest, claims.n)
        data.end()
        return cls(**own)

    def stored_bits(self) -> dict[str, int]:
        """Stored bits by part: payload, raw, corrections, mask, header (basis and record)."""
        sizes = {
            "payload": sum(group.nbytes for group in self.payload),
            "raw": self.raw.nbytes,
            "corrections": sum(code.data.nbytes for code in self.corrections),
            "mask": self.mask.nbytes if self.mask is not None else 0,
            "header": self._basis_words().nbytes,
        }
        data = sum(sizes.values())
        sizes["header"] += len(record_bytes(split(self.header())[1], data, bytes(CHECKSUM)))
        return {part: 8 * size for part, size in sizes.items()}

    @property
    def nbytes(self) -> int:
        """Bytes a file stores of this tensor alone: its data and its record.

        The record is its numbers and checksum (`f2f.format.record`). A file holds besides what
        tensors have in common: names, forms of records, a header.
        """
        return sum(self.stored_bits().values()) // 8

    @property
    def floor(self) -> float:
        """The entropy bound in bits: of the mask, n*H(S), and of the care bits as coins.

        Those of encoded and raw planes are fair coins; a constant plane has one that shows an
        exception as often as there are any.
        """
        fair = floor_bits(self.n, self.k, len(self.encoded) + len(self.raw_planes))
        counts = [
            code.count
            for p, code in enumerate(self.corrections)
            if p not in self.encoded and p not in self.raw_planes
        ]
        return fair + sum(self.k * binary_entropy(count / max(self.k, 1)) for count in counts)

    def report(self) -> str:
        """A table of bits per weight by part, beside the entropy floor, and E of each plane."""
        n = max(self.n, 1)
        lines = [
            f"{self.dtype} {self.shape}, {self.kind}"
            + (f", S = {self.sparsity:.4f}, {self.order} order" if self.kind == "encoded" else "")
            + (f", n_s = {self.n_s}" if self.encoded else "")
            + (f", n_out = {self.n_out}" if self.encoded else ""),
            *(f"{part:>12}  {b / n:9.4f} bits/weight" for part, b in self.stored_bits().items()),
            f"{'total':>12}  {8 * self.nbytes / n:9.4f} bits/weight",
        ]
        if self.kind == "encoded":
            ratio = 8 * self.nbytes / self.floor if self.floor else math.nan
            lines.append(f"{'floor':>12}  {self.floor / n:9.4f} bits/weight (ratio {ratio:.4f})")
            lines.append(f"{'E':>12}  {self.efficiency:9.4f} %")
            planes = []
            for p, code in enumerate(self.corrections):
                if p in self.encoded:
                    planes.append(f"{p}: {100 * (1 - code.count / max(self.k, 1)):.3f}")
                elif p in self.raw_planes:
                    planes.append(f"{p}: raw")
                else:
                    planes.append(f"{p}: constant with {code.count} exceptions")
            lines.append(f"{'planes':>12}  " + ", ".join(planes))
        if self.seconds is not None:
            lines.append(f"{'encoded in':>12}  {self.seconds:9.3f} s")
        return "\n".join(lines)


class _Claims(Claims):
    """What a tensor's header says, every claim checked.

    Attributes
    ----------
    kind : str
    fields : dict
        Those of the tensor that are no arrays.
    n : int
        Weights.
    raw, payload
        Shape of the planes stored raw; shapes of the groups of the others.
    counts : list of int
        Corrections of each plane.
    mask : dict or None
        Header of the mask.
    """

    def __init__(self, header: Any) -> None:
        super().__init__(header)
        self.kind = self.choice("kind", ("encoded", "dense"))
        library = self.choice("library", ("numpy", "torch"))
        shape = tuple(self.integers("shape", 0, MAX_ELEMENTS))
        dtype = header.get("dtype")
        if not isinstance(dtype, str):
            raise FormatError(f"dtype must be a string, got {dtype!r}")
        self.n = math.prod(shape)
        if len(shape) > 64 or math.prod(size or 1 for size in shape) > MAX_ELEMENTS:
            raise FormatError(f"shape is beyond what an array can have: {list(shape)[:8]}")
        self.fields: dict[str, Any] = {"shape": shape, "dtype": dtype, "library": library}
        self.fields["kind"] = self.kind
        if self.kind == "dense":
            self.raw: tuple[int, ...] = (self.n * dense_itemsize(dtype, library),)
            return
        if self.n > MAX_WEIGHTS:
            raise FormatError(f"shape {shape} has more than {MAX_WEIGHTS} weights")
        if dtype not in DTYPES:
            raise FormatError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
        self.read_encoded(8 * DTYPES[dtype])

    def read_encoded(self, n_w: int) -> None:
        order = self.choice("order", ORDERS)
        n_s = self.integer("n_s", 0, MAX_N_S)
        n_out = self.integer("n_out", 1, MAX_N_OUT)
        seed = self.integer("seed", 0, 2**63 - 1)
        matrix = self.choice("matrix", MATRICES) if "matrix" in self.header else "random"
        if matrix == "folded" and n_s != MAX_N_S:
            raise FormatError(f"matrix must be random for n_s = {n_s}, got folded")
        k = self.integer("k", 0, self.n)
        encoded, raw_planes = self.planes("encoded", n_w), self.planes("raw", n_w)
        if set(encoded) & set(raw_planes):
            raise FormatError("a plane is both encoded and raw")
        self.counts = self.integers("corrections", 0, k)
        if len(self.counts) != n_w:
            raise FormatError(f"corrections must count {n_w} planes, got {len(self.counts)}")
        self.mask = self.header.get("mask", 0)
        if self.mask is not None and not isinstance(self.mask, dict):
            raise FormatError(f"mask must be null or an object, got {self.mask!r}")
        vectors = -(-self.n // n_out) + n_s if self.n else 0
        starts = range(0, len(encoded), GROUP_PLANES)
        self.payload = tuple((vectors, len(encoded[at : at + GROUP_PLANES])) for at in starts)
        self.raw = (len(raw_planes), -(-self.n // 8))
        self.fields |= {"order": order, "n_s": n_s, "n_out": n_out, "seed": seed, "matrix": matrix}
        self.fields |= {"k": k, "encoded": encoded, "raw_planes": raw_planes}

    def planes(self, name: str, n_w: int) -> tuple[int, ...]:
        members = self.integer(name, 0, 2**n_w - 1)
        return tuple(p for p in range(n_w) if members >> p & 1)


def _check(tensor: CompressedTensor, claims: _Claims) -> None:
    """`FormatError` unless the parts of a tensor are what its header claims."""
    for name, value in claims.fields.items():
        if getattr(tensor, name) != value:
            raise FormatError(f"{name} must be {value!r}, got {getattr(tensor, name)!r}")
    check_bytes("raw", tensor.raw, claims.raw)
    if claims.kind == "dense":
        for unused in fields(tensor)[5:-1]:
            if getattr(tensor, unused.name) != unused.default:
                raise FormatError(f"{unused.name} must be {unused.default!r} of kind 'dense'")
        return
    for part, shape in zip(tensor.payload, claims.payload, strict=True):
        check_bytes("payload", part, shape)
    n_w = 8 * DTYPES[tensor.dtype]
    words = [*tensor.basis, tensor.offset]
    if len(words) != n_w + 1 or not are_integers(words, 0, 2**n_w - 1):
        raise FormatError(f"basis and offset must be {n_w} words and one, of {n_w} bits")
    for code in tensor.corrections:
        if not isinstance(code, EliasFano) or code.universe != tensor.k:
            raise FormatError(f"corrections must be Elias-Fano codes of {tensor.k} ranks")
    mask = tensor.mask
    if mask is not None:
        implied = CompressedTensor._mask_implied(tensor.k, tensor.seed)
        if not isinstance(mask, MaskCode) or mask.n != tensor.n:
            raise FormatError(f"mask must be a MaskCode of {tensor.n} places")
        if wrong := {key: v for key, v in mask.header().items() if v != implied.get(key, v)}:
            raise FormatError(f"mask must be of {implied}, got {wrong}")


def _bit_set(planes: tuple[int, ...]) -> int:
    return sum(1 << p for p in planes)


def dense_itemsize(dtype: str, library: str) -> int:
    """Bytes an element of a dense tensor of this dtype name takes; `FormatError` if unknown."""
    try:
        found = numpy_dtype(dtype)
    except TypeError:
        found = None
    if found is not None and is_numeric(found):
        return found.itemsize
    if library == "torch":
        import torch

        # Without a counterpart in NumPy, as complex32: no longer written, but read.
        kind = getattr(torch, dtype, None)
        if isinstance(kind, torch.dtype):
            return kind.itemsize
    raise FormatError(f"dtype {dtype!r} is not one of {library}")
