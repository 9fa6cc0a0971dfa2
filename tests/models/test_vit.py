import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from vitbench.models import vit


def trainable(model):
    return sum(one.numel() for one in model.parameters() if one.requires_grad)


@pytest.mark.parametrize(("classes", "expected"), [(10, 15_278_026), (100, 15_306_196)])
def test_the_thesis_network_has_the_parameters_counted_by_hand(classes, expected):
    d, mlp = 312, 4 * 312
    block = 2 * 2 * d + (d * 3 * d + 3 * d) + (d * d + d) + (d * mlp + mlp) + (mlp * d + d)
    total = (48 * d + d) + d + 65 * d + 13 * block + 2 * d + (d * classes + classes)
    assert trainable(vit.build(classes=classes)) == total == expected


def test_the_thesis_network_has_the_macs_counted_by_hand():
    with torch.device("meta"):
        model = vit.build(classes=10).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 3, 32, 32, device="meta"))
    n, d = 65, 312
    total = 64 * 48 * d + 13 * (12 * n * d**2 + 2 * n**2 * d) + 10 * d
    assert counter.get_total_flops() // 2 == total == 1_022_302_944


@pytest.mark.parametrize(("variant", "spread"), [("floros2024", 0.02), ("tiny", 0.2)])
def test_the_positions_start_at_the_spread_of_the_variant(variant, spread):
    torch.manual_seed(0)
    positions = vit.build(classes=10, variant=variant).network.pos_embed
    assert positions.std().item() == pytest.approx(spread, rel=0.1)


def test_the_class_token_is_read_by_the_classifier_and_is_no_cell():
    model = vit.build(classes=10, variant="tiny").eval()
    images = torch.rand(2, 3, 32, 32)
    out, tokens = model(images), model.network.forward_features(2 * images - 1)
    assert torch.equal(out.embedding, tokens[:, 0])
    assert torch.equal(out.grids[0].flatten(2).transpose(1, 2), tokens[:, 1:])


def test_another_image_size_gives_another_grid():
    model = vit.build(classes=10, image_size=64, variant="tiny")
    assert model(torch.rand(2, 3, 64, 64)).grids[0].shape == (2, 48, 8, 8)
