"""FGVC-Aircraft as detkov2022 splits it: trained on the published training pictures, tested on the validation pictures.

Source: Maji et al. 2013, Fine-Grained Visual Classification of Aircraft, arXiv:1306.5151; layout of torchvision.
The thesis says "test or validation splits" (section 4.4); its released configuration trains on `train` and tests on
`val`. The 3,333 test pictures are not used. The banner at the bottom of each picture, on whose it is, stays.
"""

from pathlib import Path

from torchvision.datasets.utils import download_url

from vitbench import archives, photographs
from vitbench.contracts import Split
from vitbench.folders import Listed
from vitbench.sources import lists

VERSION = 1
CLASSES = 100
TRAIN = 3_334
TEST = 3_333
IMAGE_SIZE = 256
PHOTOGRAPHS = True
# The archive's md5 as its page gives it, which torchvision does not check, and the lists that make the split.
DIGEST = "d4acdd33327262359767eeaa97a4f732 images_variant_train, images_variant_val"
LICENCE = "for non-commercial research only; the pictures belong to their photographers, see its page"
SOURCE = "S. Maji et al., Fine-Grained Visual Classification of Aircraft, 2013, robots.ox.ac.uk/~vgg/data/fgvc-aircraft"
EMBEDDED = False

FOLDER = "fgvc-aircraft-2013b"
ARCHIVE = archives.Archive(
    dataset="aircraft",
    url=f"https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/archives/{FOLDER}.tar.gz",
    filename=f"{FOLDER}.tar.gz",
    md5="d4acdd33327262359767eeaa97a4f732",
    folder=FOLDER,
    files={},
)


def build(root: Path | None, *, image_size: int = 256, download: bool = False) -> Split:
    """Aircraft as squares.

    Args:
        root: the data folder, with fgvc-aircraft-2013b/ or its archive, which is unpacked there.
            Decoded pictures are kept there.
        image_size: H and W; the shorter side is resized to it and the centre cut out.
        download: fetch the archive into the data folder when neither is there.

    Returns:
        3,334 + 3,333 images uint8 (N, 3, image_size, image_size); labels and class names in the order of variants.txt.

    Raises:
        DataAbsent: if the data is not there and cannot be fetched or unpacked, or the decoded pictures not written.
        DataBroken: if a list or the archive is not the published one, or a picture is absent or damaged.
    """
    return photographs.split(listed(root, download=download), image_size)


def listed(root: Path | None, *, download: bool = False) -> photographs.Photographs:
    """Which pictures these are; nothing is decoded."""
    base = archives.ensure(ARCHIVE, root, fetch=download_url if download else None)
    remedy = f"delete {base} and run again, with {ARCHIVE.filename} beside it or with --download"
    classes = lists.lines(base / "data/variants.txt", dataset="aircraft", remedy=remedy)
    train, test = (_read(base / f"data/images_variant_{half}.txt", classes, remedy) for half in ("train", "val"))
    found = photographs.Photographs(
        dataset="aircraft", base=base, root=base.parent, train=train, test=test, classes=tuple(classes)
    )
    return lists.complete(found, classes=CLASSES, train=TRAIN, test=TEST, remedy=remedy)


def _read(path: Path, classes: list[str], remedy: str) -> Listed:
    """Lines of `<number> <variant>`; a variant may have spaces."""
    labels = {name: label for label, name in enumerate(classes)}
    found = []
    for number, line in enumerate(lists.lines(path, dataset="aircraft", remedy=remedy), 1):
        name, _, variant = line.partition(" ")
        if not name.isdecimal() or variant not in labels:
            expected = "the number of a picture and a variant of variants.txt"
            raise lists.wrong_line(path, number, line, dataset="aircraft", expected=expected, remedy=remedy)
        found.append((f"data/images/{name}.jpg", labels[variant]))
    return tuple(found)
