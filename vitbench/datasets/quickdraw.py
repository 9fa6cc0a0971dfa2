"""DomainNet Quickdraw: 120,750 + 51,750 quick drawings of 345 things, as Table 1 of liu2021 counts them.

Source: Peng et al. 2019, Moment Matching for Multi-Source Domain Adaptation, ICCV, arXiv:1812.01754, cleaned version
and lists of ai.bu.edu/M3SDA.
"""

from pathlib import Path

from vitbench import photographs
from vitbench.contracts import Split
from vitbench.sources import domainnet

VERSION = 1
CLASSES = 345
TRAIN = 120_750
TEST = 51_750
IMAGE_SIZE = 256
PHOTOGRAPHS = True
# No checksums are published: it stands for the lists, which are checked by their counts and names.
DIGEST = "domainnet quickdraw: cleaned lists of 2019, 120750 + 51750 of 345 classes"
LICENCE = "none; copyrighted material offered for non-commercial research as fair use (ai.bu.edu/M3SDA)"
SOURCE = "X. Peng et al., Moment Matching for Multi-Source Domain Adaptation, ICCV 2019, ai.bu.edu/M3SDA"
EMBEDDED = False


def build(root: Path | None, *, image_size: int = 256, download: bool = False) -> Split:
    """Quick drawings of the published lists as squares.

    Args:
        root: the data folder, with domainnet/quickdraw/ and domainnet/quickdraw_{train,test}.txt.
            Decoded pictures are kept there.
        image_size: H and W; the shorter side is resized to it and the centre cut out.
        download: not used: it is fetched by hand.

    Returns:
        120,750 + 51,750 images uint8 (N, 3, image_size, image_size); labels and class names by the lists.

    Raises:
        DataAbsent: if the data is not there, or its decoded pictures cannot be written.
        DataBroken: if a list is not the published one, or a picture is absent or damaged.
    """
    return photographs.split(listed(root, download=download), image_size)


def listed(root: Path | None, *, download: bool = False) -> photographs.Photographs:
    """Which pictures these are; nothing is decoded."""
    return domainnet.listed("quickdraw", root, classes=CLASSES, train=TRAIN, test=TEST)
