"""What a gate compares beside measurements: times of a training step, and what each term added to the first loss.

A record keeps them in its details; beside the baselines they stand in `recorded/<machine>/samples/<paper>.csv`, a line
for each run and name: the run's key, as in the baseline file, the name, and its numbers in their order.
"""

import csv
import io
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from vitbench.atomic import write_whole
from vitbench.errors import UserError
from vitbench.records import Record

Run = tuple[str, str]  # the machine that a person named, and the first 12 digits of the key
Samples = Mapping[str, tuple[float, ...]]  # by name

FOLDER = "samples"
HEADER = "key,name,values"
BLOCKS = 4  # of a timing, over which a machine drifts; each is held against the plain steps of the same block
MULTIPLES = "multiples"  # name of the times of a step, over the plain step of the same run


def of_record(record: Record) -> dict[str, tuple[float, ...]]:
    """Of a timing, the multiples; of a training, by the name of a term what it added to the loss in the first epoch.

    Raises:
        ValueError: saying in one line what is wrong with them.
    """
    if record.kind == "training":
        found = record.details.get(MULTIPLES)
        return {MULTIPLES: _checked(found, least=0.0)} if found else {}
    if record.kind not in ("run", "pretraining"):
        return {}
    curves = record.details.get("curves") or [{}]
    weighted = curves[0].get("weighted", {})
    if not isinstance(weighted, Mapping):
        raise ValueError(f"expected what each term added to the loss, got {weighted!r:.40}")
    return {str(name): _checked([value]) for name, value in sorted(weighted.items())}


def _checked(values: object, *, least: float = -math.inf) -> tuple[float, ...]:
    if not isinstance(values, list | tuple):
        raise ValueError(f"expected numbers, got {values!r:.40}")
    try:
        found = tuple(map(float, values))
    except (TypeError, ValueError, OverflowError):  # of an integer that no float holds
        raise ValueError(f"expected numbers, got {values!r:.40}") from None
    if not found or not all(least < one < math.inf for one in found):
        raise ValueError("a number is not finite, or a time is none")
    return found


def blocks(times: tuple[float, ...]) -> list[list[float]]:
    """The same in `BLOCKS` blocks of one length, as far as they fill them."""
    length = len(times) // BLOCKS
    return [list(times[start * length : (start + 1) * length]) for start in range(BLOCKS)]


def load_all(folder: Path) -> tuple[dict[Run, dict[str, tuple[float, ...]]], list[str]]:
    """The samples that are kept, and one line for each file or line that cannot be used.

    Args:
        folder: of the baselines, `recorded`.
    """
    found: dict[Run, dict[str, tuple[float, ...]]] = {}
    problems: list[str] = []
    for path in sorted(folder.glob(f"*/{FOLDER}/*.csv")):
        own, wrong = _read(path)
        found |= {(path.parent.parent.name, key): samples for key, samples in own.items()}
        problems += wrong
    return found, problems


def _read(path: Path) -> tuple[dict[str, dict[str, tuple[float, ...]]], list[str]]:
    try:
        header, *lines = path.read_text(encoding="utf-8-sig").splitlines() or [HEADER]
    except (OSError, UnicodeDecodeError) as error:
        return {}, [f"{path}: left out, it cannot be read ({error})"]
    if header != HEADER:
        return {}, [f"{path}:1: left out, expected the columns {HEADER}"]
    found: dict[str, dict[str, tuple[float, ...]]] = {}
    problems = []
    for number, line in enumerate(lines, start=2):
        try:
            cells = next(csv.reader([line]), [])
            if len(cells) != 3:
                raise ValueError(f"expected 3 values, got {len(cells)}")
            key, name, text = cells
            values = _checked(text.split(), least=0.0 if name == MULTIPLES else -math.inf)
            if name in found.get(key, {}):
                raise ValueError(f"it stands twice, as a line above is of {name} of {key}, too")
            found.setdefault(key, {})[name] = values
        except (ValueError, csv.Error) as error:
            problems.append(f"{path}:{number}: left out, {error}")
    return found, problems


def save(folder: Path, machine: str, paper: str, new: Mapping[str, Samples], *, of: Iterable[str]) -> Path | None:
    """Keep samples beside the baselines of a machine and paper; returns their file, if there is something in it.

    Args:
        folder: of the baselines, `recorded`.
        new: by the first 12 digits of their keys.
        of: keys that the baselines name; samples of others are of runs that were replaced, and go.

    Raises:
        UserError: if the existing file has a line that cannot be read, which saving would lose.
    """
    path = folder / machine / FOLDER / f"{paper}.csv"
    old, problems = _read(path) if path.exists() else ({}, [])
    if problems:
        raise UserError(f"{problems[0]}; mend the file, then record again")
    known = set(of)
    kept = {key: samples for key, samples in sorted({**old, **new}.items()) if key in known and samples}
    if kept or old:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(HEADER.split(","))
        for key, samples in kept.items():
            writer.writerows(
                [key, name, " ".join(f"{one:.6g}" for one in values)] for name, values in sorted(samples.items())
            )
        write_whole(path, text.getvalue())
    return path if kept else None
