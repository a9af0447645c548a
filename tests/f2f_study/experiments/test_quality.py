"""Networks judged before and after coding; what cannot come with this package is stubbed."""

import sys
import types

import numpy as np
import pytest
from pruned_models import random_model

from f2f_study import sources
from f2f_study.experiments import evaluation
from f2f_study.experiments.evaluation import quality, standins
from f2f_study.networks.quantize import quantize
from f2f_study.sources import PrunedModel


def test_int8_layers_are_dequantized():
    model = random_model(others={"bias": np.ones(2, np.float32)})
    state = evaluation.models.restored_state(model, "int8")
    assert np.array_equal(state["a"], quantize(model.layers["a"].weights).dequantize())
    assert state["bias"] is model.others["bias"]


def test_the_committed_standins_stand_beside_those_trained_here(monkeypatch):
    monkeypatch.setattr(standins.sources, "available", lambda *source: [("magnitude", 0.9)])
    monkeypatch.setattr(standins.standin, "NETWORKS", ("resnet",))
    dense = standins.train_dense(["resnet"], 1, 0)
    rows = standins.standins(dense)
    assert rows["method"].tolist() == ["dense", "magnitude"]
    assert (rows["recorded_percent"] - rows["recomputed_percent"]).abs().max() <= 0.5
    assert rows["trained_percent"].notna().tolist() == [True, False]
    assert len(standins.summary(rows)) == 2


@pytest.mark.parametrize("dtype", evaluation.DTYPES)
def test_standins_compute_the_same_after_coding(dtype):
    model = sources.open_model("standin", "resnet", "magnitude", 0.9)
    _, decoded = evaluation.package_setting([model], [dtype], beam=1)
    (row,) = evaluation.standin_quality(decoded).itertuples()
    assert row.same_outputs and row.before == row.after > 95 and row.dense > 95
    tensors = decoded[0].tensors
    tensors["layers.0.conv2.weight"] = np.roll(tensors["layers.0.conv2.weight"], 1)
    assert not evaluation.standin_quality(decoded)["same_outputs"].any()


def test_imagenet_is_judged_on_a_folder(tmp_path):
    """Eleven images of noise in 1000 class folders; a ResNet-50 of random weights."""
    import torch
    from PIL import Image

    from f2f_study.networks.vision import import_torchvision

    torch.manual_seed(0)
    network = import_torchvision().models.resnet50()
    state = {name: value.numpy() for name, value in network.state_dict().items()}
    tensors = {"layer1.0.conv1.weight": state.pop("layer1.0.conv1.weight")}
    base = sources.from_tensors(tensors, "torchvision", "resnet", "magnitude", 0.9, "drawn")
    model = PrunedModel("torchvision", "resnet", "magnitude", 0.9, base.layers, "drawn", state)
    rng = np.random.default_rng(0)
    for index in range(1000):
        (tmp_path / f"n{index:08d}").mkdir()
        name = tmp_path / f"n{index:08d}" / "a.png"
        Image.fromarray(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(name)
    _, decoded = evaluation.package_setting([model], ["float32", "int8"], beam=1)
    (row,) = quality.imagenet_quality(decoded, str(tmp_path), images=2).itertuples()
    assert row.same_outputs and row.before == row.after
    assert row.metric == "% top-1 of 2 images"
    with pytest.raises(sources.ModelUnavailable, match="imagenet_folder must be a folder"):
        quality.imagenet_quality(decoded, str(tmp_path / "absent"))
    with pytest.raises(sources.ModelUnavailable, match="must hold 1000 class folders, got 1"):
        (tmp_path / "one" / "n01440764").mkdir(parents=True)
        name = tmp_path / "one" / "n01440764" / "a.png"
        Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(name)
        quality.imagenet_quality(decoded, str(tmp_path / "one"))


def test_translation_is_judged_by_bleu(monkeypatch):
    def share_of_words(said, references):  # stands in for sacrebleu, which is optional
        pairs = list(zip(said, references[0], strict=True))
        shared = [len(set(a.split()) & set(b.split())) / len(b.split()) for a, b in pairs]
        return types.SimpleNamespace(score=100 * float(np.mean(shared)))

    stub = types.SimpleNamespace(corpus_bleu=share_of_words)
    monkeypatch.setitem(sys.modules, "sacrebleu", stub)
    model = random_model(others={"bias": np.ones(2, np.float32)})
    _, decoded = evaluation.package_setting([model], ["float32"], beam=1)

    def translate(sentences, state):
        return [f"{s} {state['a'].sum():.3f} und noch vier Wörter" for s in sentences]

    pairs = evaluation.Pairs(["eins", "zwei"], ["eins und noch vier Wörter", "zwei oder drei"])
    (row,) = evaluation.translation_quality(decoded, translate, pairs).itertuples()
    assert row.same_outputs and row.before == row.after > 0
    assert row.metric == "BLEU of 2 sentences"
    decoded[0].tensors["a"] *= 2
    assert not evaluation.translation_quality(decoded, translate, pairs)["same_outputs"].any()


def test_absent_translators_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(sources.ModelUnavailable, match="pip install transformers"):
        evaluation.Translator("Helsinki-NLP/opus-mt-en-de")
    with pytest.raises(sources.ModelUnavailable, match="pip install sacrebleu"):
        evaluation.newstest2014()
