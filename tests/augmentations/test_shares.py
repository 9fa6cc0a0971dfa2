"""What is done to some images: the drawn ones, all of them, and no others."""

import pytest
import torch
from scipy import stats

from vitbench.augmentations import shares


def one_group(drawn):
    """Place in a list of one group: 0 where an image is drawn."""
    return drawn.logical_not().to(torch.int64)


@pytest.fixture(params=["known", "not known"])
def number(request, monkeypatch):
    """Whether the number of drawn images is at hand, as on a CPU, or not, as on a GPU."""
    monkeypatch.setattr(shares, "is_known", lambda device: request.param == "known")


@pytest.mark.parametrize("count", [1, 2, 8, 64, 128, 1024, 4096])
@pytest.mark.parametrize("share", [1 / 30, 1 / 6, 0.25, 0.5, 0.9])
def test_more_images_than_there_are_places_for_are_as_good_as_never_drawn(count, share):
    places = shares.places(count, share)
    assert places <= count
    assert stats.binom.sf(places, count, share) < shares.RARELY
    # Nor are there many places too many.
    assert places == 0 or stats.binom.sf(places - 1, count, share) >= shares.RARELY


def test_none_and_all_are_shares_too():
    assert shares.places(128, 0.0) == 0
    assert shares.places(128, 1.0) == 128


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.usefixtures("number")
def test_the_drawn_images_are_changed_with_their_own_parameters_and_the_others_are_not(share):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 200, (200, 3, 4, 4), dtype=torch.uint8, generator=generator)
    drawn = torch.rand(200, generator=generator) < share
    amount = torch.arange(200, dtype=torch.uint8) % 50

    def lighten(some, more):
        return some + more.view(-1, 1, 1, 1)

    before = images.clone()
    changed = shares.change(images, one_group(drawn), [shares.Group(share, lighten)], [amount])
    assert torch.equal(changed, torch.where(drawn.view(-1, 1, 1, 1), lighten(images, amount), images))
    assert torch.equal(images, before)
    changed.zero_()
    assert torch.equal(images, before)


def test_only_the_drawn_images_are_computed_or_as_many_as_there_are_places():
    seen = []

    def watched(some):
        seen.append(len(some))
        return some

    images, drawn = torch.zeros(128, 3, 4, 4), torch.arange(128) % 7 == 0
    groups = [shares.Group(1 / 6, watched)]
    shares.change(images, one_group(drawn), groups)
    shares.change(images, one_group(drawn & False), groups)
    shares.change(images.to("meta"), one_group(drawn.to("meta")), groups)
    assert seen == [19, shares.places(128, 1 / 6)]
    assert seen[1] < 64


def test_what_does_not_fit_the_cache_is_computed_in_parts():
    images = torch.zeros(8, 3, 400, 400, dtype=torch.uint8)
    assert shares.at_once(images[:3]) == 1
    assert shares.at_once(images[:, :, :32, :32]) == 8
    assert shares.at_once(images[:, :, :32, :32], 400 * 400) == 1
    assert shares.at_once(images.to("meta")) == 8
    assert shares.at_once(images[:0]) == 1
    many = torch.zeros(200, 3, 32, 32, dtype=torch.uint8)
    assert shares.at_once(many) == 100  # two parts of one length, not one of 170 and one of 30
    numbers = torch.arange(8, dtype=torch.uint8)
    every = torch.ones(8, dtype=torch.bool)
    group = shares.Group(1.0, lambda some, n: some + n.view(-1, 1, 1, 1))
    changed = shares.change(images, one_group(every), [group], [numbers])
    assert torch.equal(changed, numbers.view(8, 1, 1, 1).expand_as(images))


@pytest.mark.usefixtures("number")
def test_groups_are_changed_side_by_side():
    images = torch.arange(90, dtype=torch.uint8).view(90, 1, 1, 1).expand(90, 3, 2, 2)
    which = torch.arange(90) % 3
    groups = [shares.Group(0.9, lambda some, more=more: some + more) for more in (50, 100)]
    expected = images + torch.tensor([50, 100, 0], dtype=torch.uint8)[which].view(90, 1, 1, 1)
    assert torch.equal(shares.change(images, which, groups), expected)
    assert torch.equal(shares.change(images, torch.full_like(which, 2), groups), images)
