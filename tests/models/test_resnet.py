import pytest
import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from vitbench.models import resnet


def trainable(model):
    return sum(one.numel() for one in model.parameters() if one.requires_grad)


def macs(model, images):
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.eval()(images)
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("classes", [10, 100])
def test_the_thesis_network_has_the_parameters_counted_by_hand(classes):
    model = resnet.build(classes=classes)
    widths, blocks, before = (64, 128, 256, 312), (3, 4, 6, 4), 64
    total = 27 * 64 + 2 * 64  # stem and its norm
    for width, count in zip(widths, blocks, strict=True):
        total += 9 * before * width + (2 * count - 1) * 9 * width**2 + 2 * count * 2 * width
        total += (before * width + 2 * width) * (before != width)  # projection and its norm
        before = width
    assert trainable(model) == total + 312 * classes + classes == {10: 15_102_762, 100: 15_130_932}[classes]


def test_the_thesis_network_has_the_macs_counted_by_hand():
    with torch.device("meta"):
        model = resnet.build(classes=10)
    cells = {64: 32**2, 128: 16**2, 256: 8**2, 312: 8**2}
    blocks, before, total = (3, 4, 6, 4), 64, 27 * 64 * 32**2 + 3120
    for (width, area), count in zip(cells.items(), blocks, strict=True):
        total += area * (9 * before * width + (2 * count - 1) * 9 * width**2 + before * width * (before != width))
        before = width
    assert macs(model, torch.empty(1, 3, 32, 32, device="meta")) == total == 1_393_294_384


def test_with_its_widths_and_strides_it_is_the_resnet18_of_timm_behind_another_stem():
    torch.manual_seed(0)
    ours = resnet.ResNet(stem=1, widths=(64, 128, 256, 512), blocks=(2, 2, 2, 2), strides=(1, 2, 2, 2)).eval()
    theirs = timm.create_model("resnet18", num_classes=10).eval()
    theirs.conv1, theirs.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    names = {"stem.0.": "conv1.", "stem.1.": "bn1.", **{f"stages.{i}.": f"layer{i + 1}." for i in range(4)}}
    state = ours.state_dict()
    for old, new in names.items():
        state = {key.replace(old, new, 1) if key.startswith(old) else key: one for key, one in state.items()}
    theirs.load_state_dict(state, strict=True)
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(ours(images), theirs(images))


def test_every_block_starts_as_its_shortcut_and_convolutions_as_in_timm():
    torch.manual_seed(0)
    model = resnet.build(classes=10).network
    blocks = [block for stage in model.stages for block in stage]
    assert all(block.bn2.weight.abs().sum() == 0 for block in blocks)
    expected = (2 / (9 * 312)) ** 0.5  # He's normal by fan-out
    assert blocks[-1].conv1.weight.std().item() == pytest.approx(expected, rel=0.01)


def test_the_grid_is_what_the_classifier_averages():
    model = resnet.build(classes=10, variant="tiny").eval()
    out = model(torch.rand(2, 3, 32, 32))
    torch.testing.assert_close(out.embedding, out.grids[0].mean(dim=(2, 3)))
