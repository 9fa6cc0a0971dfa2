"""Tables that sweep a weight or an argument of a term, as plots: what each value gains, in print and here."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vitbench.case import Case
from vitbench.objective import Value
from vitbench.papers import Paper
from vitbench.report import tables
from vitbench.report.blocks import blocks
from vitbench.report.plot import Panel, Plot, Series, styled
from vitbench.report.results import Results
from vitbench.report.tables import Cell
from vitbench.tables import Table

LEAST = 3  # values of a sweep


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What one table sweeps, under one recipe.

    Attributes:
        what: such as "weight of drloc" or "ratio of me".
        cells: per data set and model, by value.
    """

    table: str
    recipe: str
    what: str
    cells: dict[tuple[str, str], dict[float, Cell]]

    @property
    def datasets(self) -> list[str]:
        """In printed order."""
        return list(dict.fromkeys(dataset for dataset, _ in self.cells))

    @property
    def is_measured(self) -> bool:
        """Whether something of it was."""
        return any(cell.ours_gain for group in self.cells.values() for cell in group.values())


def sweeps(paper: Paper, results: Results, budget: str) -> list[Sweep]:
    """Of each table that is one; of several recipes that read it those that measured something, else the first."""
    return results.once(("sweeps", paper.name, budget), lambda: list(_sweeps(paper, results, budget)))


def _sweeps(paper: Paper, results: Results, budget: str) -> Iterator[Sweep]:
    for table in paper.tables:
        for block in blocks(table):
            found = [one for recipe in block.recipes for one in _of(table, block.of(recipe), results, budget)]
            if not block.is_rerun:
                yield from [one for one in found if one.is_measured] or found[:1]


def _of(table: Table, cases: Sequence[Case], results: Results, budget: str) -> Iterator[Sweep]:
    methods = [one for one in tables.cells(table, cases, results, budget) if one.metric == "accuracy"]
    methods = [one for one in methods if not one.case.is_baseline and one.printed_gain is not None]
    by_terms: dict[tuple[str, ...], list[Cell]] = {}
    for one in methods:
        by_terms.setdefault(one.case.objective.names, []).append(one)
    for cells in by_terms.values():
        settings = [_settings(one.case) for one in cells]
        moving = [key for key in settings[0] if len({one.get(key) for one in settings}) > 1]
        values = [{one.get(key) for key in moving} for one in settings]
        if not moving or any(len(one) != 1 or not _is_number(*one) for one in values):
            continue  # nothing moves, or not together
        numbers = [float(str(next(iter(one)))) for one in values]
        groups: dict[tuple[str, str], dict[float, Cell]] = {}
        for number, cell in sorted(zip(numbers, cells, strict=True), key=lambda pair: pair[0]):
            groups.setdefault((cell.case.column, cell.case.model.printed), {})[number] = cell
        groups = {key: group for key, group in groups.items() if len(group) >= LEAST}
        what = " and ".join(f"{name} of {term}" for term, name in moving)
        if groups:
            yield Sweep(table=table.id, recipe=cells[0].case.recipe.name, what=what, cells=groups)


def _settings(case: Case) -> dict[tuple[str, str], Value]:
    """Every weight and argument of the objective, with the paper's defaults."""
    found: dict[tuple[str, str], Value] = {}
    for one in case.objective.with_arguments(case.defaults):
        found[one.name, "weight"] = one.weight
        found |= {(one.name, name): value for name, value in one.term.arguments.items()}
    return found


def _is_number(value: Value | None) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def plot(sweep: Sweep) -> Plot:
    """A panel for each data set, a colour for each model: printed hollow and dashed, ours filled with intervals."""
    ticks = sorted({value for group in sweep.cells.values() for value in group})
    models = list(dict.fromkeys(model for _, model in sweep.cells))
    panels = []
    for dataset in sweep.datasets:
        series: list[Series] = []
        for number, model in enumerate(models):
            group = sweep.cells.get((dataset, model), {})
            places = [float(ticks.index(value)) for value in group]
            series += _series(number, model, places, list(group.values()))
        panels.append(
            Panel(
                title=dataset,
                x_label=sweep.what,
                y_label="gain over plain ce (points)",
                series=series,
                levels=[(0.0, "plain ce", "#444444")],
                x_ticks=[(float(place), f"{value:g}") for place, value in enumerate(ticks)],
                height=220.0,
            )
        )
    return Plot(rows=[panels[place : place + 2] for place in range(0, len(panels), 2)], is_shared=True)


def _series(number: int, model: str, places: Sequence[float], cells: Sequence[Cell]) -> Iterator[Series]:
    printed = [cell.printed_gain or 0.0 for cell in cells]
    yield styled(number, Series(label=f"{model}, printed", x=places, y=printed, marker="circle", is_filled=False))
    known = [
        (place, cell.ours_gain.mean, _ends(cell)) for place, cell in zip(places, cells, strict=True) if cell.ours_gain
    ]
    if known:
        x, y, bars = zip(*known, strict=True)
        yield styled(number, Series(label=f"{model}, ours", x=x, y=y, bars=bars, stroke=None, marker="circle"))


def _ends(cell: Cell) -> tuple[float, float] | None:
    if cell.ours_gain is None or math.isinf(cell.half):
        return None
    return cell.ours_gain.mean - cell.half, cell.ours_gain.mean + cell.half
