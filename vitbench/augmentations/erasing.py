"""Erase a rectangle of an image.

Source: Zhong et al. 2017, arXiv:1708.04896; the draws are those of timm's `RandomErasing`, one rectangle at most.
"""

import math

import torch
from torch import Tensor

from vitbench import errors
from vitbench.augmentations import geometry, levels, shares

VERSION = 2  # raised when an operation, or the order of its draws, changes
TRIES = 10  # rectangles that timm draws before it leaves the image as it is
MODES = ("pixel", "rand", "const")
# ImageNet's, in levels, as timm has them: what is normal or zero after normalisation is so in front of it.
MEAN, STD = (0.485 * 255, 0.456 * 255, 0.406 * 255), (0.229 * 255, 0.224 * 255, 0.225 * 255)


def erase(
    images: Tensor,
    *,
    probability: float = 0.25,
    min_area: float = 0.02,
    max_area: float = 1 / 3,
    min_aspect: float = 0.3,
    mode: str = "pixel",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Overwrite a random rectangle of some images: timm's RandomErasing.

    timm erases normalised images; here the same noise is brought to levels first, rounded and cut off at black
    and white, which 3 % of the noise lies beyond.

    Args:
        images: (B, 3, H, W), uint8.
        probability: of each image on its own, in [0, 1].
        min_area: least area, as a share of the image's.
        max_area: greatest, at most 1.
        min_aspect: least height over width, at most 1; the greatest is its inverse.
        mode: "pixel" for normal noise in each pixel, "rand" for one such colour, "const" for ImageNet's mean.
        generator: source of the draws, on the device of the images; None is torch's global one.

    Returns:
        (B, 3, H, W), uint8.

    Raises:
        UserError: if an argument is out of range, or the mode is unknown.
    """
    if not 0 <= probability <= 1:
        raise errors.UserError(f"probability is between 0 and 1, got {probability}")
    if not 0 < min_area <= max_area <= 1:
        raise errors.UserError(f"min_area and max_area are shares of the area, got {min_area} and {max_area}")
    if not 0 < min_aspect <= 1:
        raise errors.UserError(f"min_aspect is a ratio between 0 and 1, got {min_aspect}")
    if mode not in MODES:
        raise errors.unknown("mode", mode, MODES)
    if images.dtype != torch.uint8:
        raise TypeError(f"expected images of uint8 levels, got {images.dtype}")
    b = len(images)
    spared = (torch.rand(b, device=images.device, generator=generator) >= probability).to(torch.int64)
    rectangles = draw_rectangles(images, (min_area, max_area), min_aspect, generator)
    most = most_pixels(images.shape[2], images.shape[3], max_area)

    def erased(some: Tensor, rectangles: Tensor) -> Tensor:
        return overwrite(some, rectangles, draw_noise(some, mode, most, generator))

    return shares.change(images, spared, [shares.Group(probability, erased)], [rectangles])


def most_pixels(height: int, width: int, max_area: float) -> int:
    """Pixels that no rectangle has more of: both its sides are rounded, by half a pixel at most."""
    return min(height * width, math.ceil(max_area * height * width + (height + width) / 2 + 1))


def draw_rectangles(
    images: Tensor, area: tuple[float, float], min_aspect: float, generator: torch.Generator | None
) -> Tensor:
    """One rectangle for each image: the first of ten that is smaller than the image both ways, else an empty one.

    Returns:
        (B, 4) float32, whole numbers: top, left, height, width.
    """
    b, _, height, width = images.shape
    device = images.device
    size, aspect, top, left = torch.rand(4, b, TRIES, device=device, generator=generator)
    size = (area[0] + (area[1] - area[0]) * size) * (height * width)  # (B, TRIES)
    aspect = torch.exp(math.log(min_aspect) * (1 - 2 * aspect))
    heights, widths = (size * aspect).sqrt().round(), (size / aspect).sqrt().round()
    fits = (heights < height) & (widths < width)
    top = geometry.whole_below(height - heights + 1, top)
    left = geometry.whole_below(width - widths + 1, left)
    tried = torch.stack((top, left, heights, widths), dim=-1)  # (B, TRIES, 4)
    candidates = torch.cat((tried, torch.zeros_like(tried[:, :1])), dim=1)  # (B, TRIES + 1, 4)
    first = torch.where(fits, torch.arange(TRIES, device=device), TRIES).amin(1)  # (B,)
    return candidates.gather(1, first.view(b, 1, 1).expand(b, 1, 4)).squeeze(1)


def draw_noise(images: Tensor, mode: str, count: int, generator: torch.Generator | None) -> Tensor:
    """What a rectangle in each of the images (B, 3, H, W) is overwritten with.

    Returns:
        (B, 3, n) uint8, a rectangle's pixels row by row, at most `count`; n is 1 where all are alike.
    """
    shape = (*images.shape[:2], count if mode == "pixel" else 1)
    mean, std = (geometry.constants(one, like=torch.empty(0, device=images.device)).view(3, 1) for one in (MEAN, STD))
    if mode == "const":
        return levels.cut(mean.round()).expand(shape)
    noise = torch.randn(shape, device=images.device, generator=generator).mul_(std).add_(mean)
    return levels.cut(noise.round_().clamp_(0, 255))


def overwrite(images: Tensor, rectangles: Tensor, noise: Tensor) -> Tensor:
    """Put noise (B, 3, n), pixels row by row, where the rectangles (B, 4) of top, left, height and width lie."""
    b, c, height, width = images.shape
    top, left, h, w = rectangles[..., None, None].unbind(1)  # (B, 1, 1) each
    row = torch.arange(height, device=images.device)[:, None] - top  # (B, H, 1), within the rectangle
    column = torch.arange(width, device=images.device) - left  # (B, 1, W)
    # Weights of 0 and 1: on a CPU, numbers that are multiplied take a part of the time of conditions.
    within = ((row >= 0) & (row < h)).to(torch.float32) * ((column >= 0) & (column < w)).to(torch.float32)
    # In a row of all noise and then all pixels, the place of what is there in the end.
    pixels = noise.shape[2] + torch.arange(height * width, device=images.device).view(height, width)
    inside = (row * w + column).clamp_(0, noise.shape[2] - 1)
    place = torch.lerp(pixels.to(torch.float32), inside, within).to(torch.int64).view(b, 1, -1)
    both = torch.cat((noise, images.flatten(2)), dim=2)
    return both.gather(2, place.expand(b, c, -1)).view_as(images)
