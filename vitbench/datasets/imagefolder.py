"""Any folder of photographs, used as `imagefolder:PATH`: train/<class>/* and val/<class>/* (or test/<class>/*).

Source: the layout of torchvision's `ImageFolder`, in use since 2017. How many classes and pictures a folder has, and
its digest, is found by `vitbench.folders.scan`.
"""

from pathlib import Path

from vitbench import folders, photographs
from vitbench.contracts import Split
from vitbench.errors import DataAbsent

VERSION = 1
IMAGE_SIZE = 256
PHOTOGRAPHS = True
LICENCE = "the user's own"
SOURCE = "a folder that the user names"
EMBEDDED = False


def build(root: Path | None, *, image_size: int = 256, download: bool = False) -> Split:
    """The pictures of a folder as squares.

    Args:
        root: the folder, with train/ and val/.
            Decoded pictures are kept there.
        image_size: H and W; the shorter side is resized to it and the centre cut out.
        download: not used.

    Returns:
        Images uint8 (N, 3, image_size, image_size), by class and name; classes by name.

    Raises:
        DataAbsent: if there is no such folder, or its decoded pictures cannot be written.
        DataBroken: if a half or a class is missing or empty, or a picture is damaged.
    """
    return photographs.split(listed(root, download=download), image_size)


def listed(root: Path | None, *, download: bool = False) -> photographs.Photographs:
    """Which pictures these are; nothing is decoded."""
    if root is None:
        raise DataAbsent(f"imagefolder: no folder is named; write imagefolder:PATH, a folder with {folders.LAYOUT}")
    root = root.expanduser()
    found = folders.read(root, dataset="imagefolder")
    return photographs.Photographs(
        dataset="imagefolder", base=root, root=root, train=found.train, test=found.test, classes=found.classes
    )
