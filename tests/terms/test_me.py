"""The masked embedding term against hand-computed values, plain loops and closed forms."""

import itertools
import math

import pytest
import torch
from scipy import stats

from vitbench.contracts import Output, Shape, Step
from vitbench.errors import UserError
from vitbench.terms import me

CPU = torch.device("cpu")
KEPT = {0.65: 22, 0.70: 19, 0.75: 16, 0.80: 12, 0.85: 9, 0.90: 6}  # of 64 cells
SMALL = {"depth": 1, "heads": 2}


def shape_of(grid):
    _, channels, height, width = grid.shape
    return Shape(channels=channels, height=height, width=width, embedding=channels, classes=2)


def step_of(grid, *, seed=None):
    batch = len(grid)
    generator = None if seed is None else torch.Generator(grid.device).manual_seed(seed)
    out = Output(logits=grid.new_zeros(batch, 2), embedding=grid.mean((2, 3)), grids=(grid,))
    images = grid.new_zeros(batch, 3, 8, 8)
    labels = torch.zeros(batch, dtype=torch.int64, device=grid.device)
    identity = torch.nn.Identity()
    return Step(images=images, labels=labels, model=identity, forward=lambda _: out, generator=generator)


def random_grid(*size, dtype=torch.float64):
    return torch.randn(*size, dtype=dtype, generator=torch.Generator().manual_seed(3))


def built(grid, **options):
    torch.manual_seed(0)
    return me.build(shape_of(grid), **{**SMALL, **options}).to(grid.dtype)


def masks_with(seed, images, cells, kept):
    generator = torch.Generator().manual_seed(seed)
    return me.draw_masks(images, cells, kept=kept, device=CPU, generator=generator)


def decodes_to_zero(term):
    """Make the blocks the identity, the mask token and the positions zero: a masked cell is restored as 0."""
    with torch.no_grad():
        for name, parameter in term.named_parameters():
            if not name.startswith("blocks") or "attn.proj" in name or "mlp.fc2" in name:
                parameter.zero_()
    return term


def test_the_paper_s_size_has_4705272_parameters():
    shape = Shape(channels=312, height=8, width=8, embedding=312, classes=10)
    block = 2 * 2 * 312 + 3 * 312 * 312 + (312 + 1) * 312 + (312 + 1) * 1248 + (1248 + 1) * 312
    assert 4 * block + 312 + 64 * 312 == 4_705_272
    assert sum(p.numel() for p in me.build(shape).parameters()) == 4_705_272


@pytest.mark.parametrize(("ratio", "kept"), KEPT.items())
def test_the_thesis_ratios_keep_these_cells_of_64(ratio, kept):
    masks = masks_with(0, 32, 64, me.count_kept(64, ratio=ratio))
    assert (~masks).sum(dim=1).tolist() == [kept] * 32


@pytest.mark.parametrize(("cells", "ratio", "kept"), [(100, 0.9, 10), (25, 0.8, 5), (50, 0.7, 15), (16, 0.75, 4)])
def test_a_share_that_is_whole_in_decimal_is_not_rounded_down(cells, ratio, kept):
    assert me.count_kept(cells, ratio=ratio) == kept


@pytest.mark.parametrize(("ratio", "nominal"), [(0.75, 0.75), (0.6, 0.6)])
def test_three_masked_cells_of_four_by_hand(monkeypatch, ratio, nominal):
    monkeypatch.setattr(me, "draw_masks", lambda *_, **__: torch.tensor([[False, True, True, True]]))
    grid = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64).view(1, 1, 2, 2).repeat(1, 2, 1, 1)
    term = decodes_to_zero(built(grid, ratio=ratio))
    # squares 4, 9 and 16 over all four cells, divided by the ratio that was asked for
    assert term(step_of(grid)).item() == pytest.approx(29 / 4 / nominal, rel=1e-12)


@pytest.mark.parametrize("ratio", KEPT)
def test_it_is_the_mean_over_masked_cells_times_their_share_over_the_ratio(ratio):
    grid = random_grid(3, 4, 8, 8)
    term = built(grid, ratio=ratio)
    masked = masks_with(7, 3, 64, KEPT[ratio])
    cells = grid.flatten(2).transpose(1, 2)
    error = (cells - term.decode(cells, masked))[masked].square().mean()
    expected = error * (64 - KEPT[ratio]) / 64 / ratio
    assert term(step_of(grid, seed=7)).item() == pytest.approx(expected.item(), abs=1e-10)


@pytest.mark.parametrize(("height", "width"), [(3, 4), (4, 3), (2, 6)])
def test_it_equals_a_loop_over_images_cells_and_channels(height, width):
    grid = random_grid(3, 4, height, width)
    term = built(grid, ratio=0.5)
    masked = masks_with(5, 3, height * width, height * width // 2)
    squares = []
    for b, (row, column) in itertools.product(range(3), itertools.product(range(height), range(width))):
        sequence = [
            (term.mask_token[0, 0] if masked[b, i * width + j] else grid[b, :, i, j]) + term.positions[0, i * width + j]
            for i in range(height)
            for j in range(width)
        ]
        restored = term.blocks(torch.stack(sequence)[None])[0, row * width + column]
        for channel in range(4):
            error = grid[b, channel, row, column].item() - restored[channel].item()
            squares.append(error**2 * masked[b, row * width + column].item())
    expected = math.fsum(squares) / len(squares) / 0.5
    assert term(step_of(grid, seed=5)).item() == pytest.approx(expected, abs=1e-10)


def test_a_masked_cell_never_reaches_the_decoder():
    grid = random_grid(2, 4, 4, 4)
    term = built(grid)
    restored = []
    term.blocks.register_forward_hook(lambda _, __, output: restored.append(output))
    masked = masks_with(9, 2, 16, 4).view(2, 1, 4, 4)
    other = 10 * grid.roll(1, dims=1) + 1
    for changed in (grid, torch.where(masked, other, grid), torch.where(masked, grid, other)):
        term(step_of(changed, seed=9))
    assert torch.equal(restored[0], restored[1])
    assert not torch.isclose(restored[0], restored[2]).any()  # while a kept cell reaches every other


def test_the_decoder_works_on_all_cells_whatever_the_ratio():
    grid = random_grid(2, 4, 8, 8)
    for ratio in KEPT:
        seen = []
        term = built(grid, ratio=ratio)
        term.blocks.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0].shape))
        term(step_of(grid, seed=0))
        assert seen == [(2, 64, 4)]


def test_every_subset_of_the_kept_size_is_equally_likely():
    masks = masks_with(0, 30_000, 5, 2)
    numbers = (masks.long() << torch.arange(5)).sum(dim=1)
    counts = torch.bincount(numbers, minlength=32)
    assert (counts > 0).sum() == math.comb(5, 2)
    assert stats.chisquare(counts[counts > 0].numpy()).pvalue > 1e-3


@pytest.mark.parametrize(("ratio", "kept"), KEPT.items())
def test_every_cell_is_masked_equally_often(ratio, kept):
    images, share = 4_000, 1 - kept / 64
    counts = masks_with(1, images, 64, kept).sum(dim=0).double()
    # a fixed number per image correlates the counts by -1/63; the last factor makes up for it
    statistic = (counts - images * share).square().sum().item() / (images * share * (1 - share)) * 63 / 64
    assert 1e-3 < stats.chi2.sf(statistic, df=63) < 1 - 1e-3


def test_every_image_has_a_mask_of_its_own():
    assert len(torch.unique(masks_with(0, 256, 64, 16), dim=0)) == 256


@pytest.mark.parametrize("detach", [False, True])
def test_the_gradient_through_the_target_is_the_closed_form(detach):
    grid = random_grid(2, 4, 4, 4).requires_grad_()
    decodes_to_zero(built(grid, detach=detach))(step_of(grid, seed=9)).backward()
    masked = masks_with(9, 2, 16, 4).view(2, 1, 4, 4)
    expected = 0 * grid if detach else 2 * grid * masked / grid.numel() / 0.75
    torch.testing.assert_close(grid.grad, expected.detach(), rtol=1e-12, atol=1e-14)


def test_gradients_are_those_of_finite_differences():
    grid = random_grid(2, 2, 2, 3).requires_grad_()
    term = built(grid, ratio=0.5)
    assert torch.autograd.gradcheck(lambda x: term(step_of(x, seed=1)), grid)


def test_with_detach_only_the_kept_cells_learn_and_learn_the_same():
    gradients = {}
    for detach in (False, True):
        grid = random_grid(2, 4, 4, 4).requires_grad_()
        built(grid, detach=detach)(step_of(grid, seed=9)).backward()
        gradients[detach] = grid.grad.flatten(2).transpose(1, 2)
    masked = masks_with(9, 2, 16, 4)
    assert gradients[True][masked].count_nonzero() == 0
    assert (gradients[False][masked] != 0).all()
    torch.testing.assert_close(gradients[True][~masked], gradients[False][~masked], rtol=1e-12, atol=1e-14)
    assert (gradients[True][~masked] != 0).all()


@pytest.mark.parametrize("detach", [False, True])
def test_gradients_reach_every_parameter(detach):
    grid = random_grid(4, 8, 4, 4, dtype=torch.float32)
    term = built(grid, detach=detach, depth=2)
    term(step_of(grid, seed=0)).backward()
    assert all(p.grad.count_nonzero() > 0 for p in term.parameters())


def test_mask_token_and_positions_start_small_and_truncated():
    term = me.build(Shape(channels=312, height=8, width=8, embedding=312, classes=10), depth=1)
    assert term.positions.std().item() == pytest.approx(0.02, rel=0.05)
    assert term.mask_token.std().item() == pytest.approx(0.02, rel=0.25)


def test_equal_seeds_draw_equally_and_leave_the_global_generator_alone():
    grid = random_grid(4, 8, 4, 4, dtype=torch.float32)
    term = built(grid)
    before = torch.get_rng_state()
    first, again, other = (term(step_of(grid, seed=seed)).item() for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert first == again != other


def test_it_runs_on_meta():
    with torch.device("meta"):
        grid = torch.empty(2, 4, 3, 4, requires_grad=True)
        loss = me.build(shape_of(grid), **SMALL)(step_of(grid))
        loss.backward()
    assert (loss.shape, loss.device.type, grid.grad.shape) == ((), "meta", grid.shape)


def test_bfloat16_is_squared_in_float32():
    grid = random_grid(4, 8, 4, 4, dtype=torch.bfloat16)
    loss = decodes_to_zero(built(grid))(step_of(grid, seed=0))
    masked = masks_with(0, 4, 16, 4).view(4, 1, 4, 4)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx((grid.double().square() * masked).mean().item() / 0.75, rel=1e-6)


def test_under_autocast_the_loss_is_that_of_float32_but_for_rounding():
    grid = random_grid(4, 8, 4, 4, dtype=torch.float32)
    term = built(grid)
    exact = term(step_of(grid, seed=0))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = term(step_of(grid, seed=0))
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(exact.item(), rel=1e-2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": 0.0}, "me: ratio must be a number between 0 and 1, got 0.0"),
        ({"ratio": 1.0}, "got 1.0"),
        ({"ratio": 75}, "got 75"),
        ({"ratio": "0.75"}, "got '0.75'"),
        ({"ratio": math.nan}, "got nan"),
        ({"ratio": 0.95}, "me: ratio=0.95 leaves none of the grid's 16 cells"),
        ({"detach": 1}, "me: detach must be True or False, got 1"),
        ({"depth": 0}, "me: depth must be a whole number from 1 up, got 0"),
        ({"mlp_ratio": 2.5}, "me: mlp_ratio must be a whole number from 1 up, got 2.5"),
        ({"heads": True}, "me: heads must be a whole number from 1 up, got True"),
        ({"heads": 5}, "me: 5 heads do not divide 12 channels; give heads one of 1, 2, 3, 4, 6, 12"),
    ],
)
def test_an_option_out_of_its_range_is_one_line(options, message):
    with pytest.raises(UserError) as error:
        me.build(Shape(channels=12, height=4, width=4, embedding=12, classes=2), **options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
