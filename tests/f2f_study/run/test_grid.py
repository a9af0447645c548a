import nbformat
import pytest

from f2f_study import results
from f2f_study.run.__main__ import main
from f2f_study.run.parameters import Job


def write_grid(checkout, text):
    (checkout / "scan.yaml").write_text(text)


def test_a_grid_runs_each_cell_once_and_tries_failed_ones_again(checkout, no_kernel, capsys):
    write_grid(checkout, "notebook: '01'\nprofile: tiny\nparameters: {seed: [1, 13]}\n")
    assert main(["--grid", "scan.yaml"]) == 1
    printed = capsys.readouterr().out
    assert "2 cells, 0 finished" in printed and "unlucky seed" in printed
    (done,) = [p for p in (checkout / "runs" / "scan").iterdir() if p.is_dir() and not p.suffix]
    before = (done / "provenance.json").stat().st_mtime_ns
    write_grid(checkout, "notebook: '01'\nprofile: tiny\nparameters: {seed: [1, 2]}\n")
    assert main(["--grid", "scan.yaml", "--jobs", "2"]) == 0
    assert "2 cells, 1 finished" in capsys.readouterr().out
    assert (done / "provenance.json").stat().st_mtime_ns == before
    table = results.read_csv(checkout / "runs" / "scan" / "grid.csv")
    assert sorted(zip(table["seed"], table["value"], strict=True)) == [(1, 2.75), (2, 3.75)]


def test_a_list_parameter_takes_lists_of_the_grid(checkout, no_kernel, capsys):
    write_grid(checkout, "notebook: '01'\nparameters: {levels: [[1], [2, 3]], seed: [0]}\n")
    assert main(["--grid", "scan.yaml"]) == 0
    table = results.read_csv(checkout / "runs" / "scan" / "grid.csv")
    assert list(table.columns) == ["cell", "levels", "seed", *results.SUMMARY]
    assert dict(zip(table["levels"], table["value"], strict=True)) == {"[1]": 1.5, "[2, 3]": 5.5}
    write_grid(checkout, "notebook: '01'\nparameters: {levels: [1, 2]}\n")
    assert main(["--grid", "scan.yaml"]) == 2
    assert "levels of 01_one must be list[float], got 1; write [1]" in capsys.readouterr().err


def test_what_the_grid_varies_cannot_be_set_beside_it(checkout, capsys):
    write_grid(checkout, "notebook: '01'\nparameters: {seed: [1, 2]}\n")
    assert main(["--grid", "scan.yaml", "--set", "seed=7", "rate=1"]) == 2
    assert "--set must leave what scan.yaml varies, got seed" in capsys.readouterr().err


def test_a_cell_is_named_by_all_its_inputs_and_nothing_else(notebook):
    path = notebook("01_one")

    def name(changes):
        return Job.of(path, "default", changes).inputs()

    first = name({})
    assert name({"seed": "0"}) == first, "a default written out is the same input"
    assert name({"seed": 1}) != first
    book = nbformat.read(path, 4)
    book.metadata["kernelspec"]["display_name"] = "Python 3"
    book.cells[0].source = "# Another title"
    nbformat.write(book, path)
    assert name({}) == first, "opening it in JupyterLab is no change"
    book.cells[-1].source += "\nprint(value)"
    nbformat.write(book, path)
    assert name({}) != first


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "must be a YAML mapping, got list"),
        ("{notebook: '01', parameter: {seed: [1]}}", "got ['parameter']"),
        ("{notebook: '01', parameters: {seed: 1}}", "seed of"),
        ("{notebook: '01', parameters: {}}", "must map names to lists"),
        ("{notebook: 01, parameters: {seed: [1]}}", "must be text in quotes, got 1"),
        ("{parameters: {seed: [1]}}", "must name one notebook"),
        ("{notebook: '01', parameters: {sed: [1]}}", "got 'sed'"),
        ("{notebook: '01'", "scan.yaml must be YAML"),
    ],
)
def test_a_wrong_grid_is_refused(checkout, capsys, text, message):
    write_grid(checkout, text)
    assert main(["--grid", "scan.yaml"]) == 2
    assert message in capsys.readouterr().err


def test_a_file_that_claims_much_is_refused_in_a_line(checkout, capsys):
    lines = ["a: &a0 [x, x, x, x, x, x, x, x, x]"]
    for i in range(9):
        lines.append(f"b{i}: &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]")
    text = "\n".join(["notebook: '01'", "parameters:", *(f"  {line}" for line in lines)])
    write_grid(checkout, text)
    assert main(["--grid", "scan.yaml"]) == 2
    assert len(capsys.readouterr().err) < 10_000
    write_grid(checkout, text.replace("parameters:", "parameters: {seed: [0]}\nmore:"))
    assert main(["--grid", "scan.yaml"]) == 2
    write_grid(checkout, text + "\n  levels: [*a9]")
    assert main(["--grid", "scan.yaml", "--set", "seed=0"]) == 2
