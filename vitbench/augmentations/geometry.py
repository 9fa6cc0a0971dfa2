"""Operations that move pixels: windows that are resized, and affine maps, for each image its own.

Source: Szegedy et al. 2015, arXiv:1409.4842, section 6, for crops of random size; the draws are those of
torchvision's `RandomResizedCrop`, the arithmetic is Pillow's `resize` and `transform`.
"""

import math
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from vitbench import errors
from vitbench.augmentations import levels, shares

VERSION = 2  # raised when an operation, or the order of its draws, changes
TRIES = 10  # windows that torchvision draws before it takes the central one
KERNELS = ("bilinear", "bicubic")
CUBIC = ((0, 1, 0, 0), (-1, 0, 1, 0), (2, -2, 1, -1), (-1, 1, -1, 1))  # of d^0 to d^3, for each of four pixels
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

    Both at once, as large as the larger of the two: on small images a call takes as long as its work. Only the few
    pixels that the kernel reaches are computed, and then put in their places.
    """
    h, w = images.shape[2:]
    support = KERNELS.index(interpolation) + 1  # pixels that the kernel reaches to either side, where nothing shrinks
    taps = math.ceil(2 * support * max(1, h / height, w / width))
    start, length = windows.T[:, :, None].split(2)  # (2, B, 1)
    step = length / constants((height, width), like=start).view(2, 1, 1)
    shrink = 1 / step.clamp(min=1)
    middle = start + (torch.arange(max(height, width), device=start.device) + 0.5) * step  # (2, B, size)
    first = (middle - support / shrink + 0.5).floor_().clamp_(max=max(h, w))  # the bound: beyond the smaller's size
    pixels = first[..., None] + torch.arange(taps, device=start.device)  # (2, B, size, taps)
    distance = ((pixels + 0.5) * shrink[..., None]).sub_((middle * shrink)[..., None]).abs_()
    inside = (pixels >= start[..., None]) & (pixels < (start + length)[..., None])
    weights = _kernel(distance, interpolation).mul_(inside)
    weights.div_(weights.sum(3, keepdim=True))
    # Columns at either end for pixels outside of the image, whose weights are 0.
    all_pixels = weights.new_zeros(*middle.shape, max(h, w) + 2 * taps)
    rows, columns = all_pixels.scatter_(3, (pixels + taps).to(torch.int64), weights)[..., taps:-taps]
    return rows[:, :height, :h], columns[:, :width, :w]


def _kernel(x: Tensor, interpolation: str) -> Tensor:
    """Weight at a distance of x >= 0 pixels, which is lost; the cubic is Keys 1981 with a = -1/2."""
    if interpolation == "bilinear":
        return x.neg_().add_(1).clamp_(min=0)
    # One of the two pieces is 0 everywhere, and exactly so.
    near, far = x.clamp(max=1), x.clamp_(1, 2)
    near = (1.5 * near).sub_(2.5).mul_(near).mul_(near).add_(1)
    return (-0.5 * far).add_(2.5).mul_(far).sub_(4).mul_(far).add_(2).add_(near)


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
    y, x = (torch.arange(one, device=images.device) + 0.5 for one in (h, w))
    a, b_, c_ = matrices.to(torch.float32)[:, :, :, None, None].unbind(2)  # (B, 2, 1, 1) each
    at = (a * x + b_ * y[:, None] + c_).flatten(2)  # (B, 2, H * W), x and y
    size = constants((w, h), like=at).view(2, 1)
    inside = ((at >= 0) & (at < size)).to(torch.float32)
    at -= 0.5
    low = at.floor()
    across, down = _taps(at - low, interpolation).unbind(1)  # (B, taps, H * W) each
    taps = torch.arange(1 - across.shape[1] // 2, 1 + across.shape[1] // 2, device=images.device)[:, None]
    column, row = torch.minimum((low[:, :, None] + taps).clamp_(min=0), size[..., None] - 1).to(torch.int64).unbind(1)
    places = (row * w)[:, :, None] + column[:, None]  # (B, taps, taps, H * W)
    weights = (down[:, :, None] * across[:, None]).flatten(1, 2)  # (B, taps * taps, H * W)
    pixels = images.flatten(2).to(torch.float32).gather(2, places.view(b, 1, -1).expand(b, c, -1))
    moved = pixels.view(b, c, -1, h * w).mul_(weights[:, None]).sum(2)  # (B, C, H * W)
    return _filled(moved.view(images.shape), (inside[:, :1] * inside[:, 1:]).view(b, 1, h, w), fill)


def slide(images: Tensor, offsets: Tensor, *, fill: Sequence[int], interpolation: str) -> Tensor:
    """Move the pixels of each row along it, as `warp` does: pixel x of the result is what lies at x + offset.

    Args:
        images: (B, 3, H, W), uint8.
        offsets: (B, H), float64.
        fill: levels where the result lies outside of the image.
        interpolation: "bilinear" or "bicubic".

    Returns:
        (B, 3, H, W), uint8.
    """
    b, c, h, w = images.shape
    low = offsets.floor()
    weights = _taps((offsets - low).to(torch.float32).view(b, 1, h, 1), interpolation)  # (B, 1, taps, H, 1)
    taps = weights.shape[2]
    reached = torch.arange(1 - taps // 2, w + taps // 2, device=images.device)
    pixels = (low.to(torch.int64)[..., None] + reached).clamp_(0, w - 1)  # (B, H, W + taps - 1)
    runs = images.to(torch.float32).gather(3, pixels[:, None].expand(b, c, h, -1))  # (B, C, H, W + taps - 1)
    moved = runs[..., :w] * weights[:, :, 0]
    for place in range(1, taps):
        moved.addcmul_(runs[..., place : place + w], weights[:, :, place])
    at = offsets[..., None] + (torch.arange(w, device=images.device) + 0.5)  # (B, H, W)
    return _filled(moved, ((at >= 0) & (at < w)).to(torch.float32)[:, None], fill)


def _filled(moved: Tensor, inside: Tensor, fill: Sequence[int]) -> Tensor:
    """Levels (B, C, H, W) where inside (B, 1, H, W) is 1, and the fill where it is 0; uint8."""
    outside = constants(fill, like=moved).view(-1, 1, 1)
    # With weights of 0 and 1 exact, and a fifth of a `where`'s time on a CPU.
    return levels.cut(torch.lerp(outside, moved, inside).add_(LAST_BIT).clamp_(0, 255))


@cache
def _constants(numbers: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(numbers, dtype=dtype, device=device)


def constants(numbers: Sequence[float], *, like: Tensor) -> Tensor:
    """The numbers as a tensor of the same type and device, not to be written to.

    Made once: a graph can capture no copy from the host, but what a step before it has copied.
    """
    return _constants(tuple(numbers), like.dtype, like.device)


def _taps(d: Tensor, interpolation: str) -> Tensor:
    """Weights (B, n, taps, ...) of the pixels around positions (B, n, ...) that lie d in [0, 1] behind a pixel.

    Bicubic, with a = -1: -d (1 - d)^2, 1 - d^2 (2 - d), 1 - (1 - d)^2 (1 + d) and -d^2 (1 - d), as sums of powers.
    """
    powers = ((1, 0), (-1, 1)) if interpolation == "bilinear" else CUBIC
    d = d.unsqueeze(2)
    factors = [constants(one, like=d).view(-1, *[1] * (d.ndim - 3)) for one in powers]
    weights = factors.pop()
    while factors:
        weights = torch.addcmul(factors.pop(), weights, d)
    return weights


def check(images: Tensor, interpolation: str) -> None:
    """Refuse what cannot be resampled: images that are not levels, kernels that nobody knows."""
    if interpolation not in KERNELS:
        raise errors.unknown("interpolation", interpolation, KERNELS)
    if images.dtype != torch.uint8:
        raise TypeError(f"expected images of uint8 levels, got {images.dtype}")
