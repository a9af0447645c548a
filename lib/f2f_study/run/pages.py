"""Fill the tables of README.md and docs/ (`make readme`): `python -m f2f_study.run.pages`.

A table stands between ``<!-- table:NAME -->`` and ``<!-- /table -->``; what is between them is
replaced by what the function NAME of `TABLES` makes of the reference run (`runs/reference/`) or of
the package. A test finds what is stale.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import nbformat
import pandas as pd

from f2f_study import provenance, results
from f2f_study.run import claims
from f2f_study.run.parameters import find_notebooks

_MARKED = re.compile(r"(<!-- table:(\w+) -->\n).*?(<!-- /table -->)", re.S)

PAGES = ("README.md", "docs/architecture.md", "docs/guide.md", "docs/results.md")

# The formats of the short table: what each is, and what of it can be read without the rest.
PEERS = {
    "f2f": ("f2f", "any block"),
    "ans_values": ("ANS of mask and values", "nothing: one symbol after another"),
    "bitmap_zipnn": ("bitmap, ZipNN of values", "nothing"),
    "zipnn": ("ZipNN of all weights", "nothing"),
    "csr": ("CSR", "any row"),
}
_BOUNDS = {"floor": "bound, incompressible values", "order0": "bound, values of order 0"}


def table(frame: pd.DataFrame, align: str = "") -> str:
    """A Markdown table; `align` has one of l, r per column, left where it is shorter."""
    marks = ["--:" if letter == "r" else "---" for letter in align.ljust(len(frame.columns), "l")]
    lines = [list(frame.columns), marks, *frame.itertuples(index=False)]
    return "".join("| " + " | ".join(str(cell) for cell in line) + " |\n" for line in lines)


def notebook_table(reference: Path) -> str:
    """Name, title and minutes of every notebook of the reference."""
    facts = provenance.read(reference)["notebooks"]
    rows = []
    for path in find_notebooks():
        if path.stem in facts:
            title = nbformat.read(path, 4).cells[0].source.split("\n")[0]
            minutes = f"{facts[path.stem]['seconds'] / 60:.1f}"
            rows.append(
                (f"[{path.stem}](../notebooks/{path.name})", title[len("# 00 ") :], minutes)
            )
    return table(pd.DataFrame(rows, columns=["notebook", "what it asks", "minutes"]), "llr")


def summary_table(reference: Path) -> str:
    """Every quantity of every notebook, with the tolerance that `make compare` applies."""
    rows = results.summaries(reference).query("not notebook.str.startswith('07')")
    rows["reference"] = [results.shown(r.value, r.unit) for r in rows.itertuples()]
    rows["accepted"] = rows["tolerance"].map("± {:.3g}".format, na_action="ignore").fillna("")
    return table(rows[["notebook", "quantity", "reference", "accepted"]], "llrr")


def conditions(reference: Path) -> str:
    """Where and with what the reference was made: hardware and versions, one line each."""
    runs = [provenance.read(path.parent) for path in reference.rglob("provenance.json")]
    facts = [entry for run in runs for entry in run["notebooks"].values()]
    hardware = sorted({entry["hardware"] for entry in facts})
    versions = sorted({f"Python {e['python']}, numba {e['versions']['numba']}" for e in facts})
    return f"Measured on {'; '.join(hardware)}; {'; '.join(versions)}.\n"


def formats_samples(reference: Path) -> pd.DataFrame:
    """Medians of notebook 09, of the ResNet-50 file where it was there: by case and format."""
    paths = [reference / "file" / "09_formats", reference / "09_formats"]
    (path, *_) = [path / "formats.csv" for path in paths if path.exists()]
    case = ["tensors", "dtype", "sparsity"]
    samples = results.read_csv(path)
    return samples.groupby([*case, "format"], sort=False).median(numeric_only=True)


def formats_table(reference: Path) -> str:
    """Every format on the same tensors, smallest first, between the two bounds."""
    text = ""
    medians = formats_samples(reference)
    for (tensors, dtype, sparsity), part in medians.groupby(level=[0, 1, 2], sort=False):
        part = part.droplevel([0, 1, 2]).sort_values("size_bits_per_weight")
        bounds = {
            name: {"size_bits_per_weight": part[f"{bound}_bits_per_weight"].iloc[0]}
            for bound, name in _BOUNDS.items()
        }
        part = pd.concat([pd.DataFrame.from_dict(bounds, orient="index"), part])
        size = part["size_bits_per_weight"]
        shown = {"format": size.index, "bits/weight": size.map("{:.3f}".format)}
        for what in ("compress", "decompress", "load"):
            shown[f"{what} ns"] = part[f"{what}_ns_per_weight"].map(_rounded)
        text += f"{tensors}, {dtype.upper()}, S = {sparsity:g}:\n\n"
        text += table(pd.DataFrame(shown), "lrrrr") + "\n"
    return text + "Processor time per weight of the tensor, medians, one thread.\n"


def peers_table(reference: Path) -> str:
    """Five formats in the cases that people have."""
    medians = formats_samples(reference)
    tensors = medians.index.get_level_values("tensors")[-1]
    cases = {("bfloat16", 0.0): "BF16", ("bfloat16", 0.5): "BF16, S = 0.5"}
    cases[("int8", 0.9)] = "INT8, S = 0.9"
    shown: dict[str, list[str]] = {"bits per weight": [name for name, _ in PEERS.values()]}
    for (dtype, sparsity), words in cases.items():
        of_case = medians.xs((tensors, dtype, sparsity), level=("tensors", "dtype", "sparsity"))
        shown[words] = [f"{of_case['size_bits_per_weight'][name]:.2f}" for name in PEERS]
    for what in ("compress", "decompress"):
        shown[f"{what}, ns"] = [_rounded(of_case[f"{what}_ns_per_weight"][name]) for name in PEERS]
    shown["can be read by itself"] = [alone for _, alone in PEERS.values()]
    return (
        f"The same tensors in every format ({tensors}); times in ns per weight, of the last case, "
        f"one thread.\n{conditions(reference)}\n"
    ) + table(pd.DataFrame(shown), "lrrrrrl")


def products_table(reference: Path) -> str:
    """Products of the largest matrix and a vector in every format, measured together."""
    samples = results.read_csv(reference / "06_spmv" / "spmv_cpu.csv")
    chosen = (samples["rows"] == samples["rows"].max()) & (samples["sparsity"] == 0.9)
    samples = samples[chosen & (samples["columns"] == 1)]
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
    """Whole models: the paper's setting beside this package's."""
    both = claims.whole_models(reference)
    shown = {
        "model": both["network"] + ", " + both["source"],
        "pruning": both["method"] + both["sparsity"].map(" {:g}".format),
        "dtype": both["dtype"],
        "weights": (both["weights"] / 1e6).map("{:.2f} M".format),
        "E, paper's setting": both["efficiency_percent_paper"].map("{:.2f}".format),
        "E": both["efficiency_percent"].map("{:.2f}".format),
        "bits/weight": both["bits_per_weight"].map("{:.3f}".format),
        "/ floor": both["ratio_to_floor"].map("{:.3f}".format),
        "/ order 0": both["ratio_to_order0"].map("{:.3f}".format),
        "encode M/s": (both["weights"] / both["encode_s"] / 1e6).map(_rounded),
        "decode M/s": (both["weights"] / both["decode_s"] / 1e6).map(_rounded),
    }
    return table(pd.DataFrame(shown), "lllrrrrrrrr")


def headline(reference: Path) -> str:
    """What one model takes, in a sentence."""
    rows = results.read_csv(reference / "05_resnet50_imagenet" / "package_setting.csv")
    rows = rows.query("source == 'surrogate' and layer == 'total' and dtype == 'int8'")
    (row,) = rows.query("method == 'magnitude' and sparsity == 0.9").itertuples()
    bound = row.order0_bits / row.weights
    return (
        f"**{row.bits_per_weight:.2f} bits a weight** for ResNet-50 in INT8 "
        f"({row.weights / 1e6:.1f} million weights, S = {row.sparsity:g}), mask included.\n"
        f"The bound for coding mask and values without memory is {bound:.2f}. "
        "Every bit of every unpruned weight comes back.\n"
        "(The mask is drawn from the row and column counts of the published one, the values are "
        "drawn.)\n"
    )


def claims_table(reference: Path) -> str:
    """What the paper claims beside what came out here (`f2f_study.run.claims`)."""
    return table(claims.found(reference))


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
    "peers": peers_table,
    "claims": claims_table,
    "headline": headline,
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


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: fill every page, say which have changed; returns 0."""
    parser = argparse.ArgumentParser(prog="python -m f2f_study.run.pages", description=__doc__)
    parser.parse_args(arguments)
    root = results.repository_root()
    changed = []
    for name in PAGES:
        page = (root / name).read_text(encoding="utf-8")
        new = fill(page, root / "runs" / "reference")
        if new != page:
            changed.append(name)
            (root / name).write_text(new, encoding="utf-8")
    print(f"written: {', '.join(changed) or 'nothing'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
