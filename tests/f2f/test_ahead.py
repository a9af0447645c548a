"""What is compiled ahead is what the first use needs."""

import subprocess
import sys

import pytest

from f2f import ahead
from f2f.ahead import CASES

FIRST_USE = """
import numpy as np
from numba.core import event
from f2f import ahead, compress, decompress, spmv

for number in range(len(ahead.CASES)):
    ahead.compile_case(number)
compiled = []

class Listener(event.Listener):
    def on_start(self, started):
        compiled.append(started.data["dispatcher"].py_func.__qualname__)
    def on_end(self, ended):
        pass

event.register("numba:compile", Listener())
rng = np.random.default_rng(0)
for dtype in ("int8", "float32"):
    weight = rng.integers(-127, 128, (300, 700)).astype(dtype)
    weight[rng.random(weight.shape) < 0.9] = 0
    tensor = compress(weight, beam=4)
    assert (decompress(tensor) == weight).all()
    spmv(tensor, np.ones(700, np.float32))
print(*compiled)
"""


def test_nothing_is_left_to_compile_for_the_first_use():
    assert {dtype for dtype, _ in CASES} >= {"int8", "float32", "bfloat16"}
    command = [sys.executable, "-c", FIRST_USE]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_help_compiles_nothing(monkeypatch, capsys):
    monkeypatch.setattr(ahead, "ProcessPoolExecutor", None)
    with pytest.raises(SystemExit) as ended:
        ahead.main(["--help"])
    assert ended.value.code == 0 and "ahead of their first use" in capsys.readouterr().out
