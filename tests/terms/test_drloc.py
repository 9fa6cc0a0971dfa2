"""Dense relative localisation against hand-computed values, plain loops and closed forms."""

import inspect
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from vitbench.contracts import Output, Shape, Step
from vitbench.errors import UserError
from vitbench.terms import drloc

CPU = torch.device("cpu")
# Liu et al. 2021, as their text has it and as their code has it.
PAPER = {"pairs": 64, "sharing": "image", "unit": "grid", "reduction": "image", "side": 7, "pooling": "2x2"}
CODE = {"pairs": 64, "sharing": "image", "unit": "cells", "reduction": "mean", "side": 7, "pooling": "3x3"}
VARIANTS = [
    PAPER,
    CODE,
    {"unit": "span", "signed": True, "reduction": "sum"},
    {"loss": "ce"},
    {"loss": "ce", "signed": True, "reduction": "mean"},
    {"loss": "cbr", "side": 4, "pooling": "3x3"},
    {"loss": "cbr", "signed": True, "side": 2, "reduction": "sum"},
]
every_variant = pytest.mark.parametrize("options", VARIANTS, ids=lambda one: "-".join(map(str, one.values())))


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
        term.mlp[-1].bias.copy_(torch.tensor([d_u, d_v], dtype=torch.float64))
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


def all_pairs(height, width):
    """(1, (h*w)^2, 2): every pair of cells once."""
    cells = torch.arange(height * width)
    return torch.cartesian_prod(cells, cells).unsqueeze(0)


def given(monkeypatch, pairs):
    monkeypatch.setattr(drloc, "draw_pairs", lambda *_, **__: pairs)


@pytest.mark.parametrize(("k", "cells", "share"), [(7, 2.286, 0.3265), (8, 2.625, 0.3281)])
def test_over_all_pairs_the_mean_distance_is_the_closed_form(k, cells, share):
    for unit, divisor, printed in (("cells", 1, cells), ("grid", k, share), ("span", k - 1, None)):
        target = drloc.distances(all_pairs(k, k), height=k, width=k, dtype=torch.float64, unit=unit)
        for mean in target.mean(dim=(0, 1)).tolist():
            assert mean == pytest.approx((k**2 - 1) / (3 * k) / divisor, rel=1e-12)
            assert printed is None or mean == pytest.approx(printed, abs=5e-4)


@pytest.mark.parametrize(
    ("k", "unit", "plateau"),
    [(7, "cells", 1.347), (7, "grid", 0.1924), (8, "cells", 1.5625), (8, "grid", 0.1953)],
)
def test_over_all_pairs_no_constant_is_better_than_two_cells(monkeypatch, k, unit, plateau):
    given(monkeypatch, all_pairs(k, k))
    grid = torch.zeros(1, 2, k, k, dtype=torch.float64)
    term = drloc.build(shape_of(grid), hidden=1, unit=unit, reduction="mean").double()
    size = {"cells": 1, "grid": k}[unit]
    losses = {c: answers_always(term, c / 2 / size, c / 2 / size)(step_of(grid)).item() for c in range(2 * k)}
    assert min(losses, key=losses.get) == 4  # halves of a cell
    assert losses[4] == pytest.approx(plateau, abs=5e-4)
    exact = sum(abs(abs(i - p) - 2) for i in range(k) for p in range(k)) / k**2 / size
    assert losses[4] == pytest.approx(exact, rel=1e-12)


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


# Liu et al. 2021: units, reductions, signs


@pytest.mark.parametrize(
    ("channels", "parameters"), [(384, 657_410), (768, 1_050_626), (2048, 2_361_346), (312, 583_682)]
)
def test_the_mlp_has_the_published_parameters(channels, parameters):
    shape = Shape(channels=channels, height=7, width=7, embedding=channels, classes=10)
    for reading in (PAPER, CODE):
        assert sum(p.numel() for p in drloc.build(shape, **reading).parameters()) == parameters


@pytest.mark.parametrize(("signed", "classes"), [(False, 7), (True, 13)])
@pytest.mark.parametrize("side", [7, 14])
def test_a_trunk_of_three_layers_and_two_of_its_own_have_a_class_for_every_offset(side, signed, classes):
    shape = Shape(channels=384, height=side, width=side, embedding=384, classes=10)
    for loss in ("ce", "cbr"):
        term = drloc.build(shape, loss=loss, signed=signed, side=7)
        expected = (768 * 512 + 512) + 2 * (512 * 512 + 512) + 2 * (512 * classes + classes)
        assert sum(p.numel() for p in term.parameters()) == expected
        kinds = [type(layer) for layer in term.mlp]
        assert kinds == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
        assert (term.rows.out_features, term.columns.out_features) == (classes, classes)


def test_units_on_a_grid_of_five_by_three():
    drawn = torch.tensor([[0, 14], [14, 0], [4, 4], [1, 9]])  # (0, 0) (4, 2); back; none; (0, 1) (3, 0)
    expected = {
        ("cells", False): [[4, 2], [4, 2], [0, 0], [3, 1]],
        ("grid", False): [[4 / 5, 2 / 3], [4 / 5, 2 / 3], [0, 0], [3 / 5, 1 / 3]],
        ("span", False): [[1, 1], [1, 1], [0, 0], [3 / 4, 1 / 2]],
        ("cells", True): [[-4, -2], [4, 2], [0, 0], [-3, 1]],
        ("grid", True): [[-4 / 5, -2 / 3], [4 / 5, 2 / 3], [0, 0], [-3 / 5, 1 / 3]],
        ("span", True): [[-1, -1], [1, 1], [0, 0], [-3 / 4, 1 / 2]],
    }
    for (unit, signed), values in expected.items():
        target = drloc.distances(drawn, height=5, width=3, dtype=torch.float64, unit=unit, signed=signed)
        assert target.tolist() == values, (unit, signed)


def test_a_grid_of_one_row_has_no_distance_in_rows_whatever_the_unit():
    for unit in ("grid", "cells", "span"):
        target = drloc.distances(torch.tensor([[0, 6]]), height=1, width=7, dtype=torch.float64, unit=unit)
        assert target.tolist() == [[0, {"grid": 6 / 7, "cells": 6, "span": 1}[unit]]]


def test_signed_offsets_of_all_pairs_are_symmetric_about_zero():
    target = drloc.distances(all_pairs(7, 7), height=7, width=7, dtype=torch.float64, unit="cells", signed=True)
    for coordinate in (0, 1):
        counts = torch.bincount((target[0, :, coordinate] + 6).long(), minlength=13)
        assert counts.tolist() == [49 * (7 - abs(d)) for d in range(-6, 7)]


def test_reductions_of_two_images_and_two_pairs_by_hand(monkeypatch):
    given(monkeypatch, torch.tensor([[[0, 5], [4, 4]], [[0, 0], [0, 1]]]))  # a grid of 2 x 3
    grid = random_grid(2, 4, 2, 3)
    # distances (1, 2) (0, 0) and (0, 0) (0, 1) in cells; from (.5, .25): .5+1.75, .5+.25 and .5+.25, .5+.75
    for reduction, expected in (("image", 5 / 4), ("mean", 5 / 8), ("sum", 3 / 2 + 1)):
        term = drloc.build(shape_of(grid), sharing="image", hidden=8, unit="cells", reduction=reduction).double()
        assert answers_always(term, 0.5, 0.25)(step_of(grid)).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("loss", ["l1", "ce", "cbr"])
def test_a_sum_is_as_many_times_the_mean_over_images_as_there_are_images(loss):
    grid, values = random_grid(6, 5, 4, 5), {}
    for reduction in ("image", "mean", "sum"):
        torch.manual_seed(0)
        term = drloc.build(shape_of(grid), hidden=16, loss=loss, reduction=reduction).double()
        values[reduction] = term(step_of(grid, seed=2)).item()
    assert values["sum"] == pytest.approx(6 * values["image"], rel=1e-12)
    # The losses of the two coordinates are averaged under l1, and always added up as classes.
    assert values["image"] == pytest.approx((2 if loss == "l1" else 1) * values["mean"], rel=1e-12)


def test_the_code_s_loss_is_three_and_a_half_times_the_paper_s():
    grid, losses = random_grid(6, 5, 7, 7), {}
    for name, reading in (("paper", PAPER), ("code", CODE)):
        torch.manual_seed(0)
        term = drloc.build(shape_of(grid), **{**reading, "hidden": 16}).double()
        if name == "code":  # the same answers, in cells
            with torch.no_grad():
                term.mlp[-1].weight.mul_(7)
                term.mlp[-1].bias.mul_(7)
        losses[name] = term(step_of(grid, seed=3)).item()
    assert losses["code"] == pytest.approx(7 / 2 * losses["paper"], rel=1e-12)


# Liu et al. 2021: pooling


def test_windows_by_hand_on_a_grid_of_four_by_four():
    grid = torch.arange(16.0).view(1, 1, 4, 4)
    assert drloc.coarsen(grid, side=2, pooling="2x2").tolist() == [[[[2.5, 4.5], [10.5, 12.5]]]]
    # corner 0 1 4 5; edges 1 2 3 5 6 7 and 4 5 8 9 12 13; then 5 6 7 9 10 11 13 14 15
    assert drloc.coarsen(grid, side=2, pooling="3x3").tolist() == [[[[2.5, 4.0], [8.5, 10.0]]]]


def test_pooling_is_torch_s_average_with_the_published_arguments():
    grid = random_grid(2, 3, 14, 14)
    for pooling, reference in (
        ("2x2", nn.AvgPool2d(2)),
        ("3x3", nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False)),
    ):
        assert torch.equal(drloc.coarsen(grid, side=7, pooling=pooling), reference(grid))
        finer = grid.repeat(1, 1, 2, 2)  # 28 x 28 takes two steps
        assert torch.equal(drloc.coarsen(finer, side=7, pooling=pooling), reference(reference(finer)))


@pytest.mark.parametrize("pooling", ["2x2", "3x3"])
def test_pooling_ends_when_neither_side_is_longer(pooling):
    def left(height, width, side):
        return tuple(drloc.coarsen(torch.zeros(1, 1, height, width), side=side, pooling=pooling).shape[2:])

    for size in ((7, 7), (4, 4), (3, 7)):
        assert left(*size, side=7) == size
    assert [left(14, 14, side) for side in (0, 14, 13, 7, 6)] == [(14, 14), (14, 14), (7, 7), (7, 7), (4, 4)]
    assert [left(8, 3, side=7), left(1, 14, side=7), left(13, 13, side=7)] == [(4, 2), (1, 7), (7, 7)]
    assert left(9, 5, side=1) == (1, 1)


def test_a_window_that_the_border_cuts_off_averages_what_is_left():
    grid = torch.arange(9.0).view(1, 1, 3, 3)
    assert drloc.coarsen(grid, side=2, pooling="2x2").tolist() == [[[[2.0, 3.5], [6.5, 8.0]]]]


@pytest.mark.parametrize("pooling", ["2x2", "3x3"])
def test_the_mlp_reads_pooled_cells_and_the_model_s_grid_stays(pooling):
    grid, seen = random_grid(2, 4, 14, 14), []
    before = grid.clone()
    term = drloc.build(shape_of(grid), **{**PAPER, "hidden": 8, "pooling": pooling}).double()
    term.mlp.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    step = step_of(grid, seed=0)
    term(step)
    assert torch.equal(step.out.grids[0], before)
    assert step.out.grids[0].shape == (2, 4, 14, 14)
    pooled = drloc.coarsen(grid, side=7, pooling=pooling).flatten(2)  # (B, D, 49)
    drawn = drawn_with(0, 2, 64, 49)
    for b, n in ((0, 0), (1, 63)):
        first, second = drawn[b, n]
        assert torch.equal(seen[0][b, n], torch.cat([pooled[b, :, first], pooled[b, :, second]]))


# Liu et al. 2021: whole protocols against their description, in numpy


def pooled_by_loops(grid, pooling):
    """(B, D, 14, 14) to (B, D, 7, 7)."""
    before, after = {"2x2": (0, 2), "3x3": (1, 2)}[pooling]
    windows = [(max(2 * at - before, 0), 2 * at + after) for at in range(7)]
    rows = [
        [grid[:, :, top:bottom, left:right].mean(axis=(2, 3)) for left, right in windows] for top, bottom in windows
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def mlp_by_products(term, pair):
    layers = [layer for layer in term.mlp if isinstance(layer, nn.Linear)]
    for number, layer in enumerate(layers):
        pair = layer.weight.detach().numpy() @ pair + layer.bias.detach().numpy()
        if number < 2:
            pair = np.maximum(pair, 0)
    return pair


def by_description(term, grid, drawn, *, reading):
    """The loss as Liu et al. describe it; the batch's size divides the paper's, as it does cross-entropy."""
    grid = pooled_by_loops(grid.numpy(), reading["pooling"])
    images = []
    for b, pairs in enumerate(drawn.tolist()):
        errors = []
        for first, second in pairs:
            (i, j), (p, h) = divmod(first, 7), divmod(second, 7)
            d = mlp_by_products(term, np.concatenate([grid[b, :, i, j], grid[b, :, p, h]]))
            t = np.array([abs(i - p), abs(j - h)])
            # Equation 1 divides by k, Equation 2 adds up the coordinates; the code does neither.
            errors.append(np.abs(t / 7 - d).sum() if reading is PAPER else np.abs(t - d).mean())
        images.append(np.mean(errors))
    return np.mean(images)


@pytest.mark.parametrize("reading", [PAPER, CODE], ids=["paper", "code"])
def test_a_protocol_is_the_loss_of_its_description(reading):
    grid = random_grid(3, 5, 14, 14)
    torch.manual_seed(0)
    term = drloc.build(shape_of(grid), **{**reading, "hidden": 16}).double()
    expected = by_description(term, grid, drawn_with(7, 3, 64, 49), reading=reading)
    assert term(step_of(grid, seed=7)).item() == pytest.approx(expected, rel=1e-12)


# Liu et al. 2021: classes


def gives_always(term, rows, columns):
    """Make the logits constants, whatever the MLP reads."""
    with torch.no_grad():
        for layer, logits in ((term.rows, rows), (term.columns, columns)):
            layer.weight.zero_()
            layer.bias.copy_(torch.tensor(logits, dtype=torch.float64))
    return term


def test_one_pair_by_hand_in_two_classes(monkeypatch):
    given(monkeypatch, torch.tensor([[[2, 0]]]))  # one row down on a grid of 2 x 2, same column
    grid = random_grid(1, 4, 2, 2)
    # Rows: 1 with probability 3/4, so mean 3/4, variance 3/16, error 1/4. Columns: 1/2, so 1/2, 1/4, 1/2.
    expected = {
        "ce": math.log(4 / 3) + math.log(2),
        "cbr": (1 / 16) / (3 / 16) + 0.001 * math.log(3 / 16) + (1 / 4) / (1 / 4) + 0.001 * math.log(1 / 4),
    }
    for loss, value in expected.items():
        term = drloc.build(shape_of(grid), hidden=8, loss=loss).double()
        found = gives_always(term, [0.0, math.log(3)], [0.0, 0.0])(step_of(grid)).item()
        assert found == pytest.approx(value, rel=1e-6)  # the smallest variance, 1e-8, is within


def test_signed_classes_start_with_the_longest_way_back(monkeypatch):
    grid = random_grid(1, 4, 2, 3)
    term = drloc.build(shape_of(grid), hidden=8, loss="ce", signed=True).double()
    rows, columns = [0.0, 1.0, 2.0], [0.0, 3.0, 5.0, 7.0, 11.0]  # offsets -1 to 1, and -2 to 2
    gives_always(term, rows, columns)
    for pair, row, column in (([0, 5], -1, -2), ([5, 0], 1, 2), ([4, 4], 0, 0), ([1, 3], -1, 1)):
        given(monkeypatch, torch.tensor([[pair]]))
        expected = special.logsumexp(rows) - rows[row + 1] + special.logsumexp(columns) - columns[column + 2]
        assert term(step_of(grid)).item() == pytest.approx(expected, rel=1e-12)


def classes_by_hand(loss, logits, target):
    """Error of one coordinate of one pair, in plain numbers."""
    weights = [math.exp(one - max(logits)) for one in logits]
    shares = [one / math.fsum(weights) for one in weights]
    if loss == "ce":
        return -math.log(shares[target])
    mean = math.fsum(c * p for c, p in enumerate(shares))
    variance = math.fsum((c - mean) ** 2 * p for c, p in enumerate(shares)) + 1e-8
    return math.exp(-math.log(variance)) * (mean - target) ** 2 + 0.001 * math.log(variance)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("sharing", ["batch", "image"])
@pytest.mark.parametrize("loss", ["ce", "cbr"])
def test_classes_equal_a_loop_over_pairs_and_images(loss, sharing, signed):
    grid, logits = random_grid(4, 5, 3, 5), []
    torch.manual_seed(0)
    term = drloc.build(shape_of(grid), pairs=6, sharing=sharing, hidden=16, loss=loss, signed=signed).double()
    for layer in (term.rows, term.columns):
        with torch.no_grad():
            layer.weight.mul_(20)  # far from uniform
        layer.register_forward_hook(lambda _, __, output: logits.append(output.tolist()))
    found = term(step_of(grid, seed=9)).item()
    drawn, total = drawn_with(9, 4 if sharing == "image" else 1, 6, 15).tolist(), []
    for b in range(4):
        for n, (first, second) in enumerate(drawn[b if sharing == "image" else 0]):
            way = [a - c for a, c in zip(divmod(first, 5), divmod(second, 5), strict=True)]
            targets = [way[0] + 2, way[1] + 4] if signed else [abs(way[0]), abs(way[1])]
            total += [classes_by_hand(loss, logits[axis][b][n], targets[axis]) for axis in (0, 1)]
    assert found == pytest.approx(math.fsum(total) / 24, rel=1e-9)


@pytest.mark.parametrize("pooling", ["2x2", "3x3"])
def test_the_gradient_passes_the_pooling_into_every_cell(pooling):
    grid = random_grid(2, 4, 14, 14).requires_grad_()
    torch.manual_seed(0)
    drloc.build(shape_of(grid), pairs=1000, hidden=8, side=7, pooling=pooling).double()(
        step_of(grid, seed=0)
    ).backward()
    assert grid.grad.abs().sum(dim=1).all()


def test_a_grid_of_another_size_than_the_classes_is_one_line():
    term = drloc.build(Shape(channels=4, height=14, width=14, embedding=4, classes=2), loss="ce", side=7)
    with pytest.raises(UserError, match=r"^drloc: expected a grid of 7 x 7 cells, as built, got 4 x 4; loss='l1'"):
        term(step_of(torch.zeros(2, 4, 4, 4)))


def test_certain_and_wrong_classes_give_a_finite_loss(monkeypatch):
    given(monkeypatch, torch.tensor([[[0, 3]]]))
    grid = torch.zeros(1, 4, 2, 2)
    for loss in ("ce", "cbr"):
        term = gives_always(drloc.build(shape_of(grid), hidden=8, loss=loss), [1e4, 0.0], [1e4, 0.0])
        assert term(step_of(grid)).isfinite()


# Every variant


class NothingRead(TorchDispatchMode):
    """Refuses what no captured step may do: a number read on the host, or a size that values decide."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func not in (
            torch.ops.aten._local_scalar_dense.default,
            torch.ops.aten.nonzero.default,
            torch.ops.aten.masked_select.default,
        ), func
        return func(*args, **(kwargs or {}))


@every_variant
def test_a_variant_reads_nothing_on_the_host_and_has_fixed_shapes(options):
    grid = random_grid(4, 6, 7, 7, dtype=torch.float32).requires_grad_()
    term, step = drloc.build(shape_of(grid), **{**options, "hidden": 16}), step_of(grid, seed=0)
    with NothingRead():
        term(step).backward()
    with torch.device("meta"):
        grid = torch.empty(4, 6, 7, 7, requires_grad=True)
        loss = drloc.build(shape_of(grid), **options)(step_of(grid))
        loss.backward()
    assert (loss.shape, loss.device.type, grid.grad.shape) == ((), "meta", grid.shape)


@every_variant
def test_a_variant_s_gradients_are_those_of_finite_differences_and_reach_everything(options):
    grid = random_grid(2, 2, 5, 5).requires_grad_()
    torch.manual_seed(0)
    term = drloc.build(shape_of(grid), **{**options, "pairs": 5, "hidden": 8}).double()
    assert torch.autograd.gradcheck(lambda x: term(step_of(x, seed=1)), grid)
    term(step_of(grid, seed=1)).backward()
    assert all(p.grad.count_nonzero() > 0 for p in [*term.parameters(), grid])


@every_variant
def test_a_variant_draws_as_the_default_does(options):
    grid = random_grid(3, 4, 2, 2)
    states = []
    for chosen in ({"sharing": options.get("sharing", "batch"), "pairs": options.get("pairs", 32)}, options):
        step = step_of(grid, seed=0)
        drloc.build(shape_of(grid), **{**chosen, "hidden": 8}).double()(step)
        states.append(step.generator.get_state())
    assert torch.equal(*states)


@every_variant
def test_a_variant_s_loss_of_a_bfloat16_model_is_float32(options):
    grid = random_grid(4, 6, 7, 7, dtype=torch.bfloat16).requires_grad_()
    torch.manual_seed(0)
    term = drloc.build(shape_of(grid), **{**options, "hidden": 16})
    exact = term(step_of(grid.float(), seed=0))
    loss = term.bfloat16()(step_of(grid, seed=0))
    loss.backward()
    assert loss.dtype == torch.float32
    assert grid.grad.isfinite().all()
    assert loss.item() == pytest.approx(exact.item(), rel=2e-2)


def test_the_defaults_are_those_of_the_thesis():
    defaults = {name: one.default for name, one in inspect.signature(drloc.build).parameters.items()}
    thesis = {"loss": "l1", "unit": "grid", "reduction": "image", "signed": False, "side": 0}  # Equations 3.2 and 3.4
    assert {name: defaults[name] for name in thesis} == thesis


def trained_loss(grid, **options):
    torch.manual_seed(0)
    term = drloc.build(shape_of(grid), pairs=64, hidden=64, **options)
    optimizer = torch.optim.Adam(term.parameters(), lr=3e-3, fused=True)
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(300):
        step = step_of(grid)
        loss = term(replace(step, generator=generator))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return sum(losses[-100:]) / 100


def positions(cells):
    i, j = torch.meshgrid(torch.arange(cells) / cells, torch.arange(cells) / cells, indexing="ij")
    return torch.stack((i, j)).expand(4, -1, -1, -1)


def test_positions_that_are_in_the_embedding_are_learnt():
    assert trained_loss(positions(8)) < 0.2 * 2 * 0.1953


def test_raw_distances_are_learnt_to_below_what_a_constant_reaches():
    assert trained_loss(positions(7), unit="cells", reduction="mean", sharing="image") < 0.5 * 1.347


def test_classes_of_distances_are_learnt():
    # What each distance's own frequency costs: 7 of 49 pairs of rows have none, 2 x (7 - d) have distance d.
    frequencies = [7 / 49] + [2 * (7 - d) / 49 for d in range(1, 7)]
    assert trained_loss(positions(7), loss="ce") < 0.5 * 2 * stats.entropy(frequencies)
    variance = sum(p * d**2 for d, p in enumerate(frequencies)) - (16 / 7) ** 2
    assert trained_loss(positions(7), loss="cbr") < 0.5 * 2 * (1 + 0.001 * math.log(variance))


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
        ({"loss": "L2"}, "drloc: unknown loss 'L2'; did you mean l1"),
        ({"unit": "cell"}, "drloc: unknown unit 'cell'; did you mean cells"),
        ({"reduction": "none"}, "drloc: unknown reduction 'none'"),
        ({"pooling": 2}, "drloc: unknown pooling '2'"),
        ({"signed": 1}, "drloc: signed must be True or False, got 1; try signed=True"),
        ({"side": -1}, "drloc: side must be 0, or a whole number from 2 up as one cell has no distances, got -1; try"),
        ({"side": 7.0}, "got 7.0"),
        ({"side": True}, "got True"),
        ({"side": 1}, "from 2 up as one cell has no distances, got 1; try side=7"),
        ({"side": 1, "loss": "cbr"}, "from 2 up as one cell has no distances, got 1; try side=7"),
        ({"loss": "ce", "unit": "span"}, "drloc: unit='span' has no meaning under loss='ce', which counts cells"),
        ({"loss": "cbr", "unit": "span"}, "leave unit out"),
    ],
)
def test_an_option_out_of_its_range_is_one_line(options, message):
    with pytest.raises(UserError) as error:
        drloc.build(Shape(channels=4, height=4, width=4, embedding=4, classes=2), **options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("loss", ["ce", "cbr"])
def test_classes_of_a_grid_of_one_cell_are_refused(loss):
    one, two = (Shape(channels=4, height=1, width=width, embedding=4, classes=2) for width in (1, 2))
    with pytest.raises(UserError, match=f"^drloc: loss='{loss}' needs a grid of two cells or more, got one cell, .*;"):
        drloc.build(one, loss=loss)
    drloc.build(two, loss=loss)
    drloc.build(one)  # raw distances take any grid
