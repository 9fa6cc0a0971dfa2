"""Oxford-IIIT Pet: 3,680 + 3,669 photographs of cats and dogs of 37 breeds, in the published split.

Source: Parkhi et al. 2012, Cats and Dogs, CVPR; files and checksums by torchvision.
The text of detkov2022 counts 2 classes, cats and dogs (section 4.2); its released configuration has 37, and an accuracy
of 2 % is no guess between two.
Some of the files named .jpg are PNG or GIF.
"""

import re
from pathlib import Path

from torchvision.datasets.utils import download_url

from vitbench import archives, photographs
from vitbench.contracts import Split
from vitbench.errors import DataBroken
from vitbench.sources import lists

VERSION = 1
CLASSES = 37
TRAIN = 3_680
TEST = 3_669
IMAGE_SIZE = 256
PHOTOGRAPHS = True
# The md5 of the pictures' archive and of the one of the lists that make the split.
DIGEST = "5c4f3ee8e5d25df40f4fd59a7f44e54c 95a8c909bbe2e81eed6a22bccdf3f68f trainval, test"
LICENCE = "CC BY-SA 4.0; the copyright stays with the owners of the pictures"
SOURCE = "O. M. Parkhi et al., Cats and Dogs, CVPR 2012, robots.ox.ac.uk/~vgg/data/pets"
EMBEDDED = False

FOLDER = "oxford-iiit-pet"
ARCHIVES = tuple(
    archives.Archive(
        dataset="pets",
        url=f"https://www.robots.ox.ac.uk/~vgg/data/pets/data/{name}.tar.gz",
        filename=f"{FOLDER}/{name}.tar.gz",
        md5=md5,
        folder=f"{FOLDER}/{name}",
        files={},
    )
    for name, md5 in (
        ("images", "5c4f3ee8e5d25df40f4fd59a7f44e54c"),
        ("annotations", "95a8c909bbe2e81eed6a22bccdf3f68f"),
    )
)
Lines = list[tuple[str, str, int]]  # a picture's name, its breed's, and the label


def build(root: Path | None, *, image_size: int = 256, download: bool = False) -> Split:
    """Cats and dogs as squares.

    Args:
        root: the data folder, with oxford-iiit-pet/images/ and oxford-iiit-pet/annotations/ or their archives, which
            are unpacked there. Decoded pictures are kept there.
        image_size: H and W; the shorter side is resized to it and the centre cut out.
        download: fetch what is not there into the data folder.

    Returns:
        3,680 + 3,669 images uint8 (N, 3, image_size, image_size); labels and class names in the published order.

    Raises:
        DataAbsent: if the data is not there and cannot be fetched or unpacked, or the decoded pictures not written.
        DataBroken: if a list or an archive is not the published one, or a picture is absent or damaged.
    """
    return photographs.split(listed(root, download=download), image_size)


def listed(root: Path | None, *, download: bool = False) -> photographs.Photographs:
    """Which pictures these are; nothing is decoded."""
    fetch = download_url if download else None
    images, annotations = (archives.ensure(one, root, fetch=fetch) for one in ARCHIVES)
    remedy = f"delete {annotations} and run again, with {ARCHIVES[1].filename} beside it or with --download"
    train, test = (_read(annotations / f"{half}.txt", remedy) for half in ("trainval", "test"))
    breeds = {label: breed for _, breed, label in train + test}
    if sorted(breeds) != list(range(len(breeds))) or any(breeds[label] != breed for _, breed, label in train + test):
        raise DataBroken(f"pets: {annotations}: trainval.txt and test.txt give a label to two breeds or none; {remedy}")
    found = photographs.Photographs(
        dataset="pets",
        base=images.parent,
        root=images.parent.parent,
        train=tuple((f"images/{name}.jpg", label) for name, _, label in train),
        test=tuple((f"images/{name}.jpg", label) for name, _, label in test),
        classes=tuple(breeds[label] for label in range(len(breeds))),
    )
    return lists.complete(found, classes=CLASSES, train=TRAIN, test=TEST, remedy=remedy)


def _read(path: Path, remedy: str) -> Lines:
    """Lines of `<breed>_<number> <label from 1 up> <cat or dog> <label of its kind>`."""
    found = []
    for number, line in enumerate(lists.lines(path, dataset="pets", remedy=remedy), 1):
        match = re.fullmatch(r"(([A-Za-z_]+)_\d+) (\d+) [12] \d+", line)
        if match is None or not 1 <= int(match[3]) <= CLASSES:
            expected = f"a breed with a number, a label from 1 to {CLASSES}, 1 or 2, and a number"
            raise lists.wrong_line(path, number, line, dataset="pets", expected=expected, remedy=remedy)
        breed = " ".join(part.title() for part in match[2].split("_"))
        found.append((match[1], breed, int(match[3]) - 1))
    return found
