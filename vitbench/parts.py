"""Parts: how the files of a runs directory are spread over volumes of bounded size.

Plain values that refuse to be anything else: a name that is no file of a run, a size below zero, a part beyond
its file. What a manifest says becomes these, so that what reads it need not look again.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LIMIT = 16 * 2**20  # bytes of a volume
SMALLEST, LARGEST = 2**16, 2**30  # limits that make sense; below 2 GiB a zip file has one form only
MOST = 100_000  # volumes of a pack
RECORD_LIMIT = 64 * 2**20  # a record has some 10 KiB; a larger one is a trap
KINDS = ("record", "weights", "picture", "checkpoint")  # in the order in which they are packed and merged
# Whole names only. What was kept beside another record carries that record's digest.
NAME = re.compile(
    r"runs/(?P<folder>[\w.+-]{0,242}_[0-9a-f]{12})/"
    r"(?:(?P<record>record(?:\.[0-9a-f]{12})?\.json)|(?P<weights>weights(?:\.[0-9a-f]{12})?\.safetensors)"
    r"|(?P<picture>pictures/epoch-\d{4,9}\.safetensors)|(?P<checkpoint>checkpoint\.pt))",
    re.ASCII,
)
_HASH = re.compile(r"[0-9a-f]{64}")
_FIXED, _MEMBER = 1024, 700  # bytes, at most: the volume's own, and a member's headers and line of the manifest
_STRETCH = 4096  # bytes; a shorter part is not worth its headers


@dataclass(frozen=True, kw_only=True)
class File:
    """A file of a run.

    Attributes:
        name: `runs/<folder>/<file>`.
        size: bytes.
        sha256: of the content.
        record: SHA-256 of the record that weights or pictures belong to; empty for other files, and for pictures of an
            unfinished run.
    """

    name: str
    size: int
    sha256: str
    record: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no file of a run")
        if not _is_count(self.size) or (self.kind == "record" and self.size > RECORD_LIMIT):
            raise ValueError(f"{self.name} has {self.size!r} bytes")
        belongs = self.kind == "weights" or (self.kind == "picture" and self.record != "")
        for value in (self.sha256, self.record) if belongs else (self.sha256,):
            if not isinstance(value, str) or not _HASH.fullmatch(value):
                raise ValueError(f"{self.name} has the checksum {value!r}")

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        return str(NAME.fullmatch(self.name).lastgroup)  # type: ignore[union-attr] # it was checked

    @property
    def folder(self) -> str:
        """Name of the run's folder."""
        return self.name.split("/")[1]


@dataclass(frozen=True, kw_only=True)
class Part:
    """A stretch of a file, in one volume.

    Attributes:
        first, last: numbers of the volumes that the file is spread over.
    """

    file: File
    offset: int
    length: int
    first: int
    last: int

    def __post_init__(self) -> None:
        whole = all(_is_count(one) for one in (self.offset, self.length, self.first, self.last))
        if not whole or self.offset + self.length > self.file.size or not 1 <= self.first <= self.last:
            raise ValueError(f"{self.file.name} has a part that does not fit")

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the file."""
        return self.length == self.file.size

    @property
    def member(self) -> str:
        """Its name in the zip file."""
        return self.file.name + ("" if self.is_whole else f".from-{self.offset}")


@dataclass(frozen=True, kw_only=True)
class Volume:
    """What a volume's manifest says."""

    path: Path
    pack: str
    number: int
    of: int
    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.pack, str) or not re.fullmatch("[0-9a-f]{12}", self.pack):
            raise ValueError(f"its pack is {self.pack!r}")
        if not (_is_count(self.number) and _is_count(self.of) and 1 <= self.number <= self.of <= MOST):
            raise ValueError(f"it is volume {self.number!r} of {self.of!r}")
        if not all(part.first <= self.number <= part.last <= self.of for part in self.parts):
            raise ValueError("it holds a part of another volume")
        if sum(part.length for part in self.parts) > LARGEST:
            raise ValueError("it holds more than any volume may")

    @property
    def name(self) -> str:
        """Its file name."""
        return name_of(self.pack, self.number, self.of)


def name_of(pack: str, number: int, of: int) -> str:
    """File name of a volume."""
    return f"runs-{pack}-{number}-of-{of}.zip"


def cut(files: Sequence[File], limit: int) -> list[list[Part]]:
    """Spread files over volumes, in their order; only what is larger than a volume is cut.

    Args:
        limit: bytes of a volume, everything included.
    """
    volumes: list[list[tuple[File, int, int]]] = [[]]
    room = limit - _FIXED
    for file in files:
        offset = 0
        while True:
            rest, capacity = file.size - offset, _capacity(room, file)
            fits = rest <= capacity
            if fits or (capacity >= _STRETCH and file.size > _capacity(limit - _FIXED, file)):
                length = min(rest, capacity)
                volumes[-1].append((file, offset, length))
                room -= _cost(length, file)
                offset += length
            if fits:
                break
            volumes.append([])
            room = limit - _FIXED
    where: dict[File, list[int]] = {}
    for number, stretches in enumerate(volumes, 1):
        for file, _, _ in stretches:
            where.setdefault(file, []).append(number)
    return [
        [Part(file=f, offset=start, length=n, first=where[f][0], last=where[f][-1]) for f, start, n in stretches]
        for stretches in volumes
    ]


def _cost(length: int, file: File) -> int:
    """Bytes that a part takes at most; deflating adds 5 bytes to 16 KiB when there is nothing to gain."""
    return length + length // 1000 + 1 + _MEMBER + 3 * len(file.name)


def _capacity(room: int, file: File) -> int:
    return (room - _cost(0, file)) * 1000 // 1001 - 1


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**50
