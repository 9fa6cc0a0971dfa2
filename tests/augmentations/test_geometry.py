"""Windows and affine maps, image by image against Pillow; their draws against torchvision's."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from torchvision.transforms import InterpolationMode, RandomResizedCrop, v2
from torchvision.transforms import functional as TF

from vitbench import augment
from vitbench.augmentations import geometry
from vitbench.errors import UserError

PILLOWS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
SCALE, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def pictures(count, height, width, *, seed=0):
    """Half of them smooth, half noise."""
    coarse = torch.rand(count, 3, 5, 5, generator=seeded(seed)) * 300 - 20
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")
    noise = torch.rand(count, 3, height, width, generator=seeded(seed + 1)) * 256
    return torch.cat((smooth[: count // 2], noise[count // 2 :])).clamp(0, 255).to(torch.uint8)


def pillow(image):
    return Image.fromarray(image.permute(1, 2, 0).numpy())


def tensor(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def distance(ours, theirs):
    return (ours.to(torch.int32) - theirs.to(torch.int32)).abs()


@pytest.mark.parametrize("interpolation", geometry.KERNELS)
@pytest.mark.parametrize(("shape", "size"), [((32, 32), 32), ((32, 32), 56), ((40, 24), 17), ((61, 90), 32)])
def test_a_window_is_resized_as_torchvision_and_pillow_resize_it(shape, size, interpolation):
    images = pictures(40, *shape)
    windows = geometry.draw_windows(images, SCALE, RATIO, seeded(2))
    windows[0] = torch.tensor([0, 0, *shape])
    windows[1] = torch.tensor([3, 5, 1, 1])
    ours = geometry.resize_windows(images, windows, size, size, interpolation)
    mode = InterpolationMode(interpolation)
    for at, (image, window, result) in enumerate(zip(images, windows.to(torch.int64).tolist(), ours, strict=True)):
        expected = v2.functional.resized_crop(image, *window, [size, size], interpolation=mode, antialias=True)
        # Theirs has weights of 16 bits, ours floats: what lies at half a level may round the other way, in each of
        # two passes. With bilinear weights, which are ratios of whole numbers, that is one level in ten.
        assert distance(result, expected).max() <= 2
        assert (result != expected).float().mean() < 0.1
        # Pillow 13 takes columns first where that is less work; on noise, cutting off in between then differs.
        if at < 20 or size >= max(window[2:]):
            pillows = TF.resized_crop(pillow(image), *window, [size, size], PILLOWS[interpolation])
            assert distance(result, tensor(pillows)).max() <= 2


def test_the_whole_operation_is_its_draw_and_its_resizing():
    images = pictures(16, 32, 32)
    ours = augment.random_resized_crop(images, size=20, min_scale=0.3, interpolation="bilinear", generator=seeded(3))
    windows = geometry.draw_windows(images, (0.3, 1.0), RATIO, seeded(3))
    assert torch.equal(ours, geometry.resize_windows(images, windows, 20, 20, "bilinear"))
    assert augment.random_resized_crop(images).shape == images.shape


@pytest.mark.parametrize(
    ("shape", "scale", "ratio"),
    [((32, 32), SCALE, RATIO), ((40, 24), (0.2, 1.0), (0.5, 2.0)), ((32, 32), (0.9, 1.0), (0.3, 3.0))],
)
def test_windows_are_drawn_as_torchvision_draws_them(shape, scale, ratio):
    count = 4000
    ours = geometry.draw_windows(torch.empty(count, 3, *shape), scale, ratio, seeded(4)).to(torch.int64)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        image = torch.empty(3, *shape)
        theirs = torch.tensor([RandomResizedCrop.get_params(image, list(scale), list(ratio)) for _ in range(count)])
    for mine, other in zip(ours.T, theirs.T, strict=True):  # top, left, height, width
        assert stats.ks_2samp(mine, other, method="asymp").pvalue > 0.01
    assert stats.ks_2samp(ours[:, 2] * ours[:, 3], theirs[:, 2] * theirs[:, 3], method="asymp").pvalue > 0.01
    assert stats.ks_2samp(ours[:, 3] / ours[:, 2], theirs[:, 3] / theirs[:, 2], method="asymp").pvalue > 0.01


@pytest.mark.parametrize(("shape", "ratio"), [((8, 80), RATIO), ((80, 8), RATIO), ((30, 30), (1.0, 1.0))])
def test_where_no_window_fits_the_central_one_is_taken(shape, ratio):
    ours = geometry.draw_windows(torch.empty(50, 3, *shape), (1.0, 1.0), ratio, seeded(6))
    central = RandomResizedCrop.get_params(torch.empty(3, *shape), [1.0, 1.0], list(ratio))
    assert ours.to(torch.int64).unique(dim=0).tolist() == [list(central)]


def test_a_window_is_independent_of_the_next_image_s():
    areas = geometry.draw_windows(torch.empty(4000, 3, 32, 32), SCALE, RATIO, seeded(7))[:, 2:].prod(1)
    assert stats.spearmanr(areas[:-1], areas[1:]).pvalue > 0.01


def test_whole_numbers_below_a_bound_are_equally_likely_and_stay_below_it():
    drawn = geometry.whole_below(torch.full((9000,), 9.0), torch.rand(9000, generator=seeded(8)))
    assert stats.chisquare(drawn.to(torch.int64).bincount(minlength=9)).pvalue > 0.01
    almost_one = torch.tensor([1 - 2**-24])
    assert geometry.whole_below(torch.tensor([224.0]), almost_one) == 223


@pytest.mark.parametrize("interpolation", geometry.KERNELS)
@pytest.mark.parametrize("shape", [(32, 32), (24, 40)])
def test_a_map_moves_pixels_as_pillow_does(shape, interpolation):
    images = pictures(60, *shape)
    matrices = torch.randn(60, 2, 3, generator=seeded(9), dtype=torch.float64) * 0.4
    matrices[:, 0, 0] += 1
    matrices[:, 1, 1] += 1
    matrices[:, :, 2] *= 8
    ours = geometry.warp(images, matrices, fill=(124, 116, 104), interpolation=interpolation)
    for image, matrix, result in zip(images, matrices.view(60, 6).tolist(), ours, strict=True):
        expected = pillow(image).transform(
            shape[::-1], Image.Transform.AFFINE, matrix, PILLOWS[interpolation], fillcolor=(124, 116, 104)
        )
        # Pillow counts in doubles and cuts off: what lies within a float's error of a level may be cut to the next.
        assert distance(result, tensor(expected)).max() <= 1
        assert (result != tensor(expected)).float().mean() < 0.01


@pytest.mark.parametrize("interpolation", geometry.KERNELS)
@pytest.mark.parametrize("shape", [(32, 32), (24, 40)])
def test_rows_slide_as_pillow_moves_them(shape, interpolation):
    images, (height, width) = pictures(40, *shape), shape
    shear, shift = torch.randn(2, 40, 1, generator=seeded(10), dtype=torch.float64) * torch.tensor([[[0.3]], [[6.0]]])
    shift[0] = 10 * width  # out of sight
    offsets = shear * (torch.arange(height) + 0.5) + shift
    ours = geometry.slide(images, offsets, fill=(1, 2, 3), interpolation=interpolation)
    for image, result, by, far in zip(images, ours, shear.flatten().tolist(), shift.flatten().tolist(), strict=True):
        expected = pillow(image).transform(
            (width, height), Image.Transform.AFFINE, (1, by, far, 0, 1, 0), PILLOWS[interpolation], fillcolor=(1, 2, 3)
        )
        assert distance(result, tensor(expected)).max() <= 1
        assert (result != tensor(expected)).float().mean() < 0.01
    assert torch.equal(ours[0], torch.tensor([1, 2, 3], dtype=torch.uint8).view(3, 1, 1).expand(3, *shape))


@pytest.mark.parametrize("interpolation", geometry.KERNELS)
def test_a_map_that_moves_nothing_and_an_even_area_change_no_level(interpolation):
    same = torch.eye(2, 3).expand(8, 2, 3)
    images = pictures(8, 32, 32)
    assert torch.equal(geometry.warp(images, same, fill=(0, 0, 0), interpolation=interpolation), images)
    even = torch.arange(256, dtype=torch.uint8).view(256, 1, 1, 1).expand(256, 3, 9, 9).contiguous()
    turned = torch.tensor([[0.9, 0.3, 0.4], [-0.3, 0.9, 1.9]]).expand(256, 2, 3)
    moved = geometry.warp(even, turned, fill=(1, 2, 3), interpolation=interpolation)[:, :, 3:6, 3:6]
    assert torch.equal(moved, even[:, :, 3:6, 3:6])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": -1}, "size is a number of pixels"),
        ({"min_scale": 0.0}, "shares of the area"),
        ({"min_scale": 0.5, "max_scale": 0.4}, "shares of the area"),
        ({"max_scale": 1.1}, "shares of the area"),
        ({"min_ratio": 2.0}, "positive and in order"),
        ({"min_ratio": float("nan")}, "positive and in order"),
        ({"interpolation": "cubic"}, "unknown interpolation 'cubic'; did you mean bicubic"),
    ],
)
def test_what_makes_no_window_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        augment.random_resized_crop(pictures(2, 8, 8), **arguments)
