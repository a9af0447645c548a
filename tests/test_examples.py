"""The examples in the docstrings say what really comes out."""

import doctest
import importlib
from pathlib import Path

import pytest

import f2f
from f2f import checkpoint, nn, parallel

LIB = Path(__file__).parents[1] / "lib"
MODULES = [
    ".".join(path.relative_to(LIB).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted(LIB.rglob("*.py"))
    if ">>>" in path.read_text()
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.attempted and not result.failed


@pytest.mark.parametrize("name", sorted({*f2f.__all__} - {"FormatError"}))
def test_every_public_name_has_an_example(name):
    assert ">>>" in getattr(f2f, name).__doc__


@pytest.mark.parametrize(
    "function",
    [
        *(nn.compress_state_dict, nn.load_state_dict, nn.compress_module, nn.CompressedLinear),
        *(nn.CompressedConv2d, parallel.compress_model, parallel.decompress_model),
        checkpoint.open_compressed,
    ],
)
def test_functions_for_models_have_an_example(function):
    assert ">>>" in function.__doc__
