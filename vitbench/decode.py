"""One photograph of any size becomes a square of pixels. Without torch.

The arithmetic is that of torchvision's `Resize(S)` and `CenterCrop(S)` on a picture that Pillow has read, which the
recipes of the literature were run with: bicubic, with a filter that is widened where it shrinks (antialiased).
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

VERSION = 1  # raised when other pixels come out, together with the VERSION of the data sets that have PHOTOGRAPHS


def square(path: Path, size: int) -> NDArray[np.uint8]:
    """Decode a picture, resize its shorter side and cut out the centre.

    Grey levels are repeated, palettes looked up, CMYK converted, transparency dropped; an orientation that EXIF asks
    for is not applied. All of it is what torchvision's `ImageFolder` does. Of 16 bits the upper 8 are taken, where
    Pillow alone would turn nearly everything white.

    Args:
        path: a file that Pillow reads.
        size: S in pixels.

    Returns:
        (3, S, S), contiguous.

    Raises:
        Exception: of many kinds, for a file that is absent, truncated or no picture: Pillow's readers raise what
            comes.
    """
    with Image.open(path) as image:
        rgb = _rgb(image)
    width, height = rgb.size
    short, long = min(width, height), max(width, height)
    if short != size:
        longer = int(size * long / short)
        rgb = rgb.resize((size, longer) if width <= height else (longer, size), Image.Resampling.BICUBIC)
    width, height = rgb.size
    left, top = round((width - size) / 2), round((height - size) / 2)
    rgb = rgb.crop((left, top, left + size, top + size))
    return np.ascontiguousarray(np.asarray(rgb).transpose(2, 0, 1))  # (3, S, S)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "I" or image.mode.startswith("I;16"):
        levels = np.asarray(image) >> 8
        return Image.fromarray(levels.clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("floating-point pixels of an unknown range")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # the same colours, without Pillow's warning
    return image.convert("RGB")
