"""Masks drawn from counts: the mean keeps them; the file of counts is read as it was written."""

import numpy as np
import pytest
from dlmc_masks import put_dlmc, some_mask

from f2f.base.errors import FormatError
from f2f_study import sources
from f2f_study.networks.layers import Layer, PrunedModel
from f2f_study.sources import count_masks, surrogate


def counts_of(mask):
    return mask.sum(1), mask.sum(0)


def model_of(masks, network="resnet", method="magnitude"):
    layers = {name: Layer(None, mask) for name, mask in masks.items()}
    return PrunedModel("dlmc", network, method, 0.9, layers, "none")


@pytest.fixture
def file(tmp_path, monkeypatch):
    """The place of the counts, empty."""
    monkeypatch.setattr(surrogate, "counts_file", lambda: tmp_path / "counts.npz")
    return tmp_path / "counts.npz"


def test_rows_keep_their_counts_and_columns_in_the_mean():
    rng = np.random.default_rng(0)
    odds = np.exp(rng.normal(-2, 1.5, (60, 1)) + rng.normal(0, 1.5, (1, 90)))
    rows, columns = counts_of(rng.random((60, 90)) < odds / (1 + odds))
    drawn = [surrogate.draw_mask(rows, columns, rng) for _ in range(400)]
    assert all(np.array_equal(mask.sum(1), rows) for mask in drawn)
    # The variance of a count is below the count itself: five standard deviations of the mean.
    off = np.abs(np.mean(drawn, axis=0).sum(0) - columns)
    assert (off <= 5 * np.sqrt(np.maximum(columns, 0.01) / len(drawn)) + 0.01 * columns).all()


def test_random_pruning_stays_random():
    """Drawn from the counts of a draw, it spreads no more than the draw itself."""
    rng = np.random.default_rng(4)
    mask = rng.random((512, 512)) < 0.1
    drawn = surrogate.draw_mask(*counts_of(mask), rng)
    spread = [m.reshape(-1)[: 80 * 3276].reshape(-1, 80).sum(1).std() for m in (mask, drawn)]
    assert spread[1] == pytest.approx(spread[0], rel=0.05)


def test_odds_are_products_of_rows_and_columns():
    shares = surrogate.fit_shares(
        np.array([1, 3]), np.array([2, 1]), np.array([1, 2]), np.array([3, 1])
    )
    assert shares @ [3, 1] == pytest.approx([1, 3], abs=1e-9)
    odds = shares / (1 - shares)
    assert odds[0, 0] * odds[1, 1] == pytest.approx(odds[0, 1] * odds[1, 0])


def test_empty_and_full_rows_are_just_so():
    mask = some_mask(30, 40, 0.7)
    mask[3], mask[5], mask[:, 7], mask[:, 9] = False, True, False, True
    mask[3, 9], mask[5, 7] = True, True
    rows, columns = counts_of(mask)
    rng = np.random.default_rng(1)
    for _ in range(20):
        drawn = surrogate.draw_mask(rows, columns, rng)
        assert np.array_equal(drawn.sum(1), rows)
    empty = surrogate.draw_mask(np.zeros(4, int), np.zeros(5, int), rng)
    full = surrogate.draw_mask(np.full(4, 5), np.full(5, 4), rng)
    assert not empty.any() and full.all()


def test_what_is_counted_is_read(file, data):
    masks = {"b": some_mask(20, 30), "a_fully_connected": some_mask(7, 300, 0.05)}
    count_masks.write_counts(file, [model_of(masks), model_of(masks, method="random")])
    count_masks.write_counts(file.with_name("again"), [model_of(masks)])
    assert sources.available("surrogate", "resnet") == [("random", 0.9), ("magnitude", 0.9)]
    assert sources.available("surrogate", "transformer") == []
    found = surrogate.layer_counts("resnet", "magnitude", 0.9)
    assert list(found) == ["a", "b"]
    for mask, (rows, columns) in zip(
        (masks["a_fully_connected"], masks["b"]), found.values(), strict=True
    ):
        assert rows.tolist() == mask.sum(1).tolist() and columns.tolist() == mask.sum(0).tolist()
    with pytest.raises(sources.ModelUnavailable, match=r"one of magnitude 0.9, random 0.9 for"):
        sources.open_model("surrogate", "resnet", "l0", 0.9)


def test_the_same_masks_make_the_same_file(file):
    models = [model_of({"a": some_mask(20, 30)})]
    count_masks.write_counts(file, models)
    count_masks.write_counts(file.with_name("again.npz"), models)
    assert file.read_bytes() == file.with_name("again.npz").read_bytes()


def test_counts_are_made_from_the_collection(file, data, monkeypatch, capsys):
    mask = put_dlmc(data)
    monkeypatch.setattr(count_masks, "MODELS", (("resnet", "magnitude", 0.9),))
    monkeypatch.setattr("sys.argv", ["count_masks", "--out", str(file)])
    count_masks.main()
    assert "1 models" in capsys.readouterr().out
    (counts,) = surrogate.layer_counts("resnet", "magnitude", 0.9).values()
    assert counts[0].tolist() == mask.sum(1).tolist()


def test_layers_are_drawn_by_name_and_seed(file):
    a, b = some_mask(40, 50, seed=1), some_mask(40, 50, seed=1)
    count_masks.write_counts(file, [model_of({"a": a, "b": b})])
    model = sources.open_model("surrogate", "resnet", "magnitude", 0.9, seed=3)
    count_masks.write_counts(file, [model_of({"b": b})])
    alone = sources.open_model("surrogate", "resnet", "magnitude", 0.9, seed=3)
    other = sources.open_model("surrogate", "resnet", "magnitude", 0.9, seed=4)
    assert np.array_equal(model.layers["b"].mask, alone.layers["b"].mask)
    first = sources.open_model("surrogate", "resnet", "magnitude", 0.9, seed=3, every=2)
    assert list(first.layers) == ["b"]
    assert not np.array_equal(model.layers["a"].mask, model.layers["b"].mask)
    assert not np.array_equal(other.layers["b"].mask, alone.layers["b"].mask)
    assert alone.layers["b"].drawn and "drawn" in alone.values
    assert np.array_equal(alone.layers["b"].weights != 0, alone.layers["b"].mask)
    bare = sources.open_model("surrogate", "resnet", "magnitude", 0.9, values="none", seed=3)
    assert bare.layers["b"].weights is None
    assert np.array_equal(bare.layers["b"].mask, alone.layers["b"].mask)


def test_damage_is_named(file):
    count_masks.write_counts(file, [model_of({"a": some_mask(20, 30)})])
    good = dict(np.load(file))
    for key, changed in (
        ("resnet/magnitude/0.9/rows", lambda a: a[:-1]),
        ("resnet/magnitude/0.9/rows", lambda a: a + np.uint16(1)),
        ("resnet/magnitude/0.9/columns", lambda a: a * 0 + np.uint16(21)),
        ("resnet/shapes", lambda a: a[:, :1]),
    ):
        np.savez(file, **good | {key: changed(good[key])})
        with pytest.raises(FormatError, match="counts of resnet/magnitude/0.9"):
            surrogate.layer_counts("resnet", "magnitude", 0.9)
    file.write_bytes(b"PK")
    with pytest.raises(FormatError, match="cannot be read as .npz"):
        surrogate.layer_counts("resnet", "magnitude", 0.9)
    np.savez(file, **good)
    with pytest.raises(ValueError, match="values must be normal, laplace"):
        sources.open_model("surrogate", "resnet", "magnitude", 0.9, values="file.npz")


def test_models_of_a_network_must_have_the_same_layers(file):
    models = [model_of({"a": some_mask(4, 5)}), model_of({"b": some_mask(4, 5)}, method="random")]
    with pytest.raises(ValueError, match="models of resnet must have the same layers, random 0.9"):
        count_masks.write_counts(file, models)


def test_the_papers_models_are_committed_at_full_size():
    assert set(count_masks.MODELS) == {
        (network, *pair)
        for network in sources.NETWORKS
        for pair in sources.available("surrogate", network)
    }
    sizes = {"transformer": (96, 44_040_192), "resnet": (54, 25_502_912)}
    for network, method, sparsity in count_masks.MODELS:
        counts = surrogate.layer_counts(network, method, sparsity)
        weights = sum(len(rows) * len(columns) for rows, columns in counts.values())
        assert (len(counts), weights) == sizes[network]
        kept = sum(int(rows.sum()) for rows, _ in counts.values()) / weights
        assert kept == pytest.approx(1 - sparsity, abs=0.025)
