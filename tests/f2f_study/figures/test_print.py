"""The command line: one figure for print, and two runs in one figure."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from f2f_study import figures
from f2f_study.figures import style
from f2f_study.figures.__main__ import main, overlay
from f2f_study.figures.palette import look

CSV = "n_in,n_s,n_out,sparsity,care_bits,wrong_bits\n8,0,80,0.9,1000,{}\n8,1,80,0.9,1000,{}\n"


@pytest.fixture
def runs(tmp_path):
    """Two runs with one figure each, of other numbers."""
    for name, wrong in (("one", (70, 9)), ("two", (60, 8))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "synthetic_window.csv").write_text(CSV.format(*wrong))
    return tmp_path / "one", tmp_path / "two"


def test_a_pdf_has_the_width_asked_for_and_its_fonts_inside(runs, capsys):
    run = str(runs[0])
    assert main([run, "--figure", "synthetic_window", "--width", "3.3"]) == 0
    path = runs[0] / "synthetic_window.pdf"
    assert capsys.readouterr().out == f"{path}\n"
    pdf = path.read_bytes()
    assert b"/Subtype /Type3" not in pdf and b"/FontFile2" in pdf
    (box,) = re.findall(rb"/MediaBox \[ 0 0 ([0-9.]+) ", pdf)
    assert float(box) == pytest.approx(3.3 * 72, abs=0.1)
    assert main([run, "--figure", "synthetic_window", "--width", "3.3"]) == 0
    assert path.read_bytes() == pdf


def test_the_second_run_is_laid_over_the_first(runs, tmp_path):
    out = tmp_path / "out"
    both = [str(run) for run in runs]
    assert main([*both, "--figure", "synthetic_window", "--format", "png", "--out", str(out)]) == 0
    assert [path.name for path in out.iterdir()] == ["synthetic_window_and_two.png"]
    one, two = (figures.synthetic_window(run / "synthetic_window.csv", formats=()) for run in runs)
    before = len(one.axes[0].lines)
    both = overlay(one, two, ["one", "two"])
    laid = both.axes[0].lines[before:]
    assert all(line.get_linestyle() in (":", "None") for line in laid)
    (line,) = (line for line in laid if line.get_marker() == look("n_in", 8).marker)
    np.testing.assert_allclose(line.get_xydata(), [[8, 6.0], [16, 0.8]])
    assert both.get_suptitle() == "one; dotted, open: two"


def test_points_and_bars_of_the_second_run_are_open():
    one, two = Figure(), Figure()
    one.suptitle("ResNet")
    for figure, height in ((one, 1.0), (two, 3.0)):
        axes = figure.subplots()
        axes.bar([0], [height])
        axes.scatter([5], [height])
        axes.axhline(7)
    axes = overlay(one, two, ["a", "b"]).axes[0]
    (bar,) = [patch for patch in axes.patches if not patch.get_fill()]
    assert (bar.get_height(), bar.get_width()) == (3.0, 0.8)
    point = axes.collections[-1]
    assert point.get_offsets().tolist() == [[5, 3]] and not len(point.get_facecolor())
    assert len(axes.lines) == 1, "a bound is drawn once"
    assert one.get_suptitle() == "ResNet\na; dotted, open: b"
    with pytest.raises(ValueError, match="must have the same panels, 1, 0"):
        overlay(one, Figure(), ["a", "b"])


def test_names_of_runs_are_not_cut_off(runs):
    one, two = (
        figures.synthetic_window(run / "synthetic_window.csv", width=3.3, formats=())
        for run in runs
    )
    with plt.style.context(style.THEME, after_reset=True):
        both = overlay(one, two, ["2026-01-31T23-59-59-default-0a1b2c3", "on another machine " * 3])
        both.draw_without_rendering()
    box = both._suptitle.get_window_extent()
    assert box.x0 >= 0 and box.x1 <= both.bbox.x1


def test_figures_of_several_folders_do_not_overwrite_one_another(runs, tmp_path, capsys):
    for folder in ("02/a", "dlmc/02/a"):
        (runs[0] / folder).mkdir(parents=True)
        (runs[0] / folder / "synthetic_window.csv").write_text(CSV.format(5, 4))
    out = tmp_path / "out"
    words = ["--figure", "synthetic_window", "--format", "png", "--out", str(out)]
    assert main([str(runs[0]), *words]) == 0
    names = ["02_a_synthetic_window.png", "dlmc_02_a_synthetic_window.png", "synthetic_window.png"]
    assert sorted(path.name for path in out.iterdir()) == names


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--figure", "nothing"], "--figure must be one of beyond_dependence, .*, got 'nothing'"),
        (["--figure", "trellis"], "must be a run with trellis.csv, found none"),
        (
            ["empty", "--figure", "synthetic_window"],
            "empty must be a run with synthetic_window.csv",
        ),
        (["--figure", "synthetic_window", "--width", "99"], "--width must be 1 to 20 inches, got"),
        (["x", "y", "--figure", "synthetic_window"], "RUN must be one run or two, got 3"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_a_line(runs, words, said, capsys):
    assert main([str(runs[0]), *words]) == 2
    assert re.search(said, capsys.readouterr().err)
