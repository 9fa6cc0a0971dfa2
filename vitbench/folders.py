"""Folders of pictures, one per class: `train/<class>/*` and `val/<class>/*`. Without torch and without decoding.

The order is that of torchvision's `ImageFolder`: classes by name, pictures by path.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from vitbench.errors import DataAbsent, DataBroken

# What torchvision's ImageFolder takes for a picture.
EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
TEST_FOLDERS = ("val", "test")
LAYOUT = "train/<class>/* and val/<class>/* (or test/<class>/*)"

Listed = tuple[tuple[str, int], ...]  # pairs of a name relative to a folder, with "/", and a label


@dataclass(frozen=True, kw_only=True)
class Folder:
    """What lies in such a folder.

    Attributes:
        train, test: name relative to the folder and label, of each picture.
        classes: names of the classes; a label is a place in it.
        digest: see `digest_of`.
    """

    train: Listed
    test: Listed
    classes: tuple[str, ...]
    digest: str = ""


def scan(path: Path | str) -> Folder:
    """Everything that identifies a folder of pictures, its digest included.

    Raises:
        DataAbsent: if there is no such folder.
        DataBroken: as `read`.
    """
    path = Path(path).expanduser()
    found = read(path, dataset="imagefolder")
    try:
        digest = digest_of(path, (*found.train, *found.test))
    except OSError as error:
        _refuse("imagefolder", Path(error.filename), f"cannot be read ({error.strerror})", "mend or remove it")
    return Folder(train=found.train, test=found.test, classes=found.classes, digest=digest)


def digest_of(path: Path, files: Iterable[tuple[str, int]]) -> str:
    """sha256 over the sorted relative names, sizes in bytes and labels of the files, in hexadecimal.

    It sees a picture that came, went, moved to another class or changed its length; not one whose bytes changed and
    whose length did not.

    Raises:
        OSError: if a file is not there.
    """
    sha256 = hashlib.sha256()
    for name, label in sorted(files):
        sha256.update(line_of(path, name, label))
    return sha256.hexdigest()


def line_of(base: Path, name: str, label: int) -> bytes:
    """A file as digests see it: name, size and label.

    Raises:
        OSError: if it is not there.
    """
    size = os.stat(f"{base}/{name}").st_size  # noqa: PTH116 - a Path takes ten times as long, a million times
    return os.fsencode(name) + f"\0{size}\0{label}\n".encode()


def read(path: Path, *, dataset: str, classes: Sequence[str] | None = None) -> Folder:
    """List the pictures of a folder, without a digest.

    Args:
        path: holds `train` and `val`, or `train` and `test`.
        dataset: name for messages.
        classes: those that are wanted, by the names of their folders; None takes all that are there.

    Raises:
        DataAbsent: if there is no such folder.
        DataBroken: if one of its two halves is missing, a class is empty or on one side only, there are fewer than
            two classes, a folder cannot be read, or a link leads back to a folder that it lies in.
    """
    if not path.is_dir():
        reason = "is a file, not a folder" if path.exists() else "does not exist"
        raise DataAbsent(f"{dataset}: {path} {reason}; name a folder with {LAYOUT}")
    halves = [path / "train", _test_folder(path, dataset)]
    if not halves[0].is_dir():
        _refuse(dataset, path, "has no folder train", f"a folder of pictures has {LAYOUT}")
    if classes is None:
        classes = _classes(halves[0], dataset)
        _compare(halves, classes, dataset)
    missing = next((half / name for half in halves for name in classes if not (half / name).is_dir()), None)
    if missing is not None:
        _refuse(dataset, missing, "does not exist", f"the data set has {len(classes)} classes, each needs its folder")
    train, test = (_pictures(path, half.name, classes, dataset) for half in halves)
    return Folder(train=train, test=test, classes=tuple(classes))


def _test_folder(path: Path, dataset: str) -> Path:
    found = [path / name for name in TEST_FOLDERS if (path / name).is_dir()]
    if not found:
        _refuse(dataset, path, "has neither val nor test", f"a folder of pictures has {LAYOUT}")
    if len(found) > 1:
        remedy = "name a folder with train and the one of them that is to be tested on (links will do)"
        _refuse(dataset, path, "has both val and test", remedy)
    return found[0]


def _classes(half: Path, dataset: str) -> list[str]:
    """Names of the folders in a half, sorted; what is hidden is none."""
    try:
        found = sorted(one.name for one in os.scandir(half) if one.is_dir() and not one.name.startswith("."))
    except OSError as error:
        _refuse(dataset, half, f"cannot be read ({error.strerror})", "make it readable")
    if len(found) < 2:
        _refuse(dataset, half, f"has {len(found)} folders of classes", "it takes two at least, a folder per class")
    return found


def _compare(halves: Sequence[Path], classes: Sequence[str], dataset: str) -> None:
    train, test = set(classes), set(_classes(halves[1], dataset))
    if train == test:
        return
    odd = sorted(train ^ test)[0]
    has, lacks = halves if odd in train else reversed(halves)
    reason = f"has {len(test)} classes and {halves[0].name} has {len(train)}: {lacks.name} lacks {odd!r}"
    _refuse(dataset, halves[1], reason, f"add {lacks / odd} or remove {has / odd}")


def _pictures(path: Path, half: str, classes: Sequence[str], dataset: str) -> Listed:
    found: list[tuple[str, int]] = []
    for label, name in enumerate(classes):
        before = len(found)
        for folder, files in _walk(path / half / name, dataset):
            where = folder.relative_to(path).as_posix()
            found.extend((f"{where}/{one}", label) for one in files if one.lower().endswith(EXTENSIONS))
        if len(found) == before:
            remedy = f"put {', '.join(EXTENSIONS[:3])} files there or remove it on both sides"
            _refuse(dataset, path / half / name, "holds no picture", remedy)
    return tuple(found)


def _walk(folder: Path, dataset: str) -> list[tuple[Path, list[str]]]:
    """Files of a folder and of those inside, links followed, by path; what is hidden is left out."""

    def fail(error: OSError) -> None:
        _refuse(dataset, Path(error.filename), f"cannot be read ({error.strerror})", "make it readable")

    found = []
    _check_link(folder, folder.parent, dataset)
    for where, inner, files in os.walk(folder, followlinks=True, onerror=fail):
        inner[:] = [one for one in inner if not one.startswith(".")]
        for one in inner:
            _check_link(Path(where, one), folder.parent, dataset)
        found.append((where, sorted(one for one in files if not one.startswith("."))))
    return [(Path(where), files) for where, files in sorted(found)]


def _check_link(path: Path, top: Path, dataset: str) -> None:
    """Refuse a link to a folder that the way from `top` leads through: its pictures would come again and again."""
    if not path.is_symlink():
        return
    target = path.resolve()
    way = [one for one in path.parents if one.is_relative_to(top)]
    if any(one.resolve().is_relative_to(target) for one in way):
        reason = f"is a link back to {target}, in which it lies, expected one that leads elsewhere"
        _refuse(dataset, path, reason, "remove it, or link to the folder of pictures that is meant")


def _refuse(dataset: str, path: Path, reason: str, remedy: str) -> NoReturn:
    raise DataBroken(f"{dataset}: {path} {reason}; {remedy}")
