"""What the parts hand to each other: moved whole, never changed, normalised as torchvision does it."""

import dataclasses

import pytest
import torch
from torchvision.transforms.v2 import functional as TF

from vitbench.contracts import Images, Normalize, Output, Split, Step


def images_of(count):
    return Images(images=torch.zeros(count, 3, 4, 4, dtype=torch.uint8), labels=torch.arange(count))


@pytest.mark.parametrize("statistics", [{}, {"mean": (0.49, 0.48, 0.44), "std": (0.25, 0.24, 0.26)}])
def test_pixels_are_normalised_as_torchvision_does_it(statistics):
    images = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    reference = TF.normalize(images, **{"mean": [0.5] * 3, "std": [0.5] * 3, **statistics})
    torch.testing.assert_close(Normalize(**statistics)(images), reference)


def test_the_default_spreads_pixels_over_minus_one_to_one():
    ends = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 1, 1)
    assert Normalize()(ends).flatten(1).tolist() == [[-1.0] * 3, [1.0] * 3]


def test_a_normalisation_adds_nothing_to_the_weights_file_but_moves_with_the_model():
    normalize = Normalize()
    assert not normalize.state_dict()
    assert not list(normalize.parameters())
    assert normalize.to("meta")(torch.empty(1, 3, 2, 2, device="meta")).device.type == "meta"


def test_a_data_set_is_as_long_as_it_has_labels():
    assert len(images_of(5)) == 5


def test_a_split_moves_with_everything_in_it():
    moved = Split(train=images_of(3), test=images_of(2), classes=("a", "b")).to(torch.device("meta"))
    parts = (moved.train.images, moved.train.labels, moved.test.images, moved.test.labels)
    assert [part.device.type for part in parts] == ["meta"] * 4
    assert (len(moved.train), len(moved.test), moved.classes) == (3, 2, ("a", "b"))


def test_a_step_starts_a_phase_unless_it_says_otherwise():
    network = torch.nn.Identity()
    step = Step(images=torch.zeros(1, 3, 4, 4), labels=torch.zeros(1), model=network, forward=network)
    assert step.progress.shape == ()
    assert (step.progress.item(), dict(step.views), step.generator) == (0.0, {}, None)


def test_a_step_runs_the_model_once_and_only_if_a_term_asks():
    seen = []

    def forward(images):
        seen.append(images)
        return Output(logits=images.mean((2, 3)), embedding=images.mean((2, 3)), grids=(images,))

    step = Step(images=torch.ones(1, 3, 4, 4), labels=torch.zeros(1), model=torch.nn.Identity(), forward=forward)
    assert seen == []
    assert step.out is step.out
    assert step.out.logits.tolist() == [[1.0, 1.0, 1.0]]
    assert [one is step.images for one in seen] == [True]


@pytest.mark.parametrize("name", ["images", "labels"])
def test_what_is_handed_over_cannot_be_exchanged(name):
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(images_of(1), name, torch.zeros(1))
