import importlib
import warnings
from dataclasses import replace

import pytest
import timm
import torch
from timm.models.resnet import BasicBlock, ResNet
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from vitbench.adapter import Adapter, cut, full_precision, pick, register, shape_of, takes
from vitbench.contracts import Normalize, Output, Shape
from vitbench.errors import UserError
from vitbench.models import t2t, vit  # noqa: F401 - both register their variants


def tokens(**options):
    sizes = {"img_size": (32, 64), "patch_size": 16, "embed_dim": 24, "depth": 1, "num_heads": 2, "num_classes": 5}
    return VisionTransformer(**{**sizes, **options})


def channels_last(**options):
    sizes = {"embed_dim": 8, "depths": (1, 1), "num_heads": (1, 2), "window_size": 2, "num_classes": 5}
    return SwinTransformer(**{"img_size": (32, 64), "patch_size": 8, **sizes, **options})


def channels_first(**options):
    return ResNet(BasicBlock, (1, 1, 1, 1), channels=(4, 8, 8, 12), num_classes=5, **options)


NETWORKS = {
    "tokens": tokens,
    "tokens-with-registers": lambda: tokens(reg_tokens=4),
    "tokens-without-class-token": lambda: tokens(class_token=False, global_pool="avg"),
    "NHWC": channels_last,
    "NCHW": channels_first,
    "norm-and-mlp-head": lambda: timm.create_model("test_convnext", num_classes=5),
    "batch-norm-in-the-head": lambda: timm.create_model("shvit_s1", num_classes=5),
    "two-classifiers": lambda: timm.create_model("deit_tiny_distilled_patch16_224", num_classes=5, img_size=(32, 64)),
    "convolution-as-classifier": lambda: timm.create_model("resnetv2_50", num_classes=5, layers=(1, 1, 1, 1)),
}


@pytest.fixture(params=NETWORKS)
def network(request):
    torch.manual_seed(0)
    network = NETWORKS[request.param]().eval()
    with torch.no_grad():  # so that no norm, no head and no class token is neutral
        for one in (*network.parameters(), *(one for key, one in network.named_buffers() if "running" in key)):
            one.add_(0.1 * torch.rand_like(one))
    return network


@pytest.fixture
def images():
    return torch.rand(2, 3, 32, 64, generator=torch.Generator().manual_seed(0))


def test_the_logits_are_those_of_timm(network, images):
    out = Adapter(network).eval()(images)
    assert torch.equal(out.logits, network(2 * images - 1))


def test_the_embedding_is_what_timm_calls_pre_logits(network, images):
    out = Adapter(network).eval()(images)
    features = network.forward_features(2 * images - 1)
    assert torch.equal(out.embedding, network.forward_head(features, pre_logits=True))


@pytest.mark.parametrize("build", [tokens, lambda: tokens(reg_tokens=4)])
def test_cell_by_cell_a_token_grid_is_the_tokens_behind_the_prefix(build, images):
    network = build().eval()
    (grid,) = Adapter(network).eval()(images).grids
    features = network.forward_features(2 * images - 1)
    assert grid.shape == (2, 24, 2, 4)
    for row in range(2):
        for column in range(4):
            assert torch.equal(grid[:, :, row, column], features[:, network.num_prefix_tokens + 4 * row + column])


def test_cell_by_cell_a_channels_last_grid_is_the_map_of_timm(images):
    network = channels_last().eval()
    (grid,) = Adapter(network).eval()(images).grids
    features = network.forward_features(2 * images - 1)
    assert grid.shape == (2, 16, 2, 4)
    assert all(torch.equal(grid[:, :, i, j], features[:, i, j]) for i in range(2) for j in range(4))


def test_a_channels_first_grid_is_the_map_of_timm(images):
    network = channels_first().eval()
    (grid,) = Adapter(network).eval()(images).grids
    assert grid.shape == (2, 12, 1, 2)
    assert torch.equal(grid, network.forward_features(2 * images - 1))


@pytest.mark.parametrize(
    ("network", "height", "width"),
    [(channels_first(), 32 * 12, 32), (channels_last(img_size=(16 * 16, 16)), 16 * 16, 16)],
    ids=["NCHW", "NHWC"],
)
def test_a_map_that_is_as_high_as_it_is_deep_is_not_turned(network, height, width):
    depth = network.num_features
    images = torch.rand(1, 3, height, width)
    assert list(network.forward_features(images).shape[1:]).count(depth) == 2
    assert Adapter(network)(images).grids[0].shape == (1, depth, depth, 1)


def test_tokens_of_patches_that_are_not_square_follow_the_patch_embedding():
    network = Adapter(tokens(img_size=32, patch_size=(16, 4)))
    assert network(torch.rand(1, 3, 32, 32)).grids[0].shape == (1, 24, 2, 8)


def test_tokens_of_another_image_size_follow_its_aspect():
    network = Adapter(tokens(img_size=64, dynamic_img_size=True))  # 16 cells, 4 x 4
    assert network(torch.rand(1, 3, 128, 32)).grids[0].shape == (1, 24, 8, 2)  # 16 cells again


def test_pixels_are_normalised_inside(images):
    network = channels_first().eval()
    model = Adapter(network, normalize=Normalize(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))).eval()
    by_hand = torch.stack([(images[:, 0] - 0.1) / 0.4, (images[:, 1] - 0.2) / 0.5, (images[:, 2] - 0.3) / 0.6], dim=1)
    torch.testing.assert_close(model(images).logits, network(by_hand))


def test_the_backbone_runs_once(network, images):
    calls = []
    forward = network.forward_features
    network.forward_features = lambda x: calls.append(1) or forward(x)
    Adapter(network).eval()(images)
    assert calls == [1]


@pytest.mark.parametrize("build", [tokens, channels_last, channels_first])
def test_in_training_the_classifier_reads_the_embedding_with_its_dropout(build, images):
    model = Adapter(build(drop_rate=0.5)).train()
    out = model(images)
    assert (out.embedding == 0).float().mean() > 0.1
    torch.testing.assert_close(out.logits, model.network.get_classifier()(out.embedding))


class Bare(nn.Module):
    """The least that the adapter takes, with features of the caller's choice."""

    num_features = 6

    def __init__(self, features):
        super().__init__()
        self.features = features

    def forward_features(self, x):
        return self.features

    def forward_head(self, x, pre_logits=False):
        return torch.zeros(2, 6) if pre_logits else torch.ones(2, 5)


@pytest.mark.parametrize(
    ("features", "got"),
    [
        ([torch.zeros(2, 6, 4, 4)], "got list"),
        (torch.zeros(2, 6), r"got \(2, 6\)"),
        (torch.zeros(2, 7, 4, 4), r"got \(2, 7, 4, 4\)"),
        (torch.zeros(2, 15, 6), "cannot lay out 15 tokens of Bare as a grid for images of 32 x 64"),
    ],
)
def test_a_layout_that_cannot_be_told_is_refused_in_one_line(features, got, images):
    with pytest.raises(UserError, match=got) as caught:
        Adapter(Bare(features))(images)
    assert "\n" not in str(caught.value)


def test_class_tokens_that_are_not_counted_are_refused_and_not_taken_for_cells(images):
    network = Bare(torch.zeros(2, 8, 6))
    out = Adapter(network)(images)
    assert (out.logits.shape, out.grids[0].shape) == ((2, 5), (2, 6, 2, 4))
    network.cls_token = nn.Parameter(torch.zeros(1, 1, 6))
    with pytest.raises(UserError, match="num_prefix_tokens"):
        Adapter(network)(images)


def test_a_network_without_the_interface_is_refused_by_what_it_lacks():
    with pytest.raises(UserError, match="Linear is no timm-style network: it has no forward_features, forward_head"):
        Adapter(nn.Linear(3, 3))


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (tokens(img_size=64), Shape(channels=24, height=4, width=4, embedding=24, classes=5)),
        (channels_last(img_size=64), Shape(channels=16, height=4, width=4, embedding=16, classes=5)),
        (channels_first(), Shape(channels=12, height=2, width=2, embedding=12, classes=5)),
    ],
    ids=["tokens", "NHWC", "NCHW"],
)
def test_the_shape_is_that_of_the_output(network, shape):
    assert shape_of(Adapter(network), image_size=64) == shape


def test_the_shape_of_one_that_looks_at_some_of_its_patches_has_their_sizes_too():
    class Looking(Adapter):
        patch_size, extra_tokens, width = 16, 1, 24

        def patches(self, images):
            raise NotImplementedError

        def encode(self, images, kept):
            raise NotImplementedError

    plain, looking = (shape_of(kind(tokens(img_size=64)), image_size=64) for kind in (Adapter, Looking))
    assert (plain.patch_size, plain.extra_tokens, plain.token_width) == (0, 0, 0)
    assert looking == replace(plain, patch_size=16, extra_tokens=1, token_width=24)


def test_a_model_of_another_precision_has_the_same_shape():
    model = Adapter(tokens(img_size=64))
    assert shape_of(model.bfloat16(), image_size=64) == shape_of(model.float(), image_size=64)


def test_asking_for_the_shape_leaves_the_model_and_the_generator_as_they_are():
    model = Adapter(channels_first(drop_rate=0.5)).train()
    before = {key: one.clone() for key, one in model.state_dict(keep_vars=True).items()}
    drawn = torch.get_rng_state()
    shape_of(model, image_size=32)
    after = model.state_dict(keep_vars=True)
    assert model.training
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert all(isinstance(one, nn.Parameter) for key, one in after.items() if "fc" in key)
    assert torch.equal(drawn, torch.get_rng_state())


def test_timm_knows_every_variant_and_makes_the_network_of_the_leaf(images):
    assert {"vitbench_vit_floros2024", "vitbench_vit_tiny"} <= set(timm.list_models("vitbench_*"))
    torch.manual_seed(0)
    model = vit.build(classes=7, variant="tiny").eval()
    torch.manual_seed(0)
    network = timm.create_model("vitbench_vit_tiny", num_classes=7).eval()
    square = images[..., :32]
    assert torch.equal(network(2 * square - 1), model(square).logits)


def test_timm_is_told_the_pixel_range_and_the_image_size():
    network = timm.create_model("vitbench_vit_tiny")
    config = timm.data.resolve_model_data_config(network)
    assert (config["input_size"], config["mean"], config["std"]) == ((3, 32, 32), (0.5,) * 3, (0.5,) * 3)


def test_timm_is_told_what_each_variant_was_designed_for():
    small, large = (timm.get_pretrained_cfg(f"vitbench_t2t_{variant}") for variant in ("tiny", "t2t_vit_14"))
    assert (small.input_size, small.mean, small.std) == ((3, 32, 32), (0.5,) * 3, (0.5,) * 3)
    of_imagenet = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (large.input_size, large.mean, large.std) == ((3, 224, 224), *of_imagenet)
    assert small.fixed_input_size
    assert large.fixed_input_size
    with torch.device("meta"):
        network = timm.create_model("vitbench_t2t_t2t_vit_14", num_classes=7)
    assert network.patch_embed.grid_size == (14, 14)
    assert network(torch.empty(2, 3, 224, 224, device="meta")).shape == (2, 7)


def test_a_model_may_hand_on_another_map_than_its_head_reads(images):
    class Doubled(Adapter):
        def maps(self, pixels):
            features, last = super().maps(pixels)
            return features, 2 * last

    network = channels_last().eval()
    plain, doubled = (adapt(network).eval()(images) for adapt in (Adapter, Doubled))
    assert torch.equal(doubled.grids[0], 2 * plain.grids[0])
    assert torch.equal(doubled.logits, plain.logits)
    assert torch.equal(doubled.embedding, plain.embedding)


def test_timm_is_not_promised_weights_that_do_not_exist():
    assert not timm.list_models("vitbench_*", pretrained=True)
    with pytest.raises(RuntimeError, match="No pretrained weights exist"):
        timm.create_model("vitbench_vit_tiny", pretrained=True)


def test_importing_a_leaf_again_neither_warns_nor_registers_twice():
    before = timm.list_models("vitbench_*")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        importlib.reload(vit)
    assert timm.list_models("vitbench_*") == before
    assert set(vit.__all__) <= vars(vit).keys()


def test_a_name_that_timm_has_stays_as_it_is():
    kept = timm.model_entrypoint("vitbench_vit_tiny")
    register(vit._create, leaf="vit", variants=["tiny"], fixed_size=True)
    assert timm.model_entrypoint("vitbench_vit_tiny") is kept


def test_patches_are_cut_as_torch_unfolds_them_with_the_colours_last():
    images = torch.rand(2, 3, 8, 12)
    unfolded = nn.functional.unfold(images, 4, stride=4)  # (B, 3 * 4 * 4, 6), the colours first
    expected = unfolded.unflatten(1, (3, 16)).permute(0, 3, 2, 1).flatten(2)
    assert torch.equal(cut(images, 4), expected)
    with pytest.raises(UserError, match="cannot cut images of 8 x 12 into patches of 5 x 5"):
        cut(images, 5)


def test_picked_tokens_are_those_asked_for_in_that_order():
    tokens = torch.arange(12.0).view(2, 3, 2)
    found = pick(tokens, torch.tensor([[2, 0], [1, 1]]))
    assert found.tolist() == [[[4, 5], [0, 1]], [[8, 9], [8, 9]]]


# Other sizes than its own


@pytest.mark.parametrize(
    "options",
    [{}, {"reg_tokens": 4}, {"reg_tokens": 4, "no_embed_class": True}, {"class_token": False, "global_pool": "avg"}],
    ids=str,
)
@pytest.mark.parametrize("size", [(16, 32), (64, 128)])
def test_positions_for_another_size_are_those_that_timm_interpolates(options, size):
    network = tokens(patch_size=8, **options)
    theirs = tokens(patch_size=8, dynamic_img_size=True, **options)
    theirs.load_state_dict(network.state_dict())
    images = torch.rand(2, 3, *size)
    out, logits = Adapter(network)(images), theirs(2 * images - 1)
    torch.testing.assert_close(out.logits, logits)
    assert out.grids[0].shape == (2, 24, size[0] // 8, size[1] // 8)
    out.logits.square().sum().backward()
    logits.square().sum().backward()
    torch.testing.assert_close(network.pos_embed.grad, theirs.pos_embed.grad)


def test_at_its_own_size_a_network_that_could_stretch_has_the_bits_of_one_that_cannot():
    network, images = tokens(), torch.rand(2, 3, 32, 64)
    expected = network(2 * images - 1)
    assert network.patch_embed.strict_img_size
    out = Adapter(network)(images)
    assert not network.patch_embed.strict_img_size
    assert torch.equal(out.logits, expected)


def test_positions_are_moved_in_full_precision_under_autocast():
    model, images = Adapter(tokens()), torch.rand(2, 3, 16, 32)
    seen = []
    model.network.pos_drop.register_forward_hook(lambda module, given, out: seen.append(given[0]))
    torch.nn.init.zeros_(model.network.patch_embed.proj.weight)
    torch.nn.init.zeros_(model.network.patch_embed.proj.bias)
    model(images)
    with torch.autocast("cpu", torch.bfloat16):
        model(images)
    assert torch.equal(seen[0][:, 1:], seen[1][:, 1:].float())


def test_full_precision_is_one_within_autocast_and_nothing_on_meta():
    ones = torch.ones(2, 2)
    with torch.autocast("cpu", torch.bfloat16):
        assert (ones @ ones).dtype == torch.bfloat16
        with full_precision(ones.device):
            assert (ones @ ones).dtype == torch.float32
    with full_precision(torch.device("meta")):
        assert (ones.to("meta") @ ones.to("meta")).dtype == torch.float32


def test_images_of_another_aspect_are_refused():
    with pytest.raises(UserError, match="built for images of 32 x 64, got 32 x 32"):
        Adapter(tokens())(torch.rand(2, 3, 32, 32))


@pytest.mark.parametrize(
    ("model", "size", "expected"),
    [
        ("vit", 16, True),
        ("vit", 12, False),  # no whole patches of 8
        ("swin", 16, False),  # windows for one size
        ("resnet", 16, True),
    ],
)
def test_whether_a_model_takes_a_size_is_found_without_arithmetic_and_once(model, size, expected):
    networks = {
        "vit": lambda: tokens(img_size=32, patch_size=8),
        "swin": lambda: channels_last(img_size=32),
        "resnet": channels_first,
    }
    one, before = Adapter(networks[model]()), torch.get_rng_state()
    assert takes(one, image_size=size) is expected
    assert torch.equal(torch.get_rng_state(), before)
    one.register_forward_pre_hook(lambda *_: pytest.fail("asked again"))
    assert takes(one, image_size=size) is expected


class Positioned(nn.Module):
    """Adds positions in place, which fit one size of images."""

    def __init__(self, norm=None):
        super().__init__()
        self.positions, self.norm = nn.Parameter(torch.zeros(8, 8, 8)), norm or nn.Identity()
        self.stem, self.head = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 10)

    def forward(self, images):
        grid = self.stem(images)
        grid += 0 if isinstance(self.norm, nn.LayerNorm) else self.positions
        grid = self.norm(grid)
        embedding = grid.mean((2, 3))
        return Output(logits=self.head(embedding), embedding=embedding, grids=(grid,))


@pytest.mark.parametrize("norm", [None, nn.LayerNorm([8, 8, 8])])
def test_what_fits_one_size_alone_is_refused_for_others_on_meta_too(norm):
    network = Positioned(norm)
    assert takes(network, image_size=32)
    assert not takes(network, image_size=16)
