"""What was measured, as other tools read it: JSON for github-action-benchmark, or CSV.

github-action-benchmark keeps a series of values for each name and reads a list of {name, unit, value, range, extra}, in
which everything is better the larger it is (`customBiggerIsBetter`) or the smaller (`customSmallerIsBetter`).
Source: its README, "Tool specific setup", and `extract.ts`; a `range` is read as a number after "± ".
"""

import csv
import io
import json
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitbench import baselines, summary
from vitbench.baselines import Measurement
from vitbench.case import Case
from vitbench.errors import UserError
from vitbench.metrics import METRICS
from vitbench.session import Session

COLUMNS = (
    *("case", "metric", "unit", "better", "value", "spread", "n", "seeds", "budget", "precision"),
    *("device", "engine", "commit", "date"),
)


@dataclass(frozen=True, kw_only=True)
class Series:
    """What was measured of one metric of one case, over its seeds.

    Attributes:
        subject: the case's id; of a baseline, the cell of a paper.
        values: by seed, "" where it has none.
        made: the measurements that they are of, for what they were made with.
    """

    subject: str
    metric: str
    values: dict[str, float]
    made: tuple[Measurement, ...]

    @property
    def name(self) -> str:
        """Names one series for ever: what is another experiment, or a time of another machine, has another name."""
        last = self.made[-1]
        where = () if METRICS[self.metric].portable else (last.device, last.engine)
        return f"{self.subject}: {self.metric} ({', '.join(filter(None, (last.budget, last.precision, *where)))})"

    @property
    def mean(self) -> float:
        """Over seeds."""
        return statistics.fmean(self.values.values())

    @property
    def spread(self) -> float | None:
        """Sample standard deviation over seeds, or None with fewer than two."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else None

    def all_of(self, part: str) -> str:
        """A part of how its measurements were made, each once."""
        return ", ".join(sorted({getattr(one, part) for one in self.made} - {""}))


def of_runs(session: Session, cases: Sequence[Case]) -> list[Series]:
    """What a runs directory holds of these cases, gains over their plain baselines too.

    Only what the present versions of models, terms and data would read: nothing that an older one left behind.
    """
    found: list[tuple[str, Measurement]] = []
    for case, identity in summary.wanted(session, cases):
        record = session.store.read(identity)
        if record is not None:
            found += [(case.id, one) for one in baselines.measurements(case, record, machine="")]
    series = _grouped(found)
    accuracies = {one.subject: one for one in series if one.metric == "accuracy"}
    gains = [_gain(accuracies.get(case.id), accuracies.get(case.baseline.id)) for case in cases if not case.is_baseline]
    return sorted([*series, *filter(None, gains)], key=lambda one: one.name)


def _gain(ours: Series | None, theirs: Series | None) -> Series | None:
    """The differences at the seeds that both have."""
    if ours is None or theirs is None:
        return None
    values = {seed: ours.values[seed] - theirs.values[seed] for seed in ours.values if seed in theirs.values}
    made = tuple(one for one in ours.made if one.seed in values)
    return Series(subject=ours.subject, metric="gain", values=values, made=made) if values else None


def of_recorded(path: Path) -> tuple[list[Series], list[str]]:
    """What recorded baselines hold, and a line for each file or line that was left out.

    Args:
        path: folder of a machine, or one file of it.
    """
    found: list[tuple[str, Measurement]] = []
    problems: list[str] = []
    for file in [path] if path.is_file() else sorted(path.glob("*.csv")):
        measured, wrong = baselines.load(file, in_place=False)
        found += [("/".join(filter(None, one.cell[:5])), one) for one in measured]
        problems += wrong
    return sorted(_grouped(found), key=lambda one: one.name), problems


def _grouped(found: Iterable[tuple[str, Measurement]]) -> list[Series]:
    groups: dict[tuple[str, ...], dict[str, Measurement]] = {}
    for subject, one in found:
        where = () if METRICS[one.metric].portable else (one.device, one.engine)
        seeds = groups.setdefault((subject, one.metric, one.budget, one.precision, *where), {})
        if one.seed not in seeds or seeds[one.seed].date <= one.date:
            seeds[one.seed] = one
    return [
        Series(
            subject=key[0],
            metric=key[1],
            values={seed: one.value for seed, one in seeds.items()},
            made=tuple(seeds.values()),
        )
        for key, seeds in groups.items()
    ]


def chosen(series: Iterable[Series], *, direction: str | None, metrics: Sequence[str]) -> Iterator[Series]:
    """The series of these metrics, all where none is named, that are better in this direction, if one is named."""
    for one in series:
        is_better = direction is None or METRICS[one.metric].better == direction
        if is_better and (not metrics or one.metric in metrics):
            yield one


def as_json(series: Iterable[Series]) -> str:
    """As github-action-benchmark reads it; all of one direction."""
    return json.dumps([_entry(one) for one in series], indent=1, allow_nan=False) + "\n"


def _entry(one: Series) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": one.name, "unit": METRICS[one.metric].unit, "value": float(f"{one.mean:.10g}")}
    if one.spread is not None:
        entry["range"] = f"± {one.spread:.4g}"
    said = {"n": f"{len(one.values)}{_seeds(one)}"}
    said |= {"machine" if part == "device" else part: one.all_of(part) for part in ("device", "precision", "engine")}
    said |= {part: one.all_of(part) for part in ("torch", "commit", "date")}
    return entry | {"extra": "\n".join(f"{part}: {text}" for part, text in said.items() if text)}


def _seeds(one: Series) -> str:
    named = [seed for seed in one.values if seed]
    return f" (seeds {', '.join(named)})" if named else ""


def as_csv(series: Iterable[Series]) -> str:
    """A line for each series."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for one in series:
        metric = METRICS[one.metric]
        row = {"case": one.subject, "metric": one.metric, "unit": metric.unit, "better": metric.better or ""}
        row |= {"value": f"{one.mean:.10g}", "spread": "" if one.spread is None else f"{one.spread:.10g}"}
        row |= {"n": str(len(one.values)), "seeds": " ".join(filter(None, one.values)), "budget": one.made[-1].budget}
        writer.writerow(row | {part: one.all_of(part) for part in COLUMNS[-5:]})
    return text.getvalue()


def check_names(series: Sequence[Series]) -> None:
    """Refuse what would be two lines of one chart.

    Raises:
        UserError: naming the first.
    """
    seen: set[str] = set()
    for one in series:
        if one.name in seen:
            raise UserError(f"two series are named {one.name!r}; export fewer files at once")
        seen.add(one.name)
