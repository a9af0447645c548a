import pandas as pd
import pytest

from f2f_study import provenance, results

ROWS = pd.DataFrame(
    {
        "name": ["a", "None"],
        "n_s": [0, 1],
        "time_us": [1.5, float("nan")],
        "exact": [True, False],
        "x": [1 / 3, 99.46000000000001],
    }
)


def test_csv_round_trip_keeps_columns_types_and_values(tmp_path):
    path = results.write_csv(tmp_path / "deep" / "rows.csv", ROWS)
    pd.testing.assert_frame_equal(results.read_csv(path), ROWS)
    assert list(path.parent.iterdir()) == [path]


def test_rows_without_columns_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"rows of .*x\.csv must have columns, got none"):
        results.write_csv(tmp_path / "x.csv", pd.DataFrame([]))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"a,b\n1\n1,2,3\n", b"a\n\xff\n"])
def test_what_is_no_csv_is_named(tmp_path, content):
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.csv must be a CSV file: "):
        results.read_csv(tmp_path / "x.csv")


def quantities(*names):
    return [results.Quantity(name, 1.0, "1", 0.1) for name in names]


def test_a_summary_is_read_as_it_was_written(tmp_path):
    results.write_summary(tmp_path, quantities("E", "None", "1"))
    found = results.read_summary(tmp_path)
    assert [results.Quantity(*row) for row in found.itertuples(index=False)] == quantities(
        "E", "None", "1"
    )


def test_a_summary_refuses_a_quantity_twice(tmp_path):
    with pytest.raises(ValueError, match="different names"):
        results.write_summary(tmp_path, quantities("E", "E"))


def test_wrong_columns_of_a_summary_are_named(tmp_path):
    (tmp_path / "summary.csv").write_text("quantity,value,units,tolerance\nE,1,%,\n")
    with pytest.raises(ValueError, match=r"summary\.csv.*missing \['unit'\], unknown \['units'\]"):
        results.read_summary(tmp_path)


def test_a_value_that_is_no_number_is_named(tmp_path):
    (tmp_path / "summary.csv").write_text("quantity,value,unit,tolerance\nE,fast,%,\n")
    with pytest.raises(ValueError, match="column value must hold numbers"):
        results.read_summary(tmp_path)


def test_summaries_are_those_of_the_notebooks_of_a_run(tmp_path):
    assert results.summaries(tmp_path).empty
    for place in ("03_b", "02_a", "benchmarks", "02_a/deeper"):
        results.write_summary(tmp_path / place, quantities("E", place))
    found = results.summaries(tmp_path)
    assert list(results.notebooks(tmp_path)) == ["02_a", "03_b"]
    assert list(found.columns) == ["notebook", *results.SUMMARY]
    assert found["notebook"].tolist() == ["02_a", "02_a", "03_b", "03_b"]
    assert found["quantity"].tolist() == ["E", "02_a", "E", "03_b"]


def test_runs_below_a_run_follow_it(tmp_path):
    for place in ("03_b", "dlmc/02_a", "draft/02_a"):
        results.write_summary(tmp_path / place, quantities("E"))
    provenance.write(tmp_path / "dlmc", {"notebooks": {}})
    assert list(results.notebooks(tmp_path)) == ["03_b", "dlmc/02_a"]
    assert results.summaries(tmp_path)["notebook"].tolist() == ["03_b", "dlmc/02_a"]


def test_run_dir_is_relative_to_the_root_from_anywhere_inside(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "profiles.yaml").touch()
    (tmp_path / "pyproject.toml").touch()
    for place in (tmp_path, tmp_path / "notebooks"):
        monkeypatch.chdir(place)
        assert results.run_dir("runs/x", "02") == tmp_path / "runs" / "x" / "02"
    assert (tmp_path / "runs" / "x" / "02").is_dir()
    assert results.run_dir(tmp_path / "elsewhere") == tmp_path / "elsewhere"


def test_another_project_with_notebooks_is_not_taken_for_this_one(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    assert results.repository_root() != tmp_path
