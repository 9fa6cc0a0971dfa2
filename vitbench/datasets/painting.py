"""DomainNet Painting: 50,416 + 21,850 paintings of 345 things, as Table 1 of liu2021 counts them.

Source: Peng et al. 2019, Moment Matching for Multi-Source Domain Adaptation, ICCV, arXiv:1812.01754, cleaned version
and lists of ai.bu.edu/M3SDA.
Users of the lists report that they hold no painting of a t-shirt (label 327) to train on.
"""

from pathlib import Path

from vitbench import photographs
from vitbench.contracts import Split
from vitbench.sources import domainnet

VERSION = 1
CLASSES = 345
TRAIN = 50_416
TEST = 21_850
IMAGE_SIZE = 256
PHOTOGRAPHS = True
# No checksums are published: it stands for the lists, which are checked by their counts and names.
DIGEST = "domainnet painting: cleaned lists of 2019, 50416 + 21850 of 345 classes"
LICENCE = "none; copyrighted material offered for non-commercial research as fair use (ai.bu.edu/M3SDA)"
SOURCE = "X. Peng et al., Moment Matching for Multi-Source Domain Adaptation, ICCV 2019, ai.bu.edu/M3SDA"
EMBEDDED = False


def build(root: Path | None, *, image_size: int = 256, download: bool = False) -> Split:
    """Paintings of the published lists as squares.

    Args:
        root: the data folder, with domainnet/painting/ and domainnet/painting_{train,test}.txt.
            Decoded pictures are kept there.
        image_size: H and W; the shorter side is resized to it and the centre cut out.
        download: not used: it is fetched by hand.

    Returns:
        50,416 + 21,850 images uint8 (N, 3, image_size, image_size); labels and class names by the lists.

    Raises:
        DataAbsent: if the data is not there, or its decoded pictures cannot be written.
        DataBroken: if a list is not the published one, or a picture is absent or damaged.
    """
    return photographs.split(listed(root, download=download), image_size)


def listed(root: Path | None, *, download: bool = False) -> photographs.Photographs:
    """Which pictures these are; nothing is decoded."""
    return domainnet.listed("painting", root, classes=CLASSES, train=TRAIN, test=TEST)
