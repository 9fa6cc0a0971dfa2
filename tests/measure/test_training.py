"""What terms cost in a training step, against closed forms and counts by hand."""

import pytest
import torch
from torch import nn

from vitbench.adapter import shape_of
from vitbench.contracts import Output, Shape
from vitbench.measure.size import UncountedOperator
from vitbench.measure.training import TermMacs, count_term_macs, training_cost
from vitbench.models import vit
from vitbench.terms import ce, distill, drloc, jigsaw, mae, me, rotation

SHAPE = Shape(channels=312, height=8, width=8, embedding=312, classes=10)


def test_counting_leaves_torchs_generator_and_default_device_as_they_were():
    numbers = torch.get_rng_state()
    count_term_macs(lambda: drloc.build(SHAPE), model=lambda: vit.build(classes=10), image_size=32)
    assert torch.equal(torch.get_rng_state(), numbers)
    assert torch.zeros(()).device.type == "cpu"


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        (ce, 0),
        (drloc, 32 * (2 * 312 * 512 + 512 * 512 + 512 * 2)),
        (me, 4 * (12 * 64 * 312**2 + 2 * 64**2 * 312)),
    ],
)
def test_the_thesis_terms_cost_what_their_closed_forms_say(term, expected):
    macs = count_term_macs(lambda: term.build(SHAPE), model=lambda: vit.build(classes=10), image_size=32)
    assert (macs.forward, macs.alone) == (expected, 0)


class Pooled(nn.Module):
    """A model of 3 x 4 MACs."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 4)

    def forward(self, images):
        pooled = images.mean((2, 3))
        return Output(logits=self.head(pooled), embedding=pooled, grids=(images,))


def test_a_term_that_runs_the_model_on_a_view_costs_that_pass_but_not_the_one_it_is_given():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(4, 5)

        def forward(self, step):
            assert step.images.shape == (1, 3, 6, 6)
            return self.head(step.model(step.views["crop"]).logits - step.out.logits).sum() * step.progress

    macs = count_term_macs(Twice, model=Pooled, image_size=6, views={"crop": (3, 2, 2)})
    assert macs == TermMacs(forward=3 * 4 + 4 * 5)


def test_a_term_that_shows_the_model_images_of_its_own_costs_that_pass_and_spares_the_other():
    class Upside(nn.Module):
        def forward(self, step):
            return step.forward(step.images.flip(2)).logits.sum()

    macs = count_term_macs(Upside, model=Pooled, image_size=6)
    assert macs == TermMacs(forward=3 * 4, asks_for_output=False)


@pytest.mark.parametrize(("pairs", "versions", "crops"), [("all", 2, 0), ("all", 3, 6), ("crops", 3, 6)])
def test_self_distillation_costs_the_teachers_passes_the_crops_and_both_heads(pairs, versions, crops):
    """An image bears its share of its photograph's crops; the student's pass over it is the model's own."""
    head = 4 * 7 + 7 * 7 + 7 * 5 + 5 * 9  # of one embedding
    shape = Shape(channels=4, height=1, width=1, embedding=4, classes=4)

    class Embedded(Pooled):
        def forward(self, images):
            embedding = self.head(images.mean((2, 3)))
            return Output(logits=embedding, embedding=embedding, grids=(images,))

    def build():
        term = distill.build(shape, prototypes=9, hidden=7, bottleneck=5, pairs=pairs)
        term.attach(Embedded())
        return term

    given = {"model": Embedded, "image_size": 6, "versions": versions}
    given["views"] = {"local": (crops, 3, 2, 2)} if crops else {}
    answered = crops + (versions if pairs == "all" else 0)
    taught = versions * (3 * 4 + head)
    expected = taught + crops * 3 * 4 + answered * head
    found = count_term_macs(build, **given)
    assert (found.forward, found.alone) == (expected // versions, taught // versions)
    assert found.asks_for_output is (pairs == "all")


def test_a_terms_uncounted_product_is_an_error():
    class Distance(nn.Module):
        def forward(self, step):
            return torch.cdist(step.out.logits, step.out.logits).sum()

    with pytest.raises(UncountedOperator, match="_cdist_forward"):
        count_term_macs(Distance, model=Pooled, image_size=6)


def test_training_costs_three_forward_passes_of_model_and_terms():
    cost = training_cost(1000, [TermMacs(forward=one) for one in (0, 10, 320)])
    assert (cost.macs, cost.ratio) == (3 * 1330, 1.33)
    assert training_cost(1000, [TermMacs(forward=0)]).ratio == 1
    alone = training_cost(1000, [TermMacs(forward=320, asks_for_output=False)])
    assert (alone.macs, alone.ratio) == (3 * 320, 0.32)


def test_a_pass_without_a_backward_one_costs_itself_alone():
    cost = training_cost(1000, [TermMacs(forward=1500, alone=1200)])
    assert (cost.macs, cost.ratio) == (3 * 1300 + 1200, 1.7)


@pytest.mark.parametrize(
    ("term", "asks"), [(ce, True), (drloc, True), (mae, False), (jigsaw, False), (rotation, False)]
)
def test_a_term_that_looks_at_patches_alone_does_not_ask_for_the_models_output(term, asks):
    options = {"heads": 2} if term is mae else {}
    model = vit.build(classes=10, variant="tiny")
    macs = count_term_macs(
        lambda: term.build(shape_of(model, image_size=32), **options),
        model=lambda: vit.build(classes=10, variant="tiny"),
        image_size=32,
    )
    assert macs.asks_for_output is asks
