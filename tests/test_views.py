"""What a phase makes of a batch: as many versions as it says, each from the image itself, all by one generator."""

from dataclasses import replace

import pytest
import torch

from vitbench import views
from vitbench.augment import crop, flip
from vitbench.augmentations.turning import quarter_turn
from vitbench.case import Phase, View
from vitbench.errors import UserError
from vitbench.objective import parse_call

PHASE = Phase(epochs=1, batch_size=4, optimizer={"name": "adamw", "lr": 1e-3}, schedule={"name": "constant"})


def view(name, *calls, count=1):
    return View(name=name, count=count, augmentation=tuple(parse_call(one) for one in calls))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images():
    return torch.randint(256, (6, 3, 8, 8), dtype=torch.uint8, generator=seeded(1))


def test_images_that_stay_as_they_are_need_nothing():
    assert views.of(PHASE, seeded()) is None


def test_one_augmented_version_is_what_the_operations_make(images):
    phase = replace(PHASE, augmentation=(parse_call("crop(padding=2)"), parse_call("flip")))
    draws = seeded()
    expected = flip(crop(images, padding=2, generator=draws), generator=draws)
    found = views.of(phase, seeded())(images)
    assert found.keys() == {"images"}
    assert torch.equal(found["images"], expected.unsqueeze(1))


def test_versions_stand_side_by_side_and_small_crops_apart(images):
    phase = replace(
        PHASE,
        views=(
            view("global", count=2),
            view("masked", "erase(probability=1.0, min_area=0.3, max_area=0.6)"),
            view("local", "random_resized_crop(size=4)", count=5),
        ),
    )
    assert phase.versions == 3
    found = views.of(phase, seeded())(images)
    assert {name: tuple(one.shape) for name, one in found.items()} == {
        "images": (6, 3, 3, 8, 8),
        "local": (6, 5, 3, 4, 4),
    }
    for version in found["images"].unbind(1)[:2]:
        assert torch.equal(version, images)
    assert all((masked != whole).any() for masked, whole in zip(found["images"][:, 2], images, strict=True))


def test_each_view_is_drawn_anew(images):
    phase = replace(PHASE, views=(view("global", "crop", count=2), view("local", "crop", count=2)))
    found = views.of(phase, seeded())(images)
    drawn = [*found["images"].unbind(1), *found["local"].unbind(1)]
    draws = seeded()
    for one in drawn:  # in the order in which they are written
        assert torch.equal(one, crop(images, generator=draws))


def test_versions_are_turned_and_small_crops_are_not(images):
    phase = replace(
        PHASE,
        views=(view("global", count=2), view("local", count=2)),
        turning=parse_call("quarter_turn(probability=0.75)"),
    )
    found = views.of(phase, seeded())(images)
    draws = seeded()
    for version in range(2):
        turned, turns = quarter_turn(images, probability=0.75, generator=draws)
        assert torch.equal(found["images"][:, version], turned)
        assert torch.equal(found["turns"][:, version], turns)
    assert found["turns"].unique().numel() == 4
    assert all(torch.equal(one, images) for one in found["local"].unbind(1))


def test_a_wrong_argument_is_refused_before_the_first_batch():
    with pytest.raises(UserError, match="refuses its arguments: probability"):
        views.of(replace(PHASE, turning=parse_call("quarter_turn(probability=2.0)")), seeded())
