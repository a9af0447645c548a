"""What the stand-ins learn: to translate number words, and to recognise handwritten digits.

* ``transformer``: English number words into German ("forty-two thousand one" ->
  "zweiundvierzigtausendeins"), 0 to 999999. A true translation task with reordering, whose every
  pair is made by rule. Quality: share of held-out numbers translated exactly, in %.
* ``resnet``: the 8x8 images of scikit-learn's handwritten digits, which come with it. Quality:
  accuracy on the 360 images held out, in %.
"""

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor

from f2f.base import validate

METRICS = {
    "transformer": "% of held-out numbers translated exactly",
    "resnet": "% of held-out digits recognised",
}
"""What the quality of a stand-in counts."""
PARTS = ("train", "test")

# fmt: off
ENGLISH = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]
ENGLISH_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
GERMAN = [
    "null", "ein", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "zehn", "elf",
    "zwölf", "dreizehn", "vierzehn", "fünfzehn", "sechzehn", "siebzehn", "achtzehn", "neunzehn",
]
GERMAN_TENS = [
    "zwanzig", "dreißig", "vierzig", "fünfzig", "sechzig", "siebzig", "achtzig", "neunzig",
]
# fmt: on

PAD, START, END = 0, 1, 2
SOURCE_WORDS = ["<pad>", "<s>", "</s>", *ENGLISH, *ENGLISH_TENS, "hundred", "thousand"]
TARGET_WORDS = ["<pad>", "<s>", "</s>", *GERMAN, "eins", *GERMAN_TENS, "und", "hundert", "tausend"]
LENGTH = 14  # longest sentence with its end mark is 12 tokens


def english(number: int) -> list[str]:
    """Words of a number, 0 to 999999, in English, hyphens taken as spaces.

    >>> " ".join(english(42_001))
    'forty two thousand one'
    """
    _check_number(number)
    if number >= 1000:
        rest = english(number % 1000) if number % 1000 else []
        return [*english(number // 1000), "thousand", *rest]
    if number >= 100:
        rest = english(number % 100) if number % 100 else []
        return [ENGLISH[number // 100], "hundred", *rest]
    if number >= 20:
        return [ENGLISH_TENS[number // 10 - 2], *([ENGLISH[number % 10]] if number % 10 else [])]
    return [ENGLISH[number]]


def german(number: int) -> list[str]:
    """Parts of a number, as in `english`, in German; written together they are the word.

    >>> "".join(german(42_001))
    'zweiundvierzigtausendeins'
    """
    _check_number(number)
    parts = _german(number)
    return [*parts[:-1], "eins"] if parts[-1] == "ein" else parts


def _german(number: int) -> list[str]:
    """The same with *ein* where a word ends in one."""
    if number >= 1000:
        rest = _german(number % 1000) if number % 1000 else []
        return [*_german(number // 1000), "tausend", *rest]
    if number >= 100:
        return [GERMAN[number // 100], "hundert", *(_german(number % 100) if number % 100 else [])]
    if number >= 20:
        tens = GERMAN_TENS[number // 10 - 2]
        return [GERMAN[number % 10], "und", tens] if number % 10 else [tens]
    return [GERMAN[number]]


def _check_number(number: int) -> None:
    if not 0 <= number < 1_000_000:
        raise ValueError(f"number must be between 0 and 999999, got {number}")


def _tokens(numbers: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Padded token numbers of the sentences, two int64 tensors (len(numbers), LENGTH)."""
    sides = []
    for words, spell in ((SOURCE_WORDS, english), (TARGET_WORDS, german)):
        known = {word: index for index, word in enumerate(words)}
        table = np.full((len(numbers), LENGTH), PAD, dtype=np.int64)
        for row, number in enumerate(numbers):
            sentence = [known[word] for word in spell(int(number))]
            table[row, : len(sentence) + 1] = [*sentence, END]
        sides.append(torch.from_numpy(table))
    return sides[0], sides[1]


def examples(network: str, part: str) -> tuple[Tensor, Tensor]:
    """Inputs and targets of a network's task, `number_pairs` or `digit_images`.

    `part` is "train" or "test"; no example is in both.
    """
    return number_pairs(part) if network == "transformer" else digit_images(part)


@cache
def number_pairs(part: str) -> tuple[Tensor, Tensor]:
    """Tokens of both sides, int64 (n, LENGTH), of the sentences; every 20th number is held out.

    Drawn with a fixed seed, the number of digits first, so that short numbers are there too.
    """
    validate.choice("part", part, PARTS)
    rng = np.random.default_rng(20190225)
    numbers = rng.integers(0, 10 ** rng.integers(1, 7, size=60_000))
    held_out = numbers % 20 == 7
    numbers = numbers[held_out][:1500] if part == "test" else numbers[~held_out]
    return _tokens(np.unique(numbers) if part == "test" else numbers)


@cache
def digit_images(part: str) -> tuple[Tensor, Tensor]:
    """Images (n, 1, 8, 8) float32 in -1..1 and classes (n,) of scikit-learn's digits."""
    validate.choice("part", part, PARTS)
    digits = load_digits()
    order = np.random.default_rng(20190225).permutation(len(digits.target))
    chosen = order[:360] if part == "test" else order[360:]
    images = torch.from_numpy(digits.images[chosen].astype(np.float32))[:, None] / 8 - 1
    return images, torch.from_numpy(digits.target[chosen].astype(np.int64))
