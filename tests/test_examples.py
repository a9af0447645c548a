"""The examples in the docstrings say what really comes out."""

import doctest
import importlib
from pathlib import Path

import pytest

import f2f

PACKAGE = Path(f2f.__file__).parent
MODULES = [
    ".".join(("f2f", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
    for path in sorted(PACKAGE.rglob("*.py"))
    if ">>>" in path.read_text()
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.attempted and not result.failed
