import pytest
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer

from vitbench.errors import UserError
from vitbench.measure.size import count_params
from vitbench.models import cct

# With 10 classes, as Tan 2024, Table 3, prints them in millions, to the unit: counted by hand below.
PARAMS = {
    "vit_12_16": 85_631_242,
    "vit_lite_7_16": 3_885_834,
    "vit_lite_7_8": 3_741_450,
    "vit_lite_7_4": 3_716_874,
    "cvt_7_8": 3_741_195,
    "cvt_7_4": 3_716_619,
    "cct_2_3x2": 283_723,
    "cct_7_3x2": 3_853_259,
}
PRINTED = {
    "vit_12_16": "85.63",
    "vit_lite_7_16": "3.89",
    "vit_lite_7_8": "3.74",
    "vit_lite_7_4": "3.72",
    "cvt_7_8": "3.74",
    "cvt_7_4": "3.72",
    "cct_2_3x2": "0.28",
    "cct_7_3x2": "3.85",
}


def on_meta(variant, classes=10):
    with torch.device("meta"):
        return cct.build(classes=classes, variant=variant)


def stirred(variant, seed=0):
    torch.manual_seed(seed)
    model = cct.build(classes=7, variant=variant).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("variant", PARAMS)
def test_the_parameters_are_those_that_are_printed_and_those_counted_by_hand(variant):
    settings = cct.VARIANTS[variant]
    d, mlp = settings["embed_dim"], settings["embed_dim"] * settings["mlp_ratio"]
    if variant.startswith("cct"):
        tokens, tokenizer = 8 * 8, 9 * 3 * 64 + 9 * 64 * d
    else:
        side = settings["tokenizer"]
        tokens, tokenizer = (32 // side) ** 2, 3 * side**2 * d + d
    block = 2 * 2 * d + d * 3 * d + (d * d + d) + (d * mlp + mlp) + (mlp * d + d)
    pooling = (d + 1) if settings["seq_pool"] else d + d  # a linear layer, or a class token and its position
    for classes in (10, 100):
        total = tokenizer + tokens * d + pooling + settings["depth"] * block + 2 * d + d * classes + classes
        assert count_params(on_meta(variant, classes)) == total
    assert count_params(on_meta(variant)) == PARAMS[variant]
    assert f"{PARAMS[variant] / 1e6:.2f}" == PRINTED[variant]


@pytest.mark.parametrize("variant", PARAMS)
def test_every_network_runs_at_full_size_on_32_pixels(variant):
    torch.manual_seed(0)
    model = cct.build(classes=10, variant=variant).eval()
    with torch.no_grad():
        out = model(torch.rand(2, 3, 32, 32))
    side = {"16": 2, "8": 4, "4": 8, "3x2": 8}[variant.rpartition("_")[2]]
    assert out.grids[-1].shape == (2, model.network.num_features, side, side)
    assert out.logits.isfinite().all()


def block_by_hand(block, x, heads):
    """The formula of one block, written out: LN, attention, sum, LN in the stream, MLP, sum."""
    y = F.layer_norm(x, x.shape[-1:], block.norm1.weight, block.norm1.bias)
    query, key, value = (part.unflatten(-1, (heads, -1)) for part in (y @ block.attn.qkv.weight.T).chunk(3, dim=-1))
    scores = torch.einsum("bqhc,bkhc->bhqk", query, key) / query.shape[-1] ** 0.5
    mixed = torch.einsum("bhqk,bkhc->bqhc", scores.exp() / scores.exp().sum(-1, keepdim=True), value).flatten(2)
    x = x + mixed @ block.attn.proj.weight.T + block.attn.proj.bias
    x = F.layer_norm(x, x.shape[-1:], block.norm2.weight, block.norm2.bias)
    hidden = x @ block.mlp.fc1.weight.T + block.mlp.fc1.bias
    hidden = hidden * (1 + torch.erf(hidden / 2**0.5)) / 2
    return x + hidden @ block.mlp.fc2.weight.T + block.mlp.fc2.bias


def test_the_second_norm_replaces_what_flows_on():
    block = stirred("tiny_vit_lite").network.blocks[0]
    x = torch.randn(2, 17, 64)
    with torch.no_grad():
        torch.testing.assert_close(block(x), block_by_hand(block, x, 4), rtol=1e-4, atol=1e-4)


def test_without_what_is_its_own_it_is_the_vision_transformer_of_timm():
    """Patches, class token, positions, final norm and head; the blocks, which differ, are taken out of both."""
    ours = stirred("tiny_vit_lite")
    theirs = VisionTransformer(img_size=32, patch_size=8, embed_dim=64, depth=0, num_heads=4, num_classes=7).eval()
    theirs.norm.eps = 1e-5
    names = {"tokenizer": "patch_embed.proj"}
    state = {names.get(key.rpartition(".")[0], key.rpartition(".")[0]) + "." + key.rpartition(".")[2]: one
             for key, one in ours.network.state_dict().items() if not key.startswith("blocks")}  # fmt: skip
    theirs.load_state_dict({key.removeprefix("."): one for key, one in state.items()}, strict=True)
    ours.network.blocks = torch.nn.Identity()
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(ours(images).logits, theirs(2 * images - 1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("variant", ["tiny_cvt", "tiny_cct"])
def test_seqpool_averages_the_tokens_with_weights_of_their_own(variant):
    model = stirred(variant)
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        out, tokens = model(images), model.network.forward_features(2 * images - 1)
    scores = tokens @ model.network.pool.weight[0] + model.network.pool.bias  # (B, N)
    shares = scores.exp() / scores.exp().sum(1, keepdim=True)
    expected = sum(shares[:, i, None] * tokens[:, i] for i in range(tokens.shape[1]))
    torch.testing.assert_close(out.embedding, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(out.grids[0].flatten(2).transpose(1, 2), tokens)
    torch.testing.assert_close(out.logits, F.linear(expected, *model.network.head.parameters()), rtol=1e-4, atol=1e-4)


def test_the_class_token_is_read_by_the_classifier_and_is_no_cell():
    model = stirred("tiny_vit_lite")
    images = torch.rand(2, 3, 32, 32)
    out, tokens = model(images), model.network.forward_features(2 * images - 1)
    assert torch.equal(out.embedding, tokens[:, 0])
    assert torch.equal(out.grids[0].flatten(2).transpose(1, 2), tokens[:, 1:])


def test_a_convolution_of_the_tokenizer_is_followed_by_relu_and_a_max_pool_of_three():
    model = stirred("tiny_cct").network
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        after = model.tokenizer[:3](x)
        convolved = F.conv2d(x, model.tokenizer[0].weight, padding=1).clamp(min=0)  # (1, 12, 32, 32)
    padded = F.pad(convolved, (1, 1, 1, 1))  # with zeros, which are no more than what ReLU leaves
    windows = padded.unfold(2, 3, 2).unfold(3, 3, 2)  # (1, 12, 16, 16, 3, 3)
    torch.testing.assert_close(after, windows.amax((-2, -1)))


def test_stochastic_depth_rises_from_nothing_to_a_tenth_and_attention_drops_a_tenth():
    blocks = cct.build(classes=10, variant="cct_7_3x2").network.blocks
    rates = [getattr(block.drop_path, "drop_prob", 0) for block in blocks]
    assert rates == pytest.approx([0.1 * i / 6 for i in range(7)])
    assert {block.attn.attn_drop.p for block in blocks} == {0.1}
    assert {block.attn.proj_drop.p for block in blocks} == {0.0}


def test_it_starts_as_the_authors_code_says():
    torch.manual_seed(0)
    network = cct.build(classes=10, variant="cct_7_3x2").network
    assert network.pos_embed.std().item() == pytest.approx(0.2, rel=0.02)
    assert network.blocks[0].mlp.fc1.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert network.tokenizer[3].weight.std().item() == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.02)
    assert not network.blocks[0].mlp.fc1.bias.any()
    assert not cct.build(classes=10, variant="vit_lite_7_8").network.cls_token.any()


def test_the_pixels_are_normalised_as_cifar_10s():
    normalize = cct.build(classes=10, variant="vit_lite_7_16").normalize
    torch.testing.assert_close(normalize.mean.flatten(), torch.tensor([0.4914, 0.4822, 0.4465]))
    torch.testing.assert_close(normalize.std.flatten(), torch.tensor([0.2470, 0.2435, 0.2616]))


def test_another_image_size_gives_another_grid():
    for variant in ("tiny_cvt", "tiny_cct"):
        model = cct.build(classes=10, image_size=64, variant=variant)
        assert model(torch.rand(2, 3, 64, 64)).grids[0].shape[-2:] == (8, 8)
    assert cct.build(classes=10, image_size=36, variant="tiny_cct")(torch.rand(1, 3, 36, 36)).grids[0].shape[-1] == 5


def test_an_image_that_cannot_be_cut_is_refused():
    with pytest.raises(UserError, match=r"cannot cut images of 36 x 36 into patches of 16 x 16; choose .* 16 divides"):
        cct.build(classes=10, image_size=36, variant="vit_12_16")
