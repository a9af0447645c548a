"""What figures draw is what the CSV files hold."""

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color
from matplotlib.figure import Figure

from f2f_study import figures
from f2f_study.figures.palette import look


@pytest.fixture(autouse=True)
def no_files(monkeypatch):
    """Files are the matter of test_style."""
    monkeypatch.setattr(Figure, "savefig", lambda *arguments, **options: None)


METHODS = ["random", "magnitude", "l0", "variational_dropout"]
MODEL = {"network": "resnet", "source": "surrogate"}
CPU = {"hardware": "a processor", "threads": 2}


def write(folder, name, rows):
    path = folder / f"{name}.csv"
    pd.DataFrame(rows).assign(repeat=range(len(rows))).to_csv(path, index=False)
    return path


def lines(axes, colour):
    """x and y of the lines of a colour with more than one point, without the parts of bars."""
    found = [line for line in axes.get_lines() if same_color(line.get_color(), colour)]
    found = [line for line in found if line.get_marker() not in ("_", "None")]
    return [np.array(line.get_xydata()) for line in found if len(line.get_xdata()) > 1]


def bars(axes):
    """(low, high) of every error bar."""
    segments = [s for collection in axes.collections for s in collection.get_segments()]
    return sorted((s[:, 1].min(), s[:, 1].max()) for s in segments)


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_lines_are_medians_and_bars_reach_over_all_repeats(tmp_path):
    wrong = {0: [70, 80, 120], 1: [9, 9, 9]}
    rows = [
        {"n_in": 8, "n_s": n_s, "sparsity": 0.9, "care_bits": 1000, "wrong_bits": value}
        for n_s, values in wrong.items()
        for value in values
    ]
    figure = figures.synthetic_window(write(tmp_path, "synthetic_window", rows))
    (axes,) = figure.axes
    (line,) = lines(axes, look("n_in", 8).colour)
    np.testing.assert_allclose(line, [[8, 8.0], [16, 0.9]])
    np.testing.assert_allclose(bars(axes), [(0.9, 0.9), (7.0, 12.0)])
    assert axes.get_yscale() == "log"
    assert legend(figure) == ["$N_{in}$ = 8"]


def test_repeats_that_are_all_equal_are_drawn(tmp_path):
    """Rounding of a mean must not put the bar's end on its wrong side."""
    rows = [
        {"n_s": n_s, "sparsity": s, "care_bits": 3, "wrong_bits": 1, "bound_percent": 100 * s,
         "memory_reduction_percent": 100 * s - 0.1}
        for n_s, s, _ in itertools.product((0, 1), (0.1, 0.7), range(7))
    ]  # fmt: skip
    figure = figures.synthetic_sparsity(write(tmp_path, "synthetic_sparsity", rows))
    first, second, gap = figure.axes
    (line,) = lines(first, look("n_s", 1).colour)
    np.testing.assert_allclose(line[:, 1], 100 / 3)
    np.testing.assert_allclose(lines(second, look("n_s", 0).colour)[0][:, 1], [9.9, 69.9])
    np.testing.assert_allclose(lines(gap, look("n_s", 0).colour)[0][:, 1], 0.1)


def paper_rows(methods_by_sparsity):
    facts = MODEL | {"memory_reduction_percent": 80, "memory_reduction_with_mask_percent": 70}
    return [
        facts | {"layer": layer, "method": method, "sparsity": sparsity, "dtype": dtype,
                 "n_s": n_s, "inverting": inverting, "care_bits": 1000,
                 "wrong_bits": (20 if inverting else 30) + 10 * METHODS.index(method) - 5 * n_s}
        for sparsity, methods in methods_by_sparsity.items()
        for method, dtype, n_s, inverting, layer in itertools.product(
            methods, ("int8", "float32"), (0, 1, 2), (False, True), ("a", "total"))
    ]  # fmt: skip


def test_a_method_has_its_colour_and_marker_in_every_panel(tmp_path):
    present = {0.7: ["l0", "magnitude"], 0.9: METHODS}
    figure = figures.paper_efficiency(write(tmp_path, "paper_setting", paper_rows(present)))
    assert [axes.get_title() for axes in figure.axes] == [
        f"{dtype}, $S$ = {sparsity}" for dtype in ("INT8", "FP32") for sparsity in (0.7, 0.9)
    ]
    assert figure.get_suptitle() == "ResNet, surrogate masks"
    assert len({axes.get_ylim() for axes in figure.axes}) == 1
    for axes, sparsity in zip(figure.axes, (0.7, 0.9, 0.7, 0.9), strict=True):
        for i, method in enumerate(METHODS):
            expected = [
                [[n_s, (base + 10 * i - 5 * n_s) / 10] for n_s in range(3)] for base in (30, 20)
            ]
            found = lines(axes, look("method", method).colour)
            assert len(found) == (2 if method in present[sparsity] else 0)
            for one, other in zip(found, expected, strict=False):
                np.testing.assert_allclose(one, other)
        markers = {line.get_marker() for line in axes.get_lines()} - {"_", "None"}
        assert markers == {look("method", method).marker for method in present[sparsity]}
    assert legend(figure) == [
        *(look("method", method).label for method in METHODS), "with inverting"
    ]  # fmt: skip


@pytest.mark.parametrize("drop", [[], ["encoded"], ["csr_torch", "dense_fp16"]])
def test_a_format_looks_alike_whatever_else_is_drawn(tmp_path, drop):
    times = {"dense_fp32": 10.0, "csr_torch": 5.0, "bitmap": 20.0, "encoded": 30.0, "mine": 7.0}
    rows = [
        CPU | {"format": name, "rows": size, "cols": size, "sparsity": 0.9, "columns": 1,
         "time_us": time * factor * size}
        for name, time in times.items()
        if name not in drop
        for size in (2048, 4096)
        for factor in (0.9, 1.0, 1.5)
    ]  # fmt: skip
    figure = figures.spmv_sizes(write(tmp_path, "spmv_cpu", rows))
    (axes,) = figure.axes
    for name, time in times.items():
        found = [one for one in lines(axes, look("format", name).colour) if one[0, 0] > 1]
        if name in drop:
            assert not found
            continue
        np.testing.assert_allclose(found[0], [[2048, time / 10], [4096, time / 10]])
    sizes = [
        {"tensors": "t", "dtype": "int8", "sparsity": s, "format": name, "repeat": 0,
         "size_bits_per_weight": 3 * s, "floor_bits_per_weight": 3,
         "order0_bits_per_weight": 2}
        for name in ("bitmap", "zstd")
        for s in (0.5, 0.9)
    ]  # fmt: skip
    (other,) = figures.format_sizes(write(tmp_path, "formats", sizes)).axes
    line, *_ = lines(other, look("format", "bitmap").colour)
    np.testing.assert_allclose(line, [[0.5, 0.75], [0.9, 1.35]])


def test_bars_add_up_to_the_stored_bits(tmp_path):
    rows = [
        MODEL | {"layer": "total", "method": method, "sparsity": 0.9, "dtype": "int8",
                 "weights": 100, "payload_bits": 100, "correction_bits": 20, "mask_bits": 30 + i,
                 "header_bits": 4, "floor_bits": 130, "order0_bits": 120, "care_bits": 80,
                 "wrong_bits": i}
        for i, method in enumerate(METHODS)
    ]  # fmt: skip
    (axes,) = figures.bits_by_part(write(tmp_path, "package_setting", rows)).axes
    for i, label in enumerate(axes.get_yticklabels()):
        here = [bar for bar in axes.patches if abs(bar.get_y() + 0.35 - i) < 0.1]
        assert sum(bar.get_width() for bar in here) == pytest.approx((154 + i) / 100)
        assert [bar.get_hatch() or "" for bar in here] == [
            look("part", part).hatch for part in ("payload", "correction", "mask", "header")
        ]
        assert label.get_text() == f"{look('method', METHODS[i]).label}, 0.9"
    for bound, at in zip(axes.collections, (1.3, 1.2), strict=True):
        np.testing.assert_allclose([segment[:, 0] for segment in bound.get_segments()], at)


def test_a_layer_without_a_wrong_bit_has_a_place_on_the_logarithmic_axis(tmp_path):
    rows = [
        MODEL | {"method": "random", "sparsity": 0.9, "dtype": dtype, "excess_percent": x,
         "paper_percent": paper, "package_percent": package}
        for dtype, x, paper, package in (
            ("float32", 70, 50.0, 60.0), ("int8", 10, 98.0, 100.0), ("int8", 20, 96.0, 99.8))
    ]  # fmt: skip
    figure = figures.efficiency_by_spread(write(tmp_path, "efficiency_by_spread", rows))
    (axes,) = figure.axes
    np.testing.assert_allclose(axes.collections[0].get_offsets(), [[10, 2], [20, 4]])
    (package,) = [one for one in lines(axes, look("method", "random").colour)]
    np.testing.assert_allclose(package, [[10, 0.1], [20, 0.2]])
    assert figure.get_suptitle() == "ResNet, surrogate masks, INT8", "one number format alone"
    (bound,) = [line for line in axes.get_lines() if line.get_label() == "no wrong bit"]
    np.testing.assert_allclose(bound.get_ydata(), 0.1)
    assert legend(figure)[-1] == "no wrong bit"


def test_the_exact_encoder_is_a_star_of_the_colour_of_its_n_s(tmp_path):
    rows = [
        {"encoder": encoder, "n_s": n_s, "n_out": 80, "sparsity": 0.9, "beam": beam,
         "care_bits": 1000, "wrong_bits": wrong, "cpu_time_ns_per_care_bit": time}
        for encoder, n_s, beam, wrong, time in (
            ("beam", 0, 1, 80, 20), ("beam", 0, 16, 75, 40), ("viterbi", 0, 0, 70, 90),
            ("beam", 5, 16, 2, 50), ("beam", 5, 1, 3, 25))
    ]  # fmt: skip
    figure = figures.beyond_encoders(write(tmp_path, "beyond_encoders", rows))
    beams, slow = figure.axes
    np.testing.assert_allclose(lines(beams, look("n_s", 5).colour), [[[25, 0.3], [50, 0.2]]])
    assert beams.get_xlim()[1] == slow.get_xlim()[0] == pytest.approx(55)
    assert beams.get_ylim() == slow.get_ylim()
    assert not lines(slow, look("n_s", 5).colour), "what is not slow is not drawn twice"
    (star,) = [line for line in slow.get_lines() if line.get_marker() == "*"]
    assert star.get_xydata().tolist() == [[90, 7]]
    assert same_color(star.get_color(), look("n_s", 0).colour)
    assert legend(figure) == ["$N_s$ = 0", "$N_s$ = 5", "exact optimum"]


def test_the_roof_is_what_copy_and_gemm_reach(tmp_path):
    def row(name, time_us, moved_bytes, operations):
        return CPU | {"format": name, "rows": 2048, "cols": 2048, "sparsity": 0.9, "columns": 1,
                "time_us": time_us, "moved_bytes": moved_bytes,
                "useful_operations": operations}  # fmt: skip

    rows = [row("copy", 100, 2e6, 0)] * 3 + [row("gemm", 50, 1e6, 5e6)] * 3
    rows += [row("encoded", time, 1e5, 4e5) for time in (30, 40, 90)]
    figure = figures.spmv_roofline(write(tmp_path, "spmv_cpu", rows))
    (axes,) = figure.axes
    np.testing.assert_allclose(axes.get_lines()[0].get_xydata()[1], [100 / 20, 100])
    np.testing.assert_allclose(axes.collections[0].get_offsets(), [[4, 10]])
    path = write(tmp_path, "spmv_cpu", rows[3:])
    with pytest.raises(ValueError, match=f"{path}: must have rows with format copy, got none"):
        figures.spmv_roofline(path)


def test_the_trellis_draws_the_best_path_over_all_steps(tmp_path):
    rows = [
        {"block": block, "state_before": before, "state_after": after, "cost_after": block + after,
         "survives": before == 0, "on_best_path": before == after == 0}
        for block, before, after in itertools.product(range(2), range(2), range(2))
    ]  # fmt: skip
    (axes,) = figures.trellis(write(tmp_path, "trellis", rows)).axes
    best = [line for line in axes.get_lines() if line.get_linewidth() == 2.5]
    assert [line.get_xydata().tolist() for line in best] == [[[0, 0], [1, 0]], [[1, 0], [2, 0]]]
    assert len([line for line in axes.get_lines() if line.get_linewidth() == 0.8]) == 8
    assert sorted(text.get_text() for text in axes.texts) == ["0", "0", "0", "1", "1", "2"]


def order_rows():
    return [
        {"source": "dlmc", "network": network, "method": method, "sparsity": 0.9, "layer": layer,
         "order": order, "weights": weights, "care_bits": 1000, "wrong_bits": wrong}
        for network, method in (("resnet", "random"), ("transformer", "random"),
                                ("transformer", "l0"))
        for order in ("row", "diagonal")
        for layer, weights, wrong in (("total", 200_000, 10), ("a", 100_000, 30), ("b", 90_000, 20),
                                      ("tiny", 10, 900))
    ]  # fmt: skip


def test_orders_show_the_model_and_its_worst_large_layer(tmp_path):
    figure = figures.beyond_orders(write(tmp_path, "beyond_orders", order_rows()))
    resnet, transformer = figure.axes
    assert [label.get_text() for label in transformer.get_xticklabels()] == ["random", "L0"]
    assert [label.get_text() for label in resnet.get_xticklabels()] == ["random"]
    model, *_ = lines(transformer, look("order", "diagonal").colour)
    np.testing.assert_allclose(model[:, 1], 1.0)
    np.testing.assert_allclose(bars(transformer), 4 * [(1.0, 3.0)])
    assert [axes.get_title() for axes in figure.axes] == [
        f"{network}, published masks, $S$ = 0.9" for network in ("ResNet", "Transformer")
    ]


def test_products_on_a_gpu_are_normalized_by_the_dense_one_of_the_same_columns(tmp_path):
    times = {
        ("dense_fp32", 1): 4.0,
        ("encoded", 1): 2.0,
        ("dense_fp32", 8): 8.0,
        ("encoded", 8): 6.0,
    }
    rows = [
        {"device": "a card", "format": name, "rows": 512, "sparsity": sparsity, "columns": columns,
         "time_us": time * factor}
        for (name, columns), time in times.items()
        for sparsity in (0.7, 0.9)
        for factor in (0.5, 1, 3)
    ]  # fmt: skip
    figure = figures.spmv_normalized_gpu(write(tmp_path, "spmv_gpu", rows))
    colour = look("format", "encoded").colour
    vector, matrix, columns = (lines(axes, colour)[0] for axes in figure.axes)
    np.testing.assert_allclose(vector, [[0.7, 0.5], [0.9, 0.5]])
    np.testing.assert_allclose(matrix, [[0.7, 0.75], [0.9, 0.75]])
    np.testing.assert_allclose(columns, [[1, 0.5], [8, 0.75]])
    assert figure.get_suptitle() == "512 × 512\na card"
    assert legend(figure) == ["dense FP32", "encoded"]


def labelled(axes, label):
    """x and y of the line that a legend calls `label`."""
    (line,) = [line for line in axes.get_lines() if line.get_label() == label]
    return np.array(line.get_xydata())


def test_shares_of_blocks_stand_beside_the_binomial_on_shared_axes(tmp_path):
    rows = [
        MODEL | {"method": method, "sparsity": s, "n_out": n_out, "n_u": n_u,
                 "share_percent": share + n_u, "share_binomial_percent": 30.0 + n_u}
        for s, n_out in ((0.7, 26), (0.9, 80))
        for method, share in (("random", 20.0), ("l0", 10.0))
        for n_u in range(3)
    ]  # fmt: skip
    figure = figures.n_u_histogram(write(tmp_path, "n_u_histogram", rows))
    for axes, title in zip(
        figure.axes, ("0.7, $N_{out}$ = 26", "0.9, $N_{out}$ = 80"), strict=True
    ):
        assert axes.get_title() == f"$S$ = {title}"
        (l0,) = lines(axes, look("method", "l0").colour)
        np.testing.assert_allclose(l0, [[0, 10], [1, 11], [2, 12]])
        np.testing.assert_allclose(labelled(axes, "binomial"), [[0, 30], [1, 31], [2, 32]])
    assert len({axes.get_ylim() for axes in figure.axes}) == 1
    assert legend(figure) == ["random", "L0", "binomial"]
    drawn = pd.DataFrame(rows).query("method == 'random'")
    drawn = drawn.rename(columns={"share_binomial_percent": "binomial_percent"})
    (first, _) = figures.synthetic_n_u(write(tmp_path, "synthetic_n_u", drawn)).axes
    (random,) = lines(first, look("method", "random").colour)
    np.testing.assert_allclose(random, [[0, 20], [1, 21], [2, 22]])


def test_reductions_lie_below_the_bounds_that_the_legend_names(tmp_path):
    rows = [
        {"n_w": n_w, "n_s": 2, "sparsity": s, "without_mask_percent": 100 * s - 1,
         "with_bitmap_percent": 100 * s - 9, "bound_percent": 100 * s,
         "bound_with_mask_percent": 100 * s - 5}
        for n_w in (8, 32) for s in (0.5, 0.9)
    ]  # fmt: skip
    figure = figures.synthetic_mask(write(tmp_path, "synthetic_mask", rows))
    axes, _ = figure.axes
    (bitmap,) = lines(axes, look("mask", "bitmap").colour)
    np.testing.assert_allclose(bitmap, [[0.5, 41], [0.9, 81]])
    bound = "bound for incompressible values"
    np.testing.assert_allclose(labelled(axes, f"{bound}, without mask"), [[0.5, 50], [0.9, 90]])
    np.testing.assert_allclose(labelled(axes, f"{bound}, with mask"), [[0.5, 45], [0.9, 85]])
    assert legend(figure)[2:] == [f"{bound}, without mask", f"{bound}, with mask"]


def test_block_lengths_have_the_ideal_one_and_the_bound_beside_them(tmp_path):
    rows = [
        {"n_in": 8, "n_s": 1, "n_out": n_out, "sparsity": s, "care_bits": 1000,
         "wrong_bits": wrong, "memory_reduction_percent": 100 * s - 2, "bound_percent": 100 * s}
        for s, n_out, wrong in ((0.75, 30, 0), (0.75, 34, 20), (0.9, 76, 5), (0.9, 84, 90))
    ]  # fmt: skip
    figure = figures.synthetic_rate(write(tmp_path, "synthetic_rate", rows))
    left, right, below, _ = figure.axes
    (line,) = lines(left, look("n_s", 1).colour)
    np.testing.assert_allclose(line, [[30, 0.05], [34, 2.0]])
    np.testing.assert_allclose(labelled(left, "$N_{in}/(1-S)$")[:, 0], 32)
    np.testing.assert_allclose(labelled(below, "bound for incompressible values")[:, 1], 75)
    assert left.get_ylim() == right.get_ylim()
    assert legend(figure)[-1] == "(no wrong bit is drawn as half of one)"


def test_planes_of_a_layer_are_bars_by_order(tmp_path):
    rows = [
        MODEL | {"method": "l0", "layer": "a.weight", "order": order, "n_s": 2, "n_out": 80,
                 "sparsity": 0.9, "plane": plane, "variation": 0.5, "care_bits": 200,
                 "wrong_bits": wrong + plane}
        for order, wrong in (("golden", 1), ("row", 10)) for plane in range(3)
    ]  # fmt: skip
    (axes,) = figures.real_layer(write(tmp_path, "real_layer", rows)).axes
    row, golden = ([bar.get_height() for bar in bars] for bars in axes.containers)
    assert (row, golden) == ([5.0, 5.5, 6.0], [0.5, 1.0, 1.5])
    assert axes.get_title().startswith("ResNet, surrogate masks, L0\na.weight\n$S$ = 0.9")


def test_gates_are_open_where_rows_share_none_and_numbered_by_n_s(tmp_path):
    rows = [
        {"kind": "random", "written": written, "n_s": n_s, "n_out": n_out, "sparsity": 0.9,
         "care_bits": 100, "wrong_bits": 9 - n_s, "xor2_gates": gates + 10 * n_s, "depth": 4 + n_s}
        for written, gates in (("shared", 100), ("separate", 200))
        for n_s in (0, 1)
        for n_out in (26, 80)
    ]  # fmt: skip
    wrong, depth = figures.hardware_gates(write(tmp_path, "hardware", rows)).axes
    shared, separate = wrong.get_lines()
    assert (shared.get_fillstyle(), separate.get_fillstyle()) == ("full", "none")
    np.testing.assert_allclose(shared.get_xydata(), [[100, 9], [110, 8]])
    np.testing.assert_allclose(separate.get_xydata(), [[200, 9], [210, 8]])
    np.testing.assert_allclose(depth.get_lines()[0].get_xydata(), [[100, 4], [110, 5]])
    assert [(text.get_text(), text.xy) for text in wrong.texts] == [
        ("0", (100, 9)),
        ("1", (110, 8)),
    ]


def test_the_chosen_length_is_ringed(tmp_path):
    rows = [
        {"n_s": 7, "n_out": n_out, "sparsity": 0.9, "chosen": n_out == 80,
         "overhead_percent": 1.0 + n_out, "modelled_overhead_percent": 2.0 + n_out}
        for n_out in (79, 80, 81)
    ]  # fmt: skip
    (axes,) = figures.beyond_lengths(write(tmp_path, "beyond_lengths", rows)).axes
    np.testing.assert_allclose(axes.collections[0].get_offsets(), [[79, 80], [80, 81], [81, 82]])
    np.testing.assert_allclose(labelled(axes, "chosen"), [[80, 81]])
    model = [line for line in axes.get_lines() if line.get_label() != "chosen"]
    np.testing.assert_allclose(model[0].get_xydata(), [[79, 81], [80, 82], [81, 83]])


def test_stand_ins_stand_beside_the_dense_network(tmp_path):
    rows = [
        {"network": "resnet", "method": method, "sparsity": s, "metric": "% right",
         "recomputed_percent": value}
        for method, s, value in (("dense", 0, 99), ("random", 0.7, 97), ("random", 0.9, 95))
    ]  # fmt: skip
    (axes,) = figures.standin_quality(write(tmp_path, "standins", rows)).axes
    points = axes.collections[0].get_offsets()
    assert sorted(points[:, 0]) == [95, 97]
    assert points[:, 1].sum() == pytest.approx(0), "around the line of the method"
    np.testing.assert_allclose(labelled(axes, "dense")[:, 0], 99)


def test_wrong_bits_are_a_share_of_the_dependent_ones(tmp_path):
    rows = [
        {"n_s": n_s, "n_out": 80, "sparsity": 0.9, "plane_care_bits": 100, "dependent_bits": 20,
         "modelled_dependent_bits": 10, "beam": 16, "care_bits": 800, "wrong_bits": 40}
        for n_s in (0, 1)
    ]  # fmt: skip
    shares, kappas = figures.beyond_dependence(write(tmp_path, "beyond_dependence", rows)).axes
    colour = look("beam", 16).colour
    np.testing.assert_allclose(lines(shares, colour)[0], [[0, 5], [1, 5]])
    np.testing.assert_allclose(lines(kappas, colour)[0], [[0, 25], [1, 25]])
    np.testing.assert_allclose(labelled(shares, "dependent, counted")[:, 1], 20)


def test_products_name_the_machine_and_what_they_move(tmp_path):
    rows = [
        CPU | {"format": name, "rows": 2048, "sparsity": s, "columns": 1, "time_us": 10.0,
               "moved_bytes": 4e6 * (1 - s)}
        for name in ("dense_fp32", "encoded") for s in (0.5, 0.75)
    ]  # fmt: skip
    figure = figures.spmv_bytes(write(tmp_path, "spmv_cpu", rows))
    time, moved = figure.axes
    np.testing.assert_allclose(lines(time, look("format", "encoded").colour)[0][:, 1], 10)
    np.testing.assert_allclose(lines(moved, look("format", "encoded").colour)[0][:, 1], [2, 1])
    assert figure.get_suptitle() == "2048 × 2048 by a vector\na processor; 2 threads"
