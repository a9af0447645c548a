"""State dicts and modules come back bit for bit and compute bitwise the same."""

import copy
import pickle

import ml_dtypes
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune as prune_module

import f2f
from f2f import nn as nn_module
from f2f.base.tensors import to_numpy, to_torch
from f2f.format import operands
from f2f.format.expand import expand
from f2f.nn import (
    CompressedConv2d,
    CompressedLinear,
    compress_module,
    compress_state_dict,
    load_state_dict,
)
from f2f_study.networks.vision import import_torchvision


def prune(module, sparsity=0.9, seed=0):
    """Zero the smallest weights of every convolution and linear layer."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            size = layer.weight.detach().abs().flatten()
            cut = size.sort().values[int(sparsity * (len(size) - 1))]
            layer.weight.data[layer.weight.abs() < cut] = 0
    return module


def bits(tensor):
    """(dtype, shape, bytes), so that NaN payloads and signed zeros count."""
    data = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return tensor.dtype, tuple(tensor.shape), data


def assert_same_state(a, b):
    assert sorted(a) == sorted(b)
    for name in a:
        assert bits(a[name]) == bits(b[name]), name


DTYPES = [
    torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64, torch.bool, torch.float16,
    torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.float8_e4m3fn,
    torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz, torch.uint16,
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_comes_back(tmp_path, dtype):
    torch.manual_seed(0)
    raw = torch.randint(0, 256, (16, 40, 8), dtype=torch.uint8)
    raw[torch.rand(raw.shape[:2]) < 0.8] = 0
    if dtype == torch.bool:
        tensor = (raw > 100).reshape(16, -1)
    else:
        tensor = raw.reshape(16, -1).view(dtype)
    state = {"weight": tensor, "row": tensor[0], "view": tensor.t(), "none": tensor[:0]}
    f2f.save(tmp_path / "m.safetensors", compress_state_dict(state))
    assert_same_state(load_state_dict(tmp_path / "m.safetensors"), state)
    assert bits(to_torch(to_numpy(tensor))) == bits(tensor)


def test_bfloat16_is_the_type_of_ml_dtypes():
    assert to_numpy(torch.ones(2, dtype=torch.bfloat16)).dtype == ml_dtypes.bfloat16


def test_a_torch_tensor_shares_the_memory_of_an_array_that_may_be_written_to():
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    to_torch(array)[1, 2] = 77
    assert array[1, 2] == 77
    readonly = array.copy()
    readonly.setflags(write=False)
    for other in (readonly, array.T, array.astype(">i2"), array[:, ::2]):
        before = other.copy()
        tensor = to_torch(other)
        assert tensor.is_contiguous() and tensor.tolist() == before.tolist()
        tensor += 1
        assert (other == before).all()


@pytest.mark.parametrize("dtype", [torch.int8, torch.complex64])
def test_what_is_decompressed_can_be_changed(dtype):
    """The memory of a tensor that is stored as it is stays the compressed one's."""
    tensor = torch.eye(40, dtype=dtype)
    packed = f2f.compress(tensor)
    f2f.decompress(packed).zero_()
    state = load_state_dict({"w": packed})
    state["w"].zero_()
    assert bits(f2f.decompress(packed)) == bits(tensor)


def test_decompress_gives_torch_tensors():
    state = {"weight": prune(nn.Linear(64, 32)).weight, "bias": torch.ones(32)}
    compressed = compress_state_dict(state)
    assert {name: tensor.kind for name, tensor in compressed.items()} == {
        "weight": "encoded", "bias": "dense",
    }  # fmt: skip
    for name, tensor in compressed.items():
        back = f2f.decompress(tensor)
        assert isinstance(back, torch.Tensor) and bits(back) == bits(state[name])


def test_buffers_and_shared_tensors(tmp_path):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(50, 24)
            self.norm = nn.BatchNorm1d(24)
            self.head = nn.Linear(24, 50, bias=False)
            self.head.weight = self.embed.weight

    torch.manual_seed(0)
    model = Tied()
    model.norm(torch.randn(7, 24))
    prune(model)
    state = model.state_dict()
    f2f.save(tmp_path / "m.safetensors", compress_state_dict(state))
    for compressed in (compress_state_dict(state), f2f.load(tmp_path / "m.safetensors")):
        assert compressed["embed.weight"] is compressed["head.weight"]
        back = load_state_dict(compressed)
        assert_same_state(back, state)
        assert back["embed.weight"].data_ptr() == back["head.weight"].data_ptr()
        assert back["norm.num_batches_tracked"].dtype == torch.int64
    other = Tied()
    other.load_state_dict(back)
    assert_same_state(other.state_dict(), state)


def test_masks_are_kept_with_their_zeros():
    weight = torch.zeros(64, 64)
    mask = torch.rand(64, 64) < 0.1
    weight[mask] = torch.randn(int(mask.sum()))
    weight[mask.nonzero()[0, 0], mask.nonzero()[0, 1]] = -0.0
    compressed = compress_state_dict({"w": weight}, masks={"w": mask})
    assert compressed["w"].k == int(mask.sum())
    assert bits(load_state_dict(compressed)["w"]) == bits(weight)
    with pytest.raises(ValueError, match="masks must be of tensors of the model"):
        compress_state_dict({"w": weight}, masks={"v": mask})


@pytest.mark.parametrize("value", [3, None, torch.zeros(3, 3).to_sparse()])
def test_what_is_no_dense_tensor_is_named(value):
    with pytest.raises(ValueError, match=r"state_dict\['extra'\]"):
        compress_state_dict({"extra": value})


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match="n_s must be"):
        compress_state_dict({"w": torch.zeros(4, 4)}, n_s=99)


LAYERS = [
    nn.Linear(96, 40),
    nn.Linear(40, 96, bias=False),
    nn.Conv2d(8, 24, 3, padding=1),
    nn.Conv2d(8, 16, (3, 5), stride=2, padding="valid", dilation=(1, 2), bias=False),
    nn.Conv2d(8, 16, 3, padding="same", padding_mode="reflect"),
    nn.Conv2d(8, 16, 3, padding=(1, 0), groups=4, padding_mode="circular"),
]


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_layers_compute_bitwise_the_same(layer, dtype):
    torch.manual_seed(1)
    layer = prune(copy.deepcopy(layer), 0.8).to(dtype)
    kind = CompressedLinear if isinstance(layer, nn.Linear) else CompressedConv2d
    packed = kind.from_dense(layer)
    assert bits(packed.weight) == bits(layer.weight)
    shape = (3, layer.in_features) if kind is CompressedLinear else (2, 8, 14, 12)
    x = torch.randn(shape, dtype=dtype, requires_grad=True)
    out = layer(x)
    for same in (packed, copy.deepcopy(packed), pickle.loads(pickle.dumps(packed))):
        assert bits(same(x)) == bits(out)
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert bits(torch.autograd.grad(packed(x).sum(), x)[0]) == bits(gradient)
    assert "bits/weight" in repr(packed)


def test_a_compressed_layer_stands_in_a_state_dict_as_the_dense_one():
    torch.manual_seed(2)
    dense = prune(nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 8)))
    other = prune(nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 8)))
    packed = compress_module(copy.deepcopy(dense))
    assert isinstance(packed[0], CompressedLinear)
    assert_same_state(dict(packed.state_dict()), dict(dense.state_dict()))
    packed.load_state_dict(other.state_dict())
    x = torch.randn(4, 64)
    assert bits(packed(x)) == bits(other(x))
    with pytest.raises(RuntimeError, match=r"0\.weight must have shape \(32, 64\)"):
        packed.load_state_dict(
            nn.Sequential(nn.Linear(9, 32), nn.ReLU(), nn.Linear(32, 8)).state_dict()
        )
    state = dense.state_dict()
    del state["0.weight"]
    with pytest.raises(RuntimeError, match="Missing key"):
        packed.load_state_dict(state)


def test_compress_module_keeps_what_is_shared_and_what_gains_nothing():
    torch.manual_seed(3)
    layer = prune(nn.Linear(48, 48))
    half = nn.Linear(48, 48, bias=False)
    half.weight = layer.weight
    dense = nn.Sequential(layer, nn.Linear(4, 4), layer, half)
    dense[1].weight.data.copy_(torch.randn(4, 4))
    packed = compress_module(copy.deepcopy(dense))
    assert packed[0] is packed[2] and isinstance(packed[0], CompressedLinear)
    assert packed[3].encoded is packed[0].encoded
    assert type(packed[1]) is nn.Linear
    assert isinstance(compress_module(copy.deepcopy(layer)), CompressedLinear)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda t: CompressedLinear(t), "must have 2 axes"),
        (lambda t: CompressedConv2d(t, torch.zeros(3)), "bias must have shape"),
        (
            lambda t: CompressedConv2d.from_dense(nn.Conv2d(8, 9, 3), t),
            "must have the weight's shape",
        ),
    ],
)
def test_layers_check_what_they_are_given(make, message):
    tensor = f2f.compress(prune(nn.Conv2d(8, 16, 3)).weight)
    with pytest.raises(ValueError, match=message):
        make(tensor)


def test_a_weight_of_another_shape_is_refused_by_the_name_of_its_layer():
    net = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    tensors = {"1.weight": f2f.compress(np.eye(9, dtype=np.float32))}
    with pytest.raises(ValueError, match=r"layer '1': encoded must have the weight's shape \(8, 8"):
        compress_module(net, tensors)


def test_layers_need_a_stored_mask():
    tensor = f2f.compress(prune(nn.Linear(64, 64)).weight, mask_codec="none")
    with pytest.raises(ValueError, match="must store its mask"):
        CompressedLinear(tensor)


def small_resnet():
    """torchvision's ResNet with one narrow bottleneck block a stage."""
    resnet = import_torchvision().models.resnet
    return resnet.ResNet(resnet.Bottleneck, [1, 1, 1, 1], num_classes=10, width_per_group=8)


def resnet50():
    return import_torchvision().models.resnet50()


@pytest.mark.parametrize("make", [small_resnet, pytest.param(resnet50, marks=pytest.mark.slow)])
def test_a_whole_resnet_from_a_file(tmp_path, make):
    torch.manual_seed(4)
    model = prune(make(), 0.95).eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        wanted = model(x)
    path = tmp_path / "resnet.safetensors"
    f2f.save(path, compress_state_dict(model.state_dict(), beam=1, mask_codec="bitmap"))
    dense = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    assert path.stat().st_size < 0.15 * dense

    loaded = make().eval()
    loaded.load_state_dict(load_state_dict(path))
    assert_same_state(dict(loaded.state_dict()), dict(model.state_dict()))
    packed = compress_module(copy.deepcopy(model), f2f.load(path))
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    kinds = CompressedConv2d | CompressedLinear
    assert sum(isinstance(m, kinds) for m in packed.modules()) == len(layers) > 15
    with torch.inference_mode():
        assert bits(loaded(x)) == bits(wanted)
        assert bits(packed(x)) == bits(wanted)


def test_numpy_arrays_of_foreign_dtypes_are_refused():
    with pytest.raises(ValueError, match="dtype that torch knows"):
        to_torch(np.zeros(3, np.complex256) if hasattr(np, "complex256") else np.zeros(3, "U2"))


def test_a_state_dict_that_makes_its_values():
    """Places in memory say nothing of tensors that are gone."""

    class Fresh(dict):
        def __getitem__(self, name):
            return super().__getitem__(name).t().clone().t()

    state = Fresh({f"w{i}": torch.eye(40) * (i + 1) for i in range(20)})
    back = load_state_dict(compress_state_dict(state, beam=1))
    assert all(torch.equal(back[name], state[name]) for name in state)


def test_a_mask_of_any_name_of_a_tied_weight_counts():
    weight, mask = torch.ones(40, 40), torch.eye(40, dtype=torch.bool)
    back = load_state_dict(compress_state_dict({"a": weight, "b": weight}, masks={"b": mask}))
    assert torch.equal(back["a"], torch.eye(40)) and torch.equal(back["b"], torch.eye(40))


class Offloaded(nn.Linear):
    """A layer whose weight is a fresh copy at each access."""

    def __init__(self, value):
        super().__init__(40, 40, bias=False)
        kept = torch.eye(40) * value

        class Parameters(dict):
            def __getitem__(self, name):
                return nn.Parameter(kept.clone()) if name == "weight" else None

            def get(self, name, default=None):
                return self[name]

        self.__dict__["_parameters"] = Parameters(self._parameters)


def test_layers_that_give_their_weight_anew(monkeypatch):
    monkeypatch.setattr(nn, "Linear", Offloaded)  # compress_module goes by the exact type
    module = nn.Sequential(*(Offloaded(i + 1.0) for i in range(20)))
    packed = compress_module(module, beam=1)
    assert [layer.weight[3, 3].item() for layer in packed] == [i + 1.0 for i in range(20)]


def test_a_layer_under_torchs_pruning_gives_its_present_weight():
    torch.manual_seed(5)
    layer = nn.Linear(64, 64)
    prune_module.l1_unstructured(layer, "weight", 0.9)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    layer(torch.randn(8, 64)).square().sum().backward()
    optimizer.step()  # layer.weight is that of before the step until the next call
    calls = []
    layer.register_forward_hook(lambda *_: calls.append("after"))
    layer.register_forward_pre_hook(lambda *_: calls.append("before"))
    packed = compress_module(nn.Sequential(layer), beam=1)
    x = torch.randn(3, 64)
    wanted = layer(x)
    calls.clear()
    assert torch.equal(packed(x), wanted) and calls == ["before", "after"]
    assert packed[0].encoded.sparsity == pytest.approx(0.9, abs=1e-3)


@pytest.mark.parametrize("layer", [nn.Linear(64, 16), nn.Conv2d(4, 16, 3)], ids=repr)
def test_a_bias_under_torchs_pruning_is_the_present_one(layer):
    prune_module.l1_unstructured(layer, "bias", 0.5)
    with torch.no_grad():
        layer.bias_orig += 1  # as an optimizer's step, after which layer.bias is of before
        prune(layer)
    (compressed,) = compress_module(nn.Sequential(layer), beam=1)
    x = torch.randn((2, 4, 5, 5) if layer.weight.ndim == 4 else (2, 64))
    assert compressed.bias.count_nonzero() == 8 and torch.equal(compressed(x), layer(x))


def test_a_weight_that_another_hook_makes_is_refused_by_name():
    layer = torch.nn.utils.weight_norm(nn.Linear(8, 8))
    with pytest.raises(ValueError, match="layer '0': weight must be a parameter"):
        compress_module(nn.Sequential(layer))


def test_layers_follow_dtype_as_the_dense_ones_do():
    torch.manual_seed(6)
    dense = prune(nn.Sequential(nn.Conv2d(8, 16, 3), nn.Flatten(), nn.Linear(16 * 36, 10)))
    x = torch.randn(2, 8, 8, 8)
    for convert in (
        lambda m: m.half(),
        lambda m: m.to(torch.bfloat16),
        lambda m: m.double(),
        lambda m: m.to("cpu"),
    ):
        a = convert(copy.deepcopy(dense))
        b = convert(compress_module(copy.deepcopy(dense), beam=1))
        same = x.to(a[0].weight.dtype)
        assert b[0].weight.dtype == a[0].weight.dtype
        assert bits(b(same)) == bits(a(same))
        assert_same_state(dict(b.state_dict()), dict(a.state_dict()))
    packed = compress_module(copy.deepcopy(dense), beam=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert bits(packed(x)) == bits(dense(x))


def test_layers_say_of_themselves_what_the_dense_ones_say():
    conv, linear = prune(nn.Conv2d(8, 16, 3, 2, 1, groups=2)), prune(nn.Linear(96, 40))
    packed = CompressedConv2d.from_dense(conv.eval(), beam=1)
    names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "groups")
    for name in (*names, "training"):
        assert getattr(packed, name) == getattr(conv, name)
    packed = CompressedLinear.from_dense(linear, beam=1)
    assert (packed.in_features, packed.out_features) == (96, 40) and packed.training


def test_layers_under_compile_and_trace():
    torch.manual_seed(7)
    dense = prune(nn.Sequential(nn.Linear(64, 64), nn.ReLU()))
    packed = compress_module(copy.deepcopy(dense), beam=1)
    x = torch.randn(3, 64)
    assert torch.equal(torch.compile(packed, backend="eager")(x), dense(x))
    assert torch.equal(torch.jit.trace(packed, x)(x), dense(x))


def test_loading_into_a_compressed_layer_keeps_its_options():
    torch.manual_seed(8)
    layer = CompressedLinear.from_dense(prune(nn.Linear(64, 64)), n_s=2, beam=1, seed=5)
    layer.load_state_dict(prune(nn.Linear(64, 64)).state_dict())
    assert (layer.encoded.n_s, layer.encoded.seed) == (2, 5)
    given = {"0.weight": f2f.compress(prune(nn.Linear(64, 64)).weight, n_s=1, beam=1, order="row")}
    net = compress_module(nn.Sequential(nn.Linear(64, 64)), given, seed=3)
    net.load_state_dict(nn.Sequential(prune(nn.Linear(64, 64))).state_dict())
    assert (net[0].encoded.n_s, net[0].encoded.order, net[0].encoded.seed) == (1, "row", 3)


def test_a_second_call_prepares_nothing_again(monkeypatch):
    torch.manual_seed(9)
    weight = (prune(nn.Linear(64, 96)).weight.detach() * 100).round().to(torch.int8)
    tensor = compress_state_dict({"w": weight}, beam=1)["w"]
    made = []
    real = operands.Operands
    monkeypatch.setattr(operands, "Operands", lambda *a, **k: made.append(1) or real(*a, **k))
    for _ in range(3):
        assert torch.equal(f2f.decompress(tensor), weight)
    assert len(made) == 1


def test_layers_of_a_thread_share_memory_but_for_gradients(monkeypatch):
    """Two layers by turns: no result and no gradient is of the other's weight."""
    monkeypatch.setattr(nn_module, "MAPPED", 0)
    lent = []
    monkeypatch.setattr(nn_module, "expand", lambda *a, **k: lent.append(k) or expand(*a, **k))
    dense = [prune(nn.Linear(200, 200)) for _ in range(2)]
    packed = [CompressedLinear.from_dense(layer, beam=1) for layer in dense]
    x = torch.randn(3, 200)
    for grad, wanted in ((False, False), (True, False), (True, True)):
        found = []
        for layers in (dense, packed):
            for layer in layers:
                layer.bias.grad = None
            with torch.set_grad_enabled(grad):
                given = x.clone().requires_grad_(wanted)
                y = layers[1](layers[0](given))
                if grad:
                    y.sum().backward()
            found.append([y, given.grad, *(layer.bias.grad for layer in layers)])
        for a, b in zip(*found, strict=True):
            assert (a is None and b is None) or torch.equal(a, b)
    kept = packed[0].weight
    packed[1](x)
    assert torch.equal(kept, dense[0].weight)
    # Without gradients both layers, with one of the bias the first alone, twice without a weight's.
    assert len(lent) == 2 + 1 + 0 + 1
