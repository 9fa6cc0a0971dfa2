"""What came out here beside what is printed, a row for each number that was measured, and as a forest plot."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from vitbench.baselines import cell_of
from vitbench.case import Budget
from vitbench.metrics import METRICS
from vitbench.papers import Paper
from vitbench.report import costs, tables
from vitbench.report.blocks import blocks
from vitbench.report.markdown import Grid
from vitbench.report.plot import COLOURS, Panel, Plot, Series
from vitbench.report.results import Results
from vitbench.report.tables import Cell

NOTE = """\
The difference is that of the levels, which carry the machine, the libraries and each choice that the text leaves open;
what a method adds to plain `ce` travels better, and is what is judged where both are in print. The interval is that of
the gain, else of the level: of several seeds Student's t over them, of one the binomial error of the test images alone,
which leaves out what another seed would do. What is printed is taken for one run that spreads as ours do. Cost:
parameters and MACs of the network, then the training step in steps of plain `ce`, as timed or by its MACs."""
MOST = 40  # rows of one plot


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One printed number that was measured here.

    Attributes:
        cost: see `costs.cost`.
    """

    table: str
    budget: str
    cell: Cell
    cost: str

    @property
    def has_gain(self) -> bool:
        """Whether what is judged is a gain over plain cross-entropy."""
        return self.cell.printed_gain is not None and self.cell.ours_gain is not None

    @property
    def ends(self) -> tuple[float, float] | None:
        """Of the interval of what is judged; None where none is known."""
        value = self.cell.ours_gain if self.has_gain else self.cell.ours
        if value is None or math.isinf(self.cell.half):
            return None
        return value.mean - self.cell.half, value.mean + self.cell.half


def differences(paper: Paper, results: Results, budgets: Sequence[str]) -> list[Difference]:
    """Every printed number of a run that was measured, once for each recipe that reads it, with all its tables."""
    return results.once(("differences", paper.name, *budgets), lambda: _differences(paper, results, budgets))


def _differences(paper: Paper, results: Results, budgets: Sequence[str]) -> list[Difference]:
    found: dict[tuple[object, ...], list[Difference]] = {}
    for one in (one for budget in budgets for one in _of(paper, results, budget)):
        cell = one.cell
        key = (*cell_of(cell.case, one.budget, cell.metric), cell.printed, cell.printed_gain)
        found.setdefault(key, []).append(one)
    return [replace(alike[0], table=", ".join(dict.fromkeys(one.table for one in alike))) for alike in found.values()]


def _of(paper: Paper, results: Results, budget: str) -> Iterator[Difference]:
    if not any(cell[0] == paper.name and cell[5] == budget and cell[6] in tables.OF_RUNS for cell in results.cells):
        return
    for table in paper.tables:
        seen: set[tuple[str, str]] = set()
        for block in blocks(table):
            for recipe in block.recipes:
                for cell in tables.cells(table, block.of(recipe), results, budget):
                    key = (cell.case.id, cell.metric)
                    if cell.ours is not None and cell.printed is not None and key not in seen:
                        seen.add(key)
                        cost = costs.cost(paper, cell.case, results, budget)
                        yield Difference(table=table.id, budget=budget, cell=cell, cost=cost)


def difference_table(found: Sequence[Difference]) -> Grid:
    """A row for each; with the budget where it is not the paper's own alone, and the recipe where there are several."""
    by_budget = {one.budget for one in found} != {Budget.PAPER}
    by_recipe = len({one.cell.case.recipe.name for one in found}) > 1
    headers = ["Table", *["Budget"] * by_budget, *["Recipe"] * by_recipe, "Data", "Model", "Loss"]
    headers += ["ours", "printed", "difference", "gain, ours", "gain, printed", "95 % interval", "verdict", "cost"]
    rows = []
    for one in found:
        cell, case = one.cell, one.cell.case
        data = case.column if cell.metric == "accuracy" else f"{case.column} {cell.metric}"
        row = [
            one.table,
            *[one.budget] * by_budget,
            *[case.recipe.name] * by_recipe,
            data,
            case.model.printed,
            case.loss,
        ]
        rows.append([*row, *_numbers(one), str(cell.verdict), one.cost])
    return headers, rows


def _numbers(one: Difference) -> list[str]:
    cell = one.cell
    ours, printed = cell.ours, cell.printed or 0.0
    assert ours is not None
    gains = ["", ""]
    if one.has_gain and cell.ours_gain is not None:
        gains = [f"{cell.ours_gain.mean:+.2f}", f"{cell.printed_gain:+.2f}"]
    return [ours.show(cell.metric), f"{printed:.2f}", f"{ours.mean - printed:+.2f}", *gains, _interval(one)]


def _interval(one: Difference) -> str:
    """With what it rests on."""
    value = one.cell.ours_gain if one.has_gain else one.cell.ours
    if one.ends is None or value is None:
        return "none"
    sign = "+" if one.has_gain else ""
    n = f"{value.n} seeds" if one.cell.is_of_seeds else f"test images, n = {value.n}"
    return f"{one.ends[0]:{sign}.2f} to {one.ends[1]:{sign}.2f} ({n})"


def forests(found: Sequence[Difference]) -> dict[str, list[Difference]]:
    """What each forest plot shows: the gains of a budget, of a table where those are too many for one."""
    gains = [one for one in found if one.has_gain and METRICS[one.cell.metric].better == "higher"]
    groups: dict[str, list[Difference]] = {}
    for one in gains:
        is_long = sum(other.budget == one.budget for other in gains) > MOST
        groups.setdefault(f"{one.budget}-{one.table.partition(',')[0]}" if is_long else one.budget, []).append(one)
    return groups


def forest(found: Sequence[Difference]) -> Plot:
    """Gains with their intervals, a row each, the printed one beside ours."""
    by_recipe = len({one.cell.case.recipe.name for one in found}) > 1
    names = []
    for one in found:
        case = one.cell.case
        metric = "" if one.cell.metric == "accuracy" else f" {one.cell.metric}"
        recipe = f", {case.recipe.name}" if by_recipe else ""
        names.append(f"{case.model.printed}, {case.loss}, {case.column}{metric}{recipe}")
    y = [float(len(found) - number) for number in range(len(found))]
    ours = [one.cell.ours_gain.mean for one in found if one.cell.ours_gain]
    label = "ours, with its 95 % interval"
    spans = [one.ends for one in found]
    series = [
        Series(label=label, x=ours, y=y, spans=spans, colour=COLOURS[0], stroke=None, marker="square"),
        Series(
            label="printed",
            x=[one.cell.printed_gain or 0.0 for one in found],
            y=y,
            colour=COLOURS[1],
            stroke=None,
            marker="diamond",
            is_filled=False,
        ),
    ]
    panel = Panel(
        x_label="gain over plain ce (points)",
        series=series,
        y_ticks=list(zip(y, names, strict=True)),
        zero=0.0,
        height=20.0 * (len(found) + 1),
    )
    return Plot(rows=[[panel]])
