"""`open_model` and `open_models`: what is asked, and what is there."""

import pytest
from dlmc_masks import put_dlmc

from f2f_study import sources


def test_bad_arguments_are_named(tmp_path):
    with pytest.raises(ValueError, match="source must be one of"):
        sources.open_model("zoo", "resnet", "l0", 0.9)
    with pytest.raises(ValueError, match="method must be one of"):
        sources.open_model("standin", "resnet", "lottery", 0.9)
    with pytest.raises(ValueError, match="network must be one of"):
        sources.open_model("standin", "vgg", "l0", 0.9)
    with pytest.raises(ValueError, match="sparsity must be at least 0"):
        sources.open_model("standin", "resnet", "l0", 1.0)
    with pytest.raises(sources.ModelUnavailable, match="path must be a file"):
        sources.open_model("file", "resnet", "magnitude", 0.9, path=str(tmp_path / "no.npz"))


def test_one_layer_in_so_many_is_kept():
    whole = sources.open_model("standin", "resnet", "l0", 0.9)
    (third,) = sources.open_models("standin", "resnet", ["l0"], [0.9], every=3)
    assert list(third.layers) == list(whole.layers)[::3] != list(whole.layers)
    with pytest.raises(ValueError, match="every must be an integer >= 1, got 0"):
        sources.open_model("standin", "resnet", "l0", 0.9, every=0)


def test_several_models_skip_what_is_not_there(data):
    put_dlmc(data)
    found = sources.open_models("dlmc", "resnet", ["random", "magnitude"], [0.7, 0.9])
    assert [(m.method, m.sparsity) for m in found] == [("magnitude", 0.9)]
    with pytest.raises(sources.ModelUnavailable):
        sources.open_models("dlmc", "resnet", ["random"], [0.7])


@pytest.mark.parametrize(
    ("methods", "sparsities", "message"),
    [
        ("l0", [0.9], "methods must be a list of one or more, got 'l0'"),
        (["l0"], 0.9, "sparsities must be a list of one or more, got 0.9"),
        ([], [0.9], "methods must be a list of one or more, got"),
        (["l0", "lottery"], [0.9], "methods must be one of random, magnitude, l0"),
    ],
)
def test_lists_of_models_are_checked(methods, sparsities, message):
    with pytest.raises(ValueError, match=message):
        sources.open_models("standin", "resnet", methods, sparsities)
