"""CIFAR-10: 50,000 + 10,000 photographs of 32x32 pixels in 10 classes, as uint8 in memory.

Source: Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images, technical report, University
of Toronto, chapter 3; files, checksums and reading by torchvision.
3.3 % of the test images have a near-duplicate among the training images (Barz and Denzler 2020,
arXiv:1902.00423); they stay, because the published numbers were measured with them.
"""

from pathlib import Path

import torch
from torchvision.datasets import CIFAR10
from torchvision.datasets.utils import download_url

from vitbench import archives
from vitbench.contracts import Images, Split
from vitbench.errors import UserError

VERSION = 1
CLASSES = 10
TRAIN = 50_000
TEST = 10_000
IMAGE_SIZE = 32
DIGEST = "c58f30108f718f92721af3b95e74349a"
LICENCE = "none stated; its page asks users to cite Krizhevsky 2009"
SOURCE = "A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009, cs.toronto.edu/~kriz"
EMBEDDED = False


def build(root: Path | None, *, image_size: int = 32, download: bool = False) -> Split:
    """All of CIFAR-10 in the published split and order.

    Args:
        root: the data folder, with cifar-10-batches-py/ or the published archive, which is unpacked there.
        image_size: 32; larger images are made from a batch on its device, not stored.
        download: fetch the archive into the data folder when neither is there.

    Returns:
        50,000 + 10,000 images uint8 (N, 3, 32, 32); labels and class names in the published order.

    Raises:
        UserError: if image_size is not 32.
        DataAbsent: if the data is not there, or cannot be fetched or unpacked.
        DataBroken: if a file or the archive is not the published one.
    """
    if image_size != IMAGE_SIZE:
        raise UserError(f"cifar10: images are stored at 32x32 only, got image_size {image_size}; use 32")
    folder = archives.ensure(_published(), root, fetch=download_url if download else None)
    train, test = CIFAR10(folder.parent, train=True), CIFAR10(folder.parent, train=False)
    return Split(train=_images(train), test=_images(test), classes=tuple(train.classes))


def _published() -> archives.Archive:
    files = dict([*CIFAR10.train_list, *CIFAR10.test_list])
    return archives.Archive(
        dataset="cifar10",
        url=CIFAR10.url,
        filename=CIFAR10.filename,
        md5=CIFAR10.tgz_md5,
        folder=CIFAR10.base_folder,
        files={**files, CIFAR10.meta["filename"]: CIFAR10.meta["md5"]},
    )


def _images(half: CIFAR10) -> Images:
    pixels = torch.from_numpy(half.data).permute(0, 3, 1, 2).contiguous()  # (N, 3, 32, 32)
    return Images(images=pixels, labels=torch.tensor(half.targets))
