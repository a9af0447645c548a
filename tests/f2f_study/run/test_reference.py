import pytest

from f2f_study import provenance, results
from f2f_study.run import launch, reference
from f2f_study.run.parameters import PROFILES

PARAMETERS = """
run_dir: str = "runs/interactive"
rate: float = 0.5
seed: int = 0
levels: list = [0.5, 1]
"""
VALUE = """
from f2f_study import results
folder = results.run_dir(run_dir, "NAME")
results.write_summary(folder, [results.Quantity("value", 0.0, "1", 0.0)])
"""
PARTS = (reference.Part("dlmc", "masks", "get it there"),)


@pytest.fixture
def ran(checkout, notebook, no_kernel, monkeypatch):
    """The notebooks that are executed, in their order; two parts, of 01 and of both."""
    parameters = PARAMETERS + 'reference: str = "runs/reference"'
    notebook("07_overview", parameters=parameters, after_others=True)
    profiles = "01_one:\n  dlmc: {rate: 0.25}\n"
    (checkout / "notebooks" / "profiles.yaml").write_text(profiles)
    monkeypatch.setattr(reference, "PARTS", PARTS)
    monkeypatch.setattr(reference.ahead, "main", lambda arguments: 0)
    monkeypatch.setenv("F2F_DATA", str(checkout / "data"))
    execute, executed = launch.execute, []

    def noted(job, folder):
        executed.append((job.notebook.stem, job.values()["rate"]))
        return execute(job, folder)

    monkeypatch.setattr(launch, "execute", noted)
    return executed


def test_what_lacks_its_data_is_left_out_with_a_line_and_the_rest_is_made(ran, checkout, capsys):
    assert reference.main([]) == 0
    assert "dlmc: left out, no masks in the data folder; get it there" in capsys.readouterr().out
    assert ran == [("01_one", 0.5), ("07_overview", 0.5)]
    assert not (checkout / "runs" / "reference" / "dlmc").exists()


def test_each_part_is_a_run_below_and_what_is_done_is_kept(ran, checkout, capsys):
    (checkout / "data" / "masks").mkdir(parents=True)
    assert reference.main([]) == 0
    assert ran == [("01_one", 0.5), ("01_one", 0.25), ("07_overview", 0.5)]
    below = checkout / "runs" / "reference" / "dlmc"
    assert provenance.read(below)["notebooks"]["01_one"]["profile"] == "dlmc"
    ran.clear()
    assert reference.main([]) == 0 and ran == []
    assert capsys.readouterr().out.count("kept") == 3


def test_what_other_code_has_made_is_made_again_and_the_overview_with_it(ran, notebook):
    assert reference.main([]) == 0
    ran.clear()
    notebook("01_one", action=VALUE.replace('e", 0.0', 'e", 2.0'))
    assert reference.main([]) == 0
    assert [stem for stem, _ in ran] == ["01_one", "07_overview"]


def test_what_is_made_again_is_judged_by_the_reference_before_it(ran, notebook, checkout, capsys):
    """That of a call that was stopped, too: until one ends it lies beside the reference."""
    assert reference.main([]) == 0
    assert "agrees" not in capsys.readouterr().out  # there was none before
    kept = checkout / "runs" / "reference.earlier"
    notebook("01_one", action=VALUE.replace("0.0", "1.0"))
    notebook("02_two", action='raise RuntimeError("no")')
    assert reference.main([]) == 1 and kept.exists()
    notebook("02_two", action=VALUE)
    capsys.readouterr()
    assert reference.main([]) == 1
    printed = capsys.readouterr().out
    assert "01_one: value\n    reference 2 ± 0\n    this run  1\n" in printed
    assert "1 difference beyond tolerance" in printed
    assert not kept.exists()
    assert reference.main([]) == 0
    assert reference.main(["--run-dir", "runs/again"]) == 0
    assert capsys.readouterr().out.endswith("\nagrees\n")


def test_a_failure_keeps_what_has_passed(ran, notebook, checkout, capsys):
    notebook("02_two", action='raise RuntimeError("no")')
    assert reference.main([]) == 1
    assert "Stopped. no" in capsys.readouterr().err
    assert set(provenance.read(checkout / "runs" / "reference")["notebooks"]) == {"01_one"}


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "\nInterrupted; what has passed is kept\n"),
        (OSError("disk full"), 2, "error: disk full\n"),
    ],
)
def test_what_stops_it_is_said_in_a_line(ran, monkeypatch, capsys, error, code, line):
    def execute(job, folder):
        raise error

    monkeypatch.setattr(launch, "execute", execute)
    assert reference.main([]) == code and capsys.readouterr().err == line


def test_a_folder_that_is_no_run_is_left_alone(ran, checkout, capsys):
    (checkout / "mine").mkdir()
    (checkout / "mine" / "notes.txt").touch()
    assert reference.main(["--run-dir", "mine"]) == 2 and not ran
    assert "--run-dir must be a new folder or one with a run" in capsys.readouterr().err
    (checkout / "runs" / "reference").mkdir(parents=True)
    (checkout / "runs" / "reference" / "provenance.json").write_text("{")
    assert reference.main([]) == 2 and not ran
    assert "must be the provenance of a run" in capsys.readouterr().err


def test_every_part_has_its_profile():
    assert {part.profile for part in reference.PARTS} <= set(PROFILES)
    assert all(reference._named_by(part.profile) for part in reference.PARTS)
    guide = (results.repository_root() / "data" / "README.md").read_text()
    assert all(f"`{part.place}" in guide for part in reference.PARTS)
