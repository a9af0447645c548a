"""A whole tensor, compressed and back: `compress` and `decompress`.

The unpruned weights of a tensor, seen as bits in encoding order (`f2f.format.orders`), are mapped to
stored bits by an affine change of basis (`f2f.format.basis`). Each stored plane is then either

* encoded: input vectors of the XOR-gate decoder, n_in bits for every n_out weights;
* constant: all zero, where exceptions cost less than a payload; or
* raw: one bit a weight, where (nearly) nothing is pruned and encoding would gain nothing.

Wrong bits of every plane are listed as Elias-Fano codes of *care ranks* (the index of a weight
among the unpruned ones), the mask is stored beside them (`f2f.format.mask`), and so the whole is
lossless bit for bit at every unpruned place and exactly zero elsewhere. A tensor for which all
this would not pay is stored as it is.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from f2f.base import validate
from f2f.decoder.decoder import MAX_N_OUT, Decoder
from f2f.encoder.beam import encode_beam
from f2f.encoder.exact import encode_viterbi
from f2f.encoder.rate import choose_n_out
from f2f.encoder.shaping import MAX_BEAM
from f2f.format.basis import choose_basis, linear_map, span, stored_words
from f2f.format.corrections import EliasFano
from f2f.format.expand import expand
from f2f.format.mask import CODECS, encode_mask
from f2f.format.orders import Order, matrix_shape, positions_of
from f2f.format.tensor import DTYPES, GROUP, MASK_N_S, MAX_N_S, N_IN, CompressedTensor

if TYPE_CHECKING:
    import torch

    Tensor = np.ndarray | torch.Tensor

METHODS = ("beam", "viterbi")
MASK_CODECS = (*CODECS, "none")


def compress(
    array: Tensor,
    mask: Tensor | None = None,
    *,
    n_s: int = 7,
    n_out: int | None = None,
    seed: int = 0,
    matrix: str | None = None,
    method: str = "beam",
    beam: int = 64,
    order: str = "diagonal",
    mask_codec: str = "auto",
    threads: int = 1,
) -> CompressedTensor:
    """Compress a tensor without loss.

    array: NumPy array or torch tensor of any shape and strides. int8, uint8, int16, float16,
    bfloat16 and float32 are encoded; any other dtype is stored as it is. mask: bool, same shape,
    True = unpruned; None takes the weights whose bits are all zero (+0.0, not -0.0) as pruned.
    n_s: shift registers, 0…7. n_out: None chooses the one with the fewest stored bits
    (`f2f.encoder.rate`). seed: names the decoder matrices. matrix: their kind, see `Decoder`; None takes
    "folded" with n_s = 7 and "random" otherwise. method: "beam", or "viterbi" (exact, slow,
    n_s <= 2). beam: hypotheses kept. order: see `f2f.format.orders`. mask_codec: see `f2f.format.mask`;
    "none" stores no mask, for callers who keep it. threads: planes are spread over so many; the
    result is the same for any number. Raises `ValueError` for anything else.

    >>> rng = np.random.default_rng(0)
    >>> weight = rng.integers(-127, 128, (64, 256), dtype=np.int8)
    >>> weight[rng.random(weight.shape) < 0.9] = 0
    >>> tensor = compress(weight)
    >>> bool((decompress(tensor) == weight).all())
    True
    """
    flat, shape, dtype, library = _as_bits(array)
    n_s = validate.integer("n_s", n_s, 0, MAX_N_S)
    if n_out is not None:
        n_out = validate.integer("n_out", n_out, 1, MAX_N_OUT)
    seed = validate.integer("seed", seed, 0, 2**63 - 1)
    if matrix is None:
        matrix = "folded" if n_s == MAX_N_S else "random"
    Decoder(N_IN, 1, n_s, seed, matrix)  # refuses what it cannot make
    validate.choice("method", method, METHODS)
    beam = validate.integer("beam", beam, 1, MAX_BEAM)
    threads = validate.integer("threads", threads, 1)
    walk = Order(order, *matrix_shape(shape))
    validate.choice("mask_codec", mask_codec, MASK_CODECS)
    if mask is not None:
        pruned = ~_as_mask(mask, shape)
        if dtype not in DTYPES:
            raise ValueError(f"mask must be None for dtype {dtype}, which is stored as it is")
        flat = np.where(pruned, flat.dtype.type(0), flat)
    dense = CompressedTensor(shape, dtype, library, "dense", flat.view(np.uint8))
    if dtype not in DTYPES:
        return _owning(dense)
    care = walk.take(flat != 0 if mask is None else ~pruned)
    settings = _Settings(n_s, n_out, seed, matrix, method, beam, order, mask_codec, threads)
    tensor = _encode(walk.take(flat), care, dense, settings)
    return tensor if tensor.nbytes < dense.nbytes else _owning(dense)


def _owning(dense: CompressedTensor) -> CompressedTensor:
    """The same with bytes of its own, which do not change with the caller's array."""
    return replace(dense, raw=dense.raw.copy())


@dataclass(frozen=True)
class _Settings:
    """The arguments of `compress`, validated."""

    n_s: int
    n_out: int | None
    seed: int
    matrix: str
    method: str
    beam: int
    order: str
    mask_codec: str
    threads: int


def _encode(
    words: np.ndarray, care: np.ndarray, dense: CompressedTensor, settings: _Settings
) -> CompressedTensor:
    """The tensor of kind "encoded"; words unsigned (n,), care bool (n,), both in encoding order."""
    started = time.perf_counter()
    positions = positions_of(care)  # of each care rank
    n, k = len(care), len(positions)
    mask = None
    if settings.mask_codec != "none":
        mask = encode_mask(
            care, settings.mask_codec, n_s=MASK_N_S, beam=settings.beam, seed=settings.seed
        )

    if k == 0:
        n_out, plane_bits = settings.n_out or MAX_N_OUT, 0.0
    else:
        n_out, plane_bits = choose_n_out(care, N_IN, settings.n_s, settings.beam, settings.n_out)
    if settings.n_out is None:
        raw_wins = plane_bits >= n  # one bit a weight is no more than what encoding would cost
        basis = choose_basis(words[positions], min(plane_bits, n) / max(k, 1))
    else:  # the caller wants this code, whatever it costs
        raw_wins = False
        basis = choose_basis(words[positions])
    stored = stored_words(basis, words[positions])
    paying = tuple(p for p, pays in enumerate(basis.payload) if pays and k)
    encoded, raw_planes = ((), paying) if raw_wins else (paying, ())

    decoder = Decoder(N_IN, n_out, settings.n_s, settings.seed, settings.matrix)
    payload = []
    wrong = stored.copy()  # constant planes are decoded as zero, so each one is wrong
    for g in range(0, len(encoded), GROUP):
        group = encoded[g : g + GROUP]
        target = gather_planes(stored, group)
        inputs = _encode_group(positions, target, n, decoder, len(group), settings)
        payload.append(inputs)
        scatter_planes(decoder.decode(inputs, n)[positions] ^ target, group, wrong)
    for p in raw_planes:
        wrong &= ~wrong.dtype.type(1 << p)
    corrections = tuple(
        EliasFano.encode(np.flatnonzero(wrong >> wrong.dtype.type(p) & wrong.dtype.type(1)), k)
        for p in range(8 * words.itemsize)
    )
    return replace(
        dense,
        kind="encoded",
        raw=_pack_raw(stored, raw_planes, positions, n),
        order=settings.order,
        n_s=settings.n_s,
        n_out=n_out,
        seed=settings.seed,
        matrix=settings.matrix,
        k=k,
        mask=mask,
        encoded=encoded,
        payload=tuple(payload),
        raw_planes=raw_planes,
        basis=basis.vectors,
        offset=basis.offset,
        corrections=corrections,
        seconds=time.perf_counter() - started,
    )


def decompress(tensor: CompressedTensor, mask: np.ndarray | None = None) -> Tensor:
    """The tensor again: bit for bit at unpruned places, zero elsewhere.

    mask: bool, the tensor's shape; needed exactly where none is stored (mask_codec "none").
    Returns what went in, a NumPy array or a torch tensor, C-contiguous.
    """
    if tensor.kind == "dense":
        return _from_bytes(tensor.raw.copy(), tensor)
    given = None if tensor.mask is not None and mask is None else care_mask(tensor, mask)
    words = expand(tensor, given) if tensor.n else np.zeros(0, dtype=np.uint8)
    return _from_bytes(words.view(np.uint8), tensor)


def care_mask(tensor: CompressedTensor, mask: np.ndarray | None = None) -> np.ndarray:
    """bool (n,): the care mask in encoding order, stored or (codec "none") given."""
    if tensor.mask is not None:
        if mask is not None:
            raise ValueError("mask must be None: this tensor stores its mask")
        return tensor.mask.decode()
    if mask is None:
        raise ValueError('mask must be given: this tensor was compressed with mask_codec="none"')
    care = tensor.walk.take(_as_mask(mask, tensor.shape))
    if np.count_nonzero(care) != tensor.k:
        raise ValueError(f"mask must have {tensor.k} True, got {np.count_nonzero(care)}")
    return care


def gather_planes(stored: np.ndarray, group: tuple[int, ...]) -> np.ndarray:
    """uint8 (k,): bit q of each element is stored bit group[q]."""
    columns = [0] * (8 * stored.itemsize)
    for q, p in enumerate(group):
        columns[p] = 1 << q
    return linear_map(tuple(columns), stored).astype(np.uint8)


def scatter_planes(bits: np.ndarray, group: tuple[int, ...], stored: np.ndarray) -> None:
    """Set stored bit group[q] to bit q of `bits` (uint8), for the planes of the group."""
    planes = np.array([1 << p for p in group], dtype=stored.dtype)
    stored &= ~np.bitwise_or.reduce(planes)
    stored |= span(planes)[bits & ((1 << len(group)) - 1)]


def _encode_group(
    positions: np.ndarray,
    target: np.ndarray,
    n: int,
    decoder: Decoder,
    planes: int,
    settings: _Settings,
) -> np.ndarray:
    """Inputs uint8 (vectors, planes) of up to 8 planes that share a mask."""
    if settings.method == "viterbi":
        care = np.zeros(n, dtype=np.uint8)
        care[positions] = 1

        def one(first: int, last: int) -> np.ndarray:
            bits = np.zeros(n, dtype=np.uint8)
            bits[positions] = target >> first & 1
            return encode_viterbi(bits, care, decoder)[:, None]

        parts = planes
    else:

        def one(first: int, last: int) -> np.ndarray:
            return encode_beam(positions, target >> first, n, decoder, last - first, settings.beam)

        parts = min(settings.threads, planes)
    edges = np.linspace(0, planes, parts + 1).astype(int).tolist()
    with ThreadPoolExecutor(settings.threads) as pool:
        inputs = list(pool.map(one, edges[:-1], edges[1:]))
    return np.ascontiguousarray(np.concatenate(inputs, axis=1))


def _pack_raw(
    stored: np.ndarray, planes: tuple[int, ...], positions: np.ndarray, n: int
) -> np.ndarray:
    raw = np.zeros((len(planes), -(-n // 8)), dtype=np.uint8)
    for row, p in enumerate(planes):
        bits = np.zeros(n, dtype=np.uint8)
        bits[positions] = stored >> stored.dtype.type(p) & stored.dtype.type(1)
        raw[row] = np.packbits(bits, bitorder="little")
    return raw


def _as_bits(array: Any) -> tuple[np.ndarray, tuple[int, ...], str, str]:
    """(flat array of unsigned bit patterns, shape, dtype name, library) of an input tensor."""
    if isinstance(array, np.ndarray | np.generic | list | float | int):
        values = np.ascontiguousarray(array)
        if values.dtype.hasobject or values.dtype.names:
            raise ValueError(f"array must be numeric, got dtype {values.dtype}")
        if values.dtype.byteorder == ">":
            values = values.astype(values.dtype.newbyteorder("<"))
        shape = np.shape(array)
        library, dtype = "numpy", values.dtype.name
    elif type(array).__module__.partition(".")[0] == "torch":
        import torch

        if (
            not isinstance(array, torch.Tensor)
            or array.layout != torch.strided
            or array.is_quantized
        ):
            raise ValueError(f"array must be a dense torch tensor, got {type(array).__name__}")
        tensor = array.detach().cpu().contiguous()
        shape, library = tuple(array.shape), "torch"
        dtype = str(array.dtype).removeprefix("torch.")
        values = tensor.reshape(-1).view(torch.uint8).numpy()
        values = values.view(f"u{DTYPES.get(dtype, 1)}")
    else:
        raise ValueError(
            f"array must be a NumPy array or a torch tensor, got {type(array).__name__}"
        )
    if dtype in DTYPES:
        return values.reshape(-1).view(f"u{DTYPES[dtype]}"), shape, dtype, library
    return values.reshape(-1).view(np.uint8), shape, dtype, library


def _as_mask(mask: Any, shape: tuple[int, ...]) -> np.ndarray:
    care = np.asarray(mask.detach().cpu() if hasattr(mask, "detach") else mask)
    if care.shape != shape:
        raise ValueError(f"mask must have the array's shape {shape}, got {care.shape}")
    return validate.bits("mask", care.reshape(-1)).astype(bool)


def _from_bytes(data: np.ndarray, tensor: CompressedTensor) -> Tensor:
    """The tensor that these bytes are, in the same memory."""
    if tensor.library == "torch":
        import torch

        dtype = getattr(torch, tensor.dtype)
        return torch.from_numpy(data).view(dtype).reshape(tensor.shape)
    dtype = ml_dtypes.bfloat16 if tensor.dtype == "bfloat16" else np.dtype(tensor.dtype)
    return data.view(dtype).reshape(tensor.shape)
