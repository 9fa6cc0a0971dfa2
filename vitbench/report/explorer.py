"""Every cell of every table as one flat table: what was printed, what came out, what it is judged, what it costs."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from vitbench.case import Budget, Case, Claim
from vitbench.compare import Z95, ClaimVerdict
from vitbench.metrics import CONVENTIONS, METRICS
from vitbench.papers import Paper
from vitbench.printed import Printed
from vitbench.report import costs, datasets, tables
from vitbench.report.material import Material
from vitbench.report.provenance import Numbers, options
from vitbench.report.results import Results
from vitbench.report.tables import Cell
from vitbench.tables import Table

NOT_JUDGED = "not judged"  # measured, and nothing is in print beside it
ANY = "any"  # budget of what is counted and not run
PRINT_ONLY = "in print only"  # nothing here can run it
# Names of columns, in order, and whether they hold numbers.
COLUMNS = {
    "model": ("Model", False),
    "objective": ("Objective", False),
    "dataset": ("Data set", False),
    "metric": ("Metric", False),
    "budget": ("Budget", False),
    "table": ("Table", False),
    "printed": ("Printed", True),
    "ours": ("Ours", True),
    "printed_gain": ("Gain, printed", True),
    "gain": ("Gain, ours", True),
    "interval": ("95 % interval", True),
    "verdict": ("Verdict", False),
    "paper": ("Paper", False),
    "recipe": ("Recipe", False),
    "params": ("Params (M)", True),
    "macs": ("MACs (G)", True),
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One cell of a table.

    Attributes:
        cells: text by name of the column; a column that is not there is empty.
        numbers: by name of the column, the number whose records it opens, see `Numbers`.
    """

    cells: dict[str, str]
    numbers: dict[str, int] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """What the cell is judged."""
        return self.cells["verdict"]

    @property
    def is_run(self) -> bool:
        """Whether there is anything of ours in it."""
        return bool(self.cells.get("ours"))


def rows(material: Material, numbers: Numbers) -> list[Row]:
    """Every cell: what was measured, beside print before the rest, then what was not run; by paper and table each.

    What is printed is shown beside the paper's own budget, or beside the only one that there is; of other budgets, and
    of the quick one, what was measured.

    Args:
        numbers: takes the records of each number.
    """
    found = [row for paper in material.papers for row in _Rows(paper, material, numbers).all()]
    return sorted(found, key=lambda row: (not row.is_run, not row.cells["printed"] if row.is_run else False))


@dataclass(frozen=True)
class _Rows:
    """The rows of one paper."""

    paper: Paper
    material: Material
    numbers: Numbers

    @property
    def results(self) -> Results:
        return self.material.results

    def all(self) -> Iterator[Row]:
        own = self.material.of(self.paper)
        compared = [budget for budget in own if budget != Budget.QUICK]
        full = Budget.PAPER if Budget.PAPER in own else next(iter(compared), None)
        for budget, cases in own.items():
            yield from (
                self._merged(cases, budget)
                if budget == Budget.QUICK
                else (
                    self._row(cell, budget, cell.case.table)
                    for cell in self._cells(cases, budget)
                    if budget == full or cell.ours
                )
            )
        if compared:
            yield from map(self._size, costs.printed_sizes(self.paper, self.results))
            for table in self.paper.tables:
                if not datasets.is_of_datasets(table):
                    yield from (self._print_only(table, one) for one in table.printed if _is_print_only(one))

    def _cells(self, cases: Sequence[Case], budget: Budget) -> Iterator[Cell]:
        for table in self.paper.tables:
            yield from tables.cells(table, [one for one in cases if one.table == table.id], self.results, budget)

    def _merged(self, cases: Sequence[Case], budget: Budget) -> Iterator[Row]:
        """Cells that several tables have, which are one where nothing is printed beside them."""
        groups: dict[tuple[str, ...], list[Cell]] = {}
        for cell in self._cells(cases, budget):
            case = cell.case
            if cell.ours:
                key = (case.model.name, case.loss, case.dataset, case.recipe.name, cell.metric)
                groups.setdefault(key, []).append(cell)
        for found in groups.values():
            yield self._row(found[0], budget, ", ".join(dict.fromkeys(cell.case.table for cell in found)))

    def _row(self, cell: Cell, budget: Budget, table: str) -> Row:
        case, metric = cell.case, tables.selected(cell.case, cell.metric)
        made = self.results.of(case, budget, metric)
        plain = {} if case.is_baseline else self.results.of(case.baseline, budget, metric)
        number = self.numbers.add(
            case.id,
            metric,
            made.values(),
            options=options(budget, case.dataset, case.model.name if _is_added(case) else ""),
            plain=case.baseline.id if plain else "",
            beside=plain.values(),
        )
        verdict = str(cell.verdict)
        if cell.printed is None:
            verdict = NOT_JUDGED if cell.ours else str(ClaimVerdict.NOT_RUN)
        cells = {
            "model": case.model.printed,
            "objective": case.loss,
            "dataset": case.column,
            "metric": metric,
            "budget": str(budget),
            "printed": _printed(case.claim(cell.metric)),
            "ours": cell.ours.show(metric) if cell.ours else "",
            "printed_gain": "" if cell.printed_gain is None else f"{cell.printed_gain:+.2f}",
            "gain": f"{cell.ours_gain.mean:+.2f}" if cell.ours_gain else "",
            "interval": interval(cell),
            "verdict": verdict,
            "paper": self.paper.name,
            "table": table,
            "recipe": _recipe(case),
        }
        counted = {} if budget == Budget.QUICK else self._counted(case)  # whose networks are tiny ones
        cells |= {name: text for name, (text, _) in counted.items()}
        opened = {"ours": number, "gain": number if cell.ours_gain else None}
        opened |= {name: one for name, (_, one) in counted.items()}
        return Row(cells=cells, numbers={name: one for name, one in opened.items() if one is not None})

    def _counted(self, case: Case) -> dict[str, tuple[str, int | None]]:
        """Parameters and MACs of a case's network: text, and the number that opens their record."""
        one = self._sized(case)
        values = {metric: self.results.value(one, Budget.PAPER, metric) for metric in costs.SIZES}
        return {
            metric: (value.show(metric), self._number_of_size(one, metric)) for metric, value in values.items() if value
        }

    def _sized(self, case: Case) -> Case:
        """The case under which the size of a case's network is recorded: plain, or with its own terms."""
        found = [costs.sized(self.paper, one, self.results) or case for one in (case.baseline, case)]
        return next((one for one in found if self.results.of(one, Budget.PAPER, "params")), case)

    def _number_of_size(self, one: Case, metric: str) -> int | None:
        return self.numbers.add(one.id, metric, self.results.of(one, Budget.PAPER, metric).values())

    def _size(self, one: costs.Size) -> Row:
        """A size in print, which was counted here as it was there."""
        claim, table = one.printed.claim, next(table for table in self.paper.tables if table.id == one.table)
        cells = self._cells_of_print(table.id, one.printed) | {"dataset": one.dataset, "verdict": str(one.verdict)}
        cells["budget"] = ANY
        if one.ours is None:
            return Row(cells=cells)
        of_model = next(case for case in table.cases if case.model.name == one.printed.model)
        metric = CONVENTIONS.get(claim.convention, claim.metric)
        number = self._number_of_size(self._sized(replace(of_model, dataset=one.dataset)), metric)
        cells |= {"metric": metric, "ours": f"{one.ours:.{METRICS[metric].decimals}f}"}
        return Row(cells=cells, numbers={} if number is None else {"ours": number})

    def _print_only(self, table: Table, one: Printed) -> Row:
        return Row(cells=self._cells_of_print(table.id, one) | {"verdict": PRINT_ONLY})

    def _cells_of_print(self, table: str, one: Printed) -> dict[str, str]:
        return {
            "model": self.paper.models[one.model].printed if one.model else "",
            "objective": str(one.objective or ""),
            "dataset": one.dataset,
            "metric": one.claim.metric,
            "budget": "",
            "printed": _printed(one.claim),
            "paper": self.paper.name,
            "table": table,
            "recipe": one.label,
        }


def interval(cell: Cell) -> str:
    """Of what a method adds here: of several seeds over them, else of the test images; empty where neither is known."""
    if cell.ours_gain is None:
        return ""
    over_seeds = cell.ours_gain.half()
    half = Z95 * cell.error if over_seeds is None else over_seeds
    if math.isinf(half):
        return ""
    return f"{cell.ours_gain.mean - half:+.2f} to {cell.ours_gain.mean + half:+.2f}"


def _is_added(case: Case) -> bool:
    """Whether its model is a user's, which no paper prints under such a name."""
    return case.model.printed == case.model.full == case.model.tiny


def _is_print_only(one: Printed) -> bool:
    return not one.recipes and not (one.claim.metric in costs.SIZES and one.objective)


def _printed(claim: Claim | None) -> str:
    """With where it is from, where that is not the page itself."""
    if claim is None:
        return ""
    is_usual = claim.metric in tables.OF_RUNS and round(claim.value, 2) == claim.value
    text = f"{claim.value:.2f}" if is_usual else f"{claim.value:.10g}"
    return text if claim.source == "printed" else f"{text} ({claim.source})"


def _recipe(case: Case) -> str:
    """Its name, and the protocol where the name does not say it."""
    name, protocol = case.recipe.name, case.recipe.protocol
    return name if name == protocol else f"{name} ({protocol})"
