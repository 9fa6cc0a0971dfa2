"""Published archives on disk: checked, fetched and unpacked so that nothing half-done is ever used.

Every failure is one line with the path and the way out. Reading data that is already unpacked writes nothing,
so a read-only folder serves as well. Torch is not imported here.
"""

import gzip
import hashlib
import http.client
import os
import shutil
import stat
import tarfile
import urllib.error
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from filelock import FileLock

from vitbench.errors import DataAbsent, DataBroken

# Called as torchvision.datasets.utils.download_url(url, root, filename, md5).
Fetch = Callable[[str, str, str, str], None]


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A tar archive as its authors publish it, and the folder that it unpacks to.

    Attributes:
        dataset: name of the data set, for messages.
        url: where it is published.
        filename: its name below the data folder.
        md5: its checksum, in hexadecimal.
        folder: the one folder that it holds.
        files: checksum of every file of the folder that is read, by name.
    """

    dataset: str
    url: str
    filename: str
    md5: str
    folder: str
    files: Mapping[str, str]

    @property
    def way_out(self) -> str:
        """How a user gets the data, for messages."""
        return (
            f"--download fetches it, or --data DIR (environment: VITBENCH_DATA) names a folder "
            f"that holds {self.folder}/ or {self.filename}"
        )


def ensure(archive: Archive, root: Path | None, *, fetch: Fetch | None = None) -> Path:
    """The unpacked folder, each of its files present and with the published checksum.

    Args:
        archive: what is wanted.
        root: the data folder, holding the unpacked folder or the archive; None when nobody named one.
        fetch: gets the archive when neither is there; None forbids it.

    Raises:
        DataAbsent: the data is not there, or cannot be fetched or unpacked.
        DataBroken: a file, the archive or a member of it is not what was published, or no folder stands where one must.
    """
    if root is None:
        raise DataAbsent(f"{archive.dataset}: no data folder is named; {archive.way_out}")
    root = root.expanduser()
    folder = root / archive.folder
    if not (_is_folder(archive, root) and _is_folder(archive, folder)):
        if fetch is None and not (root / archive.filename).is_file():
            raise DataAbsent(f"{archive.dataset}: {folder} does not exist; {archive.way_out}")
        _provide(archive, root, fetch=fetch)
    check_files(archive, folder)
    return folder


def _is_folder(archive: Archive, path: Path) -> bool:
    """Whether a folder is there; DataBroken where something else is, or where nobody may look."""
    try:
        if stat.S_ISDIR(path.stat().st_mode):  # asked once, since another process may be unpacking it
            return True
        reason = "is a file, not a folder"
    except OSError as error:
        if os.path.islink(path):  # noqa: PTH114 - the method raises where nobody may look
            reason = "is a link that leads to no folder"
        elif isinstance(error, FileNotFoundError | NotADirectoryError):
            return False
        else:
            reason = f"cannot be read ({error.strerror})"
    raise DataBroken(f"{archive.dataset}: {path} {reason}; move it away or mend it; {archive.way_out}")


def check_files(archive: Archive, folder: Path) -> None:
    """DataBroken, naming the first file that is missing or differs from what was published."""
    remedy = f"delete {folder} and run again, with {archive.filename} beside it or with --download"
    for name, expected in archive.files.items():
        path = folder / name
        if not path.is_file():
            raise DataBroken(f"{archive.dataset}: {path} is missing; {remedy}")
        check_md5(path, expected, dataset=archive.dataset, remedy=remedy)


def check_md5(path: Path, expected: str, *, dataset: str, remedy: str) -> None:
    """DataBroken, with both checksums and the remedy, unless the file has the expected md5."""
    try:
        found = md5(path)
    except OSError as error:
        raise DataBroken(f"{dataset}: {path} cannot be read ({error.strerror}); {remedy}") from error
    if found != expected:
        raise DataBroken(
            f"{dataset}: {path} is damaged or truncated ({path.stat().st_size} bytes), "
            f"expected md5 {expected}, got {found}; {remedy}"
        )


def md5(path: Path) -> str:
    """Checksum of a file, in hexadecimal. It guards against damage, not against an attacker."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _provide(archive: Archive, root: Path, *, fetch: Fetch | None) -> None:
    """Fetch when need be and unpack, one process at a time; those that waited find the folder there."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".{archive.filename}.lock"):
            if not (root / archive.folder).is_dir():
                _fetch(archive, root, fetch=fetch)
                unpack(root / archive.filename, root / archive.folder, dataset=archive.dataset)
    except OSError as error:
        reason = error.strerror or error
        raise DataAbsent(
            f"{archive.dataset}: cannot write into {root} ({reason}); make it writable and large enough, "
            f"or name a folder that holds {archive.folder}/ with --data DIR"
        ) from error


def _fetch(archive: Archive, root: Path, *, fetch: Fetch | None) -> None:
    """Leave a correct archive in `root`; a download gets its name only when it is whole and checked."""
    packed, part = root / archive.filename, root / f"{archive.filename}.part"
    if fetch is None or (packed.is_file() and md5(packed) == archive.md5):
        remedy = "delete it and run again with --download"
        return check_md5(packed, archive.md5, dataset=archive.dataset, remedy=remedy)
    try:
        fetch(archive.url, str(root), part.name, archive.md5)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it holds the connection open
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataAbsent(
            f"{archive.dataset}: {archive.url} could not be fetched ({reason}); "
            f"try again, or get it by other means and put it at {packed}"
        ) from error
    part.replace(packed)
    return None


def unpack(packed: Path, folder: Path, *, dataset: str) -> None:
    """Unpack a tar archive that holds the folder `folder.name`, whole or not at all.

    The members go to a sibling of `folder` that is renamed at the end, so an interruption leaves no folder
    that a later run would take for the data. Links are refused altogether: no data set here has any, and
    through them tarfile's own filters have been passed more than once (CVE-2025-4517 among others).

    Args:
        packed: the archive, compressed or not; its checksum is the caller's business.
        folder: where the unpacked folder is to be; must not exist.
        dataset: name for messages.

    Raises:
        DataBroken: not an archive, truncated, an unsafe member, or another folder inside.
        OSError: the disk is full or not writable.
    """
    staging = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(staging, ignore_errors=True)  # left by a run that was killed
    try:
        with tarfile.open(packed) as tar:
            _refuse_unsafe(tar)
            # Python before 3.11.4 has no filters; what they refuse was refused above.
            tar.extraction_filter = getattr(tarfile, "data_filter", None)
            tar.extractall(staging)
        if not (staging / folder.name).is_dir():
            raise tarfile.TarError(f"holds no folder {folder.name}")
        (staging / folder.name).rename(folder)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        reason = str(error).partition("\n")[0]
        raise DataBroken(
            f"{dataset}: {packed} cannot be unpacked ({reason}) and nothing of it was kept; delete it and get it again"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _refuse_unsafe(tar: tarfile.TarFile) -> None:
    """Look at every member before the first is written."""
    for member in tar.getmembers():
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
            kind = "link" if member.issym() or member.islnk() else "path"
            raise tarfile.TarError(f"unsafe member {member.name!r} ({kind})")
