"""A small Flowers102 in torchvision's layout, with its checksums in place of the published ones."""

import hashlib
import tarfile

import numpy as np
from scipy.io import savemat

from tests.pictures import write
from vitbench.sources import flowers

IDS = {"trnid": [5, 2], "valid": [1, 7], "tstid": [3, 4, 6]}
LABELS = [3, 102, 1, 7, 7, 50, 2]  # of pictures 1 to 7, from 1 up


def publish(root, monkeypatch):
    """Write pictures, lists and the archive below a root, which comes back."""
    folder = root / "flowers-102"
    for number in range(1, len(LABELS) + 1):
        write(folder / f"jpg/image_{number:05d}.jpg", size=(20 + number, 15), seed=number)
    savemat(folder / "imagelabels.mat", {"labels": np.array([LABELS], np.uint8)})
    savemat(folder / "setid.mat", {name: np.array([ids], np.uint16) for name, ids in IDS.items()})
    with tarfile.open(folder / "102flowers.tgz", "w:gz") as tar:
        tar.add(folder / "jpg", arcname="jpg")
    found = {name: hashlib.md5((folder / name).read_bytes()).hexdigest() for name in flowers.MD5}
    monkeypatch.setattr(flowers, "MD5", found)
    return root
