"""Take the colour out of some images of a batch.

Sources: Chen et al. 2020, arXiv:2002.05709, appendix A (SimCLR: probability 0.2); Caron et al. 2021, arXiv:2104.14294
(DINO: the same). The luma is that of Pillow's conversion to "L".
"""

import torch
from torch import Tensor

from vitbench import errors
from vitbench.augmentations import levels, shares

VERSION = 1  # raised when the operation, or the order of its draws, changes


def greyscale(images: Tensor, *, probability: float = 0.2, generator: torch.Generator | None = None) -> Tensor:
    """Replace all three channels by the luma, in some images: torchvision's RandomGrayscale.

    Args:
        images: (B, 3, H, W), uint8.
        probability: of each image on its own, in [0, 1].
        generator: source of the draws, on the device of the images; None is torch's global one.

    Returns:
        (B, 3, H, W), uint8.

    Raises:
        UserError: if probability is outside [0, 1].
    """
    if not 0 <= probability <= 1:
        raise errors.UserError(f"probability is between 0 and 1, got {probability}")
    if images.dtype != torch.uint8:
        raise TypeError(f"expected images of uint8 levels, got {images.dtype}")
    spared = torch.rand(len(images), device=images.device, generator=generator) >= probability
    return shares.change(images, spared.to(torch.int64), [shares.Group(probability, _grey)])


def _grey(images: Tensor) -> Tensor:
    return levels.cut(levels.grey(images)).expand_as(images)
