"""The tasks of the stand-ins: spelling, and what is held out."""

import numpy as np
import pytest

from f2f_study.networks import tasks


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
        assert " ".join(tasks.english(number)) == english
        assert "".join(tasks.german(number)) == german
    for wrong in (-1, 1_000_000):
        with pytest.raises(ValueError, match="number must be between 0 and 999999"):
            tasks.german(wrong)


def test_every_number_has_its_own_translation():
    numbers = np.random.default_rng(0).integers(0, 1_000_000, 3000)
    words = {"".join(tasks.german(int(n))) for n in numbers}
    assert len(words) == len(set(numbers.tolist()))


def test_training_and_test_sentences_share_none():
    train, test = (set(map(tuple, tasks.number_pairs(p)[0].tolist())) for p in ("train", "test"))
    assert not train & test
    assert len(test) > 500
    assert tasks.digit_images("train")[0].shape == (1437, 1, 8, 8)
    with pytest.raises(ValueError, match="part must be one of train, test"):
        tasks.number_pairs("validation")
