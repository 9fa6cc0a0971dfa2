"""What recorded baselines are of: lines of no case, of another version, and cases of which nothing is recorded."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from vitbench import identity, leaves
from vitbench.baselines import ANY, Measurement, cell_of
from vitbench.case import Budget, Case
from vitbench.papers import Paper
from vitbench.reference import is_stale
from vitbench.selection import Selection, sizes, timings, trained


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """Recorded lines and cases that do not find each other.

    Attributes:
        unused: lines of no case: it was renamed or left out, or an option had added it.
        stale: accuracies that another version of what determines them recorded.
        missing: per budget, cases of which no accuracy is recorded.
        cases: per budget, how many there are.
    """

    unused: tuple[Measurement, ...]
    stale: tuple[Measurement, ...]
    missing: dict[Budget, tuple[Case, ...]]
    cases: dict[Budget, int]

    def lines(self) -> Iterator[str]:
        """The same for somebody to read."""
        if self.unused:
            first = ", ".join(filter(None, self.unused[0].cell))
            yield f"unused: {len(self.unused)} recorded lines are of no case of the tables, such as {first}"
        if self.stale:
            first = ", ".join(filter(None, self.stale[0].cell))
            yield f"stale: {len(self.stale)} accuracies are of another version, such as {first}"
        for budget, cases in self.missing.items():
            such = f", such as {cases[0].id}" if cases else ""
            yield f"missing: {len(cases)} of {self.cases[budget]} cases have no accuracy, {budget} budget{such}"


def of(papers: Sequence[Paper], recorded: Sequence[Measurement]) -> Inventory:
    """Take stock of every budget under which something is recorded."""
    used: set[tuple[str, ...]] = set()
    stale: list[Measurement] = []
    missing: dict[Budget, tuple[Case, ...]] = {}
    counts: dict[Budget, int] = {}
    lines: dict[tuple[str, ...], list[Measurement]] = {}
    for one in recorded:
        lines.setdefault(one.cell, []).append(one)
    for budget in (Budget.QUICK, Budget.SHORT, Budget.PAPER):
        cases = _cases(papers, recorded, budget)
        steps = list(trained(cases, budget))
        timed = [case for one in timings(steps) for case in (one, one.baseline)]
        needed = [one for case in cases for one in case.needed(budget)]
        used |= {cell_of(one, budget, "")[:-1] for one in (*needed, *timed)}
        if budget == Budget.PAPER:
            sized = (cell_of(one, budget, "")[:-1] for one in sizes(papers, steps))
            used |= {(*cell[:4], "", cell[5]) for cell in sized}
        if not any(one.budget == budget and one.metric == "accuracy" for one in recorded):
            continue
        # Of the quick budget only the rows that are run without options.
        shown = cases if budget != Budget.QUICK else Selection(budget=budget).cases(papers)
        trainings = [case for case in shown if case.recipe.kind == "run"]
        counts[budget] = len(trainings)
        missing[budget] = tuple(case for case in trainings if cell_of(case, budget, "accuracy") not in lines)
        stale += [
            one
            for case in trainings
            for one in lines.get(cell_of(case, budget, "accuracy"), ())
            if _is_stale(case, budget, one)
        ]
    unused = tuple(one for one in recorded if one.cell[:-1] not in used)
    return Inventory(unused=unused, stale=tuple({one: None for one in stale}), missing=missing, cases=counts)


def _cases(papers: Sequence[Paper], recorded: Iterable[Measurement], budget: Budget) -> list[Case]:
    """Every case of a budget, in the quick one on whatever something was trained on."""
    if budget != Budget.QUICK:
        return Selection(budget=budget).cases(papers)
    names = {one.dataset for one in recorded if one.budget == budget and one.machine != ANY}
    datasets, _ = leaves.there("datasets", names)  # lines of others are unused
    return Selection(budget=budget, all_rows=True, datasets=tuple(datasets)).cases(papers)


def _is_stale(case: Case, budget: Budget, one: Measurement) -> bool:
    if not one.seed.isdecimal() or case.recipe.start == "published":  # the weights' digest is not recorded
        return False
    now = identity.of_run(case, budget=budget, seed=int(one.seed), precision=one.precision)
    return is_stale(one, now.key)
