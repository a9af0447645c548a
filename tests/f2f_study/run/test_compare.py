import json
import math
import os
import subprocess
import sys

import pandas as pd
import pytest

from f2f_study import provenance, results
from f2f_study.run.compare import conditions, differences, main, quantities, within

ROWS = pd.DataFrame({"n_s": [0, 1], "time_us": [1.5, math.nan]})


def summary(e=99.46, seconds=3.0, tolerance=0.05, unit="%"):
    return [
        results.Quantity("E", e, unit, tolerance),
        results.Quantity("time", seconds, "s", math.nan),
    ]


@pytest.fixture
def runs(tmp_path):
    for name in ("reference", "run"):
        results.write_summary(tmp_path / name / "02", summary())
        results.write_csv(tmp_path / name / "02" / "rows.csv", ROWS)
    return tmp_path / "run", tmp_path / "reference"


def whats(run, reference):
    return set(differences(run, reference)["what"])


def test_what_is_within_tolerance_is_accepted_and_times_are_not_judged(runs, capsys):
    run, reference = runs
    results.write_summary(run / "02", summary(e=99.50, seconds=30.0))
    assert differences(run, reference).empty
    assert main([str(run), str(reference)]) == 0
    assert capsys.readouterr().out == "agrees\n"


@pytest.mark.parametrize(("e", "shown"), [(99.40, "99.4 %"), (99.52, "99.52 %")])
def test_what_is_beyond_tolerance_is_listed_and_the_exit_status_not_zero(runs, capsys, e, shown):
    run, reference = runs
    results.write_summary(run / "02", summary(e=e))
    (difference,) = differences(run, reference).itertuples()
    assert (difference.notebook, difference.what) == ("02", "E")
    assert main([str(run), str(reference)]) == 1
    printed = capsys.readouterr().out
    assert "99.46 ± 0.05 %" in printed and shown in printed and "1 difference " in printed


def test_the_tolerance_of_the_reference_counts_not_that_of_the_run(runs):
    run, reference = runs
    results.write_summary(run / "02", summary(e=90.0, tolerance=100.0))
    assert whats(run, reference) == {"E"}


def test_another_unit_is_a_difference(runs):
    run, reference = runs
    results.write_summary(run / "02", summary(unit="bits"))
    (difference,) = differences(run, reference).itertuples()
    assert (difference.reference, difference.found) == ("99.46 ± 0.05 %", "99.46 bits")


def test_absent_files_quantities_and_columns_are_listed(runs):
    run, reference = runs
    results.write_csv(reference / "02" / "more.csv", ROWS)
    results.write_csv(run / "02" / "rows.csv", pd.DataFrame({"other": [1]}))
    results.write_summary(run / "02", summary()[:1])
    assert whats(run, reference) == {"more.csv", "columns of rows.csv", "time"}


def test_what_only_one_of_them_has_run_is_no_difference(runs, capsys):
    run, reference = runs
    results.write_summary(run / "04", summary())
    results.write_summary(reference / "03", summary())
    assert differences(run, reference).empty
    assert main([str(run), str(reference)]) == 0
    printed = capsys.readouterr().out
    assert "not in this run: 03\nnot in the reference: 04\n" in printed


def test_a_notebook_that_ran_alike_and_left_nothing_is_a_difference(runs):
    run, reference = runs
    results.write_summary(reference / "04_a_dlmc", summary())
    facts = {"04_a": {"parameters": {"source": "dlmc"}}}
    for folder in runs:
        provenance.write(folder, {"notebooks": facts})
    (difference,) = differences(run, reference).itertuples()
    assert (difference.notebook, difference.found) == ("04_a_dlmc", "absent")
    provenance.write(run, {"notebooks": {"04_a": {"parameters": {"source": "file"}}}})
    assert differences(run, reference).empty


def test_runs_below_are_compared_where_both_have_them(runs, capsys):
    """As `runs/reference/dlmc`: what is changed there is a difference, what is absent is named."""
    for run in runs:
        for name in ("dlmc", "file") if run.name == "reference" else ("dlmc",):
            results.write_summary(run / name / "04_a", summary())
            results.write_csv(run / name / "04_a" / "rows.csv", ROWS)
            provenance.write(run / name, {"notebooks": {"04_a": {"hardware": run.name}}})
    assert main([str(run) for run in runs]) == 0
    printed = capsys.readouterr().out
    assert "not in this run: file/04_a\n" in printed
    assert "hardware: run (reference: reference) in dlmc/04_a\n" in printed
    results.write_summary(runs[0] / "dlmc" / "04_a", summary(e=99.40))
    results.write_csv(runs[0] / "dlmc" / "04_a" / "rows.csv", pd.DataFrame({"other": [1]}))
    found = differences(*runs)
    assert set(found["notebook"]) == {"dlmc/04_a"}
    assert set(found["what"]) == {"E", "columns of rows.csv"}
    assert quantities(*runs)["notebook"].tolist() == ["02", "02", "dlmc/04_a", "dlmc/04_a"]
    assert main([str(run) for run in runs]) == 1


def test_every_quantity_stands_beside_the_reference(runs):
    run, reference = runs
    ours = [results.Quantity("new", 1.0, "1", 0.1), *summary(e=99.36, seconds=4.0)]
    theirs = [*summary(), results.Quantity("old", 2.0, "1", 0.0)]
    results.write_summary(run / "02", ours)
    results.write_summary(reference / "02", theirs)
    results.write_summary(run / "01", [results.Quantity("same", 1.0, "1", 0.0)])
    results.write_summary(reference / "01", [results.Quantity("same", 1.0, "1", 0.0)])
    table = quantities(run, reference).set_index(["notebook", "quantity"])
    assert list(table.index) == [
        *[("01", "same")],
        *[("02", what) for what in ("new", "E", "time", "old")],
    ]
    assert table["agrees"].tolist() == [True, True, False, True, False]
    assert table.loc[("02", "E"), "deviation"] == pytest.approx(-2)
    assert table.loc[("01", "same"), "deviation"] == 0
    assert table["unit"].fillna("absent").tolist() == ["1", "1", "%", "s", "absent"]
    assert table["reference_unit"].fillna("absent").tolist()[-1] == "1"
    assert table["reference"].isna().tolist() == [False, True, False, False, False]


def test_what_is_no_run_or_shares_nothing_is_refused(runs, tmp_path, capsys):
    run, reference = runs
    with pytest.raises(ValueError, match="run must be the folder of a run, got"):
        differences(tmp_path / "none", reference)
    (run / "provenance.json").write_text("{")
    assert main([str(run), str(reference)]) == 2
    assert "provenance.json must be the provenance of a run" in capsys.readouterr().err
    (reference / "02").rename(reference / "03")
    with pytest.raises(ValueError, match="share a notebook"):
        differences(run, reference)
    assert main([str(run), str(reference)]) == 2


def test_other_conditions_are_named(runs):
    run, reference = runs
    facts = {"profile": "tiny", "parameters": {"seed": 1, "n_s": 2}, "hardware": "a"}
    other = facts | {"profile": "default", "parameters": {"seed": 0, "n_s": 2}}
    provenance.write(run, {"notebooks": {"02": facts, "04": facts}})
    provenance.write(reference, {"notebooks": {"02": other, "03": {}, "04": other}})
    assert conditions(run, reference) == [
        "profile: tiny (reference: default) in 02, 04",
        "parameters: seed=1 (reference: seed=0) in 02, 04",
    ]
    assert json.loads((run / "provenance.json").read_text())["notebooks"]["02"] == facts


def test_within_treats_nan_as_equal_to_nan_only():
    nan = float("nan")
    assert within(nan, nan, 0.1) and not within(1.0, nan, 0.1) and not within(nan, 1.0, 0.1)
    assert within(0.1 + 0.2, 0.3, 0.0)


def test_a_terminal_of_ascii(runs):
    """What such a terminal lacks (±) is escaped; the exit status is that of the comparison."""
    run, reference = runs
    results.write_summary(run / "02", summary(e=99.40))
    command = [sys.executable, "-m", "f2f_study.run.compare", run, reference]
    plain = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    done = subprocess.run(command, capture_output=True, env=os.environ | plain)
    assert done.returncode == 1 and rb"99.46 \xb1 0.05 %" in done.stdout
