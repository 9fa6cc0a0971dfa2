"""Feeds: whatever brings the images, a step sees those of its batch, in order, epoch after epoch."""

import numpy as np
import pytest
import torch
from torch import Tensor

from vitbench import feed

CPU = torch.device("cpu")
N, BATCH = 23, 4


@pytest.fixture
def images() -> Tensor:
    return torch.randint(256, (N, 3, 5, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def order(number):
    drawn = torch.randperm(N, generator=torch.Generator().manual_seed(number))
    return drawn[: N // BATCH * BATCH].view(-1, BATCH)


def seen(one, number):
    """What every step of an epoch sees, copied before the next one."""
    batches, found = order(number), []
    one.begin(batches)
    for at, index in enumerate(batches):
        one.ready(at)
        found.append(one.pick(index)["images"].squeeze(1).clone())
    return torch.cat(found)


@pytest.mark.parametrize("make", [feed.Resident, lambda images: feed.Carried(images, BATCH, CPU)])
def test_every_step_of_every_epoch_sees_the_images_of_its_batch(images, make):
    one = make(images)
    for number in range(3):
        assert torch.equal(seen(one, number), images[order(number).flatten()])


def test_a_memory_map_is_read_where_it_lies(images, tmp_path):
    path = tmp_path / "images"
    path.write_bytes(images.numpy().tobytes())
    mapped = torch.from_numpy(np.memmap(path, dtype=np.uint8, mode="c", shape=tuple(images.shape)))
    assert torch.equal(seen(feed.Carried(mapped, BATCH, CPU), 1), images[order(1).flatten()])


def test_what_a_step_reads_stays_where_it_is(images):
    one = feed.Carried(images, BATCH, CPU)
    one.begin(order(0))
    one.ready(0)
    place = one.pick(order(0)[0])["images"].data_ptr()
    one.ready(1)
    assert one.pick(order(0)[1])["images"].data_ptr() == place


def test_an_epoch_that_was_left_in_the_middle_does_not_reach_into_the_next(images):
    one = feed.Carried(images, BATCH, CPU)
    one.begin(order(0))
    one.ready(0)
    assert torch.equal(seen(one, 5), images[order(5).flatten()])


def test_images_of_the_device_stay_there_and_others_are_carried(images):
    assert isinstance(feed.of(images, BATCH, CPU), feed.Resident)
    assert isinstance(feed.of(images, BATCH, torch.device("meta")), feed.Carried)


def test_an_image_that_is_not_there_is_an_error_of_the_step_that_wants_it(images):
    one = feed.Carried(images, 2, CPU)
    one.begin(torch.tensor([[0, 1], [2, N]]))
    one.ready(0)
    with pytest.raises((IndexError, RuntimeError), match=r"out of range|out of bounds"):
        one.ready(1)


# Augmented


def plain(images):
    """What `vitbench.views` makes of images that stay as they are."""
    return {"images": images.unsqueeze(1)}


def added(images, generator):
    return images + torch.randint(200, (len(images), 1, 1, 1), dtype=torch.uint8, generator=generator)


def drawing(generator):
    """An augmentation that shows in which order it drew: it adds a number to each image."""
    return lambda images: plain(added(images, generator))


@pytest.mark.parametrize("steps", [2, 3, 5, 100])
def test_of_images_augmented_ahead_each_step_sees_its_own_drawn_in_their_order(images, steps):
    draws, expected = (torch.Generator().manual_seed(1) for _ in range(2))
    one = feed.Ahead(images, drawing(draws), steps)
    for number in range(3):
        drawn = [added(images[part.flatten()], expected) for part in order(number).split(steps)]
        assert torch.equal(seen(one, number), torch.cat(drawn))


def test_one_step_that_is_taken_again_and_again_is_augmented_each_time(images):
    made = []
    one = feed.Ahead(images, lambda some: made.append(len(some)) or plain(some), 8)
    one.begin(order(0)[:1])
    for _ in range(3):
        assert torch.equal(one.pick(order(0)[0])["images"], images[order(0)[0]].unsqueeze(1))
    assert made == [BATCH] * 3


def test_every_view_of_an_image_goes_with_it(images):
    one = feed.Ahead(images, lambda some: {**plain(some), "turns": some[:, 0, 0, :2].long()}, 3)
    one.begin(order(0))
    for index in order(0):
        found = one.pick(index)
        assert torch.equal(found["images"], images[index].unsqueeze(1))
        assert torch.equal(found["turns"], images[index, 0, 0, :2].long())


def test_a_step_that_is_undone_sees_the_same_images_again(images):
    one = feed.Ahead(images, plain, 3)
    one.begin(order(0))
    one.pick(order(0)[0])
    before = one.at
    tried = one.pick(order(0)[1])["images"]
    one.at = before
    assert torch.equal(one.pick(order(0)[1])["images"], tried)


@pytest.mark.parametrize(
    ("batch_size", "kind"),
    [(4, feed.Ahead), (128, feed.Ahead), (feed.AHEAD // (3 * 5 * 5), feed.Augmented)],
)
def test_only_small_batches_are_augmented_ahead(images, batch_size, kind):
    assert type(feed.of(images, batch_size, CPU, plain)) is kind
    assert type(feed.of(images, batch_size, CPU)) is feed.Resident


def test_on_another_device_each_step_augments_its_own(images):
    one = feed.of(images, 4, torch.device("meta"), plain)
    assert type(one) is feed.Augmented
    assert type(one.feed) is feed.Carried
