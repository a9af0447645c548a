"""Every module that is a program says how it is used when asked, and does nothing else."""

import re
import runpy
import sys
from pathlib import Path

import pytest

from f2f_study import results

LIB = Path(results.__file__).parents[1]
PROGRAMS = [
    ".".join(path.relative_to(LIB).with_suffix("").parts)
    for path in sorted(LIB.rglob("*.py"))
    if 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")
]


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("module", PROGRAMS)
def test_a_program_helps(module, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(module, run_name="__main__")
    assert not ended.value.code
    name = module.removesuffix(".__main__")
    assert re.match(rf"usage: (python -m {name}|f2f) \[-h\]", capsys.readouterr().out)
