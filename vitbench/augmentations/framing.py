"""Bring images to the size and the part that a network is shown in evaluation: nothing is drawn."""

import torch
import torch.nn.functional as F
from torch import Tensor

from vitbench import errors
from vitbench.augmentations import geometry

VERSION = 1  # raised when an operation changes
DRAWS = False  # so an evaluation may use these, and those of no other file


def resize(
    images: Tensor, *, size: int, interpolation: str = "bicubic", generator: torch.Generator | None = None
) -> Tensor:
    """Resize with antialiasing, so that the shorter side has `size` pixels: torchvision's Resize.

    Args:
        images: (B, C, H, W), uint8.
        size: of the shorter side, at least 1; the longer one keeps the shape, cut off to whole pixels.
        interpolation: "bilinear" or "bicubic".
        generator: takes none; every operation that a recipe names has one.

    Returns:
        (B, C, size, size) of square images, uint8.

    Raises:
        UserError: if the size is below 1, or the interpolation is unknown.
    """
    if size < 1:
        raise errors.UserError(f"size is a number of pixels, at least 1, got {size}")
    geometry.check(images, interpolation)
    height, width = images.shape[2:]
    new = (size, size * width // height) if height <= width else (size * height // width, size)
    if new == (height, width):
        return images.clone(memory_format=torch.contiguous_format)
    return geometry.resize(images, *new, interpolation)


def centre_crop(images: Tensor, *, size: int, generator: torch.Generator | None = None) -> Tensor:
    """Cut the central square out, black coming in where an image is smaller: torchvision's CenterCrop.

    Args:
        images: (B, C, H, W), uint8.
        size: of the square, at least 1.
        generator: takes none; every operation that a recipe names has one.

    Returns:
        (B, C, size, size), uint8.

    Raises:
        UserError: if the size is below 1.
    """
    if size < 1:
        raise errors.UserError(f"size is a number of pixels, at least 1, got {size}")
    if images.dtype != torch.uint8:
        raise TypeError(f"expected images of uint8 levels, got {images.dtype}")
    height, width = (max(0, size - one) for one in images.shape[2:])
    if height or width:
        images = F.pad(images, (width // 2, (width + 1) // 2, height // 2, (height + 1) // 2))
    top, left = (round((one - size) / 2) for one in images.shape[2:])
    return images[:, :, top : top + size, left : left + size].clone(memory_format=torch.contiguous_format)
