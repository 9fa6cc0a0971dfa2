"""The 102 flower categories of Oxford, in torchvision's layout, from which data sets of different splits are made.

Source: Nilsback and Zisserman 2008, Automated Flower Classification over a Large Number of Classes, ICVGIP;
addresses and checksums by torchvision's `Flowers102`.
"""

from collections.abc import Sequence
from pathlib import Path

from scipy.io import loadmat
from torchvision.datasets import Flowers102
from torchvision.datasets.utils import download_url

from vitbench import archives
from vitbench.folders import Listed
from vitbench.photographs import Photographs

ADDRESS = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"
FOLDER = "flowers-102"
MD5 = {
    "102flowers.tgz": "52808999861908f626f3c1f4e79d11fa",
    "imagelabels.mat": "e0620be6f572b9609742df49c70aed4d",
    "setid.mat": "a5357ecc9cb78c4bef273ce3793fc85c",
}


def listed(
    dataset: str,
    root: Path | None,
    *,
    download: bool,
    trained_on: Sequence[str],
    tested_on: str = "tstid",
    train: int,
    test: int,
) -> Photographs:
    """The pictures by the published lists.

    Args:
        dataset: name of the data set.
        root: the data folder, with flowers-102/ as torchvision has it, or its archive, which is unpacked there.
        download: fetch what is not there.
        trained_on: of the published lists `trnid` and `valid`, those that are trained on.
        tested_on: the one that is tested on.
        train, test: how many pictures there must be.

    Raises:
        DataAbsent: if the data is not there, or cannot be fetched or unpacked.
        DataBroken: if a list or the archive is not the published one.
    """
    fetch = download_url if download else None
    urls = {name: {"dataset": dataset, "url": ADDRESS + name, "md5": MD5[name]} for name in MD5}
    packed = archives.Archive(
        **urls["102flowers.tgz"], filename=f"{FOLDER}/102flowers.tgz", folder=f"{FOLDER}/jpg", files={}
    )
    lists = [archives.File(**urls[name], filename=f"{FOLDER}/{name}") for name in ("imagelabels.mat", "setid.mat")]
    base = archives.ensure(packed, root, fetch=fetch).parent
    root = archives.ensure_files(lists, root, fetch=fetch)
    labels = loadmat(base / "imagelabels.mat")["labels"].ravel()  # (8189,), from 1 up
    ids = loadmat(base / "setid.mat")

    def files(names: Sequence[str]) -> Listed:
        numbers = [int(one) for name in names for one in ids[name].ravel()]  # from 1 up
        return tuple((f"jpg/image_{one:05d}.jpg", int(labels[one - 1]) - 1) for one in numbers)

    found = Photographs(
        dataset=dataset,
        base=base,
        root=root,
        train=files(trained_on),
        test=files([tested_on]),
        classes=tuple(Flowers102.classes),
    )
    return found.counted(train=train, test=test, remedy=f"delete {base} and run again with --download")
