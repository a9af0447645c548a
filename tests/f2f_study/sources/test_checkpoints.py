"""The published checkpoints: the reading rule of each method, and where they lie."""

import math
import tarfile

import numpy as np
import pytest
from checkpoint_writer import some_tensors, write_checkpoint

from f2f.base.errors import FormatError
from f2f_study import sources
from f2f_study.sources import checkpoints


def test_magnitude_checkpoints_are_weights_times_mask(tmp_path):
    tensors = some_tensors()
    write_checkpoint(tmp_path / "m", tensors)
    found = checkpoints.read_layers(tmp_path / "m", "magnitude")
    assert sorted(found) == ["body/encoder/layer_0/ffn/conv1", "body/encoder/layer_0/q"]
    layer = found["body/encoder/layer_0/ffn/conv1"]
    kernel = tensors["body/encoder/layer_0/ffn/conv1/kernel"]
    mask = tensors["body/encoder/layer_0/ffn/conv1/mask"]
    assert np.array_equal(layer.weights, (kernel * mask).T)
    assert np.array_equal(layer.mask, mask.T == 1)


def test_variational_dropout_checkpoints_keep_low_log_alpha(tmp_path):
    theta = np.array([[1.0, 0.1], [0.5, -2.0]], np.float32)
    log_sigma2 = np.array([[2.4, 0.0], [3.0, -10.0]], np.float32)
    embedding = np.array([[1.0, 1e-4]], np.float32)
    write_checkpoint(
        tmp_path / "v",
        {
            "a/kernel": theta,
            "a/log_sigma2": log_sigma2,
            "emb/weights_0": embedding,
            "emb/weights_0_aux": np.array([[0.0, 0.0]], np.float32),
        },
    )
    found = checkpoints.read_layers(tmp_path / "v", "variational_dropout", threshold=2.5)
    # log alpha = log_sigma2 - ln(theta^2): 2.4, 4.6, 4.4, -11.4
    assert found["a"].mask.T.tolist() == [[True, False], [False, True]]
    assert found["a"].weights.T.tolist() == [[1.0, 0.0], [0.0, -2.0]]
    assert found["emb/weights_0"].mask.T.tolist() == [[True, False]]


def test_l0_checkpoints_multiply_by_the_gate(tmp_path):
    theta = np.full((1, 4), 2.0, np.float32)
    log_alpha = np.array([[-3.0, 0.0, 5.0, -math.log(11) - 1e-3]], np.float32)
    write_checkpoint(tmp_path / "l", {"a/weights": theta, "a/log_alpha": log_alpha})
    layer = checkpoints.read_layers(tmp_path / "l", "l0")["a"]
    assert layer.mask.T.tolist() == [[False, True, True, False]]
    assert np.allclose(layer.weights.T, [[0, 1.0, 2.0, 0]])


def test_convolutions_put_outputs_first(tmp_path):
    weights = np.random.default_rng(0).standard_normal((3, 3, 5, 7)).astype(np.float32)
    write_checkpoint(tmp_path / "c", {"a/weights": weights, "a/mask": np.ones_like(weights)})
    layer = checkpoints.read_layers(tmp_path / "c", "random")["a"]
    assert layer.weights.shape == (7, 3, 3, 5)
    assert layer.weights[4, 1, 2, 3] == weights[1, 2, 3, 4]


def test_a_checkpoint_of_another_method_is_named(tmp_path):
    write_checkpoint(tmp_path / "m", some_tensors())
    with pytest.raises(FormatError, match="no variable ending in /log_alpha, as l0 leaves them"):
        checkpoints.read_layers(tmp_path / "m", "l0")
    write_checkpoint(tmp_path / "n", {"a/mask": np.ones((2, 2), np.float32)})
    with pytest.raises(FormatError, match="a/mask has no weights"):
        checkpoints.read_layers(tmp_path / "n", "magnitude")
    with pytest.raises(ValueError, match="method must be one of"):
        checkpoints.read_layers(tmp_path / "m", "lottery")


def test_published_checkpoints_open_by_method_and_sparsity(data):
    table = checkpoints.table()
    assert len(table) == 49
    name = "magnitude_pruning_0.9_0_400000_10000_0.0_0.1.tar"
    assert any(row["url"].endswith(name) and row["sparsity"] == ".9" for row in table)
    with pytest.raises(sources.ModelUnavailable, match=f"{name} is not in the data folder"):
        sources.open_model("checkpoint", "transformer", "magnitude", 0.9)
    made = data.parent / "made"
    write_checkpoint(made / "model.ckpt-500000", some_tensors())
    with tarfile.open(data / name, "w") as tar:
        tar.add(made, "ckpt")
    model = sources.open_model("checkpoint", "transformer", "magnitude", 0.9)
    assert len(model.layers) == 2 and model.quality == "23.26 BLEU as published"
    assert sources.available("checkpoint", "transformer") == [("magnitude", 0.9)]
    with pytest.raises(ValueError, match="sparsity must be one that was published"):
        sources.open_model("checkpoint", "transformer", "magnitude", 0.123)


def test_the_threshold_ends_the_name():
    assert (
        checkpoints.threshold_of("variational_dropout_0.8_cubic_0_300000_2.2E-08_0.0_0.1_1.5.tar")
        == 1.5
    )
    with pytest.raises(ValueError, match="name must end in the log alpha threshold"):
        checkpoints.threshold_of("baseline.tar")


def test_the_last_step_of_a_folder_is_read(data):
    """By number: model.ckpt-99000 comes before model.ckpt-500000."""
    name = "magnitude_pruning_0.9_0_400000_10000_0.0_0.1"
    for step in (99000, 500000):
        tensors = {"a/kernel": np.full((2, 2), step, np.float32), "a/mask": np.ones((2, 2))}
        tensors = {key: array.astype(np.float32) for key, array in tensors.items()}
        write_checkpoint(data / "checkpoints" / name / f"model.ckpt-{step}", tensors)
    model = sources.open_model("checkpoint", "transformer", "magnitude", 0.9)
    assert model.layers["a"].weights[0, 0] == 500000
