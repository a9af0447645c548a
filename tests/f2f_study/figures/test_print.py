"""The command line: one figure for print, and two runs in one figure."""

import re

import numpy as np
import pytest

from f2f_study import figures
from f2f_study.figures.__main__ import main, overlay

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
    assert (out / "synthetic_window.png").stat().st_size > 0
    one, two = (figures.synthetic_window(run / "synthetic_window.csv", formats=()) for run in runs)
    before, other = len(one.axes[0].lines), two.axes[0].lines
    laid = overlay(one, two, runs).axes[0].lines[before:]
    assert laid and all(line.get_linestyle() in (":", "None") for line in laid)
    drawn = {tuple(np.ravel(line.get_data())) for line in other}
    assert {tuple(np.ravel(line.get_data())) for line in laid} <= drawn


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--figure", "nothing"], "--figure must be one of beyond_dependence, .*, got 'nothing'"),
        (["--figure", "trellis"], "must be a run with trellis.csv, found none"),
        (["--figure", "synthetic_window", "--width", "99"], "--width must be 1 to 20 inches, got"),
        (["x", "y", "--figure", "synthetic_window"], "RUN must be one run or two, got 3"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_a_line(runs, words, said, capsys):
    assert main([str(runs[0]), *words]) == 2
    assert re.search(said, capsys.readouterr().err)
