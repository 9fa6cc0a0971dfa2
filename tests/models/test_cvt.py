import pytest
import torch
import torch.nn.functional as F
from timm.layers import LayerNorm2d, set_fused_attn, use_fused_attn
from torch.utils.flop_counter import FlopCounterMode

from vitbench.models import cvt


def trainable(model):
    return sum(one.numel() for one in model.parameters() if one.requires_grad)


def on_meta(build, **options):
    with torch.device("meta"):
        return build(**options)


@pytest.mark.parametrize(("classes", "expected"), [(10, 15_146_622), (100, 15_174_792)])
def test_the_thesis_network_has_the_parameters_counted_by_hand(classes, expected):
    before, total = 3, 312 * classes + classes
    for d, heads, depth, kernel in zip((52, 156, 312), (1, 3, 6), (1, 2, 11), (7, 3, 3), strict=True):
        inner = 64 * heads
        projections = 2 * (9 * d + 2 * d) + d * inner + d * 2 * inner  # depth-wise and norm twice; q; k and v
        block = 2 * 2 * d + projections + (inner * d + d) + (d * 4 * d + 4 * d) + (4 * d * d + d)
        total += kernel**2 * before * d + d + 2 * d + depth * block
        before = d
    assert trainable(on_meta(cvt.build, classes=classes)) == total == expected


def test_with_the_sizes_of_the_paper_it_is_cvt_13():
    # Wu et al. 2021, Table 3: 20 M parameters, 4.5 G MACs.
    model = on_meta(cvt.build, classes=1000, variant="cvt_13").eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 3, 224, 224, device="meta"))
    assert trainable(model) == 19_936_296
    assert counter.get_total_flops() / 2e9 == pytest.approx(4.5, abs=0.05)


@pytest.fixture
def attention():
    torch.manual_seed(0)
    module = cvt.ConvAttention(6, heads=2, head_dim=4).eval()
    for projection in (module.query, module.key_value):
        torch.nn.init.normal_(projection.norm.weight)
        torch.nn.init.normal_(projection.norm.running_mean)
    return module


def test_attention_is_head_by_head_that_of_the_equation(attention):
    x = torch.rand(2, 4, 6, 6)

    def project(part, stride):
        kernel, norm = part.depthwise.weight, part.norm
        mapped = F.conv2d(x.permute(0, 3, 1, 2), kernel, stride=stride, padding=1, groups=6)
        shape = (1, 6, 1, 1)
        mapped = (mapped - norm.running_mean.view(shape)) / (norm.running_var.view(shape) + norm.eps).sqrt()
        mapped = mapped * norm.weight.view(shape) + norm.bias.view(shape)
        return (mapped.flatten(2).transpose(1, 2) @ part.pointwise.weight.T).split(4, dim=-1)

    queries, keys_values = project(attention.query, 1), project(attention.key_value, 2)
    assert keys_values[0].shape[1] == 6  # 2 x 3 of the 4 x 6 cells
    heads = []
    for query, key, value in zip(queries, keys_values[:2], keys_values[2:], strict=True):
        weights = (query @ key.transpose(1, 2) / 2).softmax(dim=-1)  # 2 = sqrt(4)
        heads.append(weights @ value)
    expected = torch.cat(heads, dim=-1) @ attention.proj.weight.T + attention.proj.bias
    torch.testing.assert_close(attention(x), expected.view(2, 4, 6, 6))


def test_the_switch_of_timm_decides_whether_attention_is_fused(attention):
    before = use_fused_attn()
    try:
        for enable in (True, False):
            set_fused_attn(enable)
            assert cvt.ConvAttention(6, heads=2, head_dim=4).fused_attn == enable
    finally:
        set_fused_attn(bool(before))


def test_fused_and_unfused_attention_agree(attention):
    x, outs = torch.rand(2, 4, 4, 6), []
    for fused in (True, False):
        attention.fused_attn = fused
        outs.append(attention(x))
    torch.testing.assert_close(*outs)


def test_the_embedding_normalises_over_channels_as_the_layer_norm_of_timm_for_maps():
    torch.manual_seed(0)
    embed, norm = cvt.ConvEmbed(3, 8, kernel=7, stride=4), LayerNorm2d(8, eps=1e-5)
    torch.nn.init.normal_(embed.norm.weight)
    norm.load_state_dict(embed.norm.state_dict())
    images = torch.rand(2, 3, 32, 32)
    expected = norm(F.conv2d(images, embed.conv.weight, embed.conv.bias, stride=4, padding=3))
    torch.testing.assert_close(embed(images.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), expected)


def test_the_grid_is_what_the_classifier_averages_and_there_is_no_class_token():
    model = cvt.build(classes=10, variant="tiny").eval()
    out = model(torch.rand(2, 3, 32, 32))
    assert out.grids[0].shape == (2, 48, 4, 4)
    torch.testing.assert_close(out.embedding, out.grids[0].mean(dim=(2, 3)))


def test_it_takes_images_of_any_size():
    assert cvt.build(classes=10, variant="tiny")(torch.rand(2, 3, 48, 64)).grids[0].shape == (2, 48, 6, 8)


def test_linear_layers_start_from_a_normal_of_a_fiftieth_and_those_of_cvt_13_as_torch_starts_them():
    torch.manual_seed(0)
    thesis, published = (cvt.build(classes=10, variant=one).network.stages[2] for one in ("floros2024", "cvt_13"))
    assert thesis[1].mlp.fc1.weight.std().item() == pytest.approx(0.02, rel=0.02)
    weight, bound = published[1].mlp.fc1.weight, 384**-0.5  # uniform, by fan-in: Kaiming with a slope of sqrt(5)
    assert weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    assert thesis[1].mlp.fc1.bias.abs().max() == 0 < published[1].mlp.fc1.bias.abs().max() <= bound
