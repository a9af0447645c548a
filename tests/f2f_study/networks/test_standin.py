"""The stand-in networks: their tasks, their training, and the files that are committed."""

import numpy as np
import pytest
import torch

from f2f_study import sources as models
from f2f_study.networks import standin
from f2f_study.sources import METHODS


def test_numbers_are_spelled_as_in_a_dictionary():
    pairs = {
        0: ("zero", "null"),
        1: ("one", "eins"),
        7: ("seven", "sieben"),
        12: ("twelve", "zwölf"),
        16: ("sixteen", "sechzehn"),
        17: ("seventeen", "siebzehn"),
        20: ("twenty", "zwanzig"),
        21: ("twenty one", "einundzwanzig"),
        30: ("thirty", "dreißig"),
        66: ("sixty six", "sechsundsechzig"),
        100: ("one hundred", "einhundert"),
        101: ("one hundred one", "einhunderteins"),
        111: ("one hundred eleven", "einhundertelf"),
        1000: ("one thousand", "eintausend"),
        1001: ("one thousand one", "eintausendeins"),
        21_000: ("twenty one thousand", "einundzwanzigtausend"),
        101_101: (
            "one hundred one thousand one hundred one",
            "einhunderteintausendeinhunderteins",
        ),
        999_999: (
            "nine hundred ninety nine thousand nine hundred ninety nine",
            "neunhundertneunundneunzigtausendneunhundertneunundneunzig",
        ),
    }
    for number, (english, german) in pairs.items():
        assert " ".join(standin.english(number)) == english
        assert "".join(standin.german(number)) == german
    for wrong in (-1, 1_000_000):
        with pytest.raises(ValueError, match="number must be between 0 and 999999"):
            standin.german(wrong)


def test_every_number_has_its_own_translation():
    numbers = np.random.default_rng(0).integers(0, 1_000_000, 3000)
    words = {"".join(standin.german(int(n))) for n in numbers}
    assert len(words) == len(set(numbers.tolist()))


def test_training_and_test_sentences_share_none():
    train, test = (set(map(tuple, standin.number_pairs(p)[0].tolist())) for p in ("train", "test"))
    assert not train & test
    assert len(test) > 500
    assert standin.digit_images("train")[0].shape == (1437, 1, 8, 8)
    with pytest.raises(ValueError, match="part must be train or test"):
        standin.number_pairs("validation")


def test_the_decoder_does_not_see_the_future():
    network = standin.build("transformer").eval()
    source, target = standin.number_pairs("test")
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


@pytest.mark.parametrize("method", METHODS)
def test_a_short_training_gives_the_asked_sparsity(method):
    dense = standin.train_dense("resnet", standin.scaled("resnet", 1))
    model = standin.train_pruned(dense, method, 0.8, standin.scaled("resnet", 1))
    assert abs(model.measured_sparsity - 0.8) < 1e-3
    for layer in model.layers.values():
        assert np.array_equal(layer.weights != 0, layer.mask)
    if method in ("random", "magnitude"):
        assert all(abs(1 - la.unpruned / la.size - 0.8) < 1e-3 for la in model.layers.values())


COMMITTED = [(n, m, s) for n in standin.NETWORKS for s in (0.7, 0.9) for m in METHODS]


@pytest.mark.parametrize(("network", "method", "sparsity"), COMMITTED)
def test_committed_networks_have_their_sparsity(network, method, sparsity):
    model = models.open_model("standin", network, method, sparsity)
    assert (model.network, model.method, model.sparsity) == (network, method, sparsity)
    assert abs(model.measured_sparsity - sparsity) < 1e-3
    for layer in model.layers.values():
        # A surviving weight may train to zero, but hardly any does.
        assert np.count_nonzero(layer.weights[layer.mask]) > 0.999 * layer.unpruned


@pytest.mark.parametrize(
    ("network", "method", "sparsity"),
    [("resnet", "dense", 0.0), ("resnet", "l0", 0.9), ("transformer", "magnitude", 0.9)],
)
def test_committed_networks_do_what_their_files_say(network, method, sparsity):
    model = models.open_standin(network, method, sparsity)
    found = standin.quality(standin.load(network, model.state()))
    assert abs(found - float(model.quality.split()[0])) <= 0.5
    assert found > 95


def test_an_absent_standin_is_named():
    with pytest.raises(
        models.ModelUnavailable, match=r"resnet-l0-0\.55\.safetensors was not found"
    ):
        models.open_model("standin", "resnet", "l0", 0.55)
    with pytest.raises(ValueError, match="network must be one of"):
        standin.build("vgg")
