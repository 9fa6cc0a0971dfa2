"""ImageNet-1K, or some of its classes, on the layout that torchvision's `ImageNet` unpacks the published archives to.

Source: Russakovsky et al. 2015, ImageNet Large Scale Visual Recognition Challenge, IJCV, arXiv:1409.0575.
"""

from collections.abc import Sequence
from pathlib import Path

from vitbench import folders, photographs
from vitbench.errors import DataBroken
from vitbench.photographs import Photographs

GET = (
    "register at image-net.org, get ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz, "
    "put them into {place} of the data folder and have torchvision.datasets.ImageNet unpack them"
)


def listed(
    dataset: str,
    root: Path | None,
    *,
    places: Sequence[str] = ("imagenet",),
    classes: Sequence[str] | None = None,
    count: int,
    train: int,
    test: int,
) -> Photographs:
    """Pictures of train/<class>/ and val/<class>/.

    Args:
        dataset: name of the data set.
        root: the data folder.
        places: folders of it that may hold train/ and val/; the first that exists is taken, the last is asked for.
        classes: which of the classes there, by their WordNet ids; None takes all.
        count, train, test: classes and pictures that there must be.

    Raises:
        DataAbsent: naming what is not there, and what to fetch and where to put it.
        DataBroken: if classes are missing or empty, or there are not as many classes or pictures.
    """
    get = GET.format(place=f"{places[-1]}/")
    there = root.expanduser() if root is not None else Path()
    place = next((one for one in places if (there / one).is_dir()), places[-1])
    root = photographs.data_folder(dataset, root, [f"{place}/train", f"{place}/val"], get=get)
    base = root / place
    found = folders.read(base, dataset=dataset, classes=None if classes is None else sorted(classes))
    if len(found.classes) != count:
        raise DataBroken(
            f"{dataset}: {base} has {len(found.classes)} classes, expected {count}; unpack the archives again"
        )
    all_of_it = Photographs(
        dataset=dataset, base=base, root=root, train=found.train, test=found.test, classes=found.classes
    )
    return all_of_it.counted(train=train, test=test, remedy="unpack the archives again")
