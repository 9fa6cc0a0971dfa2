"""A session: cases done one after the other under a user's options, shared runs done once, each result judged.

Knows neither pytest nor the command line, and imports torch only when something has to be run.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from vitbench import baselines, identity, machine, papers, published, samples
from vitbench.baselines import Measurement
from vitbench.case import Case
from vitbench.compare import Finding
from vitbench.errors import TimeUp
from vitbench.identity import Identity
from vitbench.judge import Judge
from vitbench.options import EPOCH_MARGIN, Options
from vitbench.records import Record, Store

if TYPE_CHECKING:
    from vitbench.measure.speed import Stopwatch

START_SECONDS = 10.0  # to get a run ready and to write its checkpoint

Done = tuple[Record, bool]  # a record, and whether it was read and not made


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One case, done.

    Attributes:
        records: of the case, one a seed; each with whether it was read and not made.
        plain: records of the plain baseline that it is compared with; empty for the baseline itself.
        findings: verdicts against what we recorded.
    """

    case: Case
    records: tuple[Done, ...]
    plain: tuple[Done, ...] = ()
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


def _with_baseline(case: Case) -> tuple[Case, ...]:
    return (case,) if case.is_baseline else (case.baseline, case)


def _records(done: Iterable[Done]) -> list[Record]:
    return [record for record, _ in done]


def _mean(records: tuple[Done, ...], metric: str) -> float | None:
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
        found, problems = baselines.load_all(self._recorded_folder)
        self.store.problems += problems
        return found

    @property
    def _recorded_folder(self) -> Path:
        return self.options.recorded or papers.data_folder() / "recorded"

    @cached_property
    def judge(self) -> Judge:
        """Who holds what comes out against what was recorded."""
        kept, problems = samples.load_all(self._recorded_folder)
        self.store.problems += problems
        return Judge(
            recorded=self.recorded,
            samples=kept,
            problems=self.store.problems,
            floors=lambda paper: self.papers[paper].floors,
            options=self.options,
            run_of=self.run_of,
        )

    def accuracy(self, case: Case) -> Outcome:
        """Train a case and its plain baseline under every seed, or read them, and judge.

        Raises:
            UserError, NonFinite, OutOfMemory, TimeUp: as `vitbench.run.execute`.
        """
        self.fetch(case)
        seeds = list(self.options.sure_seeds)
        needed = [self.run_of(one, seed) for one in _with_baseline(case) for seed in seeds]
        if not all(map(self.is_done, needed)):
            if not self.has_time(self.pace(case)):
                raise TimeUp("not started, for it could not be saved in time; the same command does it next time")
            self._check(needed[-1])
        records, plain = self._trained(case, seeds)
        sign: Finding | None = None
        if self.options.most_seeds and case.is_baseline:  # as far as its methods have added some
            seeds += [seed for seed in self.options.all_seeds if self.is_done(self.run_of(case, seed))]
            records, plain = self._trained(case, sorted({*seeds}))
        elif self.options.most_seeds:
            records, plain, sign = self._added(case, records, plain)
        findings = [*self.judge.accuracy(case, _records(records), _records(plain)), *([sign] if sign else [])]
        return Outcome(case=case, records=records, plain=plain, findings=tuple(findings))

    def _added(
        self, case: Case, records: tuple[Done, ...], plain: tuple[Done, ...]
    ) -> tuple[tuple[Done, ...], tuple[Done, ...], Finding | None]:
        """The same with the seeds that are added, and what is known of the sign of the gain then."""
        while True:
            more, sign = self.judge.seeds(case, _records(records), _records(plain))
            if not more:
                return records, plain, sign
            try:
                added = self._trained(case, list(self.options.all_seeds)[len(records) :][:more])
            except TimeUp:  # what there is, is judged; the same command goes on
                self.store.problems.append(f"{case.id}: no time for more than {len(records)} seeds")
                return records, plain, None
            records, plain = records + added[0], plain + added[1]

    def seeds_of(self, case: Case) -> list[int]:
        """Seeds that a case is to be trained with, as far as what is done tells which are added."""
        seeds = list(self.options.sure_seeds)
        if self.options.most_seeds is None or case.is_baseline:
            return seeds
        while True:
            records, plain = self._known(case, seeds), self._known(case.baseline, seeds)
            more = 0
            if len(records) == len(plain) == len(seeds):
                more, _ = self.judge.seeds(case, records, plain)
            if not more:
                return seeds
            seeds = list(self.options.all_seeds)[: len(seeds) + more]

    def _known(self, case: Case, seeds: Sequence[int]) -> list[Record]:
        found = (self.known(self.run_of(case, seed)) for seed in seeds)
        return [record for record in found if record is not None]

    def _trained(self, case: Case, seeds: Sequence[int]) -> tuple[tuple[Done, ...], tuple[Done, ...]]:
        """Records of a case under seeds, and those of its plain baseline."""
        # The baseline first, so that an interrupted night leaves whole pairs.
        plain = () if case.is_baseline else tuple(self.do(self.run_of(case.baseline, seed)) for seed in seeds)
        return tuple(self.do(self.run_of(case, seed)) for seed in seeds), plain

    def size(self, case: Case) -> Outcome:
        """Count a case's parameters and MACs, or read them, and judge them against what we recorded."""
        done = self.do(identity.of_size(case))
        return Outcome(case=case, records=(done,), findings=tuple(self.judge.size(case, done[0])))

    def timing(self, case: Case, kind: str) -> Outcome:
        """Time a case ("inference" or "training") on this machine, or read it, and judge it where it was recorded."""
        done = self.do(self.timing_of(case, kind))
        return Outcome(case=case, records=(done,), findings=tuple(self.judge.timing(case, kind, done[0])))

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

    def known(self, one: Identity) -> Record | None:
        """The record of a run, if it would be read and not made."""
        return None if self._is_fresh(one) else self.store.read(one)

    def is_done(self, one: Identity) -> bool:
        """Whether a run would be read and not made."""
        return self.known(one) is not None

    def _is_fresh(self, one: Identity) -> bool:
        """Whether a run is made although there may be a record."""
        return self.options.fresh and one.key not in self.store.made

    def do(self, one: Identity, *, wait: bool = True) -> tuple[Record, bool]:
        """A record, and whether it was read and not made in this session.

        Args:
            wait: for another process that does the run.

        Raises:
            UserError, NonFinite, OutOfMemory, TimeUp: as `vitbench.run.execute`.
            Busy: if another process does it and `wait` is False.
        """
        fresh, record = self._is_fresh(one), self.known(one)
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
