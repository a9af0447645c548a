import pytest

from f2f_study import provenance, results
from f2f_study.run import launch, reference
from f2f_study.run.parameters import PROFILES

PARTS = (reference.Part("dlmc", "masks", "get it there"),)


@pytest.fixture
def ran(checkout, notebook, no_kernel, monkeypatch):
    """The notebooks that are executed, in their order; two parts, of 01 and of both."""
    notebook("07_overview", after_others=True)
    profiles = "01_one:\n  dlmc: {rate: 0.25}\n"
    (checkout / "notebooks" / "profiles.yaml").write_text(profiles)
    monkeypatch.setattr(reference, "PARTS", PARTS)
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
    assert ran == [("01_one", 0.5), ("07_overview", 0.5), ("01_one", 0.25)]
    below = checkout / "runs" / "reference" / "dlmc"
    assert provenance.read(below)["notebooks"]["01_one"]["profile"] == "dlmc"
    ran.clear()
    assert reference.main([]) == 0 and ran == []
    assert capsys.readouterr().out.count("kept") == 3


def test_what_other_code_has_made_is_made_again_and_the_overview_with_it(ran, notebook):
    assert reference.main([]) == 0
    ran.clear()
    notebook("01_one", action='from f2f_study import results\nresults.run_dir(run_dir, "01_one")')
    assert reference.main([]) == 0
    assert [stem for stem, _ in ran] == ["01_one", "07_overview"]


def test_a_failure_keeps_what_has_passed(ran, notebook, checkout, capsys):
    notebook("02_two", action='raise RuntimeError("no")')
    assert reference.main([]) == 1
    assert "Stopped. no" in capsys.readouterr().err
    assert set(provenance.read(checkout / "runs" / "reference")["notebooks"]) == {"01_one"}


def test_every_part_has_its_profile():
    assert {part.profile for part in reference.PARTS} <= set(PROFILES)
    assert all(reference._named_by(part.profile) for part in reference.PARTS)
    guide = (results.repository_root() / "data" / "README.md").read_text()
    assert all(f"`{part.place}" in guide for part in reference.PARTS)
