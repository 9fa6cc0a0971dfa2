"""Accuracies in print, as a leaderboard shows them: apart, and ranked with nothing that was measured here."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from vitbench.case import Budget, Case
from vitbench.papers import Paper
from vitbench.printed import Printed
from vitbench.report.experiments import Sizes
from vitbench.report.material import Material
from vitbench.tables import Table

ACCURACIES = ("accuracy", "best_accuracy")


@dataclass(frozen=True, kw_only=True)
class PrintedRow:
    """One printed accuracy.

    Attributes:
        table: ids of the tables that print it.
        recipe: names of those that it is read by here, or of what it is listed under.
        selection: the epoch that it is of, "last" or "best"; empty where no recipe says.
        accuracy: in percent.
        spread: what is printed as its standard deviation, or None.
        source: "printed", "rerun" or "read-off".
        status, reason: whether it can be run here, and if not, what is missing.
        params, macs: in M and G, counted here; None where they were not.
        case: id of the first case that it is printed for; empty where there is none.
        measured: whether it was run here under the paper's own budget, by any of the recipes.
    """

    paper: str
    table: str
    model: str
    objective: str
    dataset: str
    recipe: str
    selection: str
    accuracy: float
    spread: float | None
    source: str
    status: str
    reason: str
    note: str
    params: float | None = None
    macs: float | None = None
    case: str = ""
    measured: bool = False


def printed_rows(material: Material) -> list[PrintedRow]:
    """Every printed accuracy on a data set, once, however many tables repeat it, where the paper's budget is shown."""
    if Budget.PAPER not in material.cases:
        return []
    sizes = Sizes(material.results)
    found: dict[tuple[object, ...], PrintedRow] = {}
    for paper in material.papers:
        for table in paper.tables:
            for row in _of(paper, table, material, sizes):
                key = (paper.name, row.model, row.objective, row.dataset, row.recipe, row.source, row.accuracy)
                first = found.get(key)
                found[key] = replace(first, table=f"{first.table}, {row.table}") if first else row
    return list(found.values())


def _of(paper: Paper, table: Table, material: Material, sizes: Sizes) -> Iterator[PrintedRow]:
    cases: dict[tuple[str, str, str], list[Case]] = {}
    for case in table.cases:
        cases.setdefault((case.model.name, str(case.objective), case.column), []).append(case)
    spreads = {one.cell: one.claim.value for one in table.printed if one.claim.metric == "accuracy_std"}
    for one in table.printed:
        if one.claim.metric in ACCURACIES and one.model and one.dataset:
            own = [case for case in cases.get(one.cell, ()) if case.recipe.name in one.recipes]
            row = _row(paper, table, one, own)
            if own:
                results = material.results
                measured = any(results.of(case, Budget.PAPER, name) for case in own for name in ACCURACIES)
                params, macs = (sizes.value(own[0], Budget.PAPER, name) for name in ("params", "macs"))
                row = replace(row, params=params, macs=macs, case=own[0].id, measured=measured)
            yield replace(row, spread=spreads.get(one.cell))


def _row(paper: Paper, table: Table, one: Printed, cases: list[Case]) -> PrintedRow:
    claim = one.claim
    if claim.metric == "best_accuracy":
        selection = "best"
    else:
        selection = paper.recipes[one.recipes[0]].selection if one.recipes else ""
    return PrintedRow(
        paper=paper.name,
        table=table.id,
        model=paper.models[one.model].printed,
        objective=cases[0].loss if cases else str(one.objective or ""),
        dataset=one.dataset,
        recipe=", ".join(one.recipes) or one.label,
        selection=selection,
        accuracy=claim.value,
        spread=None,
        source=claim.source,
        status=str(claim.status),
        reason=claim.reason,
        note=claim.note,
    )
