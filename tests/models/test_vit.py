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


@pytest.mark.parametrize(("variant", "spread"), [("floros2024", 0.02), ("tiny", 0.2), ("mini_224", 0.2)])
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


def test_the_smallest_network_for_photographs_has_the_sizes_counted_by_hand():
    with torch.device("meta"):
        model = vit.build(classes=10, variant="mini_224").eval()
    images = torch.empty(1, 3, 224, 224, device="meta")
    assert model(images).grids[0].shape == (1, 48, 7, 7)
    d, mlp, pixels = 48, 96, 32 * 32 * 3
    block = 2 * 2 * d + (d * 3 * d + 3 * d) + (d * d + d) + (d * mlp + mlp) + (mlp * d + d)
    assert trainable(model) == (pixels * d + d) + d + 50 * d + 2 * block + 2 * d + (d * 10 + 10)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(images)
    expected = 49 * pixels * d + 2 * (50 * (4 * d**2 + 2 * d * mlp) + 2 * 50**2 * d) + 10 * d
    assert counter.get_total_flops() // 2 == expected


def keep(batch, count, cells=16):
    return torch.rand(batch, cells, generator=torch.Generator().manual_seed(0)).argsort(1)[:, :count]


def stirred():
    torch.manual_seed(0)
    model = vit.build(classes=10, variant="tiny").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def test_patches_are_rows_of_rows_of_colours_in_the_range_that_the_network_gets():
    model, images = vit.build(classes=10, variant="tiny"), torch.rand(2, 3, 32, 32)
    patches = model.patches(images)
    assert patches.shape == (2, 16, model.patch_size**2 * 3)
    piece = images[1, :, 8:16, 24:32]  # second row, last column
    torch.testing.assert_close(patches[1, 7], (2 * piece - 1).permute(1, 2, 0).flatten())


def test_with_all_patches_kept_it_encodes_what_the_network_computes_in_the_order_asked_for():
    model, images, kept = stirred(), torch.rand(3, 3, 32, 32), keep(3, 16)
    with torch.no_grad():
        tokens = model.network.forward_features(2 * images - 1)  # class token first
        encoded = model.encode(images, kept)
    assert encoded.shape == (3, 16 + model.extra_tokens, model.width)
    expected = torch.stack([one[1:][order] for one, order in zip(tokens, kept, strict=True)])
    torch.testing.assert_close(encoded[:, :-1], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(encoded[:, -1], tokens[:, 0], rtol=1e-4, atol=1e-5)


def test_what_lies_under_the_mask_has_no_influence():
    model, images, kept = stirred(), torch.rand(3, 3, 32, 32), keep(3, 4)
    visible = torch.zeros(3, 16, dtype=torch.bool).scatter_(1, kept, True).view(3, 1, 4, 4)
    visible = visible.repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)  # (B, 1, H, W)
    other = torch.where(visible, images, torch.full_like(images, torch.nan))
    assert torch.equal(model.encode(images, kept), model.encode(other, kept))
    assert not torch.equal(model.encode(images, kept), model.encode(torch.where(visible, 1 - images, images), kept))
