"""Measurements by cell, with mean, spread and number of seeds: what every table of a report is made of."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import groupby

from vitbench import statistics
from vitbench.baselines import Measurement, cell_of
from vitbench.case import Case
from vitbench.metrics import METRICS
from vitbench.report.memo import Memo

NO_SPREAD = 1e-7  # percent that are rounding: accuracies on few images come in steps, which two seeds share by chance


@dataclass(frozen=True, kw_only=True)
class Value:
    """What was measured in a cell.

    Attributes:
        spread: sample standard deviation over seeds, or None with fewer than two.
        n: number of seeds.
    """

    mean: float
    spread: float | None
    n: int

    def half(self, *, beside: int = 0) -> float | None:
        """Half of the 95 % interval over seeds; None with one seed, or where all of them gave the same.

        Args:
            beside: of the distance from the mean of so many others, see `statistics.half_width`.
        """
        if self.spread is None or self.spread <= NO_SPREAD:
            return None
        return statistics.half_width(self.spread, self.n, beside=beside)

    def show(self, metric: str, *, signed: bool = False) -> str:
        """Such as `71.90` or, over seeds, `71.90 ± 0.31 (n = 5)`; with its sign where it is a difference."""
        decimals = METRICS[metric].decimals
        mean = f"{self.mean:{'+' if signed else ''}.{decimals}f}"
        return mean if self.spread is None else f"{mean} ± {self.spread:.{decimals}f} (n = {self.n})"


@dataclass(frozen=True, kw_only=True, order=True)
class Place:
    """What a speed is measured on and with; nothing measured elsewhere is averaged with it."""

    machine: str
    device: str
    precision: str
    engine: str


class Results(Memo):
    """Measurements, found by the case and metric that they belong to.

    Accuracies of several machines are of one experiment: where two share a cell, a seed and a precision, the later date
    counts. Precisions are never mixed: a cell shows fp32, or the first precision by name where it has no fp32.
    Speeds are those of a place, see `on`.

    Args:
        measurements: of any papers, machines and dates.
        place: the only one whose speeds are found; None finds no speed.
    """

    def __init__(self, measurements: Iterable[Measurement], *, place: Place | None = None) -> None:
        kept: dict[tuple[object, ...], Measurement] = {}
        for one in sorted(measurements, key=lambda one: (one.date, one.machine, one.key)):
            where = one.precision if METRICS[one.metric].portable else place_of(one)
            kept[one.cell, one.seed, where] = one
        self.measurements = sorted(kept.values(), key=_by_cell)
        self.groups = {cell: list(group) for cell, group in groupby(self.measurements, key=lambda one: one.cell)}
        self._look(place)

    def _look(self, place: Place | None) -> None:
        self.cells = {cell: self._shown(group, place) for cell, group in self.groups.items()}
        self._values: dict[tuple[str, ...], Value | None] = {}  # that were asked for
        self.memo = {}

    @staticmethod
    def _shown(group: list[Measurement], place: Place | None) -> dict[str, Measurement]:
        if not METRICS[group[0].metric].portable:
            return {one.seed: one for one in group if place_of(one) == place}
        precision = min((one.precision for one in group), key=lambda name: (name != "fp32", name))
        return {one.seed: one for one in group if one.precision == precision}

    def __iter__(self) -> Iterator[Measurement]:
        return iter(self.measurements)

    def places(self, paper: str, budget: str) -> list[Place]:
        """Where training steps or inference of a paper were timed."""
        return sorted(place for one, place in self.once(("places", paper), lambda: self._timed(paper)) if one == budget)

    def _timed(self, paper: str) -> set[tuple[str, Place]]:
        timed = (one for one in self if one.metric in ("training", "inference"))
        return {(one.budget, place_of(one)) for one in timed if one.paper == paper}

    def on(self, place: Place) -> "Results":
        """The same with the speeds of one place."""
        return self.once(("on", place), lambda: self._on(place))

    def _on(self, place: Place) -> "Results":
        other = Results(())
        other.measurements, other.groups = self.measurements, self.groups
        other._look(place)
        return other

    def of(self, case: Case, budget: str, metric: str) -> dict[str, Measurement]:
        """Per seed, the measurement of a case."""
        cell = cell_of(case, budget, metric)
        return self.cells.get(cell) or self.cells.get((*cell[:4], "", *cell[5:]), {})

    def value(self, case: Case, budget: str, metric: str) -> Value | None:
        """Mean and spread of a case, or None where nothing was measured."""
        cell = cell_of(case, budget, metric)
        if cell not in self._values:
            self._values[cell] = _value([one.value for one in self.of(case, budget, metric).values()])
        return self._values[cell]

    def gain(self, case: Case, budget: str, metric: str) -> Value | None:
        """The case minus its plain baseline, paired by seed and of one precision."""
        ours, plain = self.of(case, budget, metric), self.of(case.baseline, budget, metric)
        pairs = [(ours[seed], plain[seed]) for seed in sorted(ours.keys() & plain.keys())]
        return _value([one.value - other.value for one, other in pairs if one.precision == other.precision])

    def budgets(self, paper: str) -> list[str]:
        """Budgets under which something of a paper was trained."""
        return sorted({cell[5] for cell in self.cells if cell[0] == paper and cell[6] == "accuracy"})


def place_of(one: Measurement) -> Place:
    """Where a measurement was made."""
    return _place(one.machine, one.device, one.precision, one.engine)


@cache
def _place(machine: str, device: str, precision: str, engine: str) -> Place:
    return Place(machine=machine, device=device, precision=precision, engine=engine)


def _by_cell(one: Measurement) -> tuple[object, ...]:
    return one.cell, one.seed, one.machine, one.device, one.precision, one.engine


def _value(values: list[float]) -> Value | None:
    if not values:
        return None
    spread = statistics.deviation(values) if len(values) > 1 else None
    return Value(mean=math.fsum(values) / len(values), spread=spread, n=len(values))
