"""Operations that move pixels: windows that are resized, and affine maps, for each image its own.

Source: Szegedy et al. 2015, arXiv:1409.4842, section 6, for crops of random size; the draws are those of
torchvision's `RandomResizedCrop`, the arithmetic is Pillow's `resize` and `transform`.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vitbench import errors
from vitbench.augmentations import levels, shares

VERSION = 1  # raised when an operation, or the order of its draws, changes
TRIES = 10  # windows that torchvision draws before it takes the central one
KERNELS = ("bilinear", "bicubic")
# Pillow cuts a resampled level off where it does not round it. A sum of weights that is 1 but for the last bit
# would make 99 of 100 everywhere in an even area.
LAST_BIT = 1 / 1024


def random_resized_crop(
    images: Tensor,
    *,
    size: int = 0,
    min_scale: float = 0.08,
    max_scale: float = 1.0,
    min_ratio: float = 3 / 4,
    max_ratio: float = 4 / 3,
    interpolation: str = "bicubic",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Cut a window of random area and shape out of each image and resize it: torchvision's RandomResizedCrop.

    Args:
        images: (B, C, H, W), uint8.
        size: of the result, height and width; 0 is that of the images.
        min_scale: least area of a window, as a share of the image's.
        max_scale: greatest, at most 1.
        min_ratio: least width over height of a window.
        max_ratio: greatest.
        interpolation: "bilinear" or "bicubic", with antialiasing.
        generator: source of the draws, on the device of the images; None is torch's global one.

    Returns:
        (B, C, size, size), uint8.

    Raises:
        UserError: if a range is empty or out of bounds, or the interpolation is unknown.
    """
    if not 0 < min_scale <= max_scale <= 1:
        raise errors.UserError(f"min_scale and max_scale are shares of the area, got {min_scale} and {max_scale}")
    if not 0 < min_ratio <= max_ratio < math.inf:
        raise errors.UserError(f"min_ratio and max_ratio are positive and in order, got {min_ratio} and {max_ratio}")
    if size < 0:
        raise errors.UserError(f"size is a number of pixels, or 0 for that of the images, got {size}")
    check(images, interpolation)
    scale, ratio = (min_scale, max_scale), (min_ratio, max_ratio)
    windows = draw_windows(images, scale, ratio, generator)
    height, width = (size, size) if size else images.shape[2:]
    return resize_windows(images, windows, height, width, interpolation)


def draw_windows(
    images: Tensor, scale: tuple[float, float], ratio: tuple[float, float], generator: torch.Generator | None
) -> Tensor:
    """One window for each image: the first of ten that fits, else the largest central one of an allowed shape.

    Returns:
        (B, 4) float32, whole numbers: top, left, height, width.
    """
    b, _, height, width = images.shape
    device = images.device
    area, shape, top, left = torch.rand(4, b, TRIES, device=device, generator=generator)
    area = (scale[0] + (scale[1] - scale[0]) * area) * (height * width)  # (B, TRIES)
    shape = torch.exp(math.log(ratio[0]) + (math.log(ratio[1]) - math.log(ratio[0])) * shape)
    heights, widths = (area / shape).sqrt().round(), (area * shape).sqrt().round()
    fits = (heights > 0) & (heights <= height) & (widths > 0) & (widths <= width)
    top, left = whole_below(height - heights + 1, top), whole_below(width - widths + 1, left)
    tried = torch.stack((top, left, heights, widths), dim=-1)  # (B, TRIES, 4)
    central = constants(_central(height, width, ratio), like=tried)
    candidates = torch.cat((tried, central.expand(b, 1, 4)), dim=1)  # (B, TRIES + 1, 4)
    places = torch.arange(TRIES, device=device)
    first = torch.where(fits, places, TRIES).amin(1)  # (B,)
    return candidates.gather(1, first.view(b, 1, 1).expand(b, 1, 4)).squeeze(1)


def _central(height: int, width: int, ratio: tuple[float, float]) -> tuple[int, int, int, int]:
    h, w = height, width
    if width / height < ratio[0]:
        h = round(w / ratio[0])
    elif width / height > ratio[1]:
        w = round(h * ratio[1])
    return (height - h) // 2, (width - w) // 2, h, w


def whole_below(bound: Tensor, draw: Tensor) -> Tensor:
    """Whole numbers from 0 to below the bounds, all equally likely, from draws of the same shape in [0, 1)."""
    return torch.minimum((draw * bound).floor(), bound - 1).clamp_(min=0)


def resize_windows(images: Tensor, windows: Tensor, height: int, width: int, interpolation: str) -> Tensor:
    """Cut a window (top, left, height, width) out of each image and resize it as Pillow does: along rows first.

    Both passes are products with a matrix for each image, mostly zeros: for small images, and on a GPU, that is
    faster than to gather.
    """
    count = shares.at_once(images, height * width)
    parts = zip(images.split(count), windows.split(count), strict=True)
    return torch.cat([_resize(part, *_weights(some, part, height, width, interpolation)) for part, some in parts])


def resize(images: Tensor, height: int, width: int, interpolation: str) -> Tensor:
    """Resize whole images (B, C, H, W), uint8, as `resize_windows` does windows; the weights are the same for all."""
    whole = constants((0, 0, *images.shape[2:]), like=torch.empty(0, device=images.device))
    weights = _weights(whole[None], images, height, width, interpolation)
    parts = images.split(shares.at_once(images, height * width))
    return torch.cat([_resize(part, *(one.expand(len(part), -1, -1) for one in weights)) for part in parts])


def _resize(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Pixels of (B, C, H, W) weighted by columns (B, width, W), and these by rows (B, height, H)."""
    b, c, h, w = images.shape
    height, width = rows.shape[1], columns.shape[1]
    lines = images.transpose(1, 2).to(torch.float32, memory_format=torch.contiguous_format).view(b, h * c, w)
    wide = lines.bmm(columns.transpose(1, 2))  # (B, H * C, width)
    wide = wide.clamp_(0, 255).add_(0.5).floor_()  # Pillow keeps bytes between the passes
    tall = rows.bmm(wide.view(b, h, c * width)).clamp_(0, 255).add_(0.5)  # (B, height, C * width)
    return levels.cut(tall).view(b, height, c, width).transpose(1, 2).contiguous()


def _weights(windows: Tensor, images: Tensor, height: int, width: int, interpolation: str) -> tuple[Tensor, Tensor]:
    """Weights with which the pixels of windows (B, 4) make those of the result: (B, height, H) and (B, width, W).

    Both at once, as large as the larger of the two: on small images a call takes as long as its work.
    """
    h, w = images.shape[2:]
    start, length = windows.T[:, :, None, None].split(2)  # (2, B, 1, 1)
    size = constants((height, width), like=start).view(2, 1, 1, 1)
    pixels = torch.arange(max(h, w), device=start.device)
    step = length / size
    shrink = 1 / step.clamp(min=1)
    places = torch.arange(max(height, width), device=start.device)[:, None] + 0.5
    middle = start + places * step  # (2, B, size, 1)
    distance = ((pixels + 0.5) * shrink - middle * shrink).abs_()  # (2, B, size, count)
    inside = ((pixels >= start) & (pixels < start + length)).to(torch.float32)  # (2, B, 1, count)
    weights = _kernel(distance, interpolation).mul_(inside)
    rows, columns = weights.div_(weights.sum(3, keepdim=True))
    return rows[:, :height, :h], columns[:, :width, :w]


def _kernel(x: Tensor, interpolation: str) -> Tensor:
    """Weight at a distance of x >= 0 pixels, which is lost; the cubic is Keys 1981 with a = -1/2."""
    if interpolation == "bilinear":
        return x.neg_().add_(1).clamp_(min=0)
    # One of the two pieces is 0 everywhere, and exactly so.
    near, far = x.clamp(max=1), x.clamp_(1, 2)
    near = (1.5 * near).sub_(2.5).mul_(near).mul_(near).add_(1)
    return (-0.5 * far).add_(2.5).mul_(far).sub_(4).mul_(far).add_(2).add_(near)


def warp(
    images: Tensor, matrices: Tensor, *, fill: Sequence[int], interpolation: str, upright: Tensor | None = None
) -> Tensor:
    """Move the pixels of each image by an affine map of its own: Pillow's `Image.transform` with AFFINE.

    Args:
        images: (B, 3, H, W), uint8.
        matrices: (B, 2, 3): what a position (x, y, 1) of the result is in the image, in pixels from the corner.
        fill: levels where the result lies outside of the image.
        interpolation: "bilinear" or "bicubic"; the cubic is Keys 1981 with a = -1, as Pillow has it here.
        upright: (B,) bool, of maps that move along one axis alone, whether that is y and not x: then there is nothing
            to interpolate along the other. None for any maps.

    Returns:
        (B, 3, H, W), uint8.
    """
    b, c, h, w = images.shape
    y, x = (torch.arange(one, device=images.device) + 0.5 for one in (h, w))
    a, b_, c_ = matrices.to(torch.float32)[:, :, :, None, None].unbind(2)  # (B, 2, 1, 1) each
    at = (a * x + b_ * y[:, None] + c_).flatten(2)  # (B, 2, H * W), x and y
    size = constants((w, h), like=at).view(2, 1)
    inside = ((at >= 0) & (at < size)).to(torch.float32)
    inside = inside[:, :1] * inside[:, 1:]  # (B, 1, H * W)
    at = torch.minimum((at - 0.5).clamp_(min=-0.5), size - 0.5)
    low = torch.minimum(at.floor(), size - 1)
    behind = at - low
    margin = KERNELS.index(interpolation) + 1
    padded = F.pad(images.to(torch.float32), (margin,) * 4, mode="replicate")  # (B, C, H', W')
    line = padded.shape[3]
    first = ((low[:, 1:] + 1) * line + (low[:, :1] + 1)).to(torch.int64)  # (B, 1, H * W), above and left of a pixel
    if upright is None:
        moved = _between_both(padded.flatten(2), first, _taps(behind, interpolation), line)
    else:
        # Whole rows of the axis are copied; a `where` over so many numbers takes as long as the rest.
        behind = behind.flatten(0, 1).index_select(0, 2 * torch.arange(b, device=at.device) + upright)[:, None]
        step = 1 + (line - 1) * upright.to(torch.int64).view(b, 1, 1)
        moved = _between(
            padded.flatten(2), first + (margin - 1) * (1 + line - step), _taps(behind, interpolation), step
        )
    outside = constants([one + LAST_BIT for one in fill], like=moved).view(c, 1) * (1 - inside)
    return levels.cut(moved.add_(LAST_BIT).mul_(inside).add_(outside).clamp_(0, 255)).view(b, c, h, w)


def _between_both(flat: Tensor, first: Tensor, taps: list[Tensor], line: int) -> Tensor:
    """Pixels (B, C, P) weighted by the taps, from the first (B, 1, H * W) on; a row is a line further."""
    places = first.expand(-1, flat.shape[1], -1)  # (B, C, H * W)
    result = torch.zeros(places.shape, device=flat.device)
    across, tap = torch.empty_like(result), torch.empty_like(result)  # memory anew for each tap takes time
    for row, of_row in enumerate(taps):
        across.zero_()
        for column, of_column in enumerate(taps):
            # The same places in an image that begins some pixels later: one tensor of indices serves all taps.
            torch.gather(flat[:, :, row * line + column :], 2, places, out=tap)
            across.addcmul_(tap, of_column[:, :1])
        result.addcmul_(across, of_row[:, 1:])
    return result


def _between(flat: Tensor, first: Tensor, taps: list[Tensor], step: Tensor) -> Tensor:
    """The same along one axis alone, on which the next pixel is a step (B, 1, 1) further."""
    result = torch.zeros(len(flat), flat.shape[1], first.shape[2], device=flat.device)
    tap = torch.empty_like(result)
    for place, weights in enumerate(taps):
        torch.gather(flat, 2, (first + place * step).expand_as(result), out=tap)
        result.addcmul_(tap, weights)
    return result


def constants(numbers: Sequence[float], *, like: Tensor) -> Tensor:
    """The numbers as a tensor of the same type and device, made there: a graph can capture no copy from the host."""
    return torch.cat([like.new_full((1,), number) for number in numbers])


def _taps(d: Tensor, interpolation: str) -> list[Tensor]:
    """Weights of the pixels around a position that lies d in [0, 1] behind the middle one of them."""
    if interpolation == "bilinear":
        return [1 - d, d]
    e = 1 - d
    return [-d * e * e, 1 - d * d * (1 + e), 1 - e * e * (1 + d), -d * d * e]


def check(images: Tensor, interpolation: str) -> None:
    """Refuse what cannot be resampled: images that are not levels, kernels that nobody knows."""
    if interpolation not in KERNELS:
        raise errors.unknown("interpolation", interpolation, KERNELS)
    if images.dtype != torch.uint8:
        raise TypeError(f"expected images of uint8 levels, got {images.dtype}")
