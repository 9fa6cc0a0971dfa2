"""Colours, image by image against Pillow and torchvision; the draws against torchvision's."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from scipy import stats
from torchvision.transforms import ColorJitter, v2
from torchvision.transforms import functional as TF

from vitbench import augment
from vitbench.augmentations import colour, levels
from vitbench.errors import UserError

COUNT = 48


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def pictures(count=COUNT):
    """Half of them smooth, half noise, one grey and one even."""
    coarse = torch.rand(count, 3, 5, 5, generator=seeded(0)) * 300 - 20
    smooth = torch.nn.functional.interpolate(coarse, size=(18, 22), mode="bicubic")
    noise = torch.rand(count, 3, 18, 22, generator=seeded(1)) * 256
    images = torch.cat((smooth[: count // 2], noise[count // 2 :])).clamp(0, 255).to(torch.uint8)
    images[0, 1:], images[1] = images[0, 0], 50
    return images


IMAGES = pictures()
FACTORS = torch.linspace(0.0, 2.5, COUNT, dtype=torch.float64)


def pillow(image):
    return Image.fromarray(image.permute(1, 2, 0).numpy())


def tensor(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def test_a_blend_with_the_smoothed_image_is_pillows_to_the_last_bit():
    ours = levels.blend(colour.smooth(IMAGES), IMAGES, FACTORS)
    for image, result, factor in zip(IMAGES, ours, FACTORS.tolist(), strict=True):
        assert torch.equal(result, tensor(ImageEnhance.Sharpness(pillow(image)).enhance(factor)))


def test_the_hue_is_turned_as_torchvision_turns_it():
    turn = torch.linspace(-0.5, 0.5, COUNT)
    ours = colour.turn_hue(IMAGES, turn)
    for image, result, by in zip(IMAGES, ours, turn.tolist(), strict=True):
        expected = v2.functional.adjust_hue(image, by).to(torch.int32)
        # The same formula in another order of floats, which are cut off to levels and not rounded.
        assert (result.to(torch.int32) - expected).abs().max() <= 1
        assert (result != expected).float().mean() < 0.05


def test_grey_has_no_hue_and_no_turn_changes_little():
    assert torch.equal(colour.turn_hue(IMAGES, torch.full((COUNT,), 0.3))[:2], IMAGES[:2])
    same = colour.turn_hue(IMAGES, torch.zeros(COUNT))
    assert (same.to(torch.int32) - IMAGES.to(torch.int32)).abs().max() <= 1


def test_each_image_is_changed_in_its_own_order_by_its_own_factors():
    order, factors, turn, _ = colour.draw_jitter(IMAGES, (0.8, 0.8, 0.8), 0.2, seeded(3))
    changed = torch.arange(COUNT) % 3 > 0
    ours = colour.jitter(IMAGES, order, factors, turn, changed)
    for image, result, places, (b, c, s), by, was in zip(
        IMAGES, ours, order.tolist(), factors.tolist(), turn, changed.tolist(), strict=True
    ):
        expected = image
        for place in places:
            if place == colour.HUE:  # tested above; Pillow's own hue has 256 steps
                expected = colour.turn_hue(expected[None], by[None])[0]
            else:
                operation, factor = ((TF.adjust_brightness, b), (TF.adjust_contrast, c), (TF.adjust_saturation, s))[
                    place
                ]
                expected = tensor(operation(pillow(expected), factor))
        assert torch.equal(result, expected if was else image)


def test_the_operation_is_its_draw_and_its_change():
    ours = augment.colour_jitter(IMAGES, brightness=0.4, contrast=0.3, hue=0.1, probability=0.8, generator=seeded(4))
    order, factors, turn, drawn = colour.draw_jitter(IMAGES, (0.4, 0.3, 0.0), 0.1, seeded(4))
    assert torch.equal(ours, colour.jitter(IMAGES, order, factors, turn, drawn < 0.8))
    assert torch.equal(augment.colour_jitter(IMAGES, generator=seeded(5)), IMAGES)


def test_factors_are_drawn_as_torchvision_draws_them():
    count = 3000
    jitter = ColorJitter(0.4, 1.5, 0.2, 0.1)
    with torch.random.fork_rng():
        torch.manual_seed(6)
        ranges = jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue
        theirs = torch.tensor([jitter.get_params(*ranges)[1:] for _ in range(count)])
    _, factors, turn, _ = colour.draw_jitter(torch.empty(count, 3, 4, 4), (0.4, 1.5, 0.2), 0.1, seeded(7))
    ours = torch.cat((factors, turn[:, None]), dim=1)
    for mine, other in zip(ours.T, theirs.T, strict=True):
        assert stats.ks_2samp(mine, other, method="asymp").pvalue > 0.01


def test_all_orders_are_equally_likely():
    order = colour.draw_jitter(torch.empty(4800, 3, 4, 4), (0.4, 0.4, 0.4), 0.1, seeded(8))[0]
    places = {one: at for at, one in enumerate(itertools.permutations(range(4)))}
    seen = torch.tensor([places[tuple(row)] for row in order.tolist()]).bincount(minlength=24)
    assert stats.chisquare(seen).pvalue > 0.01


def test_the_changes_of_an_image_say_nothing_of_each_other_and_of_the_next_image():
    order, factors, turn, drawn = colour.draw_jitter(torch.empty(4001, 3, 4, 4), (0.4, 0.4, 0.4), 0.1, seeded(12))
    numbers = torch.cat((factors, turn[:, None], drawn[:, None], order[:, :1]), dim=1).T
    for at, one in enumerate(numbers):
        assert stats.spearmanr(one[:-1], one[1:]).pvalue > 0.01
        assert all(stats.spearmanr(one, other).pvalue > 0.01 for other in numbers[:at])


def test_some_images_are_changed_where_a_probability_is_given():
    images = IMAGES[30:31].expand(3000, 3, 18, 22)[:, :, :4, :4].contiguous()
    ours = augment.colour_jitter(images, brightness=0.8, probability=0.8, generator=seeded(9))
    changed = int((ours != images).flatten(1).any(1).sum())
    # A factor so near to 1 that no level moves comes once in hundreds.
    assert stats.binomtest(changed, 3000, 0.8 * 0.995).pvalue > 0.01


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"brightness": -0.1}, "brightness is a number from 0 up"),
        ({"saturation": float("nan")}, "saturation is a number"),
        ({"hue": 0.6}, "hue is a part of the circle"),
        ({"probability": 1.1}, "probability is between"),
    ],
)
def test_what_is_out_of_range_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        augment.colour_jitter(IMAGES, **arguments)
