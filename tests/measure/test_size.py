"""Parameters and MACs against closed forms, published figures and counts by hand."""

import sys
from dataclasses import replace
from functools import partial

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from timm.layers import set_fused_attn, use_fused_attn
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from torch.utils.flop_counter import flop_registry, register_flop_formula

from vitbench import build
from vitbench.measure import size
from vitbench.measure.size import UncountedOperator, count_macs, count_params, count_products
from vitbench.models import mae_vit, vit


class Run(nn.Module):
    """A model that is one function of its images; the weight makes it trainable."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.zeros(4, 4))

    def forward(self, images):
        return self.function(images, self.weight)


def macs_of(function):
    return count_macs(lambda: Run(function), image_size=4)


def vit_macs(*, size, patch, dim, depth, mlp_ratio, classes):
    """Products and convolutions of a ViT with a class token, by its closed form."""
    cells = (size // patch) ** 2
    tokens = cells + 1
    attention = 4 * tokens * dim**2 + 2 * tokens**2 * dim
    mlp = 2 * tokens * dim * int(dim * mlp_ratio)
    return cells * 3 * patch**2 * dim + depth * (attention + mlp) + dim * classes


def norm_elements(*, size, patch, dim, depth):
    """Elements that the 2 norms of each block and the last one put out."""
    return (2 * depth + 1) * ((size // patch) ** 2 + 1) * dim


@pytest.mark.parametrize(
    ("name", "dim", "published"), [("deit_tiny_patch16_224", 192, 1.2535), ("vit_small_patch16_224", 384, 4.5985)]
)
def test_vision_transformers_cost_what_their_closed_forms_say_in_every_convention(name, dim, published):
    sizes = {"size": 224, "patch": 16, "dim": dim, "depth": 12}
    macs = count_macs(lambda: timm.create_model(name, num_classes=10), image_size=224)
    products = vit_macs(**sizes, mlp_ratio=4, classes=10)
    tokens, norms = 14**2 + 1, norm_elements(**sizes)
    assert round(products / 1e9, 4) == published
    assert macs.matmul_conv == products
    assert macs.fvcore == products + 5 * norms  # fvcore takes 5 for an element of a layer norm
    attention = 12 * 2 * tokens**2 * dim
    activations = 12 * tokens * 4 * dim
    assert macs.layers == products - attention + 2 * norms + activations
    assert macs.without_attention == products - attention - 12 * 4 * tokens * dim**2
    assert macs.reason == ""


@pytest.mark.parametrize(
    ("build", "published"),
    [
        pytest.param(torchvision.models.resnet50, 4.089, id="resnet50"),
        pytest.param(torchvision.models.swin_t, 4.491, id="swin_t"),
    ],
)
def test_published_counts_come_out(build, published):
    macs = count_macs(build, image_size=224)
    assert round(macs.matmul_conv / 1e9, 3) == published
    assert macs.matmul_conv < macs.fvcore < 1.01 * macs.matmul_conv


@pytest.mark.parametrize("name", ["resnet/tiny", "vit/tiny", "t2t/tiny", "cvt/tiny", "swin/tiny", "cct/tiny_cct"])
def test_a_network_that_was_traced_for_two_numbers_of_classes_is_not_traced_for_a_third(name, monkeypatch):
    def count(classes, **given):
        return count_macs(partial(build.unchecked, name, classes, 32), image_size=32, classes=classes, **given)

    whole = {classes: count(classes) for classes in (10, 100, 345)}
    assert whole[10].fvcore < whole[100].fvcore < whole[345].fvcore
    monkeypatch.setattr(size, "_count_with_fvcore", None)  # a trace would be an error
    for third, expected in whole.items():
        assert count(third, others={classes: one for classes, one in whole.items() if classes != third}) == expected


class Pooled(nn.Module):
    """A convolution to as many channels as classes, then pooling, which fvcore counts and no convention of ours."""

    def __init__(self, classes):
        super().__init__()
        self.head = nn.Conv2d(3, classes, 1)

    def forward(self, images):
        return F.layer_norm(F.adaptive_avg_pool2d(self.head(images), 1).flatten(1), (self.head.out_channels,))


def test_what_is_done_to_the_logits_by_functions_is_counted_for_the_third_number_of_classes_too(monkeypatch):
    def count(classes, **given):
        return count_macs(lambda: Pooled(classes), image_size=4, classes=classes, **given)

    whole = {classes: count(classes) for classes in (10, 100, 1000)}
    assert whole[10].fvcore > whole[10].matmul_conv
    monkeypatch.setattr(size, "_count_with_fvcore", None)
    assert count(1000, others={classes: whole[classes] for classes in (10, 100)}) == whole[1000]


@pytest.mark.parametrize("known", [(), (10,)])
def test_with_fewer_than_two_it_is_traced(known):
    whole = {classes: count_macs(lambda classes=classes: Pooled(classes), image_size=4) for classes in (10, 100)}
    others = {classes: whole[classes] for classes in known}
    assert count_macs(lambda: Pooled(100), image_size=4, classes=100, others=others) == whole[100]


def test_a_network_that_costs_more_where_there_are_more_than_so_many_classes_is_traced():
    def wider(classes):
        return nn.Sequential(
            nn.Flatten(), nn.Linear(48, 64 if classes > 100 else 8), nn.Linear(64 if classes > 100 else 8, classes)
        )

    others = {classes: count_macs(lambda classes=classes: wider(classes), image_size=4) for classes in (10, 100)}
    found = count_macs(lambda: wider(1000), image_size=4, classes=1000, others=others)
    assert found.fvcore == 48 * 64 + 64 * 1000


def test_a_vision_transformer_whose_heads_are_narrower_than_its_width_costs_their_width():
    class Narrow(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.out = nn.Linear(12, 3 * 8), nn.Linear(8, 12)

        def forward(self, images):
            tokens = images.reshape(1, 16, 12)
            q, k, v = self.qkv(tokens).view(1, 16, 3, 2, 4).permute(2, 0, 3, 1, 4)
            return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(1, 16, 8))

    macs = count_macs(Narrow, image_size=8)
    assert macs.matmul_conv == 4 * 16 * 12 * 8 + 2 * 16**2 * 8
    assert macs.fvcore == macs.matmul_conv
    assert macs.layers == 4 * 16 * 12 * 8


def small():
    return VisionTransformer(img_size=16, patch_size=4, embed_dim=24, depth=2, num_heads=3)


class Token(nn.Module):
    """A layer that is given a view of a parameter."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 3))
        self.head = nn.Linear(3, 5)

    def forward(self, images):
        return self.head(self.token.expand(2, -1))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_everything_counts_whatever_mode_the_caller_is_in(mode):
    with mode():
        macs = count_macs(small, image_size=16)
        assert count_macs(Token, image_size=4).matmul_conv == 2 * 3 * 5
    assert macs.matmul_conv == vit_macs(size=16, patch=4, dim=24, depth=2, mlp_ratio=4, classes=1000)
    assert macs.fvcore == macs.matmul_conv + 5 * norm_elements(size=16, patch=4, dim=24, depth=2)


class Encoder(nn.Module):
    """The encoder of tan2024: 145 tokens of 192 through 12 blocks of torch's own, MLP of 384."""

    def __init__(self):
        super().__init__()
        block = nn.TransformerEncoderLayer(192, 3, 384, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(block, 12, enable_nested_tensor=False)

    def forward(self, images):
        return self.blocks(images.mean().expand(1, 145, 192))


def test_hooks_do_not_see_the_attention_of_torchs_own_encoder_as_tan2024_printed_it():
    macs = count_macs(Encoder, image_size=4)
    mlp, products, norms = 4 * 145 * 192**2, 2 * 145**2 * 192, 2 * 145 * 192
    assert macs.matmul_conv == 12 * (2 * mlp + products)
    assert macs.fvcore == macs.matmul_conv + 12 * 5 * norms
    assert macs.layers == 12 * (mlp + 2 * norms)
    assert macs.without_attention == 12 * mlp
    assert round(macs.without_attention / 1e9, 2) == round(macs.layers / 1e9, 2) == 0.26  # Table 3
    assert round(macs.matmul_conv / 1e9, 2) == 0.61


def test_the_network_of_tan2024_costs_with_and_without_attention_what_is_counted_by_hand():
    macs = count_macs(lambda: mae_vit.build(classes=10), image_size=36)
    tokens, d = 145, 192
    outside = tokens * 27 * d + 12 * 4 * tokens * d**2 + tokens * d**2 + 10 * d
    assert macs.without_attention == outside == 262_672_320
    assert macs.matmul_conv == outside + 12 * (4 * tokens * d**2 + 2 * tokens**2 * d)
    assert macs.layers == outside + 2 * 25 * tokens * d  # its norms; its activation is no module
    assert macs.fvcore == macs.matmul_conv + 5 * 25 * tokens * d


@pytest.mark.parametrize("heads", [1, 4])  # torch has one kernel for a whole layer of an even number
@pytest.mark.parametrize("trains", [True, False])
def test_a_whole_layer_in_one_kernel_hides_nothing_from_either_counter(heads, trains):
    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(24, heads, 48, batch_first=True).requires_grad_(trains)

        def forward(self, images):
            return self.layer(images.mean().expand(2, 10, 24))

    before = torch.backends.mha.get_fastpath_enabled()
    for mode in (torch.no_grad, torch.enable_grad):
        with mode():
            macs = count_macs(Layer, image_size=4)
        products = 2 * (4 * 10 * 24**2 + 2 * 10**2 * 24 + 2 * 10 * 24 * 48)
        assert (macs.matmul_conv, macs.without_attention) == (products, 2 * 2 * 10 * 24 * 48)
        assert macs.fvcore == products + 5 * 2 * (2 * 10 * 24)
    assert torch.backends.mha.get_fastpath_enabled() == before


def test_without_attention_a_block_that_is_called_attention_keeps_what_its_attention_is_not():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv = nn.Linear(4, 12)

        def forward(self, x):
            q, k, v = self.qkv(x).chunk(3, dim=-1)
            return (q @ k.mT) @ v

    class AttentionBlock(nn.Module):
        def __init__(self):
            super().__init__()
            self.attn, self.mlp = Attention(), nn.Linear(4, 5)

        def forward(self, images):
            return self.mlp(self.attn(self.attn(images[:, 0])))  # twice, which is counted twice

    macs = count_macs(AttentionBlock, image_size=4)
    attention = 4 * 4 * 12 + 2 * 4**3
    assert (macs.matmul_conv, macs.without_attention) == (2 * attention + 4 * 4 * 5, 4 * 4 * 5)


class Residual(nn.Module):
    """Two 3x3 convolutions; the shortcut subsamples and pads with zeros (option A of He et al. 2016)."""

    def __init__(self, before, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride=stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm1, self.norm2, self.act = nn.BatchNorm2d(width), nn.BatchNorm2d(width), nn.ReLU()
        self.stride, self.more = stride, width - before

    def forward(self, x):
        out = self.norm2(self.conv2(self.act(self.norm1(self.conv1(x)))))
        return self.act(out + F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more)))


def resnet110():
    stem = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()
    sizes = [(16, 16, 1)] * 18 + [(16, 32, 2)] + [(32, 32, 1)] * 17 + [(32, 64, 2)] + [(64, 64, 1)] * 17
    blocks = (Residual(*size) for size in sizes)
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def test_resnet110_has_the_size_that_tan2024_printed_in_the_convention_of_layers():
    macs = count_macs(resnet110, image_size=32)
    assert round(count_params(resnet110()) / 1e6, 2) == 1.73
    assert round(macs.layers / 1e9, 2) == 0.26
    assert round(macs.matmul_conv / 1e9, 2) == 0.25
    assert macs.without_attention == macs.matmul_conv


def test_layers_count_by_hand():
    def build():
        return nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1, groups=3),  # 6 x 8 x 8 of 9
            nn.BatchNorm2d(6),  # 384, twice
            nn.ReLU(),  # 384
            nn.InstanceNorm2d(6),  # 384, no weights
            nn.ConvTranspose2d(6, 4, 2, stride=2),  # 6 x 8 x 8 of 4 x 4
            nn.GroupNorm(2, 4),  # 4 x 16 x 16, twice
            nn.Flatten(2),
            nn.Softmax(dim=2),
            nn.Linear(256, 5),  # 4 rows
            nn.LayerNorm(5),  # 20, twice
            nn.GELU(),  # 20
        )

    macs = count_macs(build, image_size=8)
    products = 384 * 9 + 384 * 16 + 4 * 256 * 5
    assert macs.matmul_conv == products
    assert macs.layers == products + 3 * 384 + 384 + 2 * 1024 + 3 * 20


PRODUCTS = {
    "mv": lambda x, w: w @ x[0, 0, 0],
    "dot": lambda x, w: w[0] @ x[0, 0, 0],
    "addmm_": lambda x, w: x[0, 0].clone().addmm_(w, w),
    "addbmm": lambda x, w: torch.addbmm(w, x[0], x[0]),
    "_cdist_forward": torch.cdist,
    "_euclidean_dist": lambda x, w: torch.cdist(x.reshape(-1, 1), w.reshape(-1, 1).repeat(2, 1)),
    "_trilinear": lambda x, w: F.bilinear(x[0, 0], w, w.expand(5, 4, 4)),
    "_fft_r2c": lambda x, w: torch.fft.rfft2(x + w),
    "linalg_inv_ex": lambda x, w: torch.linalg.inv(x + w),
    "_int_mm": lambda x, w: torch._int_mm(w.to(torch.int8).tile(8, 8), w.to(torch.int8).tile(8, 8)),
    "deform_conv2d": lambda x, w: torchvision.ops.deform_conv2d(x, x.new_zeros(1, 18, 2, 2), w.new_zeros(4, 3, 3, 3)),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_product_that_torch_does_not_count_is_an_error_that_names_it(name):
    with pytest.raises(UncountedOperator, match=f"formula for [a-z]+::{name};"):
        macs_of(PRODUCTS[name])


@pytest.mark.parametrize(
    "function",
    [
        lambda x, w: F.interpolate(x + w, scale_factor=2, mode="bilinear"),
        lambda x, w: (x + w).cummax(2).values.lgamma(),
        lambda x, w: torch.linalg.norm(x + w),
        lambda x, w: F.grid_sample(x + w, w.new_zeros(1, 3, 3, 2), align_corners=False),
        lambda x, w: F.avg_pool2d(x + w, 2),
        lambda x, w: F.unfold(x + w, 2).softmax(1).std(),
    ],
)
def test_what_is_no_product_counts_nothing_and_is_no_error(function):
    assert macs_of(function).matmul_conv == 0


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x, w: x @ w, 12 * 16),
        (lambda x, w: F.linear(x[0, 0, 0], w), 16),
        (lambda x, w: torch.einsum("bchw,wv->bchv", x, w), 12 * 16),
        (lambda x, w: torch.baddbmm(x[0], x[0], x[0]), 3 * 64),
        (lambda x, w: torch.tensordot(x, w, dims=1), 12 * 16),
    ],
)
def test_products_count_by_hand_however_they_are_written(function, expected):
    assert macs_of(function).matmul_conv == expected


def test_recurrent_layers_count_their_two_products():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(4, 8, batch_first=True)

        def forward(self, images):
            return self.lstm(images[:, 0])[0]

    assert count_macs(Recurrent, image_size=4).matmul_conv == 4 * (4 * 4 * 8 + 4 * 8 * 8)


@pytest.fixture
def custom():
    """An operator of somebody's own, unknown to torch."""

    @torch.library.custom_op("vitbench_test::mix", mutates_args=())
    def mix(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    mix.register_fake(torch.empty_like)
    yield torch.ops.vitbench_test.mix
    flop_registry.pop(torch.ops.vitbench_test.mix, None)


def test_an_unknown_operator_is_an_error_until_it_has_a_formula(custom):
    with pytest.raises(UncountedOperator, match=r"vitbench_test::mix; .*register_flop_formula"):
        macs_of(lambda x, w: custom(x + w))
    register_flop_formula(custom)(lambda x_shape, out_shape=None, **kwargs: 2 * 1000)
    assert macs_of(lambda x, w: custom(x + w)).matmul_conv == 1000


def test_without_fvcore_its_column_says_so_and_the_others_stay(monkeypatch):
    whole = count_macs(small, image_size=16)
    for name in ("fvcore", "fvcore.nn"):
        monkeypatch.setitem(sys.modules, name, None)
    macs = count_macs(small, image_size=16)
    assert macs == replace(whole, fvcore=None, reason=macs.reason)
    assert "pip install fvcore" in macs.reason


def test_a_model_that_cannot_be_traced_has_no_fvcore_count_but_a_reason():
    def untraceable(x, w):
        if torch.jit.is_tracing():
            raise RuntimeError("not in one line,\nbut two")
        return x @ w

    macs = macs_of(untraceable)
    assert (macs.matmul_conv, macs.fvcore) == (192, None)
    assert macs.reason == "fvcore cannot trace it: RuntimeError: not in one line,"


def test_products_that_fvcore_misses_leave_a_reason_not_a_number_that_is_too_low():
    macs = macs_of(lambda x, w: w @ x)  # fvcore takes the first factor's shape, 4 x 4, for one product of three
    assert (macs.matmul_conv, macs.fvcore) == (192, None)
    assert macs.reason == "fvcore misses products: it counts 64 MACs, not 192"
    macs = count_macs(lambda: nn.Conv2d(3, 5, 3, padding="same"), image_size=4)
    assert (macs.matmul_conv, macs.fvcore) == (16 * 3 * 5 * 9, None)
    assert macs.reason == "fvcore misses aten::_convolution_mode: it counts 0 MACs, not 2160"


def test_products_that_only_fvcore_finds_are_an_error():
    with pytest.raises(UncountedOperator, match="192 MACs where it counts 0"):
        macs_of(lambda x, w: x @ w if x.device.type == "cpu" else x)


@pytest.mark.parametrize(("enable", "experimental"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("fails", [False, True])
def test_fused_attention_is_set_back_to_what_it_was(enable, experimental, fails):
    def build():
        if fails and not use_fused_attn():
            raise RuntimeError("broken")
        return small()

    before = use_fused_attn(), use_fused_attn(experimental=True)
    try:
        set_fused_attn(enable, experimental)
        if fails:
            with pytest.raises(RuntimeError, match="broken"):
                count_macs(build, image_size=16)
        else:
            count_macs(build, image_size=16)
        after = use_fused_attn(), use_fused_attn(experimental=True)
    finally:
        set_fused_attn(*before)
    assert after == (enable, experimental)


def test_counting_leaves_torchs_generator_and_default_device_as_they_were():
    numbers = torch.get_rng_state()
    count_macs(small, image_size=16)
    assert torch.equal(torch.get_rng_state(), numbers)
    assert torch.zeros(()).device.type == "cpu"


def test_parameters_are_those_that_train_each_once():
    shared = nn.Linear(4, 3)  # 15
    frozen = nn.Linear(5, 5).requires_grad_(False)
    tied = nn.Linear(4, 3, bias=False)
    tied.weight = shared.weight
    assert count_params(nn.ModuleList([shared, shared, frozen, tied, nn.BatchNorm1d(7)])) == 15 + 14
    assert count_params(torchvision.models.resnet50()) == 25_557_032


def test_what_runs_without_gradients_is_counted_apart():
    """Of a network with a class token too, which is a view of a parameter."""
    with torch.device("meta"):
        model, images = vit.build(classes=10, variant="tiny"), torch.zeros(1, 3, 32, 32)

    def run():
        model(images)
        for quiet in (torch.no_grad, torch.inference_mode):
            with quiet():
                model(images)

    once = count_products(lambda: model(images))
    found = count_products(run)
    assert once.total > 0
    assert (once.alone, found.total, found.alone) == (0, 3 * once.total, 2 * once.total)
