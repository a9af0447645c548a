import subprocess
import sys

import pytest

import f2f
from f2f_study import provenance, results


def test_the_fingerprint_is_the_same_in_another_process():
    here = provenance.fingerprint()
    assert set(here) == {*provenance.FINGERPRINT_DTYPES, "exact"} and len(set(here.values())) == 5
    code = "from f2f_study import provenance; print(provenance.fingerprint())"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert there.stdout.strip() == str(here)


@pytest.mark.parametrize("changed", [{"beam": 2}, {"order": "golden"}, {"mask_codec": "bitmap"}])
def test_another_way_to_code_has_another_fingerprint(monkeypatch, changed):
    here = provenance.fingerprint()  # kept from then on, so before compress is changed
    compress = f2f.compress
    monkeypatch.setattr(f2f, "compress", lambda array, **given: compress(array, **given | changed))
    other = provenance.fingerprint.__wrapped__()
    assert all(other[name] != here[name] for name in provenance.FINGERPRINT_DTYPES)


def test_the_reference_was_made_by_code_that_codes_alike():
    """Otherwise: make reference."""
    paths = sorted((results.repository_root() / "runs" / "reference").rglob("provenance.json"))
    assert len(paths) == 3  # the default notebooks, and below them those of two kinds of data
    for path in paths:
        for name, facts in provenance.read(path.parent)["notebooks"].items():
            assert facts["fingerprint"] == provenance.fingerprint(), f"{path}: {name}"
