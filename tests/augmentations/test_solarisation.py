"""Solarisation, image by image against Pillow and torchvision."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from scipy import stats
from torchvision.transforms import functional as TF

from vitbench import augment
from vitbench.errors import UserError


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def noise(count):
    return torch.randint(0, 256, (count, 3, 16, 16), dtype=torch.uint8, generator=seeded(0))


EVERY_LEVEL = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)


@pytest.mark.parametrize("threshold", [0, 1, 127.5, 128, 200, 255])
def test_every_level_becomes_pillows_and_torchvisions(threshold):
    ours = augment.solarise(EVERY_LEVEL, probability=1.0, threshold=threshold)[0]
    image = Image.fromarray(EVERY_LEVEL[0].permute(1, 2, 0).numpy())
    assert np.array_equal(ours.permute(1, 2, 0).numpy(), np.array(ImageOps.solarize(image, threshold)))
    assert torch.equal(ours, TF.solarize(EVERY_LEVEL[0], threshold))


def test_an_image_is_solarised_or_as_it_was():
    images = noise(64)
    ours = augment.solarise(images, probability=0.4, generator=seeded(1))
    changed = (ours != images).flatten(1).any(1)
    assert 0 < changed.sum() < 64
    for image, result, was in zip(images, ours, changed.tolist(), strict=True):
        assert torch.equal(result, TF.solarize(image, 128) if was else image)


@pytest.mark.parametrize("probability", [0.0, 0.2, 1.0])
def test_images_are_solarised_with_the_given_probability(probability):
    images = noise(3001)
    changed = (augment.solarise(images, probability=probability, generator=seeded(2)) != images).flatten(1).any(1)
    assert stats.binomtest(int(changed.sum()), 3001, probability).pvalue > 0.01
    if 0 < probability < 1:
        table = (2 * changed[:-1].to(torch.int64) + changed[1:]).bincount(minlength=4).view(2, 2)
        assert stats.chi2_contingency(table).pvalue > 0.01


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"probability": -0.1}, "probability is between 0 and 1, got -0.1"),
        ({"threshold": 256}, "threshold is a level between 0 and 255, got 256"),
        ({"threshold": -1}, "threshold is a level"),
        ({"threshold": float("nan")}, "threshold is a level"),
    ],
)
def test_what_is_out_of_range_is_refused(arguments, message):
    with pytest.raises(UserError, match=message) as refused:
        augment.solarise(EVERY_LEVEL, **arguments)
    assert "\n" not in str(refused.value)
