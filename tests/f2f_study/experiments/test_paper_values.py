"""Entered values meet ours; all values here are made up."""

import itertools

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.colors import same_color

from f2f_study import figures, results
from f2f_study.experiments import paper_values
from f2f_study.experiments.paper_values import beside_paper, of_models, of_planes
from f2f_study.figures.palette import look

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
    assert table["n_s"].tolist() == [2, 2], "what was left open is that of our number"


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


def models():
    """Totals of the paper's setting: two methods, with inverting and without."""
    facts = whole().iloc[0].to_dict() | {"source": "surrogate", "layer": "total"}
    facts |= {"care_bits": 1000, "wrong_bits": 50}
    cases = itertools.product(("magnitude", "l0"), (False, True), (0, 2))
    return pd.DataFrame(
        facts | {"method": method, "inverting": inverting, "n_s": n_s}
        for method, inverting, n_s in cases
    )


def planes():
    facts = {"bound_percent": 90.0, "memory_reduction_percent": 80.0, "care_bits": 1000}
    facts |= {"wrong_bits": 30, "efficiency_percent": 97.0}
    return pd.DataFrame(facts | {"sparsity": s, "n_s": n_s} for s in (0.7, 0.9) for n_s in (0, 2))


def octagons(axes):
    """x, y and colour of every point of the paper in a panel."""
    lines = [line for line in axes.get_lines() if line.get_marker() == "8"]
    assert all(line.get_fillstyle() == "none" for line in lines)
    return [(x, y, line.get_color()) for line in lines for x, y in line.get_xydata().tolist()]


def draw(figure, folder, csv, rows, ours):
    results.write_csv(folder / "paper_values.csv", beside_paper(ours))
    found = figure(results.write_csv(folder / csv, rows), formats=())
    plt.close(found)
    legend = [text.get_text() for text in found.legends[0].get_texts()]
    return [octagons(axes) for axes in found.axes], "paper" in legend


MADE_UP = [
    "x,resnet,l0,0.9,2,int8,E,90",
    "x,resnet,magnitude,,2,,E inverting,99",
    "x,resnet,l0,0.9,2,,memory reduction,81.5",
    "x,resnet,l0,0.9,2,,memory reduction with mask,71.5",
    "x,transformer,l0,0.9,2,,E,1",
    "x,synthetic,,0.9,2,bits,E,98",
    ",synthetic,,0.7,0,,memory reduction,66",
]
FIGURES = [
    (figures.paper_efficiency, "paper_setting.csv", models, of_models,
     [[(2, 10, "l0"), (2, 1, "magnitude")]]),
    (figures.paper_reduction, "paper_setting.csv", models, of_models,
     [[(2, 81.5, "l0"), (2, 71.5, "l0")]]),
    (figures.synthetic_sparsity, "synthetic_sparsity.csv", planes, of_planes,
     [[(0.9, 2, 2)], [(0.7, 66, 0)], []]),
]  # fmt: skip


@pytest.mark.parametrize(("figure", "csv", "rows", "of", "expected"), FIGURES)
def test_figures_show_entered_values_beside_ours(
    tmp_path, enter, figure, csv, rows, of, expected
):  # fmt: skip
    enter(*MADE_UP)
    drawn, in_legend = draw(figure, tmp_path, csv, rows(), of(rows()))
    assert in_legend
    for found, wanted in zip(drawn, expected, strict=True):
        assert [point[:2] for point in found] == [point[:2] for point in wanted]
        for (*_, colour), (*_, name) in zip(found, wanted, strict=True):
            kind = "n_s" if of is of_planes else "method"
            assert same_color(colour, look(kind, name).colour)


@pytest.mark.parametrize(("figure", "csv", "rows", "of", "expected"), FIGURES)
def test_figures_show_no_value_that_nobody_entered(
    tmp_path, enter, figure, csv, rows, of, expected
):  # fmt: skip
    enter()
    drawn, in_legend = draw(figure, tmp_path, csv, rows(), of(rows()))
    assert drawn == [[]] * len(expected) and not in_legend
    (tmp_path / "paper_values.csv").unlink()
    assert not any(octagons(axes) for axes in figure(tmp_path / csv, formats=()).axes)
