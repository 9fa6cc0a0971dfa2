"""Passes on the `meta` device: shapes that are right, and nothing that is worked out for them."""

import pytest
import timm
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from vitbench.meta import ShapesAlone, Undrawn

PRODUCTS = {"convolution", "addmm", "mm", "bmm"}


def operators_of(run):
    """Names of the operators that are dispatched."""
    names = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            names.append(func._overloadpacket.__name__)
            return func(*args, **(kwargs or {}))

    with Watch():
        return run(), names


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext"])
def test_norms_and_gelu_keep_their_shape_and_are_not_worked_out_where_only_shapes_are_asked_for(name, training):
    size = {"img_size": 64} if name == "test_vit" else {}
    network = timm.create_model(name, **size).to("meta").train(training)
    images = torch.zeros(2, 3, 64, 64, device="meta")
    expected, before = operators_of(lambda: network(images))
    with ShapesAlone():
        found, after = operators_of(lambda: network(images))
    assert (found.shape, found.dtype, found.device) == (expected.shape, expected.dtype, expected.device)
    skipped = {"native_batch_norm", "native_layer_norm", "gelu"}
    assert skipped & {*before}
    assert not skipped & {*after}
    assert [one for one in before if one in PRODUCTS] == [one for one in after if one in PRODUCTS]
    assert {*after} & PRODUCTS


def test_starting_values_from_a_cut_off_normal_are_not_drawn_where_only_shapes_are_asked_for():
    with torch.device("meta"):
        network, before = operators_of(lambda: timm.create_model("test_vit"))
        with Undrawn():
            bare, after = operators_of(lambda: timm.create_model("test_vit"))
    assert {"erfinv_", "clamp_"} <= {*before}
    assert not {"erfinv_", "clamp_"} & {*after}
    assert {name: one.shape for name, one in bare.state_dict().items()} == {
        name: one.shape for name, one in network.state_dict().items()
    }


def test_where_only_shapes_are_asked_for_values_beside_meta_are_worked_out_and_names_of_arguments_do():
    images = torch.zeros(2, 8, device="meta")
    with ShapesAlone():
        three = torch.ones(1).mul_(3)
        assert torch.nn.functional.gelu(input=images).shape == images.shape
        assert torch.nn.functional.layer_norm(input=images, normalized_shape=[8]).shape == images.shape
        assert torch.nn.functional.layer_norm(torch.ones(2, 8), [8]).abs().max() == 0
    with Undrawn():
        three.mul_(3)
    assert three.item() == 9
