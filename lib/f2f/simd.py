"""Dense decoding of up to eight planes at once, by byte shuffles.

The planes of a group share the decoder matrix, and byte q of an input vector belongs to plane q.
*Bit-sliced*, a vector is n_in bytes, byte i holding bit i of all eight planes; the eight decoded
bits of a position are then one byte, the XOR of those window bytes that its matrix row selects.
Four window bits at a time, the row's nibble picks one of 16 XOR combinations:

    out[r] = XOR_k T_k[nibble k of rows[r]],    k = 0 … window/4 - 1.

The 16-byte tables T_k depend on the block, the nibbles on the matrix alone: a table lookup with
constant indices is one byte shuffle (`vpshufb`) for 32 rows. With n_in = 8 a vector has two
tables, which its n_s + 1 blocks share.

On x86 with AVX2 the shuffles are LLVM intrinsics; elsewhere, and with `portable=True`, the same
tables are read byte by byte. Both equal `Decoder.decode_plain` bit for bit.

Paper symbols: N_in = `n_in`, N_out = `n_out`, N_s = `n_s`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils, config
from numba.extending import intrinsic

from f2f import validate

if TYPE_CHECKING:
    from f2f.decoder import Decoder

GROUP = 32  # rows of one shuffle
SLACK = 2 * GROUP  # bytes behind the last block that `decode_blocks` may overwrite
BATCH = 128  # blocks whose tables are built at once
TABLES = 32  # bytes of the two nibble tables of an input vector


def host_has_avx2() -> bool:
    """True if numba compiles for a processor with AVX2."""
    if config.CPU_FEATURES is not None:
        return "+avx2" in config.CPU_FEATURES
    if config.CPU_NAME == "generic":
        return False
    return bool(llvm.get_host_cpu_features().get("avx2", False))


AVX2 = host_has_avx2()

_I8 = ir.IntType(8)
_I32 = ir.IntType(32)
_I64 = ir.IntType(64)
_V16 = ir.VectorType(_I8, 16)
_V32 = ir.VectorType(_I8, 32)
_V4x64 = ir.VectorType(_I64, 4)


def aligned_zeros(size: int) -> np.ndarray:
    """uint8 (size,) of zeros that starts a cache line (64 bytes)."""
    space = np.zeros(size + 63, dtype=np.uint8)
    start = -space.ctypes.data % 64
    return space[start : start + size]


def shuffle_index(rows: np.ndarray, window: int) -> np.ndarray:
    """The constant shuffle indices of a matrix.

    rows: uint64 (n_out,), as `Decoder.rows`; window: its bits. Returns flat uint8, the array
    [group of 32 rows][nibble k][row in group]. If the last group has at most 16 rows they are
    there twice, so that one shuffle can serve two blocks.
    """
    n_out, nibbles = len(rows), 2 * -(-window // 8)
    groups = -(-n_out // GROUP)
    padded = np.zeros(groups * GROUP, dtype=np.uint64)
    padded[:n_out] = rows
    if 0 < n_out % GROUP <= 16:
        padded[-16:] = padded[-32:-16]
    out = aligned_zeros(groups * nibbles * GROUP)
    index, by_group = out.reshape(groups, nibbles, GROUP), padded.reshape(groups, GROUP)
    for k in range(nibbles):
        index[:, k] = by_group >> np.uint64(4 * k) & np.uint64(15)
    return out


def work_bytes(n_s: int) -> int:
    """Bytes of the work array of `decode_blocks`."""
    return (BATCH + max(n_s, 7) + 4) * (8 + TABLES)


def decode_words(
    inputs: np.ndarray, decoder: Decoder, n: int, start_block: int = 0, portable: bool = False
) -> np.ndarray:
    """Decode n words from block `start_block` on: bit q of a word is the bit of plane q.

    inputs: uint8 (vectors, P), P <= 8, byte [t, q] the input vector t of plane q, oldest first.
    Returns uint8 (n,). portable=True takes the path of machines without AVX2. Raises `ValueError`
    if the inputs end before the last block.
    """
    n = validate.integer("n", n, 0)
    start_block = validate.integer("start_block", start_block, 0)
    if inputs.dtype != np.uint8 or inputs.ndim != 2 or not 1 <= inputs.shape[1] <= 8:
        raise ValueError(
            f"inputs must be uint8 (vectors, 1..8 planes), got {inputs.dtype} {inputs.shape}"
        )
    blocks = decoder.n_blocks(n)
    if n and len(inputs) < start_block + blocks + decoder.n_s:
        raise ValueError(
            f"inputs must hold {start_block + blocks + decoder.n_s} vectors for {n} words from "
            f"block {start_block}, got {len(inputs)}"
        )
    out = np.empty(blocks * decoder.n_out + SLACK, dtype=np.uint8)
    decode_blocks(
        np.ascontiguousarray(inputs),
        start_block,
        blocks,
        (decoder.n_in, decoder.n_out, decoder.n_s),
        decoder.shuffle_index,
        out,
        0,
        aligned_zeros(work_bytes(decoder.n_s)),
        portable,
    )
    return out[:n]


@njit(nogil=True, cache=True)
def decode_blocks(inputs, start, blocks, sizes, index, out, out_at, work, portable):
    """Decode `blocks` blocks from block `start` on into out[out_at:]; overwrites SLACK bytes more.

    inputs: uint8 (vectors, P), C-contiguous; sizes: (n_in, n_out, n_s); index: `shuffle_index`;
    work: uint8 (work_bytes(n_s),), best at a cache line.
    """
    n_in, n_out, n_s = sizes
    inputs, index, out, work = borrowed(inputs), borrowed(index), borrowed(out), borrowed(work)
    vectors = work[TABLES * (BATCH + max(n_s, 7) + 4) :]
    if n_in == 8:
        for first in range(0, blocks, BATCH):
            count = min(BATCH, blocks - first)
            _stage_vectors(inputs, start + first, count + n_s, vectors)
            _build_tables(vectors, count + n_s, work, portable)
            _shuffle_blocks(work, count, 2 * n_s + 2, index, n_out, out, out_at, portable)
            out_at += count * n_out
    else:
        # The windows of different blocks do not meet at bytes: each is a case of its own.
        window_bytes = ((n_s + 1) * n_in + 7) // 8
        for t in range(start, start + blocks):
            _stage_window(inputs, t, n_in, n_s, window_bytes, vectors)
            _build_tables(vectors, window_bytes, work, portable)
            _shuffle_blocks(work, 1, 2 * window_bytes, index, n_out, out, out_at, portable)
            out_at += n_out


@njit(nogil=True, cache=True)
def _stage_vectors(inputs, first, count, vectors):
    """vectors[8*t + q] = inputs[first + t, q], zero for missing planes."""
    planes = inputs.shape[1]
    if planes == 8:
        copy_bytes(inputs, 8 * first, vectors, 0, 8 * count)
        return
    for t in range(count):
        for q in range(8):
            vectors[8 * t + q] = inputs[first + t, q] if q < planes else 0


@njit(nogil=True, cache=True)
def _stage_window(inputs, t, n_in, n_s, window_bytes, vectors):
    """vectors[8*j + q] = byte j of the window word of block t in plane q."""
    vectors[: 8 * window_bytes] = 0
    for q in range(inputs.shape[1]):
        window = np.uint64(0)
        for j in range(n_s + 1):
            window |= np.uint64(inputs[t + j, q]) << np.uint64(n_in * j)
        for j in range(window_bytes):
            vectors[8 * j + q] = np.uint8(window >> np.uint64(8 * j))


@njit(nogil=True, cache=True)
def _build_tables(vectors, count, tables, portable):
    """The two nibble tables of each vector; up to 3 vectors more are read and written."""
    if AVX2 and not portable:
        for t in range(0, count, 4):
            _four_tables(vectors, 8 * t, tables, TABLES * t)
        return
    for t in range(count):
        for i in range(8):
            sliced = 0
            for q in range(8):
                sliced |= ((vectors[8 * t + q] >> i) & 1) << q
            at, half = TABLES * t + (i // 4) * 16, 1 << (i % 4)
            if half == 1:
                tables[at] = 0
            for entry in range(half):
                tables[at + half + entry] = tables[at + entry] ^ sliced


@njit(nogil=True, cache=True)
def _shuffle_blocks(tables, blocks, nibbles, index, n_out, out, out_at, portable):
    """Decode consecutive blocks from tables; a block may spill into the next, written later."""
    if not AVX2 or portable:
        for t in range(blocks):
            for r in range(n_out):
                word = np.uint8(0)
                at = (r // GROUP * nibbles) * GROUP + r % GROUP
                for k in range(nibbles):
                    word ^= tables[TABLES * t + 16 * k + index[at + GROUP * k]]
                out[out_at + t * n_out + r] = word
        return
    # Groups are taken last first: what the last one spills must not outlive the next block's first.
    step = GROUP * nibbles
    full, tail = n_out // GROUP, n_out % GROUP
    half_tail = 0 < tail <= 16
    t = 0
    while t + 2 <= blocks:
        at, end = TABLES * t, full + (tail > 16)
        to = out_at + t * n_out
        if half_tail:
            end = max(0, full - 2)
            where = step * end
            if full - end == 2:
                _tail_2x2(tables, at, index, where, nibbles, out, to + GROUP * end, n_out)
            elif full - end == 1:
                _tail_1x2(tables, at, index, where, nibbles, out, to + GROUP * end, n_out)
            else:
                _tail_0x2(tables, at, index, where, nibbles, out, to + GROUP * end, n_out)
        while end > 0:
            first = max(0, end - 3)
            where = step * first
            if end - first == 3:
                _full_3x2(tables, at, index, where, nibbles, out, to + GROUP * first, n_out)
            elif end - first == 2:
                _full_2x2(tables, at, index, where, nibbles, out, to + GROUP * first, n_out)
            else:
                _full_1x2(tables, at, index, where, nibbles, out, to + GROUP * first, n_out)
            end = first
        t += 2
    if t < blocks:
        for g in range(full + (tail > 0)):
            to = out_at + t * n_out + GROUP * g
            _full_1x1(tables, TABLES * t, index, step * g, nibbles, out, to, n_out)


def _is_bytes(array: Any) -> bool:
    return isinstance(array, types.Array) and array.dtype == types.uint8 and array.layout == "C"


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, offset: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(builder.bitcast(data, _I8.as_pointer()), [offset])


def _load(builder: Any, kind: Any, pointer: Any) -> Any:
    value = builder.load(builder.bitcast(pointer, kind.as_pointer()))
    value.align = 1
    return value


def _store(builder: Any, value: Any, pointer: Any) -> None:
    builder.store(value, builder.bitcast(pointer, value.type.as_pointer())).align = 1


def _permute(builder: Any, a: Any, b: Any, lanes: list[int]) -> Any:
    """Elements of a (0…) and b (len(a)…) in the order of `lanes`, known when compiling."""
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_I32, len(lanes)), lanes))


def _byte_shuffle(builder: Any) -> Any:
    kind = ir.FunctionType(_V32, [_V32, _V32])
    return cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx2.pshuf.b")


@intrinsic
def borrowed(typingctx, array):
    """The same array without a claim on its memory, which the caller must keep.

    Passing it on costs no (atomic) reference counting, which numba otherwise does at every call.
    """
    if not isinstance(array, types.Array):
        return None

    def codegen(context, builder, signature, arguments):
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        view.meminfo = cgutils.get_null_value(view.meminfo.type)
        view.parent = cgutils.get_null_value(view.parent.type)
        return view._getvalue()

    return array(array), codegen


@intrinsic
def copy_bytes(typingctx, source, source_at, target, target_at, count):
    """`memmove` between contiguous uint8 arrays of any shape, without numba's array views."""
    if not (_is_bytes(source) and _is_bytes(target)):
        return None
    signature = types.void(source, types.intp, target, types.intp, types.intp)

    def codegen(context, builder, signature, arguments):
        source, source_at, target, target_at, count = arguments
        start = _pointer(context, builder, signature.args[0], source, source_at)
        to = _pointer(context, builder, signature.args[2], target, target_at)
        cgutils.raw_memmove(builder, to, start, count, 1)
        return context.get_dummy_value()

    return signature, codegen


def _make_xor_shuffles(groups: int, blocks: int, tail: bool) -> Any:
    """Kernel for `groups` groups of 32 rows, then with `tail` one of <= 16, of 1 or 2 blocks."""

    @intrinsic
    def xor_shuffles(typingctx, tables, table_at, index, index_at, nibbles, out, out_at, n_out):
        if not all(_is_bytes(array) for array in (tables, index, out)):
            return None
        word = types.intp
        signature = types.void(tables, word, index, word, word, out, word, word)

        def codegen(context, builder, signature, arguments):
            if not AVX2:  # never called there, but compiled
                return context.get_dummy_value()
            tables, table_at, index, index_at, nibbles, out, out_at, n_out = arguments
            kinds = signature.args
            table_pointer = _pointer(context, builder, kinds[0], tables, table_at)
            index_pointer = _pointer(context, builder, kinds[2], index, index_at)
            out_pointer = _pointer(context, builder, kinds[5], out, out_at)
            shuffle = _byte_shuffle(builder)
            zero = _V32([0] * 32)
            sums = [cgutils.alloca_once_value(builder, zero) for _ in range(groups * blocks + tail)]
            group_bytes = builder.mul(nibbles, _I64(GROUP))

            def add(total: Any, table: Any, lanes: Any) -> None:
                found = builder.call(shuffle, [table, lanes])
                builder.store(builder.xor(builder.load(total), found), total)

            with cgutils.for_range(builder, nibbles) as loop:
                found = []
                for b in range(blocks):
                    at = builder.add(builder.mul(loop.index, _I64(16)), _I64(TABLES * b))
                    table = _load(builder, _V16, builder.gep(table_pointer, [at]))
                    found.append(_permute(builder, table, table, list(range(16)) * 2))
                for g in range(groups + tail):
                    at = builder.add(
                        builder.mul(loop.index, _I64(GROUP)), builder.mul(group_bytes, _I64(g))
                    )
                    lanes = _load(builder, _V32, builder.gep(index_pointer, [at]))
                    if g < groups:
                        for b in range(blocks):
                            add(sums[g * blocks + b], found[b], lanes)
                    else:
                        halves = list(range(16)) + list(range(48, 64))
                        both = _permute(builder, found[0], found[1], halves)
                        add(sums[-1], both, lanes)
            for b in range(blocks):
                to = builder.gep(out_pointer, [builder.mul(n_out, _I64(b))])
                for g in range(groups):
                    value = builder.load(sums[g * blocks + b])
                    _store(builder, value, builder.gep(to, [_I64(GROUP * g)]))
                if tail:
                    both = builder.load(sums[-1])
                    half = _permute(builder, both, both, list(range(16 * b, 16 * b + 16)))
                    _store(builder, half, builder.gep(to, [_I64(GROUP * groups)]))
            return context.get_dummy_value()

        return signature, codegen

    return xor_shuffles


_full_1x1 = _make_xor_shuffles(1, 1, tail=False)
_full_1x2 = _make_xor_shuffles(1, 2, tail=False)
_full_2x2 = _make_xor_shuffles(2, 2, tail=False)
_full_3x2 = _make_xor_shuffles(3, 2, tail=False)
_tail_0x2 = _make_xor_shuffles(0, 2, tail=True)
_tail_1x2 = _make_xor_shuffles(1, 2, tail=True)
_tail_2x2 = _make_xor_shuffles(2, 2, tail=True)


@intrinsic
def _four_tables(typingctx, vectors, vector_at, tables, table_at):
    """Nibble tables of four input vectors of eight planes (32 bytes in, 128 bytes out)."""
    if not (_is_bytes(vectors) and _is_bytes(tables)):
        return None
    signature = types.void(vectors, types.intp, tables, types.intp)

    def codegen(context, builder, signature, arguments):
        if not AVX2:
            return context.get_dummy_value()
        vectors, vector_at, tables, table_at = arguments
        source = _pointer(context, builder, signature.args[0], vectors, vector_at)
        target = _pointer(context, builder, signature.args[2], tables, table_at)
        words = _load(builder, _V4x64, source)
        # Transpose the 8 x 8 bits of each vector: byte i becomes bit i of all planes.
        swaps = ((7, 0x00AA00AA00AA00AA), (14, 0x0000CCCC0000CCCC), (28, 0x00000000F0F0F0F0))
        for shift, mask in swaps:
            distance = _V4x64([shift] * 4)
            swap = builder.xor(words, builder.lshr(words, distance))
            swap = builder.and_(swap, _V4x64([mask] * 4))
            words = builder.xor(builder.xor(words, swap), builder.shl(swap, distance))
        # Pairs (byte i, byte i ^ byte i+1) hold the non-zero combinations of two bits.
        single = builder.bitcast(words, _V32)
        double = builder.bitcast(builder.xor(words, builder.lshr(words, _V4x64([8] * 4))), _V32)
        pairs = []
        for half in (0, 8):
            lanes = [at for i in range(half, half + 8) for at in (i, i + 32)]
            lanes += [at for i in range(16 + half, 24 + half) for at in (i, i + 32)]
            pairs.append(_permute(builder, single, double, lanes))
        shuffle = _byte_shuffle(builder)
        # Byte 2*i is bit i alone, byte 2*i+1 the XOR of bits i and i+1; 0x80 picks zero.
        choice = (0x80, 0, 2, 1)
        low = [choice[entry & 3] for entry in range(16)]
        high = [choice[entry >> 2] | (4 if entry >> 2 else 0) for entry in range(16)]
        for j, pair in enumerate(pairs):  # vectors j and j + 2, a half each
            for nibble in range(2):
                parts = []
                for picked in (low, high):
                    lanes = [at if at == 0x80 else at | 8 * nibble for at in picked]
                    parts.append(builder.call(shuffle, [pair, _V32(lanes * 2)]))
                both = builder.xor(parts[0], parts[1])
                for half in range(2):
                    table = _permute(builder, both, both, list(range(16 * half, 16 * half + 16)))
                    place = _I64(TABLES * (j + 2 * half) + 16 * nibble)
                    _store(builder, table, builder.gep(target, [place]))
        return context.get_dummy_value()

    return signature, codegen
