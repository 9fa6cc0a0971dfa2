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
    *("invert", "solarize", "posterize", "solarize_add", "contrast", "brightness", "autocontrast", "equalize"),
    *("colour", "sharpness", "rotate", "shear_x", "shear_y", "translate_x", "translate_y"),
)
# What is computed together, for the images that drew one of it: tables that all channels share, tables of each
# channel's histogram, blends with another image, rotations, moves along rows and along columns.
GROUPS = (
    *(("invert", "solarize", "posterize", "solarize_add"), ("autocontrast", "equalize")),
    *(("contrast", "brightness", "colour", "sharpness"), ("rotate",)),
    *(("shear_x", "translate_x"), ("shear_y", "translate_y")),
)
# Each operation's group; after the last one, that of no operation.
GROUP_OF = (*(next(at for at, group in enumerate(GROUPS) if name in group) for name in NAMES), len(GROUPS))
# What each operation makes of the highest magnitude: steps, parts further from 1, an angle, parts of rows and widths.
HIGHEST_OF: dict[str, float] = {"solarize": 256, "posterize": 4, "solarize_add": 110}
HIGHEST_OF |= {"rotate": math.radians(30)} | dict.fromkeys(("contrast", "brightness", "colour", "sharpness"), 0.9)
HIGHEST_OF |= dict.fromkeys(("shear_x", "shear_y"), 0.3) | dict.fromkeys(("translate_x", "translate_y"), 0.45)
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
    operations = (_by_table, _by_histogram, _by_blend, *_moves(interpolation))
    parts = [1.0 if share is None else share * len(group) / len(NAMES) for group in GROUPS]
    groups = [shares.Group(part, operation) for part, operation in zip(parts, operations, strict=True)]
    group_of = geometry.constants(GROUP_OF, like=which).index_select(0, which)
    amount = level / HIGHEST * _of(which, level, **HIGHEST_OF) * sign
    return shares.change(images, group_of, groups, [which, amount])


def _of(which: Tensor, like: Tensor, **numbers: float) -> Tensor:
    """The number (B,) of each image's operation, 0 where none is given; of the type of a tensor that it is like."""
    every = [numbers.get(name, 0) for name in (*NAMES, "none")]
    return geometry.constants(every, like=like).index_select(0, which)


def _by_table(images: Tensor, which: Tensor, amount: Tensor) -> Tensor:
    steps = amount.abs().to(torch.int64)  # cut off and not rounded, timm's `int`
    solarized = levels.solarize(_of(which, steps, solarize=256) - steps)  # to invert is to solarize all levels
    posterized, added = levels.posterize(4 - steps), levels.solarize_add(steps)  # (B, 256)
    others = torch.where((which == NAMES.index("posterize"))[:, None], posterized, added)
    return levels.look_up(images, torch.where((which < NAMES.index("posterize"))[:, None], solarized, others))


def _by_histogram(images: Tensor, which: Tensor, amount: Tensor) -> Tensor:
    stretched, spread = levels.autocontrast(images), levels.equalize(levels.counts(images))  # (B, C, 256)
    return levels.look_up(images, torch.where((which == NAMES.index("equalize")).view(-1, 1, 1), spread, stretched))


def _by_blend(images: Tensor, which: Tensor, amount: Tensor) -> Tensor:
    grey = levels.grey(images)
    weights = [_of(which, grey, **{name: 1}) for name in ("contrast", "colour", "sharpness")]
    even, coloured, sharp = (weight.view(-1, 1, 1, 1) for weight in weights)
    # Weights of 0 and 1 choose what is blended with; black for brightness.
    degenerate = torch.lerp(levels.mean_grey(grey) * even, grey, coloured)
    degenerate = torch.lerp(degenerate, colour.smooth(images), sharp)
    return levels.blend(degenerate, images, (1 + amount).clamp_(min=0.1))


def _moves(interpolation: str) -> tuple[Callable[..., Tensor], ...]:
    """Rotations, moves along rows and moves along columns."""

    def slide(images: Tensor, which: Tensor, amount: Tensor) -> Tensor:
        h, w = images.shape[2:]
        rows = torch.arange(h, device=images.device) + 0.5
        sheared = (which < NAMES.index("translate_x"))[:, None]
        offsets = amount[:, None] * torch.where(sheared, rows, float(w))  # (B, H)
        return geometry.slide(images, offsets, fill=FILL, interpolation=interpolation)

    def slide_columns(images: Tensor, which: Tensor, amount: Tensor) -> Tensor:
        return slide(images.mT, which, amount).mT

    def turn(images: Tensor, which: Tensor, amount: Tensor) -> Tensor:
        matrices = rotation(amount, *images.shape[2:])
        return geometry.warp(images, matrices, fill=FILL, interpolation=interpolation)

    return turn, slide, slide_columns


def rotation(angle: Tensor, height: int, width: int) -> Tensor:
    """Maps (B, 2, 3) from the result to the image: by an angle (B,) anticlockwise about the middle."""
    cos, sin = angle.cos(), angle.sin()
    x, y = width / 2, height / 2
    first = (cos, -sin, x - x * cos + y * sin)
    second = (sin, cos, y - x * sin - y * cos)
    return torch.stack((*first, *second), dim=1).view(-1, 2, 3)
