import pytest
import timm
import torch
import torchvision

from vitbench.models import swin


def trainable(model):
    return sum(one.numel() for one in model.parameters() if one.requires_grad)


@pytest.mark.parametrize(("classes", "expected"), [(10, 27_527_044), (100, 27_596_254), (1000, 28_288_354)])
def test_swin_t_has_the_parameters_counted_by_hand(classes, expected):
    total = (48 * 96 + 96) + 2 * 96  # patches of 4 x 4, and their norm
    for stage, (depth, heads) in enumerate(zip((2, 2, 6, 2), (3, 6, 12, 24), strict=True)):
        d = 96 * 2**stage
        block = 2 * 2 * d + (d * 3 * d + 3 * d) + 13**2 * heads + (d * d + d) + (d * 4 * d + 4 * d) + (4 * d * d + d)
        merging = (2 * (2 * d) + 2 * d * d) * (stage > 0)  # four cells half as wide: their norm, and no bias
        total += depth * block + merging
    total += 2 * 768 + (768 * classes + classes)
    with torch.device("meta"):
        model = swin.build(classes=classes)
    assert trainable(model) == total == expected


def stirred(model):
    """Every norm, bias and position away from where it starts."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for one in model.parameters():
            one.add_(0.02 * torch.randn(one.shape, generator=generator))
    return model.eval()


@pytest.fixture(scope="module")
def swin_t():
    torch.manual_seed(0)
    return stirred(swin.build(classes=7))


@pytest.fixture(scope="module")
def photographs():
    return torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def normalised(photographs):
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (photographs - mean.view(3, 1, 1)) / std.view(3, 1, 1)


def torchvision_name(key):
    """Of a parameter of timm's Swin: there a stage stands at 1, 3, 5, 7 of `features`, the merging before it."""
    names = {"patch_embed.proj": "features.0.0", "patch_embed.norm": "features.0.2", "head.fc": "head"}
    for old, new in names.items():
        key = key.replace(old, new)
    if not key.startswith("layers."):
        return key
    _, stage, part, rest = key.split(".", 3)
    if part == "downsample":
        return f"features.{2 * int(stage)}.{rest}"
    return f"features.{2 * int(stage) + 1}.{rest}".replace("mlp.fc1", "mlp.0").replace("mlp.fc2", "mlp.3")


def test_with_the_same_weights_it_is_the_swin_t_of_torchvision_and_the_grid_its_map_before_the_norm(
    swin_t, photographs, normalised
):
    theirs = torchvision.models.swin_t(num_classes=7).eval()
    state = {torchvision_name(key): one for key, one in swin_t.network.state_dict().items()}
    lacking = theirs.load_state_dict(state, strict=False)
    assert not lacking.unexpected_keys
    assert all("relative_position_index" in key for key in lacking.missing_keys)  # fixed, not learnt
    with torch.no_grad():
        out, features, logits = swin_t(photographs), theirs.features(normalised), theirs(normalised)
    torch.testing.assert_close(out.logits, logits, rtol=1e-4, atol=1e-4)
    assert out.grids[0].shape == (1, 768, 7, 7)
    torch.testing.assert_close(out.grids[0], features.permute(0, 3, 1, 2), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(out.embedding, theirs.norm(features).mean(dim=(1, 2)), rtol=1e-4, atol=1e-4)


def test_it_takes_the_weights_of_timms_network_and_gives_its_logits(swin_t, photographs, normalised):
    theirs = timm.create_model("swin_tiny_patch4_window7_224", num_classes=7).eval()
    theirs.load_state_dict(swin_t.network.state_dict(), strict=True)
    with torch.no_grad():
        torch.testing.assert_close(swin_t(photographs).logits, theirs(normalised))


def test_the_chance_to_skip_a_block_rises_evenly_from_0_to_a_fifth():
    with torch.device("meta"):
        model = swin.build(classes=10)
    blocks = [block for stage in model.network.layers for block in stage.blocks]
    for path in ("drop_path1", "drop_path2"):
        chances = [getattr(getattr(block, path), "drop_prob", 0.0) for block in blocks]
        assert chances == pytest.approx([0.2 * i / 11 for i in range(12)])


def test_the_backbone_runs_once():
    model, calls = swin.build(classes=10, variant="tiny"), []
    model.network.layers.register_forward_hook(lambda *_: calls.append("layers"))
    model.network.norm.register_forward_hook(lambda *_: calls.append("norm"))
    model(torch.rand(2, 3, 32, 32))
    assert calls == ["layers", "norm"]


def test_the_last_norm_stands_between_the_grid_and_what_the_classifier_reads():
    torch.manual_seed(0)
    model = stirred(swin.build(classes=10, variant="tiny"))
    out = model(torch.rand(2, 3, 32, 32))
    normed = model.network.norm(out.grids[0].permute(0, 2, 3, 1))
    torch.testing.assert_close(out.embedding, normed.mean(dim=(1, 2)))
    assert not torch.allclose(out.embedding, out.grids[0].mean(dim=(2, 3)), atol=0.01)
    torch.testing.assert_close(out.logits, model.network.head.fc(out.embedding))


@pytest.mark.parametrize(("variant", "spread"), [("swin_tiny", 0.02), ("tiny", 4.0)])
def test_the_positions_start_at_the_spread_of_the_variant(variant, spread):
    torch.manual_seed(0)
    network = swin.build(classes=10, variant=variant).network
    tables = [one for name, one in network.named_parameters() if "relative_position_bias_table" in name]
    assert torch.cat([one.flatten() for one in tables]).std().item() == pytest.approx(spread, rel=0.1)


def test_another_image_size_gives_another_grid():
    model = swin.build(classes=10, image_size=64, variant="tiny")
    assert model(torch.rand(2, 3, 64, 64)).grids[0].shape == (2, 32, 8, 8)
