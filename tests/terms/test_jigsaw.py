"""Orders of tiles against bounds that are known and scipy's distances, shuffling against plain loops."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import special, stats
from scipy.spatial.distance import pdist
from torch import nn

from vitbench.adapter import shape_of
from vitbench.case import Phase
from vitbench.contracts import Output, Shape, Step
from vitbench.errors import UserError
from vitbench.leaves import find
from vitbench.terms import jigsaw
from vitbench.total import Total
from vitbench.train import Watch, train

SHAPE = Shape(channels=6, height=2, width=2, embedding=6, classes=3)


class Seen(nn.Module):
    """A network, linear in the pixels, that remembers what it was shown."""

    def __init__(self, pixels=3 * 4 * 4, *, dtype=torch.float64):
        super().__init__()
        draw = torch.Generator().manual_seed(4)
        self.weight = nn.Parameter(torch.randn(pixels, SHAPE.embedding, dtype=dtype, generator=draw))
        self.shown = []

    def forward(self, images):
        self.shown.append(images)
        embedding = images.flatten(1) @ self.weight
        return Output(logits=embedding[:, :3], embedding=embedding, grids=())


def images_of(batch, *, height=4, width=4):
    return torch.rand(batch, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


def step_of(images, model, *, seed=0):
    labels = torch.zeros(len(images), dtype=torch.int64)
    return Step(images=images, labels=labels, model=model, forward=model, generator=torch.Generator().manual_seed(seed))


def built(**options):
    torch.manual_seed(0)
    return jigsaw.build(SHAPE, **{**jigsaw.TINY, **options}).double()


def by_loops(image, order, side):
    """One image (C, H, W) as numpy puts its tiles together."""
    image, shuffled = image.numpy(), image.numpy().copy()
    rows, columns = image.shape[1] // side, image.shape[2] // side
    for place, tile in enumerate(order):
        (i, j), (k, l) = divmod(place, side), divmod(tile, side)  # noqa: E741 - rows and columns of tiles
        shuffled[:, i * rows : (i + 1) * rows, j * columns : (j + 1) * columns] = image[
            :, k * rows : (k + 1) * rows, l * columns : (l + 1) * columns
        ]
    return shuffled


def how_shuffled(term, original, shown):
    """Which of the term's orders plain loops say that an image is in."""
    orders = enumerate(term.orders.tolist())
    (found,) = [k for k, order in orders if np.array_equal(by_loops(original, order, term.side), shown.numpy())]
    return found


def distances(orders):
    """Hamming distances of all pairs, in tiles."""
    orders = np.array(orders)
    return np.round(pdist(orders, "hamming") * orders.shape[1]).astype(int)


@pytest.mark.parametrize(("tiles", "asked"), [(4, 24), (4, 64), (4, 5), (9, 64), (9, 200), (16, 30), (64, 8)])
def test_the_orders_are_permutations_and_all_different(tiles, asked):
    orders = jigsaw.choose(tiles, asked)
    assert len(orders) == len(set(orders)) == min(asked, math.factorial(tiles))
    assert all(sorted(order) == list(range(tiles)) for order in orders)


def test_of_four_tiles_all_24_orders_there_are():
    assert set(jigsaw.choose(4, 64)) == set(itertools.permutations(range(4)))


@pytest.mark.parametrize(
    ("tiles", "permutations", "least"),
    # Of n tiles no more than n orders differ everywhere, the rows of a Latin square, and no more than n (n - 1) at all
    # tiles but one; the bound is that of Deza and Frankl. The others are what was found.
    [(4, 4, 4), (4, 5, 2), (9, 9, 9), (9, 10, 8), (9, 64, 7), (9, 200, 6), (16, 64, 14)],
)
def test_they_are_far_from_each_other(tiles, permutations, least):
    assert distances(jigsaw.choose(tiles, permutations)).min() == least


def test_they_are_as_far_on_average_as_those_of_the_paper_s_algorithm_and_farther_where_they_are_closest():
    """Against the paper's algorithm, which adds the permutation of the greatest mean distance to those there are."""
    everything = np.array(list(itertools.permutations(range(6))))
    chosen, left = everything[100:101], np.delete(everything, 100, axis=0)
    while len(chosen) < 40:
        farthest = (chosen[:, None] != left[None]).mean(axis=(0, 2)).argmax()
        chosen, left = np.vstack((chosen, left[farthest])), np.delete(left, farthest, axis=0)
    theirs, ours = distances(chosen), distances(jigsaw.choose(6, 40))
    assert ours.mean() == pytest.approx(theirs.mean(), rel=0.005)
    assert ours.min() > theirs.min()


def test_they_are_always_the_same():
    jigsaw.choose.cache_clear()
    first = jigsaw.choose(9, 12)
    jigsaw.choose.cache_clear()
    assert jigsaw.choose(9, 12) == first
    assert jigsaw.choose(9, 64)[:12] == first  # a larger set has a smaller one in it
    assert built(side=3, permutations=12).orders.tolist() == [list(order) for order in first]


def test_the_orders_are_no_weights():
    term = built()
    assert "orders" not in term.state_dict()
    assert term.to(torch.bfloat16).orders.dtype == torch.int64


@pytest.mark.parametrize(("side", "height", "width"), [(2, 4, 4), (3, 6, 9), (3, 32, 32), (2, 5, 7), (4, 8, 11)])
def test_shuffling_is_that_of_plain_loops(side, height, width):
    images = images_of(5, height=height, width=width)
    orders = torch.stack([torch.randperm(side * side, generator=torch.Generator().manual_seed(k)) for k in range(5)])
    before = images.clone()
    shuffled = jigsaw.shuffle(images, orders, side=side)
    assert torch.equal(images, before)
    for image, order, one in zip(images, orders.tolist(), shuffled, strict=True):
        assert np.array_equal(by_loops(image, order, side), one.numpy())


def test_the_opposite_order_restores_the_image():
    images = images_of(6, height=9, width=9)
    orders = torch.tensor(jigsaw.choose(9, 6))
    shuffled = jigsaw.shuffle(images, orders, side=3)
    assert torch.equal(jigsaw.shuffle(shuffled, orders.argsort(dim=1), side=3), images)


def test_what_is_left_over_at_the_border_stays_where_it_is():
    images = images_of(4, height=32, width=32)
    shuffled = jigsaw.shuffle(images, torch.tensor(jigsaw.choose(9, 4)), side=3)
    assert torch.equal(shuffled[:, :, 30:], images[:, :, 30:])
    assert torch.equal(shuffled[..., 30:], images[..., 30:])
    assert not torch.isclose(shuffled[..., :30, :30], images[..., :30, :30]).all(dim=(1, 2, 3)).any()


def test_the_loss_is_the_cross_entropy_of_the_order_that_the_network_was_shown():
    images, model, term = images_of(60), Seen(), built()
    loss = term(step_of(images, model, seed=1))
    (shown,) = model.shown
    orders = [how_shuffled(term, *pair) for pair in zip(images, shown, strict=True)]
    assert len(set(orders)) > 12
    weight, bias = (one.detach().numpy() for one in (term.head.weight, term.head.bias))
    logits = (shown.flatten(1) @ model.weight).detach().numpy() @ weight.T + bias
    expected = -special.log_softmax(logits, axis=1)[np.arange(60), orders].mean()
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_the_images_of_the_other_terms_stay_as_they_are():
    images, model = images_of(4), Seen()
    before, step = images.clone(), step_of(images, model)
    built()(step)
    assert torch.equal(images, before)
    assert torch.equal(step.out.embedding, before.flatten(1) @ model.weight)


def test_every_order_is_equally_likely_and_each_image_has_its_own():
    images, model, term = images_of(1).expand(2400, -1, -1, -1), Seen(), built()
    term(step_of(images, model, seed=2))
    _, counts = torch.unique(model.shown[0], dim=0, return_counts=True)
    assert len(counts) == 24
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


def test_the_same_seed_shuffles_the_same_and_another_does_not():
    images, model, term = images_of(30), Seen(), built()
    for seed in (7, 7, 8):
        term(step_of(images, model, seed=seed))
    first, again, other = model.shown
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(("options", "classes"), [({}, 24), ({"side": 3, "permutations": 64}, 64), ({"side": 3}, 24)])
def test_a_head_that_knows_nothing_loses_the_logarithm_of_the_number_of_orders(options, classes):
    term, images = built(**options), images_of(6)
    nn.init.zeros_(term.head.weight)
    nn.init.zeros_(term.head.bias)
    assert term(step_of(images, Seen())).item() == pytest.approx(math.log(classes), rel=1e-12)


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({}, (192 + 1) * 64),
        ({"side": 2}, (192 + 1) * 24),
        ({"permutations": 100}, (192 + 1) * 100),
        ({"hidden": 50}, (192 + 1) * 50 + (50 + 1) * 64),
    ],
)
def test_its_head_has_these_parameters(options, parameters):
    shape = Shape(channels=192, height=8, width=8, embedding=192, classes=10)
    assert sum(p.numel() for p in jigsaw.build(shape, **options).parameters()) == parameters


def test_the_gradient_reaches_the_network_by_its_own_pass():
    model, term = Seen(), built(hidden=8)
    term(step_of(images_of(6), model)).backward()
    assert model.weight.grad.any()
    assert all(p.grad.any() for p in term.parameters())


def test_of_a_model_in_bfloat16_the_loss_is_in_float32():
    loss = built().bfloat16()(step_of(images_of(6).bfloat16(), Seen(dtype=torch.bfloat16)))
    assert loss.dtype == torch.float32


def test_images_that_are_smaller_than_the_tiles_are_many_are_refused():
    line = r"^jigsaw: images of 4 x 4 cannot be cut into 5 x 5 tiles; give a smaller side$"
    with pytest.raises(UserError, match=line):
        built(side=5, permutations=4)(step_of(images_of(2), Seen()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"side": 1}, "side must be a whole number from 2 to 8, got 1; try side=3"),
        ({"side": 9}, "side must be a whole number from 2 to 8, got 9; try side=3"),
        ({"side": 3.0}, "side must be a whole number from 2 to 8, got 3.0"),
        ({"permutations": 1}, "permutations must be a whole number from 2 to 10000, got 1; try permutations=64"),
        ({"permutations": 10_001}, "permutations must be a whole number from 2 to 10000, got 10001"),
        ({"permutations": True}, "permutations must be a whole number from 2 to 10000, got True"),
        ({"hidden": -1}, "hidden must be a whole number from 0 up, got -1; try hidden=512"),
        ({"hidden": "wide"}, "hidden must be a whole number from 0 up, got 'wide'"),
    ],
)
def test_an_option_out_of_range_is_one_line(options, message):
    with pytest.raises(UserError) as refused:
        jigsaw.build(SHAPE, **options)
    assert str(refused.value).startswith(f"jigsaw: {message}")
    assert str(refused.value).isprintable()


def test_beside_cross_entropy_it_learns_to_tell_the_orders_of_digits():
    digits = find("datasets", "digits").load()(None)
    torch.manual_seed(0)
    model = find("models", "vit").load()(classes=10, variant="tiny")
    term = jigsaw.build(shape_of(model, image_size=32), **jigsaw.TINY)
    total = Total({"ce": find("terms", "ce").load()(SHAPE), "jigsaw": term}, {"ce": 1.0, "jigsaw": 1.0})
    phase = Phase(epochs=4, batch_size=32, optimizer={"name": "adamw", "lr": 2e-3}, schedule={"name": "constant"})
    train(model, total, digits.train, [phase], seed=0, watch=Watch(examine=lambda number: {}))
    model.eval()
    images = digits.test.images / 255
    drawn = torch.arange(len(images)) % 24
    with torch.no_grad():
        found = term.head(model(jigsaw.shuffle(images, term.orders[drawn], side=2)).embedding).argmax(dim=1)
    assert (found == drawn).double().mean() > 0.25  # chance is .04
