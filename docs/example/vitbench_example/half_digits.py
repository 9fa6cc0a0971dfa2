"""Handwritten digits, half of them to train on and half to test on: 901 + 896 images that come with scikit-learn.

Source: Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits, doi:10.24432/C50P49; scikit-learn
carries its test half, 1,797 images of 8 x 8 pixels. The split is ours: in the order of the file, every other image of
each class is a test image.
"""

import hashlib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor

from vitbench.contracts import Images, Split
from vitbench.errors import DataBroken

VERSION = 1
CLASSES = 10
TRAIN = 901
TEST = 896
IMAGE_SIZE = 32
DIGEST = "1f997e22b40bb3661e2fd63e3289b71e8e6762b43002f1293fe451b5f9b2bd6f"
LICENCE = "CC BY 4.0 (UCI Machine Learning Repository); the copy comes with scikit-learn, BSD-3-Clause"
SOURCE = "E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998, doi:10.24432/C50P49"
EMBEDDED = True


def build(root: Path | None, *, image_size: int = 32, download: bool = False) -> Split:
    """The digits, enlarged bilinearly from 8 x 8 and repeated over three channels.

    Args:
        root, download: not needed; every data set takes them.
        image_size: H and W of the images.

    Returns:
        uint8 images (N, 3, image_size, image_size), grey levels 0..16 spread over 0..255.

    Raises:
        DataBroken: if scikit-learn's digits, or their split, are no longer those that `DIGEST` is of.
    """
    digits = load_digits()
    tested = _every_other(digits.target)
    parts = (digits.images, digits.target, tested)
    found = hashlib.sha256(b"".join(part.astype("u1").tobytes() for part in parts)).hexdigest()
    if found != DIGEST:
        raise DataBroken(f"half_digits: expected sha256 {DIGEST}, got {found}; install an earlier scikit-learn")
    images, labels = _enlarged(digits.images, image_size), torch.from_numpy(digits.target.astype(np.int64))
    train, test = (Images(images=images[half], labels=labels[half]) for half in (~tested, tested))
    return Split(train=train, test=test, classes=tuple(map(str, digits.target_names)))


def _every_other(labels: np.ndarray) -> np.ndarray:
    """(N,) bool: the second, fourth, sixth … of each label."""
    place = np.zeros(len(labels), dtype=int)
    for label in np.unique(labels):
        place[labels == label] = np.arange((labels == label).sum())
    return place % 2 == 1


def _enlarged(images: np.ndarray, size: int) -> Tensor:
    levels = torch.from_numpy(images).to(torch.float32)[:, None]  # (N, 1, 8, 8) in 0..16
    levels = F.interpolate(levels, size=(size, size), mode="bilinear", align_corners=False)
    return (levels * (255 / 16)).round().to(torch.uint8).repeat(1, 3, 1, 1)  # (N, 3, size, size)
