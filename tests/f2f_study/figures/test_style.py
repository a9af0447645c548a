"""What holds for every figure: files, errors, determinism, and nothing cut off."""

import inspect
import itertools
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.transforms import Bbox

from f2f_study import figures
from f2f_study.figures import palette, style
from f2f_study.figures.style import COLUMN, PAGE, REGISTER, draws
from f2f_study.results import repository_root

REFERENCE = repository_root() / "runs" / "reference"
WINDOW = (
    "n_in,n_s,sparsity,care_bits,wrong_bits\n"
    "8,0,0.9,1000,70\n8,0,0.9,1000,72\n8,1,0.9,1000,9\n8,1,0.9,1000,8\n"
)
# Named by the column whose names the legend of the figure must hold.
LEGENDS = {
    "bits_by_part": None, "standin_quality": None,
    "beyond_dependence": None, "synthetic_n_u": None, "synthetic_mask": None, "trellis": None,
    "real_layer": None, "beyond_encoders": "n_s", "beyond_gates": "kind", "beyond_lengths": "n_s",
    "beyond_lookahead": "beam", "beyond_orders": "order",
    "efficiency_by_spread": "method", "n_u_histogram": "method",
    "paper_efficiency": "method", "paper_reduction": "method", "format_sizes": "format",
    "spmv_bytes": "format", "spmv_normalized": "format", "spmv_roofline": "format",
    "spmv_sizes": "format",
    "synthetic_rate": "n_s", "synthetic_skew": "inverted", "synthetic_sparsity": "n_s",
    "synthetic_spread": "n_s", "synthetic_window": "n_in", "hardware_gates": "kind",
}  # fmt: skip


def drawn_from_reference():
    """(figure, its first CSV file of the reference run), for all that have one."""
    for name, registered in sorted(REGISTER.items()):
        for path in sorted(REFERENCE.rglob(name))[:1]:
            yield from ((figure, path) for figure in registered)


def texts(figure):
    """All that is to be read, without the ticks beyond the limits of their axes."""
    found = [*figure.texts, *(text for one in figure.legends for text in one.get_texts())]
    for axes in figure.axes:
        found += [axes.title, *axes.texts]
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            found += [axis.label, *(tick.label1 for tick in ticks)]
    return [text for text in found if text.get_visible() and text.get_text()]


@pytest.fixture
def window(tmp_path):
    path = tmp_path / "synthetic_window.csv"
    path.write_text(WINDOW)
    return path


def test_every_figure_has_its_csv_in_the_reference():
    drawn = {figure.__name__ for figure, _ in drawn_from_reference()}
    assert drawn == set(LEGENDS)
    registered = {figure.__name__ for figures in REGISTER.values() for figure in figures}
    assert registered - drawn == {"spmv_normalized_gpu"}, "there is no GPU in the reference"


def at_both_widths():
    """Every figure with its CSV file at the width that it is drawn at, and, slow, at the other."""
    for figure, path in drawn_from_reference():
        own = inspect.signature(figure, follow_wrapped=False).parameters["width"].default
        for width in (COLUMN, PAGE):
            marks = () if width == own else pytest.mark.slow
            yield pytest.param(figure, path, width, marks=marks, id=f"{figure.__name__}-{width}")


@pytest.mark.parametrize(("figure", "path", "width"), list(at_both_widths()))
def test_nothing_is_cut_off_or_covered_and_no_panel_is_empty(figure, path, width):
    rows = pd.read_csv(path)
    with plt.style.context(style.THEME, after_reset=True):
        found = figure.__wrapped__(rows, width)
        found.draw_without_rendering()
        plt.close(found)
    assert found.get_size_inches()[0] == pytest.approx(width)
    frame = found.bbox
    boxes = {text: text.get_window_extent() for text in [*texts(found), *found.legends]}
    for text, box in boxes.items():
        inside = frame.x0 - 1 <= box.x0 and box.x1 <= frame.x1 + 1
        inside &= frame.y0 - 1 <= box.y0 and box.y1 <= frame.y1 + 1
        assert inside, f"{text} is cut off"
    for one, other in itertools.combinations(texts(found), 2):
        assert one.get_fontsize() >= 6.5
        common = Bbox.intersection(boxes[one], boxes[other])
        assert not common or min(common.width, common.height) < 1, f"{one} lies over {other}"
    for axes in found.axes:
        assert axes.has_data()
    assert len(found.legends) == 1
    kind = LEGENDS[figure.__name__]
    if kind:
        labels = [text.get_text() for text in found.legends[0].get_texts()]
        shown = rows if kind != "format" else rows[~rows.format.isin(["copy", "gemm"])]
        for name in shown[kind].unique():
            label = palette.look(kind, name).label
            assert any(one.startswith(label) for one in labels), f"{label} is in no legend"


@pytest.mark.parametrize(
    "figure_and_path", list(drawn_from_reference()), ids=lambda value: value[0].__name__
)
def test_a_small_run_is_drawn_without_empty_panels_or_refused(figure_and_path):
    figure, path = figure_and_path
    rows = pd.read_csv(path)
    for few in (rows.head(1), rows.tail(1), rows.sample(frac=0.05, random_state=2)):
        try:
            with plt.style.context(style.THEME, after_reset=True):
                found = figure.__wrapped__(few.reset_index(drop=True), PAGE)
        except ValueError as error:
            assert str(error).startswith("must have rows with")
        else:
            assert all(axes.has_data() or axes.texts for axes in found.axes)
        finally:
            plt.close("all")


def test_files_lie_beside_the_csv_unless_said_otherwise(window, tmp_path):
    figure = figures.synthetic_window(window)
    assert (tmp_path / "synthetic_window.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (tmp_path / "synthetic_window.svg").read_bytes()
    assert figure.get_size_inches()[0] == pytest.approx(COLUMN)
    wide = figures.synthetic_window(window, tmp_path / "deep" / "v1.2", width=PAGE)
    assert {path.name for path in (tmp_path / "deep").iterdir()} == {"v1.2.png", "v1.2.svg"}
    assert wide.get_size_inches()[0] == pytest.approx(PAGE)


def test_the_same_csv_gives_the_same_bytes_whatever_the_user_has_set(window, tmp_path):
    figures.synthetic_window(window, tmp_path / "a")
    mine = {
        "font.size": 30, "text.usetex": True, "font.family": "serif", "axes.grid": False,
        "savefig.dpi": 40, "savefig.bbox": "tight", "figure.constrained_layout.use": True,
        "lines.linewidth": 9, "lines.marker": "x", "axes.prop_cycle": plt.cycler(color=["red"]),
        "svg.hashsalt": None, "svg.fonttype": "none", "axes.formatter.use_locale": True,
    }  # fmt: skip
    with matplotlib.rc_context(mine):
        figures.synthetic_window(window, tmp_path / "b")
        assert matplotlib.rcParams["font.size"] == 30, "and leaves it as it was"
    for suffix in (".svg", ".png"):
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_only_the_figures_own_windows_are_closed(window, tmp_path):
    mine = plt.figure()
    try:
        figures.synthetic_window(window)
        window.write_text(WINDOW.replace("wrong_bits", "right_bits"))
        with pytest.raises(ValueError):
            figures.synthetic_window(window)
        assert plt.get_fignums() == [mine.number]
    finally:
        plt.close(mine)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must have the columns n_in, .*wrong_bits, lacks n_in, .*wrong_bits"),
        (WINDOW.splitlines()[0], "must have rows with n_in, .*wrong_bits, got a header only"),
        (WINDOW.replace("care_bits", "bits"), "lacks care_bits$"),
        (WINDOW.replace("72", "many"), "must hold numbers in wrong_bits, got '70'"),
        (WINDOW + '"', "EOF"),
    ],
)
def test_what_a_csv_lacks_is_named_with_the_file(window, text, message):
    window.write_text(text)
    with pytest.raises(ValueError, match=f"^{window}: .*{message}"):
        figures.synthetic_window(window)
    assert [path.name for path in window.parent.iterdir()] == ["synthetic_window.csv"]


@pytest.mark.parametrize("name", ["02_synthetic/synthetic_window", "06_spmv/spmv_cpu"])
def test_two_runs_in_one_file_are_said(tmp_path, name):
    rows = pd.read_csv(REFERENCE / f"{name}.csv")
    again = rows.assign(time_us=rows.time_us * 1.1) if "time_us" in rows else rows
    path = tmp_path / f"{Path(name).name}.csv"
    pd.concat([rows, again]).to_csv(path, index=False)
    with pytest.warns(UserWarning, match=f"^{path}: {len(rows)} rows stand there twice"):
        REGISTER[path.name][0](path)


@pytest.mark.parametrize("csv_name", sorted(REGISTER))
def test_every_figure_refuses_a_csv_without_rows_or_columns(tmp_path, csv_name):
    path = tmp_path / csv_name
    for figure in REGISTER[csv_name]:
        path.write_text("")
        with pytest.raises(ValueError, match=f"{csv_name}: must have the columns") as error:
            figure(path)
        columns = str(error.value).split("lacks ")[1].split(", ")
        path.write_text(",".join(columns) + "\n")
        with pytest.raises(ValueError, match=f"{csv_name}: must have rows with {columns[0]}"):
            figure(path)
        path.write_text(",".join(columns[1:]) + "\n")
        with pytest.raises(ValueError, match=f"{csv_name}: .*lacks {columns[0]}"):
            figure(path)


def test_a_figure_is_given_the_columns_it_names_and_no_others(tmp_path, monkeypatch):
    monkeypatch.setitem(REGISTER, "points.csv", [])

    @draws("points.csv", "x y")
    def points(rows, width):
        assert list(rows) == ["x", "y"]
        return style.panels(1, width)[0]

    (tmp_path / "points.csv").write_text("y,x,z\n1,2,3\n")
    assert points(tmp_path / "points.csv").get_size_inches()[0] == PAGE


def test_redraw_draws_what_it_can_and_reports_the_rest(window, tmp_path):
    bad = tmp_path / "a" / "beyond_gates.csv"
    bad.parent.mkdir()
    bad.write_text("kind\nrandom\n")
    (tmp_path / "other.csv").write_text("not a figure")
    with pytest.raises(ValueError, match="1 figures drawn, 1 not") as error:
        figures.redraw(tmp_path)
    assert f"beyond_gates: {bad}: must have the columns" in str(error.value)
    assert window.with_suffix(".svg").exists()
    bad.unlink()
    assert figures.redraw(tmp_path) == [window.with_suffix(".png")]


def test_panels_that_would_be_too_narrow_go_into_the_next_line():
    with plt.style.context(style.THEME, after_reset=True):
        narrow, axes = style.panels(3, COLUMN)
        wide, side_by_side = style.panels(3, PAGE)
        plt.close(narrow)
        plt.close(wide)
    assert len(axes) == len(narrow.axes) == 3
    assert narrow.get_figheight() == pytest.approx(3 * wide.get_figheight())
    assert len({one.get_position().y0 for one in side_by_side}) == 1
