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
        found.append(one.pick(index).clone())
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
    place = one.pick(order(0)[0]).data_ptr()
    one.ready(1)
    assert one.pick(order(0)[1]).data_ptr() == place


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
