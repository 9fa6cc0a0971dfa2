"""ImageNet-1K: 1,281,167 training pictures and the 50,000 of the validation set, in 1000 classes.

Source: Russakovsky et al. 2015, ImageNet Large Scale Visual Recognition Challenge, IJCV, arXiv:1409.0575; checksums by
torchvision.
Table 1 of liu2021 prints 100,000 test pictures, which is the size of the test set whose labels are not published.
"""

from pathlib import Path

from vitbench import photographs
from vitbench.contracts import Split
from vitbench.sources import imagenet

VERSION = 1
CLASSES = 1000
TRAIN = 1_281_167
TEST = 50_000
IMAGE_SIZE = 256
PHOTOGRAPHS = True
# The md5 of the two archives; what is unpacked is checked by its counts.
DIGEST = "ILSVRC2012 train 1d675b47d978889d74fa0da5fadfb00e, val 29b22e2961454d5413ddabcf34fc5622"
LICENCE = "terms of access of image-net.org: non-commercial research and education, no redistribution"
SOURCE = "O. Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, IJCV 2015, image-net.org"
EMBEDDED = False


def build(root: Path | None, *, image_size: int = 256, download: bool = False) -> Split:
    """All of ImageNet-1K as squares.

    Args:
        root: the data folder, with imagenet/train/<class>/* and imagenet/val/<class>/*.
            Decoded pictures are kept there.
        image_size: H and W; the shorter side is resized to it and the centre cut out.
        download: not used: its owners ask users to register.

    Returns:
        1,281,167 + 50,000 images uint8 (N, 3, image_size, image_size); labels and class names by WordNet ids, sorted.

    Raises:
        DataAbsent: if the data is not there, or its decoded pictures cannot be written.
        DataBroken: if there are not as many classes or pictures, or one is damaged.
    """
    return photographs.split(listed(root, download=download), image_size)


def listed(root: Path | None, *, download: bool = False) -> photographs.Photographs:
    """Which pictures these are; nothing is decoded."""
    return imagenet.listed("imagenet", root, count=CLASSES, train=TRAIN, test=TEST)
