"""Records: one JSON file per run, written whole, read with suspicion, never deleted.

A runs directory holds one folder per run, named after its identity: `record.json` once it is finished,
beside it the checkpoint while it is under way and the weights when it is done. See `docs/faults.md`.
"""

import contextlib
import hashlib
import json
import re
import reprlib
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from types import UnionType
from typing import Any

from vitbench.atomic import clear_leftovers, set_aside, write_whole
from vitbench.errors import Busy
from vitbench.identity import Identity, digest
from vitbench.metrics import METRICS

SCHEMA = 1
KINDS = ("run", "pretraining", "size", "inference", "training")
# In a file's provenance, where versions that know of none pass it over: of the other lines of the file, and what older
# versions wrote, of its content on one line.
CHECKSUM, OLDER = "sha256", "checksum"
_KEY = re.compile(r"_([0-9a-f]{12})$")  # at the end of a run's folder
_CHECKSUM_LINE = re.compile(rf'\n  "{CHECKSUM}": "([0-9a-f]{{64}})",')


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a run left.

    Attributes:
        identity: content of the run's identity.
        measurements: per metric, its value in the metric's unit.
        invalid: per metric that failed its own checks, the reason.
        details: curves, per-image correctness bits, further numbers that reports show.
        provenance: versions, machine, precision, engine, commit, command, date, seconds.
    """

    kind: str
    key: str
    identity: Mapping[str, Any]
    measurements: Mapping[str, float]
    provenance: Mapping[str, Any]
    invalid: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        for name, value in self.measurements.items():
            if name not in METRICS:
                raise ValueError(f"unknown metric {name!r}")
            if not _is_number(value):
                raise ValueError(f"{name} is {reprlib.repr(value)}, which is no number")
            if not METRICS[name].holds(value):
                raise ValueError(f"{name} is {value!r}, outside [{METRICS[name].low:g}, {METRICS[name].high:g}]")
        if digest(self.identity) != self.key:
            raise ValueError("its key is not the digest of its identity")


class Store:
    """A runs directory.

    Args:
        root: made when the first thing is written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.problems: list[str] = []

    @cached_property
    def runs(self) -> Path:
        """Where the folders of runs are."""
        return self.root / "runs"

    def folder(self, identity: Identity) -> Path:
        """Where a run keeps its files."""
        return self.runs / identity.name

    def read(self, identity: Identity) -> Record | None:
        """The record of a finished run, or None; a file that cannot be trusted is set aside and named.

        Raises:
            OSError: if the machine does not let it be read; it may be a good one.
        """
        return self._read(self.folder(identity) / "record.json", identity.key)

    def _read(self, path: Path, key: str) -> Record | None:
        try:
            text = path.read_bytes().decode()
        except FileNotFoundError:
            return None
        except (IsADirectoryError, UnicodeDecodeError) as error:
            self.set_aside(path, f"it cannot be read ({error})")
            return None
        try:
            record = parse(text)
        except ValueError as error:
            self.set_aside(path, str(error))
            return None
        if record.key != key:
            self.set_aside(path, "it belongs to another run")
            return None
        return record

    def set_aside(self, path: Path, reason: str, *, then: str = "the run is done again") -> None:
        """Rename a file that cannot be trusted, and say so in `problems`."""
        try:
            done = f"set aside as {set_aside(path).name}"
        except OSError as error:
            done = f"it could not be set aside ({error.strerror})"
        self.problems.append(f"{path}: {reason}; {done}, {then}")

    def machines(self) -> list[dict[str, str]]:
        """Whatever machines something was timed on, as `vitbench.machine.timing_key` names them."""
        found: dict[str, dict[str, str]] = {}
        for kind in ("inference", "training"):
            for path in sorted(self.root.glob(f"runs/{kind}_*/record.json")):
                with contextlib.suppress(OSError, ValueError):  # whoever reads it by its identity will say so
                    key = parse(path.read_text(encoding="utf-8")).identity["machine"]
                    found[json.dumps(key, sort_keys=True)] = key
        return list(found.values())

    def is_begun(self, identity: Identity) -> bool:
        """Whether an unfinished run has a checkpoint to go on from."""
        return any(self.folder(identity).glob("checkpoint*.pt"))

    def write(self, identity: Identity, record: Record) -> Path:
        """Write the record of a finished run, whole or not at all."""
        path = self.folder(identity) / "record.json"
        write_whole(path, text_of(record))
        return path

    def note_misplaced(self) -> None:
        """Name in `problems` the records that no run is read from: copies, and folders that were renamed."""
        found = (f"{path}: left out, {reason}" for path, reason in misplaced(self.runs).items())
        self.problems += [line for line in found if line not in self.problems]

    @contextlib.contextmanager
    def lock(self, identity: Identity, *, wait: bool = True) -> Iterator[None]:
        """Hold a run for this process, and clear away what a killed one was writing there.

        Args:
            wait: for another process that holds it, after which the run is found finished.

        Raises:
            Busy: if another process holds it and `wait` is False.
        """
        from filelock import FileLock, Timeout  # which reports, that only read, need not wait for

        folder = self.folder(identity)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock = FileLock(folder / "lock", timeout=-1 if wait else 0).acquire()
        except Timeout:
            raise Busy(f"{folder}: another process does this run; wait for it, or name another --runs") from None
        with lock:
            clear_leftovers(folder)
            yield


def misplaced(folder: Path) -> dict[Path, str]:
    """Records that no run is read from, each with the reason; told by their names alone.

    Args:
        folder: that of the runs' folders.
    """
    found: dict[Path, str] = {}
    of_key: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.glob("*/record*.json"), key=str):
        key = _KEY.search(path.parent.name)
        if path.name != "record.json":
            found[path] = "another record of a run that has one"
        elif key is None:
            found[path] = "its folder has no run's name; it was copied or renamed"
        else:
            of_key[key[1]].append(path)
    for paths in of_key.values():
        own, *copies = sorted(paths, key=lambda path: (not path.parent.name.startswith(KINDS), len(path.parent.name)))
        found |= dict.fromkeys(copies, f"it is a copy: {own.parent.name} is the folder of the same run")
    return found


def text_of(record: Record) -> str:
    """A record as JSON, with the checksum that tells later whether somebody changed it.

    Raises:
        ValueError: for what JSON cannot say, such as NaN.
    """
    content = json.loads(json.dumps(asdict(record), allow_nan=False))
    content["provenance"][CHECKSUM] = _checksum(_written(content))
    return _written(content)


def parse(text: str) -> Record:
    """Read a record from its JSON.

    Raises:
        ValueError: saying in one line what is wrong with it.
    """
    # What is as it was written has no name twice and no NaN; looking for these takes most of the time.
    is_untouched = _is_untouched(text)
    content = _loaded(text, is_untouched=is_untouched)
    try:
        said, older = (content["provenance"].pop(name, None) for name in (CHECKSUM, OLDER))
        record = Record(**content)
        _check(record)
        _refuse_halves(text, content)
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"it is damaged: {error}") from None
    except KeyError as error:
        raise ValueError(f"it is damaged: it says nothing of {error}") from None
    if is_untouched:
        is_changed = said is None  # for it stands somewhere else
    elif said is not None:
        is_changed = said != _checksum(_written(content))
    else:
        is_changed = older not in (None, digest(content))
    if is_changed:
        raise ValueError("it was changed after it was written: its checksum is that of another content")
    return record


def _loaded(text: str, *, is_untouched: bool) -> dict[str, Any]:
    """What stands in a file, of the schema that is read here."""
    checks: dict[str, Any] = {} if is_untouched else {"parse_constant": _refuse, "object_pairs_hook": _unique}
    try:
        content = json.loads(text, **checks)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            raise ValueError(f"it goes on after its end (line {error.lineno}): two records in one file?") from None
        raise ValueError(f"it is torn or no JSON (line {error.lineno})") from None
    except RecursionError:
        raise ValueError("it is no record, but brackets in brackets") from None
    if not isinstance(content, dict) or "schema" not in content:
        raise ValueError("it is not a vitbench record")
    if type(content["schema"]) is not int or content["schema"] != SCHEMA:
        raise ValueError(f"its schema is {content['schema']!r}, this version reads {SCHEMA}")
    return content


def _is_untouched(text: str) -> bool:
    """Whether a text is to the letter what `text_of` wrote, by the checksum in it, which is that of the other lines."""
    found = _CHECKSUM_LINE.search(text)
    return found is not None and _checksum(text[: found.start()] + text[found.end() :]) == found[1]


def _written(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, sort_keys=True)


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _refuse_halves(text: str, content: Mapping[str, Any]) -> None:
    """ValueError for half a character, which JSON can write as an escape and no page can hold."""
    if "\\ud" in text or "\\uD" in text:
        json.dumps(content, ensure_ascii=False).encode()


def _refuse(constant: str) -> float:
    raise ValueError(f"it is no JSON: {constant} is no number")


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, of whose names none may stand twice: readers would differ in which value counts."""
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it is no record: {reprlib.repr(twice)} stands twice in one object")
    return content


def _check(record: Record) -> None:
    """Refuse a record without what every reader of records relies on."""
    if record.kind != record.identity["kind"]:
        raise ValueError(f"it calls itself {record.kind!r} and its identity {record.identity['kind']!r}")
    _expect("classes", record.identity["classes"], int, least=1)
    for name in ("date", "device", "precision", "engine", "commit"):
        _expect(name, record.provenance[name], str)
    _expect("seconds", record.provenance["seconds"], int | float, least=0)
    _expect("versions", record.provenance["versions"]["torch"], str)
    _expect("invalid", record.invalid, dict)
    for reason in record.invalid.values():
        _expect("the reason of an invalid value", reason, str)
    _expect("details", record.details, dict)
    if record.kind in ("run", "pretraining"):
        _check_details(record.details)


def _check_details(details: Mapping[str, Any]) -> None:
    """Refuse what no training leaves."""
    _expect("test_images", details["test_images"], int, least=1)
    _expect("correct", details.get("correct", {}), dict)
    curves = details.get("curves", [])
    _expect("curves", curves, list)
    for curve in (one for one in curves if not isinstance(one, dict)):
        _expect("a curve", curve, dict)


def _expect(name: str, value: Any, kind: type | UnionType, *, least: float | None = None) -> None:
    wrong = not isinstance(value, kind) or isinstance(value, bool)
    if wrong or (least is not None and not (_is_number(value) and value >= least)):
        raise ValueError(f"{name} is {reprlib.repr(value)}")


def _is_number(value: object) -> bool:
    """Whether it is a finite number that a float can hold; True is no 1 here."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
