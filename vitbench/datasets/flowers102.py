"""Flowers102 as liu2021 splits it: trained on the published training and validation pictures, 2,040 + 6,149 in all.

Source: Nilsback and Zisserman 2008, Automated Flower Classification over a Large Number of Classes, ICVGIP; files and
checksums by torchvision.
The official split, which trains on the first half of them only, is `flowers102_official`.
"""

from pathlib import Path

from vitbench import photographs
from vitbench.contracts import Split
from vitbench.sources import flowers

VERSION = 1
CLASSES = 102
TRAIN = 2_040
TEST = 6_149
IMAGE_SIZE = 256
PHOTOGRAPHS = True
# The archive's md5, and the lists of setid.mat (md5 a5357ecc9cb78c4bef273ce3793fc85c) that make the split.
DIGEST = "52808999861908f626f3c1f4e79d11fa trnid+valid, tstid"
LICENCE = "none stated; collected from the web, its page asks users to cite Nilsback and Zisserman 2008"
SOURCE = "M-E. Nilsback, A. Zisserman, Automated Flower Classification over a Large Number of Classes, ICVGIP 2008"
EMBEDDED = False


def build(root: Path | None, *, image_size: int = 256, download: bool = False) -> Split:
    """Flowers as squares.

    Args:
        root: the data folder, with flowers-102/ as torchvision has it; an archive there is unpacked.
            Decoded pictures are kept there.
        image_size: H and W; the shorter side is resized to it and the centre cut out.
        download: fetch what is not there into the data folder.

    Returns:
        2,040 + 6,149 images uint8 (N, 3, image_size, image_size); labels and class names in the published order.

    Raises:
        DataAbsent: if the data is not there and cannot be fetched or unpacked, or the decoded pictures not written.
        DataBroken: if a list or the archive is not the published one, or a picture is absent or damaged.
    """
    return photographs.split(listed(root, download=download), image_size)


def listed(root: Path | None, *, download: bool = False) -> photographs.Photographs:
    """Which pictures these are; nothing is decoded."""
    return flowers.listed("flowers102", root, download=download, trained_on=("trnid", "valid"), train=TRAIN, test=TEST)
