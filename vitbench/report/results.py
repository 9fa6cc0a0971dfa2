"""Measurements by cell, with mean, spread and number of seeds: what every table of a report is made of."""

import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vitbench.baselines import Measurement, cell_of
from vitbench.case import Case
from vitbench.metrics import METRICS


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

    def show(self, metric: str) -> str:
        """Such as `71.90` or, over seeds, `71.90 ± 0.31 (n = 5)`."""
        decimals = METRICS[metric].decimals
        if self.spread is None:
            return f"{self.mean:.{decimals}f}"
        return f"{self.mean:.{decimals}f} ± {self.spread:.{decimals}f} (n = {self.n})"


class Results:
    """Measurements, found by the case and metric that they belong to.

    Args:
        measurements: where two share a cell and a seed, the later date counts.
    """

    def __init__(self, measurements: Iterable[Measurement]) -> None:
        self.cells: dict[tuple[str, ...], dict[str, Measurement]] = {}
        for one in sorted(measurements, key=lambda one: one.date):
            self.cells.setdefault(one.cell, {})[one.seed] = one

    def __iter__(self) -> Iterator[Measurement]:
        return (one for _, cell in sorted(self.cells.items()) for _, one in sorted(cell.items()))

    def of(self, case: Case, budget: str, metric: str) -> dict[str, Measurement]:
        """Per seed, the measurement of a case."""
        cell = cell_of(case, budget, metric)
        return self.cells.get(cell) or self.cells.get((*cell[:4], "", *cell[5:]), {})

    def value(self, case: Case, budget: str, metric: str) -> Value | None:
        """Mean and spread of a case, or None where nothing was measured."""
        return _value([one.value for one in self.of(case, budget, metric).values()])

    def gain(self, case: Case, budget: str, metric: str) -> Value | None:
        """The case minus its plain baseline, paired by seed."""
        ours, plain = self.of(case, budget, metric), self.of(case.baseline, budget, metric)
        return _value([ours[seed].value - plain[seed].value for seed in sorted(ours.keys() & plain.keys())])

    def budgets(self, paper: str) -> list[str]:
        """Budgets under which something of a paper was trained."""
        return sorted({cell[5] for cell in self.cells if cell[0] == paper and cell[6] == "accuracy"})


def _value(values: list[float]) -> Value | None:
    if not values:
        return None
    spread = statistics.stdev(values) if len(values) > 1 else None
    return Value(mean=statistics.mean(values), spread=spread, n=len(values))
