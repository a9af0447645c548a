import json
import os
import subprocess
import sys
import textwrap

import nbformat
import pytest

from f2f_study import results
from f2f_study.figures import REGISTER
from f2f_study.figures.style import draws, panels
from f2f_study.run import grid, reproduce

PARAMETERS = """
run_dir: str = "runs/interactive"  # where to
seed: int = 0
rate: float = 0.5  # share
exact: bool = False
"""
ACTION = """
from f2f_study import results
folder = results.run_dir(run_dir, "NAME")
value = float(seed) + rate
if seed < 0:
    raise RuntimeError("negative seed")
results.write_summary(folder, [results.Quantity("value", value, "1", 0.0)])
"""


def write_notebook(folder, name, parameters=PARAMETERS, action=ACTION, after_others=False):
    cells = [
        nbformat.v4.new_markdown_cell(f"# {name}"),
        nbformat.v4.new_code_cell(parameters.strip(), metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(action.strip().replace("NAME", name)),
    ]
    book = nbformat.v4.new_notebook(cells=cells)
    book.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    if after_others:
        book.metadata["f2f"] = {"after_others": True}
    path = folder / "notebooks" / f"{name}.ipynb"
    nbformat.write(book, path)
    return path


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder like the repository, with one notebook, as the working folder."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "notebooks" / "profiles.yaml").write_text("01_one:\n  tiny: {rate: 0.25}\n")
    write_notebook(tmp_path, "01_one")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def no_kernel(monkeypatch):
    """`execute` runs the notebook's code in this process: what is tested is around it."""

    def execute(job, folder):
        values = {k: v for k, (_, v) in reproduce.known_parameters(job.notebook).items()}
        values |= job.parameters | {"run_dir": str(folder)}
        (folder / job.notebook.stem).mkdir()
        try:
            exec(nbformat.read(job.notebook, 4).cells[-1].source, values)
        except RuntimeError as error:
            raise reproduce.NotebookError(str(error)) from None
        return {"seconds": 0.1}

    monkeypatch.setattr(reproduce, "execute", execute)


def value_of(folder, name="01_one"):
    frame = results.read_csv(folder / name / "summary.csv", results.Quantity)
    return frame.set_index("quantity")["value"]["value"]


def test_a_run_holds_executed_notebooks_results_and_provenance(checkout, capsys):
    write_notebook(checkout, "02_two")
    write_notebook(checkout, "07_all", after_others=True)
    arguments = ["--profile", "tiny", "--set", "seed=3", "--run-dir", "runs/a", "--jobs", "2"]
    assert reproduce.main(arguments) == 0
    folder = checkout / "runs" / "a"
    assert value_of(folder) == 3.25 and value_of(folder, "02_two") == 3.5
    facts = json.loads((folder / "provenance.json").read_text())["notebooks"]["01_one"]
    assert facts["parameters"] == {"seed": 3, "rate": 0.25, "exact": False}
    assert facts["profile"] == "tiny" and facts["seconds"] > 0 and facts["versions"]["numpy"]
    executed = (folder / "01_one.ipynb").read_text()
    assert "injected-parameters" in executed and "partial" not in executed
    assert str(checkout) not in executed
    printed = capsys.readouterr().out
    assert "value" in printed and "3.25" in printed and "runs/a" in printed
    assert [p.name for p in (checkout / "runs").iterdir()] == ["a"]


def test_a_failing_cell_stops_with_its_message_and_leaves_the_notebook(checkout, capsys):
    assert reproduce.main(["--set", "seed=-1", "--run-dir", "runs/a"]) == 1
    printed = capsys.readouterr().err
    assert "01_one failed in cell" in printed and "RuntimeError: negative seed" in printed
    assert not (checkout / "runs" / "a").exists()
    assert "negative seed" in (checkout / "runs" / "a.failed" / "01_one.ipynb").read_text()


def test_an_interrupt_leaves_no_run(checkout, monkeypatch, capsys):
    def interrupted(job, folder):
        raise KeyboardInterrupt

    monkeypatch.setattr(reproduce, "execute", interrupted)
    assert reproduce.main(["--run-dir", "runs/a"]) == 130
    assert "Interrupted" in capsys.readouterr().err
    assert [p.name for p in (checkout / "runs").iterdir()] == ["a.failed"]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("sed=3", "parameter of 01_one must be one of run_dir, seed, rate, exact, got 'sed'"),
        ("seed=1.5", "seed of 01_one must be int, got '1.5'"),
        ("rate=fast", "rate of 01_one must be float, got 'fast'"),
        ("exact=maybe", "exact of 01_one must be bool, got 'maybe'"),
        ("seed", "--set must be NAME=VALUE, got 'seed'"),
        ("run_dir=x", "run_dir must be given as --run-dir"),
    ],
)
def test_wrong_parameters_are_refused_before_anything_runs(checkout, capsys, setting, message):
    assert reproduce.main(["--set", setting, "--run-dir", "runs/a"]) == 2
    assert message in capsys.readouterr().err
    assert not (checkout / "runs").exists()


def test_values_get_the_declared_type(checkout):
    notebook = checkout / "notebooks" / "01_one.ipynb"
    given = {"seed": "7", "rate": "1e-3", "exact": "true"}
    assert reproduce.checked_parameters(notebook, given) == {
        "seed": 7,
        "rate": 0.001,
        "exact": True,
    }
    with pytest.raises(ValueError, match="seed of 01_one must be int, got True"):
        reproduce.checked_parameters(notebook, {"seed": True})


def test_an_unknown_notebook_or_profile_is_refused(checkout, capsys):
    assert reproduce.main(["--notebook", "07"]) == 2
    assert "notebook must be one of 01_one, got '07'" in capsys.readouterr().err
    with pytest.raises(ValueError, match="profile must be one of default, tiny, paper, got 'big'"):
        reproduce.profile_parameters(checkout / "notebooks" / "01_one.ipynb", "big")


def test_running_one_notebook_into_a_run_replaces_only_its_part(checkout, no_kernel):
    folder = checkout / "runs" / "a"
    (folder / "02_two").mkdir(parents=True)
    (folder / "01_one").mkdir()
    (folder / "01_one" / "stale.csv").touch()
    results.write_provenance(folder, {"notebooks": {"02_two": {"seconds": 1.0}}})
    job = reproduce.Job.of(reproduce.find_notebooks(["01"])[0], "default", {})
    reproduce.run([job], folder, "default")
    assert (folder / "02_two").is_dir() and not (folder / "01_one" / "stale.csv").exists()
    facts = json.loads((folder / "provenance.json").read_text())
    assert set(facts["notebooks"]) == {"01_one", "02_two"}
    assert value_of(folder) == 0.5


READ_ALL = """
from f2f_study import results
found = sorted(p.parent.name for p in results.run_dir(run_dir).glob("*/summary.csv"))
assert found == ["01_one"], found
results.write_summary(results.run_dir(run_dir, "NAME"), [results.Quantity("n", 1.0, "1", 0.0)])
"""


def test_the_overview_sees_the_run_it_is_added_to(checkout, no_kernel):
    folder = checkout / "runs" / "a"
    results.write_summary(folder / "01_one", [results.Quantity("value", 7.0, "1", 0.0)])
    results.write_provenance(folder, {"notebooks": {"01_one": {"seconds": 1.0}}})
    write_notebook(checkout, "07_all", action=READ_ALL, after_others=True)
    assert reproduce.main(["--notebook", "07", "--run-dir", "runs/a"]) == 0
    assert value_of(folder) == 7.0 and (folder / "07_all" / "summary.csv").exists()


def write_grid(checkout, text):
    path = checkout / "scan.yaml"
    path.write_text(textwrap.dedent(text))
    return path


def test_a_grid_runs_each_cell_once_and_tries_failed_ones_again(checkout, no_kernel, capsys):
    write_grid(checkout, "notebook: '01'\nprofile: tiny\nparameters: {seed: [1, -1]}\n")
    assert reproduce.main(["--grid", "scan.yaml"]) == 1
    printed = capsys.readouterr().out
    assert "2 cells, 0 finished" in printed and "negative seed" in printed
    (done,) = [p for p in (checkout / "runs" / "scan").iterdir() if p.is_dir() and not p.suffix]
    before = (done / "provenance.json").stat().st_mtime_ns
    write_grid(checkout, "notebook: '01'\nprofile: tiny\nparameters: {seed: [1, 2]}\n")
    assert reproduce.main(["--grid", "scan.yaml"]) == 0
    assert "2 cells, 1 finished" in capsys.readouterr().out
    assert (done / "provenance.json").stat().st_mtime_ns == before
    table = results.read_csv(checkout / "runs" / "scan" / "grid.csv")
    assert sorted(zip(table["seed"], table["value"], strict=True)) == [(1, 1.25), (2, 2.25)]


def test_a_cell_is_named_by_all_its_inputs(checkout):
    def name(changes):
        notebook = checkout / "notebooks" / "01_one.ipynb"
        return grid.cell_name(reproduce.Job.of(notebook, "default", changes))

    first = name({})
    assert name({"seed": "0"}) == first, "a default written out is the same input"
    assert name({"seed": 1}) != first
    write_notebook(checkout, "01_one", action=ACTION + "print(value)")
    assert name({}) != first


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "must be a YAML mapping, got list"),
        ("{notebook: '01', parameter: {seed: [1]}}", "got ['parameter']"),
        ("{notebook: '01', parameters: {seed: 1}}", "seed of"),
        ("{notebook: '01', parameters: {}}", "must map names to lists"),
        ("{parameters: {seed: [1]}}", "must name one notebook"),
        ("{notebook: '01', parameters: {sed: [1]}}", "got 'sed'"),
    ],
)
def test_a_wrong_grid_is_refused(checkout, capsys, text, message):
    write_grid(checkout, text)
    assert reproduce.main(["--grid", "scan.yaml"]) == 2
    assert message in capsys.readouterr().err


def test_figures_are_redrawn_from_csv_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(REGISTER, "points.csv", [])

    @draws("points.csv", "x y")
    def points(rows, width):
        figure, (axes,) = panels(1, width)
        axes.plot(rows["x"], rows["y"])
        return figure

    folder = tmp_path / "run" / "02"
    folder.mkdir(parents=True)
    (folder / "points.csv").write_text("x,y\n0,1\n1,3\n")
    assert reproduce.main(["--figures-only", str(tmp_path / "run")]) == 0
    svg = (folder / "points.svg").read_bytes()
    assert (folder / "points.png").stat().st_size > 1000 and b"<svg" in svg
    assert reproduce.main(["--figures-only", str(tmp_path / "run")]) == 0
    assert (folder / "points.svg").read_bytes() == svg, "the same CSV gives the same file"
    assert reproduce.main(["--figures-only", str(tmp_path / "none")]) == 2
    (tmp_path / "run" / "points.csv").write_text("x\n1\n")
    assert reproduce.main(["--figures-only", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert "1 figures drawn, 1 not" in error and "lacks y" in error


def test_the_module_runs_as_a_command_and_fails_cleanly(checkout):
    environment = os.environ | {"PYTHONWARNINGS": "error::RuntimeWarning"}
    command = [
        sys.executable,
        "-m",
        "f2f_study.run.reproduce",
        "--set",
        "seed=-1",
        "--run-dir",
        "runs/a",
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=checkout)
    assert done.returncode == 1
    assert "Stopped. 01_one failed" in done.stderr and "Traceback" not in done.stderr
