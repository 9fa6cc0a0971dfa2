"""Files written whole: a reader sees the old one or the new one, never a part, even after a kill or a power cut."""

import contextlib
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

LEFTOVERS = (".*.part", ".tmp*")  # of `write_atomically`, and of safetensors, which writes beside its file, too


def write_whole(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old one or the new one, never a part, even after a power cut."""
    with write_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Give a temporary file to fill, flush it to the disk and rename it to `path`; on an error nothing is left.

    Raises:
        OSError: with the name of `path`, if the disk is full or refuses otherwise, whatever the library that
            fills the file makes of it.
    """
    before = sys.exception()  # what the caller is handling already has nothing to do with this file
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # mkstemp's 0600 would hide shared records from their readers
        temporary.replace(path)
        _flush_folder(path.parent)
    except Exception as error:
        refused = _refusal(error, before)
        if refused is None or refused.filename not in (None, name):
            raise
        raise OSError(refused.errno, refused.strerror or str(refused), str(path)) from None
    finally:
        temporary.unlink(missing_ok=True)


def _refusal(error: BaseException | None, before: BaseException | None) -> OSError | None:
    """What the operating system said where an error comes from it.

    torch raises a RuntimeError over the OSError of the file that it was given; safetensors, which is no Python,
    writes it into its message, as Rust does: "I/O error: No space left on device (os error 28)".
    """
    while error is not None and error is not before:
        if isinstance(error, OSError):
            return error
        rust = re.search(r"I/O error: (.+) \(os error (\d+)\)", str(error))
        if rust:
            return OSError(int(rust[2]), rust[1])
        error = error.__context__
    return None


def _flush_folder(folder: Path) -> None:
    """Have a rename survive a power cut, where the system can do that."""
    with contextlib.suppress(OSError):  # Windows opens no folder, and some network file systems flush none
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def clear_leftovers(folder: Path, *, older: float = 0.0) -> None:
    """Remove what killed writers left in a folder and below it.

    Args:
        older: only what was last written to so many seconds ago. With 0 for nobody but who holds the folder's lock,
            as nobody else writes there then.
    """
    for path in [path for pattern in LEFTOVERS for path in folder.rglob(pattern)]:
        with contextlib.suppress(OSError):  # it is in nobody's way
            if time.time() - path.stat().st_mtime >= older:
                path.unlink()


def set_aside(path: Path) -> Path:
    """Rename a file that cannot be trusted, beside itself; returns its new path."""
    return path.rename(path.with_name(f"{path.name}.set-aside-{time.time_ns()}"))
