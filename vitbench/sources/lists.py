"""Lists that name the pictures of a data set and their classes, and whose checksum is not published.

Without one it can be checked that a list is there, has the lines that it must have, and that each class has pictures.
"""

from pathlib import Path
from typing import Any

from scipy.io import loadmat

from vitbench.errors import DataBroken
from vitbench.photographs import Photographs


def lines(path: Path, *, dataset: str, remedy: str) -> list[str]:
    """The lines of a text, without spaces at their ends.

    Args:
        path: of the text, in UTF-8.
        dataset: name for messages.
        remedy: what to do, for messages.

    Raises:
        DataBroken: if it is absent or cannot be read.
    """
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        raise DataBroken(f"{dataset}: {path} is missing; {remedy}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataBroken(f"{dataset}: {path} cannot be read ({error}); {remedy}") from error


def matlab(path: Path, name: str, *, dataset: str, remedy: str) -> Any:
    """One variable of a MATLAB file as scipy reads it, sides of length 1 left out.

    Args:
        path: of the file.
        name: of the variable.
        dataset, remedy: as for `lines`.

    Raises:
        DataBroken: if the file cannot be read, or has no such variable.
    """
    try:
        found = loadmat(path, squeeze_me=True)
    except Exception as error:  # its reader raises what comes
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataBroken(f"{dataset}: {path} cannot be read ({reason}); {remedy}") from error
    if name not in found:
        raise DataBroken(f"{dataset}: {path} has no variable {name}; {remedy}")
    return found[name]


def wrong_line(path: Path, number: int, line: str, *, dataset: str, expected: str, remedy: str) -> DataBroken:
    """The error for a line, or an entry, of a list; numbers are from 1 up."""
    return DataBroken(f"{dataset}: {path}:{number}: expected {expected}, got {line[:80]!r}; {remedy}")


def complete(found: Photographs, *, classes: int, train: int, test: int, remedy: str) -> Photographs:
    """The same, if it has that many classes and pictures, and pictures of each class in both halves.

    Raises:
        DataBroken: if not.
    """
    if len(set(found.classes)) != classes:
        names = len(set(found.classes))
        raise DataBroken(f"{found.dataset}: {found.base} lists {names} classes, expected {classes}; {remedy}")
    found = found.counted(train=train, test=test, remedy=remedy)
    for half, files in (("train", found.train), ("test", found.test)):
        absent = sorted(set(range(classes)) - {label for _, label in files})
        if absent:
            name = found.classes[absent[0]]
            raise DataBroken(f"{found.dataset}: {found.base} lists no picture of {name!r} to {half} on; {remedy}")
    return found
