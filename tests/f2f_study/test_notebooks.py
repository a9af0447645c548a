"""Every notebook, run at its tiny profile, with a scientific assertion on what it wrote.

`CHECKS` has the assertion of each notebook; the rest holds for all of them.
"""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest

from f2f_study import provenance, results
from f2f_study.experiments.evaluation.models import DTYPES
from f2f_study.experiments.matrices import MATRIX_KINDS
from f2f_study.figures import REGISTER
from f2f_study.networks.layers import METHODS
from f2f_study.networks.quantize import SCHEMES
from f2f_study.run import launch
from f2f_study.run.parameters import (
    PROFILES,
    Job,
    find_notebooks,
    known_parameters,
    missing_for,
    notebook_folder,
    read_yaml,
)
from f2f_study.sources.opening import NETWORKS, SOURCES

NOTEBOOKS = find_notebooks()
REFERENCE = results.repository_root() / "runs" / "reference"


def rows(folder, name):
    return results.read_csv(folder / name)


def check_standins(folder):
    """Every committed network is as good as its file says, and two were trained here."""
    found = rows(folder, "standins.csv")
    assert len(found) == 18
    assert (found["recorded_percent"] - found["recomputed_percent"]).abs().max() <= 0.5
    assert (found["recomputed_percent"] > 95).all()
    assert found["trained_percent"].notna().sum() == 2


def check_transformer(folder):
    """The method decides in the paper's setting, and hardly in this package's."""
    check_models(folder)
    e = {}
    for name in ("paper_setting.csv", "package_setting.csv"):
        found = rows(folder, name)
        whole = found[(found["layer"] == "total") & (found["n_s"] == found["n_s"].max())]
        e[name] = whole.groupby("method")["efficiency_percent"].mean()
    assert e["paper_setting.csv"]["l0"] < e["paper_setting.csv"]["random"] - 2
    assert abs(e["package_setting.csv"]["l0"] - e["package_setting.csv"]["random"]) < 0.2


def check_resnet(folder):
    """INT8 planes are coins: inverting changes nothing, and coded parts end close to the floor."""
    check_models(folder)
    paper = rows(folder, "paper_setting.csv")
    whole = paper[paper["layer"] == "total"].set_index(["method", "n_s", "inverting"])
    e = whole["efficiency_percent"].unstack()
    assert (e[True] - e[False]).abs().max() < 1
    package = rows(folder, "package_setting.csv")
    assert package[package["layer"] == "total"]["coded_ratio_to_floor"].between(0.95, 1.05).all()


def check_models(folder):
    """Lossless; better than the paper's setting; other methods spread more than random."""
    package, paper = rows(folder, "package_setting.csv"), rows(folder, "paper_setting.csv")
    assert package["lossless"].all()
    best = package[package["layer"] == "total"].set_index(["method", "dtype"])
    beaten = paper[(paper["layer"] == "total") & (paper["n_s"] <= 1)]
    for row in beaten.itertuples():
        assert best.efficiency_percent[row.method, row.dtype] > row.efficiency_percent
    spread = rows(folder, "n_u_spread.csv")
    total = spread[spread["layer"] == "total"].set_index("method")
    others = total.variation.drop("random")
    assert len(others) and (others > 1.3 * total.variation["random"]).all()
    assert rows(folder, "standin_setting.csv")["lossless"].all()
    assert rows(folder, "quality.csv")["same_outputs"].all()


CHANGED = {"02_synthetic": 3, "dlmc/05_resnet50_imagenet_dlmc": -4}


def changed_reference(folder):
    """The reference but for two quantities, 3 and -4 accepted differences away, and one file."""
    run = folder / "runs" / "changed"
    shutil.copytree(REFERENCE, run, ignore=shutil.ignore_patterns("07_*", "*.png", "*.svg"))
    for name, times in CHANGED.items():
        summary = results.read_summary(run / name)
        at = summary["tolerance"].gt(0).idxmax()
        summary.loc[at, "value"] += times * summary.loc[at, "tolerance"]
        results.write_csv(run / name / "summary.csv", summary)
    (run / "01_walkthrough" / "bits.csv").unlink()
    return {"source": str(run)}


def check_overview(folder):
    """The reference with three changes beside itself: they are shown, and nothing else is."""
    shown = rows(folder, "overview.csv")
    listed = results.summaries(REFERENCE).query("notebook != '07_overview'")
    assert len(shown) == len(listed) > 0
    beyond = shown[~shown["agrees"]].set_index("notebook")
    assert beyond["deviation"].to_dict() == pytest.approx(CHANGED)
    assert (shown["deviation"].fillna(0) != 0).sum() == len(CHANGED)
    book = nbformat.read(folder.parent / "07_overview.ipynb", 4)
    data = [out.get("data", {}) for cell in book.cells for out in cell.get("outputs", [])]
    (table,) = [str(found["text/html"]) for found in data if "text/html" in found]
    assert table.count("<tr>") == 1 + 3
    assert all(name in table for name in ("bits.csv", *beyond["quantity"]))
    verdict, links = [str(found["text/markdown"]) for found in data if "text/markdown" in found]
    assert verdict.startswith("**3 differences beyond tolerance** (runs/reference)")
    for link in re.findall(r"\]\((.*?)\)", links):
        assert (folder.parent / link).is_file()
    assert "dlmc/05_resnet50_imagenet.ipynb" in links and "07_overview" not in links


def check_walkthrough(folder):
    """One best path through the trellis, whose cost are the wrong bits of the plane."""
    steps = rows(folder, "trellis.csv")
    best = steps[steps["on_best_path"]]
    assert best["block"].tolist() == [0, 1, 2, 3] and best["survives"].all()
    assert (best["state_after"].to_numpy()[:-1] == best["state_before"].to_numpy()[1:]).all()
    bits = rows(folder, "bits.csv")
    assert best["unmatched"].sum() == bits["wrong"].sum() == best["cost_after"].iloc[-1]


def check_synthetic(folder):
    """More registers are better at every S, a larger spread of n_u is worse."""
    over_sparsity = rows(folder, "synthetic_sparsity.csv")
    means = over_sparsity.groupby(["sparsity", "n_s"])["efficiency_percent"].mean().unstack()
    assert (means[0] + 1 < means[1]).all() and (means[1] < means[2]).all()
    spread = rows(folder, "synthetic_spread.csv").groupby(["n_s", "variation_wanted"])
    falls = spread["efficiency_percent"].mean().unstack()
    assert (falls.iloc[:, 0] > falls.iloc[:, -1]).all()
    layer = rows(folder, "real_layer.csv").groupby("order")
    assert (layer["plane"].nunique() == 8).all()
    assert layer["wrong_bits"].sum()["golden"] < 0.8 * layer["wrong_bits"].sum()["row"]


def check_beyond(folder):
    """Registers, beams and late decisions help; orders matter where pruning is not independent."""
    found = rows(folder, "beyond_encoders.csv")
    beams = found[found["encoder"] == "beam"]
    e = beams.pivot(index="n_s", columns="beam", values="efficiency_percent")
    assert (e.loc[2] > e.loc[0] + 5).all() and (e.loc[7] > e.loc[2]).all()
    counted = rows(folder, "beyond_dependence.csv")
    share = counted["wrong_bits"] / counted["care_bits"]
    assert (share <= 0.6 * counted["dependent_bits"] / counted["plane_care_bits"]).all()
    ahead = rows(folder, "beyond_lookahead.csv").groupby("lookahead")["wrong_bits"].sum()
    assert ahead[18] < ahead[1]
    gates = rows(folder, "beyond_gates.csv").groupby(["n_s", "kind"]).mean()
    assert gates["wrong_bits"][7, "weight 16"] < gates["wrong_bits"][2, "random"]
    chosen = rows(folder, "matrices.csv").groupby(["n_s", "kind"])["efficiency_percent"].mean()
    assert abs(chosen[7, "folded"] - chosen[7, "random"]) < 0.05
    assert chosen[1, "quarter weight"] < chosen[1, "random"]
    assert rows(folder, "beyond_lengths.csv").groupby("n_s")["chosen"].sum().eq(1).all()
    orders = rows(folder, "beyond_orders.csv")
    total = orders[orders["layer"] == "total"].set_index(["method", "order"])
    assert total.efficiency_percent["l0", "golden"] > total.efficiency_percent["l0", "row"] + 1
    fewest = rows(folder, "beyond_orders_fewest_bits.csv").query("layer == 'total'")
    fewest = fewest.set_index(["method", "order"])["efficiency_percent"]
    assert ((total.efficiency_percent.loc[fewest.index] - fewest).between(-0.1, 0.2)).all()


def check_spmv(folder):
    """Half of the bytes of dense FP32 and CSR, and about a bitmap's."""
    found = rows(folder, "spmv_cpu.csv")
    assert (found["error"] <= 1e-5).all() and (found["time_us"] > 0).all()
    stored = found.groupby(["rows", "sparsity", "format"])["stored_bytes"].first().unstack()
    stored = stored[stored["encoded"].notna()]
    assert (stored["encoded"] < 0.5 * stored["dense_fp32"]).all()
    assert (stored["encoded"] < 0.5 * stored["csr_torch"]).all()
    assert (stored["encoded"] / stored["bitmap"]).between(0.9, 1.25).all()


def check_formats(folder):
    """ANS of the mask is the least that packed values allow; between the bounds lies this package.

    It beats the other formats with values as they are, and stays above the order-0 bound.
    """
    found = rows(folder, "formats.csv").groupby(["tensors", "dtype", "sparsity", "format"]).first()
    size = found["size_bits_per_weight"].unstack("format")
    assert (size["ans_bitmap"] >= found["floor_bits_per_weight"].unstack("format")["f2f"]).all()
    others = size[["bitmap", "csr", "delta_csr", "dense"]].min(axis=1)
    assert (others > 0.999 * size["ans_bitmap"]).all()
    assert (size["f2f"] < 1.03 * others).all()
    assert (size["f2f"] > found["order0_bits_per_weight"].unstack("format")["f2f"]).all()


def check_hardware(folder):
    """Sharing saves gates, a folded matrix most; registers are what the window needs."""
    found = rows(folder, "hardware.csv").set_index(["kind", "n_s", "written"])
    gates = found["xor2_gates"].unstack("written")
    assert (gates["shared"] <= gates["separate"] + 4).all()
    assert gates["shared"]["random", 7] < 0.8 * gates["separate"]["random", 7]
    assert gates["shared"]["folded", 7] < 0.6 * gates["shared"]["random", 7]
    assert gates["shared"]["random", 7] < 0.6 * found["row_gates"]["random", 7, "shared"]
    assert (
        found["efficiency_percent"]["folded", 7, "shared"]
        > (found["efficiency_percent"]["random", 2, "shared"])
    )
    assert (found["flip_flops"] // 8 == found.index.get_level_values("n_s")).all()


# What the CSV files of a notebook must show, whatever the sizes: name -> check of its folder.
CHECKS: dict[str, Callable[[Path], None]] = {
    "00_train_standins": check_standins,
    "01_walkthrough": check_walkthrough,
    "02_synthetic": check_synthetic,
    "03_beyond_algorithm3": check_beyond,
    "04_transformer_wmt14": check_transformer,
    "05_resnet50_imagenet": check_resnet,
    "06_spmv": check_spmv,
    "07_overview": check_overview,
    "08_hardware": check_hardware,
    "09_formats": check_formats,
}


# What a notebook is given beside its tiny profile: name -> parameters, made in a folder.
CHANGES: dict[str, Callable[[Path], dict[str, Any]]] = {"07_overview": changed_reference}


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_its_results_hold(notebook, tmp_path):
    assert notebook.stem in CHECKS, f"CHECKS has nothing of {notebook.stem}"
    if missing := missing_for(notebook):
        pytest.skip(missing)
    changes = CHANGES.get(notebook.stem, lambda folder: {})(tmp_path)
    launch.execute(Job.of(notebook, "tiny", changes), tmp_path)
    folder = tmp_path / notebook.stem
    summary = results.read_summary(folder)
    assert len(summary) and summary["value"].notna().all()
    for path in folder.glob("*.csv"):
        for figure in REGISTER.get(path.name, []):
            for suffix in (".png", ".svg"):
                assert (folder / (figure.__name__ + suffix)).is_file()
    CHECKS[notebook.stem](folder)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_keeps_the_common_form(notebook):
    book = nbformat.read(notebook, 4)
    nbformat.validate(book)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    # What JupyterLab writes: a notebook that was opened there differs in nothing else.
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    assert book.metadata["kernelspec"] == kernel
    # JupyterLab writes the kernel's whole description too, so a shorter one marks the notebook
    # as modified on opening; "version" alone may differ from that of the reader's Python.
    described = {"codemirror_mode", "file_extension", "mimetype", "name", "nbconvert_exporter"}
    assert set(book.metadata["language_info"]) == described | {"pygments_lexer", "version"}
    assert book.cells[0].cell_type == "markdown" and book.cells[0].source.startswith("# ")
    assert not any(cell.outputs or cell.execution_count for cell in code), "outputs are not kept"
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in book.cells) == 1
    # A list of parameters may be longer: it has one assignment a line.
    actions = [c for c in code if "parameters" not in c.metadata.get("tags", [])]
    long = [c.source.splitlines()[0] for c in actions if len(c.source.splitlines()) > 15]
    assert not long, f"code cells of more than 15 lines: {long}"
    known = known_parameters(notebook)
    assert known["run_dir"][:2] == ("str", "runs/interactive")
    assert known.get("seed", ("int", 0))[0] == "int"
    free = {name for name, one in known.items() if one.limits is None and one.kind != "bool"}
    paths = {"run_dir", "path", "values", "model_file", "translator", "imagenet_folder"}
    assert free <= paths | {"reference", "source"}, (
        "notebooks/limits.yaml does not say what these may be"
    )
    for profile in PROFILES:
        Job.of(notebook, profile, {})


def test_limits_name_what_there_is():
    listed = read_yaml(notebook_folder() / "limits.yaml")
    assert set(listed) <= {"all", *(path.stem for path in NOTEBOOKS)}
    names = listed["all"]
    assert tuple(names["methods"]) == METHODS and tuple(names["networks"]) == NETWORKS
    assert tuple(names["dtypes"]) == DTYPES and tuple(names["scheme"]) == SCHEMES
    assert {re.sub(r"[NW]$", "W", kind) for kind in MATRIX_KINDS} == set(names["kinds"])
    for path in NOTEBOOKS:
        assert set(listed.get(path.stem, {})) <= set(known_parameters(path))
        assert set(listed.get(path.stem, {}).get("source", [])) <= set(SOURCES)


def test_profiles_name_existing_notebooks_and_profiles():
    listed = read_yaml(notebook_folder() / "profiles.yaml")
    assert set(listed) <= {path.stem for path in NOTEBOOKS}
    for profiles in listed.values():
        assert set(profiles) <= set(PROFILES)


def test_the_reference_run_explains_its_columns():
    guide = (REFERENCE.parent / "README.md").read_text()
    unknown = {}
    for path in sorted(REFERENCE.rglob("*.csv")):
        missing = [name for name in rows(path.parent, path.name) if f"`{name}`" not in guide]
        if missing:
            unknown[str(path.relative_to(REFERENCE))] = missing
    assert not unknown, f"runs/README.md does not define {unknown}"


def test_the_reference_run_is_complete():
    assert {path.stem for path in NOTEBOOKS} <= set(provenance.read(REFERENCE)["notebooks"])
