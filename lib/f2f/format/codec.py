"""A whole tensor, compressed and back: `compress` and `decompress`.

The unpruned weights of a tensor, seen as bits in encoding order (`f2f.format.orders`), are mapped
to stored bits by an affine change of basis (`f2f.format.basis`). Each stored plane is then either

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
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from f2f.base import tensors, validate
from f2f.base.masks import positions_of, values_at
from f2f.decoder import MAX_N_OUT, Decoder
from f2f.encoder.beam import encode_beam_of_mask
from f2f.encoder.exact import encode_viterbi
from f2f.encoder.rate import CareCounts, choose_n_out, error_rate
from f2f.encoder.shaping import MAX_BEAM
from f2f.format.basis import AT_ONCE, ENCODED_COST, choose_basis, linear_map, span, stored_words
from f2f.format.corrections import EliasFano
from f2f.format.expand import expand
from f2f.format.mask import CODECS, encode_mask
from f2f.format.orders import MAX_WEIGHTS, ORDERS, Order, matrix_shape
from f2f.format.tensor import (
    DTYPES,
    GROUP_PLANES,
    MASK_N_S,
    MAX_N_S,
    N_IN,
    SIGNED_ZEROS,
    CompressedTensor,
)

if TYPE_CHECKING:
    import torch

    Tensor = np.ndarray | torch.Tensor

ENCODERS = ("beam", "viterbi")
MASK_CODECS = (*CODECS, "none")
NEGATIVE_ZEROS = ("keep", "prune")
COMMON = 0.05  # share of -0.0 that is no accident
NEGATIVE_ZERO_HINT = (
    '-0.0, which is kept as a weight; negative_zero="prune" (--negative-zero prune) or a mask '
    'takes it as pruned, "keep" silences this'
)


def compress(  # noqa: PLR0913  (options of a user's function, by keyword only)
    array: Tensor,
    mask: Tensor | None = None,
    *,
    n_s: int = 7,
    n_out: int | None = None,
    least_efficiency: float = 0.0,
    seed: int = 0,
    matrix: str | None = None,
    method: str = "beam",
    beam: int = 64,
    order: str = "diagonal",
    mask_codec: str = "auto",
    threads: int = 1,
    negative_zero: str | None = None,
) -> CompressedTensor:
    """Compress a tensor without loss.

    Parameters
    ----------
    array : numpy.ndarray or torch.Tensor
        Any shape and strides. int8, uint8, int16, float16, bfloat16, float32 and float8 (e4m3fn,
        e5m2 and their fnuz forms; of `ml_dtypes` in NumPy) are encoded; any other dtype is stored
        as it is.
    mask : array of bool, or of 0 and 1 in any dtype, optional
        The array's shape, True = unpruned. None takes the weights whose bits are all zero (+0.0,
        not -0.0) as pruned.
    n_s : int
        Shift registers, 0…7.
    n_out : int, optional
        Weights of a block. None chooses the one with the fewest stored bits
        (`f2f.encoder.rate`).
    least_efficiency : float
        Least encoding efficiency E over all planes, in %. Where the chosen n_out does not reach it,
        the planes (not the mask) are encoded again with a smaller one, down to 8 weights; a warning
        says where that does not reach it either. Not together with n_out.
    seed : int
        Names the decoder matrices, 0…2**63-1.
    matrix : {"random", "folded"}, optional
        Kind of the decoder matrix, see `f2f.Decoder`. None takes "folded" with n_s = 7 and
        "random" otherwise.
    method : {"beam", "viterbi"}
        Encoder; "viterbi" is exact and slow, for n_s <= 2.
    beam : int
        Hypotheses that the beam encoders keep, 1…65535.
    order : {"diagonal", "golden", "row", "column"}
        Encoding order, see `f2f.format.orders`.
    mask_codec : {"auto", "full", "bitmap", "list", "cascade", "none"}
        See `f2f.format.mask`; "none" stores no mask, for callers who keep it.
    threads : int
        With more than one the mask, in parts of 2**20 places, is encoded beside the planes, which
        take one thread ("viterbi": one a plane). The result is the same for any number.
    negative_zero : {"keep", "prune"}, optional
        What -0.0 is where no mask is given: a weight, or pruned (and +0.0 when it comes back).
        ``weight * mask`` leaves it at half the pruned places. None keeps it, with a warning where
        it is common.

    Returns
    -------
    CompressedTensor
        Of kind "encoded", or "dense" where that would not be smaller.

    Raises
    ------
    ValueError
        An argument is none of these; the message names it.

    Notes
    -----
    Memory beside an array of 64 million INT8 weights, in bytes a weight: 5.7 at S = 0.9 with one
    thread, 6.4 with two, where the mask is encoded beside the planes (6.9 at S = 0.7); 4.5 at
    S = 0.5, 5.1 at S = 0. About 40 MB of it are buffers of fixed size.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> weight = rng.integers(-127, 128, (64, 256), dtype=np.int8)
    >>> weight[rng.random(weight.shape) < 0.9] = 0
    >>> tensor = compress(weight)
    >>> bool((decompress(tensor) == weight).all())
    True
    """
    n_s = validate.integer("n_s", n_s, 0, MAX_N_S)
    if matrix is None:
        matrix = "folded" if n_s == MAX_N_S else "random"
    if negative_zero is not None:
        validate.choice("negative_zero", negative_zero, NEGATIVE_ZEROS)
    if n_out is not None:
        n_out = validate.integer("n_out", n_out, 1, MAX_N_OUT)
    options = _Options(
        n_s,
        n_out,
        validate.number("least_efficiency", least_efficiency, 0, 100),
        validate.integer("seed", seed, 0, 2**63 - 1),
        matrix,
        validate.choice("method", method, ENCODERS),
        validate.integer("beam", beam, 1, MAX_BEAM),
        validate.choice("order", order, ORDERS),
        validate.choice("mask_codec", mask_codec, MASK_CODECS),
        validate.integer("threads", threads, 1),
    )
    if options.least_efficiency and n_out is not None:
        least = options.least_efficiency
        raise ValueError(f"least_efficiency must be 0 where n_out is given, got {least:g}")
    Decoder(N_IN, 1, n_s, options.seed, matrix)  # refuses what it cannot make
    values, library = _as_array(array)
    shape, dtype = values.shape, values.dtype.name
    if mask is not None and dtype not in DTYPES:
        raise ValueError(f"mask must be None for dtype {dtype}, which is stored as it is")
    if mask is None and negative_zero is None and (share := negative_zero_share(values)) >= COMMON:
        warnings.warn(f"{100 * share:.0f} % of the array is {NEGATIVE_ZERO_HINT}", stacklevel=2)
    bits = values.reshape(-1).view(f"u{DTYPES.get(dtype, 1)}")
    dense = CompressedTensor(shape, dtype, library, "dense", bits.view(np.uint8))
    if dtype in DTYPES and len(bits) <= MAX_WEIGHTS:
        sequence = Order(order, *matrix_shape(shape))
        care_mask = sequence.take(_care_mask(values, mask, negative_zero), options.threads)
        words = values_at(care_mask, sequence.take(bits, options.threads))
        tensor = _encode(words, care_mask, dense, options)
        if tensor.nbytes < dense.nbytes:
            return tensor
    # Bytes of its own, which do not change with the caller's array.
    if dtype in DTYPES and (mask is not None or negative_zero == "prune"):
        care_mask = _care_mask(values, mask, negative_zero)
        return replace(dense, raw=np.where(care_mask, bits, bits.dtype.type(0)).view(np.uint8))
    return replace(dense, raw=dense.raw.copy())


class _Options(NamedTuple):
    """The options of `compress`, checked."""

    n_s: int
    n_out: int | None
    least_efficiency: float
    seed: int
    matrix: str
    method: str
    beam: int
    order: str
    mask_codec: str
    threads: int


def _encode(
    words: np.ndarray, care_mask: np.ndarray, dense: CompressedTensor, options: _Options
) -> CompressedTensor:
    """The tensor of kind "encoded".

    words: unsigned (k,), the unpruned weights, care_mask: bool (n,), both in encoding order. dense:
    the tensor stored as it is.
    """
    started = time.perf_counter()
    mask = None
    with ThreadPoolExecutor(options.threads) as pool:
        tensor = pool.submit(_encode_weights, words, care_mask, dense, options)
        if options.threads == 1:
            tensor.result()
        if options.mask_codec != "none":
            mask = encode_mask(
                care_mask,
                options.mask_codec,
                n_s=MASK_N_S,
                beam=options.beam,
                seed=options.seed,
                pool=pool if options.threads > 1 else None,
            )
        return replace(tensor.result(), mask=mask, seconds=time.perf_counter() - started)


def _encode_weights(
    words: np.ndarray, care_mask: np.ndarray, dense: CompressedTensor, options: _Options
) -> CompressedTensor:
    """As `_encode`, without the mask."""
    n, k = len(care_mask), len(words)
    n_out, plane_bits = options.n_out or MAX_N_OUT, 0.0  # the modelled bits of an encoded plane
    if k:
        n_out, plane_bits = choose_n_out(care_mask, N_IN, options.n_s, options.beam, options.n_out)
    # One bit a weight may be no more than what encoding costs; a given n_out is used all the same.
    raw_wins = options.n_out is None and plane_bits >= n
    cost = ENCODED_COST if options.n_out else min(plane_bits, n) / max(k, 1)
    basis = choose_basis(words, cost)
    paying = tuple(p for p, pays in enumerate(basis.payload) if pays and k)
    encoded, raw_planes = ((), paying) if raw_wins else (paying, ())

    stored = stored_words(basis, words)
    n_out, payload, wrong = _encode_well(stored, encoded, care_mask, n_out, options)
    for p in raw_planes:
        wrong &= ~wrong.dtype.type(1 << p)
    corrections = tuple(
        EliasFano.encode(positions_of(wrong & wrong.dtype.type(1 << p) != 0), k)
        for p in range(8 * words.itemsize)
    )
    return replace(
        dense,
        kind="encoded",
        raw=_pack_raw(stored, raw_planes, care_mask),
        order=options.order,
        n_s=options.n_s,
        n_out=n_out,
        seed=options.seed,
        matrix=options.matrix,
        k=k,
        encoded=encoded,
        payload=payload,
        raw_planes=raw_planes,
        basis=basis.vectors,
        offset=basis.offset,
        corrections=corrections,
    )


def _encode_well(
    stored: np.ndarray,
    encoded: tuple[int, ...],
    care_mask: np.ndarray,
    n_out: int,
    options: _Options,
) -> tuple[int, tuple[np.ndarray, ...], np.ndarray]:
    """n_out, lowered until E is at least `least_efficiency`, and as `_encode_planes` with it.

    How many bits go wrong with another n_out is modelled (`f2f.encoder.rate`), scaled to what was
    measured.
    """
    least = options.least_efficiency
    planes = stored.dtype.type(sum(1 << p for p in encoded))
    counts = CareCounts(care_mask) if least else None
    while True:
        decoder = Decoder(N_IN, n_out, options.n_s, options.seed, options.matrix)
        payload, wrong = _encode_planes(stored, encoded, care_mask, decoder, options)
        if counts is None or not encoded:
            break
        errors = int(np.bitwise_count(wrong & planes).sum())
        efficiency = 100 * (1 - errors / (len(stored) * len(encoded)))
        if efficiency >= least:
            break
        if n_out <= N_IN:
            warnings.warn(
                f"least_efficiency {least:g} % is not reached: E is {efficiency:.4f} % "
                f"with n_out = {n_out}",
                stacklevel=2,
            )
            break
        model = partial(error_rate, counts, n_in=N_IN, n_s=options.n_s, beam=options.beam)
        wanted = model(n_out) * (100 - least) / (100 - efficiency)
        n_out = next((m for m in range(n_out - 1, N_IN, -1) if model(m) <= wanted), N_IN)
    return n_out, payload, wrong


def _encode_planes(
    stored: np.ndarray,
    encoded: tuple[int, ...],
    care_mask: np.ndarray,
    decoder: Decoder,
    options: _Options,
) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """The inputs of the encoded planes, group by group, and the stored bits that decode wrong.

    stored: unsigned (k,), the stored bits of each unpruned weight. Returns uint8 (vectors, planes
    of the group) a group, and unsigned (k,): planes without a payload decode as zero.
    """
    payload = []
    wrong = stored.copy()
    for g in range(0, len(encoded), GROUP_PLANES):
        group = encoded[g : g + GROUP_PLANES]
        target = _gather_planes(stored, group)
        inputs = _encode_group(care_mask, target, decoder, len(group), options)
        payload.append(inputs)
        blocks = -(-AT_ONCE // decoder.n_out)
        for places, ranks in _chunks(care_mask, blocks * decoder.n_out):
            first = places.start // decoder.n_out
            seen = inputs[first : first + blocks + decoder.n_s]
            decoded = decoder.decode(seen, places.stop - places.start)
            bits = values_at(care_mask[places], decoded) ^ target[ranks]
            _scatter_planes(bits, group, wrong[ranks])
    return tuple(payload), wrong


def _chunks(care_mask: np.ndarray, size: int) -> Iterator[tuple[slice, slice]]:
    """So many positions at a time, and the ranks of the care bits among them."""
    rank = 0
    for at in range(0, len(care_mask), size):
        places = slice(at, min(at + size, len(care_mask)))
        ranks = slice(rank, rank + int(np.count_nonzero(care_mask[places])))
        yield places, ranks
        rank = ranks.stop


def _encode_group(
    care_mask: np.ndarray,
    target: np.ndarray,
    decoder: Decoder,
    planes: int,
    options: _Options,
) -> np.ndarray:
    """Inputs uint8 (vectors, planes) of up to 8 planes that share a mask; target: uint8 (k,)."""
    if options.method == "beam":  # one elimination serves all planes
        return encode_beam_of_mask(care_mask, target, decoder, planes, options.beam)

    def inputs_of(q: int) -> np.ndarray:
        bits = np.zeros(len(care_mask), dtype=np.uint8)
        bits[care_mask] = target >> q & 1
        return encode_viterbi(bits, care_mask, decoder)

    with ThreadPoolExecutor(options.threads) as pool:
        return np.stack(list(pool.map(inputs_of, range(planes))), axis=1)


def _gather_planes(stored: np.ndarray, group: tuple[int, ...]) -> np.ndarray:
    """uint8 (k,): bit q of each element is stored bit group[q]."""
    columns = [0] * (8 * stored.itemsize)
    for q, p in enumerate(group):
        columns[p] = 1 << q
    return linear_map(tuple(columns), stored).astype(np.uint8, copy=False)


def _scatter_planes(bits: np.ndarray, group: tuple[int, ...], stored: np.ndarray) -> None:
    """Set stored bit group[q] to bit q of `bits` (uint8), for the planes of the group."""
    planes = np.array([1 << p for p in group], dtype=stored.dtype)
    stored &= ~np.bitwise_or.reduce(planes)
    stored |= span(planes)[bits & ((1 << len(group)) - 1)]


def _pack_raw(stored: np.ndarray, planes: tuple[int, ...], care_mask: np.ndarray) -> np.ndarray:
    """uint8 (planes, ceil(n/8)): the stored bits of each plane in encoding order, packed."""
    raw = np.zeros((len(planes), -(-len(care_mask) // 8)), dtype=np.uint8)
    for places, ranks in _chunks(care_mask, AT_ONCE) if planes else ():
        words = np.zeros(places.stop - places.start, dtype=stored.dtype)
        words[care_mask[places]] = stored[ranks]
        for row, p in enumerate(planes):
            bits = words >> words.dtype.type(p) & words.dtype.type(1)
            packed = np.packbits(bits.astype(np.uint8, copy=False), bitorder="little")
            raw[row, places.start // 8 :][: len(packed)] = packed
    return raw


def decompress(
    tensor: CompressedTensor, mask: np.ndarray | None = None, *, threads: int = 1
) -> Tensor:
    """The tensor again: bit for bit at unpruned places, zero elsewhere.

    Parameters
    ----------
    tensor : CompressedTensor
    mask : array of bool, optional
        The tensor's shape; needed exactly where none is stored (``mask_codec="none"``).
    threads : int
        Share the work; small tensors take fewer.

    Returns
    -------
    numpy.ndarray or torch.Tensor
        What went in, C-contiguous, with memory of its own.

    Raises
    ------
    ValueError
        tensor is no such object; mask is missing, too many, or not of this tensor.
    FormatError
        The stored mask has not as many unpruned places as the tensor.

    Examples
    --------
    >>> weight = np.diag(np.arange(1, 65, dtype=np.int8))
    >>> bool((decompress(compress(weight)) == weight).all())
    True
    >>> kept = compress(weight, mask_codec="none")
    >>> bool((decompress(kept, mask=weight != 0) == weight).all())
    True
    """
    validate.instance("tensor", tensor, CompressedTensor)
    if tensor.library == "torch" and tensor.kind == "dense":
        return tensors.torch_from_bits(tensor.raw.copy(), tensor.dtype, tensor.shape)
    array = decompress_numpy(tensor, mask, threads)
    return tensors.to_torch(array) if tensor.library == "torch" else array


def decompress_numpy(
    tensor: CompressedTensor, mask: np.ndarray | None = None, threads: int = 1
) -> np.ndarray:
    """As `decompress`, but a NumPy array (`ml_dtypes` types where NumPy has none), always."""
    dtype = tensors.numpy_dtype(tensor.dtype)
    if tensor.kind == "dense":
        return tensor.raw.copy().view(dtype).reshape(tensor.shape)
    given = None if tensor.mask is not None and mask is None else stored_mask(tensor, mask)
    threads = validate.integer("threads", threads, 1)
    words = expand(tensor, given, threads) if tensor.n else np.zeros(0, dtype=np.uint8)
    return words.view(dtype).reshape(tensor.shape)


def stored_mask(tensor: CompressedTensor, mask: np.ndarray | None = None) -> np.ndarray:
    """bool (n,): the care mask in encoding order, stored or (mask_codec "none") given."""
    if tensor.mask is not None:
        if mask is not None:
            raise ValueError("mask must be None: this tensor stores its mask")
        return tensor.mask.decode()
    if mask is None:
        raise ValueError('mask must be given: this tensor was compressed with mask_codec="none"')
    care_mask = tensor.encoding_order.take(_as_mask(mask, tensor.shape))
    if np.count_nonzero(care_mask) != tensor.k:
        raise ValueError(f"mask must have {tensor.k} True, got {np.count_nonzero(care_mask)}")
    return care_mask


def _as_array(array: Any) -> tuple[np.ndarray, str]:
    """A C-contiguous little-endian NumPy array of the same bits, and "numpy" or "torch"."""
    if isinstance(validate.unmasked("array", array), np.ndarray | np.generic | list | float | int):
        values = np.ascontiguousarray(array).reshape(np.shape(array))
        if not tensors.is_numeric(values.dtype):
            raise ValueError(f"array must be numeric, got dtype {values.dtype}")
        return values.astype(values.dtype.newbyteorder("<"), copy=False), "numpy"
    if type(array).__module__.partition(".")[0] == "torch":
        return tensors.to_numpy(array), "torch"
    raise ValueError(f"array must be a NumPy array or a torch tensor, got {type(array).__name__}")


def _care_mask(values: np.ndarray, mask: Any, negative_zero: str | None) -> np.ndarray:
    """Which elements are unpruned: bool (n,), row-major."""
    if mask is not None:
        return _as_mask(mask, values.shape)
    flat = values.reshape(-1)
    care_mask: np.ndarray = flat.view(f"u{values.itemsize}") != 0
    if negative_zero == "prune" and values.dtype.name in SIGNED_ZEROS:
        care_mask &= ~is_negative_zero(flat)
    return care_mask


def is_negative_zero(array: np.ndarray) -> np.ndarray:
    """Where an array of a dtype of SIGNED_ZEROS is -0.0, bool of its shape."""
    bits = array.view(np.dtype(f"u{array.itemsize}").newbyteorder(array.dtype.byteorder))
    zeros: np.ndarray = bits == bits.dtype.type(1 << 8 * bits.itemsize - 1)
    return zeros


def negative_zero_share(array: np.ndarray) -> float:
    """The share of -0.0 in an array; 0 if its dtype has none."""
    if array.dtype.name not in SIGNED_ZEROS:
        return 0.0
    return np.count_nonzero(is_negative_zero(array)) / max(array.size, 1)


def _as_mask(mask: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A mask of that shape, bool (n,), row-major."""
    validate.unmasked("mask", mask)
    array = tensors.to_numpy(mask) if hasattr(mask, "detach") else np.asarray(mask)
    if array.shape != shape:
        raise ValueError(f"mask must have the array's shape {shape}, got {array.shape}")
    if tensors.is_numeric(array.dtype) and array.dtype.kind not in "biu":  # as torch's weight_mask
        ones = array == 1
        if not np.all(ones | (array == 0)):
            raise ValueError(f"mask must hold only 0 and 1, got others of dtype {array.dtype}")
        return ones.reshape(-1)
    return validate.bits("mask", array.reshape(-1)).astype(bool)
