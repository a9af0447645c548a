"""What the paper claims, in the words of its abstract, beside what the reference run found.

A verdict is computed from the numbers beside it, never written by hand.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from f2f_study import results

NEAR = 1.05  # stored bits over the bound that are "almost the maximum"
MODELS = {"04_transformer_wmt14": "the Transformer", "05_resnet50_imagenet": "ResNet-50"}
COLUMNS = ("the paper", "where", "here", "so", "what differs")


def found(reference: Path) -> pd.DataFrame:
    """One row a claim: `COLUMNS`, as Markdown."""
    rows = [_sequential(reference)]
    rows += [_model(reference, stem) for stem in MODELS]
    rows += [_parallelism(reference), _gates(reference)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def whole_models(reference: Path) -> pd.DataFrame:
    """Totals of models at every sparsity: the package's setting beside the paper's (``_paper``)."""
    keys = ["source", "network", "method", "sparsity", "dtype"]
    parts = []
    for path in sorted(reference.rglob("package_setting.csv")):
        package, paper = (
            results.read_csv(path.with_name(name)).query("layer == 'total'")
            for name in ("package_setting.csv", "paper_setting.csv")
        )
        paper = paper[(paper["n_s"] == paper["n_s"].max()) & paper["inverting"]]
        parts.append(package.merge(paper, on=keys, suffixes=("", "_paper")))
    return pd.concat(parts, ignore_index=True)


def _sequential(reference: Path) -> tuple[str, ...]:
    """E and memory reduction over the number of shift registers."""
    stem = "02_synthetic"
    rows = results.read_csv(reference / stem / "synthetic_sparsity.csv").query("sparsity == 0.9")
    means = rows.groupby("n_s")[["efficiency_percent", "memory_reduction_percent"]].mean()
    e, last = means["efficiency_percent"], means.iloc[-1]
    return (
        "sequential fixed-to-fixed encoding comes near the maximum that entropy allows",
        _linked(stem),
        f"E {_joined(e)} % for n_s = {_joined(e.index.to_series(), 0)}; memory reduction "
        f"{last['memory_reduction_percent']:.1f} of at most 90 %",
        "holds" if e.is_monotonic_increasing and e.iloc[-1] > 99 else "does not hold",
        "nothing known: random weights, S = 0.9, n_in = 8, mask not counted",
    )


def _model(reference: Path, stem: str) -> tuple[str, ...]:
    """E in the paper's setting and in this package's, over the methods of pruning."""
    models = whole_models(reference)
    models = models[(models["source"] == "surrogate") & (models["sparsity"] == 0.9)]
    models = models[models["network"] == stem.split("_")[1].rstrip("0123456789")]
    paper, near = models["efficiency_percent_paper"], models["ratio_to_order0"].max() <= NEAR
    low, high = (models.loc[at(), "method"] for at in (paper.idxmin, paper.idxmax))
    if near and paper.min() > 99:
        verdict = "holds"
    elif near:
        verdict = "holds with wider windows and another order; in row order not for every method"
    else:
        verdict = "does not hold"
    return (
        f"almost the maximum compression ratio for {MODELS[stem]}, however it was pruned",
        _linked(stem),
        f"paper's setting, n_s = 2: E {paper.min():.1f} ({low}) to {paper.max():.1f} % ({high}); "
        f"package: E {_span(models['efficiency_percent'])} %, stored bits over the bound "
        f"{_span(models['ratio_to_floor'], 3)} (incompressible values), "
        f"{_span(models['ratio_to_order0'], 3)} (order 0)",
        verdict,
        "masks drawn from the row and column counts of the published ones, values drawn; the mask "
        "is counted",
    )


def _parallelism(reference: Path) -> tuple[str, ...]:
    """Time of CSR over that of the dense product, in the paper's case."""
    stem = "06_spmv"
    rows = results.read_csv(reference / stem / "spmv_cpu.csv").query("rows == 2048")
    times = rows.groupby(["columns", "sparsity", "format"])["time_us"].median().unstack()
    over = times["csr_torch"] / times["dense_fp32"]
    over = over.unstack("columns").loc[[0.7, 0.9]].dropna(axis="columns")
    vector, many, most = over[over.columns.min()], over[over.columns.max()], over.columns.max()
    slower = [name for name, part in (("vector", vector), ("many", many)) if part.min() > 1]
    words = {0: "does not hold here", 1: "holds for many columns, not for one", 2: "holds"}
    if slower == ["vector"]:
        words[1] = "holds for a vector"
    return (
        "CSR degrades parallelism: its products are slower than dense ones",
        _linked(stem),
        f"CSR over dense, 2048 × 2048, S = 0.7 and 0.9: {_joined(vector)} for a vector, "
        f"{_joined(many)} for {most} columns",
        words[len(slower)],
        "CPU and library of today (CSR of PyTorch's MKL); no GPU",
    )


def _gates(reference: Path) -> tuple[str, ...]:
    """What a decoder is made of."""
    stem = "08_hardware"
    rows = results.read_csv(reference / stem / "hardware.csv")
    rows = rows.query("kind == 'random' and n_s == 2 and n_out == 80 and written == 'shared'")
    one = rows.iloc[0]
    return (
        "a decoder is shift registers and XOR gates, of fixed rate",
        _linked(stem),
        f"n_s = 2: {one['xor2_gates']:.0f} two-input gates, {one['flip_flops']:.0f} flip-flops, "
        f"depth {one['depth']:.0f}, for {one['n_out']:.0f} bits a cycle",
        f"{one['xor2_gates'] / (one['xor2_gates'] + one['other_gates']):.0%} of the gates are XOR",
        "synthesis by Yosys; tests simulate the circuits cycle by cycle",
    )


def _linked(stem: str) -> str:
    return f"[{stem[:2]}](notebooks/{stem}.ipynb)"


def _joined(values: pd.Series, digits: int = 2) -> str:
    return " / ".join(f"{value:.{digits}f}" for value in values)


def _span(values: pd.Series, digits: int = 2) -> str:
    return f"{values.min():.{digits}f} to {values.max():.{digits}f}"
