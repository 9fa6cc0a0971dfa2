"""Record sets: what a runs directory or recorded baselines hold, value by value, so that two of them can be compared.

Nothing is changed: what cannot be read is named and left out.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitbench import baselines, volumes
from vitbench.baselines import Measurement
from vitbench.errors import UserError
from vitbench.identity import digest
from vitbench.metrics import METRICS
from vitbench.records import Record, misplaced

RUNS, RECORDED = "runs", "recorded baselines"
CELL = ("kind", "model", "objective", "dataset", "budget")
# Parts of an identity that two runs of the same experiment may differ by.
VARYING = (*CELL, "seed", "precision", "machine", "versions")
BITS = {"accuracy": "clean", "adversarial_accuracy": "attacked"}  # what a record keeps of each image


@dataclass(frozen=True, kw_only=True)
class Value:
    """One value of one metric.

    Attributes:
        cell: what it is of: `CELL` of a run, or paper, model, objective, data set, recipe and budget of a baseline.
        setting: digest of what else determines the result, such as data and phases, but of no version; a baseline's
            is empty, for its cell says it.
        seed, precision: empty for what is counted.
        place: where it was measured: device, engine and threads, or the name of the machine.
        data: digest of the data set, where known.
        versions: of the files that the result stands on, where known.
        bits: which images were classified correctly, packed; empty where that is not known.
    """

    cell: tuple[str, ...]
    setting: str
    metric: str
    seed: str
    precision: str
    place: tuple[str, ...]
    value: float
    date: str
    data: str = ""
    versions: tuple[tuple[str, str], ...] = ()
    bits: str = ""

    @property
    def is_timing(self) -> bool:
        """Whether it depends on the machine."""
        return not METRICS[self.metric].portable

    @property
    def group(self) -> tuple[str, ...]:
        """What seeds are taken together of."""
        place = self.place if self.is_timing else ()
        return (*self.cell, self.setting, self.precision, self.metric, *place)


@dataclass(frozen=True, kw_only=True)
class RecordSet:
    """The values of one folder or file.

    Attributes:
        kind: `RUNS` or `RECORDED`.
        problems: a line for each file or line that was left out.
    """

    path: Path
    kind: str
    values: tuple[Value, ...]
    problems: tuple[str, ...]


def read(path: Path) -> RecordSet:
    """The record set at a path.

    Args:
        path: a runs directory, the folder of a machine with recorded baselines, or one file of it.

    Raises:
        UserError: if it is none, or nothing in it can be read.
    """
    if not path.exists():
        raise UserError(f"{path} is not there; name a runs directory, or a folder or file of recorded baselines")
    runs = path / "runs" if (path / "runs").is_dir() else path
    files = [path] if path.is_file() else sorted(path.glob("*.csv"))
    problems: list[str] = []
    if any(runs.glob("*/record*.json")):
        kind, found = RUNS, list(_of_runs(runs, problems))
    elif files and all(one.suffix == ".csv" for one in files):
        kind, found = RECORDED, list(_of_recorded(files, problems))
    else:
        raise UserError(_not_one(path))
    values, older = _newest(found)
    if older:
        problems.append(f"{path}: left out, older values of runs that were done again: {older}")
    if not values:
        first = f", such as {problems[0]}" if problems else ""
        raise UserError(f"{path} holds no value that can be read{first}; name another record set")
    return RecordSet(path=path, kind=kind, values=values, problems=tuple(problems))


def _not_one(path: Path) -> str:
    machines = sorted(one.parent for one in path.glob("*/*.csv")) if path.is_dir() else []
    if machines:
        return f"{path} holds the baselines of several machines; name one of them, such as {machines[0]}"
    shown = "holds no record" if path.is_dir() else "is no .csv file of recorded baselines"
    return f"{path} {shown}; name a runs directory, such as .vitbench, or a folder such as baselines/recorded/cpu"


def _newest(values: Iterable[Value]) -> tuple[tuple[Value, ...], int]:
    """The last one of each run, and how many others there are: a runs directory keeps those of older versions."""
    found: dict[tuple[Any, ...], Value] = {}
    count = 0
    for one in values:
        key, count = (one.group, one.seed), count + 1
        if key not in found or found[key].date <= one.date:
            found[key] = one
    return tuple(found.values()), count - len(found)


def _of_runs(folder: Path, problems: list[str]) -> Iterator[Value]:
    astray = misplaced(folder)
    for path in sorted(folder.glob("*/record*.json")):
        if path in astray:
            problems.append(f"{path}: left out, {astray[path]}")
            continue
        try:
            found = list(of_record(volumes.check_record(path.read_bytes(), path.parent.name)))
        except (OSError, ValueError) as error:
            problems.append(f"{path}: left out, {error}")
        except (AttributeError, KeyError, TypeError) as error:
            problems.append(f"{path}: left out, it is damaged: its identity is no run's ({error})")
        else:
            yield from found


def of_record(record: Record) -> Iterator[Value]:
    """What a record says, by what determines it."""
    identity, provenance = record.identity, record.provenance
    counted = record.kind == "size"
    bits = record.details.get("correct", {})
    for metric, value in record.measurements.items():
        packed = bits.get(BITS.get(metric, ""), "")
        yield Value(
            cell=tuple(str(identity[name]) for name in CELL),
            setting=digest(_lasting(identity)),
            metric=metric,
            seed="" if counted else str(identity["seed"]),
            precision="" if counted else str(identity["precision"]),
            place=(provenance["device"], provenance["engine"], str(provenance.get("threads", ""))),
            value=float(value),
            date=provenance["date"],
            data=str(identity.get("data", "")),
            versions=tuple(sorted(dict(identity["versions"]).items())),
            bits=packed if isinstance(packed, str) else "",
        )


def _lasting(identity: Mapping[str, Any]) -> dict[str, Any]:
    """An identity without what may vary, and so that of the pre-training that it starts from."""
    kept = {name: value for name, value in identity.items() if name not in VARYING}
    if isinstance(kept.get("pretraining"), Mapping):
        before = kept["pretraining"]
        kept["pretraining"] = {name: before.get(name) for name in CELL} | _lasting(before)
    return kept


def _of_recorded(paths: Iterable[Path], problems: list[str]) -> Iterator[Value]:
    for path in paths:
        found, wrong = baselines.load(path, in_place=False)  # a copy of a machine's folder may have any name
        problems += wrong
        yield from (of_measurement(one) for one in found)


def of_measurement(one: Measurement) -> Value:
    """What a line of recorded baselines says."""
    return Value(
        cell=one.cell[:-1],
        setting="",
        metric=one.metric,
        seed=one.seed,
        precision=one.precision,
        place=(one.machine, one.device, one.engine),
        value=one.value,
        date=one.date,
    )
