import pytest
import timm
import torch
import torch.nn.functional as F
from timm.optim import param_groups_layer_decay
from torch import nn

from vitbench.errors import UserError
from vitbench.measure.size import count_matmul_conv, count_params
from vitbench.models import mae_vit


def tiny(**options):
    """The smallest network with every parameter moved, so that none hides at zero."""
    torch.manual_seed(0)
    model = mae_vit.MaeViT(mae_vit._create("tiny", num_classes=7, img_size=32, **options)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def keep(batch, count, cells=64):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(batch, cells, generator=generator).argsort(1)[:, :count]


@pytest.mark.parametrize(("classes", "expected"), [(10, 3_636_490), (100, 3_653_860)])
def test_the_network_has_the_parameters_counted_by_hand(classes, expected):
    d, mlp = 192, 384
    block = 2 * 2 * d + (3 * d * d + 3 * d) + (d * d + d) + (d * mlp + mlp) + (mlp * d + d)
    assert block == 297_024
    total = 27 * d + 145 * d + 12 * block + 2 * d + d * d + d * classes + classes
    with torch.device("meta"):
        model = mae_vit.build(classes=classes)
    assert count_params(model) == total == expected


def test_the_network_has_the_macs_counted_by_hand():
    n, d = 145, 192
    total = n * 27 * d + 12 * (4 * n * d**2 + 2 * n**2 * d + 2 * n * d * 2 * d) + n * d**2 + 10 * d
    macs = count_matmul_conv(lambda: mae_vit.build(classes=10), image_size=36)
    assert macs == total == 616_128_960


def test_it_runs_at_full_size_on_36_pixels():
    torch.manual_seed(0)
    model = mae_vit.build(classes=10).eval()
    with torch.no_grad():
        out = model(torch.rand(2, 3, 36, 36))
    assert out.grids[-1].shape == (2, 192, 12, 12)
    assert out.logits.isfinite().all()


def test_patches_are_rows_of_rows_of_colours_in_the_range_that_the_network_gets():
    model = tiny()
    images = torch.rand(2, 3, 32, 32)
    patches = model.patches(images)
    assert patches.shape == (2, 64, 48)
    for row, column in ((0, 0), (2, 5), (7, 7)):
        piece = images[1, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]  # (3, 4, 4)
        expected = (2 * piece - 1).permute(1, 2, 0).flatten()
        torch.testing.assert_close(patches[1, 8 * row + column], expected)


def layer_by_hand(layer, x, *, heads, norm_first):
    """The formula of one layer, written out."""

    def attend(y):
        attention = layer.self_attn
        query, key, value = F.linear(y, attention.in_proj_weight, attention.in_proj_bias).chunk(3, dim=-1)
        query, key, value = (part.unflatten(-1, (heads, -1)) for part in (query, key, value))
        scores = torch.einsum("bqhc,bkhc->bhqk", query, key) / query.shape[-1] ** 0.5
        mixed = torch.einsum("bhqk,bkhc->bqhc", scores.exp() / scores.exp().sum(-1, keepdim=True), value).flatten(2)
        return F.linear(mixed, attention.out_proj.weight, attention.out_proj.bias)

    def mlp(y):
        return layer.linear2(layer.linear1(y).clamp(min=0))

    if norm_first:
        x = x + attend(layer.norm1(x))
        return x + mlp(layer.norm2(x))
    x = layer.norm1(x + attend(x))
    return layer.norm2(x + mlp(x))


@pytest.mark.parametrize("heads", [1, 4])  # torch has a kernel of its own for even numbers
@pytest.mark.parametrize("norm_first", [True, False])
def test_the_whole_network_is_what_the_paper_describes_written_out(heads, norm_first):
    model = tiny(num_heads=heads, norm_first=norm_first)
    network, images = model.network, torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        patches = F.unfold(2 * images - 1, 4, stride=4)  # (B, 3 * 4 * 4, 64), colours first
        patches = patches.unflatten(1, (3, 16)).permute(0, 3, 2, 1).flatten(2)  # (B, 64, 4 * 4 * 3)
        patches = torch.cat([patches, torch.zeros(2, 1, 48)], dim=1)  # the empty patch is the last
        x = patches @ network.patch_embed.weight.T + network.pos_embed
        for layer in network.blocks:
            x = layer_by_hand(layer, x, heads=heads, norm_first=norm_first)
        x = F.layer_norm(x, (32,), network.norm.weight, network.norm.bias) @ network.proj.weight.T
        out = model(images)
    torch.testing.assert_close(out.embedding, x[:, -1], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(out.grids[0].flatten(2).transpose(1, 2), x[:, :-1], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(out.logits, network.head(x[:, -1]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("heads", [1, 4])
def test_in_bfloat16_and_without_gradients_it_computes_the_same(heads):
    model, images = tiny(num_heads=heads), torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        alone = model(images).logits
        with torch.autocast("cpu", torch.bfloat16):
            rounded = model(images).logits.float()
    torch.testing.assert_close(model(images).logits, alone, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(rounded, alone, rtol=0.1, atol=0.1)


def test_what_lies_under_the_mask_has_no_influence():
    model, kept = tiny().train(), keep(3, 16)
    images = torch.rand(3, 3, 32, 32)
    visible = torch.zeros(3, 64, dtype=torch.bool).scatter_(1, kept, True).view(3, 1, 8, 8)
    visible = visible.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)  # (B, 1, H, W)
    other = torch.where(visible, images, torch.full_like(images, torch.nan))
    assert torch.equal(model.encode(images, kept), model.encode(other, kept))
    seen = torch.where(visible, 1 - images, images)
    assert not torch.equal(model.encode(images, kept), model.encode(seen, kept))


def test_with_all_patches_kept_it_encodes_what_the_network_computes_in_the_order_asked_for():
    model, images, kept = tiny(), torch.rand(3, 3, 32, 32), keep(3, 64)
    with torch.no_grad():
        tokens = model.network.forward_features(2 * images - 1)
        encoded = model.encode(images, kept)
    assert encoded.shape == (3, 65, model.width) == (3, 64 + model.extra_tokens, 32)
    expected = torch.stack([one[order] for one, order in zip(tokens, kept, strict=True)])
    torch.testing.assert_close(encoded[:, :-1], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(encoded[:, -1], tokens[:, -1], rtol=1e-4, atol=1e-5)


def test_of_few_patches_it_computes_few_tokens():
    model = tiny()
    tokens = []
    model.network.blocks[0].register_forward_pre_hook(lambda _, args: tokens.append(args[0].shape[1]))
    model.encode(torch.rand(2, 3, 32, 32), keep(2, 16))
    assert tokens == [17]


def test_the_empty_patch_is_position_alone():
    model = tiny()
    seen = []
    model.network.blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model(torch.rand(2, 3, 32, 32))
    assert torch.equal(seen[0][:, -1], model.network.pos_embed[:, -1].expand(2, -1))


def test_its_layers_are_torchs_with_relu_a_dropout_of_a_tenth_and_a_draw_of_their_own():
    torch.manual_seed(0)
    network = mae_vit.build(classes=10).network
    blocks = list(network.blocks)
    assert all(type(one) is nn.TransformerEncoderLayer and one.activation is F.relu for one in blocks)
    assert {one.p for one in network.modules() if isinstance(one, nn.Dropout)} == {0.1}
    assert {one.self_attn.dropout for one in blocks} == {0.1}
    assert all(one.norm_first for one in blocks)
    assert not torch.equal(blocks[0].linear1.weight, blocks[1].linear1.weight)
    assert blocks[0].linear1.weight.abs().max().item() == pytest.approx(192**-0.5, rel=0.001)  # torch's uniform


def test_layerwise_decay_counts_patches_each_layer_and_the_rest():
    with torch.device("meta"):
        network = mae_vit.build(classes=10).network
    groups = param_groups_layer_decay(
        network, weight_decay=0.05, layer_decay=0.75, no_weight_decay_list=network.no_weight_decay()
    )
    found = {id(one): group for group in groups for one in group["params"]}
    scale = {name: found[id(one)]["lr_scale"] for name, one in network.named_parameters()}
    decay = {name: found[id(one)]["weight_decay"] for name, one in network.named_parameters()}
    assert scale["patch_embed.weight"] == scale["pos_embed"] == pytest.approx(0.75**13)
    for layer in range(12):
        own = {value for name, value in scale.items() if name.startswith(f"blocks.{layer}.")}
        assert list(own) == pytest.approx([0.75 ** (13 - layer - 1)])
    assert scale["norm.weight"] == scale["proj.weight"] == scale["head.bias"] == 1
    assert (decay["pos_embed"], decay["head.bias"], decay["patch_embed.weight"]) == (0, 0, 0.05)


def test_timm_knows_it_and_takes_norms_behind_the_sums():
    network = timm.create_model("vitbench_mae_vit_tiny", num_classes=4, norm_first=False)
    assert not any(one.norm_first for one in network.blocks)
    assert network(torch.rand(2, 3, 32, 32)).shape == (2, 4)


def test_an_image_that_cannot_be_cut_is_refused():
    with pytest.raises(UserError, match=r"cannot cut images of 32 x 32 into patches of 3 x 3; choose .* 3 divides"):
        mae_vit.build(classes=10, image_size=32)
