"""Greyscale, image by image against Pillow and torchvision."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from torchvision.transforms import functional as TF

from vitbench import augment
from vitbench.errors import UserError


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def noise(count):
    return torch.randint(0, 256, (count, 3, 12, 16), dtype=torch.uint8, generator=seeded(0))


def test_an_image_is_pillows_grey_in_all_channels_or_as_it_was():
    images = noise(64)
    ours = augment.greyscale(images, probability=0.4, generator=seeded(1))
    changed = (ours != images).flatten(1).any(1)
    assert 0 < changed.sum() < 64
    for image, result, was in zip(images, ours, changed.tolist(), strict=True):
        pillow = Image.fromarray(image.permute(1, 2, 0).numpy())
        grey = torch.from_numpy(np.array(TF.to_grayscale(pillow, 3))).permute(2, 0, 1)
        assert torch.equal(result, grey if was else image)


def test_a_tensors_grey_of_torchvision_is_at_most_a_level_away():
    images = noise(32)
    ours = augment.greyscale(images, probability=1.0)
    # torchvision's weights have four digits, and it cuts off where Pillow rounds.
    away = ours.to(torch.int32) - TF.rgb_to_grayscale(images, 3).to(torch.int32)
    assert (away.min(), away.max()) == (0, 1)


@pytest.mark.parametrize("probability", [0.0, 0.2, 1.0])
def test_images_lose_their_colour_with_the_given_probability(probability):
    images = noise(3001)
    changed = (augment.greyscale(images, probability=probability, generator=seeded(2)) != images).flatten(1).any(1)
    assert stats.binomtest(int(changed.sum()), 3001, probability).pvalue > 0.01
    if 0 < probability < 1:
        table = (2 * changed[:-1].to(torch.int64) + changed[1:]).bincount(minlength=4).view(2, 2)
        assert stats.chi2_contingency(table).pvalue > 0.01


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_what_is_out_of_range_is_refused(probability):
    with pytest.raises(UserError, match=f"^probability is between 0 and 1, got {probability}$"):
        augment.greyscale(noise(2), probability=probability)
