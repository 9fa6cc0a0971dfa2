"""RandAugment: each operation image by image against timm's, and its draws against timm's."""

import random
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from timm.data import auto_augment

from vitbench import augment
from vitbench.augmentations import randaugment, shares
from vitbench.errors import UserError

COUNT = 60
TIMMS = {
    "invert": "Invert",
    "solarize": "SolarizeIncreasing",
    "posterize": "PosterizeIncreasing",
    "solarize_add": "SolarizeAdd",
    "contrast": "ContrastIncreasing",
    "brightness": "BrightnessIncreasing",
    "autocontrast": "AutoContrast",
    "equalize": "Equalize",
    "colour": "ColorIncreasing",
    "sharpness": "SharpnessIncreasing",
    "rotate": "Rotate",
    "shear_x": "ShearX",
    "shear_y": "ShearY",
    "translate_x": "TranslateXRel",
    "translate_y": "TranslateYRel",
}
MAPS = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def pictures(count=COUNT, height=32, width=32):
    """Half of them smooth, half noise."""
    coarse = torch.rand(count, 3, 5, 5, generator=seeded(0)) * 300 - 20
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")
    noise = torch.rand(count, 3, height, width, generator=seeded(1)) * 256
    return torch.cat((smooth[: count // 2], noise[count // 2 :])).clamp(0, 255).to(torch.uint8)


def by_timm(image, name, level, sign, resample=Image.Resampling.BICUBIC):
    """The image after timm's operation of one level and sign."""
    options = {"img_mean": randaugment.FILL, "interpolation": resample}
    operation = auto_augment.AugmentOp(TIMMS[name], prob=1.0, magnitude=level, hparams=options)
    with mock.patch.object(auto_augment, "_randomly_negate", lambda value: value * sign):
        changed = operation(Image.fromarray(image.permute(1, 2, 0).numpy()))
    return torch.from_numpy(np.array(changed)).permute(2, 0, 1)


def strengths(seed):
    """Levels around 9 and evenly up to below 10 (there timm posterizes to 0 bits, which Pillow refuses), and signs."""
    level = torch.cat((9 + 0.5 * torch.randn(COUNT // 2, generator=seeded(seed)), torch.linspace(0, 10, COUNT // 2)))
    sign = 1.0 - 2 * torch.randint(0, 2, (COUNT,), generator=seeded(seed + 1))
    return level.clamp(0, 9.999).to(torch.float64), sign


def test_the_operations_are_timms():
    assert sorted(TIMMS.values()) == sorted(auto_augment._RAND_INCREASING_TRANSFORMS)
    assert tuple(TIMMS) == randaugment.NAMES


@pytest.mark.parametrize("name", [name for name in randaugment.NAMES if name not in MAPS])
def test_an_operation_on_levels_is_timms_to_the_last_bit(name):
    images = pictures()
    level, sign = strengths(2)
    which = torch.full((COUNT,), randaugment.NAMES.index(name))
    ours = randaugment.apply_operations(images, which, level, sign)
    for image, result, strength, direction in zip(images, ours, level.tolist(), sign.tolist(), strict=True):
        assert torch.equal(result, by_timm(image, name, strength, direction))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("shape", [(32, 32), (24, 40)])
@pytest.mark.parametrize("name", MAPS)
def test_a_map_is_timms_within_one_level(name, shape, interpolation):
    images = pictures(COUNT, *shape)
    level, sign = strengths(4)
    which = torch.full((COUNT,), randaugment.NAMES.index(name))
    ours = randaugment.apply_operations(images, which, level, sign, interpolation=interpolation)
    resample = Image.Resampling[interpolation.upper()]
    for image, result, strength, direction in zip(images, ours, level.tolist(), sign.tolist(), strict=True):
        expected = by_timm(image, name, strength, direction, resample)
        # Floats here, doubles there, and both cut off: what is a whole level but for the last bit may be the next.
        assert (result.to(torch.int32) - expected.to(torch.int32)).abs().max() <= 1
        assert (result != expected).float().mean() < 0.05


def test_the_strongest_posterizing_leaves_black():
    images = pictures()
    which, ten = torch.full((COUNT,), 2), torch.full((COUNT,), 10.0, dtype=torch.float64)
    assert not randaugment.apply_operations(images, which, ten, torch.ones(COUNT)).any()


def test_each_image_gets_its_own_operation_or_none():
    images = pictures(64)
    which = torch.arange(64) % 16
    level, sign = torch.full((64,), 9.0, dtype=torch.float64), torch.ones(64)
    ours = randaugment.apply_operations(images, which, level, sign)
    for at, (image, result) in enumerate(zip(images, ours, strict=True)):
        if at % 16 == 15:
            assert torch.equal(result, image)
        else:
            expected = by_timm(image, randaugment.NAMES[at % 16], 9.0, 1.0)
            assert (result.to(torch.int32) - expected.to(torch.int32)).abs().max() <= 1


def test_the_whole_operation_is_its_draws_and_what_they_say_one_after_the_other():
    images = pictures(200)
    ours = augment.rand_augment(images, magnitude=7, std=1.0, generator=seeded(6))
    generator, expected = seeded(6), images
    for _ in range(2):
        which, level, sign, drawn = randaugment.draw_operations(images, 7, 1.0, generator)
        expected = randaugment.apply_operations(expected, torch.where(drawn < 0.5, which, 15), level, sign)
    assert torch.equal(ours, expected)
    assert torch.equal(augment.rand_augment(images, count=0), images)
    assert torch.equal(augment.rand_augment(images, probability=0.0), images)


def test_where_the_number_of_drawn_images_is_not_known_the_result_is_the_same(monkeypatch):
    images = pictures(200)
    known = augment.rand_augment(images, generator=seeded(10))
    monkeypatch.setattr(shares, "is_known", lambda device: False)
    assert torch.equal(augment.rand_augment(images, generator=seeded(10)), known)


class Noted(auto_augment.AugmentOp):
    """timm's operation, which notes what it would do."""

    def __init__(self, at, notes):
        super().__init__("Invert", prob=0.5, magnitude=9, hparams={"magnitude_std": 0.5})
        self.level_fn = lambda level, _: (level, auto_augment._randomly_negate(1.0))
        self.aug_fn = lambda image, level, sign, **_: notes.append((at, level, sign)) or image


def test_operations_are_drawn_as_timm_draws_them():
    count, notes, images = 12_000, [], torch.empty(12_000, 3, 4, 4)
    with mock.patch.object(np.random, "choice", np.random.default_rng(7).choice):
        state = random.getstate()
        random.seed(8)
        timms = auto_augment.RandAugment([Noted(at, notes) for at in range(15)], num_layers=2)
        for _ in range(count // 2):
            timms(None)
        random.setstate(state)
    which, level, sign, drawn = randaugment.draw_operations(images, 9.0, 0.5, seeded(9))
    applied = drawn < 0.5
    at, levels, signs = (torch.tensor(one) for one in zip(*notes, strict=True))
    counts = [[int(applied.sum()), count - int(applied.sum())], [len(notes), count - len(notes)]]
    assert stats.chi2_contingency(counts).pvalue > 0.01
    kinds = torch.stack((which[applied].bincount(minlength=15), at.bincount(minlength=15)))
    assert stats.chi2_contingency(kinds).pvalue > 0.01
    assert stats.chisquare(which.bincount(minlength=15)).pvalue > 0.01
    assert stats.ks_2samp(level, levels, method="asymp").pvalue > 0.01
    negative = [[int((one < 0).sum()), int((one > 0).sum())] for one in (sign[applied], signs)]
    assert stats.chi2_contingency(negative).pvalue > 0.01
    assert level.max() == 10  # cut off there, as timm's
    assert levels.max() == 10


def test_what_an_image_gets_says_nothing_of_the_next():
    which, level, sign, drawn = randaugment.draw_operations(torch.empty(12_001, 3, 4, 4), 9.0, 0.5, seeded(11))
    pairs = (15 * which[:-1] + which[1:]).bincount(minlength=225).view(15, 15)
    assert stats.chi2_contingency(pairs).pvalue > 0.01
    for one in (level, sign, drawn):
        assert stats.spearmanr(one[:-1], one[1:]).pvalue > 0.01
    for one in (level, sign, drawn):
        assert stats.spearmanr(which, one).pvalue > 0.01


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"magnitude": 11}, "magnitude is between 0 and 10, got 11"),
        ({"std": -1}, "std is a number from 0 up"),
        ({"count": -1}, "count is a number of operations"),
        ({"probability": 2}, "probability is between"),
        ({"interpolation": "nearest"}, "unknown interpolation 'nearest'"),
    ],
)
def test_what_is_out_of_range_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        augment.rand_augment(pictures(2, 8, 8), **arguments)
