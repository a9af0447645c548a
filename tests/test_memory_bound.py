"""The benchmark of peak memory, at a small size; it notices what exceeds its bound."""

import re

from benchmarks import memory


def test_a_folder_stays_below_its_bound(tmp_path, capfd):
    assert memory.main(["--megabytes", "3", "--folder", str(tmp_path)]) == 0
    out = capfd.readouterr().out
    peaks = re.findall(r"(\w+) +peak +(\d+) MB", out)
    assert [name for name, _ in peaks] == ["compress", "verify", "decompress"]
    assert all(50 < int(peak) < 502 for _, peak in peaks), (
        out
    )  # an interpreter with NumPy, at least
    assert list(tmp_path.iterdir()) == []


def test_a_peak_beyond_the_bound_fails(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(memory, "peak_of", lambda arguments: (10**9, 1.0))
    assert memory.main(["--megabytes", "1", "--folder", str(tmp_path)]) == 1
    assert "failed: more than the bound: compress, verify, decompress" in capfd.readouterr().out
