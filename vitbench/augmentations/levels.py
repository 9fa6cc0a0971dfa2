"""Operations on single levels: each is a table of 256 levels per image, looked up once for every pixel.

A table has the shape (B, 256) where all channels share it, and (B, C, 256) where they do not. The values are PIL's to
the last bit, Pillow's `ImageOps` and `ImageEnhance`; what those compute in double precision is so computed here.
"""

import torch
from torch import Tensor

VERSION = 1  # raised when a table changes
LUMA = (19595, 38470, 7471)  # ITU-R 601-2 in 65,536ths, as Pillow's conversion to "L" has it


def look_up(images: Tensor, table: Tensor) -> Tensor:
    """Levels (B, C, H, W) replaced by those of the table, (B, 256) or (B, C, 256), uint8."""
    b, c = images.shape[:2]
    table = table.reshape(b, -1, 256).expand(b, c, 256)
    return table.gather(2, images.flatten(2).to(torch.int64)).view_as(images)


def cut(numbers: Tensor) -> Tensor:
    """Numbers in [0, 256) without their fractions, uint8.

    By way of int32, because a CPU goes from floats to bytes one at a time, which takes four times as long.
    """
    return numbers.to(torch.int32).to(torch.uint8)


def blend(degenerate: Tensor, images: Tensor, factor: Tensor) -> Tensor:
    """Pillow's `Image.blend`: 0 gives the degenerate, 1 the images, more goes beyond; cut off, and not rounded.

    Args:
        degenerate: uint8 or a whole number, broadcast with the images.
        images: uint8, or levels.
        factor: (B,), brought to the images' number of axes.
    """
    first = degenerate.to(torch.float32)
    factor = factor.to(torch.float32).view(-1, *[1] * (images.ndim - 1))
    return cut((first + factor * (images - first)).clamp_(0, 255))


def grey(images: Tensor) -> Tensor:
    """(B, 3, H, W) levels to their luma (B, 1, H, W), float32, whole.

    Luma is counted in 65,536ths; in floats that is exact, because no sum of theirs needs more than 24 bits.
    """
    red, green, blue = images.to(torch.float32).split(1, dim=1)
    parts = [one / 2**16 for one in LUMA]
    return (red * parts[0]).add_(green, alpha=parts[1]).add_(blue, alpha=parts[2]).add_(0.5).floor_()


def mean_grey(grey: Tensor) -> Tensor:
    """Rounded mean (B, 1, 1, 1), float32, of the luma (B, 1, H, W) of each image."""
    pixels = grey.shape[2] * grey.shape[3]
    total = grey.sum((1, 2, 3), keepdim=True, dtype=torch.float64).to(torch.int64)
    return (2 * total + pixels).div(2 * pixels, rounding_mode="floor").to(torch.float32)


def posterize(bits: Tensor) -> Tensor:
    """Table (B, 256) that keeps the highest bits (B,) int64 in 0..8 of a level."""
    return _levels(bits).bitwise_and(255 - (1 << (8 - bits))[:, None] + 1).to(torch.uint8)


def solarize(threshold: Tensor) -> Tensor:
    """Table (B, 256) that inverts the levels from the threshold (B,) up; at 0, all."""
    levels = _levels(threshold)
    return torch.where(levels < threshold[:, None], levels, 255 - levels).to(torch.uint8)


def solarize_add(amount: Tensor) -> Tensor:
    """Table (B, 256) that adds the amount (B,), whole, to the levels below 128; timm's `solarize_add`."""
    levels = _levels(amount)
    return torch.where(levels < 128, (levels + amount[:, None]).clamp(max=255), levels).to(torch.uint8)


def counts(images: Tensor) -> Tensor:
    """How often each channel of (B, C, H, W) has each level, (B, C, 256), int32."""
    levels = images.flatten(2).to(torch.int64)
    zeros = torch.zeros(*images.shape[:2], 256, dtype=torch.int32, device=images.device)
    return zeros.scatter_add_(2, levels, zeros.new_ones(1).expand_as(levels))


def autocontrast(images: Tensor) -> Tensor:
    """Table (B, C, 256) that stretches each channel of (B, C, H, W) from black to white."""
    pixels, levels = images.flatten(2), _levels(images).to(torch.float64)
    lowest, highest = pixels.amin(2, keepdim=True).to(torch.float64), pixels.amax(2, keepdim=True)  # (B, C, 1)
    span = highest - lowest
    # A number over a tensor would be its reciprocal times the number: two roundings.
    scale = torch.full_like(span, 255) / span.clamp(min=1)
    stretched = (levels * scale).sub_(lowest * scale).clamp_(0, 255)
    return torch.where(span > 0, stretched, levels).to(torch.uint8)


def equalize(histogram: Tensor) -> Tensor:
    """Table (B, C, 256) that spreads the levels of each channel evenly, of its counts (B, C, 256)."""
    levels = _levels(histogram)
    below = histogram.cumsum(2) - histogram  # (B, C, 256), int64
    highest = torch.where(histogram > 0, levels, 0).amax(2, keepdim=True)
    step = below.gather(2, highest).div(255, rounding_mode="floor")  # (B, C, 1)
    spread = (below + step.div(2, rounding_mode="floor")).div(step.clamp(min=1), rounding_mode="floor")
    return torch.where(step > 0, spread.clamp(max=255), levels).to(torch.uint8)


def _levels(like: Tensor) -> Tensor:
    return torch.arange(256, device=like.device)
