"""A few operations of fifteen for each image, all of one magnitude.

Source: Cubuk et al. 2020, arXiv:1909.13719, as timm 1.0 has it in `timm.data.auto_augment`, policy `rand-…-inc1`
(`_RAND_INCREASING_TRANSFORMS`; the arguments are those of its `_…_level_to_arg` functions), on Pillow's arithmetic.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from vitbench import errors
from vitbench.augmentations import colour, geometry, levels, shares

VERSION = 1  # raised when an operation, or the order of its draws, changes
NAMES = (
    *("invert", "solarize", "posterize", "solarize_add", "contrast", "brightness"),  # tables that all channels share
    *("autocontrast", "equalize"),  # tables of each channel's histogram
    *("colour", "sharpness"),  # blends of whole images
    *("rotate", "shear_x", "shear_y", "translate_x", "translate_y"),  # affine maps
)
# Where in NAMES each kind begins and ends. A kind is computed for the images that drew one of it.
TABLES, HISTOGRAMS, BLENDS, TURNS, SHIFTS = (0, 6), (6, 8), (8, 10), (10, 11), (11, 15)
FILL = (124, 116, 104)  # ImageNet's mean in levels: where a map reaches outside of the image
HIGHEST = 10.0  # magnitude


def rand_augment(
    images: Tensor,
    *,
    magnitude: float = 9.0,
    std: float = 0.5,
    count: int = 2,
    probability: float = 0.5,
    interpolation: str = "bicubic",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Apply randomly chosen operations, one after the other: timm's `rand-m9-mstd0.5-inc1`.

    Args:
        images: (B, 3, H, W), uint8, at least 3 pixels high and wide.
        magnitude: mean strength of the operations, from 0 (none) to 10.
        std: of the strength, which is normal and cut off at 0 and 10.
        count: operations in a row; the same one may come twice.
        probability: with which each of them is applied, in [0, 1].
        interpolation: of rotations, shears and shifts, "bilinear" or "bicubic".
        generator: source of the draws, on the device of the images; None is torch's global one.

    Returns:
        (B, 3, H, W), uint8.

    Raises:
        UserError: if an argument is out of range.
    """
    if not 0 <= magnitude <= HIGHEST:
        raise errors.UserError(f"magnitude is between 0 and {HIGHEST:g}, got {magnitude}")
    if not 0 <= std < math.inf:
        raise errors.UserError(f"std is a number from 0 up, got {std}")
    if count < 0:
        raise errors.UserError(f"count is a number of operations, at least 0, got {count}")
    if not 0 <= probability <= 1:
        raise errors.UserError(f"probability is between 0 and 1, got {probability}")
    geometry.check(images, interpolation)
    for _ in range(count):
        which, level, sign, drawn = draw_operations(images, magnitude, std, generator)
        which = torch.where(drawn < probability, which, len(NAMES))
        images = apply_operations(images, which, level, sign, share=probability, interpolation=interpolation)
    return images


def draw_operations(
    images: Tensor, magnitude: float, std: float, generator: torch.Generator | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What one operation in the row is, for each image.

    Returns:
        its place in NAMES (B,) int64; its strength (B,) in [0, 10]; its sign (B,), 1 or -1; and a number (B,) in
        [0, 1) to be compared with the probability.
    """
    b, device = len(images), images.device
    which = torch.randint(0, len(NAMES), (b,), device=device, generator=generator)
    level = (magnitude + std * torch.randn(b, device=device, generator=generator)).clamp_(0, HIGHEST)
    negative, drawn = torch.rand(2, b, device=device, generator=generator)
    return which, level.to(torch.float64), 1.0 - 2.0 * (negative < 0.5), drawn


def apply_operations(
    images: Tensor,
    which: Tensor,
    level: Tensor,
    sign: Tensor,
    *,
    share: float | None = None,
    interpolation: str = "bicubic",
) -> Tensor:
    """Apply to each image the operation NAMES[which]; nothing where there is none of that number.

    Args:
        images: (B, 3, H, W), uint8.
        which: (B,) int64.
        level: (B,) float64 strength in [0, 10].
        sign: (B,) 1 or -1: the direction of maps and of what is made stronger or weaker.
        share: probability that an image gets an operation, all equally likely; None for any choice of operations.
        interpolation: of maps.
    """

    def turn(some: Tensor, matrices: Tensor) -> Tensor:
        return geometry.warp(some, matrices, fill=FILL, interpolation=interpolation)

    def shift(some: Tensor, matrices: Tensor, upright: Tensor) -> Tensor:
        return geometry.warp(some, matrices, fill=FILL, interpolation=interpolation, upright=upright)

    drawn, matrices = [which, level, sign], affine(which, level * sign, *images.shape[2:])
    upright = (which == NAMES.index("shear_y")) | (which == NAMES.index("translate_y"))
    kinds: list[tuple[tuple[int, int], Callable[..., Tensor], list[Tensor]]] = [
        (TABLES, _by_table, drawn),
        (HISTOGRAMS, _by_histogram, [which]),
        (BLENDS, _by_blend, drawn),
        (TURNS, turn, [matrices]),
        (SHIFTS, shift, [matrices, upright]),
    ]
    groups = []
    for (begin, end), operation, parameters in kinds:
        part = 1.0 if share is None else share * (end - begin) / len(NAMES)
        groups.append(shares.Group((which >= begin) & (which < end), part, operation, parameters))
    return shares.change(images, *groups)


def _by_table(images: Tensor, which: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    part = level / HIGHEST
    # Whole numbers are cut off and not rounded, timm's `int`.
    threshold = torch.where(which == NAMES.index("invert"), 0, 256 - (part * 256).to(torch.int64))
    mean = torch.where(which == NAMES.index("contrast"), levels.mean_grey(images), 0)
    tables = torch.stack(
        (
            levels.solarize(threshold),
            levels.posterize(4 - (part * 4).to(torch.int64)),
            levels.solarize_add((part * 110).to(torch.int64)),
            levels.contrast(mean, enhancement(level, sign)),
        )
    )  # (4, B, 256); to invert is to solarize all levels, to change brightness a contrast with black
    return levels.look_up(images, _of(tables, torch.where(which < 2, 0, which - 1).clamp(max=3)))


def _by_histogram(images: Tensor, which: Tensor) -> Tensor:
    histogram = levels.counts(images)
    tables = torch.stack((levels.autocontrast(histogram), levels.equalize(histogram)))  # (2, B, C, 256)
    return levels.look_up(images, _of(tables, which - HISTOGRAMS[0]))


def _by_blend(images: Tensor, which: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    factor = enhancement(level, sign)
    blends = torch.stack((colour.saturate(images, factor), colour.sharpen(images, factor)))  # (2, B, C, H, W)
    return _of(blends, which - BLENDS[0])


def _of(choices: Tensor, which: Tensor) -> Tensor:
    """For each image b the choice which[b]; any of them where there is none of that number."""
    n, b = choices.shape[:2]
    rows = which.clamp(0, n - 1) * b + torch.arange(b, device=which.device)
    return choices.flatten(0, 1).index_select(0, rows)


def enhancement(level: Tensor, sign: Tensor) -> Tensor:
    """Factor of a blend: further from 1 the stronger, at least 0.1."""
    return (1 + sign * (level / HIGHEST * 0.9)).clamp(min=0.1)


def affine(which: Tensor, level: Tensor, height: int, width: int) -> Tensor:
    """Maps (B, 2, 3) from the result to the image: rotation, shear in x and y, shift in x and y, by signed level."""
    part = level / HIGHEST
    kind = which - TURNS[0]
    angle = torch.where(kind == 0, part * math.radians(30), 0.0)  # anticlockwise about the middle
    cos, sin = angle.cos(), angle.sin()
    x, y = width / 2, height / 2
    shear_x, shear_y = (torch.where(kind == one, part * 0.3, 0.0) for one in (1, 2))
    shift_x = torch.where(kind == 3, part * 0.45 * width, 0.0)
    shift_y = torch.where(kind == 4, part * 0.45 * height, 0.0)
    first = torch.stack((cos, shear_x - sin, x - x * cos + y * sin + shift_x), dim=1)  # (B, 3)
    second = torch.stack((shear_y + sin, cos, y - x * sin - y * cos + shift_y), dim=1)
    return torch.stack((first, second), dim=1)
