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
from vitbench.augmentations import shares

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
    return torch.cat([_resize(*part, height, width, interpolation) for part in parts])


def resize(images: Tensor, height: int, width: int, interpolation: str) -> Tensor:
    """Resize whole images (B, C, H, W), uint8, as `resize_windows` does windows; the weights are the same for all."""
    h, w = images.shape[2:]
    whole = constants((0, 0, h, w), like=torch.empty(0, device=images.device))
    rows = _resizing(whole[:1], whole[2:3], h, height, interpolation)  # (1, height, H)
    columns = _resizing(whole[1:2], whole[3:], w, width, interpolation)  # (1, width, W)
    parts = images.split(shares.at_once(images, height * width))
    return torch.cat(
        [_resample(part, rows.expand(len(part), -1, -1), columns.expand(len(part), -1, -1)) for part in parts]
    )


def _resize(images: Tensor, windows: Tensor, height: int, width: int, interpolation: str) -> Tensor:
    h, w = images.shape[2:]
    rows = _resizing(windows[:, 0], windows[:, 2], h, height, interpolation)  # (B, height, H)
    columns = _resizing(windows[:, 1], windows[:, 3], w, width, interpolation)  # (B, width, W)
    return _resample(images, rows, columns)


def _resample(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Images (B, C, H, W) whose pixels are weighted along the columns (B, width, W), then the rows (B, height, H)."""
    b, c, h, w = images.shape
    height, width = rows.shape[1], columns.shape[1]
    lines = images.transpose(1, 2).to(torch.float32, memory_format=torch.contiguous_format).view(b, h * c, w)
    wide = _rounded(lines.bmm(columns.transpose(1, 2)))  # (B, H * C, width); Pillow keeps bytes between the passes
    resized = _rounded(rows.bmm(wide.view(b, h, c * width)))  # (B, height, C * width)
    return resized.view(b, height, c, width).transpose(1, 2).to(torch.uint8, memory_format=torch.contiguous_format)


def _rounded(levels: Tensor) -> Tensor:
    """Levels rounded, halves up, in place."""
    return levels.add_(0.5).floor_().clamp_(0, 255)


def _resizing(start: Tensor, length: Tensor, count: int, size: int, interpolation: str) -> Tensor:
    """Weights (B, size, count) with which the pixels of a window make those of the result."""
    start, length = start.view(-1, 1, 1), length.view(-1, 1, 1)
    pixels = torch.arange(count, device=start.device)
    step = length / size
    shrink = 1 / step.clamp(min=1)
    middle = start + (torch.arange(size, device=start.device)[:, None] + 0.5) * step  # (B, size, 1)
    distance = ((pixels + 0.5) * shrink - middle * shrink).abs_()  # (B, size, count)
    inside = ((pixels >= start) & (pixels < start + length)).to(torch.float32)  # (B, 1, count)
    weights = _kernel(distance, interpolation).mul_(inside)
    return weights.div_(weights.sum(2, keepdim=True))


def _kernel(x: Tensor, interpolation: str) -> Tensor:
    """Weight at a distance of x >= 0 pixels, which is lost; the cubic is Keys 1981 with a = -1/2."""
    if interpolation == "bilinear":
        return x.neg_().add_(1).clamp_(min=0)
    x.clamp_(max=2)
    near = (1.5 * x).sub_(2.5).mul_(x).mul_(x).add_(1)
    far = (-0.5 * x).add_(2.5).mul_(x).sub_(4).mul_(x).add_(2)
    return torch.where(x < 1, near, far)


def warp(images: Tensor, matrices: Tensor, *, fill: Sequence[int], interpolation: str) -> Tensor:
    """Move the pixels of each image by an affine map of its own: Pillow's `Image.transform` with AFFINE.

    Args:
        images: (B, 3, H, W), uint8.
        matrices: (B, 2, 3): what a position (x, y, 1) of the result is in the image, in pixels from the corner.
        fill: levels where the result lies outside of the image.
        interpolation: "bilinear" or "bicubic"; the cubic is Keys 1981 with a = -1, as Pillow has it here.

    Returns:
        (B, 3, H, W), uint8.
    """
    b, c, h, w = images.shape
    device = images.device
    a, b_, c_ = matrices.to(torch.float32)[:, :, :, None, None].unbind(2)  # (B, 2, 1, 1) each
    y, x = torch.arange(h, device=device).view(h, 1) + 0.5, torch.arange(w, device=device) + 0.5
    at_x, at_y = (a * x + b_ * y + c_).unbind(1)  # (B, H, W)
    inside = ((at_x >= 0) & (at_x < w) & (at_y >= 0) & (at_y < h))[:, None]  # (B, 1, H, W)
    at_x, at_y = (at_x - 0.5).clamp_(-0.5, w - 0.5), (at_y - 0.5).clamp_(-0.5, h - 0.5)
    left, above = at_x.floor().clamp_(max=w - 1), at_y.floor().clamp_(max=h - 1)
    columns, rows = (_taps((at - low).view(b, 1, -1), interpolation) for at, low in ((at_x, left), (at_y, above)))
    margin = len(rows) // 2
    padded = F.pad(images.to(torch.float32), (margin,) * 4, mode="replicate")  # (B, C, H', W')
    line = padded.shape[3]
    first = ((above + 1) * line + (left + 1)).to(torch.int64).view(b, 1, -1).expand(b, c, -1)  # (B, C, H * W)
    flat = padded.flatten(2)
    result = torch.zeros(b, c, h * w, device=device)
    across, tap = torch.empty_like(result), torch.empty_like(result)  # memory anew for each tap takes time
    for at_row, of_row in enumerate(rows):
        across.zero_()
        for at_column, of_column in enumerate(columns):
            # The same places in an image that begins some pixels later: one tensor of indices serves all taps.
            torch.gather(flat[:, :, at_row * line + at_column :], 2, first, out=tap)
            across.addcmul_(tap, of_column)
        result.addcmul_(across, of_row)
    moved = torch.where(inside, result.view(b, c, h, w), constants(fill, like=result).view(c, 1, 1))
    return moved.add_(LAST_BIT).clamp_(0, 255).to(torch.uint8)


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
