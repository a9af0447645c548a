"""The stand-in networks: their training, and the files that are committed."""

import numpy as np
import pytest
import torch

from f2f_study import sources
from f2f_study.networks import standin, tasks
from f2f_study.networks.layers import METHODS


def test_the_decoder_does_not_see_the_future():
    network = standin.build("transformer").eval()
    source, target = tasks.number_pairs("test")
    other = target[:4].clone()
    other[:, 3:] = 5
    with torch.no_grad():
        first, second = network(source[:4], target[:4]), network(source[:4], other)
    assert torch.equal(first[:, :4], second[:, :4])
    assert not torch.equal(first[:, 4:], second[:, 4:])


@pytest.mark.parametrize("name", standin.NETWORKS)
def test_prunable_tensors_are_the_bulk_of_a_network(name):
    network = standin.build(name)
    pruned = sum(network.get_parameter(w).numel() for w in standin.prunable(network))
    assert pruned > 0.9 * sum(p.numel() for p in network.parameters())


def test_training_is_that_of_its_seed():
    def trained(seed):
        model = standin.train_dense("resnet", standin.scaled("resnet", 1, seed))
        return b"".join(array.tobytes() for array in model.others.values())

    assert trained(0) == trained(0) != trained(1)


@pytest.fixture(scope="module")
def dense():
    return standin.train_dense("resnet", standin.scaled("resnet", 1))


@pytest.mark.parametrize("method", METHODS)
def test_a_short_training_gives_the_asked_sparsity(dense, method):
    model = standin.train_pruned(dense, method, 0.8, standin.scaled("resnet", 1))
    assert abs(model.measured_sparsity - 0.8) < 1e-3
    for layer in model.layers.values():
        assert np.array_equal(layer.weights != 0, layer.mask)
    if method in ("random", "magnitude"):
        assert all(abs(1 - la.unpruned / la.size - 0.8) < 1e-3 for la in model.layers.values())


COMMITTED = [(n, m, s) for n in standin.NETWORKS for s in (0.7, 0.9) for m in METHODS]


@pytest.mark.parametrize(("network", "method", "sparsity"), COMMITTED)
def test_committed_networks_have_their_sparsity(network, method, sparsity):
    model = sources.open_model("standin", network, method, sparsity)
    assert (model.network, model.method, model.sparsity) == (network, method, sparsity)
    assert abs(model.measured_sparsity - sparsity) < 1e-3
    for layer in model.layers.values():
        # A surviving weight may train to zero, but hardly any does.
        assert np.count_nonzero(layer.weights[layer.mask]) > 0.999 * layer.unpruned


def test_an_absent_standin_is_named():
    with pytest.raises(
        sources.ModelUnavailable, match=r"resnet-l0-0\.55\.safetensors was not found"
    ):
        sources.open_model("standin", "resnet", "l0", 0.55)
    with pytest.raises(ValueError, match="network must be one of"):
        standin.build("vgg")
