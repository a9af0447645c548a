"""An empty data folder for every test of a source; nothing leaves this machine."""

import pytest


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    """The data folder."""
    monkeypatch.setenv("F2F_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"
