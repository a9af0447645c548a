"""The tables of notebooks 04 and 05 against plain recomputation."""

import numpy as np
import pandas as pd
import pytest
from pruned_models import model_of, random_model

from f2f.base.entropy import floor_bits
from f2f.decoder import Decoder
from f2f.encoder.exact import encode_viterbi
from f2f.format.codec import compress
from f2f_study import results
from f2f_study.experiments import evaluation
from f2f_study.experiments.accounting import paper_bits
from f2f_study.experiments.evaluation import models, package, paper
from f2f_study.sources import Layer

REFERENCE = results.repository_root() / "runs" / "reference" / "04_transformer_wmt14"


def layer_of(rows, name):
    return rows[rows["layer"] == name].iloc[0]


def test_the_columns_are_those_of_the_reference():
    found = [random_model(sparsity=0.9, shape=(20, 40))]
    spread, histogram = evaluation.n_u_spread(found), evaluation.n_u_histogram(found)
    setting = evaluation.paper_setting(found, ["int8"], n_s=(0, 1))
    rows, _ = evaluation.package_setting(found, ["int8"])
    met = evaluation.efficiency_by_spread(spread, setting, rows)
    tables = {
        "n_u_spread": spread,
        "n_u_histogram": histogram,
        "paper_setting": setting,
        "package_setting": rows,
        "efficiency_by_spread": met,
    }
    for name, table in tables.items():
        reference = results.read_csv(REFERENCE / f"{name}.csv")
        assert list(table.columns) == list(reference.columns), name
        kinds = {column: table[column].dtype.kind for column in table}
        assert kinds == {column: reference[column].dtype.kind for column in reference}, name


def test_spread_is_that_of_the_blocks():
    model = random_model()
    rows = evaluation.n_u_spread([model])
    assert list(rows["layer"]) == ["a", "b", evaluation.TOTAL]
    counts = model.layers["a"].mask.reshape(-1, 40).sum(1)
    assert rows["variation"][0] == pytest.approx(counts.std() / counts.mean())
    excess = 100 * np.maximum(counts - 8, 0).sum() / counts.sum()
    assert rows["excess_percent"][0] == pytest.approx(excess)
    assert rows["variation"][2] == pytest.approx(rows["variation_binomial"][2], rel=0.15)
    striped = model_of({"a": np.repeat(np.arange(40) % 5 == 0, 60).reshape(40, 60)})
    assert evaluation.n_u_spread([striped])["variation"][1] > 3 * rows["variation"][2]


def test_histogram_sums_to_all_blocks():
    rows = evaluation.n_u_histogram([random_model(), random_model(method="l0")])
    sums = rows.groupby("method")[["share_percent", "share_binomial_percent"]].sum()
    assert sums.to_numpy() == pytest.approx(100) and list(sums.index) == ["l0", "random"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("encoder.0.self_attention.qkv.weight", "encoder.self_attention.qkv"),
        ("layers.2.conv3.weight", "layers.conv3"),
        ("layer1.0.downsample.0.weight", "layer.downsample"),
        ("conv1.weight", "conv1"),
        ("bottleneck_3_block_group2_7_1", "layer.conv3"),
        ("body_encoder_layer_11_ffn_conv1_fully_connected",
         "body_encoder_layer_ffn_conv1_fully_connected"),
    ],
)  # fmt: skip
def test_layers_of_a_kind_share_its_name(name, kind):
    assert evaluation.kind_of_layer(name) == kind


def test_kinds_of_layers_are_averaged():
    mask = np.random.default_rng(0).random((20, 40)) < 0.2
    model = model_of({f"layers.{i}.w.weight": np.roll(mask, i) for i in range(3)} | {"b": mask})
    spread = evaluation.n_u_spread([model])
    table = evaluation.by_kind_of_layer(spread, ["variation"], ["method"])
    assert list(table.index) == ["layers.w", "b"]
    assert table.loc["layers.w"].item() == pytest.approx(spread["variation"][:3].mean())


@pytest.mark.parametrize("n_s", [0, 1])
def test_paper_setting_is_the_exact_optimum(n_s):
    model = random_model(shape=(12, 40))
    rows = evaluation.paper_setting([model], ["int8"], n_s=(n_s,))
    decoder = Decoder(8, 40, n_s, 0)
    for inverting in (False, True):
        wrong = total = 0
        for layer in model.layers.values():
            words = evaluation.layer_weights(layer, "int8").reshape(-1).view(np.uint8)
            care = layer.mask.reshape(-1).astype(np.uint8)
            for plane in range(8):
                bits = words >> plane & 1
                if inverting and 2 * bits[care == 1].sum() > care.sum():
                    bits = 1 - bits
                decoded = decoder.decode(encode_viterbi(bits, care, decoder), bits.size)
                wrong += int(((decoded ^ bits) & care).sum())
                total += int(care.sum())
        row = layer_of(rows[rows["inverting"] == inverting], evaluation.TOTAL)
        assert (row.wrong_bits, row.care_bits) == (wrong, total)
        assert row.efficiency_percent == pytest.approx(100 * (1 - wrong / total))


def test_paper_accounting():
    rows = evaluation.paper_setting([random_model()], ["float32"], n_s=(1,))
    row, blocks = rows.iloc[0], 2400 // 40
    assert row.original_bits == 2400 * 32
    assert row.payload_bits == 32 * 8 * (blocks + 1)
    assert row.correction_bits == paper_bits(2400 * 32, row.wrong_bits)
    stored = row.payload_bits + row.correction_bits
    assert row.memory_reduction_percent == pytest.approx(100 * (1 - stored / (2400 * 32)))
    with_mask = 100 * (1 - (stored + 2400) / (2400 * 32))
    assert row.memory_reduction_with_mask_percent == pytest.approx(with_mask)
    total = rows[(rows["layer"] == evaluation.TOTAL) & ~rows["inverting"]].iloc[0]
    layers = rows[(rows["layer"] != evaluation.TOTAL) & ~rows["inverting"]]
    for name in ("care_bits", "wrong_bits", "payload_bits", "correction_bits", "mask_bits"):
        assert total[name] == layers[name].sum()


def test_a_sample_of_blocks_is_close_to_all_of_them():
    model = random_model(shape=(400, 100))
    whole = evaluation.paper_setting([model], ["int8"], n_s=(1,)).iloc[-1]
    part = evaluation.paper_setting([model], ["int8"], n_s=(1,), max_blocks=300).iloc[-1]
    assert part.sampled_percent == pytest.approx(30, abs=1)
    assert part.efficiency_percent == pytest.approx(whole.efficiency_percent, abs=0.35)
    assert part.care_bits == pytest.approx(whole.care_bits, rel=0.05)
    assert part.original_bits == whole.original_bits


@pytest.mark.parametrize(
    ("n", "n_out", "limit"), [(10_000, 40, 60), (10_007, 26, 64), (500, 80, 0), (79, 80, 4)]
)
def test_pieces_lie_inside_the_plane(n, n_out, limit):
    pieces = paper.pieces(n, n_out, limit)
    for piece in pieces:
        assert 0 <= piece.start <= piece.first < piece.last <= piece.stop <= n
        assert piece.start % n_out == piece.first % n_out == 0
    judged = sum(piece.last - piece.first for piece in pieces)
    assert judged == n or 0 < judged <= limit * n_out


def test_inverting_helps_where_ones_prevail():
    rng = np.random.default_rng(0)
    mask = rng.random((60, 80)) >= 0.8
    ones = np.full(mask.shape, -1.0, np.float32)
    ones[rng.random(mask.shape) < 0.1] = 1.0  # the sign plane is mostly ones
    model = model_of({"a": mask})
    model.layers["a"] = Layer(np.where(mask, ones, np.float32(0)), mask)
    rows = evaluation.paper_setting([model], ["float32"], n_s=(0,)).set_index("inverting")
    wrong = rows[rows["layer"] == "a"]["wrong_bits"]
    assert wrong[True] < 0.8 * wrong[False]
    shares = evaluation.ones_by_plane(model, "float32")
    assert len(shares) == 32 and shares[31] == pytest.approx(90, abs=3) and shares[0] == 0


@pytest.mark.parametrize("dtype", evaluation.DTYPES)
def test_package_setting_is_lossless_and_adds_up(dtype):
    model = random_model(shape=(64, 96), others={"bias": np.ones(3)})
    rows, (decoded,) = evaluation.package_setting([model], [dtype], threads=1)
    for name, layer in model.layers.items():
        row, weights = layer_of(rows, name), evaluation.layer_weights(layer, dtype)
        assert row.lossless and decoded.tensors[name].tobytes() == weights.tobytes()
        tensor = compress(weights, layer.mask, beam=16, n_out=row.n_out)
        assert row.stored_bits == 8 * tensor.nbytes
        parts = row.payload_bits + row.correction_bits + row.mask_bits + row.header_bits
        assert parts == row.stored_bits
        assert row.efficiency_percent == pytest.approx(tensor.efficiency)
        assert row.floor_bits == pytest.approx(floor_bits(tensor.n, tensor.k, tensor.n_w))
    total = rows.iloc[-1]
    assert total.layer == evaluation.TOTAL and total.weights == 2 * 64 * 96
    assert total.stored_bits == rows["stored_bits"][:-1].sum() and total.n_out == 0
    assert total.ratio_to_floor == pytest.approx(total.stored_bits / total.floor_bits)


def test_only_whole_networks_are_kept_decoded():
    assert evaluation.package_setting([random_model()], ["int8"])[1] == []


def test_the_least_efficiency_is_reached():
    model = random_model(shape=(400, 300), sparsity=0.9)
    least, free = (
        evaluation.package_setting([model], ["int8"], beam=1, least_efficiency=lowest)[0]
        for lowest in (99.999, 0.0)
    )
    assert (least["efficiency_percent"] >= 99.999).all()
    assert (least["n_out"] <= free["n_out"]).all() and least["n_out"][0] < free["n_out"][0]


def test_a_wrong_tensor_would_be_noticed(monkeypatch):
    def broken(tensor):
        found = np.array(decompress(tensor))
        found[0, 0] = -found[0, 0] + 1
        return found

    decompress = package.decompress
    monkeypatch.setattr(package, "decompress", broken)
    rows, _ = evaluation.package_setting([random_model()], ["float32"], threads=1)
    assert not rows["lossless"].any()


def test_layers_that_are_hardly_pruned_are_stored_as_they_are():
    mask = np.ones((20, 30), bool)
    mask[0, 0] = False
    rows, _ = evaluation.package_setting([model_of({"a": mask})], ["int8"], threads=1)
    assert rows["lossless"].all() and np.isfinite(rows["ratio_to_floor"]).all()


def test_spread_and_efficiency_meet_by_layer():
    found = [random_model(), random_model(1, method="l0")]
    spread = evaluation.n_u_spread(found)
    setting = evaluation.paper_setting(found, ["int8"], n_s=(0, 1))
    rows, _ = evaluation.package_setting(found, ["int8"], threads=1)
    met = evaluation.efficiency_by_spread(spread, setting, rows)
    assert list(zip(met["method"], met["layer"], strict=True)) == [
        ("random", "a"), ("random", "b"), ("l0", "a"), ("l0", "b"),
    ]  # fmt: skip
    wanted = setting.query("layer == 'a' and n_s == 1 and inverting")["efficiency_percent"]
    assert met["paper_percent"][::2].tolist() == wanted.tolist()
    assert met["variation"][2] == spread["variation"][3]


def test_models_published_in_int8_are_coded_in_int8_alone():
    mask = np.ones((3, 4), bool)
    floats, integers = model_of({"a": mask}), model_of({"a": mask})
    integers.layers["a"] = Layer(np.ones((3, 4), np.int8), mask)
    found = models.jobs([floats, integers], ["float32", "int8"])
    assert found == [(floats, "float32"), (floats, "int8"), (integers, "int8")]
    with pytest.raises(ValueError, match="dtypes must be one of float32, int8"):
        models.jobs([floats], ["int4"])


def test_bad_layers_are_named():
    mask = np.ones((3, 4), bool)
    with pytest.raises(ValueError, match="layer must have values"):
        evaluation.layer_weights(Layer(None, mask), "int8")
    with pytest.raises(ValueError, match="dtype must be int8 for a model published in INT8"):
        evaluation.layer_weights(Layer(np.ones((3, 4), np.int8), mask), "float32")
    with pytest.raises(ValueError, match="dtype must be one of"):
        evaluation.layer_weights(Layer(np.ones((3, 4), np.float32), mask), "int4")


def test_the_summary_names_every_result_once():
    found = [random_model(shape=(20, 40)), random_model(1, (20, 40), method="l0")]
    spread = evaluation.n_u_spread(found)
    setting = evaluation.paper_setting(found, ["int8"], n_s=(0, 1))
    rows, _ = evaluation.package_setting(found, ["int8"], threads=1)
    quantities = evaluation.summary(spread, setting, rows, pd.DataFrame())
    assert len({q.quantity for q in quantities}) == len(quantities) == 2 * (1 + 2 + 5)
    values = {q.quantity: q.value for q in quantities}
    e = layer_of(rows[rows["method"] == "l0"], evaluation.TOTAL).efficiency_percent
    assert values["l0 0.8 int8: E"] == e


def test_every_source_but_the_surrogates_has_a_folder_of_its_own(tmp_path):
    folders = [
        evaluation.run_folder(str(tmp_path), "04_x", source).name
        for source in ("surrogate", "dlmc")
    ]
    assert folders == ["04_x", "04_x_dlmc"]


def test_what_was_opened_is_described():
    model = random_model()
    (row,) = evaluation.described([model]).itertuples()
    assert (row.layers, row.weights, row.values) == (2, 4800, "drawn")
    assert row.measured_sparsity == model.measured_sparsity
