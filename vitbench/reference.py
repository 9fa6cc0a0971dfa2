"""What was recorded of a case and may judge what came out: its version, its precision, its machine."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from vitbench import baselines
from vitbench.baselines import ANY, Measurement
from vitbench.case import Budget, Case
from vitbench.identity import Identity
from vitbench.options import Options
from vitbench.records import Record

Lines = dict[int, Measurement]  # by seed


@dataclass(frozen=True)
class Reference:
    """Finds recorded lines.

    Args:
        recorded: all of them.
        options: of the session that is judged.
        run_of: the run of a case under a seed, as it is now.
    """

    recorded: Sequence[Measurement]
    options: Options
    run_of: Callable[[Case, int], Identity]

    @cached_property
    def _lines(self) -> Mapping[tuple[str, ...], list[Measurement]]:
        found: dict[tuple[str, ...], list[Measurement]] = {}
        for one in self.recorded:
            found.setdefault(_sized(one.cell) if one.machine == ANY else one.cell, []).append(one)
        return found

    def counted(self, case: Case, metric: str) -> list[Measurement]:
        """What was recorded of a size, which is the same on every machine."""
        lines = self._lines.get(_sized(baselines.cell_of(case, Budget.PAPER, metric)), ())
        return [one for one in lines if one.machine == ANY]

    def written(self, case: Case, metric: str) -> list[Measurement]:
        """What was recorded of a case in this precision, whatever version it is of."""
        lines = self._lines.get(baselines.cell_of(case, self.options.budget, metric), ())
        return [one for one in lines if one.machine != ANY and one.precision == self.options.precision]

    def valid(self, case: Case, metric: str, *, machine: str) -> Lines:
        """What was recorded of a case on a machine by this version, by seed."""
        own = [one for one in self.written(case, metric) if one.machine == machine and one.seed.isdecimal()]
        return {int(one.seed): one for one in own if not is_stale(one, self.run_of(case, int(one.seed)).key)}

    def of_one_machine(self, case: Case, metric: str) -> Lines:
        """The same of the session's own machine, else of that with most seeds; by its name among equals."""
        machines = sorted({one.machine for one in self.written(case, metric)})
        found = {one: self.valid(case, metric, machine=one) for one in machines}
        return found.get(self.options.machine) or max(found.values(), key=len, default={})


def is_stale(recorded: Measurement, key: str) -> bool:
    """Whether it was recorded of another run: a leaf, the data, the recipe or the loop had another version."""
    return bool(recorded.key) and recorded.key != key[: len(recorded.key)]


def is_same_place(recorded: Measurement, now: Record) -> bool:
    """Whether the same draws and nearly the same rounding are to be expected; in bf16 nobody measured it."""
    where = now.provenance
    here = (where["device"], where["engine"], "fp32", where["versions"]["torch"])
    return (recorded.device, recorded.engine, recorded.precision, recorded.torch) == here


def told(recorded: Measurement) -> str:
    """Where a reference is from, before its value."""
    return " ".join(filter(None, ("recorded", recorded.date, recorded.commit[:7])))


def by_another_version(recorded: Measurement) -> str:
    """The same of what judges nothing any more."""
    return f"recorded {recorded.date} by another version"


def _sized(cell: tuple[str, ...]) -> tuple[str, ...]:
    """Sizes do not depend on the recipe, and are recorded without it."""
    return (*cell[:4], "", *cell[5:])
