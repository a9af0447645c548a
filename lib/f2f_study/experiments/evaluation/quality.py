"""Quality of a network before and after coding: the same, because its weights are the same.

Three networks can be judged: the stand-ins on their own test data, a torchvision ResNet-50 on a
folder of ImageNet validation images, and a translation model of Hugging Face on WMT14
newstest2014. The last two need what cannot come with this package. PyTorch is imported only here
and where networks are trained, and only when one is judged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from f2f_study import sources
from f2f_study.experiments.evaluation.models import restored_state
from f2f_study.experiments.evaluation.package import Decoded
from f2f_study.experiments.model_rows import identity
from f2f_study.sources import ModelUnavailable, PrunedModel

State = Mapping[str, np.ndarray]


class Judged(NamedTuple):
    """A network on its test data."""

    quality: float  # in the unit of the metric
    outputs: bytes | list[str]  # all it put out: the bytes of its logits, or its sentences


def _compared(
    coded: Decoded,
    metric: str,
    judge: Callable[[State], Judged],
    scheme: str = "channel",
    dense: float = math.nan,
) -> dict[str, Any]:
    """A row of `quality.csv`: a network judged with the layers as they went in and came out."""
    model, dtype, tensors = coded
    before = judge(restored_state(model, dtype, scheme=scheme))
    after = judge(restored_state(model, dtype, tensors, scheme))
    return identity(model) | {
        "dtype": dtype,
        "metric": metric,
        "dense": dense,
        "before": before.quality,
        "after": after.quality,
        "same_outputs": before.outputs == after.outputs,
    }


def standin_quality(decoded: Sequence[Decoded], scheme: str = "channel") -> pd.DataFrame:
    """The stand-ins of `package_setting` judged on their test data before and after coding.

    The columns of `quality.csv` (runs/README.md); `dense` is the unpruned stand-in's.
    `same_outputs`: every output on the test data is the same, bit for bit.
    """
    import torch

    from f2f_study.networks import standin, tasks

    def judge(network: str, state: State) -> Judged:
        with standin.one_thread(), torch.no_grad():
            model = standin.load(network, state)
            inputs, targets = tasks.examples(network, "test")
            found = model(inputs, targets) if network == "transformer" else model(inputs)
            return Judged(standin.quality(model), found.numpy().tobytes())

    rows = []
    for coded in tqdm(decoded, desc="judge", unit=" models", delay=2):
        network = coded.model.network
        dense = recorded_percent(sources.open_standin(network))
        rows.append(
            _compared(coded, tasks.METRICS[network], partial(judge, network), scheme, dense)
        )
    return pd.DataFrame(rows)


def recorded_percent(model: PrunedModel) -> float:
    """The number at the head of a stand-in's quality in words."""
    return float(model.quality.split()[0])


def imagenet_quality(
    decoded: Sequence[Decoded], folder: str, images: int = 1000, batch: int = 32
) -> pd.DataFrame:
    """Top-1 accuracy of a torchvision ResNet-50 on ImageNet validation images, as `quality.csv`.

    Parameters
    ----------
    decoded
        Of `package_setting`, of source torchvision; the FP32 ones are judged.
    folder
        Validation images, one folder per class, named by WordNet number (n01440764, ...), all
        1000 of them.
    images
        How many, evenly spaced; 0 = all.
    batch
        Images that go through the network at once.

    Raises
    ------
    ModelUnavailable
        There is no such folder, or not 1000 classes in it.
    """
    import torch

    from f2f_study.networks.vision import import_torchvision

    vision = import_torchvision()
    if not Path(folder).is_dir():
        raise ModelUnavailable(
            f"imagenet_folder must be a folder of validation images, got {folder!r}; "
            "ImageNet is free for research at image-net.org after registration"
        )
    transform = vision.models.ResNet50_Weights.IMAGENET1K_V2.transforms()
    every = vision.datasets.ImageFolder(folder, transform)
    if len(every.classes) != 1000:
        raise ModelUnavailable(f"{folder} must hold 1000 class folders, got {len(every.classes)}")
    count = min(images, len(every)) if images else len(every)
    chosen = np.linspace(0, len(every) - 1, count).astype(int).tolist()
    loader = torch.utils.data.DataLoader(torch.utils.data.Subset(every, chosen), batch)

    @torch.no_grad()
    def judge(state: State) -> Judged:
        network = vision.models.resnet50()
        network.load_state_dict({k: torch.from_numpy(np.array(a)) for k, a in state.items()})
        network.eval()
        pairs = [(network(picture), label) for picture, label in loader]
        outputs, labels = (torch.cat(part) for part in zip(*pairs, strict=True))
        right = float((outputs.argmax(1) == labels).float().mean())
        return Judged(100 * right, outputs.numpy().tobytes())

    metric = f"% top-1 of {count} images"
    floats = [coded for coded in decoded if coded.dtype == "float32"]
    return pd.DataFrame(_compared(coded, metric, judge) for coded in floats)


class Pairs(NamedTuple):
    """Sentences in English, and their German references."""

    sources: Sequence[str]
    references: Sequence[str]


def newstest2014(sentences: int = 0) -> Pairs:
    """WMT14 newstest2014, English to German, through sacrebleu: the first sentences, 0 for all.

    `ModelUnavailable` if sacrebleu is not installed, or the set cannot be downloaded.
    """
    try:
        from sacrebleu import utils

        utils.download_test_set("wmt14/full", "en-de")
        paths = (
            utils.get_source_file("wmt14/full", "en-de"),
            utils.get_reference_files("wmt14/full", "en-de")[0],
        )
        english, german = (Path(path).read_text("utf-8").splitlines() for path in paths)
    except ImportError as error:
        raise ModelUnavailable("newstest2014 needs sacrebleu: pip install sacrebleu") from error
    except OSError as error:
        raise ModelUnavailable(f"newstest2014 cannot be downloaded: {error}") from error
    count = sentences or len(english)
    return Pairs(english[:count], german[:count])


class Translator:
    """A translation model of Hugging Face, by name or folder, e.g. Helsinki-NLP/opus-mt-en-de.

    `batch` sentences are translated at once. `ModelUnavailable` if transformers is not installed,
    or the model cannot be loaded.
    """

    def __init__(self, name: str, batch: int = 16) -> None:
        try:
            from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
        except ImportError as error:
            raise ModelUnavailable(
                "a translator needs transformers: pip install transformers sentencepiece"
            ) from error
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(name)
            self.network: Any = AutoModelForSeq2SeqLM.from_pretrained(name).eval()
        except OSError as error:
            raise ModelUnavailable(f"translator {name!r} cannot be loaded: {error}") from error
        self.name, self.batch = name, batch

    def pruned(self, sparsity: float) -> PrunedModel:
        """The network pruned at once by magnitude; embeddings and output layer stay dense."""
        state = {k: v.detach().float().numpy() for k, v in self.network.state_dict().items()}
        words = f"trained, {self.name}"
        ends = ("embed", "shared", "lm_head")
        return sources.from_tensors(
            state, "file", "transformer", "magnitude", sparsity, words, skip=ends
        )

    def translate(self, sentences: Sequence[str], state: State) -> list[str]:
        """Translations by the model with these parameters, searched with its own settings."""
        import torch

        tensors = {name: torch.from_numpy(np.array(array)) for name, array in state.items()}
        self.network.load_state_dict(tensors)
        found: list[str] = []
        for start in range(0, len(sentences), self.batch):
            part = list(sentences[start : start + self.batch])
            tokens = self.tokenizer(part, return_tensors="pt", padding=True, truncation=True)
            with torch.no_grad():
                made = self.network.generate(**tokens)
            found += self.tokenizer.batch_decode(made, skip_special_tokens=True)
        return found


def translation_quality(
    decoded: Sequence[Decoded],
    translate: Callable[[Sequence[str], State], Iterable[str]],
    pairs: Pairs,
) -> pd.DataFrame:
    """BLEU of a translation model before and after coding, as `quality.csv`.

    `translate` is as `Translator.translate`; `same_outputs`: every translation is the same.
    """
    from sacrebleu import corpus_bleu

    def judge(state: State) -> Judged:
        said = list(translate(pairs.sources, state))
        return Judged(corpus_bleu(said, [list(pairs.references)]).score, said)

    metric = f"BLEU of {len(pairs.sources)} sentences"
    return pd.DataFrame(_compared(coded, metric, judge) for coded in decoded)
