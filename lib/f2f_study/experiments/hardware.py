"""What a decoder costs as hardware, beside what it does: gates, registers, depth, E (notebook 08).

A matrix is written as a circuit in two ways: "separate", every row a tree of its own, so that
synthesis has to find what rows share, and "shared", with the network of `f2f.hardware.network`.
"""

from __future__ import annotations

import os
from typing import Any

import joblib
import pandas as pd
from tqdm import tqdm

from f2f.decoder import MATRICES
from f2f.hardware import network
from f2f.hardware.synthesis import synthesize
from f2f.parallel import end_with
from f2f_study.experiments import accounting
from f2f_study.experiments.accounting import N_IN
from f2f_study.experiments.matrices import make_matrix, measure_matrix
from f2f_study.results import Quantity

WRITTEN = ("separate", "shared")
KEYS = ["kind", "n_s", "sparsity", "seed"]


def measure_quality(
    kind: str, *, n_s: int, sparsity: float, blocks: int, seed: int = 0, beam: int = 64
) -> dict[str, Any]:
    """E of a matrix, and `bits_per_weight`: payload and corrections of an 8-bit one, no mask.

    Arguments as of `matrices.measure_matrix`; the planes are the same for every kind.
    """
    settings = {"blocks": blocks, "seed": seed, "data_seed": seed, "beam": beam}
    found = measure_matrix(kind, n_s=n_s, sparsity=sparsity, **settings)
    bits = found["stored_bits"] / (blocks * found["n_out"])
    columns = [*KEYS, "n_out", "care_bits", "wrong_bits", "efficiency_percent"]
    return {name: found[name] for name in columns} | {"bits_per_weight": bits}


def measure_circuit(
    kind: str, written: str, *, n_s: int, sparsity: float, seed: int = 0
) -> dict[str, Any]:
    """Cells of a matrix's plane decoder, written in one of the ways of `WRITTEN`.

    `row_gates`: XOR gates counted by the weight of the rows (of a folded matrix, of its two
    stages); `written_gates`: those of the circuit before synthesis; then those after it.
    """
    decoder = make_matrix(kind, accounting.block_length(N_IN, sparsity), n_s, seed)
    shared = written == "shared"
    net = network.of_decoder(decoder) if shared else network.separate(decoder.matrix)
    cells = synthesize(decoder, net)
    return {
        "kind": kind,
        "n_s": n_s,
        "sparsity": sparsity,
        "seed": seed,
        "written": written,
        "row_gates": float(accounting.xor_gates(decoder).sum()),
        "written_gates": len(net.gates),
        "xor2_gates": cells.xor2,
        "other_gates": cells.other_gates,
        "flip_flops": cells.flip_flops,
        "depth": cells.depth,
        "lut6": cells.lut6,
        "lut_depth": cells.lut_depth,
        "bits_per_gate": decoder.n_out / cells.xor2,
    }


def cases(kinds: list[str], sparsities: list[float], registers: list[int]) -> list[dict[str, Any]]:
    """Random matrices for all numbers of registers, other kinds for seven, which they are for."""
    found = []
    for sparsity in sparsities:
        found += [{"kind": MATRICES[0], "n_s": n_s, "sparsity": sparsity} for n_s in registers]
        others = [kind for kind in kinds if kind != MATRICES[0]]
        found += [{"kind": kind, "n_s": 7, "sparsity": sparsity} for kind in others]
    return found


def measure_circuits(cases: list[dict[str, Any]], seed: int = 0) -> pd.DataFrame:
    """`measure_circuit` of every case in both ways, a process a core: Yosys is not for threads."""
    first = measure_circuit(**cases[0], written="shared", seed=seed)  # compiles Yosys, once
    rest = [(case, written) for case in cases for written in WRITTEN]
    rest.remove((cases[0], "shared"))
    jobs = (
        joblib.delayed(measure_circuit)(**case, written=written, seed=seed)
        for case, written in rest
    )
    workers = joblib.Parallel(
        os.cpu_count(), initializer=end_with, initargs=(os.getpid(),), return_as="generator"
    )
    shown = tqdm(workers(jobs), desc="synthesis", total=len(rest), unit=" circuits", delay=2)
    rows = pd.DataFrame([first, *shown])
    return rows.sort_values([*KEYS, "written"], ignore_index=True)


def summary(rows: pd.DataFrame) -> list[Quantity]:
    """Gates and depth at the largest n_out; another version of Yosys may find a few more."""
    wide = rows[rows["n_out"] == rows["n_out"].max()].set_index(["kind", "n_s", "written"])
    quantities = []
    for (kind, n_s, written), row in wide.sort_index().iterrows():
        if (kind, n_s) in (("random", 2), ("random", 7), ("folded", 7)):
            name = f"{kind}, n_s = {n_s}, n_out = {row['n_out']:.0f}, {written}"
            gates = row["xor2_gates"]
            quantities.append(Quantity(f"XOR gates, {name}", gates, "1", 0.1 * gates))
            quantities.append(Quantity(f"longest path, {name}", row["depth"], "1", 1))
    return quantities
