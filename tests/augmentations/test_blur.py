"""Blur, image by image against torchvision's; the draws against the uniform distribution."""

import pytest
import torch
from scipy import stats
from torchvision.transforms import functional as TF

from vitbench import augment
from vitbench.augmentations import blur
from vitbench.errors import UserError


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def pictures(count, height, width):
    """Half of them smooth, half noise, one even and one of two levels."""
    coarse = torch.rand(count, 3, 5, 5, generator=seeded(0)) * 300 - 20
    images = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0, 255)
    images[count // 2 :] = torch.rand(count - count // 2, 3, height, width, generator=seeded(1)) * 256
    images[0], images[-1] = 100, (images[-1] > 128) * 255
    return images.to(torch.uint8)


@pytest.mark.parametrize(
    ("shape", "kernel"), [((16, 16), 3), ((32, 32), 3), ((24, 40), 9), ((96, 96), 9), ((12, 20), 23), ((224, 224), 23)]
)
def test_a_blur_is_torchvisions_of_the_same_kernel_and_sigma(shape, kernel):
    count = 16
    images, sigma = pictures(count, *shape), torch.linspace(0.1, 2.5, count)
    ours = blur.blur(images, sigma, kernel // 2)
    each = list(zip(images, sigma.tolist(), strict=True))
    theirs = torch.stack([TF.gaussian_blur(one, [kernel] * 2, [by] * 2) for one, by in each])
    exact = torch.stack([TF.gaussian_blur(one.double(), [kernel] * 2, [by] * 2) for one, by in each])
    # What lies between two levels may be rounded the other way: two sums of floats, and their weights, have an error.
    assert (ours - exact).abs().max() < 0.5 + 2 * (kernel + 2) * 255 * 2**-24
    assert (ours != theirs).float().mean() < 1e-4


def test_a_kernel_of_one_pixel_changes_nothing_and_an_even_image_stays_as_it_is():
    images = pictures(8, 20, 20)
    assert torch.equal(augment.gaussian_blur(images, probability=1.0, kernel=1, generator=seeded(2)), images)
    assert torch.equal(augment.gaussian_blur(images[:1], probability=1.0, generator=seeded(2)), images[:1])


@pytest.mark.parametrize(("side", "kernel"), [(2, 3), (16, 3), (32, 3), (64, 7), (96, 9), (224, 23), (227, 23)])
def test_a_kernel_is_that_of_simclr(side, kernel):
    # simclr/data_util.py: radius = kernel_size // 2, then 2 * radius + 1, of a kernel_size of height // 10.
    assert blur.tenth(side) == kernel
    assert side < 20 or blur.tenth(side) == 2 * int(side // 10 / 2) + 1


def test_each_image_is_blurred_by_its_own_draw_or_not_at_all():
    images = pictures(40, 40, 60)
    ours = augment.gaussian_blur(images, probability=0.6, min_sigma=0.5, max_sigma=2.0, generator=seeded(3))
    sigma, drawn = blur.draw_blur(images, (0.5, 2.0), seeded(3))
    assert 0 < (drawn < 0.6).sum() < 40
    for image, result, by, number in zip(images, ours, sigma.tolist(), drawn.tolist(), strict=True):
        expected = TF.gaussian_blur(image, [5, 5], [by, by]) if number < 0.6 else image
        assert (result.to(torch.int32) - expected.to(torch.int32)).abs().max() <= 1
        assert (result != expected).float().mean() < 1e-3


def test_sigma_is_uniform_and_says_nothing_of_whether_an_image_is_blurred():
    sigma, drawn = blur.draw_blur(torch.empty(4000, 3, 4, 4), (0.1, 2.0), seeded(4))
    assert stats.kstest(sigma, stats.uniform(0.1, 1.9).cdf).pvalue > 0.01
    assert stats.kstest(drawn, "uniform").pvalue > 0.01
    assert stats.spearmanr(sigma, drawn).pvalue > 0.01
    assert stats.spearmanr(sigma[:-1], sigma[1:]).pvalue > 0.01


@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
def test_images_are_blurred_with_the_given_probability(probability):
    images = pictures(2, 12, 12)[1:].expand(2000, 3, 12, 12).contiguous()
    ours = augment.gaussian_blur(images, probability=probability, min_sigma=1.0, generator=seeded(5))
    assert stats.binomtest(int((ours != images).flatten(1).any(1).sum()), 2000, probability).pvalue > 0.01


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"probability": 1.1}, "probability is between 0 and 1, got 1.1"),
        ({"min_sigma": 0.0}, "min_sigma and max_sigma are positive and in order, got 0.0 and 2.0"),
        ({"min_sigma": 3.0}, "min_sigma and max_sigma are positive and in order, got 3.0 and 2.0"),
        ({"max_sigma": float("nan")}, "got 0.1 and nan"),
        ({"kernel": 4}, "kernel is an odd number of pixels, or 0 for a tenth of the side, got 4"),
        ({"kernel": -3}, "kernel is an odd number"),
        ({"kernel": 3.5}, "kernel is an odd number"),
        ({"kernel": 25}, "kernel is at most 23 for images of 12 pixels, got 25"),
    ],
)
def test_what_is_out_of_range_is_refused(arguments, message):
    with pytest.raises(UserError, match=message) as refused:
        augment.gaussian_blur(torch.zeros(2, 3, 12, 20, dtype=torch.uint8), **arguments)
    assert "\n" not in str(refused.value)
