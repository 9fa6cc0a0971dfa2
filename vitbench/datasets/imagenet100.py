"""ImageNet-100: 100 classes of ImageNet-1K by the published list, 126,689 + 5,000 pictures.

Source: Russakovsky et al. 2015, ImageNet Large Scale Visual Recognition Challenge, IJCV, arXiv:1409.0575; the
list is scripts/imagenet-100.lst of github.com/yhlleo/VTs-Drloc (2021), after Tian et al. 2020, Contrastive Multiview
Coding, ECCV, arXiv:1906.05849.
"""

from pathlib import Path

from vitbench import photographs
from vitbench.contracts import Split
from vitbench.sources import imagenet

VERSION = 1
CLASSES = 100
TRAIN = 126_689
TEST = 5_000
IMAGE_SIZE = 256
PHOTOGRAPHS = True
# The md5 of the archives that it comes from, and the start of the sha256 of the sorted list.
DIGEST = "1d675b47d978889d74fa0da5fadfb00e 29b22e2961454d5413ddabcf34fc5622, 100 classes d61d354b64beb3ce"
LICENCE = "terms of access of image-net.org: non-commercial research and education, no redistribution"
SOURCE = "O. Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, IJCV 2015, image-net.org"
EMBEDDED = False
# The list, sorted: labels go by this order, as torchvision's ImageFolder gives them.
WORDNET_IDS = """
n01558993 n01692333 n01729322 n01735189 n01749939 n01773797 n01820546 n01855672 n01978455 n01980166
n01983481 n02009229 n02018207 n02085620 n02086240 n02086910 n02087046 n02089867 n02089973 n02090622
n02091831 n02093428 n02099849 n02100583 n02104029 n02105505 n02106550 n02107142 n02108089 n02109047
n02113799 n02113978 n02114855 n02116738 n02119022 n02123045 n02138441 n02172182 n02231487 n02259212
n02326432 n02396427 n02483362 n02488291 n02701002 n02788148 n02804414 n02859443 n02869837 n02877765
n02974003 n03017168 n03032252 n03062245 n03085013 n03259280 n03379051 n03424325 n03492542 n03494278
n03530642 n03584829 n03594734 n03637318 n03642806 n03764736 n03775546 n03777754 n03785016 n03787032
n03794056 n03837869 n03891251 n03903868 n03930630 n03947888 n04026417 n04067472 n04099969 n04111531
n04127249 n04136333 n04229816 n04238763 n04336792 n04418357 n04429376 n04435653 n04485082 n04493381
n04517823 n04589890 n04592741 n07714571 n07715103 n07753275 n07831146 n07836838 n13037406 n13040303
"""


def build(root: Path | None, *, image_size: int = 256, download: bool = False) -> Split:
    """The listed classes as squares.

    Args:
        root: the data folder, with imagenet100/ or all of imagenet/, each with train/<class>/* and val/<class>/*.
            Decoded pictures are kept there.
        image_size: H and W; the shorter side is resized to it and the centre cut out.
        download: not used: its owners ask users to register.

    Returns:
        126,689 + 5,000 images uint8 (N, 3, image_size, image_size); labels and class names by WordNet ids, sorted.

    Raises:
        DataAbsent: if the data is not there, or its decoded pictures cannot be written.
        DataBroken: if a listed class is missing, there are not as many pictures, or one is damaged.
    """
    return photographs.split(listed(root, download=download), image_size)


def listed(root: Path | None, *, download: bool = False) -> photographs.Photographs:
    """Which pictures these are; nothing is decoded."""
    places = ("imagenet100", "imagenet")
    return imagenet.listed(
        "imagenet100", root, places=places, classes=WORDNET_IDS.split(), count=CLASSES, train=TRAIN, test=TEST
    )
