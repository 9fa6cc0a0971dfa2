"""Merge: volumes of packs are taken into a runs directory; nothing in it is replaced, nothing comes twice.

All volumes of a cut file are to be given at once; whole files come in any order, at any time.
"""

import hashlib
import io
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from filelock import FileLock, Timeout

from vitbench import volumes
from vitbench.atomic import write_atomically
from vitbench.errors import UserError
from vitbench.parts import KINDS, File, Part, Volume, name_of
from vitbench.records import Store

OUTCOMES = ("new", "already there", "kept beside", "left out", "incomplete")
BUSY_SECONDS = 2.0  # another merge holds a run for less, a training for longer

Pieces = list[tuple[Volume, Part]]


class Merge:
    """A merge into one runs directory.

    Args:
        runs: the runs directory, made when it is not there.

    Attributes:
        counts: files by outcome, one of `OUTCOMES`.
        notes: a line for each file that was not simply taken, and for each volume that was not given.
        problems: a line for each file that is not what it should be, and for each that could not be taken.
    """

    def __init__(self, runs: Path) -> None:
        self.store = Store(runs)
        self.counts: Counter[str] = Counter()
        self.notes = self.store.problems  # what is set aside is said in between
        self.problems: list[str] = []

    def take(self, paths: Iterable[Path]) -> None:
        """Take in volumes, or folders of volumes; a problem with one is named and stops no other.

        Raises:
            OSError: the runs directory cannot be written; what was taken by then is whole.
        """
        pieces: defaultdict[tuple[str, File], Pieces] = defaultdict(list)
        for volume in self._read(paths):
            for part in volume.parts:
                pieces[volume.pack, part.file].append((volume, part))
        # Checkpoints come last: a run may be finished in another pack.
        for pack, file in sorted(pieces, key=lambda one: (KINDS.index(one[1].kind), one[1].name, one[0])):
            self._take(file, sorted(pieces[pack, file], key=lambda piece: piece[1].offset))

    def _read(self, paths: Iterable[Path]) -> list[Volume]:
        """Those that can be believed, each once."""
        found: dict[tuple[str, int], Volume] = {}
        for path in paths:
            if path.exists() and not (path.is_dir() or path.is_file()):
                self.problems.append(f"{path}: neither a file nor a folder; name what `vitbench pack` wrote")
                continue
            inside = sorted(path.glob("*.zip")) if path.is_dir() else [path]
            if not inside:
                self.problems.append(f"{path} holds no volume (*.zip); name the folder that `vitbench pack` wrote")
            for one in inside:
                try:
                    volume = volumes.read(one)
                    found.setdefault((volume.pack, volume.number), volume)
                except UserError as error:
                    self.problems.append(str(error))
        for pack, of in sorted({(volume.pack, volume.of) for volume in found.values()}):
            absent = [name_of(pack, n, of) for n in range(1, of + 1) if (pack, n) not in found]
            if absent:
                self.notes.append(f"not given: {_few(absent)}")
        return list(found.values())

    def _take(self, file: File, pieces: Pieces) -> None:
        folder = self.store.root / "runs" / file.folder
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(folder / "lock", timeout=BUSY_SECONDS):
                path, outcome = getattr(self, f"_place_{file.kind}")(folder, file)
                if path is not None:
                    _restore(path, file, pieces)
                if outcome == "kept beside":
                    self.notes.append(f"{path}: kept beside another {file.kind} of the same run, which stays")
        except Timeout:
            self.problems.append(f"{file.name}: the run is under way here; merge again when it is done")
            outcome = "left out"
        except UserError as error:
            self.problems.append(str(error))
            outcome = "incomplete"
        self.counts[outcome] += 1

    def _place_record(self, folder: Path, file: File) -> tuple[Path | None, str]:
        """Where a record goes, if anywhere, and what becomes of it."""
        main, beside = folder / "record.json", folder / f"record.{file.sha256[:12]}.json"
        if file.sha256 in (_sha256(main), _sha256(beside)):
            return None, "already there"
        if main.exists():
            try:
                volumes.check_record(main.read_bytes(), folder.name)
            except ValueError as error:
                self.store.set_aside(main, str(error), then="the packed one takes its place")
        if not main.exists():
            return main, "new"
        return beside, "kept beside"

    def _place_weights(self, folder: Path, file: File) -> tuple[Path | None, str]:
        """Weights go with their record."""
        tag = f".{file.record[:12]}"
        if _sha256(folder / "record.json") == file.record:
            path, outcome = folder / "weights.safetensors", "new"
        elif _sha256(folder / f"record{tag}.json") == file.record:
            path, outcome = folder / f"weights{tag}.safetensors", "kept beside"
        else:
            raise UserError(f"{file.name}: the record that it belongs to is not here; merge all volumes at once")
        return self._unless_there(path, file, outcome)

    def _place_picture(self, folder: Path, file: File) -> tuple[Path | None, str]:
        """Pictures go with their record, or with the checkpoint of a run without one."""
        here = _sha256(folder / "record.json")
        if here and here != file.record:
            self.notes.append(f"{file.name}: left out, it belongs to another record than the one that stays here")
            return None, "left out"
        return self._unless_there(folder / "pictures" / file.name.rpartition("/")[2], file, "new")

    def _place_checkpoint(self, folder: Path, file: File) -> tuple[Path | None, str]:
        """A checkpoint is for a run without a record here; beside another one, whichever is further is gone on with."""
        if (folder / "record.json").exists():
            self.notes.append(f"{file.name}: left out, the run is finished here")
            return None, "left out"
        if _sha256(folder / "checkpoint.pt") in ("", file.sha256):
            return self._unless_there(folder / "checkpoint.pt", file, "new")
        return self._unless_there(folder / f"checkpoint.{file.sha256[:12]}.pt", file, "kept beside")

    def _unless_there(self, path: Path, file: File, outcome: str) -> tuple[Path | None, str]:
        here = _sha256(path)
        if here and here != file.sha256:
            self.notes.append(f"{path} stays; another {path.name} of the same run was left out")
            return None, "left out"
        return (None, "already there") if here else (path, outcome)


def _restore(path: Path, file: File, pieces: Pieces) -> None:
    """Write a file whole, or nothing of it.

    Raises:
        UserError: parts are missing, or the content is not what the manifest says.
    """
    volume, part = pieces[0]
    _check_complete(file, pieces)
    if file.kind != "record":
        with write_atomically(path) as temporary, temporary.open("wb") as out:
            volumes.restore(pieces, out)
        return
    content = io.BytesIO()
    volumes.restore(pieces, content)
    try:
        volumes.check_record(content.getvalue(), file.folder)
    except ValueError as error:
        raise UserError(f"{volume.path}: {part.file.name}: {error}; left out, pack it again") from None
    with write_atomically(path) as temporary:
        temporary.write_bytes(content.getvalue())


def _check_complete(file: File, pieces: Pieces) -> None:
    end = 0
    for _, part in pieces:
        if part.offset == end:
            end += part.length
    if end == file.size:
        return
    volume, part = pieces[0]
    given = {one.number for one, _ in pieces}
    absent = [name_of(volume.pack, n, volume.of) for n in range(part.first, part.last + 1) if n not in given]
    needed = f"{_few(absent)} is missing" if absent else "its parts do not fit"
    raise UserError(f"{file.name}: incomplete, {needed}; give all of its volumes to one `vitbench merge`")


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _sha256(path: Path) -> str:
    """Of a file's content; empty when there is no file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return ""
