"""Fill the tables of the pages (`make readme`): `python -m f2f_study.run.pages`.

A table stands between ``<!-- table:NAME -->`` and ``<!-- /table -->``; what is between them is
replaced by what the function NAME of `TABLES` makes of the reference run (`runs/reference/`) or of
the package. A test finds what is stale.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from f2f_study import provenance, results

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
    "09_formats": ("what one would store instead of CSR: size, time to code and read", "`data/`"),
    "08_hardware": ("the decoder as hardware: XOR gates, registers, depth, and E", "nothing"),
}

# What of a format can be read without the rest; any block of ours.
ACCESS = {
    "entropy floor": "",
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


def table(frame: pd.DataFrame, align: str = "") -> str:
    """A Markdown table; `align` has one of l, r per column, left where it is shorter."""
    marks = ["--:" if letter == "r" else "---" for letter in align.ljust(len(frame.columns), "l")]
    lines = [list(frame.columns), marks, *frame.itertuples(index=False)]
    return "".join("| " + " | ".join(str(cell) for cell in line) + " |\n" for line in lines)


def notebook_table(reference: Path) -> str:
    """Number, what of the paper, inputs, outputs, minutes of every notebook of the reference."""
    facts = provenance.read(reference)["notebooks"]
    rows = []
    for stem in sorted(NOTEBOOKS.keys() & facts.keys()):
        files = ", ".join(f"`{path.name}`" for path in sorted((reference / stem).glob("*.csv")))
        minutes = f"{facts[stem]['seconds'] / 60:.1f}"
        rows.append((f"[{stem}](notebooks/{stem}.ipynb)", *NOTEBOOKS[stem], files, minutes))
    names = ["notebook", "what of the paper", "reads", "writes", "minutes"]
    return table(pd.DataFrame(rows, columns=names), "llllr")


def summary_table(reference: Path) -> str:
    """Every quantity of every notebook, with the tolerance that `make compare` applies."""
    rows = results.summaries(reference)
    rows["reference"] = [results.shown(r.value, r.unit) for r in rows.itertuples()]
    rows["accepted"] = rows["tolerance"].map("± {:.3g}".format, na_action="ignore").fillna("")
    return table(rows[["notebook", "quantity", "reference", "accepted"]], "llrr")


def conditions(reference: Path) -> str:
    """Where and with what the reference was made: hardware and versions, one line each."""
    facts = provenance.read(reference)["notebooks"].values()
    hardware = sorted({entry["hardware"] for entry in facts})
    versions = sorted({f"Python {e['python']}, numba {e['versions']['numba']}" for e in facts})
    return f"Measured on {'; '.join(hardware)}; {'; '.join(versions)}.\n"


def formats_table(reference: Path) -> str:
    """Every format on the same tensors: size, times, and what can be read by itself."""
    samples = results.read_csv(reference / "benchmarks" / "formats" / "formats.csv")
    samples = samples[samples["tensors"] == samples["tensors"].iloc[-1]]
    text = ""
    for dtype, sparsity in (("int8", 0.9), ("float32", 0.9)):
        part = samples[(samples["dtype"] == dtype) & (samples["sparsity"] == sparsity)]
        first = part.iloc[0]
        floor = first["floor_bits_per_weight"]
        medians = part.groupby("format").median(numeric_only=True)
        medians = medians.sort_values("size_bits_per_weight")
        medians = pd.concat(
            [pd.DataFrame({"size_bits_per_weight": {"entropy floor": floor}}), medians]
        )
        size = medians["size_bits_per_weight"]
        shown = {"format": size.index, "bits/weight": size.map("{:.3f}".format)}
        shown["/ floor"] = (size / floor).map("{:.3f}".format)
        for what, step in (("encode", "compress"), ("decode", "decompress"), ("load", "load")):
            shown[f"{what} ns"] = medians[f"{step}_ns_per_weight"].map(_rounded)
        shown["reads"] = [ACCESS.get(str(name), "any block") for name in size.index]
        text += (
            f"{first['tensors']}, {first['weights'] / 1e6:.1f} M weights, {dtype.upper()}, "
            f"S = {sparsity}:\n\n{table(pd.DataFrame(shown), 'lrrrrrl')}\n"
        )
    return text + (
        "Times are processor time per weight of the tensor, medians. The floor is the entropy of\n"
        "the mask plus every bit of an unpruned value, as if values were incompressible; bits of\n"
        "FP32 weights are not, so sizes may lie below it.\n"
    )


def products_table(reference: Path) -> str:
    """Products of one large matrix and a vector in every format, measured together."""
    samples = results.read_csv(reference / "benchmarks" / "spmv" / "spmv.csv")
    samples = samples[samples["sparsity"] > 0]
    first = samples.iloc[0]
    formats = samples.groupby("format", sort=False)
    facts, times = formats.first(), formats["time_us"]
    low, middle, high = (times.quantile(share) / 1000 for share in (0.25, 0.5, 0.75))
    each = 1e6 * middle * facts["threads"] / (first["useful_operations"] / 2)
    shown = {
        "format": facts.index,
        "weights": facts["dtype"],
        "threads": facts["threads"],
        "ms": middle.map("{:.1f}".format),
        "quartiles": low.map("{:.1f}".format) + " to " + high.map("{:.1f}".format),
        "/ dense": (middle / middle["dense_fp32"]).map("{:.2f}".format),
        "ns each": each.map("{:.2f}".format),
        "MB": (facts["stored_bytes"] / 1e6).map("{:.1f}".format),
    }
    return (
        f"{first['rows']} × {first['cols']}, S = {first['sparsity']}, times a float32 vector; "
        "*ns each*: times threads, per unpruned weight.\n\n"
    ) + table(pd.DataFrame(shown), "llrrrrrr")


def _rounded(value: float) -> str:
    """Two significant digits, without an exponent; nothing for NaN."""
    if value != value:
        return ""
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def models_table(reference: Path) -> str:
    """Whole models at S = 0.9: the paper's setting beside this package's."""
    parts = []
    for path in sorted(reference.rglob("package_setting.csv")):
        package, paper = (
            results.read_csv(path.with_name(name)).query("layer == 'total' and sparsity == 0.9")
            for name in ("package_setting.csv", "paper_setting.csv")
        )
        paper = paper[(paper["n_s"] == paper["n_s"].max()) & paper["inverting"]]
        keys = ["source", "network", "method", "dtype"]
        parts.append(package.merge(paper, on=keys, suffixes=("", "_paper")))
    both = pd.concat(parts)
    shown = {
        "model": both["network"] + ", " + both["source"],
        "pruning": both["method"],
        "dtype": both["dtype"],
        "weights": (both["weights"] / 1e6).map("{:.2f} M".format),
        "E, paper's setting": both["efficiency_percent_paper"].map("{:.2f}".format),
        "E": both["efficiency_percent"].map("{:.2f}".format),
        "bits/weight": both["bits_per_weight"].map("{:.3f}".format),
        "/ floor": both["ratio_to_floor"].map("{:.3f}".format),
        "encode M/s": (both["weights"] / both["encode_s"] / 1e6).map(_rounded),
        "decode M/s": (both["weights"] / both["decode_s"] / 1e6).map(_rounded),
    }
    return table(pd.DataFrame(shown), "lllrrrrrrr")


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
    return table(pd.DataFrame(rows, columns=["", "compress", "decompress", "stored"]), "lrrr")


def module_table(reference: Path) -> str:
    """Every module of both packages with the first line of its docstring."""
    lib = Path(__file__).parents[2]
    rows = []
    for path in sorted(lib.rglob("*.py")):
        name = ".".join(path.relative_to(lib).with_suffix("").parts)
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        rows.append((f"`{name.removesuffix('.__init__')}`", text.split("\n")[0].rstrip(".")))
    return table(pd.DataFrame(rows, columns=["module", "purpose"]))


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


def fill(page: str, reference: Path) -> str:
    """The page with every marked table made anew.

    Raises
    ------
    ValueError
        The name of a marker is unknown.
    """

    def replace(match: re.Match[str]) -> str:
        name = match[2]
        if name not in TABLES:
            raise ValueError(f"table must be one of {', '.join(TABLES)}, got {name!r}")
        return match[1] + TABLES[name](reference) + match[3]

    return _MARKED.sub(replace, page)


def main() -> None:
    """Fill every page, and say which have changed."""
    root = results.repository_root()
    changed = []
    for name in PAGES:
        page = (root / name).read_text(encoding="utf-8")
        new = fill(page, root / "runs" / "reference")
        if new != page:
            changed.append(name)
            (root / name).write_text(new, encoding="utf-8")
    print(f"written: {', '.join(changed) or 'nothing'}")


if __name__ == "__main__":
    main()
