"""The pages: its tables come from the reference run, its code runs, its links lead somewhere."""

import re
from pathlib import Path

import pandas as pd
import pytest

from f2f_study import results
from f2f_study.run import claims, pages
from f2f_study.run.parameters import find_notebooks

ROOT = results.repository_root()
PAGE = (ROOT / "README.md").read_text()
EVERY = [path for path in [*ROOT.glob("*.md"), *ROOT.glob("*/*.md")] if path.parent.name != ".venv"]


@pytest.mark.parametrize("name", pages.PAGES)
def test_the_tables_are_those_of_the_reference_run(name):
    page = (ROOT / name).read_text()
    assert pages.fill(page, ROOT / "runs" / "reference") == page, f"{name} is stale: make readme"


def test_every_notebook_has_its_row_with_its_question():
    rows = pages.notebook_table(ROOT / "runs" / "reference").splitlines()[2:]
    assert [row.split("]")[0] for row in rows] == [f"| [{path.stem}" for path in find_notebooks()]
    assert all(re.search(r" \| [A-Z0-9][^#|]+: [^|]+\? \| [0-9.]+ \|$", row) for row in rows)


def test_the_quick_start_runs_and_prints_what_is_shown(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    found = re.search(r"```python\n(import numpy.*?)```\n\n```text\n(.*?)```", PAGE, re.S)
    exec(compile(found[1], "README.md", "exec"), {})
    printed, shown = capsys.readouterr().out.splitlines(), found[2].splitlines()
    assert printed[:-1] == shown[:-1]  # the last line is a time
    assert printed[-1].split()[:2] == shown[-1].split()[:2] == ["encoded", "in"]


def test_the_recipe_for_a_pruned_model_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(import torch.*?)```", PAGE, re.S)
    space = {}
    exec(compile(code, "README.md", "exec"), space)
    assert 8 * (tmp_path / "net.f2f.safetensors").stat().st_size < 0.5 * 32 * 256 * 256
    assert (space["net"].weight == 0).float().mean() == pytest.approx(0.9, abs=1e-4)


@pytest.mark.parametrize("page", EVERY, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_that_are_there(page):
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    absent = [link for link in links if not (page.parent / link).exists()]
    assert not absent


def test_a_table_is_replaced_and_the_rest_is_kept(monkeypatch):
    frame = pd.DataFrame({"a": [1], "b": [2]})
    monkeypatch.setitem(pages.TABLES, "two", lambda reference: pages.table(frame, "lr"))
    page = "before\n<!-- table:two -->\nold\n<!-- /table -->\nafter\n"
    new = pages.fill(page, Path("unused"))
    assert new == (
        "before\n<!-- table:two -->\n| a | b |\n| --- | --: |\n| 1 | 2 |\n<!-- /table -->\nafter\n"
    )
    assert pages.fill(new, Path("unused")) == new


def test_an_unknown_table_is_refused():
    with pytest.raises(ValueError, match="table must be one of .*, got 'none'"):
        pages.fill("<!-- table:none -->\n<!-- /table -->", Path("unused"))


def test_claims_and_peers_name_what_the_reference_has():
    found = claims.found(ROOT / "runs" / "reference")
    assert len(found) == 5 and list(found.columns) == list(claims.COLUMNS)
    assert not (found == "").any(axis=None)
    for link in found["where"]:
        assert (ROOT / re.search(r"\((.*)\)", link)[1]).is_file()
    table = pages.peers_table(ROOT / "runs" / "reference")
    assert all(f"| {name} |" in table for name, _ in pages.PEERS.values())
