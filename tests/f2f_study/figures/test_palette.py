"""Looks belong to names: distinct in colour and in grey, whatever else is drawn."""

import itertools

import numpy as np
import pandas as pd
import pytest

from f2f_study.figures import palette
from f2f_study.figures.palette import look

KINDS = sorted(palette._LISTED)
# Formats that meet in one figure.
MEETING = {
    "stored": ["dense", "zstd", "zipnn", "csr", "scipy csr npz", "delta_csr", "bitmap",
               "bitmap_zipnn", "ans_bitmap", "ans_values", "f2f"],
    "cpu": ["dense_fp32", "csr_torch", "csr_scipy", "csr_numba", "delta_csr", "bitmap", "encoded",
            "encoded_cascade"],
    "gpu": ["dense_fp32", "dense_fp16", "csr_fp32", "delta_csr", "bitmap", "encoded",
            "encoded_parity", "encoded_golden"],
}  # fmt: skip


def in_grey(one):
    return one.marker, one.dashes


def in_colour(one):
    return one.colour, one.marker, one.dashes


@pytest.mark.parametrize(
    ("kind", "names"),
    [(kind, list(palette._LISTED[kind])) for kind in KINDS if kind != "format"]
    + [("format", names) for names in MEETING.values()],
)
def test_names_that_meet_differ_with_and_without_colour(kind, names):
    looks = [look(kind, name) for name in names]
    for one, other in itertools.combinations(looks, 2):
        assert in_grey(one) != in_grey(other)
        assert one.label != other.label
    assert len({one.marker for one in looks}) == len(looks), "points are told apart"
    if len(looks) <= 8 and kind != "format":
        assert len({one.colour for one in looks}) == len(looks)
        assert len({one.hatch for one in looks}) == len(looks)


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_that_is_not_listed_keeps_a_look_of_its_own(kind):
    listed = {in_colour(look(kind, name)) for name in palette._LISTED[kind]}
    others = [look(kind, f"new {i}") for i in range(50)]
    assert not listed & {in_colour(one) for one in others}
    assert others == [look(kind, f"new {i}") for i in range(50)]
    assert "new 3" in look(kind, "new 3").label


def test_looks_that_were_printed_do_not_change():
    """A checksum of the name, not Python's `hash`, which changes from run to run."""
    new = look("format", "a new one")
    assert new[1:] == look("method", "a new one")[1:]
    assert (new.label, new.colour, new.marker) == ("a new one", "#56B4E9", "^")


def test_a_number_looks_alike_in_every_type():
    expected = look("n_s", 2)
    assert look("n_s", 2.0) == look("n_s", np.int64(2)) == look("n_s", np.float64(2)) == expected
    assert expected.label == "$N_s$ = 2"
    assert look("n_s", 15).label == "$N_s$ = 15"


def test_names_come_in_the_order_of_legends_those_not_listed_last():
    found = ["zzz", "l0", "aaa", "random", "l0"]
    assert palette.names("method", found) == ["random", "l0", "aaa", "zzz"]
    assert palette.names("n_s", np.array([10, 2, 9, 0])) == [0, 2, 9, 10]


def test_seaborn_gets_a_look_for_every_name_and_no_more():
    rows = pd.DataFrame({"method": ["l0", "mine", "random"]})
    looks = palette.lines(rows, "method")
    assert looks["hue_order"] == ["random", "l0", "mine"]
    assert set(looks["palette"]) == set(looks["markers"]) == set(looks["dashes"]) == {*rows.method}
    assert looks["palette"]["l0"] == look("method", "l0").colour
