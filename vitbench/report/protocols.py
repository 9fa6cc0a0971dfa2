"""Tables that several recipes run, in long form: first what the method adds, then the levels, side by side."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from vitbench.case import Budget, Case, Recipe
from vitbench.metrics import METRICS
from vitbench.report import tables
from vitbench.report.blocks import Block, blocks, shown_under
from vitbench.report.markdown import Grid, Markup
from vitbench.report.results import Results
from vitbench.report.tables import NOTHING, QUICK_METRICS, Cell
from vitbench.tables import Table

Row = tuple[str, str, str]  # data set with metric, model and loss, as they are shown
Rows = dict[Row, dict[str, Cell]]  # by name of the recipe


def is_long(table: Table) -> bool:
    """Whether a table is shown a row per data set, model and loss: several recipes run it, or it prints gains."""
    return any(case.reading or case.claim("gain") for case in table.cases)


def measured(table: Table, block: Block, results: Results, budget: str) -> Block:
    """A block with those models and data sets alone of which something was measured under a budget."""
    found = tables.cells(table, block.cases, results, budget)
    kept = {(one.case.model.name, one.case.column) for one in found if one.ours}
    return replace(block, cases=tuple(one for one in block.cases if (one.model.name, one.column) in kept))


def long_table(table: Table, block: Block, results: Results, budget: str) -> Grid:
    """A block: gains in print and of ours, then levels, then verdicts; what the recipes gave stands side by side.

    Without the columns of what is in print where nothing is.
    """
    found = tables.cells(table, block.cases, results, budget)
    best = tables.best_of(found)
    names = _names(block.recipes)
    in_print = any(cell.printed is not None or cell.printed_gain is not None for cell in found)
    headers = ["Data", "Model", "Loss", *["gain, printed"] * in_print, *(f"gain, {name}" for name in names.values())]
    headers += [*["printed"] * in_print, *names.values()]
    headers += [f"verdict{name.removeprefix('ours')}" for name in names.values()] * in_print
    rows = []
    for row, cells in _rows(found, block.columns).items():
        first, shown = next(iter(cells.values())), [cells.get(name) for name in names]
        gains = [_our_gain(cell) for cell in shown]
        levels = [_our_level(cell, best) for cell in shown]
        verdicts = [_verdict(cell) for cell in shown] * in_print
        printed = [[_printed_gain(first)] * in_print, [_printed_level(first)] * in_print]
        rows.append([*row, *printed[0], *gains, *printed[1], *levels, *verdicts])
    return headers, rows


def rerun_table(table: Table, block: Block, results: Results, budget: str) -> Grid:
    """The authors' own second run, beside the printed numbers of the same rows and what its recipe gave here."""
    others = [case for one in blocks(table) if not one.is_rerun for case in one.cases]
    printed = _rows(tables.cells(table, others, results, budget))
    found = tables.cells(table, block.cases, results, budget)
    best = tables.best_of(found)
    headers = ["Data", "Model", "Loss", "gain, printed", "gain, re-run", "gain, ours"]
    headers += ["printed", "re-run", "ours", "verdict on the re-run"]
    rows = []
    for row, cells in _rows(found).items():
        cell, beside = next(iter(cells.values())), next(iter(printed.get(row, {}).values()), None)
        gains = [_printed_gain(beside) if beside else "", _printed_gain(cell), _our_gain(cell)]
        levels = [_printed_level(beside) if beside else "", _printed_level(cell), _our_level(cell, best)]
        rows.append([*row, *gains, *levels, _verdict(cell)])
    return headers, rows


def quick_table(cases: Sequence[Case], results: Results, order: Sequence[str]) -> Grid:
    """A table under the quick budget, on one data set, what the recipes gave side by side; never compared with print.

    Args:
        cases: of one table and one data set.
        order: names of the paper's recipes; that of a network which only here is trained from scratch stands last.
    """
    under = shown_under([case.recipe for case in cases])
    recipes = {case.recipe.name: case.recipe for case in cases if case.recipe.name in under.values()}
    places = {name: place for place, name in enumerate(order)}
    names = _names(sorted(recipes.values(), key=lambda one: places.get(one.name, len(places))))
    metrics = [name for name in QUICK_METRICS if any(results.value(case, Budget.QUICK, name) for case in cases)]
    headers = ["Model", "Loss", *(f"gain{name.removeprefix('ours')} (points)" for name in names.values())]
    for metric in metrics:
        headers += [f"{metric}{name.removeprefix('ours')} ({METRICS[metric].unit})" for name in names.values()]
    rows: dict[tuple[str, str], dict[str, Case]] = {}
    for case in cases:
        rows.setdefault((case.model.printed, str(case.objective)), {})[under[case.recipe.name]] = case
    body = []
    for row, found in rows.items():
        own = [found.get(name) for name in names]
        values = [_quick(case, metric, results) for metric in metrics for case in own]
        if any(one != NOTHING for one in values):
            body.append([*row, *(_quick_gain(case, results) for case in own), *values])
    return headers, body


def misprints(table: Table) -> Iterator[str]:
    """Gains in print that are not the difference of the numbers in print, a line each, where no note says so."""
    for block in blocks(table):
        own = block.of(block.recipes[0])
        for cell in tables.cells(table, own, Results([]), Budget.PAPER):
            claim = cell.case.claim("gain")
            if _is_off(cell) and claim and not claim.note:
                says = f"prints a gain of {cell.quoted_gain:+.2f}, its accuracies differ by {cell.printed_gain:+.2f}"
                yield f"{', '.join(_row(cell)[1:])}, {cell.case.dataset}: {says}"


def _names(recipes: Sequence[Recipe]) -> dict[str, str]:
    """By name of a recipe, how the columns of ours are headed."""
    return {one.name: f"ours, {one.name}" if len(recipes) > 1 else "ours" for one in recipes}


def _rows(found: Iterable[Cell], columns: Mapping[str, str] | None = None) -> Rows:
    """Cells by row and by recipe; the recipes of `columns` stand in those of others."""
    rows: Rows = {}
    for cell in found:
        name = cell.case.recipe.name
        rows.setdefault(_row(cell), {})[(columns or {}).get(name, name)] = cell
    return rows


def _row(cell: Cell) -> Row:
    data = cell.case.column if cell.metric == "accuracy" else f"{cell.case.column} {cell.metric}"
    return data, cell.case.model.printed, str(cell.case.objective)


def _is_off(cell: Cell) -> bool:
    if cell.quoted_gain is None or cell.printed_gain is None:
        return False
    return abs(cell.quoted_gain - cell.printed_gain) > 0.005  # half of the last printed digit


def _printed_gain(cell: Cell) -> str:
    gain = cell.printed_gain if cell.quoted_gain is None else cell.quoted_gain
    return "" if gain is None else f"{gain:+.2f}{' (sic)' if _is_off(cell) else ''}"


def _printed_level(cell: Cell) -> str:
    if cell.printed is None:
        return ""
    return f"{cell.printed:.2f}" if cell.spread is None else f"{cell.printed:.2f} ± {cell.spread:.2f}"


def _our_gain(cell: Cell | None) -> str:
    if cell is None or cell.case.is_baseline:
        return ""
    return NOTHING if cell.ours_gain is None else cell.ours_gain.show("gain", signed=True)


def _our_level(cell: Cell | None, best: set[Cell]) -> str:
    if cell is None:
        return ""
    shown = NOTHING if cell.ours is None else cell.ours.show(cell.metric)
    return Markup(f"**{shown}**") if cell in best else shown


def _verdict(cell: Cell | None) -> str:
    return "" if cell is None or cell.printed is None else str(cell.verdict)


def _quick(case: Case | None, metric: str, results: Results) -> str:
    value = results.value(case, Budget.QUICK, metric) if case else None
    return value.show(metric) if value else NOTHING


def _quick_gain(case: Case | None, results: Results) -> str:
    if case is None or case.is_baseline:
        return ""
    gain = results.gain(case, Budget.QUICK, "accuracy")
    return gain.show("gain", signed=True) if gain else NOTHING
