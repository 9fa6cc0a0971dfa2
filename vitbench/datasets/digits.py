"""Handwritten digits: 1,437 + 360 real images that come with scikit-learn, so that nothing is downloaded.

Source: Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits, doi:10.24432/C50P49; scikit-learn
carries its test half, 1,797 images of 8x8 pixels in 17 grey levels. The split is ours: stratified by class,
360 images to test, seed 0. It does not keep the 13 writers apart, so it says little about writers not seen.
"""

import hashlib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from vitbench.contracts import Images, Split
from vitbench.errors import DataBroken, UserError

VERSION = 1
CLASSES = 10
TRAIN = 1437
TEST = 360
IMAGE_SIZE = 32
DIGEST = "6e7273527f67ac80428716c2932fe61ca1a08692ff1f87a01e101a20ceabcbf0"
LICENCE = "CC BY 4.0 (UCI Machine Learning Repository); the copy comes with scikit-learn, BSD-3-Clause"
SOURCE = "E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998, doi:10.24432/C50P49"
EMBEDDED = True


def build(root: Path | None, *, image_size: int = 32, download: bool = False) -> Split:
    """The digits, enlarged bilinearly from 8x8 and repeated over three channels.

    Args:
        root: not needed; every data set takes it.
        image_size: H and W of the images, at least 8.
        download: not needed, likewise.

    Returns:
        1,437 + 360 images uint8 (N, 3, image_size, image_size), grey levels 0..16 spread over 0..255.

    Raises:
        UserError: if image_size is below 8.
        DataBroken: if scikit-learn's digits, or its split of them, are no longer the recorded ones.
    """
    if image_size < 8:
        raise UserError(f"digits: image_size is at least 8, the size of the originals, got {image_size}")
    digits = load_digits()
    train, test = train_test_split(
        np.arange(len(digits.target)), test_size=TEST, stratify=digits.target, random_state=0
    )
    if (found := _digest(digits.images, digits.target, train, test)) != DIGEST:
        raise DataBroken(
            f"digits: expected sha256 {DIGEST} of images, labels and split, got {found}; "
            f"this release of scikit-learn changed them: install an earlier one"
        )
    images = _enlarge(digits.images, image_size)
    labels = torch.from_numpy(digits.target.astype(np.int64))
    halves = [Images(images=images[half], labels=labels[half]) for half in (train, test)]
    return Split(train=halves[0], test=halves[1], classes=tuple(str(name) for name in digits.target_names))


def _digest(images: np.ndarray, labels: np.ndarray, train: np.ndarray, test: np.ndarray) -> str:
    sha256 = hashlib.sha256()
    for part, dtype in ((images, "u1"), (labels, "u1"), (train, "<i8"), (test, "<i8")):
        sha256.update(part.astype(dtype).tobytes())
    return sha256.hexdigest()


def _enlarge(images: np.ndarray, size: int) -> torch.Tensor:
    levels = torch.from_numpy(images).to(torch.float32)[:, None]  # (N, 1, 8, 8) in 0..16
    levels = F.interpolate(levels, size=(size, size), mode="bilinear", align_corners=False)
    grey = (levels * (255 / 16)).round().to(torch.uint8)  # (N, 1, size, size)
    return grey.repeat(1, 3, 1, 1)  # (N, 3, size, size)
