"""Dense relative localisation against hand-computed values, plain loops and closed forms."""

import math

import pytest
import torch
from scipy import stats

from vitbench.contracts import Output, Shape, Step
from vitbench.errors import UserError
from vitbench.terms import drloc

CPU = torch.device("cpu")


def shape_of(grid):
    _, channels, height, width = grid.shape
    return Shape(channels=channels, height=height, width=width, embedding=channels, classes=2)


def step_of(grid, *, seed=None):
    batch = len(grid)
    generator = None if seed is None else torch.Generator(grid.device).manual_seed(seed)
    out = Output(logits=grid.new_zeros(batch, 2), embedding=grid.mean((2, 3)), grids=(grid,))
    images = grid.new_zeros(batch, 3, 8, 8)
    labels = torch.zeros(batch, dtype=torch.int64, device=grid.device)
    return Step(images=images, labels=labels, out=out, model=torch.nn.Identity(), generator=generator)


def random_grid(*size, dtype=torch.float64):
    return torch.randn(*size, dtype=dtype, generator=torch.Generator().manual_seed(3))


def drawn_with(seed, sets, pairs, cells):
    generator = torch.Generator().manual_seed(seed)
    return drloc.draw_pairs(sets, pairs, cells, device=CPU, generator=generator)


def loss_by_loops(term, grid, drawn):
    """Equation 3.4 pair by pair and image by image."""
    batch, _, height, width = grid.shape
    losses = []
    for b in range(batch):
        for first, second in drawn[b if len(drawn) > 1 else 0].tolist():
            i, j = divmod(first, width)
            l, m = divmod(second, width)  # noqa: E741 - the thesis' letters
            d_u, d_v = term.mlp(torch.cat([grid[b, :, i, j], grid[b, :, l, m]])).tolist()
            losses.append(abs(abs(i - l) / height - d_u) + abs(abs(j - m) / width - d_v))
    return math.fsum(losses) / len(losses)


def answers_always(term, d_u, d_v):
    """Make the MLP a constant, whatever it reads."""
    with torch.no_grad():
        term.mlp[-1].weight.zero_()
        term.mlp[-1].bias.copy_(torch.tensor([d_u, d_v]))
    return term


def test_the_paper_s_size_has_583682_parameters():
    shape = Shape(channels=312, height=8, width=8, embedding=312, classes=10)
    # 624*512 + 512, 512*512 + 512, 512*2 + 2
    assert sum(p.numel() for p in drloc.build(shape).parameters()) == 583_682


def test_two_pairs_by_hand_on_a_grid_of_two_by_three(monkeypatch):
    pairs = torch.tensor([[[0, 5], [4, 4]]])  # corner to corner, and a cell with itself
    monkeypatch.setattr(drloc, "draw_pairs", lambda *_, **__: pairs)
    grid = random_grid(2, 4, 2, 3)
    term = answers_always(drloc.build(shape_of(grid), pairs=2, hidden=8).double(), 0.5, 0.25)
    # targets (1/2, 2/3) and (0, 0): (0 + 5/12) and (1/2 + 1/4), their mean 7/12
    assert term(step_of(grid)).item() == pytest.approx(7 / 12, rel=1e-12)


@pytest.mark.parametrize("sharing", ["batch", "image"])
@pytest.mark.parametrize(("height", "width"), [(4, 4), (3, 5), (5, 3), (1, 7)])
def test_it_equals_a_loop_over_pairs_and_images(sharing, height, width):
    grid = random_grid(6, 5, height, width)
    torch.manual_seed(0)
    term = drloc.build(shape_of(grid), pairs=9, sharing=sharing, hidden=16).double()
    drawn = drawn_with(11, 6 if sharing == "image" else 1, 9, height * width)
    assert term(step_of(grid, seed=11)).item() == pytest.approx(loss_by_loops(term, grid, drawn), abs=1e-10)


def test_a_shared_pair_is_the_same_for_every_image_and_others_differ():
    grid = random_grid(1, 4, 8, 8).expand(5, -1, -1, -1)  # five times one image
    for sharing, distinct in (("batch", 1), ("image", 5)):
        seen = []
        term = drloc.build(shape_of(grid), pairs=6, sharing=sharing, hidden=8).double()
        term.mlp.register_forward_hook(lambda _, inputs, __, seen=seen: seen.append(inputs[0]))
        term(step_of(grid, seed=0))
        assert seen[0].shape == (5, 6, 8)
        assert len(torch.unique(seen[0], dim=0)) == distinct


def test_every_pair_of_positions_is_equally_likely():
    drawn = drawn_with(0, 300, 400, 6)  # the cells of a 2 x 3 grid, with replacement
    counts = torch.bincount((6 * drawn[..., 0] + drawn[..., 1]).flatten(), minlength=36)
    assert len(counts) == 36
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


@pytest.mark.parametrize(("cells", "mean"), [(7, 2.286), (8, 2.625)])
def test_the_mean_distance_is_the_closed_form(cells, mean):
    expected, second = (cells**2 - 1) / (3 * cells), (cells**2 - 1) / 6  # E|d| and E d^2
    assert expected == pytest.approx(mean, abs=5e-4)
    drawn = drawn_with(1, 400, 500, cells * cells)
    target = drloc.distances(drawn, height=cells, width=cells, dtype=torch.float64)
    error = math.sqrt((second - expected**2) / 200_000) / cells
    for coordinate in (0, 1):
        assert abs(target[..., coordinate].mean().item() - expected / cells) < 4 * error


@pytest.mark.parametrize(("cells", "best", "plateau"), [(7, 2, 1.347), (8, 2, 1.5625)])
def test_the_best_constant_costs_the_closed_form_in_each_coordinate(cells, best, plateau):
    grid = torch.zeros(1, 2, cells, cells, dtype=torch.float64)
    term = answers_always(drloc.build(shape_of(grid), pairs=200_000, hidden=1), best / cells, best / cells)
    shares = [(cells if d == 0 else 2 * (cells - d)) / cells**2 for d in range(cells)]  # of each |d|
    mean = sum(p * abs(d - best) for d, p in enumerate(shares))
    assert mean == pytest.approx(plateau, abs=5e-4)
    variance = sum(p * (d - best) ** 2 for d, p in enumerate(shares)) - mean**2
    error = math.sqrt(2 * variance / 200_000) / cells
    assert abs(term.double()(step_of(grid, seed=2)).item() - 2 * mean / cells) < 4 * error


def test_no_constant_is_better_than_the_best_one():
    drawn = drawn_with(4, 1, 50_000, 64)
    target = drloc.distances(drawn, height=8, width=8, dtype=torch.float64)
    losses = {c: (target - c / 80).abs().mean().item() for c in range(80)}
    assert min(losses, key=losses.get) == 20  # 2/8, the median distance
    assert losses[20] == pytest.approx(0.1953, abs=2e-3)


def test_a_row_counts_in_heights_and_a_column_in_widths():
    target = drloc.distances(torch.tensor([[0, 12], [12, 0], [0, 2]]), height=5, width=3, dtype=torch.float64)
    assert target.tolist() == [[4 / 5, 0], [4 / 5, 0], [0, 2 / 3]]


def test_the_target_does_not_depend_on_the_embeddings():
    term = answers_always(drloc.build(Shape(channels=4, height=4, width=4, embedding=4, classes=2)), 0.3, 0.3)
    losses = {term(step_of(grid, seed=5)).item() for grid in (torch.zeros(3, 4, 4, 4), torch.randn(3, 4, 4, 4))}
    assert len(losses) == 1


def test_gradients_are_those_of_finite_differences():
    grid = random_grid(2, 3, 2, 3).requires_grad_()
    torch.manual_seed(0)
    term = drloc.build(shape_of(grid), pairs=5, sharing="image", hidden=8).double()
    assert torch.autograd.gradcheck(lambda x: term(step_of(x, seed=1)), grid)


def test_gradients_reach_every_parameter_and_the_grid():
    grid = random_grid(4, 6, 4, 4, dtype=torch.float32).requires_grad_()
    term = drloc.build(shape_of(grid), hidden=16)
    term(step_of(grid, seed=0)).backward()
    assert all(p.grad.count_nonzero() > 0 for p in [*term.parameters(), grid])


def test_equal_seeds_draw_equally_and_leave_the_global_generator_alone():
    grid = random_grid(4, 6, 4, 4, dtype=torch.float32)
    term = drloc.build(shape_of(grid), hidden=16)
    before = torch.get_rng_state()
    first, again, other = (term(step_of(grid, seed=seed)).item() for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert first == again != other


def test_it_runs_on_meta():
    with torch.device("meta"):
        grid = torch.empty(2, 4, 3, 5, requires_grad=True)
        loss = drloc.build(shape_of(grid), sharing="image")(step_of(grid))
        loss.backward()
    assert (loss.shape, loss.device.type, grid.grad.shape) == ((), "meta", grid.shape)


def test_bfloat16_is_compared_in_float32():
    grid = random_grid(4, 6, 7, 7, dtype=torch.bfloat16)
    term = answers_always(drloc.build(shape_of(grid), hidden=16), 0, 0).bfloat16()
    loss = term(step_of(grid, seed=0))
    drawn = drawn_with(0, 1, 32, 49)
    target = drloc.distances(drawn, height=7, width=7, dtype=torch.float64)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(target.sum(dim=-1).mean().item(), rel=1e-6)


def test_under_autocast_the_loss_is_that_of_float32_but_for_rounding():
    grid = random_grid(4, 6, 7, 7, dtype=torch.float32)
    torch.manual_seed(0)
    term = drloc.build(shape_of(grid), hidden=16)
    exact = term(step_of(grid, seed=0))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = term(step_of(grid, seed=0))
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(exact.item(), rel=1e-2)


def trained_loss(grid):
    torch.manual_seed(0)
    term = drloc.build(shape_of(grid), pairs=64, hidden=64)
    optimizer = torch.optim.Adam(term.parameters(), lr=3e-3, fused=True)
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(300):
        step = step_of(grid)
        loss = term(Step(images=step.images, labels=step.labels, out=step.out, model=term, generator=generator))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return sum(losses[-100:]) / 100


def test_positions_that_are_in_the_embedding_are_learnt():
    i, j = torch.meshgrid(torch.arange(8) / 8, torch.arange(8) / 8, indexing="ij")
    assert trained_loss(torch.stack((i, j)).expand(4, -1, -1, -1)) < 0.2 * 2 * 0.1953


def test_without_positions_in_the_embedding_nothing_is_learnt():
    assert trained_loss(torch.ones(4, 2, 8, 8)) == pytest.approx(2 * 0.1953, rel=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pairs": 0}, "drloc: pairs must be a whole number from 1 up, got 0"),
        ({"pairs": 32.0}, "got 32.0"),
        ({"pairs": True}, "got True"),
        ({"hidden": -1}, "drloc: hidden must be a whole number from 1 up, got -1"),
        ({"sharing": "images"}, "drloc: unknown sharing 'images'; did you mean image"),
        ({"sharing": 1}, "known: batch, image"),
    ],
)
def test_an_option_out_of_its_range_is_one_line(options, message):
    with pytest.raises(UserError) as error:
        drloc.build(Shape(channels=4, height=4, width=4, embedding=4, classes=2), **options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
