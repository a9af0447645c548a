"""Whatever object a public argument is given: what it is for, or a `ValueError` that names it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import f2f
from f2f import checkpoint, hardware, nn, parallel, tensorfile
from f2f.format.mask import encode_mask
from f2f.hardware.export import write_project
from f2f.product import gpu, gpu_layout

OBJECTS = (None, 3, "x", [1, 2], {"a": 1}, object(), np.ma.masked_equal([0, 1], 0))
EYE = np.eye(8, dtype=np.int8)
DECODER = f2f.Decoder(n_in=1, n_out=3, n_s=0)
PLANE = f2f.EncodedPlane(np.zeros(1, np.uint8), np.zeros(0, np.int64), 3, 8)
TENSOR = f2f.compress(EYE, n_s=0, n_out=8, beam=1)
WITHOUT_MASK = f2f.compress(EYE, n_s=0, n_out=8, beam=1, mask_codec="none")
LINEAR, CONV = torch.nn.Linear(8, 8), torch.nn.Conv2d(8, 8, 1)
NO_FOLDER = "/dev/null/folder"
# What a message may say instead of an argument's name.
ALSO_NAMED = {"masks": "|mask must", "header": "|kind must"}


class Case(NamedTuple):
    """A function, one of its arguments, the others, and which of `OBJECTS` it takes."""

    function: Callable
    argument: str
    others: dict[str, Any]
    takes: tuple


def of(function, others, **takes):
    """A case for each argument: what it takes beside what it is for."""
    return [Case(function, name, others, objects) for name, objects in takes.items()]


CASES = [
    *of(
        f2f.compress,
        {"array": EYE},
        array=(3, [1, 2]),
        mask=(None,),
        n_s=(3,),
        n_out=(None, 3),
        least_efficiency=(3,),
        seed=(3,),
        matrix=(None,),
        method=(),
        beam=(3,),
        order=(),
        mask_codec=(),
        threads=(3,),
        negative_zero=(None,),
    ),
    *of(f2f.decompress, {}, tensor=()),
    *of(f2f.decompress, {"tensor": TENSOR}, mask=(None,)),
    *of(f2f.decompress, {"tensor": WITHOUT_MASK}, mask=()),
    *of(f2f.save, {"path": NO_FOLDER, "tensors": {}}, path=("x",), tensors=(), metadata=(None,)),
    *of(f2f.load, {}, path=("x",)),
    *of(f2f.open_file, {}, path=("x",)),
    *of(f2f.spmv, {"tensor": TENSOR, "x": EYE[0]}, tensor=(), x=(), backend=(), scale=(None, 3)),
    *of(f2f.spmm, {"tensor": TENSOR, "x": EYE}, tensor=(), x=(), backend=(), threads=(None, 3)),
    *of(gpu.spmm, {"matrix": TENSOR, "x": EYE}, matrix=(), x=(), scale=(None, 3), decode=()),
    *of(gpu.DeviceMatrix, {}, tensor=()),
    *of(gpu_layout.build_layout, {}, tensor=()),
    *of(gpu_layout.build_layout, {"tensor": WITHOUT_MASK}, mask=()),
    *of(
        f2f.encode_plane,
        {"bits": [1, 0], "care_mask": [1, 1], "decoder": DECODER},
        bits=(),
        care_mask=(),
        decoder=(),
        method=(),
        beam=(3,),
    ),
    *of(
        f2f.decode_plane,
        {"encoded": PLANE, "decoder": DECODER, "n": 3},
        encoded=(),
        decoder=(),
        n=(3,),
    ),
    *of(f2f.Decoder, {}, n_in=(3,), n_out=(3,), n_s=(3,), seed=(3,), matrix=()),
    *of(f2f.Decoder.from_matrix, {"matrix": [[1]], "n_in": 1}, matrix=(), n_in=()),
    *of(DECODER.decode, {"inputs": PLANE.inputs, "n": 3}, inputs=(), n=(3,)),
    *of(DECODER.decode_block, {"inputs": PLANE.inputs, "t": 0}, inputs=(), t=()),
    *of(parallel.compress_model, {"tensors": {"a": EYE}}, tensors=(), masks=(None,)),
    *of(parallel.compress_model, {"tensors": {"a": EYE}}, n_jobs=(None, 3)),
    *of(parallel.decompress_model, {"tensors": {"a": TENSOR}}, tensors=(), masks=(None,)),
    *of(parallel.decompress_model, {"tensors": {"a": TENSOR}}, n_jobs=(None, 3)),
    *of(nn.compress_state_dict, {"state_dict": {"a": torch.ones(3)}}, state_dict=()),
    *of(nn.compress_state_dict, {"state_dict": {"a": torch.ones(3)}}, masks=(None,)),
    *of(nn.load_state_dict, {}, source=("x",)),
    *of(nn.compress_module, {"module": torch.nn.Linear(8, 8)}, module=(), tensors=(None,)),
    *of(nn.CompressedLinear, {"encoded": TENSOR}, encoded=(), bias=(None,)),
    *of(nn.CompressedLinear.from_dense, {"layer": LINEAR}, layer=(), encoded=(None,)),
    *of(nn.CompressedConv2d, {"encoded": TENSOR}, encoded=(), bias=(None,)),
    *of(nn.CompressedConv2d.from_dense, {"layer": CONV}, layer=(), encoded=(None,)),
    *of(checkpoint.read_folder, {}, path=("x",)),
    *of(checkpoint.compress_folder, {"source": "x", "target": "x"}, source=("x",), target=("x",)),
    *of(checkpoint.decompress_folder, {"source": "x", "target": "x"}, source=("x",), target=("x",)),
    *of(checkpoint.open_compressed, {}, path=("x",)),
    *of(checkpoint.CompressedFolder, {}, path=("x",)),
    *of(lambda path: next(checkpoint.read_shards(path)), {}, path=("x",)),
    *of(tensorfile.read_tensors, {}, path=()),
    *of(tensorfile.write_tensors, {"path": "/dev/null/a.npz", "tensors": {}}, path=(), tensors=()),
    *of(tensorfile.write_tensors, {"path": "a.npz", "tensors": {}}, metadata=(None,)),
    *of(hardware.verilog, {"source": DECODER}, source=(), name=("x",)),
    *of(hardware.of_decoder, {}, decoder=()),
    *of(write_project, {"tensor": TENSOR, "folder": NO_FOLDER}, tensor=(), folder=("x",)),
    *of(write_project, {"tensor": TENSOR, "folder": NO_FOLDER}, blocks=(3,)),
    *of(encode_mask, {"mask": [1]}, mask=(), codec=(), n_in=(3,), n_s=(3,), beam=(3,), seed=(3,)),
    *of(
        f2f.CompressedTensor.from_parts,
        {"header": TENSOR.header(), "arrays": {}},
        header=(),
        arrays=(),
    ),
]


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case.function.__qualname__}-{case.argument}"
)
def test_a_wrong_object_is_refused_by_name(case):
    message = rf"\b{case.argument}\b" + ALSO_NAMED.get(case.argument, "")
    for value in OBJECTS:
        if not any(type(value) is type(taken) and value == taken for taken in case.takes):
            with pytest.raises(ValueError, match=message):
                case.function(**{**case.others, case.argument: value})


def test_the_values_of_a_mapping_are_named():
    with pytest.raises(ValueError, match=r"tensors\['a'\] must be a CompressedTensor, got ndarray"):
        f2f.save(NO_FOLDER, {"a": EYE})
    with pytest.raises(ValueError, match=r"names in tensors must be text, got int"):
        f2f.save(NO_FOLDER, {3: TENSOR})
    with pytest.raises(ValueError, match=r"path must be a path without a zero byte, got 'a\\x00b'"):
        f2f.load("a\0b")
