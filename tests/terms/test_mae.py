"""The masked autoencoder against hand-computed values, plain loops, numpy and closed forms."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from vitbench.adapter import shape_of
from vitbench.case import Phase
from vitbench.contracts import Encoder, Normalize, Output, Shape, Step
from vitbench.errors import UserError
from vitbench.leaves import find
from vitbench.measure.reconstruction import mean_patch, reconstruct
from vitbench.measure.size import count_params
from vitbench.measure.term_cost import count_term_macs
from vitbench.terms import mae
from vitbench.total import Total
from vitbench.train import Watch, train

CPU = torch.device("cpu")
TAN = Shape(channels=192, height=12, width=12, embedding=192, classes=10, patch_size=3, extra_tokens=1, token_width=192)
SMALL = {"depth": 1, "heads": 2, "dropout": 0.0}


class Patches(nn.Module):
    """An encoder whose token is linear in the patch's pixels and its position, and whose extra ones are learned."""

    def __init__(self, *, grid=(2, 2), patch_size=2, extra=1, width=4, normalize=None):
        super().__init__()
        self.grid, self.patch_size, self.extra_tokens, self.width = grid, patch_size, extra, width
        self.normalize = normalize or Normalize()
        draw = torch.Generator().manual_seed(2)
        self.weight = nn.Parameter(torch.randn(3 * patch_size**2, width, generator=draw))
        self.positions = nn.Parameter(torch.randn(grid[0] * grid[1], width, generator=draw))
        self.last = nn.Parameter(torch.randn(extra, width, generator=draw))

    @property
    def shape(self):
        height, width = self.grid
        sizes = {"patch_size": self.patch_size, "extra_tokens": self.extra_tokens, "token_width": self.width}
        return Shape(channels=self.width, height=height, width=width, embedding=self.width, classes=2, **sizes)

    def patches(self, images):
        """By loops, so that what the term makes of them is tested against something else."""
        size, pixels = self.patch_size, self.normalize(images)
        corners = itertools.product(range(0, images.shape[2], size), range(0, images.shape[3], size))
        return torch.stack(
            [pixels[:, :, i : i + size, j : j + size].permute(0, 2, 3, 1).flatten(1) for i, j in corners], 1
        )

    def encode(self, images, kept):
        patches = self.patches(images)
        rows = [patches[b, one] @ self.weight + self.positions[one] for b, one in enumerate(kept)]
        return torch.cat((torch.stack(rows), self.last.expand(len(images), -1, -1)), dim=1)

    def forward(self, images):
        tokens = self.encode(images, torch.arange(len(self.positions)).expand(len(images), -1))
        grid = tokens[:, : len(self.positions)].transpose(1, 2).unflatten(2, self.grid)
        return Output(logits=tokens[:, -1, :2], embedding=tokens[:, -1], grids=(grid,))


class Answer(nn.Module):
    """A decoder that answers with what it was given."""

    def __init__(self, pixels):
        super().__init__()
        self.pixels = pixels

    def forward(self, tokens, kept):
        return self.pixels


def images_for(model, batch=2, *, seed=3, dtype=torch.float32):
    (height, width), size = model.grid, model.patch_size
    draw = torch.Generator().manual_seed(seed)
    return torch.rand(batch, 3, height * size, width * size, generator=draw, dtype=dtype)


def built(model, **options):
    torch.manual_seed(0)
    return mae.build(model.shape, **{**SMALL, **options}).to(model.weight.dtype)


def step_of(model, images, *, seed=None):
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    labels = torch.zeros(len(images), dtype=torch.int64)
    return Step(images=images, labels=labels, model=model, forward=unasked, generator=generator)


def unasked(images):
    pytest.fail("the whole network was run, which a pre-training has no use for")


def kept_with(seed, images, patches, kept):
    return mae.draw_kept(images, patches, kept=kept, device=CPU, generator=torch.Generator().manual_seed(seed))


def masked_with(seed, images, patches, kept):
    masked = torch.ones(images, patches, dtype=torch.bool)
    for row, visible in zip(masked, kept_with(seed, images, patches, kept), strict=True):
        row[visible] = False
    return masked


def test_the_decoder_of_the_paper_has_1221696_parameters():
    block = 2 * 2 * 192 + (192 + 1) * 3 * 192 + (192 + 1) * 192 + (192 + 1) * 384 + (384 + 1) * 192
    assert block == 297_024
    mask, positions, norm, head = 192, 145 * 192, 2 * 192, 192 * 27
    assert mask + positions + 4 * block + norm + head == 1_221_696
    assert sum(p.numel() for p in mae.build(TAN).parameters()) == 1_221_696


def test_its_blocks_are_those_of_the_paper():
    blocks = mae.build(TAN).decoder.blocks
    assert len(blocks) == 4
    for block in blocks:
        assert block.norm_first
        assert block.activation is torch.nn.functional.relu
        assert (block.self_attn.num_heads, block.self_attn.dropout) == (3, 0.1)
        assert [block.dropout.p, block.dropout1.p, block.dropout2.p] == [0.1] * 3
    assert {block.linear1.out_features for block in mae.build(TAN, mlp_ratio=4).decoder.blocks} == {4 * 192}


def test_of_144_patches_36_stay():
    assert mae.build(TAN).kept == 36


@pytest.mark.parametrize(("patches", "ratio", "kept"), [(100, 0.9, 10), (25, 0.8, 5), (50, 0.7, 15), (4, 0.75, 1)])
def test_a_share_that_is_whole_in_decimal_is_not_rounded_down(patches, ratio, kept):
    assert mae.count_kept(patches, ratio=ratio) == kept


@pytest.mark.parametrize(("options", "alpha"), [({}, 0.1), ({"discount": 0}, 0.0), ({"discount": 2.5}, 2.5)])
def test_equation_1_by_hand(monkeypatch, options, alpha):
    monkeypatch.setattr(mae, "draw_kept", lambda *_, **__: torch.tensor([[2]]))
    model = Patches(patch_size=1)
    images = torch.tensor([0.5, 1.0, 0.0, 0.75]).view(1, 1, 2, 2).repeat(1, 3, 1, 1)  # 0, 1, -1, .5 for the network
    term = built(model, **options)
    nn.init.zeros_(term.decoder.head.weight)  # so that everything is restored as 0
    assert term(step_of(model, images)).item() == pytest.approx((0 + 1 + 0.25) / 3 + alpha * 1, rel=1e-6)


def test_each_of_the_two_means_is_over_its_own_pixels(monkeypatch):
    # One of two patches is visible in each image; they have errors 1 and 4, and 9 and 16, in all of their 12 numbers.
    monkeypatch.setattr(mae, "draw_kept", lambda *_, **__: torch.tensor([[0], [1]]))
    model = Patches(grid=(1, 2))
    images = images_for(model)
    term = built(model, ratio=0.5)
    term.decoder = Answer(model.patches(images) + torch.tensor([[1.0, -2.0], [3.0, 4.0]]).unsqueeze(-1))
    assert term(step_of(model, images)).item() == pytest.approx((4 + 9) / 2 + 0.1 * (1 + 16) / 2, rel=1e-5)


@pytest.mark.parametrize(("grid", "extra", "ratio"), [((3, 2), 1, 0.5), ((2, 3), 0, 0.75), ((1, 4), 2, 0.25)])
def test_it_equals_a_loop_over_images_patches_and_pixels(grid, extra, ratio):
    model = Patches(grid=grid, extra=extra).double()
    images = images_for(model, 3, dtype=torch.float64)
    term, cells = built(model, ratio=ratio), grid[0] * grid[1]
    kept, decoder = kept_with(5, 3, cells, int(cells * (1 - ratio))), term.decoder
    squares = {True: [], False: []}
    for b in range(3):
        tokens = list(model.encode(images[b : b + 1], kept[b : b + 1])[0])
        visible = kept[b].tolist()
        sequence = [tokens[visible.index(n)] if n in visible else decoder.mask_token[0, 0] for n in range(cells)]
        sequence = torch.stack([*sequence, *tokens[len(visible) :]]) + decoder.positions[0]
        restored = decoder.head(decoder.norm(decoder.blocks(sequence[None])))[0]
        target = model.patches(images[b : b + 1])[0]
        for n, k in itertools.product(range(cells), range(12)):
            squares[n in visible].append((restored[n, k].item() - target[n, k].item()) ** 2)
    hidden, seen = (math.fsum(squares[key]) / len(squares[key]) for key in (False, True))
    assert term(step_of(model, images, seed=5)).item() == pytest.approx(hidden + 0.1 * seen, abs=1e-10)


def test_what_lies_in_a_masked_patch_reaches_neither_encoder_nor_decoder():
    model = Patches(grid=(4, 4), width=8)
    images, term = images_for(model), built(Patches(grid=(4, 4), width=8))
    masked = masked_with(9, 2, 16, 4).view(2, 1, 4, 4)
    masked = masked.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    restored = []
    for changed in (images, torch.where(masked, 1 - images, images), torch.where(masked, images, 1 - images)):
        restored.append(term.predict(model, changed, torch.Generator().manual_seed(9))[0])
    assert torch.equal(restored[0], restored[1])
    assert not torch.isclose(restored[0], restored[2]).any()  # while a visible one reaches every other


def test_every_subset_of_the_kept_size_is_equally_likely_and_in_no_order():
    kept = kept_with(0, 30_000, 5, 2)
    counts = torch.bincount(kept[:, 0] * 5 + kept[:, 1], minlength=25)
    assert (counts > 0).sum() == 5 * 4
    assert stats.chisquare(counts[counts > 0].numpy()).pvalue > 1e-3


def test_every_image_has_a_mask_of_its_own():
    assert len(torch.unique(masked_with(0, 256, 64, 16), dim=0)) == 256


def test_equal_seeds_mask_equally_and_leave_the_global_generator_alone():
    model = Patches(grid=(4, 4))
    images, term, before = images_for(model, 8), built(model), torch.get_rng_state()
    first, again, other = (term.predict(model, images, torch.Generator().manual_seed(s))[1] for s in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first, again)
    assert torch.equal(first, masked_with(0, 8, 16, 4))
    assert not torch.equal(first, other)


@pytest.mark.parametrize("options", [{}, {"discount": 0.0, "norm_pix": True}])
def test_gradients_reach_every_parameter_of_encoder_and_decoder(options):
    model = Patches(grid=(4, 4))
    term = built(model, depth=2, **options)
    term(step_of(model, images_for(model), seed=0)).backward()
    parts = [*model.named_parameters(), *term.named_parameters()]
    assert [name for name, one in parts if one.grad is None or not one.grad.any()] == []
    assert model.positions.grad.any(dim=1).sum() > 4  # of different patches in the two images


def test_gradients_are_those_of_finite_differences():
    model = Patches(grid=(2, 3)).double()
    term, images = built(model, ratio=0.5), images_for(model, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: term(step_of(model, x, seed=1)), images.requires_grad_())


def test_patches_are_normalised_one_by_one_as_numpy_does_it():
    model = Patches(grid=(4, 4))
    images = images_for(model)
    images[0, :, :2, :2] = 0.25  # without any contrast
    term = built(model, norm_pix=True)
    patches = model.patches(images)
    pixels = patches.numpy().astype(np.float64)
    mean, variance = pixels.mean(-1, keepdims=True), pixels.var(-1, ddof=1, keepdims=True)
    expected = (pixels - mean) / np.sqrt(variance + 1e-6)
    np.testing.assert_allclose(term.targets(patches).numpy(), expected, rtol=1e-4, atol=1e-5)
    nn.init.zeros_(term.decoder.head.weight)
    masked = masked_with(4, 2, 16, 4).numpy()
    means = [np.square(expected).mean(-1)[where].mean() for where in (masked, ~masked)]
    loss = term(step_of(model, images, seed=4)).item()
    assert loss == pytest.approx(means[0] + 0.1 * means[1], rel=1e-5)


def test_dropout_is_drawn_in_training_only():
    model = Patches(grid=(4, 4))
    images, term = images_for(model), built(model, dropout=0.5)
    training, evaluation = (
        [term.train(mode)(step_of(model, images, seed=0)).item() for _ in range(2)] for mode in (True, False)
    )
    assert training[0] != training[1]
    assert evaluation[0] == evaluation[1]


def test_mask_token_and_positions_start_at_their_spread():
    decoder = mae.build(TAN, depth=1).decoder
    assert decoder.positions.std().item() == pytest.approx(0.02, rel=0.05)
    assert decoder.mask_token.std().item() == pytest.approx(0.02, rel=0.25)
    wider = mae.build(TAN, depth=1, position_std=0.2).decoder
    assert wider.positions.std().item() == pytest.approx(0.2, rel=0.05)
    assert wider.mask_token.std().item() == pytest.approx(0.02, rel=0.25)


def test_it_runs_on_meta():
    with torch.device("meta"):
        loss = mae.build(TAN)(step_of(Patches(grid=(12, 12), patch_size=3, width=192), torch.empty(2, 3, 36, 36)))
        loss.backward()
    assert (loss.shape, loss.device.type) == ((), "meta")


def test_it_costs_what_the_closed_form_says():
    encoder = 36 * 27 * 192
    block = 145 * (4 + 2 * 2) * 192**2 + 2 * 145**2 * 192
    model = {"grid": (12, 12), "patch_size": 3, "width": 192}
    macs = count_term_macs(lambda: mae.build(TAN), model=lambda: Patches(**model), image_size=36)
    assert macs == encoder + 4 * block + 144 * 192 * 27


def test_bfloat16_is_squared_in_float32():
    model = Patches(grid=(4, 4))
    images, term = images_for(model), built(model)
    nn.init.zeros_(term.decoder.head.weight)
    patches = model.patches(images)
    errors = term.errors(torch.zeros_like(patches, dtype=torch.bfloat16), patches)
    assert errors.dtype == torch.float32
    torch.testing.assert_close(errors, patches.square().mean(-1), rtol=1e-6, atol=0)


def test_under_autocast_the_loss_is_that_of_float32_but_for_rounding():
    model = Patches(grid=(4, 4))
    images, term = images_for(model, 4), built(model)
    exact = term(step_of(model, images, seed=0))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = term(step_of(model, images, seed=0))
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(exact.item(), rel=1e-2)


@pytest.mark.parametrize("normalize", [Normalize(), Normalize(mean=(0.49, 0.48, 0.44), std=(0.25, 0.24, 0.26))])
@pytest.mark.parametrize("norm_pix", [False, True])
def test_what_is_decoded_right_is_the_image_again(normalize, norm_pix):
    model = Patches(grid=(3, 5), patch_size=4, normalize=normalize)
    images, term = images_for(model), built(model, norm_pix=norm_pix)
    term.decoder = Answer(term.targets(model.patches(images)))
    restored, masked, errors = term.restore(model, images, torch.Generator().manual_seed(3))
    torch.testing.assert_close(restored, images, rtol=0, atol=1e-5)
    assert torch.equal(masked, masked_with(3, 2, 15, 3))
    assert torch.equal(errors, torch.zeros(2, 15))


def test_what_is_decoded_beyond_black_and_white_is_cut_off_after_its_error_is_taken():
    model = Patches()
    images, term = images_for(model), built(model)
    images[0], images[1] = 0.0, 1.0
    term.decoder = Answer(3 * model.patches(images))  # -3 and 3 in place of -1 and 1
    restored, _, errors = term.restore(model, images)
    assert torch.equal(restored, images)
    assert torch.equal(errors, torch.full((2, 4), 4.0))


def test_only_what_looks_at_some_of_its_patches_is_an_encoder():
    assert isinstance(Patches(), Encoder)
    assert not isinstance(nn.Linear(1, 1), Encoder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": 0.0}, "mae: ratio must be a number between 0 and 1, got 0.0"),
        ({"ratio": 75}, "got 75"),
        ({"ratio": math.nan}, "got nan"),
        ({"ratio": 0.95}, "mae: ratio=0.95 leaves none of the 16 patches"),
        ({"discount": -0.1}, "mae: discount must be a number from 0 up, got -0.1"),
        ({"discount": math.inf}, "got inf"),
        ({"discount": True}, "got True"),
        ({"norm_pix": 1}, "mae: norm_pix must be True or False, got 1"),
        ({"depth": 0}, "mae: depth must be a whole number from 1 up, got 0"),
        ({"mlp_ratio": 2.5}, "mae: mlp_ratio must be a whole number from 1 up, got 2.5"),
        ({"heads": True}, "mae: heads must be a whole number from 1 up, got True"),
        ({"heads": 5}, "mae: 5 heads do not divide 12 channels; give heads one of 1, 2, 3, 4, 6, 12"),
        ({"dropout": 1.0}, "mae: dropout must be a number from 0 up and below 1, got 1.0"),
        ({"dropout": "0.1"}, "got '0.1'"),
        ({"position_std": 0.0}, "mae: position_std must be a number above 0, got 0.0"),
        ({"position_std": math.inf}, "got inf"),
    ],
)
def test_an_option_out_of_its_range_is_one_line(options, message):
    with pytest.raises(UserError) as error:
        mae.build(Patches(grid=(4, 4), width=12).shape, **options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_model_that_sees_all_its_patches_or_none_is_refused_by_one_line():
    with pytest.raises(UserError, match=r"^mae: expected a model that encodes some of its patches .* mae_vit or vit$"):
        mae.build(Shape(channels=12, height=4, width=4, embedding=12, classes=2))


def real(reference, classes=10, image_size=32):
    name, variant = reference.split("/")
    torch.manual_seed(0)
    return find("models", name).load()(classes=classes, image_size=image_size, variant=variant)


def test_the_whole_autoencoder_of_the_paper_has_4856256_parameters_besides_the_classifier():
    model = real("mae_vit/tan2024", image_size=36)
    term = mae.build(shape_of(model, image_size=36))
    both = count_params(model) + count_params(term)
    assert both - count_params(model.network.get_classifier()) == 4_856_256


def test_a_pre_training_step_of_the_paper_costs_what_the_closed_form_says():
    def layers(count, tokens):
        return count * (tokens * (4 + 2 * 2) * 192**2 + 2 * tokens**2 * 192)

    encoder = 37 * 27 * 192 + layers(12, 37) + 37 * 192**2
    with torch.device("meta"):
        model = real("mae_vit/tan2024", image_size=36)
        term = mae.build(shape_of(model, image_size=36))
    macs = count_term_macs(lambda: term, model=lambda: model, image_size=36)
    assert macs == encoder + layers(4, 145) + 144 * 192 * 27 == 342_894_912


@pytest.mark.parametrize("reference", ["mae_vit/tiny", "vit/tiny"])
def test_what_lies_in_a_masked_patch_is_not_seen_by_the_networks_that_the_error_names(reference):
    model = real(reference).eval()
    term = mae.build(shape_of(model, image_size=32), **mae.TINY).eval()
    (height, width), size = term.grid, term.patch_size
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    masked = masked_with(9, 2, height * width, term.kept).view(2, 1, height, width)
    masked = masked.repeat_interleave(size, dim=2).repeat_interleave(size, dim=3)
    restored, changed, seen = (
        term.predict(model, one, torch.Generator().manual_seed(9))[0]
        for one in (images, torch.where(masked, 1 - images, images), torch.where(masked, images, 1 - images))
    )
    assert torch.equal(restored, changed)
    assert not torch.isclose(restored, seen).any()


def test_other_networks_are_refused():
    with pytest.raises(UserError, match="encodes some of its patches alone"):
        mae.build(shape_of(real("resnet/tiny"), image_size=32))


def test_a_few_steps_on_digits_restore_them_better_than_their_mean_patch_does():
    digits, model = find("datasets", "digits").load()(None), real("mae_vit/tiny")
    torch.manual_seed(0)
    term = mae.build(shape_of(model, image_size=32), **mae.TINY)
    mean = mean_patch(model, term, digits.train)
    phase = Phase(epochs=1, batch_size=32, optimizer={"name": "adamw", "lr": 1e-2}, schedule={"name": "constant"})
    watch = Watch(examine=lambda number: {})
    train(model, Total({"mae": term}, {"mae": 1.0}), digits.train, [phase], seed=0, watch=watch)
    found = reconstruct(model, term, digits.test, mean=mean, generator=torch.Generator().manual_seed(0))
    assert found.mse < found.mean_patch_mse
