"""Entered values meet ours; all values here are made up."""

import pandas as pd
import pytest

from f2f_study.experiments import paper_values
from f2f_study.experiments.paper_values import beside_paper, of_models, of_planes

HEADER = ",".join(paper_values.COLUMNS)


@pytest.fixture
def enter(tmp_path, monkeypatch):
    """Write lines below the header of a file that stands for the committed one."""

    def write(*lines, header=HEADER):
        path = tmp_path / "paper_values.csv"
        path.write_text("\n".join(["# made up, for a test", header, *lines]) + "\n")
        monkeypatch.setattr(paper_values, "values_file", lambda: path)

    return write


def whole():
    facts = {"network": "resnet", "method": "magnitude", "sparsity": 0.9, "n_s": 2, "dtype": "int8"}
    facts |= {"memory_reduction_percent": 80.0, "memory_reduction_with_mask_percent": 70.0}
    rows = [facts | {"inverting": i, "efficiency_percent": 97.0 + i} for i in (False, True)]
    return pd.DataFrame(rows)


def test_nothing_is_invented():
    assert paper_values.paper_values().empty
    assert beside_paper(of_models(whole())).empty


def test_entered_values_meet_ours(enter):
    enter(
        "table 9,resnet,magnitude,0.9,2,int8,E inverting,12.5",
        "table 9,resnet,magnitude,0.9,,int8,memory reduction,70.5",
        "table 9,resnet,magnitude,0.7,2,int8,E,1",
    )
    table = beside_paper(of_models(whole()))
    assert table["ours"].tolist() == [98.0, 80.0]
    assert table["difference"].tolist() == [85.5, 9.5]


def test_planes_are_averaged_over_matrices(enter):
    enter("figure 9,synthetic,,0.9,2,,E,50")
    facts = {"sparsity": 0.9, "n_s": 2, "memory_reduction_percent": 1.0}
    rows = pd.DataFrame([facts | {"efficiency_percent": e} for e in (98.0, 99.0)])
    (row,) = beside_paper(of_planes(rows)).itertuples()
    assert (row.ours, row.difference) == (98.5, 48.5)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x,vgg,l0,0.9,2,int8,E,1", "network must be one of synthetic, transformer, resnet, got"),
        ("x,resnet,l0,0.9,2,int8,F,1", "quantity must be one of E, E inverting"),
        ("x,resnet,l0,0.9,2,int8,E,high", "value must hold numbers, got"),
    ],
)
def test_wrong_entries_are_named(enter, line, message):
    enter(line)
    with pytest.raises(ValueError, match=message):
        paper_values.paper_values()


def test_wrong_columns_are_named(enter):
    enter(header="network,value")
    with pytest.raises(ValueError, match="columns must be"):
        paper_values.paper_values()
