"""A session: cases done one after the other under a user's options, shared runs done once, each result judged.

Knows neither pytest nor the command line, and imports torch only when something has to be run.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitbench import baselines, compare, identity, machine, papers, published
from vitbench.baselines import ANY, Measurement
from vitbench.case import Budget, Case
from vitbench.compare import Finding, Verdict
from vitbench.errors import TimeUp
from vitbench.identity import Identity
from vitbench.metrics import METRICS
from vitbench.options import EPOCH_MARGIN, Options
from vitbench.records import Record, Store

if TYPE_CHECKING:
    from vitbench.measure.speed import Stopwatch

START_SECONDS = 10.0  # to get a run ready and to write its checkpoint
# What is the same on every machine and in every run, and so may fail to the last digit.
GATED = ("params", "macs")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One case, done.

    Attributes:
        records: of the case, one a seed; each with whether it was read and not made.
        plain: records of the plain baseline that it is compared with; empty for the baseline itself.
        findings: verdicts against what we recorded.
    """

    case: Case
    records: tuple[tuple[Record, bool], ...]
    plain: tuple[tuple[Record, bool], ...] = ()
    findings: tuple[Finding, ...] = ()

    def mean(self, metric: str) -> float | None:
        """Mean over seeds, or None where a seed has no value."""
        return _mean(self.records, metric)

    def gain(self, metric: str) -> float | None:
        """Mean of the case minus mean of its plain baseline, at the same seeds."""
        ours, theirs = self.mean(metric), _mean(self.plain, metric)
        return None if ours is None or theirs is None else ours - theirs

    @property
    def cached(self) -> str:
        """Such as `cached 2026-11-02 h200 3f2c1ab` where every record was read, else empty."""
        if not all(was_read for _, was_read in self.records):
            return ""
        provenance = self.records[0][0].provenance
        return " ".join(filter(None, ("cached", provenance["date"][:10], provenance["device"], provenance["commit"])))


def _mean(records: tuple[tuple[Record, bool], ...], metric: str) -> float | None:
    values = [record.measurements.get(metric) for record, _ in records]
    numbers = [value for value in values if value is not None]
    return sum(numbers) / len(numbers) if numbers and len(numbers) == len(values) else None


class Ledger(Store):
    """A runs directory that remembers what this session wrote, and so what another process made meanwhile."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.made: set[str] = set()

    def write(self, identity: Identity, record: Record) -> Path:
        """As `Store.write`."""
        path = super().write(identity, record)
        self.made.add(identity.key)
        return path


@dataclass
class Session:
    """Does cases and remembers what this session made.

    Attributes:
        options: what was asked for.
        tell: progress, see `vitbench.run.Setting`.
        stopwatch: what times a call, see `vitbench.run.Setting`.
        pace: seconds that an epoch of a case will take, 0 where nothing is known.
    """

    options: Options
    tell: Callable[[str, int, int, float], None] = lambda what, done, steps, loss: None
    stopwatch: "Stopwatch | None" = None
    pace: Callable[[Case], float] = lambda case: 0.0

    def __post_init__(self) -> None:
        self.store = Ledger(self.options.runs)

    @cached_property
    def papers(self) -> Mapping[str, papers.Paper]:
        """All papers by name."""
        return {paper.name: paper for paper in papers.load_all()}

    @cached_property
    def recorded(self) -> list[Measurement]:
        """Everything that was recorded; lines that cannot be used are named in `store.problems`."""
        found, problems = baselines.load_all(papers.data_folder() / "recorded")
        self.store.problems += problems
        return found

    def accuracy(self, case: Case) -> Outcome:
        """Train a case and its plain baseline under every seed, or read them, and judge.

        Raises:
            UserError, NonFinite, OutOfMemory, TimeUp: as `vitbench.run.execute`.
        """
        self.fetch(case)
        identities = [self.run_of(case, seed) for seed in self.options.all_seeds]
        plain = [] if case.is_baseline else [self.run_of(case.baseline, seed) for seed in self.options.all_seeds]
        if not all(self.is_done(one) for one in (*plain, *identities)) and not self.has_time(self.pace(case)):
            raise TimeUp("not started, for it could not be saved in time; the same command does it next time")
        if not all(self.is_done(one) for one in (*plain, *identities)):
            self._check(identities[0])
        before = tuple(self.do(one) for one in plain)  # first, so that an interrupted night leaves whole pairs
        records = tuple(self.do(one) for one in identities)
        findings = [
            *self._floor(case, records),
            *self._stale(case, records),
            *invalid(case, (one for one, _ in records)),
        ]
        findings += invalid(case.baseline, (one for one, _ in before))
        return Outcome(case=case, records=records, plain=before, findings=tuple(findings))

    def size(self, case: Case) -> Outcome:
        """Count a case's parameters and MACs, or read them, and judge them against what we recorded."""
        records = (self.do(identity.of_size(case)),)
        findings = (*self._gate(case, records[0][0]), *invalid(case, [records[0][0]]))
        return Outcome(case=case, records=records, findings=findings)

    def timing(self, case: Case, kind: str) -> Outcome:
        """Time a case ("inference" or "training") on this machine, or read it."""
        records = (self.do(self.timing_of(case, kind)),)
        return Outcome(case=case, records=records, findings=tuple(invalid(case, [records[0][0]])))

    def run_of(self, case: Case, seed: int) -> Identity:
        """The run that a case needs under a seed."""
        options = self.options
        return identity.of_run(
            case,
            budget=options.budget,
            seed=seed,
            precision=options.precision,
            micro_batch=options.micro_batch,
            image_size=options.image_size,
            weights=self._weights_of(case),
        )

    def _check(self, one: Identity) -> None:
        """Refuse what cannot be run before its plain baseline or its pre-training is trained, which may take hours."""
        from vitbench import run  # imports torch

        run.check(one)

    def fetch(self, case: Case) -> None:
        """Get the published weights that a case starts from, where that is asked for; its identity names them.

        Raises:
            DataAbsent: if they are not there and cannot be fetched.
        """
        if case.recipe.start == "published":
            fetch = published.from_hub if self.options.download else None
            published.ensure(case.model.at(self.options.budget), self.options.weights, fetch=fetch)

    def _weights_of(self, case: Case) -> str:
        """Digest of the published weights that a case starts from, "" where it starts from none or they are absent."""
        if case.recipe.start != "published":
            return ""
        path = published.find(case.model.at(self.options.budget), self.options.weights)
        return "" if path is None else published.digest(path)

    def timing_of(self, case: Case, kind: str, key: Mapping[str, str] | None = None) -> Identity:
        """The timing that a case needs on this machine, or on the one that a key names."""
        engine = self.options.engine_name if kind == "training" else "eager"  # a forward pass is no step
        key = key or machine.timing_key(self.options.device, engine)
        options = self.options
        return identity.of_timing(
            case,
            kind=kind,
            budget=options.budget,
            precision=options.precision,
            machine=key,
            micro_batch=options.micro_batch,
        )

    def has_time(self, epoch_seconds: float) -> bool:
        """Whether a run that is started now can be saved before the deadline.

        Args:
            epoch_seconds: of one epoch, the least that can be saved.
        """
        return time.monotonic() + EPOCH_MARGIN * epoch_seconds + START_SECONDS < self.options.deadline

    def is_done(self, one: Identity) -> bool:
        """Whether a run would be read and not made."""
        done = self.store.read(one) is not None
        return done and (not self.options.fresh or one.key in self.store.made)

    def do(self, one: Identity, *, wait: bool = True) -> tuple[Record, bool]:
        """A record, and whether it was read and not made in this session.

        Args:
            wait: for another process that does the run.

        Raises:
            UserError, NonFinite, OutOfMemory, TimeUp: as `vitbench.run.execute`.
            Busy: if another process does it and `wait` is False.
        """
        fresh = self.options.fresh and one.key not in self.store.made
        record = None if fresh else self.store.read(one)
        if record is not None:
            return record, one.key not in self.store.made
        if one.pretraining is not None:
            self.do(one.pretraining, wait=wait)
        from vitbench import run  # imports torch

        setting = run.Setting(
            store=self.store,
            data=self.options.data,
            weights=self.options.weights,
            download=self.options.download,
            device=self.options.device,
            engine=self.options.engine_name,
            deadline=self.options.deadline,
            wait=wait,
            tell=self.tell,
            stopwatch=self.stopwatch,
        )
        record = run.execute(one, setting, fresh=fresh)
        return record, one.key not in self.store.made

    def _gate(self, case: Case, record: Record) -> list[Finding]:
        findings = []
        for name in GATED:
            cell = baselines.cell_of(case, "paper", name)
            old = [one for one in self.recorded if one.machine == ANY and _same_size(one.cell, cell)]
            reference = old[0].value if old else None
            value = record.measurements.get(name)
            if value is None and reference is None:
                continue
            # Recorded values are written with ten digits.
            verdict = compare.judge(METRICS[name], value, reference, tolerance=1e-9 * abs(reference or 0))
            against = "recorded"
            # Another version excuses a difference; where there is none, the number still holds.
            if old and verdict != Verdict.SAME and _is_stale(old[0], record):
                verdict, against = Verdict.STALE, f"recorded {old[0].date} by another version"
            findings.append(self._finding(case, name, verdict, value, reference, against))
        return findings

    def _stale(self, case: Case, records: tuple[tuple[Record, bool], ...]) -> Iterator[Finding]:
        """Accuracies that were recorded of these runs, all by another version of what determines them."""
        cell = baselines.cell_of(case, self.options.budget, "accuracy")
        for record, _ in records:
            seed, precision = str(record.identity["seed"]), record.identity["precision"]
            old = [one for one in self.recorded if (one.cell, one.seed, one.precision) == (cell, seed, precision)]
            if old and all(_is_stale(one, record) for one in old):
                value, last = record.measurements.get("accuracy"), max(old, key=lambda one: one.date)
                against = f"recorded {last.date} by another version"
                yield self._finding(case, "accuracy", Verdict.STALE, value, last.value, against)

    def _floor(self, case: Case, records: tuple[tuple[Record, bool], ...]) -> list[Finding]:
        """Quick runs pass above a floor; 360 test images cannot tell anything finer."""
        if self.options.budget != Budget.QUICK:
            return []
        if any("accuracy" in record.invalid for record, _ in records):  # which is said, and is below no floor
            return []
        value = _mean(records, "accuracy")
        details, content = records[0][0].details, records[0][0].identity
        floor = compare.chance_ceiling(content["classes"], details["test_images"])
        against = "guessing stays below"
        floors = self.papers[case.paper].floors if case.dataset == "digits" else {}
        if case.model.name in floors:
            floor, against = floors[case.model.name], "the floor is"
        verdict = compare.judge(METRICS["accuracy"], value, floor)
        verdict = Verdict.SAME if verdict == Verdict.BETTER else verdict
        return [self._finding(case, "accuracy", verdict, value, floor, against)]

    def _finding(
        self,
        case: Case,
        metric: str,
        verdict: Verdict,
        value: float | None,
        reference: float | None,
        against: str,
    ) -> Finding:
        return Finding(
            subject=case.id,
            metric=metric,
            verdict=verdict,
            value=value,
            reference=reference,
            against=against,
            required=self.options.fail_on_missing,
        )


def _is_stale(recorded: Measurement, record: Record) -> bool:
    """Whether it was recorded of another run: a leaf, the data or the loop had another version."""
    return bool(recorded.key) and recorded.key != record.key[: len(recorded.key)]


def invalid(case: Case, records: Iterable[Record]) -> Iterator[Finding]:
    """Metrics that failed their own checks."""
    blank: dict[str, Any] = {"value": None, "reference": None}
    for metric, reason in {pair: None for record in records for pair in record.invalid.items()}:
        yield Finding(subject=case.id, metric=metric, verdict=Verdict.INVALID, against=reason, **blank)


def _same_size(recorded: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    """Sizes do not depend on the recipe, and are recorded without it."""
    return recorded[:4] == wanted[:4] and recorded[5:] == wanted[5:]
