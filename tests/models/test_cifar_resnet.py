import pytest
import timm
import torch
import torch.nn.functional as F
from timm.models.resnetv2 import ResNetV2
from torch import nn

from vitbench.measure.size import count_matmul_conv, count_params
from vitbench.models import cifar_resnet

PARAMS = {"resnet56": 853_018, "resnet110": 1_727_962, "resnet1001_v2": 10_327_706}  # with 10 classes
PRINTED = {"resnet56": "0.85", "resnet110": "1.73", "resnet1001_v2": "10.33"}  # Tan 2024, Table 3, in millions
BLOCKS = {"resnet56": 9, "resnet110": 18, "resnet1001_v2": 111}


def basic_by_hand(blocks):
    """Parameters and MACs of what stands before the classifier: blocks of two 3x3, shortcuts without parameters."""
    params, macs = 27 * 16 + 32, 27 * 16 * 32**2
    before = 16
    for width, side in ((16, 32), (32, 16), (64, 8)):
        weights = 9 * before * width + (2 * blocks - 1) * 9 * width**2
        params, macs, before = params + weights + 2 * blocks * 2 * width, macs + weights * side**2, width
    return params, macs


def bottlenecks_by_hand(blocks):
    """The same of pre-activated bottlenecks, whose 3x3 halves the map."""
    params, macs = 27 * 16, 27 * 16 * 32**2
    before, came = 16, 32
    for width, side in ((64, 32), (128, 16), (256, 8)):
        inner = width // 4
        entry, three, out, shortcut = before * inner, 9 * inner**2, inner * width, before * width
        params += entry + three + out + shortcut + 2 * (before + 2 * inner)
        macs += entry * came**2 + (three + out + shortcut) * side**2
        rest = width * inner + three + out
        params += (blocks - 1) * (rest + 2 * (width + 2 * inner))
        macs += (blocks - 1) * rest * side**2
        before, came = width, side
    return params + 2 * 256, macs


@pytest.mark.parametrize("variant", PARAMS)
def test_parameters_and_macs_are_those_counted_by_hand_and_the_printed_ones(variant):
    by_hand = bottlenecks_by_hand if variant.endswith("v2") else basic_by_hand
    params, macs = by_hand(BLOCKS[variant])
    width = 256 if variant.endswith("v2") else 64
    with torch.device("meta"):
        model = cifar_resnet.build(classes=10, variant=variant)
    assert count_params(model) == params + 10 * width + 10 == PARAMS[variant]
    assert f"{PARAMS[variant] / 1e6:.2f}" == PRINTED[variant]
    if variant == "resnet56":  # the others take seconds, and differ in the number of blocks
        counted = count_matmul_conv(lambda: cifar_resnet.build(classes=10, variant=variant), image_size=32)
        assert counted == macs + 10 * width == 125_485_696


def test_a_bottleneck_network_has_the_macs_counted_by_hand():
    def build():
        return cifar_resnet.CifarResNet(widths=(64, 128, 256), blocks=3, bottlenecks=True)

    assert count_matmul_conv(build, image_size=32) == bottlenecks_by_hand(3)[1] + 2560
    assert bottlenecks_by_hand(111)[1] + 2560 == 1_490_995_712  # ResNet-1001's, 1.49 G


@pytest.mark.parametrize("variant", PARAMS)
def test_every_network_runs_at_full_size_on_32_pixels(variant):
    torch.manual_seed(0)
    model = cifar_resnet.build(classes=10, variant=variant).train()  # without statistics, 333 sums overflow
    with torch.no_grad():
        out = model(torch.rand(2, 3, 32, 32))
    assert out.grids[-1].shape == (2, model.network.num_features, 8, 8)
    assert out.logits.isfinite().all()
    assert (
        sum(isinstance(one, nn.Conv2d) and one.kernel_size == (3, 3) for one in model.modules())
        == {
            "resnet56": 55,
            "resnet110": 109,
            "resnet1001_v2": 334,
        }[variant]
    )


def test_the_shortcut_keeps_every_second_pixel_and_adds_channels_of_zeros():
    x = torch.arange(32.0).view(1, 2, 4, 4)
    expected = torch.zeros(1, 5, 2, 2)
    expected[0, 0] = torch.tensor([[0.0, 2.0], [8.0, 10.0]])
    expected[0, 1] = torch.tensor([[16.0, 18.0], [24.0, 26.0]])
    assert torch.equal(cifar_resnet.Subsample(stride=2, more=3)(x), expected)


def test_only_the_first_block_of_a_stage_that_changes_the_map_has_such_a_shortcut():
    stages = cifar_resnet.build(classes=10, variant="resnet56").network.stages
    shortcuts = [[block.downsample for block in stage] for stage in stages]
    assert [sum(one is not None for one in stage) for stage in shortcuts] == [0, 1, 1]
    assert [(stage[0].stride, stage[0].more) for stage in shortcuts[1:]] == [(2, 16), (2, 32)]
    assert not any(True for stage in shortcuts[1:] for _ in stage[0].parameters())


def test_a_block_is_two_convolutions_with_norms_and_the_shortcut_in_front_of_the_last_relu():
    torch.manual_seed(0)
    block = cifar_resnet.CifarResNet(widths=(16, 32), blocks=1).stages[1][0].eval()
    for norm in (block.bn1, block.bn2):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    x = torch.randn(2, 16, 8, 8)
    with torch.no_grad():
        y = F.conv2d(x, block.conv1.weight, stride=2, padding=1)
        y = ((y - block.bn1.running_mean.view(-1, 1, 1)) / (block.bn1.running_var + 1e-5).sqrt().view(-1, 1, 1)).relu()
        y = F.conv2d(y, block.conv2.weight, padding=1)
        y = (y - block.bn2.running_mean.view(-1, 1, 1)) / (block.bn2.running_var + 1e-5).sqrt().view(-1, 1, 1)
        shortcut = torch.cat([x[:, :, ::2, ::2], torch.zeros(2, 16, 4, 4)], dim=1)
        torch.testing.assert_close(block(x), (y + shortcut).relu(), rtol=1e-4, atol=1e-5)


def test_with_its_stem_taken_away_the_second_kind_is_the_pre_activated_network_of_timm():
    torch.manual_seed(0)
    ours = cifar_resnet.CifarResNet(widths=(64, 128, 256), blocks=2, bottlenecks=True, num_classes=7).eval()
    theirs = ResNetV2(
        layers=(2, 2, 2),
        channels=(64, 128, 256),
        num_classes=7,
        stem_chs=16,
        stem_type="fixed",
        act_layer=nn.ReLU,
        norm_layer=timm.layers.BatchNormAct2d,
        conv_layer=timm.layers.create_conv2d,
    ).eval()
    theirs.stem = nn.Sequential(ours.stem)
    state = {key.replace("stages.", "", 1): one for key, one in ours.stages.state_dict(prefix="stages.").items()}
    theirs.stages.load_state_dict(
        {key.replace(".", ".blocks.", 1): one for key, one in state.items()}, strict=True
    )  # ours are lists of blocks, theirs have a name for the list
    theirs.norm.load_state_dict(ours.norm.state_dict())
    theirs.head.fc.load_state_dict(
        {"weight": ours.fc.weight[:, :, None, None], "bias": ours.fc.bias}
    )  # a convolution of 1x1
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-4)


def test_convolutions_start_from_hes_normal_by_fan_out():
    torch.manual_seed(0)
    network = cifar_resnet.build(classes=10, variant="resnet56").network
    assert network.stages[2][3].conv1.weight.std().item() == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.02)
    assert all(block.bn2.weight.eq(1).all() for block in network.stages[1])  # no block starts as its shortcut


@pytest.mark.parametrize("variant", ["tiny", "tiny_v2"])
def test_the_grid_is_what_the_classifier_averages(variant):
    model = cifar_resnet.build(classes=10, variant=variant).eval()
    out = model(torch.rand(2, 3, 32, 32))
    torch.testing.assert_close(out.embedding, out.grids[0].mean(dim=(2, 3)))


def test_the_pixels_are_normalised_as_cifar_10s():
    normalize = cifar_resnet.build(classes=10, variant="resnet56").normalize
    torch.testing.assert_close(normalize.mean.flatten(), torch.tensor([0.4914, 0.4822, 0.4465]))
    torch.testing.assert_close(normalize.std.flatten(), torch.tensor([0.2470, 0.2435, 0.2616]))
