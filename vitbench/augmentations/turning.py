"""Turn images by quarter turns that a network is to tell: an operation that makes labels.

Sources: Gidaris et al. 2018, arXiv:1803.07728; Detkov 2022, section 3.2, where the global crops are turned by 90, 180
or 270 degrees. The probability of a turn, 0.5, is that of Detkov's released code, which however draws one coin for a
whole batch and view; here each image has its own.
"""

import torch
from torch import Tensor

from vitbench import errors

VERSION = 1  # raised when the operation, or the order of its draws, changes


def quarter_turn(
    images: Tensor, *, probability: float = 0.5, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Turn some images counter-clockwise by one, two or three quarter turns, all equally likely.

    Args:
        images: (B, C, S, S), any dtype.
        probability: of each image on its own to be turned at all, in [0, 1].
        generator: source of the draws, on the device of the images; None is torch's global one.

    Returns:
        images (B, C, S, S), dtype of the input; quarter turns (B,), int64 in 0..3, 0 of an image that is as it was.

    Raises:
        UserError: if probability is outside [0, 1], or the images are not square.
    """
    if not 0 <= probability <= 1:
        raise errors.UserError(f"probability is between 0 and 1, got {probability}")
    height, width = images.shape[2:]
    if height != width:
        raise errors.UserError(f"quarter turns are of square images, got {height} x {width}; crop them to a square")
    b, device = len(images), images.device
    turned = torch.rand(b, device=device, generator=generator) < probability
    turns = torch.randint(1, 4, (b,), device=device, generator=generator) * turned
    return turn(images, turns), turns


def turn(images: Tensor, turns: Tensor) -> Tensor:
    """Turn each of (B, C, S, S) by its own number (B,) of quarter turns, 0..3, as `torch.rot90` does height to width.

    One gather for all: whole images out of four turned copies take two to ten times as long.
    """
    b, c, size, _ = images.shape
    pixels = torch.arange(size * size, device=images.device).view(size, size)
    places = torch.stack([pixels.rot90(times) for times in range(4)]).flatten(1)  # (4, S * S)
    place = places.index_select(0, turns)[:, None].expand(b, c, size * size)
    return images.flatten(2).gather(2, place).view(images.shape)
