import math

import pytest
import torch
from timm.layers import set_fused_attn, use_fused_attn
from torch.utils.flop_counter import FlopCounterMode

from vitbench.models import t2t


def trainable(model):
    return sum(one.numel() for one in model.parameters() if one.requires_grad)


def on_meta(build, **options):
    with torch.device("meta"):
        return build(**options)


@pytest.mark.parametrize(("classes", "expected"), [(10, 14_993_672), (100, 15_021_842)])
def test_the_thesis_network_has_the_parameters_counted_by_hand(classes, expected):
    d, mlp, width = 312, 3 * 312, 64
    tokens = 0
    for dim in (3 * 49, 9 * width):  # a norm, queries keys and values, projection, a norm, two layers of MLP
        tokens += 2 * dim + (dim * 3 * width + 3 * width) + 2 * width + 3 * (width**2 + width)
    tokens += 9 * width * d + d
    block = 2 * 2 * d + 3 * d * d + (d * d + d) + (d * mlp + mlp) + (mlp * d + d)
    total = tokens + d + 15 * block + 2 * d + (d * classes + classes)
    assert trainable(on_meta(t2t.build, classes=classes)) == total == expected


def test_with_the_sizes_of_the_paper_it_is_t2t_vit_14():
    # Yuan et al. 2021, Table 2: 21.5 M parameters, 4.8 G MACs (5.2 G with softmax attention in the token transformers).
    model = on_meta(t2t.build, classes=1000, variant="t2t_vit_14").eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 3, 224, 224, device="meta"))
    assert trainable(model) == 21_465_806
    assert counter.get_total_flops() / 2e9 == pytest.approx(4.8, abs=0.05)


def test_kernel_attention_is_the_weighted_mean_that_its_features_define():
    generator = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, 2, 5, 4, generator=generator, dtype=torch.float64)
    directions = torch.randn(3, 4, generator=generator, dtype=torch.float64)

    def feature(x, w):
        x = x / 4**0.25
        return math.exp(float(w @ x) - float(x @ x) / 2)

    found = t2t.attend(query, key, value, directions=directions)
    for image in range(2):
        for n in range(5):
            weights = [
                sum(feature(query[image, n], w) * feature(key[image, m], w) for w in directions) for m in range(5)
            ]
            expected = sum(weight * value[image, m] for m, weight in enumerate(weights)) / sum(weights)
            torch.testing.assert_close(found[image, n], expected, rtol=1e-4, atol=1e-4)


def test_with_many_normal_directions_kernel_attention_is_softmax_attention():
    generator = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, 1, 6, 8, generator=generator) * torch.tensor([0.7, 0.7, 1]).view(3, 1, 1, 1)
    directions = torch.randn(200_000, 8, generator=generator)
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value)
    found, shorter = (t2t.attend(query, key, value, directions=w) for w in (directions, directions / math.sqrt(2)))
    assert (found - expected).abs().max() < 0.05 < 0.3 < (shorter - expected).abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_kernel_attention_stays_finite_where_its_exponents_are_large(dtype):
    query, key, value = (60 * torch.randn(3, 2, 9, 16, generator=torch.Generator().manual_seed(0))).to(dtype)
    directions = torch.nn.init.orthogonal_(torch.empty(8, 16)).to(dtype) * 4
    assert t2t.attend(query, key, value, directions=directions).isfinite().all()


def test_equal_values_come_out_of_attention_as_they_are():
    query, key = torch.randn(2, 3, 7, 8, generator=torch.Generator().manual_seed(0))
    value = torch.full((3, 7, 8), 2.5)
    directions = torch.nn.init.orthogonal_(torch.empty(4, 8)) * math.sqrt(8)
    torch.testing.assert_close(t2t.attend(query, key, value, directions=directions), value, rtol=1e-3, atol=0)


def test_the_random_directions_are_orthogonal_of_length_root_d_saved_and_not_trained():
    torch.manual_seed(0)
    model = t2t.build(classes=10)
    directions = {key: one for key, one in model.state_dict().items() if key.endswith("directions")}
    assert [one.shape for one in directions.values()] == [(32, 64), (32, 64)]
    for one in directions.values():
        torch.testing.assert_close(one @ one.T, 64 * torch.eye(32), rtol=0, atol=1e-3)
    assert not torch.equal(*directions.values())
    assert not [key for key, _ in model.named_parameters() if "directions" in key or "pos_embed" in key]


def test_positions_are_the_sinusoids_of_vaswani():
    found = t2t.sinusoid(65, 312)
    for position, column in [(0, 0), (0, 1), (1, 0), (7, 10), (7, 11), (64, 311), (64, 310)]:
        angle = position / 10000 ** (2 * (column // 2) / 312)
        expected = math.cos(angle) if column % 2 else math.sin(angle)
        assert found[position, column].item() == pytest.approx(expected, abs=1e-5)
    assert torch.equal(t2t.build(classes=10).network.pos_embed[0], found)
    assert torch.equal(t2t.build(classes=10, variant="tiny").network.pos_embed[0], 0.1 * t2t.sinusoid(17, 48))


def test_a_soft_split_sees_the_neighbourhood_of_its_cell_row_by_row():
    torch.manual_seed(0)
    module = t2t.build(classes=10, variant="tiny").network.patch_embed
    seen = module.splits[0](torch.arange(32.0 * 32).view(1, 1, 32, 32))  # (1, 100, 16)
    rows, columns = seen[0].long() // 32, seen[0].long() % 32
    assert (rows[:, 5].max(), columns[:, 5].max()) == (16, 16)  # second row, second column: pixels 7 to 16
    assert (rows[:, 6].max(), columns[:, 6].max()) == (16, 24)
    assert module.grid_size == (4, 4)


def test_the_class_token_is_first_is_read_by_the_classifier_and_is_no_cell():
    torch.manual_seed(0)
    model = t2t.build(classes=10, variant="tiny").eval()
    network, images = model.network, torch.rand(2, 3, 32, 32)
    network.blocks, network.norm = torch.nn.Identity(), torch.nn.Identity()
    out, positions = model(images), network.pos_embed[0]
    torch.testing.assert_close(out.embedding, (network.cls_token[0] + positions[:1]).expand(2, -1))
    cells = network.patch_embed(2 * images - 1) + positions[1:]
    torch.testing.assert_close(out.grids[0][:, :, 1, 2], cells[:, 6])


def test_the_tokens_of_an_image_that_is_not_square_keep_its_aspect():
    model = t2t._create("tiny", img_size=(32, 64))
    assert model.patch_embed.grid_size == (4, 8)
    assert model.forward_features(torch.rand(1, 3, 32, 64)).shape == (1, 33, 48)


def test_the_values_are_the_shortcut_of_the_token_transformer():
    torch.manual_seed(0)
    module = t2t.TokenPerformer(12, 8)
    for layer in (module.proj, module.mlp.fc2):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    tokens = torch.rand(2, 5, 12)
    torch.testing.assert_close(module(tokens), module.qkv(module.norm1(tokens))[..., 16:])


def test_the_switch_of_timm_decides_whether_attention_is_fused():
    before, images, outs = use_fused_attn(), torch.rand(2, 3, 32, 32), []
    try:
        for enable in (True, False):
            set_fused_attn(enable)
            torch.manual_seed(0)
            model = t2t.build(classes=10, variant="tiny").eval()
            assert {block.attn.fused_attn for block in model.network.blocks} == {enable}
            outs.append(model(images).logits)
    finally:
        set_fused_attn(bool(before))
    torch.testing.assert_close(*outs)


def test_in_training_a_tenth_of_what_the_token_transformers_add_to_their_values_is_dropped():
    torch.manual_seed(0)
    network = t2t.build(classes=10, variant="t2t_vit_14").network
    first, tokens = network.patch_embed.transformers[0].train(), torch.rand(2, 200, 3 * 49)
    value = first.qkv(first.norm1(tokens))[..., 128:]
    torch.nn.init.zeros_(first.mlp.fc2.weight)
    torch.nn.init.constant_(first.mlp.fc2.bias, 100.0)  # so that what the MLP adds is 0 or 100 / .9
    torch.nn.init.zeros_(first.proj.weight)
    torch.nn.init.constant_(first.proj.bias, 1000.0)
    dropped = (first(tokens) - value).div(1000 / 9).round()  # in ninths of .9 x 1000
    shares = {count: (dropped == count).float().mean().item() for count in (0, 1, 10, 11)}
    assert shares == pytest.approx({0: 0.01, 1: 0.09, 10: 0.09, 11: 0.81}, abs=0.01)
    others = [one for one in network.blocks.modules() if isinstance(one, torch.nn.Dropout)]
    assert {one.p for one in others} == {0.0}


def test_in_evaluation_and_in_the_networks_of_the_thesis_nothing_is_dropped():
    torch.manual_seed(0)
    large, small = (t2t.build(classes=10, variant=variant) for variant in ("t2t_vit_14", "floros2024"))
    for module in (large.network.patch_embed.transformers[0].eval(), small.network.patch_embed.transformers[0]):
        tokens = torch.rand(2, 50, 3 * 49)
        assert torch.equal(module(tokens), module(tokens))
