"""Cells after synthesis by Yosys: gates of two inputs, and the LUTs of a generic FPGA."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from f2f.decoder import Decoder
from f2f.hardware.emit import rtlil, yosys
from f2f.hardware.network import Network

_MAPPING = {
    "gates": "synth -flatten -top decoder -noabc; abc -g AND,OR,XOR,XNOR; opt_clean",
    "luts": "synth -flatten -top decoder -lut 6; opt_clean",
}


class Cells(NamedTuple):
    """What a plane decoder takes."""

    xor2: int  # XOR and XNOR gates of two inputs
    other_gates: int  # all other gates: the count of vectors, and inverters
    flip_flops: int  # registers of the window, and the count of vectors
    depth: int  # gates on the longest path between inputs, registers and outputs
    lut6: int  # the same circuit on a generic FPGA: tables of up to six inputs,
    lut_depth: int  # and their longest path


def synthesize(decoder: Decoder, network: Network | None = None) -> Cells:
    """Cells of a plane decoder after synthesis, its matrix written as `network` (as `of_decoder`).

    Raises
    ------
    ImportError
        Amaranth or Yosys is not installed.
    """
    from f2f.hardware.circuits import PlaneDecoder

    design = rtlil(PlaneDecoder(decoder, network))
    gates, depth = _mapped(design, "gates")
    luts, lut_depth = _mapped(design, "luts")
    flip_flops = sum(count for cell, count in gates.items() if "DFF" in cell)
    xor2 = gates.get("$_XOR_", 0) + gates.get("$_XNOR_", 0)
    other = sum(gates.values()) - xor2 - flip_flops
    return Cells(xor2, other, flip_flops, depth, luts.get("$lut", 0), lut_depth)


def _mapped(design: str, target: str) -> tuple[dict[str, int], int]:
    """Cells by type, and the longest path."""
    script = f"read_rtlil in.il; {_MAPPING[target]}; tee -o cells stat -json; tee -o path ltp -noff"
    found = yosys(script, design, "cells", "path")
    cells = json.loads(found["cells"])["design"].get("num_cells_by_type", {})
    longest = re.search(r"length=(\d+)", found["path"])
    if longest is None:
        raise RuntimeError(f"Yosys must report the longest path, got {found['path']!r}")
    return cells, int(longest[1])
