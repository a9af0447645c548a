"""The .smtx text: there and back, by hand, and damaged."""

import numpy as np
import pytest
from dlmc_masks import some_mask, write_smtx

from f2f.base.errors import FormatError
from f2f_study.sources.smtx import read_smtx


@pytest.mark.parametrize(("rows", "cols"), [(3, 5), (7, 96), (1, 1), (11, 55)])
def test_smtx_comes_back(tmp_path, rows, cols):
    for sparsity in (0.0, 0.5, 1.1):
        mask = some_mask(rows, cols, sparsity)
        write_smtx(tmp_path / "a.smtx", mask)
        assert np.array_equal(read_smtx(tmp_path / "a.smtx"), mask)


def test_smtx_by_hand(tmp_path):
    (tmp_path / "a.smtx").write_text("2, 4, 3\n0 2 3 \n1 3 0 \n")
    assert read_smtx(tmp_path / "a.smtx").tolist() == [[0, 1, 0, 1], [1, 0, 0, 0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read"),
        ("2, 4\n0 2 3\n1 3 0\n", "cannot be read"),
        ("2, 4, 3\n0 2 3\n1 x 0\n", "cannot be read"),
        ("2, 4, 3\n0 2\n1 3 0\n", "header says 2 rows and 3 entries, found 2 offsets"),
        ("2, 4, 3\n0 2 3\n1 3\n", "found 3 offsets and 2 columns"),
        ("2, 4, 3\n0 2 1\n1 3 0\n", "row offsets must rise"),
        ("2, 4, 3\n0 2 3\n1 4 0\n", r"column indices must lie in 0\.\.3"),
        ("2, 4, 3\n0 2 3\n1 1 0\n", "occurs twice"),
        ("1, 99999999999, 0\n0 0\n\n", "weights are more than 2147483647"),
        ("1, 4, 1\n0 99999999999999999999\n1\n", "cannot be read"),
    ],
)
def test_damaged_smtx_is_named(tmp_path, text, message):
    (tmp_path / "a.smtx").write_text(text)
    with pytest.raises(FormatError, match=message) as caught:
        read_smtx(tmp_path / "a.smtx")
    assert "a.smtx" in str(caught.value)
