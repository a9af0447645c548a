import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
FILES = ("requirements.txt", "requirements-dev.txt", "requirements-gpu-cuda13.txt")


def pins(name):
    lines = (ROOT / name).read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def package(requirement):
    return re.split(r"[=<>~;\[ ]", requirement)[0].lower().replace("_", "-")


def test_conda_environment_equals_the_requirements():
    dependencies = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert "python=3.12" in dependencies
    (pip,) = [entry["pip"] for entry in dependencies if isinstance(entry, dict)]
    wanted = [pin for name in FILES for pin in pins(name)]
    assert sorted(pip) == sorted([*wanted, "--editable ."])


def test_every_requirement_is_pinned_once():
    every = [pin for name in FILES for pin in pins(name)]
    assert all(re.match(r"^[A-Za-z0-9_.-]+==[0-9][^ ]*(; .*)?$", pin) for pin in every)
    assert len({package(pin) for pin in every}) == len(every)


@pytest.mark.parametrize("extra", ["", "study", "gpu", "hardware", "cluster", "dev"])
def test_what_the_package_declares_is_in_the_environment(extra):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = project["optional-dependencies"][extra] if extra else project["dependencies"]
    installed = {package(pin) for name in FILES for pin in pins(name)}
    assert declared and {package(entry) for entry in declared} <= installed


def test_the_makefile_explains_every_target():
    text = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^\.PHONY: (.*)$", text, re.M)[0].split())
    explained = set(re.findall(r"^([a-z]+):.*## \S", text, re.M))
    assert targets == explained
    assert {"env", "test", "reproduce", "figures", "bench", "lab", "help"} <= targets
