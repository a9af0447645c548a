"""Quality of a network before and after coding: the same, because its weights are the same.

Three networks can be judged: the stand-ins on their own test data, a torchvision ResNet-50 on a
folder of ImageNet validation images, and a translation model of Hugging Face on WMT14
newstest2014. The last two need what cannot come with this package.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from f2f_study.experiments.evaluation.rows import QualityRow, StandinRow
from f2f_study.experiments.evaluation.spread import identity, layer_weights
from f2f_study.networks.layers import PrunedModel
from f2f_study.networks.quantize import quantize
from f2f_study.sources.download import ModelUnavailable

if TYPE_CHECKING:
    import torch

State = Mapping[str, np.ndarray]


def restored_state(
    model: PrunedModel, dtype: str, tensors: State | None = None, scheme: str = "channel"
) -> dict[str, np.ndarray]:
    """The parameters of a model with its layers in `dtype`, int8 ones dequantized to float32.

    tensors: the decoded layers; None takes the layers as they went in.
    """
    state = dict(model.others)
    for name, layer in model.layers.items():
        array = layer_weights(layer, dtype, scheme) if tensors is None else tensors[name]
        if dtype == "int8" and layer.weights is not None and layer.weights.dtype != np.int8:
            scale = quantize(layer.weights, scheme).scale
            array = array.astype(np.float32) * scale.reshape(
                scale.shape + (1,) * (array.ndim - scale.ndim)
            )
        state[name] = array
    return state


def standin_quality(
    model: PrunedModel, dtype: str, decoded: State, scheme: str = "channel", dense: float = math.nan
) -> QualityRow:
    """A stand-in judged on its test data before and after coding."""
    import torch

    from f2f_study.networks import standin

    @standin.one_thread()
    @torch.no_grad()
    def outputs(state: State) -> tuple[float, torch.Tensor]:
        network = standin.load(model.network, state)
        if isinstance(network, standin.Transformer):
            found = network(*standin.number_pairs("test"))
        else:
            found = network(standin.digit_images("test")[0])
        return standin.quality(network), found

    before, first = outputs(restored_state(model, dtype, None, scheme))
    after, second = outputs(restored_state(model, dtype, decoded, scheme))
    metric = standin.QUALITIES[model.network]
    same = torch.equal(first, second)
    return QualityRow(*identity(model), dtype, metric, dense, before, after, same)


def imagenet_quality(
    model: PrunedModel, decoded: State, folder: str, images: int = 1000, batch: int = 32
) -> QualityRow:
    """Top-1 accuracy of a torchvision ResNet-50 on ImageNet validation images.

    model: of source torchvision, FP32. folder: validation images, one folder per class, named by
    WordNet number (n01440764, ...), all 1000 of them. images: evenly spaced ones, 0 = all.

    Raises:
        ModelUnavailable: no such folder, or not 1000 classes in it.
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
    chosen = torch.utils.data.Subset(
        every, np.linspace(0, len(every) - 1, count).astype(int).tolist()
    )
    loader = torch.utils.data.DataLoader(chosen, batch)

    @torch.no_grad()
    def judge(state: State) -> tuple[float, torch.Tensor]:
        network = vision.models.resnet50()
        network.load_state_dict({k: torch.from_numpy(np.array(a)) for k, a in state.items()})
        network.eval()
        pairs = [(network(picture), label) for picture, label in loader]
        outputs, labels = (torch.cat(part) for part in zip(*pairs, strict=True))
        return 100 * float((outputs.argmax(1) == labels).float().mean()), outputs

    before, first = judge(restored_state(model, "float32"))
    after, second = judge(restored_state(model, "float32", decoded))
    same = torch.equal(first, second)
    metric = f"% top-1 of {count} images"
    return QualityRow(*identity(model), "float32", metric, math.nan, before, after, same)


def newstest2014(sentences: int = 0) -> tuple[list[str], list[str]]:
    """English and German sentences of WMT14 newstest2014 through sacrebleu; 0 = all.

    Raises:
        ModelUnavailable: sacrebleu is not installed, or the set cannot be downloaded.
    """
    try:
        from sacrebleu import utils

        utils.download_test_set("wmt14/full", "en-de")
        sides = [
            Path(find("wmt14/full", "en-de")).read_text("utf-8").splitlines()
            for find in (utils.get_source_file, lambda s, p: utils.get_reference_files(s, p)[0])
        ]
    except ImportError as error:
        raise ModelUnavailable("newstest2014 needs sacrebleu: pip install sacrebleu") from error
    except OSError as error:
        raise ModelUnavailable(f"newstest2014 cannot be downloaded: {error}") from error
    count = sentences or len(sides[0])
    return sides[0][:count], sides[1][:count]


class Translator:
    """A translation model of Hugging Face, named or as a folder, e.g. Helsinki-NLP/opus-mt-en-de.

    Raises:
        ModelUnavailable: transformers is not installed, or the model cannot be loaded.
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

    def state(self) -> dict[str, np.ndarray]:
        """Its float32 parameters."""
        return {k: v.detach().float().numpy() for k, v in self.network.state_dict().items()}

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
    model: PrunedModel,
    decoded: State,
    translate: Callable[[Sequence[str], State], Iterable[str]],
    pairs: tuple[Sequence[str], Sequence[str]],
) -> QualityRow:
    """BLEU of a translation model before and after coding.

    translate: (sentences, parameters) -> translations, as `Translator.translate`. pairs: source
    sentences and references, as `newstest2014`.
    """
    from sacrebleu import corpus_bleu

    sources, references = pairs
    first = list(translate(sources, restored_state(model, "float32")))
    second = list(translate(sources, restored_state(model, "float32", decoded)))
    before, after = (corpus_bleu(said, [list(references)]).score for said in (first, second))
    metric = f"BLEU of {len(sources)} sentences"
    same = first == second
    return QualityRow(*identity(model), "float32", metric, math.nan, before, after, same)


def standin_row(model: PrunedModel, trained: PrunedModel | None, seconds: float) -> StandinRow:
    """A committed stand-in, judged again, beside one trained in this run (or None)."""
    from f2f_study.networks import standin

    def percent(words: str) -> float:
        return float(words.split()[0])

    layers = model.layers.values()
    shares = [1 - layer.unpruned / layer.size for layer in layers] or [0.0]
    again = standin.quality(standin.load(model.network, model.state()))
    return StandinRow(
        model.network,
        model.method,
        model.sparsity,
        model.size,
        model.unpruned,
        min(shares),
        max(shares),
        standin.QUALITIES[model.network],
        percent(model.quality),
        again,
        percent(trained.quality) if trained else math.nan,
        seconds if trained else math.nan,
    )
