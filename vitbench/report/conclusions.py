"""What a paper concludes in words, held against its printed numbers and against ours, as a table."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from vitbench import compare
from vitbench.case import Case
from vitbench.conclusions import Conclusion, Holding, Row, Rows
from vitbench.metrics import METRICS
from vitbench.papers import Paper
from vitbench.report import costs
from vitbench.report.blocks import blocks, by_protocol
from vitbench.report.markdown import Grid
from vitbench.report.results import Results, Value
from vitbench.report.tables import selected, test_images
from vitbench.tables import Table

NOT_PRINTED = "no number"


def conclusion_table(paper: Paper, results: Results, budgets: Sequence[str]) -> Grid:
    """The paper's own conclusions, held against its printed numbers and against ours, a column per protocol."""
    return results.once(("conclusions", paper.name, *budgets), lambda: _conclusion_table(paper, results, budgets))


def _conclusion_table(paper: Paper, results: Results, budgets: Sequence[str]) -> Grid:
    tables = {table.id: table for table in paper.tables}
    protocols = _protocols(paper)
    read: dict[tuple[str, str], list[list[Case]]] = {
        (table.id, one): by_protocol(table, one) if table.cases else [[]]
        for table in paper.tables
        for one in ["", *protocols]
    }
    headers = ["Conclusion", "Where", "in print"]
    for budget in budgets:
        headers += [f"ours, {budget} budget, protocol {one}" for one in protocols] or [f"ours, {budget}"]
    rows = []
    for conclusion in paper.conclusions:
        table = tables[conclusion.table]
        in_print = _held(conclusion, [partial(_printed_rows, table, cases) for cases in read[table.id, ""]])
        held = [in_print if conclusion.in_print else NOT_PRINTED]
        for budget in budgets:
            for protocol in protocols or [""]:
                layers = [_Ours(paper, cases, results, budget) for cases in read[table.id, protocol]]
                held.append(_held(conclusion, [one.rows for one in layers], ours=True))
        rows.append([conclusion.text, f"{conclusion.where}, Table {table.id}", *held])
    return headers, rows


def _protocols(paper: Paper) -> list[str]:
    """Protocols that a table of the paper is read by, where there are several."""
    found = {
        recipe.protocol: None
        for table in paper.tables
        for block in blocks(table)
        for recipe in block.recipes
        if not block.is_rerun
    }
    return list(found) if len(found) > 1 else []


def _held(conclusion: Conclusion, layers: Sequence[Rows], *, ours: bool = False) -> str:
    """One verdict on a table that is printed several times, for other epochs: it has to hold each time."""
    results = [conclusion.judge(rows, ours=ours) for rows in layers]
    order = (Holding.CONTRADICTED, Holding.NOT_RUN, Holding.UNDECIDED, Holding.HOLDS)
    return next((str(one) for one in order if one in results), "")


def _printed_rows(table: Table, cases: Sequence[Case], model: str, dataset: str, metric: str) -> list[Row]:
    """Of the cases, else of what is of no case; there, the size of a network is printed for no data set."""
    claims = [(case.objective, case.claim(metric)) for case in _rows_of(cases, model, dataset)]
    found: list[Row] = [(objective, claim.value, 0.0) for objective, claim in claims if claim]
    others = [one for one in table.printed if not one.recipes and (one.model, one.claim.metric) == (model, metric)]
    others = [one for one in others if one.dataset in ("", dataset)]
    return found or [(one.objective, one.claim.value, 0.0) for one in others if one.objective]


@dataclass(frozen=True)
class _Ours:
    """What was measured of a paper's cases under a budget."""

    paper: Paper
    cases: Sequence[Case]
    results: Results
    budget: str

    def rows(self, model: str, dataset: str, metric: str) -> list[Row]:
        rows: list[Row] = []
        for case in _rows_of(self.cases, model, dataset):
            if metric in costs.SIZES:
                value = costs.counted(self.paper, case, metric, self.results)
            else:
                value = self.results.value(case, self.budget, selected(case, metric))
            rows.append((case.objective, value.mean if value else None, _error(value, metric, dataset)))
        return rows


def _error(value: Value | None, metric: str, dataset: str) -> float:
    """Standard error of a mean: none of a count, that over seeds, else of percentages that of the test images."""
    if value is None or metric in costs.SIZES:
        return 0.0
    if METRICS[metric].unit in ("%", "points"):
        half = value.half()
        return compare.standard_error(value.mean, test_images(dataset) or 1) if half is None else half / compare.Z95
    return math.inf if value.spread is None else value.spread / math.sqrt(value.n)


def _rows_of(cases: Sequence[Case], model: str, dataset: str) -> list[Case]:
    return [case for case in cases if case.model.name == model and case.column == dataset]
