"""SVHN: 73,257 + 26,032 house-number digits of 32x32 pixels, cut out of photographs of streets, as uint8 in memory.

Source: Netzer et al. 2011, Reading Digits in Natural Images with Unsupervised Feature Learning, NIPS workshop; files,
checksums and reading by torchvision, which calls the digit 0 by the label 0. The 531,131 extra images are not used.
"""

from pathlib import Path

import numpy as np
import torch
from torchvision.datasets import SVHN
from torchvision.datasets.utils import download_url

from vitbench import archives
from vitbench.contracts import Images, Split
from vitbench.errors import UserError

VERSION = 1
CLASSES = 10
TRAIN = 73_257
TEST = 26_032
IMAGE_SIZE = 32
# The md5 of both files.
DIGEST = "e26dedcc434d2e4c54c9b2d4a06d8373 eb5a983be6a315427106f1b164d9cef3"
LICENCE = "none stated for the cropped digits; for non-commercial use, as the page says of the full images"
SOURCE = "Y. Netzer et al., Reading Digits in Natural Images, NIPS workshop 2011, ufldl.stanford.edu/housenumbers"
EMBEDDED = False


def build(root: Path | None, *, image_size: int = 32, download: bool = False) -> Split:
    """SVHN's cropped digits in the published split and order.

    Args:
        root: the data folder, with svhn/train_32x32.mat and svhn/test_32x32.mat.
        image_size: 32; larger images are made from a batch on its device, not stored.
        download: fetch the files into the data folder when they are not there.

    Returns:
        73,257 + 26,032 images uint8 (N, 3, 32, 32); labels 0..9, each the digit that is shown.

    Raises:
        UserError: if image_size is not 32.
        DataAbsent: if the data is not there, or cannot be fetched.
        DataBroken: if a file is not the published one.
    """
    if image_size != IMAGE_SIZE:
        raise UserError(f"svhn: images are stored at 32x32 only, got image_size {image_size}; use 32")
    files = [
        archives.File(dataset="svhn", url=url, filename=f"svhn/{name}", md5=md5)
        for url, name, md5 in (SVHN.split_list[half] for half in ("train", "test"))
    ]
    folder = archives.ensure_files(files, root, fetch=download_url if download else None) / "svhn"
    train, test = (_images(SVHN(folder, split=half)) for half in ("train", "test"))
    return Split(train=train, test=test, classes=tuple(str(digit) for digit in range(CLASSES)))


def _images(half: SVHN) -> Images:
    pixels = np.ascontiguousarray(half.data)  # (N, 3, 32, 32)
    return Images(images=torch.from_numpy(pixels), labels=torch.from_numpy(half.labels))
