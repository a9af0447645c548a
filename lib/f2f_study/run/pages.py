"""Fill the tables of the pages from what they are about: `python -m f2f_study.run.pages` (`make readme`).

A table stands between ``<!-- table:NAME -->`` and ``<!-- /table -->``; what is between them is
replaced by what the function NAME of `TABLES` makes of the reference run (`runs/reference/`) or of
the package. With `--check` nothing is written and the exit status says whether a page is stale.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from f2f_study import results

_MARKED = re.compile(r"(<!-- table:(\w+) -->\n).*?(<!-- /table -->)", re.S)

PAGES = ("README.md", "docs/architecture.md", "docs/results.md")

# What of the paper a notebook is about, and what it reads.
NOTEBOOKS = {
    "00_train_standins": ("the small models that stand in for the paper's, trained", "nothing"),
    "01_walkthrough": ("the code itself: one tiny block by hand", "nothing"),
    "02_synthetic": ("synthetic data: E and memory reduction over S, n_in, n_out, n_s", "nothing"),
    "03_beyond_algorithm3": ("beyond Algorithm 3: wide windows, beam, orders, rate", "nothing"),
    "04_transformer_wmt14": ("sparse Transformer (WMT14 en-de), four pruning methods", "`data/`"),
    "05_resnet50_imagenet": ("ResNet-50 (ImageNet), FP32 and signed INT8", "`data/`"),
    "06_spmv": ("Algorithms 1 and 2, normalized execution times", "nothing"),
    "07_overview": ("all results of a run on one page", "the other notebooks' CSV"),
}

# What of a format can be read without the rest.
ACCESS = {
    "f2f": "any block",
    "dense": "any weight",
    "zstd": "all",
    "csr": "any row",
    "scipy csr npz": "all",
    "delta_csr": "any row",
    "bitmap": "after a count of the mask",
    "bitmap_zipnn": "all",
    "zipnn": "all",
    "ans_bitmap": "all",
    "ans_values": "all",
}


def table(header: Sequence[str], rows: Iterable[Sequence[Any]], align: str = "") -> str:
    """A Markdown table; `align` has one of l, r per column, left where it is shorter."""
    marks = ["--:" if letter == "r" else "---" for letter in align.ljust(len(header), "l")]
    lines = [header, marks, *rows]
    return "".join("| " + " | ".join(str(cell) for cell in line) + " |\n" for line in lines)


def notebook_table(reference: Path) -> str:
    """Number, what of the paper, inputs, outputs, minutes of every notebook of the reference."""
    facts = _provenance(reference)["notebooks"]
    rows = []
    for stem in sorted(NOTEBOOKS.keys() & facts.keys()):
        paper, inputs = NOTEBOOKS[stem]
        csv = sorted(path.name for path in (reference / stem).glob("*.csv"))
        outputs = ", ".join(f"`{name}`" for name in csv)
        minutes = f"{facts[stem]['seconds'] / 60:.1f}"
        rows.append((f"[{stem}](notebooks/{stem}.ipynb)", paper, inputs, outputs, minutes))
    return table(("notebook", "what of the paper", "reads", "writes", "minutes"), rows, "llllr")


def summary_table(reference: Path) -> str:
    """Every quantity of every notebook, with the tolerance that `make compare` applies."""
    rows = []
    for path in sorted(reference.glob("*/summary.csv")):
        for row in results.read_csv(path, results.Quantity).itertuples():
            tolerance = "" if row.tolerance != row.tolerance else f"± {row.tolerance:.3g}"
            value = f"{row.value:.6g} {results.shown_unit(row.unit)}".strip()
            rows.append((path.parent.name, row.quantity, value, tolerance))
    return table(("notebook", "quantity", "reference", "accepted"), rows, "llrr")


def conditions(reference: Path) -> str:
    """Where and with what the reference was made: hardware and versions, one line each."""
    facts = _provenance(reference)["notebooks"]
    hardware = sorted({entry["hardware"] for entry in facts.values()})
    versions = sorted(
        {f"Python {e['python']}, numba {e['versions']['numba']}" for e in facts.values()}
    )
    return f"Measured on {'; '.join(hardware)}; {'; '.join(versions)}.\n"


def formats_table(reference: Path) -> str:
    """Every format on the same tensors: size, times, and what can be read by itself."""
    samples = results.read_csv(reference / "benchmarks" / "formats" / "formats.csv")
    samples = samples[samples["tensors"] == samples["tensors"].iloc[-1]]
    lines = ""
    for dtype, sparsity in (("int8", 0.9), ("float32", 0.9)):
        part = samples[(samples["dtype"] == dtype) & (samples["sparsity"] == sparsity)]
        medians = part.groupby("format").median(numeric_only=True)
        first = part.iloc[0]
        floor = first["floor_bits_per_weight"]
        rows: list[tuple[str, ...]] = [("entropy floor", f"{floor:.3f}", "1.000", "", "", "", "")]
        for name, row in medians.sort_values("size_bits_per_weight").iterrows():
            size = row["size_bits_per_weight"]
            times = [row[f"{what}_ns_per_weight"] for what in ("compress", "decompress", "load")]
            access = ACCESS.get(str(name), ACCESS["f2f"])
            shown = (f"{size:.3f}", f"{size / floor:.3f}", *map(_rounded, times))
            rows.append((str(name), *shown, access))
        lines += (
            f"{first['tensors']}, {first['weights'] / 1e6:.1f} M weights, {dtype.upper()}, "
            f"S = {sparsity}:\n\n"
        )
        header = ("format", "bits/weight", "/ floor", "encode ns", "decode ns", "load ns", "reads")
        lines += table(header, rows, "lrrrrrl") + "\n"
    return lines + (
        "Times are processor time per weight of the tensor, medians. The floor is the entropy of\n"
        "the mask plus every bit of an unpruned value, as if values were incompressible; bits of\n"
        "FP32 weights are not, so sizes may lie below it.\n"
    )


def products_table(reference: Path) -> str:
    """Products of one large matrix and a vector in every format, measured together."""
    samples = results.read_csv(reference / "benchmarks" / "spmv" / "spmv.csv")
    samples = samples[samples["sparsity"] > 0]
    first = samples.iloc[0]
    unpruned = first["useful_operations"] / 2
    by_format = samples.groupby("format", sort=False)
    dense = by_format.get_group("dense_fp32")["time_us"].median()
    rows = []
    for name, part in by_format:
        low, middle, high = part["time_us"].quantile([0.25, 0.5, 0.75]) / 1000
        threads, stored = part["threads"].iloc[0], part["stored_bytes"].iloc[0]
        times = (f"{middle:.1f}", f"{low:.1f} to {high:.1f}", f"{1000 * middle / dense:.2f}")
        each = 1e6 * middle * threads / unpruned
        cells = (str(threads), *times, f"{each:.2f}", f"{stored / 1e6:.1f}")
        rows.append((str(name), part["dtype"].iloc[0], *cells))
    header = ("format", "weights", "threads", "ms", "quartiles", "/ dense", "ns each", "MB")
    return (
        f"{first['rows']} × {first['cols']}, S = {first['sparsity']}, times a float32 vector; "
        "*ns each*: times threads, per unpruned weight.\n\n" + table(header, rows, "llrrrrrr")
    )


def _rounded(value: float) -> str:
    """Two significant digits, without an exponent."""
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def models_table(reference: Path) -> str:
    """Whole models at S = 0.9: the paper's setting beside this package's."""
    rows = []
    for path in sorted(reference.rglob("package_setting.csv")):
        package, paper = (
            _whole_models(results.read_csv(path.with_name(name)))
            for name in ("package_setting.csv", "paper_setting.csv")
        )
        paper = paper[(paper["n_s"] == paper["n_s"].max()) & paper["inverting"]]
        keys = ["source", "network", "method", "dtype"]
        both = package.merge(paper, on=keys, suffixes=("", "_paper"))
        for row in both.itertuples():
            model = f"{row.network}, {row.source}"
            ours = f"{row.efficiency_percent:.2f}"
            size = (f"{row.bits_per_weight:.3f}", f"{row.ratio_to_floor:.3f}")
            times = [_rounded(row.weights / t / 1e6) for t in (row.encode_s, row.decode_s)]
            paper_percent = f"{row.efficiency_percent_paper:.2f}"
            weights = f"{row.weights / 1e6:.2f} M"
            rows.append((model, row.method, row.dtype, weights, paper_percent, ours, *size, *times))
    names = (
        "model|pruning|dtype|weights|E, paper's setting|E|bits/weight|/ floor|encode M/s|decode M/s"
    )
    header = names.split("|")
    return table(header, rows, "lllrrrrrrr")


def _whole_models(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[(frame["layer"] == "total") & (frame["sparsity"] == 0.9)]


def scale_table(reference: Path) -> str:
    """Speed over workers, and the estimate for large models."""
    folder = reference / "benchmarks" / "scale"
    rows = []
    samples = results.read_csv(folder / "scale.csv")
    for (backend, jobs), part in samples.groupby(["backend", "jobs"], sort=False):
        speeds = [
            f"{_rounded((part['weights'] / part[name]).median() / 1e6)} M weights/s"
            for name in ("compress_s", "decompress_s")
        ]
        rows.append((f"{backend}, {jobs} workers", *speeds, ""))
    for row in results.read_csv(folder / "estimates.csv").itertuples():
        hours = [f"{h:.2g} h" for h in (row.compress_hours, row.decompress_hours)]
        name = f"estimate: {row.model} weights on {row.cores} cores"
        rows.append((name, *hours, f"{row.size_gigabytes:.3g} GB"))
    return table(("", "compress", "decompress", "stored"), rows, "lrrr")


def module_table(reference: Path) -> str:
    """Every module of both packages with the first line of its docstring."""
    lib = Path(__file__).parents[2]
    rows = []
    for path in sorted(lib.rglob("*.py")):
        name = ".".join(path.relative_to(lib).with_suffix("").parts)
        text = ast.get_docstring(ast.parse(path.read_text())) or ""
        rows.append((f"`{name.removesuffix('.__init__')}`", text.split("\n")[0].rstrip(".")))
    return table(("module", "purpose"), rows)


TABLES: dict[str, Callable[[Path], str]] = {
    "notebooks": notebook_table,
    "summary": summary_table,
    "conditions": conditions,
    "modules": module_table,
    "formats": formats_table,
    "models": models_table,
    "products": products_table,
    "scale": scale_table,
}


def _provenance(reference: Path) -> dict[str, Any]:
    return dict(json.loads((reference / "provenance.json").read_text()))


def fill(page: str, reference: Path) -> str:
    """The page with every marked table made anew.

    Raises `ValueError` for a marker whose name is unknown.
    """

    def replace(match: re.Match[str]) -> str:
        name = match[2]
        if name not in TABLES:
            raise ValueError(f"table must be one of {', '.join(TABLES)}, got {name!r}")
        return match[1] + TABLES[name](reference) + match[3]

    return _MARKED.sub(replace, page)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m f2f_study.run.pages", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether it is stale")
    given = parser.parse_args(arguments)
    root = results.repository_root()
    stale = []
    for name in PAGES:
        page = (root / name).read_text()
        new = fill(page, root / "runs" / "reference")
        if new != page:
            stale.append(name)
            if not given.check:
                (root / name).write_text(new)
    print(f"{'stale' if given.check else 'written'}: {', '.join(stale) or 'nothing'}")
    return int(given.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
