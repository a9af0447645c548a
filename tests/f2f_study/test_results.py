import json
from dataclasses import dataclass

import pandas as pd
import pytest

from f2f_study import results
from f2f_study.run.compare import compare, main, within


@dataclass(frozen=True)
class Row:
    name: str
    n_s: int
    time_us: float
    exact: bool


ROWS = [Row("a", 0, 1.5, True), Row("", 1, float("nan"), False)]


def test_csv_round_trip_keeps_columns_types_and_values(tmp_path):
    path = results.write_csv(tmp_path / "deep" / "rows.csv", ROWS)
    frame = results.read_csv(path, Row)
    assert list(frame.columns) == ["name", "n_s", "time_us", "exact"]
    assert frame["name"].tolist() == ["a", ""]
    assert frame["n_s"].tolist() == [0, 1]
    assert frame["time_us"][0] == 1.5 and pd.isna(frame["time_us"][1])
    assert frame["exact"].tolist() == [True, False]
    assert list(path.parent.iterdir()) == [path]


def test_floats_survive_exactly(tmp_path):
    values = [0.1, 1 / 3, 1e-300, 99.46000000000001]
    path = results.write_csv(tmp_path / "x.csv", pd.DataFrame({"x": values}))
    assert results.read_csv(path)["x"].tolist() == values


def test_wrong_columns_are_named(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("name,n_s,time_ms,exact\na,0,1,True\n")
    with pytest.raises(ValueError, match=r"rows\.csv.*Row.*missing \['time_us'\].*\['time_ms'\]"):
        results.read_csv(path, Row)


@pytest.mark.parametrize(
    ("line", "column"),
    [("a,1.5,1,True", "n_s"), ("a,1,fast,True", "time_us"), ("a,1,1,2", "exact")],
)
def test_values_of_the_wrong_type_are_named(tmp_path, line, column):
    path = tmp_path / "rows.csv"
    path.write_text(f"name,n_s,time_us,exact\n{line}\n")
    with pytest.raises(ValueError, match=f"column {column} must hold"):
        results.read_csv(path, Row)


def test_rows_of_two_kinds_or_none_are_refused(tmp_path):
    other = results.Quantity("E", 1.0, "%", 0.1)
    for rows in ([], [ROWS[0], other]):
        with pytest.raises(ValueError, match="rows must be one or more rows of one dataclass"):
            results.write_csv(tmp_path / "x.csv", rows)
    with pytest.raises(ValueError, match="row_class must be a dataclass, got <class 'int'>"):
        results.columns(int)


def test_summary_refuses_a_quantity_twice(tmp_path):
    twice = [results.Quantity("E", 1.0, "%", 0.1)] * 2
    with pytest.raises(ValueError, match="different names"):
        results.write_summary(tmp_path, twice)


def test_run_dir_is_relative_to_the_root_from_anywhere_inside(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "pyproject.toml").touch()
    for place in (tmp_path, tmp_path / "notebooks"):
        monkeypatch.chdir(place)
        assert results.run_dir("runs/x", "02") == tmp_path / "runs" / "x" / "02"
    assert (tmp_path / "runs" / "x" / "02").is_dir()
    assert results.run_dir(tmp_path / "elsewhere") == tmp_path / "elsewhere"


def test_provenance_is_complete_and_is_json(tmp_path):
    facts = results.provenance(n_s=2, seed=0)
    assert facts["parameters"] == {"n_s": 2, "seed": 0}
    assert set(facts["versions"]) == set(results.PACKAGES)
    assert "cores" in facts["hardware"] and "GiB" in facts["hardware"]
    assert len(facts["commit"].removesuffix("+changes")) in (7, 40)
    path = results.write_provenance(tmp_path, facts)
    assert json.loads(path.read_text()) == facts


def test_commit_is_unknown_outside_a_checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "repository_root", lambda: tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert results.provenance()["commit"] == "unknown"


def quantities(e=99.46, seconds=3.0, tolerance=0.05):
    return [
        results.Quantity("E", e, "%", tolerance),
        results.Quantity("time", seconds, "s", float("nan")),
    ]


@pytest.fixture
def runs(tmp_path):
    for name in ("reference", "run"):
        results.write_summary(tmp_path / name / "02", quantities())
        results.write_csv(tmp_path / name / "02" / "rows.csv", ROWS)
    return tmp_path / "run", tmp_path / "reference"


def test_compare_accepts_what_is_within_tolerance_and_ignores_times(runs):
    run, reference = runs
    results.write_summary(run / "02", quantities(e=99.50, seconds=30.0))
    assert compare(run, reference) == []
    assert main([str(run), "--reference", str(reference)]) == 0


def test_compare_lists_what_is_beyond_tolerance_and_exits_non_zero(runs, capsys):
    run, reference = runs
    results.write_summary(run / "02", quantities(e=99.40))
    (difference,) = compare(run, reference)
    assert (difference.notebook, difference.what) == ("02", "E")
    assert main([str(run), "--reference", str(reference)]) == 1
    printed = capsys.readouterr().out
    assert "99.46 ± 0.05 %" in printed and "99.4 %" in printed and "1 difference " in printed


def test_the_tolerance_of_the_reference_counts_not_that_of_the_run(runs):
    run, reference = runs
    results.write_summary(run / "02", quantities(e=90.0, tolerance=100.0))
    assert len(compare(run, reference)) == 1


def test_compare_lists_absent_files_quantities_and_columns(runs):
    run, reference = runs
    results.write_csv(reference / "02" / "more.csv", ROWS)
    results.write_csv(run / "02" / "rows.csv", pd.DataFrame({"other": [1]}))
    results.write_summary(run / "02", quantities()[:1])
    assert {d.what for d in compare(run, reference)} == {"more.csv", "columns of rows.csv", "time"}


def test_compare_refuses_what_is_no_run_or_shares_nothing(runs, tmp_path):
    run, reference = runs
    with pytest.raises(ValueError, match="run must be the folder of a run, got"):
        compare(tmp_path / "none", reference)
    (reference / "02").rename(reference / "03")
    with pytest.raises(ValueError, match="share a notebook"):
        compare(run, reference)
    assert main([str(run), "--reference", str(reference)]) == 2


def test_within_treats_nan_as_equal_to_nan_only():
    nan = float("nan")
    assert within(nan, nan, 0.1) and not within(1.0, nan, 0.1) and not within(nan, 1.0, 0.1)
    assert within(0.1 + 0.2, 0.3, 0.0)
