"""Decoded photographs on disk: made once, block by block, and mapped into memory from then on. Without torch.

A half of a data set is a folder with `pixels`, (N, 3, S, S) uint8 and nothing else, and `index.json`, which holds two
sums for each block of pictures: of what it was made from (names, lengths, labels) and of the pixels. A block counts
when the index names it, and the index names it when its pixels are on the disk, so whatever is killed goes on from its
last block. Reading takes no lock and writes nothing.
"""

import errno
import hashlib
import json
import mmap
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from PIL import __version__ as pillow
from tqdm import tqdm

from vitbench import decode
from vitbench.atomic import write_whole
from vitbench.errors import DataAbsent, DataBroken
from vitbench.folders import line_of

IN_MEMORY = 2 << 30  # bytes; what is smaller is read, what is larger stays on disk
BLOCK = 64 << 20  # bytes; about what a kill costs
BLOCK_PICTURES = 512  # and no more pictures than that
THREADS = 32  # at most; Pillow decodes and resizes outside of Python's lock
NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)  # Python names it from 3.13 on; Linux's value on x86 and Arm
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Half:
    """Pictures that are wanted as pixels.

    Attributes:
        dataset: name for messages.
        base: folder that the names are relative to.
        files: name and label of each picture.
        size: S, what the shorter side is resized to and the centre is cut to, in pixels.
        folder: where the decoded pictures are, or are to be.
    """

    dataset: str
    base: Path
    files: Sequence[tuple[str, int]]
    size: int
    folder: Path

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, 3, S, S)."""
        return (len(self.files), 3, self.size, self.size)

    @property
    def picture(self) -> int:
        """Bytes of a decoded picture."""
        return 3 * self.size**2

    @property
    def block(self) -> int:
        """Pictures of a block."""
        return min(max(BLOCK // self.picture, 1), BLOCK_PICTURES)

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return -(-len(self.files) // self.block)

    def at(self, number: int) -> range:
        """Places of the pictures of a block."""
        return range(number * self.block, min((number + 1) * self.block, len(self.files)))


def pixels(half: Half) -> Pixels:
    """The decoded pictures (N, 3, S, S): in memory, or where that is too much a private map of the file.

    What is written to a private map stays with the process and never reaches the file.

    Raises:
        DataBroken: if a picture is absent or cannot be decoded, or the decoded ones are damaged.
        DataAbsent: if they are not made yet and cannot be written.
    """
    sources = _sources(half)
    if not _is_made(half, sources):
        _make(half, sources)
    size = int(np.prod(half.shape))
    try:
        with (half.folder / "pixels").open("rb") as file:
            if (found := os.fstat(file.fileno()).st_size) != size:
                raise _damaged(half, f"holds {found} bytes, expected {size}")
            if size < IN_MEMORY:
                return _read(half, file)
            _check_once(half, file)
            return _map(half, file, size)
    except OSError as error:
        raise _damaged(half, f"cannot be read ({error.strerror or error})") from error


def is_made(half: Half) -> bool:
    """Whether the decoded pictures are there, of the pictures as they are now.

    Raises:
        DataBroken: if a picture is absent, or the index cannot be read.
    """
    return _is_made(half, _sources(half))


def _is_made(half: Half, sources: Sequence[str]) -> bool:
    return [block[0] for block in _index(half)] == list(sources) and (half.folder / "pixels").exists()


def _sources(half: Half) -> list[str]:
    """A sha256 for each block, over names, lengths and labels of its pictures, and over how they are decoded."""
    sums = []
    for start in range(0, len(half.files), half.block):
        sha256 = hashlib.sha256(f"{decode.VERSION} {half.size} {half.block}\n".encode())
        for name, label in half.files[start : start + half.block]:
            try:
                sha256.update(line_of(half.base, name, label))
            except OSError as error:
                path = half.base / name
                absent = isinstance(error, FileNotFoundError | NotADirectoryError)
                reason = "is missing" if absent else f"cannot be read ({error.strerror})"
                raise DataBroken(f"{half.dataset}: {path} {reason}; put it back, or get the data set again") from error
        sums.append(sha256.hexdigest())
    return sums


def _index(half: Half) -> list[tuple[str, str]]:
    """Sums of sources and pixels of the blocks that are on disk; none without an index of that many pictures."""
    path = half.folder / "index.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        blocks = [(str(source), str(made)) for source, made in content["blocks"]]
        return blocks if content["pictures"] == len(half.files) else []
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise _damaged(half, f"cannot be read ({error.strerror or error})", path) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:  # the last of brackets in brackets in brackets
        raise _damaged(half, "is no index of decoded pictures", path) from error


def _damaged(half: Half, reason: str, path: Path | None = None) -> DataBroken:
    return DataBroken(
        f"{half.dataset}: {path or half.folder / 'pixels'} {reason}; delete {half.folder}, it is made again"
    )


def _read(half: Half, file: BufferedReader) -> Pixels:
    """All of it, checked."""
    found: Pixels = np.empty(half.shape, dtype=np.uint8)
    _check(half, file, lambda at: found[at.start : at.stop])
    return found


def _check(half: Half, file: BufferedReader, place: Callable[[range], Pixels]) -> None:
    """Read the file block by block into what `place` gives for it, and hold each against its sum."""
    index = _index(half)
    if len(index) != half.blocks:
        raise _damaged(half, f"has {len(index)} blocks in its index, expected {half.blocks}")
    for number, (_, expected) in enumerate(index):
        at = half.at(number)
        part = place(at)
        if file.readinto(part.data) != part.nbytes or _sum(part) != expected:
            raise _damaged(half, f"is not what was written there (pictures {at.start} to {at.stop - 1})")


def _check_once(half: Half, file: BufferedReader) -> None:
    """The same for a file that stays on disk: again only when its time has changed."""
    note, state = half.folder / "checked", str(os.fstat(file.fileno()).st_mtime_ns)
    if note.exists() and note.read_text(encoding="utf-8") == state:
        return
    _check(half, file, lambda at: np.empty((len(at), *half.shape[1:]), dtype=np.uint8))
    with suppress(OSError):  # in a folder that only others may write, it is checked every time
        write_whole(note, state)


def _map(half: Half, file: BufferedReader, size: int) -> Pixels:
    """A view of the file that takes memory only for what is looked at.

    Linux refuses a private map that is larger than the memory, unless no room is to be kept for writing to all of it.
    """
    if sys.platform == "win32":
        view = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY)
    else:
        flags = mmap.MAP_PRIVATE | (NO_RESERVE if sys.platform == "linux" else 0)
        view = mmap.mmap(file.fileno(), size, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    return np.frombuffer(view, dtype=np.uint8).reshape(half.shape)


def _sum(part: Pixels) -> str:
    return hashlib.sha256(part.data).hexdigest()


def _make(half: Half, sources: Sequence[str]) -> None:
    """Decode what is not decoded yet, one process at a time; those that waited find it there."""
    try:
        half.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(half.folder / "lock"):
            if _is_made(half, sources):
                return
            done = _reusable(half, sources)
            free = shutil.disk_usage(half.folder).free
            if free < (len(half.files) - len(done) * half.block) * half.picture:
                raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}, {free / 1e9:.1f} GB are free")
            with (half.folder / "pixels").open("r+b" if done else "wb") as file:
                file.truncate(len(done) * half.block * half.picture)
                file.seek(0, os.SEEK_END)
                _write(half, sources, done, file)
    except OSError as error:
        raise DataAbsent(
            f"{half.dataset}: cannot write decoded pictures into {half.folder} ({error.strerror or error}); they take "
            f"{np.prod(half.shape) / 1e9:.3g} GB there: make room, or where the place is read-only name a folder of "
            f"your own with links to what is in {half.base}"
        ) from error


def _reusable(half: Half, sources: Sequence[str]) -> list[tuple[str, str]]:
    """Leading blocks that an interrupted making of as many pictures left, as the index says and as the pixels are.

    Any other file may be a finished one that somebody has mapped: the name is taken from it, its bytes are not touched.
    """
    path, good = half.folder / "pixels", []
    index = _index(half)
    if len(index) < len(sources) and path.exists():
        with path.open("rb") as file:
            for number, (block, source) in enumerate(zip(index, sources, strict=False)):
                part = np.empty((len(half.at(number)), *half.shape[1:]), dtype=np.uint8)
                if block[0] != source or file.readinto(part.data) != part.nbytes or _sum(part) != block[1]:
                    break
                good.append(block)
    _write_index(half, good)
    if not good:
        path.unlink(missing_ok=True)
    return good


def _write_index(half: Half, blocks: Sequence[tuple[str, str]]) -> None:
    content = {"size": half.size, "pictures": len(half.files), "pillow": pillow, "blocks": blocks}
    write_whole(half.folder / "index.json", json.dumps(content))


def _write(half: Half, sources: Sequence[str], done: list[tuple[str, str]], file: IO[bytes]) -> None:
    """Decode block after block: while one is written, the next is being decoded."""
    bar = tqdm(
        total=len(half.files),
        initial=len(done) * half.block,
        desc=f"decoding {half.folder.name}",
        unit="picture",
        disable=None,
    )
    pool = ThreadPoolExecutor(threads(), thread_name_prefix="vitbench-decode")
    with bar, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")  # its remarks on EXIF and the like
        try:
            following = _begin(half, len(done), pool)
            for number in range(len(done), len(sources)):
                (part, waiting), following = following, _begin(half, number + 1, pool)
                for one in waiting:
                    one.result()
                    bar.update()
                file.write(part.data)
                file.flush()
                os.fsync(file.fileno())
                done.append((sources[number], _sum(part)))
                _write_index(half, done)
        finally:
            pool.shutdown(cancel_futures=True)


def threads() -> int:
    """How many pictures are decoded at a time: one per processor that this process may use."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(processors, THREADS)


def _begin(half: Half, number: int, pool: ThreadPoolExecutor) -> tuple[Pixels, list[Future[Any]]]:
    """Have a block decoded; what comes back fills up while the futures are waited for."""
    at = half.at(number)
    part = np.empty((len(at), *half.shape[1:]), dtype=np.uint8)
    return part, [pool.submit(_decode, half, place, part[place - at.start]) for place in at]


def _decode(half: Half, place: int, out: Pixels) -> None:
    path = half.base / half.files[place][0]
    try:
        out[...] = decode.square(path, half.size)
    except Exception as error:  # Pillow's readers raise what comes: OSError, SyntaxError, ValueError, struct.error …
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataBroken(f"{half.dataset}: {path} cannot be decoded ({reason}); put an undamaged copy there") from error
