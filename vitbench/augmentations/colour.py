"""Operations on colours: blends with what lacks a quality, and the turn of the hue.

Brightness, contrast and saturation are Pillow's to the last bit; the hue is turned in floats as torchvision turns a
tensor's, and not in the 256 steps of Pillow's HSV images.
"""

import torch
from torch import Tensor

from vitbench import errors
from vitbench.augmentations import levels, shares

VERSION = 1  # raised when an operation, or the order of its draws, changes
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)


def colour_jitter(
    images: Tensor,
    *,
    brightness: float = 0.0,
    contrast: float = 0.0,
    saturation: float = 0.0,
    hue: float = 0.0,
    probability: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Change brightness, contrast, saturation and hue by random factors, in random order: torchvision's ColorJitter.

    Args:
        images: (B, 3, H, W), uint8.
        brightness: the factor lies between 1 - brightness, at least 0, and 1 + brightness.
        contrast: the same.
        saturation: the same.
        hue: the hue is turned by at most this part of the circle, at most 0.5, either way.
        probability: of each image on its own to be changed at all, in [0, 1].
        generator: source of the draws, on the device of the images; None is torch's global one.

    Returns:
        (B, 3, H, W), uint8.

    Raises:
        UserError: if a strength or the probability is out of range.
    """
    strengths = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
    for name, strength in strengths.items():
        if not 0 <= strength < float("inf"):
            raise errors.UserError(f"{name} is a number from 0 up, got {strength}")
    if not 0 <= hue <= 0.5:
        raise errors.UserError(f"hue is a part of the circle between 0 and 0.5, got {hue}")
    if not 0 <= probability <= 1:
        raise errors.UserError(f"probability is between 0 and 1, got {probability}")
    if images.dtype != torch.uint8:
        raise TypeError(f"expected images of uint8 levels, got {images.dtype}")
    order, factors, turn, drawn = draw_jitter(images, tuple(strengths.values()), hue, generator)
    return jitter(images, order, factors, turn, drawn < probability, turning=hue > 0)


def draw_jitter(
    images: Tensor, strengths: tuple[float, ...], hue: float, generator: torch.Generator | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What happens to each image.

    Returns:
        order (B, 4) int64, a permutation of what is changed; factors (B, 3) of brightness, contrast and saturation;
        turn (B,) of the hue; and a number (B,) in [0, 1) to be compared with the probability.
    """
    drawn = torch.rand(9, len(images), device=images.device, generator=generator)
    order = drawn[:4].argsort(dim=0).T  # (B, 4)
    lowest = [max(0.0, 1 - strength) for strength in strengths]
    ranges = zip(drawn[4:7], lowest, strengths, strict=True)
    factors = torch.stack([low + (1 + strength - low) * one for one, low, strength in ranges], dim=1)  # (B, 3)
    return order, factors, hue * (2 * drawn[7] - 1), drawn[8]


def jitter(
    images: Tensor, order: Tensor, factors: Tensor, turn: Tensor, changed: Tensor, *, turning: bool = True
) -> Tensor:
    """Change images as was drawn; without `turning`, the hue stays as it is."""
    count = shares.at_once(images)
    parts = zip(*(one.split(count) for one in (images, order, factors, turn, changed)), strict=True)
    return torch.cat([_jitter(*part, turning=turning) for part in parts])


def _jitter(images: Tensor, order: Tensor, factors: Tensor, turn: Tensor, changed: Tensor, *, turning: bool) -> Tensor:
    """At each of the four places of the order an image gets one change.

    The three blends are one formula that is computed for all; the hue, which is dearer, for the images whose turn
    it is.
    """
    # A factor of 1 leaves every level as it is, for the hue's place and for images that are not changed.
    factors = torch.where(changed[:, None], torch.cat((factors, torch.ones_like(factors[:, :1])), dim=1), 1.0)
    for place in order.T:  # (B,)
        grey = levels.grey(images)  # (B, 1, H, W)
        kind = place.view(-1, 1, 1, 1)
        degenerate = torch.where(kind == SATURATION, grey, levels.mean_grey(grey) * (kind == CONTRAST))
        images = levels.blend(degenerate, images, factors.gather(1, place[:, None]))
        if turning:
            turned = ((place == HUE) & changed).logical_not().to(torch.int64)
            images = shares.change(images, turned, [shares.Group(1 / 4, turn_hue)], [turn])
    return images


def turn_hue(images: Tensor, turn: Tensor) -> Tensor:
    """Turn the hue of (B, 3, H, W) uint8 by a part (B,) of the circle, in [-0.5, 0.5]."""
    red, green, blue = images.to(torch.float32).div_(255).unbind(1)  # (B, H, W) each
    value = torch.maximum(torch.maximum(red, green), blue)
    chroma = value - torch.minimum(torch.minimum(red, green), blue)
    whole = chroma.clamp(min=1 / 512)  # half of the least there is but 0; a grey is what it was, whatever its sixths
    # Sixths of the circle from red, by the strongest colour; where two are equally strong, red goes first. A choice by
    # weights of 0 and 1 is exact, and takes a fifth of the time of a `where` on a CPU.
    is_green, is_red = (value == green).to(torch.float32), (value == red).to(torch.float32)
    of_blue = torch.lerp((red - green).div_(whole).add_(4), (blue - red).div_(whole).add_(2), is_green)
    sixths = torch.lerp(of_blue, (green - blue).div_(whole), is_red).add_(6 * turn.view(-1, 1, 1))
    parts = []
    for first in (5, 3, 1):
        k = sixths + first
        k.sub_((k * (1 / 6)).floor_(), alpha=6)  # a third of a `remainder`'s time; both ends of the circle weigh 0
        parts.append(value - torch.minimum(k, 4 - k).clamp_(0, 1).mul_(chroma))
    return levels.cut(torch.stack(parts, dim=1).mul_(255.999))  # (B, 3, H, W), as torchvision goes to levels


def smooth(images: Tensor) -> Tensor:
    """Rounded means (B, 3, H, W), float32, over 3x3 pixels, the middle one counting five times; the rim stays."""
    smoothed = images.to(torch.float32, copy=True)
    rows = smoothed[:, :, :-2] + smoothed[:, :, 1:-1] + smoothed[:, :, 2:]  # (B, 3, H - 2, W)
    inner = smoothed[:, :, 1:-1, 1:-1]
    near = rows[:, :, :, :-2] + rows[:, :, :, 1:-1] + rows[:, :, :, 2:]  # (B, 3, H - 2, W - 2)
    # A whole number of thirteenths is never a tie, so that neither the product nor the rounding needs care.
    inner.copy_(near.add_(inner, alpha=4).mul_(1 / 13).round_())
    return smoothed
