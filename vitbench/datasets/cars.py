"""Stanford Cars: 8,144 + 8,041 photographs of cars of 196 makes, models and years, in the published split.

Source: Krause et al. 2013, 3D Object Representations for Fine-Grained Categorization, 3DRR workshop of ICCV; layout of
torchvision, whose page and addresses are gone since 2023, so that it is fetched by hand.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from vitbench import archives, photographs
from vitbench.contracts import Split
from vitbench.errors import DataBroken
from vitbench.folders import Listed
from vitbench.sources import lists

VERSION = 1
CLASSES = 196
TRAIN = 8_144
TEST = 8_041
IMAGE_SIZE = 256
PHOTOGRAPHS = True
# The md5 of car_devkit.tgz, which has the training list, and of the test list, as torchvision had them.
DIGEST = "c3b158d763b6e2245038c8ad08e45376 b0a2b23655a3edd16d84508592a98d10"
LICENCE = "none stated; for research, its page asked users to cite Krause et al. 2013"
SOURCE = "J. Krause et al., 3D Object Representations for Fine-Grained Categorization, ICCV workshops 2013"
EMBEDDED = False

FOLDER = "stanford_cars"
TRAIN_LIST = f"{FOLDER}/devkit/cars_train_annos.mat"
TEST_LIST = f"{FOLDER}/cars_test_annos_withlabels.mat"
NAMES = f"{FOLDER}/devkit/cars_meta.mat"
TEST_LIST_MD5 = "b0a2b23655a3edd16d84508592a98d10"
GET = (
    "its page is gone: get cars_train.tgz, cars_test.tgz, car_devkit.tgz and cars_test_annos_withlabels.mat as "
    f"github.com/pytorch/vision/issues/7545 says, put them into {FOLDER}/ of the data folder and unpack the first "
    "three there"
)
AGAIN = "get the lists again as github.com/pytorch/vision/issues/7545 says"


def build(root: Path | None, *, image_size: int = 256, download: bool = False) -> Split:
    """Cars as squares.

    Args:
        root: the data folder, with stanford_cars/ as torchvision has it: cars_train/, cars_test/, devkit/ and
            cars_test_annos_withlabels.mat. Decoded pictures are kept there.
        image_size: H and W; the shorter side is resized to it and the centre cut out.
        download: not used: it is fetched by hand.

    Returns:
        8,144 + 8,041 images uint8 (N, 3, image_size, image_size); labels and class names in the published order.

    Raises:
        DataAbsent: if the data is not there, or its decoded pictures cannot be written.
        DataBroken: if a list is not the published one, or a picture is absent or damaged.
    """
    return photographs.split(listed(root, download=download), image_size)


def listed(root: Path | None, *, download: bool = False) -> photographs.Photographs:
    """Which pictures these are; nothing is decoded."""
    inside = [f"{FOLDER}/cars_train", f"{FOLDER}/cars_test", NAMES, TRAIN_LIST, TEST_LIST]
    root = photographs.data_folder("cars", root, inside, get=GET)
    archives.check_md5(root / TEST_LIST, TEST_LIST_MD5, dataset="cars", remedy=AGAIN)
    found = photographs.Photographs(
        dataset="cars",
        base=root / FOLDER,
        root=root,
        train=_read(root / TRAIN_LIST, "cars_train"),
        test=_read(root / TEST_LIST, "cars_test"),
        classes=tuple(str(one) for one in _variable(root / NAMES, "class_names")),
    )
    return lists.complete(found, classes=CLASSES, train=TRAIN, test=TEST, remedy=AGAIN)


def _read(path: Path, folder: str) -> Listed:
    """Entries with the name of a picture, `fname`, and its `class` from 1 up."""
    entries = np.atleast_1d(_variable(path, "annotations"))
    names = entries.dtype.names
    if names is None or not {"fname", "class"} <= set(names):
        raise DataBroken(f"cars: {path}: expected annotations with fname and class, got {names}; {AGAIN}")
    found = []
    for number, (name, label) in enumerate(zip(entries["fname"], entries["class"], strict=True), 1):
        if not re.fullmatch(r"\d+\.jpg", str(name)) or not 1 <= int(label) <= CLASSES:
            expected = f"<number>.jpg and a class from 1 to {CLASSES}"
            line = f"{name} {label}"
            raise lists.wrong_line(path, number, line, dataset="cars", expected=expected, remedy=AGAIN)
        found.append((f"{folder}/{name}", int(label) - 1))
    return tuple(found)


def _variable(path: Path, name: str) -> Any:
    return lists.matlab(path, name, dataset="cars", remedy=AGAIN)
