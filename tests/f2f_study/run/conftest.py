"""A small checkout with notebooks of its own, for the tests of what runs them."""

import nbformat
import pytest

from f2f_study import results
from f2f_study.run import launch

PARAMETERS = """
run_dir: str = "runs/interactive"  # where to
seed: int = 0
rate: float = 0.5  # share
exact: bool = False
levels: list = [0.5, 1]  # shares
names: list = ["a"]
"""
ACTION = """
from f2f_study import results
folder = results.run_dir(run_dir, "NAME")
value = float(seed) + rate + sum(levels)
if seed == 13:
    raise RuntimeError("unlucky seed")
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
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
    }
    if after_others:
        book.metadata["f2f"] = {"after_others": True}
    path = folder / "notebooks" / f"{name}.ipynb"
    nbformat.write(book, path)
    return path


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    """`write_notebook` in a folder like the repository, the working folder, which has one."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "notebooks" / "profiles.yaml").write_text("01_one:\n  tiny: {rate: 0.25}\n")
    limits = "all: {seed: [0, .inf], names: [a, b W]}\n01_one: {levels: [0, 3]}\n"
    (tmp_path / "notebooks" / "limits.yaml").write_text(limits)
    monkeypatch.chdir(tmp_path)

    def write(name, **content):
        return write_notebook(tmp_path, name, **content)

    write("01_one")
    return write


@pytest.fixture
def checkout(notebook, tmp_path):
    """The folder of `notebook`."""
    return tmp_path


@pytest.fixture
def no_kernel(monkeypatch):
    """`execute` runs the notebook's code in this process: what is tested is around it."""

    def execute(job, folder):
        (folder / job.notebook.stem).mkdir()
        values = job.values() | {"run_dir": str(folder)}
        try:
            exec(nbformat.read(job.notebook, 4).cells[-1].source, values)
        except RuntimeError as error:
            raise launch.NotebookError(str(error)) from None
        return {"seconds": 0.1}

    monkeypatch.setattr(launch, "execute", execute)


@pytest.fixture
def value_of():
    """The one value in the summary of a notebook of a run."""

    def read(folder, name="01_one"):
        return results.read_summary(folder / name)["value"].item()

    return read
