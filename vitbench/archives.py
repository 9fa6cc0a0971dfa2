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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from filelock import FileLock

from vitbench.errors import DataAbsent, DataBroken

# Called as torchvision.datasets.utils.download_url(url, root, filename, md5).
Fetch = Callable[[str, str, str, str], None]


@dataclass(frozen=True, kw_only=True)
class File:
    """One file as its authors publish it.

    Attributes:
        dataset: name of the data set, for messages.
        url: where it is published.
        filename: its place below the data folder.
        md5: its checksum, in hexadecimal.
    """

    dataset: str
    url: str
    filename: str
    md5: str

    @property
    def holds(self) -> str:
        """What a data folder must hold."""
        return self.filename

    @property
    def way_out(self) -> str:
        """How a user gets the data, for messages."""
        return (
            f"--download fetches it, or --data DIR (environment: VITBENCH_DATA) names a folder that holds {self.holds}"
        )


@dataclass(frozen=True, kw_only=True)
class Archive(File):
    """A tar archive as its authors publish it, and the folder that it unpacks to.

    Attributes:
        folder: place below the data folder of the one folder that it holds, beside the archive.
        files: checksum of every file of the folder that is read, by name; none where none is published.
    """

    folder: str
    files: Mapping[str, str]

    @property
    def holds(self) -> str:
        """The folder, or else the archive."""
        return f"{self.folder}/ or {self.filename}"


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


def ensure_files(files: Sequence[File], root: Path | None, *, fetch: Fetch | None = None) -> Path:
    """The data folder, each of the files present in it and with the published checksum.

    Args:
        files: what is wanted, of one data set.
        root: the data folder; None when nobody named one.
        fetch: gets a file that is not there or damaged; None forbids it.

    Raises:
        DataAbsent: a file is not there, or cannot be fetched.
        DataBroken: a file is not what was published.
    """
    if root is None:
        raise DataAbsent(f"{files[0].dataset}: no data folder is named; {files[0].way_out}")
    root = root.expanduser()
    for file in files:
        path = root / file.filename
        if fetch is not None and not (path.is_file() and md5(path) == file.md5):
            with _writing(file, root):
                _fetch(file, root, fetch=fetch)
        if not path.is_file():
            raise DataAbsent(f"{file.dataset}: {path} does not exist; {file.way_out}")
        check_md5(path, file.md5, dataset=file.dataset, remedy="delete it and run again with --download")
    return root


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
    with _writing(archive, root):
        if not (root / archive.folder).is_dir():
            _fetch(archive, root, fetch=fetch)
            unpack(root / archive.filename, root / archive.folder, dataset=archive.dataset)


@contextmanager
def _writing(file: File, root: Path) -> Iterator[None]:
    """Hold the lock of a file in the data folder, which is made; what the disk refuses becomes one line."""
    packed = root / file.filename
    try:
        packed.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(packed.with_name(f".{packed.name}.lock")):
            yield
    except OSError as error:
        raise DataAbsent(
            f"{file.dataset}: cannot write into {root} ({error.strerror or error}); make it writable and large "
            f"enough, or name a folder that holds {file.holds} with --data DIR"
        ) from error


def _fetch(file: File, root: Path, *, fetch: Fetch | None) -> None:
    """Leave a correct file in `root`; a download gets its name only when it is whole and checked."""
    packed = root / file.filename
    part = packed.with_name(f"{packed.name}.part")
    if fetch is None or (packed.is_file() and md5(packed) == file.md5):
        return check_md5(packed, file.md5, dataset=file.dataset, remedy="delete it and run again with --download")
    try:
        fetch(file.url, str(part.parent), part.name, file.md5)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it holds the connection open
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataAbsent(
            f"{file.dataset}: {file.url} could not be fetched ({reason}); "
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
