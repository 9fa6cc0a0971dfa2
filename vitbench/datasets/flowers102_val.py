"""Flowers102 as the code of detkov2022 splits it: 1,020 pictures to train on, 1,020 validation pictures to test on.

Source: Nilsback and Zisserman 2008, Automated Flower Classification over a Large Number of Classes, ICVGIP; files and
checksums by torchvision.
The thesis says "test or validation splits" (section 4.4). The 6,149 test pictures are not used.
"""

from pathlib import Path

from vitbench import photographs
from vitbench.contracts import Split
from vitbench.sources import flowers

VERSION = 1
CLASSES = 102
TRAIN = 1_020
TEST = 1_020
IMAGE_SIZE = 256
PHOTOGRAPHS = True
# The archive's md5, and the lists of setid.mat (md5 a5357ecc9cb78c4bef273ce3793fc85c) that make the split.
DIGEST = "52808999861908f626f3c1f4e79d11fa trnid, valid"
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
        1,020 + 1,020 images uint8 (N, 3, image_size, image_size); labels and class names in the published order.

    Raises:
        DataAbsent: if the data is not there and cannot be fetched or unpacked, or the decoded pictures not written.
        DataBroken: if a list or the archive is not the published one, or a picture is absent or damaged.
    """
    return photographs.split(listed(root, download=download), image_size)


def listed(root: Path | None, *, download: bool = False) -> photographs.Photographs:
    """Which pictures these are; nothing is decoded."""
    return flowers.listed(
        "flowers102_val", root, download=download, trained_on=("trnid",), tested_on="valid", train=TRAIN, test=TEST
    )
