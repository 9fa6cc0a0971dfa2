"""Blur some images of a batch, each as strongly as it drew.

Sources: Chen et al. 2020, arXiv:2002.05709, appendix A (a kernel of a tenth of the image's side, sigma between 0.1 and
2); Caron et al. 2021, arXiv:2104.14294, whose code gives the same range to Pillow's `GaussianBlur`, which takes it for
sigma too and comes near a Gaussian by means over boxes. Here it is the Gaussian itself, as torchvision has it.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from vitbench import errors
from vitbench.augmentations import levels, shares

VERSION = 1  # raised when the operation, or the order of its draws, changes


def gaussian_blur(
    images: Tensor,
    *,
    probability: float = 0.5,
    min_sigma: float = 0.1,
    max_sigma: float = 2.0,
    kernel: int = 0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Blur some images by a Gaussian of random width: torchvision's GaussianBlur, applied at random.

    Args:
        images: (B, C, H, W), uint8.
        probability: of each image on its own, in [0, 1].
        min_sigma: least standard deviation of the Gaussian, in pixels, above 0.
        max_sigma: greatest.
        kernel: pixels that are weighted, across and down, an odd number; 0 is a tenth of the image's shorter side.
        generator: source of the draws, on the device of the images; None is torch's global one.

    Returns:
        (B, C, H, W), uint8.

    Raises:
        UserError: if an argument is out of range, or the kernel is too large for the images.
    """
    if not 0 <= probability <= 1:
        raise errors.UserError(f"probability is between 0 and 1, got {probability}")
    if not 0 < min_sigma <= max_sigma < math.inf:
        raise errors.UserError(f"min_sigma and max_sigma are positive and in order, got {min_sigma} and {max_sigma}")
    if images.dtype != torch.uint8:
        raise TypeError(f"expected images of uint8 levels, got {images.dtype}")
    side = min(images.shape[2:])
    reach = tenth(side) // 2 if kernel == 0 else _reach(kernel, side)
    sigma, drawn = draw_blur(images, (min_sigma, max_sigma), generator)

    def blurred(some: Tensor, sigma: Tensor) -> Tensor:
        return blur(some, sigma, reach)

    spared = (drawn >= probability).to(torch.int64)
    return shares.change(images, spared, [shares.Group(probability, blurred)], [sigma])


def tenth(side: int) -> int:
    """Kernel of an image of that side: a tenth, made odd as SimCLR's code does it, and at least 3."""
    return max(3, side // 10 // 2 * 2 + 1)


def _reach(kernel: int, side: int) -> int:
    """Pixels that a kernel reaches to either side."""
    if kernel < 0 or kernel % 2 != 1:
        raise errors.UserError(f"kernel is an odd number of pixels, or 0 for a tenth of the side, got {kernel}")
    if kernel // 2 >= side:  # what lies outside is mirrored once
        raise errors.UserError(f"kernel is at most {2 * side - 1} for images of {side} pixels, got {kernel}")
    return kernel // 2


def draw_blur(images: Tensor, sigma: tuple[float, float], generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """What happens to each image: sigma (B,), and a number (B,) in [0, 1) to be compared with the probability."""
    width, drawn = torch.rand(2, len(images), device=images.device, generator=generator)
    return sigma[0] + (sigma[1] - sigma[0]) * width, drawn


def blur(images: Tensor, sigma: Tensor, reach: int) -> Tensor:
    """Blur (B, C, H, W) uint8 by Gaussians of sigma (B,), cut off `reach` pixels from the middle.

    Down, and then across: a Gaussian of two dimensions is the product of two. One weight serves both pixels that are
    equally far, and a sum of shifted images takes half the time of a grouped convolution where images are small.
    """
    distance = torch.arange(reach + 1, device=images.device) / sigma[:, None]  # (B, reach + 1)
    weights = distance.square_().mul_(-0.5).exp_()
    weights = weights / (2 * weights.sum(1, keepdim=True) - weights[:, :1])
    first, *others = weights[..., None, None, None].unbind(1)  # (B, 1, 1, 1) each
    blurred = images.to(torch.float32, memory_format=torch.contiguous_format)
    for axis in (2, 3):
        size = images.shape[axis]
        padded = F.pad(blurred, (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0), mode="reflect")
        blurred = padded.narrow(axis, reach, size) * first
        for far, weight in enumerate(others, start=1):
            both = padded.narrow(axis, reach - far, size) + padded.narrow(axis, reach + far, size)
            blurred.addcmul_(both, weight)
    return levels.cut(blurred.round_())
