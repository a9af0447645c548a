"""Small pruned models for the tests of their tables."""

import numpy as np

from f2f_study.networks.layers import Layer, PrunedModel


def model_of(masks, seed=0, method="random", sparsity=0.8, others=()):
    rng = np.random.default_rng(seed)
    layers = {}
    for name, mask in masks.items():
        weights = rng.standard_normal(mask.shape).astype(np.float32)
        layers[name] = Layer(np.where(mask, weights, np.float32(0)), mask)
    return PrunedModel("file", "resnet", method, sparsity, layers, "drawn", dict(others))


def random_model(seed=0, shape=(40, 60), sparsity=0.8, **facts):
    rng = np.random.default_rng(seed)
    masks = {name: rng.random(shape) >= sparsity for name in ("a", "b")}
    return model_of(masks, seed, sparsity=sparsity, **facts)
