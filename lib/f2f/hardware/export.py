"""A compressed tensor as files for a hardware project: Verilog, testbench, vectors, README.

The vectors are the tensor's own: its first blocks, before corrections, as `Decoder.decode` and
`MaskCode` give them. The testbenches read them with ``$readmemh``, compare every output, end with a
line PASS or FAIL, and a failure also ends the simulator with an error.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from f2f.base import validate
from f2f.base.atomic import atomic_write
from f2f.format.basis import span
from f2f.format.mask import MaskCode
from f2f.format.tensor import GROUP_PLANES, CompressedTensor
from f2f.hardware.emit import verilog
from f2f.hardware.network import of_decoder


def write_project(
    tensor: CompressedTensor, folder: str | os.PathLike[str], blocks: int = 200
) -> list[Path]:
    """Write the decoder of a tensor and what shows that it works.

    Parameters
    ----------
    tensor : CompressedTensor
        With encoded planes.
    folder : path
        Is made if it is not there; files of the same names are replaced.
    blocks : int
        The most blocks in the testbench, the first ones of the tensor.

    Returns
    -------
    list of Path
        decoder.v, decoder_testbench.v and the vectors decoder_inputs.hex, decoder_raw.hex (where
        planes are stored raw) and decoder_expected.hex; mask.v and mask_testbench.v with
        mask_inputs_….hex and mask_expected.hex where the mask is of codec "cascade"; README.md.

    Raises
    ------
    ImportError
        Amaranth or Yosys is not installed.
    ValueError
        The tensor has no encoded planes.
    FormatError
        Its mask has not as many unpruned places as it says.
    """
    validate.instance("tensor", tensor, CompressedTensor)
    folder = validate.path("folder", folder)
    blocks = validate.integer("blocks", blocks, 1)
    mask = tensor.mask if tensor.mask is not None and tensor.mask.streams else None
    mask_bench = {} if mask is None else _mask_bench(mask)
    files = {"decoder.v": verilog(tensor, "decoder")} | _decoder_bench(tensor, blocks)
    if mask is not None:
        files |= {"mask.v": verilog(mask, "mask")} | mask_bench
    files["README.md"] = _readme(tensor)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        with atomic_write(folder / name) as file:
            file.write(text.encode())
    return [folder / name for name in files]


def words_of_blocks(tensor: CompressedTensor, blocks: int) -> np.ndarray:
    """The words of the first blocks before corrections, pruned places among them.

    Returns
    -------
    ndarray of unsigned, (blocks * n_out,)
        In encoding order. Beyond the last weight of the tensor, raw planes count as zeros.
    """
    n = blocks * tensor.n_out
    dtype = np.dtype(f"<u{tensor.n_w // 8}")
    words = np.full(n, tensor.offset, dtype=dtype)
    for g, payload in enumerate(tensor.payload):
        planes = tensor.encoded[GROUP_PLANES * g : GROUP_PLANES * (g + 1)]
        table = span(np.array([tensor.basis[p] for p in planes], dtype=dtype))
        inputs = np.ascontiguousarray(payload[: blocks + tensor.n_s])
        words ^= table[tensor.decoder.decode(inputs, n)]
    for p, bits in zip(tensor.raw_planes, raw_bits(tensor, blocks), strict=True):
        words ^= bits.reshape(-1) * dtype.type(tensor.basis[p])
    return words


def raw_bits(tensor: CompressedTensor, blocks: int) -> np.ndarray:
    """The bits of the raw planes in the first blocks, uint8 0/1 (raw planes, blocks, n_out)."""
    n = blocks * tensor.n_out
    bits = np.unpackbits(tensor.raw, axis=1, bitorder="little")[:, : tensor.n][:, :n]
    padded = np.pad(bits, ((0, 0), (0, n - bits.shape[1])))
    return padded.reshape(len(bits), blocks, tensor.n_out)


def _hex(rows: np.ndarray) -> str:
    """Lines of `$readmemh`: rows of bits, 0/1 (lines, bits), bit 0 first."""
    packed = np.packbits(rows, axis=1, bitorder="little")[:, ::-1]
    return "".join(f"{row.tobytes().hex()}\n" for row in packed)


def _bits(values: np.ndarray, width: int) -> np.ndarray:
    """The bits of unsigned values (lines, values a line), uint8 0/1 (lines, values * width)."""
    shifts = np.arange(width, dtype=np.uint64)
    bits = values.astype(np.uint64)[:, :, None] >> shifts & np.uint64(1)
    return bits.astype(np.uint8).reshape(len(values), -1)


def _decoder_bench(tensor: CompressedTensor, blocks: int) -> dict[str, str]:
    """The testbench of the decoder and its vectors, by file name."""
    blocks = min(blocks, tensor.decoder.n_blocks(tensor.n))
    vectors = blocks + tensor.n_s
    inputs = np.concatenate([payload[:vectors] for payload in tensor.payload], axis=1)
    words = words_of_blocks(tensor, blocks).reshape(blocks, tensor.n_out)
    files = {
        "decoder_inputs.hex": _hex(_bits(inputs, tensor.n_in)),
        "decoder_expected.hex": _hex(_bits(words, tensor.n_w)),
    }
    raw = ["", "", ""]
    if tensor.raw_planes:
        by_block = np.swapaxes(raw_bits(tensor, blocks), 0, 1).reshape(blocks, -1)
        files["decoder_raw.hex"] = _hex(by_block)
        width = by_block.shape[1]
        raw = [
            f"  reg [{width - 1}:0] raws [0:{blocks - 1}];\n"
            f"  wire [{width - 1}:0] raw = t < {tensor.n_s} ? 0 : raws[t - {tensor.n_s}];\n",
            '    $readmemh("decoder_raw.hex", raws);\n',
            " .raw(raw),",
        ]
    values = {
        "in_top": tensor.n_in * len(tensor.encoded) - 1,
        "out_top": tensor.n_out * tensor.n_w - 1,
        "n_s": tensor.n_s,
        "vectors": vectors,
        "blocks": blocks,
        "raw_declared": raw[0],
        "raw_read": raw[1],
        "raw_port": raw[2],
    }
    return {"decoder_testbench.v": _DECODER_BENCH.format(**values)} | files


def _mask_bench(mask: MaskCode) -> dict[str, str]:
    """The testbench of the mask decoder and its vectors, by file name."""
    places = mask.decode().astype(np.uint8)
    if mask.corrections is not None:
        places[mask.corrections.decode()] ^= 1
    words = -(-mask.n // 64)
    expected = np.pad(places, (0, 64 * words - mask.n)).reshape(words, 64)
    streams, top = mask.streams, mask.n_in - 1
    files = {"mask_expected.hex": _hex(expected)}
    declared, read = "", ""
    for i, stream in enumerate(streams):
        files[f"mask_inputs_{i}.hex"] = _hex(_bits(stream[:, None], mask.n_in))
        read += f'    $readmemh("mask_inputs_{i}.hex", inputs_{i});\n'
        declared += (
            f"  reg [{top}:0] inputs_{i} [0:{len(stream) - 1}];\n"
            f"  integer at_{i} = 0;\n"
            f"  assign vectors[{mask.n_in * i} +: {mask.n_in}] = "
            f"at_{i} < {len(stream)} ? inputs_{i}[at_{i}] : 0;\n"
            f"  always @(posedge clk) if (valid[{i}] && ready[{i}]) at_{i} <= at_{i} + 1;\n"
        )
    values = {
        "streams_top": len(streams) - 1,
        "in_top": mask.n_in * len(streams) - 1,
        "address_top": max((words - 1).bit_length(), 1) - 1,
        "words": words,
        "whole": mask.n // 64,
        "last": f"64'h{(1 << mask.n % 64) - 1:x}",
        "declared": declared,
        "read": read,
        "limit": 100 * mask.n + 1000,
    }
    return {"mask_testbench.v": _MASK_BENCH.format(**values)} | files


_DECODER_BENCH = """\
// Decodes {blocks} blocks and compares them. Run in the folder of the .hex files:
//   iverilog -o decoder_testbench decoder_testbench.v decoder.v && vvp decoder_testbench
`timescale 1ns/1ps
module decoder_testbench;
  reg clk = 0, rst = 1, valid = 0;
  reg [{in_top}:0] inputs [0:{vectors}-1];
  reg [{out_top}:0] expected [0:{blocks}-1];
  integer t = 0, wrong = 0, seen = 0;
  wire first = t == 0;
  wire [{in_top}:0] vectors = inputs[t];
  wire block_valid;
  wire [{out_top}:0] words;
{raw_declared}\
  decoder dut (.clk(clk), .rst(rst), .valid(valid), .first(first), .vectors(vectors),{raw_port}
               .block_valid(block_valid), .words(words));
  always #5 clk = ~clk;
  initial begin
    $readmemh("decoder_inputs.hex", inputs);
    $readmemh("decoder_expected.hex", expected);
{raw_read}\
    repeat (2) @(negedge clk);
    rst = 0;
    while (t < {vectors}) begin
      valid = 0;  // every third cycle has no vector
      if (t % 2 == 0) @(negedge clk);
      valid = 1;
      #1 if (block_valid !== (t >= {n_s})) wrong = wrong + 1;
      if (block_valid) begin
        if (words !== expected[t - {n_s}]) wrong = wrong + 1;
        seen = seen + 1;
      end
      @(posedge clk);
      #1 t = t + 1;
      @(negedge clk);
    end
    if (wrong != 0 || seen != {blocks}) begin
      $display("FAIL: %0d of %0d blocks wrong", wrong, seen);
      $fatal;
    end
    $display("PASS: %0d blocks", seen);
    $finish;
  end
endmodule
"""

_MASK_BENCH = """\
// Decodes the mask and compares it. Run in the folder of the .hex files:
//   iverilog -o mask_testbench mask_testbench.v mask.v && vvp mask_testbench
`timescale 1ns/1ps
module mask_testbench;
  reg clk = 0, rst = 1, start = 0;
  reg [{streams_top}:0] valid = 0;
  reg [63:0] expected [0:{words}-1];
  integer cycles = 0, wrong = 0, seen = 0;
  wire [{streams_top}:0] ready;
  wire [{in_top}:0] vectors;
  wire places_valid, done;
  wire [{address_top}:0] address;
  wire [63:0] places;
  // Of the last word, the places that there are.
  wire [63:0] care = address == {whole} ? {last} : {{64{{1'b1}}}};
{declared}\
  mask dut (.clk(clk), .rst(rst), .start(start), .valid(valid), .vectors(vectors), .ready(ready),
            .places_valid(places_valid), .address(address), .places(places), .done(done));
  always #5 clk = ~clk;
  initial begin
{read}\
    $readmemh("mask_expected.hex", expected);
    repeat (2) @(negedge clk);
    rst = 0;
    start = 1;
    @(negedge clk);
    start = 0;
    valid = ~0;
    #1;
    while (!done && cycles < {limit}) begin
      if (places_valid) begin
        if ((places & care) !== (expected[address] & care)) wrong = wrong + 1;
        seen = seen + 1;
      end
      cycles = cycles + 1;
      @(negedge clk);
      #1;
    end
    if (wrong != 0 || seen != {words}) begin
      $display("FAIL: %0d of %0d words wrong", wrong, seen);
      $fatal;
    end
    $display("PASS: %0d words of 64 places in %0d cycles", seen, cycles);
    $finish;
  end
endmodule
"""


def _readme(tensor: CompressedTensor) -> str:
    network = of_decoder(tensor.decoder)
    n_s, n_out, n_w, encoded = tensor.n_s, tensor.n_out, tensor.n_w, tensor.encoded
    planes, raw_planes = (", ".join(map(str, some)) for some in (encoded, tensor.raw_planes))
    raw = f"""\
| raw | in | {n_out * len(tensor.raw_planes)} | with vector t + {n_s}: the bits of block t of each \
raw plane: {raw_planes} |
"""
    text = f"""\
# Decoder of a {tensor.dtype} tensor {tensor.shape}

`decoder.v` is synthesizable Verilog 2001, one module without parameters; `decoder_testbench.v`
decodes the first blocks of this very tensor and compares them:

    iverilog -o decoder_testbench decoder_testbench.v decoder.v && vvp decoder_testbench

## Ports

{_TABLE}\
| clk, rst | in | 1 | clock, rising edge; synchronous reset, 1 = reset |
| valid | in | 1 | there are vectors in this cycle; otherwise nothing moves |
| first | in | 1 | they are the first of their planes |
| vectors | in | {tensor.n_in * len(encoded)} | a vector of {tensor.n_in} bits of each encoded \
plane, in this order from the low bits: {planes}; bit i of a vector is bit i of its byte in the \
payload |
{raw if raw_planes else ""}\
| block_valid | out | 1 | there is a block in this cycle |
| words | out | {n_out * n_w} | {n_out} words of {n_w} bits, first in the low bits |

## Timing

The payload has {n_s} vectors more than blocks. Block t comes out in the cycle of vector
t + {n_s}: `block_valid` and `words` follow the inputs of the same cycle through gates alone,
so register them if your clock wants that. From then on every cycle with `valid` gives a block of
{n_out} weights. A new pass starts with `first`. A plane takes {tensor.n_in * n_s}
registers and {len(network.gates)} XOR gates of two inputs, {network.depth} on
the longest path; the change of basis behind the planes comes on top.

## What comes out

Weights in encoding order ("{tensor.order}", see `f2f.format.orders`). Word = offset ^ the XOR of
basis[p] over the stored bits p that are 1. Before corrections: the Elias-Fano lists of the file
name, by plane, the few unpruned weights (counted among the unpruned ones) whose stored bit p is to
be flipped, which is `word ^= basis[p]`. Words at pruned places mean nothing: the mask says where.
"""
    mask = tensor.mask
    return text + (_mask_readme(mask) if mask is not None and mask.streams else "")


def _mask_readme(mask: MaskCode) -> str:
    count, words = len(mask.streams), -(-mask.n // 64)
    memory = f"""\
The last stream has the places in another order, in words of 64. So the AND of the others is written
into a memory of {words} × 64 bits first, and words come out when the last stream meets it there,
`address` by `address` in its order. The memory is read within the cycle; where RAM cannot do that,
put a register behind its address and the last stream.
"""
    return f"""
## The mask

`mask.v` is the AND of {count} decoder streams (blocks of {", ".join(map(str, mask.n_outs))} \
places), each of which takes
vectors at its own rate. Corrections follow it as well: a list of places to flip.

{_TABLE}\
| clk, rst | in | 1 | as above |
| start | in | 1 | for a cycle before each mask |
| valid, ready | in, out | {count} | bit i: stream i; taken in cycles where both are 1 |
| vectors | in | {count * mask.n_in} | a vector of {mask.n_in} bits of each stream, stream 0 in \
the low bits; after its last vector feed a stream zeros until `done` |
| places_valid | out | 1 | there are places in this cycle |
| address | out | {max((words - 1).bit_length(), 1)} | they are places 64 · address … |
| places | out | 64 | 1 = unpruned, the first in bit 0 |
| done | out | 1 | all have been put out |

{memory if count > 1 else ""}"""


_TABLE = "| port | direction | bits | meaning |\n|---|---|---|---|\n"
