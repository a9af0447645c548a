"""Values drawn for masks that come without any."""

import numpy as np
import pytest

from f2f_study.networks.layers import Layer, PrunedModel, drawn_layers


def draw_values(masks, values, seed):
    layers, words = drawn_layers(masks, values, seed)
    assert all(layer.drawn and layer.mask is masks[name] for name, layer in layers.items())
    assert words == f"drawn, {values}, seed {seed}"
    return {name: layer.weights for name, layer in layers.items()}


def test_drawn_values_belong_to_the_name_of_a_tensor():
    masks = {name: np.random.default_rng(7).random((30, 40)) < 0.3 for name in ("a", "b")}
    drawn = draw_values(masks, "normal", 5)
    assert np.array_equal(drawn["a"] != 0, masks["a"]) and drawn["a"].dtype == np.float32
    assert not np.array_equal(drawn["a"], drawn["b"])
    alone = draw_values({"b": masks["b"]}, "normal", 5)
    assert np.array_equal(alone["b"], drawn["b"])
    assert not np.array_equal(draw_values(masks, "normal", 6)["b"], drawn["b"])
    heavy = draw_values(masks, "laplace", 5)["a"][masks["a"]]
    assert heavy.std() > 1.2 > drawn["a"][masks["a"]].std()  # sqrt(2) and 1


def test_an_unknown_distribution_is_named():
    with pytest.raises(ValueError, match="values must be normal, laplace or a file"):
        draw_values({"a": np.ones((2, 2), bool)}, "cauchy", 0)


def test_a_model_counts_its_layers():
    mask = np.array([[True, False, False], [False, True, False]])
    layers = {"a": Layer(None, mask), "b": Layer(mask * np.float32(2), mask)}
    model = PrunedModel("file", "resnet", "l0", 0.7, layers, "", {"c": np.ones(3)})
    assert (model.size, model.unpruned) == (12, 4)
    assert model.measured_sparsity == pytest.approx(2 / 3)
    assert set(model.state()) == {"b", "c"}
