"""Data sets of photographs: what their files are, and the tensors that they become at the size that is asked for."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from vitbench import mapped
from vitbench.contracts import Images, Split
from vitbench.errors import DataAbsent, DataBroken, UserError
from vitbench.folders import Listed
from vitbench.mapped import Half

CACHE = ".vitbench-cache"  # folder of decoded pictures, in the data folder


@dataclass(frozen=True, kw_only=True)
class Photographs:
    """Pictures of many sizes, as they lie on disk.

    Attributes:
        dataset: name of the data set.
        base: folder that the names are relative to.
        root: the data folder, which decoded pictures are kept in.
        train, test: name and label of each picture.
        classes: names of the classes.
    """

    dataset: str
    base: Path
    root: Path
    train: Listed
    test: Listed
    classes: tuple[str, ...]

    def halves(self, size: int) -> tuple[Half, Half]:
        """Both halves as they are decoded at a size in pixels."""
        return self._half("train", self.train, size), self._half("test", self.test, size)

    def _half(self, name: str, files: Listed, size: int) -> Half:
        folder = self.root / CACHE / f"{self.dataset}-{name}-{size}"
        return Half(dataset=self.dataset, base=self.base, files=files, size=size, folder=folder)

    def counted(self, *, train: int, test: int, remedy: str) -> "Photographs":
        """The same, if that many pictures are listed.

        Raises:
            DataBroken: if not.
        """
        if (found := (len(self.train), len(self.test))) != (train, test):
            raise DataBroken(
                f"{self.dataset}: {self.base} lists {found[0]} + {found[1]} pictures, "
                f"expected {train} + {test}; {remedy}"
            )
        return self


def data_folder(dataset: str, root: Path | None, inside: Iterable[str], *, get: str) -> Path:
    """The data folder, with each of some files or folders in it.

    Args:
        dataset: name for messages.
        root: as the user named it, or None.
        inside: what must be there, relative to it.
        get: where such data comes from.

    Raises:
        DataAbsent: naming the first that is not there, and what to fetch and where to put it.
    """
    if root is None:
        raise DataAbsent(
            f"{dataset}: no data folder is named; {get}, and name it with --data DIR (environment: VITBENCH_DATA)"
        )
    root = root.expanduser()
    absent = next((one for one in inside if not (root / one).exists()), None)
    if absent is not None:
        raise DataAbsent(f"{dataset}: {root / absent} does not exist; {get}, or name another folder with --data DIR")
    return root


def split(photographs: Photographs, size: int) -> Split:
    """Both halves as tensors: shorter side resized to `size`, the centre square cut out.

    Returns:
        Images uint8 (N, 3, S, S), in memory or, from 2 GiB on, a map of the decoded file; labels int64.

    Raises:
        UserError: if the size is not a whole number from 1 up.
        DataBroken, DataAbsent: as `mapped.pixels`.
    """
    if type(size) is not int or size < 1:
        raise UserError(f"{photographs.dataset}: image_size is a whole number of pixels from 1 up, got {size!r}")
    train, test = (_images(half) for half in photographs.halves(size))
    return Split(train=train, test=test, classes=photographs.classes)


def _images(half: Half) -> Images:
    labels = torch.tensor([label for _, label in half.files], dtype=torch.int64)
    return Images(images=torch.from_numpy(mapped.pixels(half)), labels=labels)


def state(photographs: Photographs, size: int) -> str:
    """What is there, in a few words: pictures, and whether they are decoded.

    Raises:
        DataBroken: if a picture that is listed is absent.
    """
    halves = photographs.halves(size)
    to_do = [half for half in halves if not mapped.is_made(half)]
    if not to_do:
        return f"found, decoded at {size} pixels"
    room = sum(float(np.prod(half.shape)) for half in to_do) / 1e9
    return f"found; the first run decodes it at {size} pixels into {to_do[0].folder.parent} ({room:.3g} GB)"
