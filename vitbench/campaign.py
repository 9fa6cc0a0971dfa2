"""A campaign: the missing runs of many cases, worked off in order of worth within a time limit.

Worth most is what no record covers, then what was begun, then what is cheapest, a method together with its plain
baseline. Nothing is started that, as far as is known, could not be saved in time; what has to be left keeps its
checkpoint, and the next campaign goes on there, on any machine that the runs directory was copied to.
"""

import heapq
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property

from vitbench import machine
from vitbench.case import Case
from vitbench.errors import Busy, DataAbsent, DataBroken, NonFinite, OutOfMemory, TimeUp, UserError, unknown
from vitbench.history import History
from vitbench.identity import Identity
from vitbench.records import Record
from vitbench.selection import sort_key
from vitbench.session import Session


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A run that is missing.

    Attributes:
        case: that needs it, or whose baseline it is.
        seconds: that it will take, or None where nothing like it was run yet.
        epoch_seconds: of one epoch, the least that can be saved.
    """

    case: Case
    identity: Identity
    seconds: float | None
    epoch_seconds: float


@dataclass(eq=False)
class Pair:
    """What is worth something only together: a method's run and its plain baseline's, as far as they are missing."""

    place: int
    case: Case
    seed: int
    runs: list[Planned]
    is_recorded: bool
    is_begun: bool

    @property
    def worth(self) -> tuple[object, ...]:
        """Sorts the most worthy pair first; a baseline comes with its first method, alone only where it has none."""
        cost = sum(math.inf if one.seconds is None else one.seconds for one in self.runs)
        return (self.place, self.is_recorded, not self.is_begun, self.case.is_baseline, cost, self.seed, self.key)

    @cached_property
    def key(self) -> tuple[str, ...]:
        """Where it stands among its equals."""
        return sort_key(self.case)


def chosen(cases: Iterable[Case], patterns: Sequence[str]) -> list[tuple[int, Case]]:
    """The cases that patterns of ids choose, each with the number of the first pattern that does.

    Args:
        patterns: such as `floros2024`, `floros2024/4.1/vit` or `floros2024/*/cifar10`; earlier ones are worth more.

    Raises:
        UserError: if one chooses nothing.
    """
    known = list(cases)
    found: dict[str, tuple[int, Case]] = {}
    for place, pattern in enumerate(patterns):
        fitting = [case for case in known if _fits(case.id, pattern)]
        if not fitting:
            names = {case.paper for case in known} | {f"{case.paper}/{case.table}" for case in known}
            raise unknown("case or part of one", pattern, names)
        for case in fitting:
            found.setdefault(case.id, (place, case))
    return sorted(found.values(), key=lambda one: (one[0], sort_key(one[1])))


def _fits(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}/*")


def plan(session: Session, cases: Sequence[tuple[int, Case]]) -> list[Planned]:
    """The missing runs of cases in order of worth, each once.

    Args:
        cases: with the number of their pattern, lower ones first.
    """
    history = History(session, [case for _, case in cases])
    pairs = _pairs(session, history, cases)
    sharing: dict[str, list[Pair]] = {}
    for pair in pairs:
        for one in pair.runs:
            sharing.setdefault(one.identity.key, []).append(pair)
    # What a pair costs falls when another one takes the baseline along; it then stands in the heap a second time.
    heap = [(pair.worth, number, pair) for number, pair in enumerate(pairs)]
    heapq.heapify(heap)
    counter = itertools.count(len(pairs))
    order: dict[str, Planned] = {}
    while heap:
        _, _, best = heapq.heappop(heap)
        for one in list(best.runs):
            order[one.identity.key] = one
            for pair in sharing.pop(one.identity.key, []):
                pair.runs.remove(one)
                if pair.runs:
                    heapq.heappush(heap, (pair.worth, next(counter), pair))
    return list(order.values())


def _pairs(session: Session, history: History, cases: Sequence[tuple[int, Case]]) -> list[Pair]:
    # Every training leaves a loss, a pre-training no accuracy. Of an older version no run is recorded.
    recorded = {one.key for one in session.recorded if one.metric == "loss"}
    planned: dict[str, Planned | None] = {}  # None where it is done
    pairs: dict[tuple[str, ...], Pair] = {}
    for place, case in cases:
        for seed in session.seeds_of(case):
            runs = [_planned(session, history, one, seed, planned) for one in case.needed(session.options.budget)]
            missing = [one for one in runs if one is not None]
            if missing:
                pairs.setdefault(
                    tuple(one.identity.key for one in missing),
                    Pair(
                        place=place,
                        case=case,
                        seed=seed,
                        runs=missing,
                        is_recorded=all(one.identity.key[:12] in recorded for one in missing),
                        is_begun=any(session.store.is_begun(one.identity) for one in missing),
                    ),
                )
    return list(pairs.values())


def _planned(
    session: Session, history: History, case: Case, seed: int, known: dict[str, Planned | None]
) -> Planned | None:
    identity = session.run_of(case, seed)
    if identity.key not in known:
        known[identity.key] = None
        if not session.is_done(identity):
            known[identity.key] = Planned(
                case=case,
                identity=identity,
                seconds=history.seconds(case),
                epoch_seconds=history.epoch_seconds(case),
            )
    return known[identity.key]


@dataclass
class Campaign:
    """Works off the missing runs of cases.

    Attributes:
        session: its options hold the deadline.
        cases: with the number of their pattern.
        say: gets a line for each run.
        tried: what became of a run, by its key: "done", "left" for lack of time, "lost", "too big" for the memory,
            "without data", or "busy" in another process.
        absent: data sets that are not there, or broken.
    """

    session: Session
    cases: Sequence[tuple[int, Case]]
    say: Callable[[str], None]
    tried: dict[str, str] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)

    def work(self) -> list[Planned]:
        """Do what the time allows; returns what is still missing."""
        self._pass()
        busy = {key for key, outcome in self.tried.items() if outcome == "busy"}
        self.tried = {key: outcome for key, outcome in self.tried.items() if key not in busy}
        if busy:  # the process that held it may have left it
            self._pass()
        return plan(self.session, self.cases)

    def _pass(self) -> None:
        while (one := self._next()) is not None:
            self._do(one)
            machine.free_gpu()

    def _next(self) -> Planned | None:
        """The most worthy run that was not tried and fits; planned anew, for each run says what others will take."""
        todo = (one for one in plan(self.session, self.cases) if self._is_open(one.identity))
        return next((one for one in todo if self._has_data(one) and self.session.has_time(one.epoch_seconds)), None)

    def _is_open(self, identity: Identity) -> bool:
        """Whether a run was not tried, nor a pre-training that it starts from in vain."""
        before = identity.pretraining
        in_vain = before is not None and self.tried.get(before.key, "done") != "done"
        return identity.key not in self.tried and not in_vain

    def _has_data(self, one: Planned) -> bool:
        return one.identity.dataset not in self.absent

    def _do(self, one: Planned) -> None:
        outcome = "lost"
        try:
            record, was_read = self.session.do(one.identity, wait=False)
        except Busy:
            outcome, told = "busy", "under way in another process"
        except TimeUp as error:
            outcome, told = "left", str(error)
        except (DataAbsent, DataBroken) as error:
            if one.identity.weights != "absent":
                self.absent.add(one.identity.dataset)
            outcome, told = "without data", str(error)
        except OutOfMemory as error:
            outcome, told = "too big", str(error)
        except (UserError, NonFinite) as error:
            told = str(error)
        else:
            outcome = "done"
            took = "read" if was_read else f"in {record.provenance['seconds']:.0f} s"
            told = f"{_result(record)}, {took}"
        self.tried[one.identity.key] = outcome
        self.say(f"{one.case.id}, seed {one.identity.seed}: {told}")


def _result(record: Record) -> str:
    accuracy = record.measurements.get("accuracy")
    if accuracy is None and "accuracy" in record.invalid:
        return f"no accuracy, {record.invalid['accuracy']}"
    return f"loss {record.measurements['loss']:.4g}" if accuracy is None else f"accuracy {accuracy:.2f} %"
