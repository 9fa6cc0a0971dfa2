"""What we recorded: `recorded/<machine>/<paper>.csv`, one measurement a line, in canonical order.

Sizes are the same on every machine and stand under `any`; everything else under the name that a person gave
the machine.
"""

import contextlib
import csv
import io
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from vitbench.atomic import clear_leftovers, write_whole
from vitbench.case import Case
from vitbench.errors import UserError
from vitbench.metrics import METRICS
from vitbench.records import Record

ANY = "any"


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One value of one metric: a line of a baseline file.

    Attributes:
        objective: without the arguments that only repeat the paper's defaults.
        seed: of the run; empty for what has none.
        key: of the run's identity, which names its record.
    """

    paper: str
    model: str
    objective: str
    dataset: str
    recipe: str
    budget: str
    metric: str
    seed: str
    value: float
    key: str
    machine: str
    device: str
    precision: str
    engine: str
    torch: str
    commit: str
    date: str

    @cached_property
    def cell(self) -> tuple[str, ...]:
        """What it is a measurement of, whoever made it."""
        return (self.paper, self.model, self.objective, self.dataset, self.recipe, self.budget, self.metric)


_COLUMNS = [field.name for field in fields(Measurement)]
HEADER = ",".join(_COLUMNS)


def cell_of(case: Case, budget: str, metric: str) -> tuple[str, ...]:
    """The cell that a case's measurements of a metric belong to."""
    return (case.paper, case.model.name, case.plain_notation, case.dataset, case.recipe.name, budget, metric)


def measurements(case: Case, record: Record, *, machine: str) -> list[Measurement]:
    """What a record says of a case.

    Args:
        machine: name of the machine, chosen by a person.
    """
    size, provenance = record.kind == "size", record.provenance
    paper, model, objective, dataset, recipe, budget, _ = cell_of(case, str(record.identity["budget"]), "")
    shared = {
        "paper": paper,
        "model": model,
        "objective": objective,
        "dataset": dataset,
        "recipe": "" if size else recipe,
        "budget": budget,
        "seed": "" if size else str(record.identity["seed"]),
        "key": record.key[:12],
        "machine": ANY if size else machine,
        "device": "" if size else str(provenance["device"]),
        "precision": "" if size else str(provenance["precision"]),
        "engine": "" if size else str(provenance["engine"]),
        "torch": str(provenance["versions"]["torch"]),
        "commit": str(provenance["commit"]),
        "date": str(provenance["date"])[:10],
    }
    return [Measurement(metric=metric, value=value, **shared) for metric, value in sorted(record.measurements.items())]


def load_all(folder: Path) -> tuple[list[Measurement], list[str]]:
    """Every recorded measurement, and one line for each file or line that cannot be used."""
    found: list[Measurement] = []
    problems: list[str] = []
    for path in sorted(folder.glob("*/*.csv")):
        more, wrong = load(path)
        found += more
        problems += wrong
    return found, problems


def load(path: Path, *, in_place: bool = True) -> tuple[list[Measurement], list[str]]:
    """The measurements of one file, and one line for each line that cannot be used.

    Args:
        in_place: whether it is where `save` puts it, and lines of another machine or paper are misplaced.
    """
    found: list[Measurement] = []
    try:
        # Spreadsheets write a byte order mark.
        header, *lines = path.read_text(encoding="utf-8-sig").splitlines() or [HEADER]
    except (OSError, UnicodeDecodeError) as error:
        return [], [f"{path}: left out, it cannot be read ({error})"]
    if header != HEADER:
        return [], [f"{path}:1: left out, expected the columns {HEADER}"]
    problems: list[str] = []
    first: dict[tuple[str, ...], int] = {}
    # Line by line: no value has a line break, and an open quote must not swallow the lines after it.
    for number, line in enumerate(lines, start=2):
        try:
            one = _read(line, path if in_place else None) if line else None
            before = number if one is None else first.setdefault((one.machine, *slot(one)), number)
            if before != number:
                raise ValueError(f"it stands twice, line {before} is of the same cell, seed and precision")
        except (ValueError, csv.Error) as error:
            problems.append(f"{path}:{number}: left out, {error}")
        else:
            found += [] if one is None else [one]
    return found, problems


def _read(line: str, path: Path | None) -> Measurement:
    cells = next(csv.reader([line]))
    if len(cells) != len(_COLUMNS):
        raise ValueError(f"expected {len(_COLUMNS)} values, got {len(cells)}")
    row: dict[str, Any] = dict(zip(_COLUMNS, cells, strict=True))
    row["value"] = float(row["value"])
    if row["metric"] not in METRICS or not METRICS[row["metric"]].holds(row["value"]) or math.isinf(row["value"]):
        raise ValueError(f"no usable value of a known metric: {row['metric']} {row['value']}")
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", row["date"]):  # at the end of the line, where a torn file ends
        raise ValueError(f"expected a date such as 2026-11-02, got {row['date']!r}")
    if path and (row["machine"], row["paper"]) != (path.parent.name, path.stem):
        raise ValueError(f"it belongs to {row['machine']}/{row['paper']}.csv")
    return Measurement(**row)


def check_machine(name: str) -> None:
    """Refuse what can be no machine's name.

    Raises:
        UserError: if it cannot be that of a folder, or is the one that sizes are kept under.
    """
    if not re.fullmatch(r"\w[\w.-]{0,99}", name):
        shown = name if len(name) <= 100 else f"{name[:60]}…"
        raise UserError(
            f"a machine's name has letters, digits, '_', '-' and '.', at most 100, such as h200, got {shown!r}"
        )
    if name.lower() == ANY:
        raise UserError(f"--machine {name} is kept for sizes; name the machine that trained, such as h200")


def save(folder: Path, new: Iterable[Measurement]) -> list[Path]:
    """Add measurements to the files of their machines and papers, to all or to none; a newer one replaces its cell's.

    Raises:
        UserError: if an existing file has a line that cannot be read, which saving would lose, a new one could not be
            read again, or a machine's name cannot be that of a folder.
    """
    grouped: dict[Path, list[Measurement]] = {}
    for one in new:
        if one.machine != ANY:
            check_machine(one.machine)
        grouped.setdefault(folder / one.machine / f"{one.paper}.csv", []).append(one)
    with writing(folder):
        old, problems = load_all(folder)
        if problems:
            raise UserError(f"{problems[0]}; mend the file, then record again")
        texts = {path: _added(path, added, old) for path, added in grouped.items()}
        for path, text in texts.items():
            write_whole(path, text)
    return sorted(grouped)


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Hold recorded baselines for this process, and clear away what a killed one was writing there."""
    from filelock import FileLock  # which reports, that only read, need not wait for

    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):  # two that add to one file at once would lose what one of them adds
        clear_leftovers(folder)
        yield


def _added(path: Path, added: Iterable[Measurement], old: Iterable[Measurement]) -> str:
    """A file with what it held of all that was recorded, and what is added."""
    _check_device(path, added, old)
    kept = {slot(one): one for one in old if (one.machine, one.paper) == (path.parent.name, path.stem)}
    for one in added:
        _check_line(one, path)
        if slot(one) not in kept or kept[slot(one)].date <= one.date:
            kept[slot(one)] = one
    return _text([one for _, one in sorted(kept.items())])


def _check_line(one: Measurement, path: Path) -> None:
    """Refuse to write what could not be read again, such as a date that is none in a record of elsewhere.

    Raises:
        UserError: naming the run.
    """
    _, *lines = _text([one]).splitlines()
    try:
        if len(lines) != 1:
            raise ValueError("a value has a line break")
        _read(lines[0], path)
    except (ValueError, csv.Error) as error:
        raise UserError(f"the record of run {one.key} cannot be recorded: {error}; run it with --fresh") from None


def _check_device(path: Path, added: Iterable[Measurement], old: Iterable[Measurement]) -> None:
    """Refuse to mix devices under one machine's name.

    Raises:
        UserError: if the file holds numbers of another device.
    """
    there = {one.device for one in old if (one.machine, one.paper) == (path.parent.name, path.stem)} - {""}
    new = {one.device for one in added} - {""} - there
    if there and new:
        shown = [", ".join(sorted(names)) for names in (there, new)]
        raise UserError(f"{path} holds numbers of {shown[0]}, these are of {shown[1]}; name another --machine")


def slot(one: Measurement) -> tuple[str, ...]:
    """What a newer line replaces: the value of a cell, seed and precision, a speed of a device and engine too."""
    where = () if METRICS[one.metric].portable else (one.device, one.engine)
    return (*one.cell, one.seed, one.precision, *where)


def _text(rows: Iterable[Measurement]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(one) | {"value": f"{one.value:.10g}"} for one in rows)
    return text.getvalue()
