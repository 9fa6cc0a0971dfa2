"""Pack: records with their pictures, and on request weights and checkpoints of unfinished runs, leave as volumes of
bounded size.
"""

import contextlib
import hashlib
import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO

from vitbench import volumes
from vitbench.errors import UserError
from vitbench.parts import KINDS, LARGEST, LIMIT, MOST, SMALLEST, File, Part, Volume, cut


@dataclass
class Contents:
    """What is packed.

    Attributes:
        files: what leaves, each with its bytes.
        unfinished: names of runs whose checkpoint stays.
        problems: a line for each record that cannot be trusted.
    """

    files: dict[File, BinaryIO] = field(default_factory=dict)
    unfinished: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Packed:
    """What `pack` did: a line for each file written, and a line for each thing left out."""

    lines: list[str]
    notes: list[str]
    problems: list[str]


def pack(
    runs: Path, out: Path, *, checkpoints: bool = False, weights: bool = False, limit: int | float = LIMIT
) -> Packed:
    """Write the volumes of a runs directory; the same content gives the same files.

    Args:
        runs: the runs directory; runs may go on in it.
        out: folder of the volumes.
        checkpoints: those of unfinished runs too.
        weights: those of finished runs too.
        limit: bytes of a volume, everything included.

    Raises:
        UserError: there is nothing to pack, or the limit makes no sense.
    """
    if not SMALLEST <= limit <= LARGEST:
        raise UserError(f"--limit: expected {SMALLEST / 2**20:g} to {LARGEST / 2**20:g} MiB, got {limit / 2**20:g}")
    with contextlib.ExitStack() as opened:
        contents = _collect(runs, opened, checkpoints=checkpoints, weights=weights)
        if not contents.files:
            raise _nothing(runs, contents)
        lines = _write(out, contents.files, int(limit))
    notes = []
    if contents.unfinished:
        notes.append(f"left out: {_counted(len(contents.unfinished), 'unfinished run')}; --checkpoints packs them too")
    return Packed(lines, notes, contents.problems)


def _nothing(runs: Path, contents: Contents) -> UserError:
    if contents.unfinished:
        return UserError(f"{runs} holds unfinished runs only; add --checkpoints, or let them finish")
    reason = f" ({contents.problems[0]})" if contents.problems else ""
    return UserError(f"{runs} holds no record{reason}; run `pytest benchmarks --runs {runs}` first")


def _collect(runs: Path, opened: contextlib.ExitStack, *, checkpoints: bool, weights: bool) -> Contents:
    """Everything is opened before anything is written, because a run under way replaces its checkpoint."""
    contents = Contents()
    for folder in sorted((runs / "runs").glob("*/")):
        path = folder / "checkpoint.pt"  # before the record: a run may finish meanwhile
        is_begun, checkpoint = path.exists(), _open(path, opened) if checkpoints else None
        finished = None
        for path in sorted(folder.glob("record*.json")):
            record = _add_record(contents, path, opened, weights=weights)
            finished = record if path.name == "record.json" else finished
        is_finished = finished is not None
        if is_finished or checkpoint is not None:  # which goes on elsewhere, without the epochs that pictures are of
            _add_pictures(contents, folder, opened, record=finished.sha256 if finished else "")
        if checkpoint is not None and not is_finished:
            _add(contents, folder / "checkpoint.pt", checkpoint)
        elif is_begun and not is_finished and not checkpoints:
            contents.unfinished.append(folder.name)
    return contents


def _open(path: Path, opened: contextlib.ExitStack) -> BinaryIO | None:
    try:
        return opened.enter_context(path.open("rb"))
    except FileNotFoundError:
        return None


def _add_record(contents: Contents, path: Path, opened: contextlib.ExitStack, *, weights: bool) -> File | None:
    """Add a record, and its weights when they are wanted; None for one that cannot be trusted."""
    content = path.read_bytes()
    try:
        volumes.check_record(content, path.parent.name)
    except ValueError as error:
        contents.problems.append(f"{path}: {error}; left out")
        return None
    record = _add(contents, path, io.BytesIO(content))
    beside = path.with_name(path.name.replace("record", "weights").replace(".json", ".safetensors"))
    source = _open(beside, opened) if weights and record else None
    if record and source:
        _add(contents, beside, source, record=record.sha256)
    return record


def _add_pictures(contents: Contents, folder: Path, opened: contextlib.ExitStack, *, record: str) -> None:
    for path in sorted(folder.glob("pictures/*.safetensors")):
        if path.is_symlink() or not path.is_file():
            contents.problems.append(f"{path}: no file of its own; left out")
            continue
        source = _open(path, opened)
        if source:
            _add(contents, path, source, record=record, inside="pictures/")


def _add(contents: Contents, path: Path, source: BinaryIO, *, record: str = "", inside: str = "") -> File | None:
    digest = hashlib.file_digest(source, "sha256").hexdigest()  # type: ignore[arg-type] # a BytesIO is a file too
    folder = path.parent.parent if inside else path.parent
    name = f"runs/{folder.name}/{inside}{path.name}"
    try:
        file = File(name=name, size=source.seek(0, io.SEEK_END), sha256=digest, record=record)
    except ValueError as error:
        contents.problems.append(f"{path}: {error}; left out")
        return None
    contents.files[file] = source
    return file


def _write(out: Path, files: dict[File, BinaryIO], limit: int) -> list[str]:
    ordered = sorted(files, key=lambda one: (KINDS.index(one.kind), one.name))
    plan = cut(ordered, limit)
    if len(plan) > MOST:
        raise UserError(f"--limit: {limit / 2**20:g} MiB gives {len(plan)} files, {MOST} at most; name a larger one")
    listed = json.dumps([volumes.SCHEMA, limit, *map(asdict, ordered)])
    digest = hashlib.sha256(listed.encode()).hexdigest()[:12]
    contents = {file.name: source for file, source in files.items()}
    lines = []
    for number, parts in enumerate(plan, 1):
        volume = Volume(path=out, pack=digest, number=number, of=len(plan), parts=tuple(parts))
        path = out / volume.name
        try:
            volumes.write(path, volume, contents)
        except EOFError as error:
            raise UserError(
                f"{path}: a file of a run changed while it was packed ({error}); run `vitbench pack` again"
            ) from None
        lines.append(f"{path}: {path.stat().st_size / 2**20:.2f} MiB, {_told(parts)}")
    return lines


def _told(parts: Sequence[Part]) -> str:
    whole = Counter(part.file.kind for part in parts if part.is_whole)
    cut_over = Counter(part.file.kind for part in parts if not part.is_whole)
    told = [_counted(whole[kind], kind) for kind in KINDS if whole[kind]]
    return ", ".join(told + [f"{_counted(cut_over[kind], 'part')} of a {kind}" for kind in KINDS if cut_over[kind]])


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 or noun == 'weights' else 's'}"
