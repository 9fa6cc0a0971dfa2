"""Two operations in a row for each image, both of one of a policy's pairs: AutoAugment.

Source: Cubuk et al. 2019, arXiv:1805.09501, as torchvision has it in `transforms.v2.AutoAugment` with its defaults (the
nearest pixel, black where a map reaches outside of the image), on Pillow's arithmetic.
"""

import math
from collections.abc import Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from vitbench import errors
from vitbench.augmentations import colour, geometry, levels, shares

VERSION = 1  # raised when an operation, or the order of its draws, changes
# What is computed together, for the images that drew one of it: tables that all channels share, tables of each
# channel's histogram, blends with another image, affine maps.
GROUPS = (
    *(("invert", "solarize", "posterize"), ("autocontrast", "equalize")),
    *(("contrast", "brightness", "colour", "sharpness"), ("rotate", "shear_y", "translate_x", "translate_y")),
)
NAMES = tuple(name for group in GROUPS for name in group)
# Each operation's group; after the last one, that of no operation.
GROUP_OF = (*(at for at, group in enumerate(GROUPS) for _ in group), len(GROUPS))
SOLARIZE, AUTOCONTRAST = NAMES.index("solarize"), NAMES.index("autocontrast")
CONTRAST, COLOUR, SHARPNESS = map(NAMES.index, ("contrast", "colour", "sharpness"))
MAGNITUDES = 10  # strengths of an operation, the weakest is 0
Pair = tuple[tuple[str, float, int], tuple[str, float, int]]  # each with its probability and magnitude
# Table 7 of the paper. An operation that has no strength has magnitude 0 here.
POLICIES: dict[str, tuple[Pair, ...]] = {
    "cifar10": (
        (("invert", 0.1, 0), ("contrast", 0.2, 6)),
        (("rotate", 0.7, 2), ("translate_x", 0.3, 9)),
        (("sharpness", 0.8, 1), ("sharpness", 0.9, 3)),
        (("shear_y", 0.5, 8), ("translate_y", 0.7, 9)),
        (("autocontrast", 0.5, 0), ("equalize", 0.9, 0)),
        (("shear_y", 0.2, 7), ("posterize", 0.3, 7)),
        (("colour", 0.4, 3), ("brightness", 0.6, 7)),
        (("sharpness", 0.3, 9), ("brightness", 0.7, 9)),
        (("equalize", 0.6, 0), ("equalize", 0.5, 0)),
        (("contrast", 0.6, 7), ("sharpness", 0.6, 5)),
        (("colour", 0.7, 7), ("translate_x", 0.5, 8)),
        (("equalize", 0.3, 0), ("autocontrast", 0.4, 0)),
        (("translate_y", 0.4, 3), ("sharpness", 0.2, 6)),
        (("brightness", 0.9, 6), ("colour", 0.2, 8)),
        (("solarize", 0.5, 2), ("invert", 0.0, 0)),
        (("equalize", 0.2, 0), ("autocontrast", 0.6, 0)),
        (("equalize", 0.2, 0), ("equalize", 0.6, 0)),
        (("colour", 0.9, 9), ("equalize", 0.6, 0)),
        (("autocontrast", 0.8, 0), ("solarize", 0.2, 8)),
        (("brightness", 0.1, 3), ("colour", 0.7, 0)),
        (("solarize", 0.4, 5), ("autocontrast", 0.9, 0)),
        (("translate_y", 0.9, 9), ("translate_y", 0.7, 9)),
        (("autocontrast", 0.9, 0), ("solarize", 0.8, 3)),
        (("equalize", 0.8, 0), ("invert", 0.1, 0)),
        (("translate_y", 0.7, 9), ("autocontrast", 0.9, 0)),
    ),
}
FIXED = 16  # bits behind the point of Pillow's positions


def auto_augment(images: Tensor, *, policy: str = "cifar10", generator: torch.Generator | None = None) -> Tensor:
    """Apply one pair of a policy's operations to each image, each with its probability: torchvision's AutoAugment.

    Args:
        images: (B, 3, H, W), uint8, at least 3 pixels high and wide.
        policy: one of `POLICIES`; all its pairs are equally likely.
        generator: source of the draws, on the device of the images; None is torch's global one.

    Returns:
        (B, 3, H, W), uint8.

    Raises:
        UserError: if there is no such policy.
    """
    if policy not in POLICIES:
        raise errors.unknown("policy", policy, POLICIES)
    if images.dtype != torch.uint8:
        raise TypeError(f"expected images of uint8 levels, got {images.dtype}")
    return apply_pairs(images, *draw_pairs(images, policy, generator), policy=policy)


def draw_pairs(images: Tensor, policy: str, generator: torch.Generator | None) -> tuple[Tensor, Tensor, Tensor]:
    """What each image gets.

    Returns:
        the pair's place in the policy (B,) int64; and for each operation of a pair two numbers in [0, 1): one to be
        compared with its probability (2, B), and one that makes it negative (2, B), below a half.
    """
    b, device = len(images), images.device
    which = torch.randint(0, len(POLICIES[policy]), (b,), device=device, generator=generator)
    drawn = torch.rand(4, b, device=device, generator=generator)
    return which, drawn[:2], drawn[2:]


def apply_pairs(images: Tensor, which: Tensor, chance: Tensor, negative: Tensor, *, policy: str = "cifar10") -> Tensor:
    """Apply to images (B, 3, H, W) what was drawn, as `draw_pairs` returns it."""
    height, width = images.shape[2:]
    table = _table(policy, height, width, images.device)
    for place, (drawn, turned) in enumerate(zip(chance, negative, strict=True)):
        rows = table[place].index_select(0, 2 * which + (turned < 0.5))  # (B, 3 + 6)
        name = torch.where(drawn < rows[:, 1], rows[:, 0], len(NAMES)).to(torch.int64)
        likely = [pair[place][:2] for pair in POLICIES[policy]]
        images = _apply(images, name, rows[:, 2], rows[:, 3:].to(torch.int32), likely)
    return images


def _apply(
    images: Tensor, which: Tensor, strength: Tensor, matrices: Tensor, likely: Sequence[tuple[str, float]]
) -> Tensor:
    """Apply to each image the operation NAMES[which], if any; which was drawn of the likely ones, each as likely."""
    operations = (_by_table, _by_histogram, _by_blend, _by_map)
    parts = [sum(probability for name, probability in likely if name in group) / len(likely) for group in GROUPS]
    groups = [shares.Group(part, operation) for part, operation in zip(parts, operations, strict=True)]
    group_of = geometry.constants(GROUP_OF, like=which).index_select(0, which)
    return shares.change(images, group_of, groups, [which, strength, matrices])


def _by_table(images: Tensor, which: Tensor, strength: Tensor, matrices: Tensor) -> Tensor:
    whole = strength.to(torch.int64)
    solarized, posterized = levels.solarize(whole), levels.posterize(whole.clamp(0, 8))  # (B, 256) each
    # To invert is to solarize all levels.
    return levels.look_up(images, torch.where((which <= SOLARIZE)[:, None], solarized, posterized))


def _by_histogram(images: Tensor, which: Tensor, strength: Tensor, matrices: Tensor) -> Tensor:
    stretched, spread = levels.autocontrast(images), levels.equalize(levels.counts(images))  # (B, C, 256) each
    return levels.look_up(images, torch.where((which == AUTOCONTRAST).view(-1, 1, 1), stretched, spread))


def _by_blend(images: Tensor, which: Tensor, strength: Tensor, matrices: Tensor) -> Tensor:
    grey, kind = levels.grey(images), which.view(-1, 1, 1, 1)
    even = levels.mean_grey(grey) * (kind == CONTRAST)  # black, to change brightness
    degenerate = torch.where(kind == COLOUR, grey, even)
    return levels.blend(torch.where(kind == SHARPNESS, colour.smooth(images), degenerate), images, strength)


def _by_map(images: Tensor, which: Tensor, strength: Tensor, matrices: Tensor) -> Tensor:
    return move(images, matrices)


def move(images: Tensor, matrices: Tensor) -> Tensor:
    """Take for each pixel the nearest one of where an affine map leads: Pillow's `Image.transform`, AFFINE, NEAREST.

    Args:
        images: (B, C, H, W), uint8; black comes in from outside.
        matrices: (B, 6), int32: x and y in the image are the first and the last three of them times the middle of the
            result's pixel (column, row, 1), in 65,536ths.

    Returns:
        (B, C, H, W), uint8.
    """
    b, c, h, w = images.shape
    row, column = (torch.arange(one, dtype=torch.int32, device=images.device) for one in (h, w))
    first, second = matrices.view(b, 2, 3, 1, 1).unbind(1)
    x, y = ((one[:, 0] * column + (one[:, 1] * row[:, None] + one[:, 2])) >> FIXED for one in (first, second))
    x, y = x.clamp_(-1, w), y.clamp_(-1, h)  # (B, H, W); whatever is outside, onto a black frame
    places = y.add_(1).mul_(w + 2).add_(x).add_(1).to(torch.int64).view(b, 1, h * w)
    framed = F.pad(images, (1, 1, 1, 1)).flatten(2)  # (B, C, H' * W')
    return framed.gather(2, places.expand(b, c, h * w)).view(b, c, h, w)


@cache
def _table(policy: str, height: int, width: int, device: torch.device) -> Tensor:
    """For both operations of all pairs with either sign what they are, (2, 2 * pairs, 9), float64.

    A row is the place in NAMES, the probability, the strength and the map's matrix. Made at the first call and kept on
    the device: a graph can capture no copy from the host.
    """
    rows = [
        [NAMES.index(name), probability, strength(name, magnitude, sign), *matrix(name, magnitude, sign, height, width)]
        for place in (0, 1)
        for name, probability, magnitude in (pair[place] for pair in POLICIES[policy])
        for sign in (1, -1)
    ]
    return torch.tensor(rows, dtype=torch.float64, device=device).view(2, -1, 9)


def strength(name: str, magnitude: int, sign: int) -> float:
    """What a magnitude from 0 to 9 is for an operation: a factor, a number of bits, the lowest level that is turned."""
    if name == "solarize":
        return math.ceil(255 * _spaced(1.0, 0.0, magnitude))  # Pillow leaves what is less, and that is no whole number
    if name == "posterize":
        return round(8 - magnitude / ((MAGNITUDES - 1) / 4))
    return 0.0 if name == "invert" else 1 + sign * _spaced(0.0, 0.9, magnitude)


def matrix(name: str, magnitude: int, sign: int, height: int, width: int) -> list[int]:
    """The map (6) of an operation, as `move` takes it; of one that is none, the map that moves nothing."""
    a, b, c, d, e, f = 1.0, 0.0, 0.0, 0.0, 1.0, 0.0
    if name == "rotate":  # anticlockwise about the middle
        angle = sign * math.radians(_spaced(0.0, 30.0, magnitude))
        a, b, d, e = math.cos(angle), -math.sin(angle), math.sin(angle), math.cos(angle)
        c = (width - a * width - b * height) / 2
        f = (height - d * width - e * height) / 2
    elif name == "shear_y":
        d = sign * _spaced(0.0, 0.3, magnitude)
    elif name == "translate_x":
        c = -sign * int(_spaced(0.0, 150 / 331 * width, magnitude))
    elif name == "translate_y":
        f = -sign * int(_spaced(0.0, 150 / 331 * height, magnitude))
    at_middle = (a, b, c + a / 2 + b / 2, d, e, f + d / 2 + e / 2)
    return [math.floor(one * (1 << FIXED) + 0.5) for one in at_middle]


def _spaced(first: float, last: float, magnitude: int) -> float:
    """One of ten evenly spaced numbers, in float32 as torchvision has them: there 255 * 2 / 3 is more than 170."""
    return float(torch.linspace(first, last, MAGNITUDES)[magnitude])
