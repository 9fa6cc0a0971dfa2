"""Volumes: zip files of bounded size that carry a runs directory, each with a manifest of what it holds.

Volumes of one pack share its digest. What reads a volume believes nothing: names, sizes and checksums of
everything in it are checked before anything is used.
"""

import contextlib
import hashlib
import json
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from vitbench.atomic import write_atomically
from vitbench.errors import UserError
from vitbench.parts import RECORD_LIMIT, File, Part, Volume
from vitbench.records import Record, parse

SCHEMA = 1
MANIFEST = "manifest.json"
_CHUNK = 2**20
_FOREIGN: tuple[type[Exception], ...] = (  # what zipfile and json raise for files that are no volumes
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, NotImplementedError, RecursionError),
    *(AttributeError, KeyError, TypeError, ValueError, OverflowError),
)


def write(path: Path, volume: Volume, contents: Mapping[str, BinaryIO]) -> None:
    """Write a volume, whole or not at all.

    Args:
        contents: by name of the file.

    Raises:
        EOFError: a file is shorter than its parts.
    """
    head = {"schema": SCHEMA, "pack": volume.pack, "number": volume.number, "of": volume.of}
    lines = [asdict(part.file) | {k: v for k, v in asdict(part).items() if k != "file"} for part in volume.parts]
    with write_atomically(path) as temporary, zipfile.ZipFile(temporary, "w", allowZip64=False) as archive:
        archive.writestr(_info(MANIFEST, deflated=True), json.dumps(head | {"parts": lines}))
        for part in volume.parts:
            source = contents[part.file.name]
            source.seek(part.offset)
            with archive.open(_info(part.member, deflated=part.file.kind == "record"), "w") as member:
                for chunk in _chunks(source, part.length):
                    member.write(chunk)


def _info(name: str, *, deflated: bool) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)  # with zip's first date, so that the same content is the same file
    info.compress_type = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
    info.external_attr = (stat.S_IFREG | 0o644) << 16
    return info


def _chunks(source: Any, length: int) -> Iterator[bytes]:
    while length:
        chunk = source.read(min(length, _CHUNK))
        if not chunk:
            raise EOFError("it is shorter than it was")
        length -= len(chunk)
        yield chunk


def read(path: Path) -> Volume:
    """The volume in a file, after every byte of it was checked.

    Raises:
        UserError: it is absent, foreign, torn, damaged, or not what its manifest says.
    """
    with _named(path, OSError), zipfile.ZipFile(path) as archive:
        info = archive.getinfo(MANIFEST)
        if info.file_size > RECORD_LIMIT:
            raise ValueError("its manifest is too large")
        content = json.loads(archive.read(info))
        if content.pop("schema") != SCHEMA:
            raise ValueError(f"this version reads schema {SCHEMA}")
        parts = tuple(_part(line) for line in content.pop("parts"))
        volume = Volume(path=path, parts=parts, **content)
        _check_members(archive.infolist(), volume)
        damaged = archive.testzip()
        if damaged:
            raise ValueError(f"{damaged} is damaged")
    return volume


def _part(line: dict[str, Any]) -> Part:
    of_file = {name: line.pop(name) for name in ("name", "size", "sha256", "record")}
    return Part(file=File(**of_file), **line)


def _check_members(members: Sequence[zipfile.ZipInfo], volume: Volume) -> None:
    """Nothing but what the manifest lists, in its sizes: no other path, no link, no bomb."""
    expected = {part.member: part for part in volume.parts}
    listed = [one for one in members if one.filename != MANIFEST]
    if sorted(one.filename for one in listed) != sorted(part.member for part in volume.parts) or len(expected) < len(
        listed
    ):
        raise ValueError("its members are not those of its manifest")
    if sum(one.compress_size for one in members) > volume.path.stat().st_size:
        raise ValueError("its members overlap")
    for one in listed:
        part = expected[one.filename]
        deflated = one.compress_type == zipfile.ZIP_DEFLATED and part.file.kind == "record"
        if one.file_size != part.length or not (deflated or one.compress_type == zipfile.ZIP_STORED):
            raise ValueError(f"{one.filename} has {one.file_size} bytes, its manifest says {part.length}")
        if stat.S_IFMT(one.external_attr >> 16) not in (0, stat.S_IFREG):
            raise ValueError(f"{one.filename} is no plain file")


def restore(parts: Sequence[tuple[Volume, Part]], out: BinaryIO) -> None:
    """Put the parts of one file together, in their order.

    Raises:
        UserError: the result is not the file that was packed.
    """
    digest = hashlib.sha256()
    for volume, part in parts:
        with _named(volume.path), zipfile.ZipFile(volume.path) as archive, archive.open(part.member) as member:
            for chunk in _chunks(member, part.length):
                digest.update(chunk)
                out.write(chunk)
    volume, part = parts[0]
    if digest.hexdigest() != part.file.sha256:
        raise UserError(f"{volume.path}: {part.file.name} has another checksum than the manifest says; pack it again")


@contextlib.contextmanager
def _named(path: Path, *more: type[Exception]) -> Iterator[None]:
    try:
        yield
    except _FOREIGN + more as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__
        raise UserError(
            f"{path}: expected a whole file from `vitbench pack`, got another or a damaged one ({reason}); get it again"
        ) from None


def check_record(content: bytes, folder: str) -> Record:
    """The record in the bytes of a file.

    Args:
        folder: name of the folder that it is in.

    Raises:
        ValueError: saying in one line what is wrong with it.
    """
    record = parse(content.decode())
    if not folder.endswith(f"_{record.key[:12]}"):
        raise ValueError("it belongs to another run")
    return record
