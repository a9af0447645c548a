"""A header comes back from its form and numbers; varints are those of LEB128."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from f2f.base.errors import FormatError
from f2f.format.record import joined, read_varint, record_bytes, split, varint

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**64) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=12,
)


@given(VALUES)
def test_a_header_is_its_form_and_its_numbers(header):
    form, numbers = split(header)
    assert joined(json.loads(json.dumps(form)), iter(numbers)) == header
    assert split(form) == (form, [0] * len(numbers))


def test_headers_that_differ_in_numbers_have_one_form():
    one = {"shape": [3, 4], "mask": {"errors": 7, "codec": "list"}, "inverted": True}
    two = {"inverted": True, "mask": {"codec": "list", "errors": 0}, "shape": [5, 600]}
    assert split(one)[0] == split(two)[0] == {
        "inverted": True, "mask": {"codec": "list", "errors": 0}, "shape": [0, 0]}  # fmt: skip
    assert record_bytes(split(two)[1], 300, b"\1" * 8) == b"\xac\x02\x00\x05\xd8\x04" + b"\1" * 8


@pytest.mark.parametrize(
    ("number", "stored"),
    [(0, b"\0"), (127, b"\x7f"), (128, b"\x80\x01"), (624485, b"\xe5\x8e\x26"),
     (2**64, b"\x80" * 9 + b"\x02")],
)  # fmt: skip
def test_varints(number, stored):
    assert varint(number) == stored
    assert read_varint(b"\x80" + stored + b"\x85", 1) == (number, 1 + len(stored))
    with pytest.raises(FormatError, match="no number at byte 0"):
        read_varint(stored[:-1], 0)
