"""Samples of products: checked, complete, and condensed as their columns say."""

import numpy as np
import pandas as pd
import pytest

from f2f.product import device
from f2f_study import results
from f2f_study.experiments import products, products_gpu
from f2f_study.experiments.product_cases import Case, Problem, matrix, table


@pytest.mark.parametrize("dtype", ["int8", "float16", "float32"])
def test_a_case_has_the_sparsity_it_names(dtype):
    weight = matrix(Case(200, 300, 0.8, dtype=dtype))
    assert weight.shape == (200, 300) and weight.dtype == dtype
    assert np.count_nonzero(weight == 0) / weight.size == pytest.approx(0.8, abs=0.01)
    assert not np.array_equal(weight, matrix(Case(200, 300, 0.8, dtype=dtype, seed=1)))


def test_a_wrong_product_is_an_error():
    problem = Problem(Case(40, 96, 0.5, columns=3))
    dense = problem.weight.astype(np.float64) @ problem.x.astype(np.float64)
    assert problem.error("fine", dense, 1e-12) < 1e-12
    dense[7, 1] += 1e-3 * np.linalg.norm(dense)
    with pytest.raises(RuntimeError, match=r"off is wrong by 0\.001 for Case\(rows=40"):
        problem.error("off", dense, 1e-5)


def test_every_format_is_sampled_in_turn(monkeypatch):
    monkeypatch.setattr(products, "WARM_S", 0.0)
    cases = [Case(48, 64, 0.8), Case(48, 64, 0.8, 4)]
    found = products.measure(cases, repeats=2, threads=1)
    assert list(found) == products.COLUMNS and found.notna().all().all()
    vector = found[(found["columns"] == 1) & (found["cols"] == 64)]
    assert list(vector["format"]) == 2 * list(products.FORMATS)
    several = found[found["columns"] == 4]
    assert set(several["format"]) == set(products.FORMATS) - set(products.ONE_COLUMN)
    assert set(found["format"]) - set(products.FORMATS) == {"copy", "gemm"}
    unpruned = np.count_nonzero(matrix(cases[0]))
    assert (vector["useful_operations"] == 2 * unpruned).all()
    assert (several["useful_operations"] == 8 * unpruned).all()
    read = (vector["moved_bytes"] - 4 * (64 + 48)).groupby(vector["format"]).first()
    stored = vector.groupby("format")["stored_bytes"].first()
    plain = [name for name in products.FORMATS if name != "encoded_cascade"]
    assert (read[plain] == stored[plain]).all()
    # Whatever the codec of the mask, a product reads it unpacked; records differ by some bytes.
    assert abs(read["encoded_cascade"] - read["encoded"]) < 16


def samples(encoded_bytes=230):
    """Two samples of four formats for 1000 × 10 at S = 0.9, a vector, two threads."""
    facts = {
        "dense_fp32": (100.0, 1000),
        "csr_torch": (50.0, 800),
        "bitmap": (40.0, 230),
        "encoded": (30.0, encoded_bytes),
        "encoded_cascade": (60.0, 200),
    }
    return pd.DataFrame(
        [
            {
                "format": name,
                "rows": 1024,
                "cols": 10,
                "sparsity": 0.9,
                "columns": 1,
                "threads": 2,
                "time_us": time_us + late,
                "stored_bytes": stored,
                "useful_operations": 2000,
            }
            for late in (0.0, 10.0)
            for name, (time_us, stored) in facts.items()
        ]
    )


def test_the_table_by_hand():
    found = table(samples()).loc[1024, 10, 0.9, 1]
    assert found["time_us"].to_dict() == pytest.approx(
        {
            "dense_fp32": 105,
            "csr_torch": 55,
            "bitmap": 45,
            "encoded": 35,
            "encoded_cascade": 65,
        }
    )
    assert found.over_dense["encoded"] == pytest.approx(35 / 105)
    assert found.encoded_over["csr_torch"] == pytest.approx(35 / 55)
    assert found.ns_each["encoded"] == pytest.approx(1000 * 35 * 2 / 1000)


def test_the_summary_by_hand():
    slower, each, kept = products.summary(samples(), 0.9)
    assert slower.quantity == "encoded over dense time, 1024², S = 0.9"
    assert (slower.value, each.value, kept.value) == pytest.approx((35 / 105, 70.0, 0.23))


def test_what_is_missed_is_named():
    assert products.missed(samples()) == []
    assert products.missed(samples(240)) == ["the bitmap within 2 %: not at 1024², S = 0.9"]
    assert products.missed(samples(600))[:2] == [
        "half of dense FP32: not at 1024², S = 0.9",
        "half of CSR: not at 1024², S = 0.9",
    ]
    assert products.missed(samples(199))[-1] == "a cascade below a bitmap: not at 1024², S = 0.9"


@pytest.mark.skipif(bool(device.probe()), reason="there is a GPU")
def test_without_a_gpu_the_reference_is_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "repository_root", lambda: tmp_path)
    folder, reference = tmp_path / "run" / "06_spmv", tmp_path / "runs/reference/06_spmv"
    folder.mkdir(parents=True)
    assert products_gpu.measured(folder, 1) is None
    reference.mkdir(parents=True)
    (reference / products_gpu.CSV).write_text("device\nother card\n")
    path = products_gpu.measured(folder, 1)
    assert path == folder / products_gpu.CSV and "other card" in path.read_text()
    assert products_gpu.measured(reference, 1) == reference / products_gpu.CSV


def test_the_command_line_writes_csv_and_says_why_there_is_no_gpu(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(products, "WARM_S", 0.0)
    options = ["--out", str(tmp_path), "--size", "64", "--repeats", "1", "--threads", "1"]
    assert products.main([*options, "--skip", "gpu"]) == 0
    found = results.read_csv(tmp_path / products.CSV)
    assert list(found) == products.COLUMNS and (tmp_path / "provenance.json").exists()
    assert "encoded_cascade" in capsys.readouterr().out
    if not device.probe():
        assert products.main([*options, "--skip", "cpu"]) == 1
        assert "GPU: not measured, " in capsys.readouterr().out
