"""The tables of notebooks 04 and 05 against plain recomputation."""

import sys
import types

import numpy as np
import pytest

from f2f.decoder.decoder import Decoder
from f2f.encoder.exact import encode_viterbi
from f2f.format.codec import compress
from f2f_study import sources as models
from f2f_study.experiments import evaluation
from f2f_study.experiments.accounting import paper_bits
from f2f_study.experiments.evaluation import paper, quality
from f2f_study.sources import Layer, PrunedModel


def model_of(masks, seed=0, method="random", sparsity=0.8):
    rng = np.random.default_rng(seed)
    layers = {}
    for name, mask in masks.items():
        weights = rng.standard_normal(mask.shape).astype(np.float32)
        layers[name] = Layer(np.where(mask, weights, np.float32(0)), mask)
    return PrunedModel("file", "resnet", method, sparsity, layers, "drawn")


def random_model(seed=0, shape=(40, 60), sparsity=0.8):
    rng = np.random.default_rng(seed)
    masks = {name: rng.random(shape) >= sparsity for name in ("a", "b")}
    return model_of(masks, seed, sparsity=sparsity)


def test_n_out_of_the_paper():
    assert [evaluation.paper_n_out(s) for s in (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)] == [
        16, 20, 26, 40, 80, 160,
    ]  # fmt: skip
    with pytest.raises(ValueError, match="sparsity must be at least 0 and below 1"):
        evaluation.paper_n_out(1.0)


def test_spread_is_that_of_the_blocks():
    model = random_model()
    rows = evaluation.spread_rows(model, 40)
    assert [row.layer for row in rows] == ["a", "b", evaluation.TOTAL]
    counts = model.layers["a"].mask.reshape(-1, 40).sum(1)
    assert rows[0].variation == pytest.approx(counts.std() / counts.mean())
    assert rows[0].excess_percent == pytest.approx(
        100 * np.maximum(counts - 8, 0).sum() / counts.sum()
    )
    assert rows[2].variation == pytest.approx(rows[2].variation_binomial, rel=0.15)
    striped = model_of({"a": np.repeat(np.arange(40) % 5 == 0, 60).reshape(40, 60)})
    assert evaluation.spread_rows(striped, 40)[-1].variation > 3 * rows[2].variation


def test_histogram_sums_to_all_blocks():
    rows = evaluation.histogram_rows(random_model(), 40)
    assert sum(row.share_percent for row in rows) == pytest.approx(100)
    assert sum(row.share_binomial_percent for row in rows) == pytest.approx(100)


@pytest.mark.parametrize("n_s", [0, 1])
def test_paper_setting_is_the_exact_optimum(n_s):
    model = random_model(shape=(12, 40))
    rows = evaluation.paper_rows(model, "int8", n_s=(n_s,))
    decoder = Decoder(8, 40, n_s, 0)
    for inverting in (False, True):
        wrong = total = 0
        for name, layer in model.layers.items():
            words = evaluation.layer_weights(layer, "int8").reshape(-1).view(np.uint8)
            care = layer.mask.reshape(-1).astype(np.uint8)
            for plane in range(8):
                bits = words >> plane & 1
                if inverting and 2 * bits[care == 1].sum() > care.sum():
                    bits = 1 - bits
                decoded = decoder.decode(encode_viterbi(bits, care, decoder), bits.size)
                wrong += int(((decoded ^ bits) & care).sum())
                total += int(care.sum())
            del name
        (row,) = (r for r in rows if r.layer == "total" and r.inverting == inverting)
        assert (row.wrong_bits, row.care_bits) == (wrong, total)
        assert row.efficiency_percent == pytest.approx(100 * (1 - wrong / total))


def test_paper_accounting():
    model = random_model()
    row = evaluation.paper_rows(model, "float32", n_s=(1,))[0]
    blocks = 2400 // 40
    assert row.original_bits == 2400 * 32
    assert row.payload_bits == 32 * 8 * (blocks + 1)
    assert row.correction_bits == paper_bits(2400 * 32, row.wrong_bits)
    stored = row.payload_bits + row.correction_bits
    assert row.memory_reduction_percent == pytest.approx(100 * (1 - stored / (2400 * 32)))
    with_mask = 100 * (1 - (stored + 2400) / (2400 * 32))
    assert row.memory_reduction_with_mask_percent == pytest.approx(with_mask)


def test_a_sample_of_blocks_is_close_to_all_of_them():
    model = random_model(shape=(400, 100))
    whole = evaluation.paper_rows(model, "int8", n_s=(1,))[-1]
    part = evaluation.paper_rows(model, "int8", n_s=(1,), max_blocks=300)[-1]
    assert part.sampled_percent == pytest.approx(30, abs=1)
    assert part.efficiency_percent == pytest.approx(whole.efficiency_percent, abs=0.35)
    assert part.care_bits == pytest.approx(whole.care_bits, rel=0.05)
    assert part.original_bits == whole.original_bits


def test_pieces_lie_inside_the_plane():
    for n, n_out, limit in [(10_000, 40, 60), (10_007, 26, 64), (500, 80, 0), (79, 80, 4)]:
        for start, first, last, stop in paper._pieces(n, n_out, limit):
            assert 0 <= start <= first < last <= stop <= n
            assert start % n_out == first % n_out == 0


def test_inverting_helps_where_ones_prevail():
    rng = np.random.default_rng(0)
    mask = rng.random((60, 80)) >= 0.8
    ones = np.full(mask.shape, -1.0, np.float32)
    ones[rng.random(mask.shape) < 0.1] = 1.0  # the sign plane is mostly ones
    model = model_of({"a": mask})
    model.layers["a"] = Layer(np.where(mask, ones, np.float32(0)), mask)
    plain, inverted = (
        next(r for r in evaluation.paper_rows(model, "float32", n_s=(0,)) if r.inverting == i)
        for i in (False, True)
    )
    assert inverted.wrong_bits < 0.8 * plain.wrong_bits


@pytest.mark.parametrize("dtype", evaluation.DTYPES)
def test_package_setting_is_lossless_and_adds_up(dtype):
    model = random_model(shape=(64, 96))
    rows, decoded = evaluation.package_rows(model, dtype, threads=1)
    for row, (name, layer) in zip(rows, model.layers.items(), strict=False):
        weights = evaluation.layer_weights(layer, dtype)
        assert row.lossless and decoded[name].tobytes() == weights.tobytes()
        tensor = compress(weights, layer.mask, beam=16, n_out=row.n_out)
        assert row.stored_bits == 8 * tensor.nbytes
        parts = row.payload_bits + row.correction_bits + row.mask_bits + row.header_bits
        assert parts == row.stored_bits
        assert row.efficiency_percent == pytest.approx(tensor.efficiency)
        assert row.floor_bits == pytest.approx(tensor.floor)
    total = rows[-1]
    assert total.layer == evaluation.TOTAL and total.weights == 2 * 64 * 96
    assert total.stored_bits == sum(row.stored_bits for row in rows[:-1])
    assert total.ratio_to_floor == pytest.approx(total.stored_bits / total.floor_bits)


def test_the_least_efficiency_is_reached():
    model = random_model(shape=(400, 300), sparsity=0.9)
    least, free = (
        evaluation.package_rows(model, "int8", beam=1, lowest_percent=lowest)[0]
        for lowest in (99.999, 0.0)
    )
    assert all(row.efficiency_percent >= 99.999 for row in least)
    assert all(row.n_out <= other.n_out for row, other in zip(least, free, strict=True))
    assert least[0].n_out < free[0].n_out


def test_a_wrong_tensor_would_be_noticed(monkeypatch):
    from f2f_study.experiments.evaluation import package

    def broken(tensor):
        found = np.array(decompress(tensor))
        found[0, 0] = -found[0, 0] + 1
        return found

    decompress = package.decompress
    monkeypatch.setattr(package, "decompress", broken)
    rows, _ = evaluation.package_rows(random_model(), "float32", threads=1)
    assert not rows[-1].lossless


def test_layers_that_are_hardly_pruned_are_stored_as_they_are():
    mask = np.ones((20, 30), bool)
    mask[0, 0] = False
    rows, _ = evaluation.package_rows(model_of({"a": mask}), "int8", threads=1)
    assert rows[-1].lossless and np.isfinite(rows[-1].ratio_to_floor)


def test_spread_and_efficiency_meet_by_layer():
    model = random_model()
    spread = evaluation.spread_rows(model, 40)
    papers = evaluation.paper_rows(model, "int8", n_s=(0, 1))
    package, _ = evaluation.package_rows(model, "int8", threads=1)
    rows = evaluation.spread_efficiency_rows(spread, papers, package)
    assert [row.layer for row in rows] == ["a", "b"]
    wanted = [r for r in papers if r.layer == "a" and r.n_s == 1 and r.inverting]
    assert rows[0].paper_percent == wanted[0].efficiency_percent
    assert rows[0].variation == spread[0].variation


def test_falling_with_spread_is_judged():
    even = random_model(1, (80, 60))
    rng = np.random.default_rng(2)
    dense = rng.random((80, 60)) < np.where(np.arange(80) % 4 == 0, 0.7, 0.04)[:, None]
    uneven = model_of({"a": dense}, method="l0")
    spread = [row for m in (even, uneven) for row in evaluation.spread_rows(m, 40)]
    papers = [row for m in (even, uneven) for row in evaluation.paper_rows(m, "int8", n_s=(1,))]
    assert evaluation.falls_with_spread(spread, papers)
    names = {"random": "l0", "l0": "random"}
    import dataclasses

    swapped = [dataclasses.replace(row, method=names[row.method]) for row in papers]
    assert not evaluation.falls_with_spread(spread, swapped)
    summary = evaluation.summary(spread, papers, [])
    assert len({q.quantity for q in summary}) == len(summary)


def test_bad_layers_are_named():
    mask = np.ones((3, 4), bool)
    with pytest.raises(ValueError, match="layer must have values"):
        evaluation.layer_weights(Layer(None, mask), "int8")
    with pytest.raises(ValueError, match="dtype must be int8 for a model published in INT8"):
        evaluation.layer_weights(Layer(np.ones((3, 4), np.int8), mask), "float32")
    with pytest.raises(ValueError, match="dtype must be one of"):
        evaluation.layer_weights(Layer(np.ones((3, 4), np.float32), mask), "int4")


@pytest.mark.parametrize("dtype", evaluation.DTYPES)
def test_standins_compute_the_same_after_coding(dtype):
    model = models.open_model("standin", "resnet", "magnitude", 0.9)
    _, decoded = evaluation.package_rows(model, dtype, beam=1)
    row = evaluation.standin_quality(model, dtype, decoded)
    assert row.same_outputs and row.before == row.after > 95
    decoded["layers.0.conv2.weight"] = np.roll(decoded["layers.0.conv2.weight"], 1)
    assert not evaluation.standin_quality(model, dtype, decoded).same_outputs


def test_imagenet_is_judged_on_a_folder(tmp_path):
    """Eleven images of noise in 1000 class folders; a ResNet-50 of random weights."""
    import torch
    from PIL import Image

    from f2f_study.networks.vision import import_torchvision

    torch.manual_seed(0)
    network = import_torchvision().models.resnet50()
    state = {name: value.numpy() for name, value in network.state_dict().items()}
    tensors = {"layer1.0.conv1.weight": state.pop("layer1.0.conv1.weight")}
    base = models.from_tensors(tensors, "torchvision", "resnet", "magnitude", 0.9, "drawn")
    model = PrunedModel("torchvision", "resnet", "magnitude", 0.9, base.layers, "drawn", state)
    rng = np.random.default_rng(0)
    for index in range(1000):
        (tmp_path / f"n{index:08d}").mkdir()
        name = tmp_path / f"n{index:08d}" / "a.png"
        Image.fromarray(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(name)
    _, decoded = evaluation.package_rows(model, "float32", beam=1)
    row = quality.imagenet_quality(model, decoded, str(tmp_path), images=2)
    assert row.same_outputs and row.before == row.after
    assert row.metric == "% top-1 of 2 images"
    with pytest.raises(models.ModelUnavailable, match="imagenet_folder must be a folder"):
        quality.imagenet_quality(model, decoded, str(tmp_path / "absent"))
    with pytest.raises(models.ModelUnavailable, match="must hold 1000 class folders, got 1"):
        (tmp_path / "one" / "n01440764").mkdir(parents=True)
        name = tmp_path / "one" / "n01440764" / "a.png"
        Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(name)
        quality.imagenet_quality(model, decoded, str(tmp_path / "one"))


def test_translation_is_judged_by_bleu(monkeypatch):
    def share_of_words(said, references):  # stands in for sacrebleu, which is optional
        pairs = list(zip(said, references[0], strict=True))
        shared = [len(set(a.split()) & set(b.split())) / len(b.split()) for a, b in pairs]
        return types.SimpleNamespace(score=100 * float(np.mean(shared)))

    stub = types.SimpleNamespace(corpus_bleu=share_of_words)
    monkeypatch.setitem(sys.modules, "sacrebleu", stub)
    model = random_model()
    _, decoded = evaluation.package_rows(model, "float32", beam=1)

    def translate(sentences, state):
        return [f"{s} {state['a'].sum():.3f} und noch vier Wörter" for s in sentences]

    pairs = (["eins", "zwei"], ["eins und noch vier Wörter", "zwei oder drei"])
    row = evaluation.translation_quality(model, decoded, translate, pairs)
    assert row.same_outputs and row.before == row.after > 0
    assert row.metric == "BLEU of 2 sentences"
    decoded["a"] = decoded["a"] * 2
    assert not evaluation.translation_quality(model, decoded, translate, pairs).same_outputs


def test_absent_translators_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(models.ModelUnavailable, match="pip install transformers"):
        evaluation.Translator("Helsinki-NLP/opus-mt-en-de")
    with pytest.raises(models.ModelUnavailable, match="pip install sacrebleu"):
        evaluation.newstest2014()
