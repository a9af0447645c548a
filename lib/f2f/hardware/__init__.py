"""Decoders as hardware: Verilog from a decoder, from a compressed tensor, from its mask.

The decoder of the paper is a shift register and XOR gates. `network` writes its matrix as few
gates, `circuits` wraps them into modules, `emit` writes these as Verilog, `export` adds a
self-checking testbench with the vectors of a compressed tensor, `synthesis` counts cells. Amaranth
describes and simulates, Yosys writes Verilog and synthesizes; both come with the extra `hardware`
and are imported only where they are used.
"""

from f2f.hardware.emit import verilog
from f2f.hardware.network import Network, of_decoder

__all__ = ["Network", "of_decoder", "verilog"]
