"""The paper's printed numbers beside ours, as far as someone has entered them.

``data/paper_values.csv`` has a header and no rows: the paper is not part of this repository. Lines
that begin with # are comments and say how to fill it in.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from f2f_study import results

COLUMNS = ["where", "network", "method", "sparsity", "n_s", "dtype", "quantity", "value"]
"""Of the file; `where` is the table or figure of the paper, an empty cell holds for any."""
QUANTITIES = ("E", "E inverting", "memory reduction", "memory reduction with mask")
"""All in %; without the word inverting, planes are encoded as they are."""
NETWORKS = ("synthetic", "transformer", "resnet")

_KEYS = COLUMNS[1:-1]


def values_file() -> Path:
    """Where the values are entered."""
    return results.repository_root() / "data" / "paper_values.csv"


def paper_values() -> pd.DataFrame:
    """What has been entered: the columns `COLUMNS`.

    Raises
    ------
    ValueError
        Wrong columns, an unknown network or quantity, or a value that is no number; the message
        names the file.
    """
    path = values_file()
    found = results.read_csv(path, comment="#")
    if list(found.columns) != COLUMNS:
        raise ValueError(f"{path}: columns must be {COLUMNS}, got {list(found.columns)}")
    for name, known in (("network", NETWORKS), ("quantity", QUANTITIES)):
        if wrong := sorted(set(found[name].dropna().astype(str)) - set(known)):
            raise ValueError(f"{path}: {name} must be one of {', '.join(known)}, got {wrong}")
    for name in ("sparsity", "n_s", "value"):
        if len(found) and found[name].notna().any() and found[name].dtype.kind not in "if":
            raise ValueError(f"{path}: {name} must hold numbers, got {found[name].tolist()}")
    return found


def beside_paper(ours: pd.DataFrame) -> pd.DataFrame:
    """Our numbers (columns network, method, sparsity, n_s, dtype, quantity, `ours`) and theirs.

    A row per number of ours that a value was entered for, in the order of the file: the columns of
    the file, an empty cell filled from our number, `ours`, and `difference`, ours less the paper's.
    """
    rows = []
    for entry in paper_values().to_dict("records"):
        same = pd.Series(True, index=ours.index)
        for name in _KEYS:
            if not pd.isna(entry[name]):
                same &= ours[name] == entry[name]
        rows += [entry | row for row in ours[same].to_dict("records")]
    table = pd.DataFrame(rows, columns=[*COLUMNS, "ours"])
    return table.assign(difference=table["ours"] - table["value"])


def of_models(whole: pd.DataFrame) -> pd.DataFrame:
    """What `beside_paper` takes, from the totals of `evaluation.paper_setting`."""
    keys = _KEYS[:-1]
    parts = []
    for inverting, rows in whole.groupby("inverting"):
        names = {"efficiency_percent": "E inverting" if inverting else "E"}
        if inverting:
            names["memory_reduction_percent"] = "memory reduction"
            names["memory_reduction_with_mask_percent"] = "memory reduction with mask"
        parts += [
            rows[keys].assign(quantity=quantity, ours=rows[column])
            for column, quantity in names.items()
        ]
    return pd.concat(parts, ignore_index=True)


def of_planes(rows: pd.DataFrame) -> pd.DataFrame:
    """What `beside_paper` takes, from `synthetic.measure`: means over the drawn matrices."""
    means = rows.groupby(["sparsity", "n_s"], as_index=False).agg(
        **{
            "E": ("efficiency_percent", "mean"),
            "memory reduction": ("memory_reduction_percent", "mean"),
        }
    )
    long = means.melt(["sparsity", "n_s"], var_name="quantity", value_name="ours")
    return long.assign(network="synthetic", method="random", dtype="bits")
