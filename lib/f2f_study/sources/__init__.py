"""Pruned models: named weights and masks, from wherever they are, in one form.

`open_model` returns a `PrunedModel`, whose ``layers`` are ``{name: Layer(weights, mask, ...)}``.

| source | what | values |
|---|---|---|
| ``surrogate`` | the paper's two models at full size, from committed counts | masks drawn too |
| ``standin`` | this project's small networks, committed in ``data/standin`` | trained |
| ``dlmc`` | the published masks of the paper's two models | drawn, or taken from a file |
| ``checkpoint`` | the published TensorFlow checkpoints of the same models | trained |
| ``torchvision`` | dense ResNet-50, FP32 or the published INT8 one, pruned here at once | trained |
| ``file`` | any .safetensors, .npz, .pt or .pth | trained |

Nothing is downloaded unless ``download=True``; `f2f_study.sources.download` says where files lie.
"""

from f2f_study.networks.layers import METHODS as METHODS
from f2f_study.networks.layers import Layer as Layer
from f2f_study.networks.layers import PrunedModel as PrunedModel
from f2f_study.results import data_dir as data_dir
from f2f_study.sources.committed import open_standin as open_standin
from f2f_study.sources.committed import standin_folder as standin_folder
from f2f_study.sources.committed import standin_name as standin_name
from f2f_study.sources.dense import from_tensors as from_tensors
from f2f_study.sources.download import ModelUnavailable as ModelUnavailable
from f2f_study.sources.opening import NETWORKS as NETWORKS
from f2f_study.sources.opening import SOURCES as SOURCES
from f2f_study.sources.opening import available as available
from f2f_study.sources.opening import open_model as open_model
from f2f_study.sources.opening import open_models as open_models
