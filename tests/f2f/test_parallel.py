"""Whole models over other back ends of joblib, a Dask cluster among them: the same bytes."""

import subprocess
import sys
import time
import warnings
from pickle import PicklingError

import joblib
import ml_dtypes
import numpy as np
import psutil
import pytest

from f2f.format import operands
from f2f.format.container import save
from f2f.parallel import compress_model, decompress_model


def weights():
    rng = np.random.default_rng(0)
    tensors = {
        f"layer{i}.weight": rng.integers(-9, 10, (40 + i, 64)).astype(np.int8) for i in range(6)
    }
    for weight in tensors.values():
        weight[rng.random(weight.shape) < 0.9] = 0
    return tensors | {"bias": np.ones(5, np.float32), "tied": tensors["layer2.weight"]}


def file_bytes(path, model):
    save(path, model)
    return path.read_bytes()


def assert_round_trip(model, tensors, **options):
    back = decompress_model(model, progress=True, **options)
    assert list(back) == list(tensors)
    assert all(np.array_equal(back[name], tensors[name]) for name in tensors)
    assert back["tied"] is back["layer2.weight"]


@pytest.mark.parametrize(
    ("backend", "jobs"),
    [("threading", 2), ("loky", 1), pytest.param("loky", 2, marks=pytest.mark.slow)],
)
def test_the_back_end_is_the_callers_choice(tmp_path, capsys, backend, jobs):
    tensors = weights()
    alone = file_bytes(tmp_path / "a.safetensors", compress_model(tensors))
    with joblib.parallel_config(backend=backend, n_jobs=jobs):
        model = compress_model(tensors, progress=True)
        assert_round_trip(model, tensors)
    assert file_bytes(tmp_path / "b.safetensors", model) == alone
    assert model["tied"] is model["layer2.weight"]
    bars = capsys.readouterr().err
    assert "compress: 100%" in bars and "decompress: 100%" in bars


TASKS = """
import joblib, time
from f2f.parallel import _run
_run([(joblib.delayed(time.sleep)(600), 1)] * 4, 2, False, "", "processes")
"""


def test_workers_end_with_the_process_that_started_them():
    parent = subprocess.Popen([sys.executable, "-c", TASKS])
    deadline = time.monotonic() + 60
    workers = []
    while len(workers) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
        children = psutil.Process(parent.pid).children()
        workers = [child for child in children if "popen_loky" in " ".join(child.cmdline())]
    assert len(workers) == 2
    parent.kill()
    parent.wait()
    assert not psutil.wait_procs(workers, timeout=30)[1]


def test_no_room_for_what_workers_are_handed(monkeypatch):
    def full(self, calls):
        cause = ValueError('\n"""\nTraceback\nOSError: [Errno 28] No space left on device\n"""')
        raise PicklingError("Could not pickle the task to send it to the workers.") from cause

    monkeypatch.setattr(joblib.Parallel, "__call__", full)
    message = "handed to workers: OSError: .Errno 28. No space left on device; JOBLIB_TEMP_FOLDER"
    with pytest.raises(OSError, match=message):
        compress_model(weights(), n_jobs=2)


def test_decompression_over_threads():
    tensors = weights()
    assert_round_trip(compress_model(tensors), tensors, n_jobs=2)


def test_a_failing_tensor_is_named():
    tensors = weights()
    with pytest.raises(ValueError, match=r"tensor 'layer1\.weight': mask must have"):
        compress_model(tensors, masks={"layer1.weight": np.ones(3, bool)})


@pytest.mark.slow
def test_a_dask_cluster_needs_no_other_code(tmp_path):
    distributed = pytest.importorskip("dask.distributed")
    tensors = weights()
    alone = file_bytes(tmp_path / "a.safetensors", compress_model(tensors))
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=str(tmp_path)
        ) as cluster,
        distributed.Client(cluster) as client,
        distributed.get_task_stream(client) as stream,
        joblib.parallel_config(backend="dask", wait_for_workers_timeout=60),
    ):
        model = compress_model(tensors)
        assert_round_trip(model, tensors)
        both = {worker["id"] for worker in cluster.scheduler_info["workers"].values()}
    assert len(both) == len({task["worker"] for task in stream.data}) == 2
    assert file_bytes(tmp_path / "b.safetensors", model) == alone


@pytest.mark.parametrize("array", [np.arange(5), np.eye(40, dtype=np.int16)])
def test_any_byte_order_is_stored_as_the_same_bytes(tmp_path, array):
    files = [
        file_bytes(tmp_path / "a.safetensors", compress_model({"a": array.astype(dtype)}, beam=1))
        for dtype in (array.dtype, array.dtype.newbyteorder(">"))
    ]
    assert files[0] == files[1]


def test_a_mapping_that_makes_its_values(tmp_path):
    weights = {f"w{i}": np.eye(40, dtype=np.int8) * (i + 1) for i in range(20)}
    np.savez(tmp_path / "m.npz", **weights)
    with np.load(tmp_path / "m.npz") as file:
        model = compress_model(file, beam=1)
    back = decompress_model(model)
    assert list(back) == list(weights)
    assert all(np.array_equal(back[name], weights[name]) for name in weights)


def test_a_mask_of_any_name_of_a_shared_tensor_counts():
    weight = np.ones((40, 40), np.int8)
    mask = np.eye(40, dtype=bool)
    model = compress_model({"a": weight, "b": weight}, masks={"b": mask}, beam=1)
    assert model["a"] is model["b"] and model["a"].k == 40
    with pytest.raises(ValueError, match="masks must be equal for names that share a tensor"):
        compress_model({"a": weight, "b": weight}, masks={"a": mask, "b": ~mask})


def test_what_is_no_array_of_numbers_is_named():
    with pytest.raises(ValueError, match="tensor 'names' must hold numbers, got dtype <U3"):
        compress_model({"names": np.array(["cat"])})
    with pytest.raises(ValueError, match=r"tensors\['x'\] must be a NumPy array, got list"):
        compress_model({"x": [1, 2]})
    with pytest.raises(ValueError, match=r"tensors\['bias'\] must not be a masked array"):
        compress_model({"bias": np.ma.masked_equal([0.0, 1.0], 0)})


def test_one_warning_for_all_tensors_that_are_minus_zero():
    weight = -np.eye(40, dtype=np.float32)  # elsewhere -0.0
    model = {"a": weight, "b": weight.copy(), "c": np.eye(40), "bias": -np.zeros(40, np.float32)}
    with pytest.warns(UserWarning, match=r"98 % of tensor 'a' is -0\.0.* 1 more tensors") as found:
        compress_model(model, beam=1, n_jobs=2)
    assert len(found) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compress_model(model, masks=dict.fromkeys("ab", weight != 0), beam=1)
        compress_model(model, beam=1, negative_zero="keep")


def test_masks_of_floats_and_names_with_a_prefix():
    """As `torch.nn.utils.prune` and `DataParallel` leave them in checkpoints."""
    weight = np.arange(1, 1601, dtype=np.int16).reshape(40, 40)
    mask = weight % 7 == 0
    name = "module.fc.weight"
    for dtype in (np.float32, ml_dtypes.bfloat16, np.uint8):
        model = compress_model({name: weight}, masks={name: mask.astype(dtype)}, beam=1)
        assert np.array_equal(decompress_model(model)[name], weight * mask)
    with pytest.raises(ValueError, match=r"'module\.fc\.weight': mask must hold only 0 and 1, got"):
        compress_model({name: weight}, masks={name: np.full((40, 40), 0.5)})
    with pytest.raises(ValueError, match=r"masks must be of tensors of the model, got \['fc"):
        compress_model({name: weight}, masks={"fc.weight": mask})


def test_a_model_decompressed_leaves_nothing_beside_its_tensors(monkeypatch):
    seen = []
    make = operands.make_operands
    monkeypatch.setattr(
        operands, "make_operands", lambda *given: seen.append(found := make(*given)) or found
    )
    (weight,) = compress_model({"w": np.eye(64, dtype=np.int8)}).values()
    decompress_model({"w": weight})
    assert len(seen) == 1 and weight not in operands._OPERANDS
