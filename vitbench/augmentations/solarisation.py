"""Invert the bright levels of some images of a batch.

Sources: Grill et al. 2020, arXiv:2006.07733, appendix B (BYOL: probability 0.2, threshold 128); Caron et al. 2021,
arXiv:2104.14294 (DINO: the same, on one of two views). The levels are those of Pillow's `ImageOps.solarize`.
"""

import torch
from torch import Tensor

from vitbench import errors
from vitbench.augmentations import shares

VERSION = 1  # raised when the operation, or the order of its draws, changes


def solarise(
    images: Tensor, *, probability: float = 0.2, threshold: float = 128, generator: torch.Generator | None = None
) -> Tensor:
    """Invert the levels from a threshold up, in some images: torchvision's RandomSolarize.

    Args:
        images: (B, C, H, W), uint8.
        probability: of each image on its own, in [0, 1].
        threshold: least level that is inverted, from 0 (all are) to 255.
        generator: source of the draws, on the device of the images; None is torch's global one.

    Returns:
        (B, C, H, W), uint8.

    Raises:
        UserError: if an argument is out of range.
    """
    if not 0 <= probability <= 1:
        raise errors.UserError(f"probability is between 0 and 1, got {probability}")
    if not 0 <= threshold <= 255:
        raise errors.UserError(f"threshold is a level between 0 and 255, got {threshold}")
    if images.dtype != torch.uint8:
        raise TypeError(f"expected images of uint8 levels, got {images.dtype}")

    def solarised(some: Tensor) -> Tensor:
        # 255 - level is the level with all bits turned.
        return (some >= threshold).to(torch.uint8).mul_(255).bitwise_xor_(some)

    spared = torch.rand(len(images), device=images.device, generator=generator) >= probability
    return shares.change(images, spared.to(torch.int64), [shares.Group(probability, solarised)])
