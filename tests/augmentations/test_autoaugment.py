"""AutoAugment: each pair of operations image by image torchvision's on Pillow images, and its draws by closed form."""

import itertools
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from torchvision.transforms import v2

from vitbench import augment
from vitbench.augmentations import autoaugment, shares
from vitbench.errors import UserError

TORCHVISIONS = v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10)
THEIR_NAMES = {
    "invert": "Invert",
    "solarize": "Solarize",
    "posterize": "Posterize",
    "contrast": "Contrast",
    "brightness": "Brightness",
    "autocontrast": "AutoContrast",
    "equalize": "Equalize",
    "colour": "Color",
    "sharpness": "Sharpness",
    "rotate": "Rotate",
    "shear_y": "ShearY",
    "translate_x": "TranslateX",
    "translate_y": "TranslateY",
}
POLICY = autoaugment.POLICIES["cifar10"]
SHAPES = [(32, 32), (36, 36), (24, 40), (65, 224)]


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def pictures(count, height=32, width=32):
    """Half of them smooth, half noise."""
    coarse = torch.rand(count, 3, 5, 5, generator=seeded(0)) * 300 - 20
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")
    noise = torch.rand(count, 3, height, width, generator=seeded(1)) * 256
    return torch.cat((smooth[: count // 2], noise[count // 2 :])).clamp(0, 255).to(torch.uint8)


def by_torchvision(image, which, chance, negative):
    """The image after torchvision's own `forward`, which is handed the numbers that we drew."""
    drawn = []
    for (name, probability, _), applied, turned in zip(TORCHVISIONS._policies[which], chance, negative, strict=True):
        drawn.append(applied)
        if applied <= probability and TORCHVISIONS._AUGMENTATION_SPACE[name][1]:
            drawn.append(turned)
    numbers = iter(drawn)
    with (
        mock.patch.object(torch, "randint", return_value=torch.tensor(which)),
        mock.patch.object(torch, "rand", side_effect=map(torch.tensor, numbers)),
    ):
        changed = TORCHVISIONS(Image.fromarray(image.permute(1, 2, 0).numpy()))
    assert next(numbers, None) is None
    return torch.from_numpy(np.array(changed)).permute(2, 0, 1)


def test_the_policy_is_torchvisions():
    assert sorted(THEIR_NAMES) == sorted(autoaugment.NAMES)
    ours = [tuple((THEIR_NAMES[name], *numbers) for name, *numbers in pair) for pair in POLICY]
    # One that has no strength has None there.
    assert ours == [tuple((name, chance, at or 0) for name, chance, at in pair) for pair in TORCHVISIONS._policies]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("which", range(len(POLICY)), ids=lambda at: f"{at}_{POLICY[at][0][0]}_{POLICY[at][1][0]}")
def test_each_pair_with_all_its_signs_is_torchvisions_to_the_last_bit(which, shape):
    # Both operations, each alone, none, and both in all four directions, on a smooth and on a noisy image.
    drawn = list(itertools.product((0.05, 0.99), (0.05, 0.99), (0.2, 0.7), (0.2, 0.7)))
    images = pictures(2, *shape).repeat_interleave(len(drawn), 0)
    numbers = torch.tensor(drawn * 2).T  # (4, B)
    ours = autoaugment.apply_pairs(images, torch.full((len(images),), which), numbers[:2], numbers[2:])
    for image, result, column in zip(images, ours, numbers.T.tolist(), strict=True):
        assert torch.equal(result, by_torchvision(image, which, column[:2], column[2:]))


def test_each_image_gets_its_own_pair():
    images = pictures(400)
    ours = augment.auto_augment(images, policy="cifar10", generator=seeded(2))
    which, chance, negative = autoaugment.draw_pairs(images, "cifar10", seeded(2))
    assert len(which.unique()) == len(POLICY)
    for at, (image, result) in enumerate(zip(images, ours, strict=True)):
        expected = by_torchvision(image, int(which[at]), chance[:, at].tolist(), negative[:, at].tolist())
        assert torch.equal(result, expected)


def test_where_the_number_of_drawn_images_is_not_known_the_result_is_the_same(monkeypatch):
    images = pictures(200)
    known = augment.auto_augment(images, generator=seeded(3))
    monkeypatch.setattr(shares, "is_known", lambda device: False)
    assert torch.equal(augment.auto_augment(images, generator=seeded(3)), known)


def test_a_second_call_brings_nothing_to_the_device(monkeypatch):
    images = pictures(16, 20, 28)
    expected = augment.auto_augment(images, generator=seeded(4))
    for name in ("tensor", "as_tensor", "from_numpy", "linspace"):
        monkeypatch.setattr(torch, name, mock.Mock(side_effect=AssertionError(f"torch.{name} in a later call")))
    assert torch.equal(augment.auto_augment(images, generator=seeded(4)), expected)


def drawn_by_name(count, seed):
    """How often each operation of each place is applied, and how often with a negative sign: (2, 13) each."""
    which, chance, negative = autoaugment.draw_pairs(torch.empty(count, 3, 4, 4), "cifar10", seeded(seed))
    table = autoaugment._table("cifar10", 32, 32, torch.device("cpu"))
    rows = torch.stack([table[place, 2 * which] for place in (0, 1)])  # (2, B, 9)
    applied = chance < rows[..., 1]
    names = rows[..., 0].to(torch.int64)
    applications = torch.stack([names[place][applied[place]].bincount(minlength=13) for place in (0, 1)])
    turned = applied & (negative < 0.5)
    return which, applied, applications, torch.stack([names[at][turned[at]].bincount(minlength=13) for at in (0, 1)])


def test_pairs_and_what_is_applied_of_them_are_drawn_by_their_probabilities():
    count = 50_000
    which, applied, applications, _ = drawn_by_name(count, 5)
    assert stats.chisquare(which.bincount(minlength=len(POLICY))).pvalue > 0.01
    for place in (0, 1):
        likely = dict.fromkeys(autoaugment.NAMES, 0.0)
        for pair in POLICY:
            likely[pair[place][0]] += pair[place][1] / len(POLICY)
        expected = [*(count * one for one in likely.values()), count * (1 - sum(likely.values()))]
        seen = [*applications[place].tolist(), count - int(applications[place].sum())]
        assert not any(have for have, want in zip(seen, expected, strict=True) if want == 0)
        pairs = [(have, want) for have, want in zip(seen, expected, strict=True) if want]
        assert stats.chisquare(*zip(*pairs, strict=True)).pvalue > 0.01
    # Of each pair: neither, the first, the second, both.
    states = (2 * applied[0].to(torch.int64) + applied[1]).add(4 * which).bincount(minlength=4 * len(POLICY))
    expected = []
    for (_, first, _), (_, second, _) in POLICY:
        expected += [(1 - first) * (1 - second), (1 - first) * second, first * (1 - second), first * second]
    expected = torch.tensor(expected, dtype=torch.float64) * count / len(POLICY)
    assert not states[expected == 0].any()
    assert stats.chisquare(states[expected > 0], expected[expected > 0]).pvalue > 0.01


def test_half_of_the_signs_are_negative():
    _, _, applications, turned = drawn_by_name(50_000, 6)
    for many, negative in zip(applications.sum(0).tolist(), turned.sum(0).tolist(), strict=True):
        assert stats.binomtest(negative, many, 0.5).pvalue > 0.001  # thirteen of them


def test_what_an_image_gets_says_nothing_of_the_next():
    which, chance, negative = autoaugment.draw_pairs(torch.empty(20_001, 3, 4, 4), "cifar10", seeded(7))
    neighbours = (25 * which[:-1] + which[1:]).bincount(minlength=625).view(25, 25)
    assert stats.chi2_contingency(neighbours).pvalue > 0.01
    numbers = [which, *chance, *negative]
    for at, one in enumerate(numbers):
        assert stats.spearmanr(one[:-1], one[1:]).pvalue > 0.001
        assert all(stats.spearmanr(one, other).pvalue > 0.001 for other in numbers[:at])  # fifteen in all


def test_so_many_images_are_computed_as_are_ever_drawn(monkeypatch):
    """The share that a group is told is the one that it is drawn with."""
    told = []
    change = shares.change

    def noting(images, which, groups, parameters):
        told.append((which, groups))
        return change(images, which, groups, parameters)

    monkeypatch.setattr(shares, "change", noting)
    count = 50_000
    augment.auto_augment(torch.zeros(count, 3, 3, 3, dtype=torch.uint8), generator=seeded(8))
    assert len(told) == 2
    for which, groups in told:
        assert len(groups) == len(autoaugment.GROUPS)
        for at, group in enumerate(groups):
            assert stats.binomtest(int((which == at).sum()), count, group.share).pvalue > 0.001


def test_an_unknown_policy_names_the_known_ones():
    with pytest.raises(UserError, match=r"^unknown policy 'cifar100'; did you mean cifar10\? known: cifar10$"):
        augment.auto_augment(pictures(2), policy="cifar100")
    with pytest.raises(
        UserError, match=r"^f:1: augmentation auto_augment refuses its arguments: unknown policy 'svhn'"
    ):
        augment.compose([("auto_augment", {"policy": "svhn"})], where="f:1")
