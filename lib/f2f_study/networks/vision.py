"""torchvision, imported in the one place that knows how."""

from __future__ import annotations

import sys
from types import ModuleType

_MISSING = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_libraries: list[object] = []  # a schema lives as long as the library object that declared it


def import_torchvision() -> ModuleType:
    """Return the module torchvision, with its models, transforms and quantized models usable.

    A torchvision built for CUDA cannot load its operators beside a CPU-only torch, and its import
    then fails with "operator torchvision::nms does not exist". Declaring the missing schemas is
    enough for everything but detection. Raises `ImportError` if torchvision is not installed.
    """
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        _declare_operators()
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        import torchvision
    return torchvision


def _declare_operators() -> None:
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for name, schema in _MISSING.items():
        if not hasattr(torch.ops.torchvision, name):
            library.define(schema)
    _libraries.append(library)
