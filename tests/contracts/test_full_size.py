"""The networks of liu2021 at 224 pixels: their exact sizes, the grids that they hand on, and one real step of each."""

import pytest
import torch

from vitbench import build
from vitbench.adapter import shape_of
from vitbench.case import Budget
from vitbench.contracts import Step
from vitbench.identity import Identity
from vitbench.leaves import find
from vitbench.measure.size import count_matmul_conv, count_params
from vitbench.objective import parse

# Trainable parameters by classes; those with 1000 are the published networks'.
PARAMS = {
    "swin/swin_tiny": {10: 27_527_044, 100: 27_596_254, 1000: 28_288_354},
    "t2t/t2t_vit_14": {10: 21_084_656, 100: 21_119_306, 1000: 21_465_806},
    "cvt/cvt_13": {10: 19_555_146, 100: 19_589_796, 1000: 19_936_296},
    "timm/resnet50": {10: 23_528_522, 100: 23_712_932, 1000: 25_557_032},
}
# In 10^9: as the networks' own papers print them, and one figure more than any prints.
MACS = {"swin/swin_tiny": 4.5, "t2t/t2t_vit_14": 4.8, "cvt/cvt_13": 4.5, "timm/resnet50": 4.1}
EXACT = {"swin/swin_tiny": 4.491, "t2t/t2t_vit_14": 4.783, "cvt/cvt_13": 4.544, "timm/resnet50": 4.089}
GRIDS = {
    "swin/swin_tiny": (768, 7, 7),
    "t2t/t2t_vit_14": (384, 14, 14),
    "cvt/cvt_13": (384, 14, 14),
    "timm/resnet50": (2048, 7, 7),
}
FIRST = {
    "swin/swin_tiny": "network.patch_embed.proj.weight",
    "t2t/t2t_vit_14": "network.patch_embed.transformers.0.qkv.weight",
    "cvt/cvt_13": "network.stages.0.0.conv.weight",
    "timm/resnet50": "network.conv1.weight",
}
every_network = pytest.mark.parametrize("reference", PARAMS)


def make(reference, classes):
    name, _, variant = reference.partition("/")
    return find("models", name).load()(classes=classes, image_size=224, variant=variant)


def on_meta(reference, classes):
    with torch.device("meta"):
        return make(reference, classes)


@pytest.mark.parametrize("classes", [10, 100, 1000])
@every_network
def test_the_parameters_are_those_of_the_network_that_is_meant(reference, classes):
    assert count_params(on_meta(reference, classes)) == PARAMS[reference][classes]


@every_network
def test_the_macs_are_those_that_its_authors_print(reference):
    macs = count_matmul_conv(lambda: make(reference, 1000), image_size=224) / 1e9
    assert round(macs, 3) == EXACT[reference]
    assert round(macs, 1) == MACS[reference]


@every_network
def test_the_grid_that_a_term_reads_has_the_cells_and_channels_that_the_paper_says(reference):
    # Section 3: 7 x 7 for Swin, 14 x 14 for T2T and CvT, which are pooled for the loss alone.
    shape = shape_of(on_meta(reference, 10), image_size=224)
    assert (shape.channels, shape.height, shape.width) == GRIDS[reference]
    assert (shape.embedding, shape.classes) == (shape.channels, 10)


@every_network
def test_one_step_with_localisation_moves_backbone_head_and_mlp(reference):
    identity = Identity(
        model=reference,
        objective=parse("ce + 0.5*drloc(pairs=64, sharing='image', hidden=512)"),
        dataset="cifar10",
        data="",
        classes=10,
        image_size=224,
        budget=Budget.PAPER,
        versions={},
    )
    network = build.model_of(identity).train()
    torch.testing.assert_close(network.normalize.mean.flatten(), torch.tensor([0.485, 0.456, 0.406]))  # of ImageNet
    torch.testing.assert_close(network.normalize.std.flatten(), torch.tensor([0.229, 0.224, 0.225]))
    total = build.total_of(identity, network)
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.rand(2, 3, 224, 224, generator=generator), torch.tensor([3, 8])
    step = Step(images=images, labels=labels, model=network, forward=network, generator=generator)
    (pull,) = torch.autograd.grad(total.terms[1](step), step.out.grids, retain_graph=True)
    assert pull.abs().sum() > 0  # the localisation's own, on the map that it reads

    first, head = network.get_parameter(FIRST[reference]), network.network.get_classifier().weight
    weights = {"first": first, "head": head, **dict(total.named_parameters())}
    before = {name: one.detach().clone() for name, one in weights.items()}
    optimizer = torch.optim.AdamW([*network.parameters(), *total.parameters()], lr=1e-3, weight_decay=0.05)
    loss, raw = total(step)
    loss.backward()
    assert loss.isfinite()
    assert loss.item() == pytest.approx(raw[0].item() + 0.5 * raw[1].item(), rel=1e-5)
    assert [name for name, one in weights.items() if not one.grad.abs().sum() > 0] == []
    optimizer.step()
    # By less than Adam's first step of a learning rate, and than twice that with the decay of weights below 20.
    moves = {name: (one - before[name]).abs().max().item() for name, one in weights.items()}
    assert all(0 < move < 2e-3 for move in moves.values()), moves
    assert all(one.isfinite().all() for one in network.parameters())
