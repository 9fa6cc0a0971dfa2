"""The tables of a report, as headed rows of text: shaped like the printed ones, with ours beside."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from vitbench import compare, leaves
from vitbench.case import Budget, Case
from vitbench.compare import ClaimVerdict
from vitbench.conclusions import Row
from vitbench.metrics import METRICS
from vitbench.papers import Paper, Table
from vitbench.report.results import Results, Value

NOTHING = "-"
QUICK_METRICS = ("accuracy", "adversarial_accuracy", "fgsm_drop")

Grid = tuple[list[str], list[list[str]]]  # headers, rows


class Markup(str):
    """A cell that is Markdown already; every other cell is plain text."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Cell:
    """One number of a table: in print and ours, each with what it gains over plain cross-entropy."""

    case: Case
    metric: str
    ours: Value | None
    ours_gain: Value | None
    printed: float | None
    printed_gain: float | None

    @property
    def error(self) -> float:
        """Standard error, in points, of the difference of two such accuracies."""
        images = test_images(self.case.dataset)
        if self.ours is None or images is None:
            return math.inf
        return math.sqrt(2) * compare.standard_error(self.ours.mean, images)

    @property
    def verdict(self) -> ClaimVerdict:
        """On the gain where there is a baseline in print, else on the level."""
        if self.ours is None or self.printed is None:
            return ClaimVerdict.NOT_RUN
        if self.printed_gain is None:
            return compare.judge_level(self.ours.mean, self.printed, error=self.error)
        gain = None if self.ours_gain is None else self.ours_gain.mean
        return compare.judge_gain(gain, self.printed_gain, error=self.error)


def test_images(dataset: str) -> int | None:
    """Test images of a data set, for the standard error of a printed accuracy, of which nothing else is known."""
    images: int | None = leaves.find("datasets", dataset).constants.get("TEST")
    return images


def selected(case: Case, metric: str) -> str:
    """What a printed accuracy is compared with: the last epoch's, or the best where the source reports that."""
    return "best_accuracy" if metric == "accuracy" and case.recipe.selection == "best" else metric


def columns(table: Table, cases: Iterable[Case]) -> list[tuple[str, str]]:
    """(data set, metric) of each column: as printed, then data sets that a user added."""
    added = sorted({case.dataset for case in cases} - {dataset for dataset, _ in table.columns})
    return [*table.columns, *((dataset, "accuracy") for dataset in added)]


def cells(table: Table, cases: Sequence[Case], results: Results, budget: str) -> list[Cell]:
    """Every number that a table has room for."""
    plain = {(case.model.name, case.dataset): case for case in cases if case.is_baseline}
    found = []
    for dataset, metric in columns(table, cases):
        for case in cases:
            claim = case.claim(metric)
            # Rows of a table in two parts stand in one of the columns only.
            if case.dataset != dataset or (case.claims and claim is None):
                continue
            baseline = plain.get((case.model.name, dataset))
            reference = baseline.claim(metric) if baseline and not case.is_baseline else None
            found.append(
                Cell(
                    case=case,
                    metric=metric,
                    ours=results.value(case, budget, selected(case, metric)),
                    ours_gain=None if case.is_baseline else results.gain(case, budget, selected(case, metric)),
                    printed=claim.value if claim else None,
                    printed_gain=claim.value - reference.value if claim and reference else None,
                )
            )
    return found


def printed_table(table: Table, cases: Sequence[Case], results: Results, budget: str) -> Grid:
    """A table as printed: per column the printed number, ours, both gains over plain cross-entropy, the verdict.

    Args:
        cases: the table's own, in printed order, and further rows of a user's.
    """
    found = cells(table, cases, results, budget)
    place = {(one.case.model.name, str(one.case.objective), one.case.dataset, one.metric): one for one in found}
    best = _best(found)
    headers = ["Model", "Loss"]
    for dataset, metric in columns(table, cases):
        name = dataset if metric == "accuracy" else f"{dataset} {metric}"
        gain = "gain" if METRICS[metric].better == "higher" else "change"  # +6 points of a drop are no gain
        headers += [f"{name}, printed", "ours", f"{gain}, printed", f"{gain}, ours", "verdict"]
    rows = []
    for model, objective, printed in dict.fromkeys(
        (one.model.name, str(one.objective), one.model.printed) for one in cases
    ):
        row = [printed, objective]
        for dataset, metric in columns(table, cases):
            row += _printed_columns(place.get((model, objective, dataset, metric)), best)
        rows.append(row)
    return headers, rows


def quick_table(cases: Sequence[Case], results: Results) -> Grid:
    """A table under the quick budget, on one data set: never compared with a printed number.

    Args:
        cases: of one table and one data set.
    """
    metrics = [name for name in QUICK_METRICS if any(results.value(case, Budget.QUICK, name) for case in cases)]
    headers = [
        "Model",
        "Loss",
        *(f"{name} ({METRICS[name].unit})" for name in metrics),
        "gain over ce (points)",
    ]
    rows = []
    for case in cases:
        values = [(name, results.value(case, Budget.QUICK, name)) for name in metrics]
        if any(value for _, value in values):
            gain = None if case.is_baseline else results.gain(case, Budget.QUICK, "accuracy")
            shown = [value.show(name) if value else NOTHING for name, value in values]
            rows.append([case.model.printed, str(case.objective), *shown, f"{gain.mean:+.2f}" if gain else ""])
    return headers, rows


def size_table(cases: Sequence[Case], results: Results) -> Grid:
    """Parameters and MACs of the paper's networks, the terms' cost apart.

    Args:
        cases: one per model, set of terms and data set.
    """
    names = (
        "params",
        "macs",
        "macs_fvcore",
        "macs_layers",
        "term_params",
        "training_macs",
        "training_macs_ratio",
    )
    headers = ["Model", "Terms", "Classes of", "params (M)", "MACs (G), matmul+conv", "fvcore", "layers"]
    headers += ["terms' params (M)", "training MACs (G)", "over ce"]
    rows = []
    for case in cases:
        values = [(name, results.value(case, Budget.PAPER, name)) for name in names]
        if any(value for _, value in values):
            shown = [value.show(name) if value else "not counted" for name, value in values]
            rows.append([case.model.printed, str(case.objective), case.dataset, *shown])
    return headers, rows


SPEEDS = {
    "inference": "inference (images/s)",
    "training": "training (images/s)",
    "step_ms": "step (ms)",
    "step_ratio": "step over ce",
    "training_noise": "noise floor (%)",
    "peak_share": "share of peak (%)",
    "peak_memory": "memory (MiB)",
    "memory_ratio": "memory over ce",
}


def speed_table(cases: Sequence[Case], results: Results, budget: str) -> Grid:
    """Throughput and the cost of a step at one place.

    Args:
        cases: one per model, set of terms and data set.
        results: those of the place, see `Results.on`.
    """
    shown = [name for name in SPEEDS if any(results.value(case, budget, name) for case in cases)]
    headers = ["Model", "Terms", *(SPEEDS[name] for name in shown)]
    rows = []
    for case in cases:
        inference = results.value(case.baseline, budget, "inference")
        values = {name: inference if name == "inference" else results.value(case, budget, name) for name in shown}
        measured = {name for name, value in values.items() if value}
        if measured - {"inference"} or (inference and case.is_baseline):
            cells = [value.show(name) if value else NOTHING for name, value in values.items()]
            rows.append([case.model.printed, str(case.objective), *cells])
    return headers, rows


def conclusion_table(paper: Paper, results: Results, budgets: Sequence[str]) -> Grid:
    """The paper's own conclusions, held against its printed numbers and against ours."""
    tables = {table.id: table for table in paper.tables}
    headers = ["Conclusion", "Where", "in print", *(f"ours, {budget}" for budget in budgets)]
    rows = []
    for conclusion in paper.conclusions:
        table = tables[conclusion.table]
        held = [conclusion.judge(partial(_printed_rows, table))]
        held += [conclusion.judge(partial(_our_rows, table, results, budget)) for budget in budgets]
        rows.append([conclusion.text, f"{conclusion.where}, Table {table.id}", *map(str, held)])
    return headers, rows


def _printed_rows(table: Table, model: str, dataset: str, metric: str) -> list[Row]:
    claims = [(case.objective, case.claim(metric)) for case in _rows_of(table, model, dataset)]
    return [(objective, claim.value, 0.0) for objective, claim in claims if claim]


def _our_rows(table: Table, results: Results, budget: str, model: str, dataset: str, metric: str) -> list[Row]:
    rows: list[Row] = []
    for case in _rows_of(table, model, dataset):
        value = results.value(case, budget, selected(case, metric))
        mean = value.mean if value else None
        error = 0.0 if mean is None else compare.standard_error(mean, test_images(dataset) or 1)
        rows.append((case.objective, mean, error))
    return rows


def _rows_of(table: Table, model: str, dataset: str) -> list[Case]:
    return [case for case in table.cases if (case.model.name, case.dataset) == (model, dataset)]


def _printed_columns(cell: Cell | None, best: set[Cell]) -> list[str]:
    if cell is None:
        return [""] * 5
    printed = "" if cell.printed is None else f"{cell.printed:.2f}"
    ours = NOTHING if cell.ours is None else cell.ours.show(cell.metric)
    ours = Markup(f"**{ours}**") if cell in best else ours
    gains = ["" if cell.printed_gain is None else f"{cell.printed_gain:+.2f}", ""]
    if not cell.case.is_baseline:
        gains[1] = NOTHING if cell.ours_gain is None else f"{cell.ours_gain.mean:+.2f}"
    verdict = str(cell.verdict) if cell.printed is not None else ""
    return [printed, ours, *gains, verdict]


def _best(found: Sequence[Cell]) -> set[Cell]:
    """Our best cell of each model and column, where there is more than one; ties all count."""
    groups: dict[tuple[str, str, str], list[tuple[float, Cell]]] = {}
    for cell in found:
        if cell.ours is not None:
            groups.setdefault((cell.case.model.name, cell.case.dataset, cell.metric), []).append((cell.ours.mean, cell))
    best = set()
    for (_, _, metric), group in groups.items():
        top = (min if METRICS[metric].better == "lower" else max)(value for value, _ in group)
        best |= {cell for value, cell in group if value == top and len(group) > 1}
    return best
