"""The tables of a report, as headed rows of text: shaped like the printed ones, with ours beside."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

from vitbench import compare, leaves
from vitbench.case import Budget, Case, Claim
from vitbench.compare import ClaimVerdict
from vitbench.errors import UserError
from vitbench.metrics import METRICS
from vitbench.report.markdown import Grid, Markup
from vitbench.report.results import Results, Value
from vitbench.tables import Table

NOTHING = "-"
QUICK_METRICS = ("accuracy", "adversarial_accuracy", "fgsm_drop", "knn", "knn_untrained")

# What a run measures; other printed numbers stand beside these, or are of the network or the data set alone.
OF_RUNS = ("accuracy", "best_accuracy", "adversarial_accuracy", "fgsm_drop", "knn", "linear", "loss", "epoch_of_best")


@dataclass(frozen=True, kw_only=True, eq=False)
class Cell:
    """One number of a table: in print and ours, each with what it gains over plain cross-entropy.

    Attributes:
        printed_gain: the difference of the printed numbers; where plain cross-entropy is not printed, the quoted gain.
        quoted_gain: what is printed as the gain, where the table prints gains.
        spread: what is printed as the standard deviation over seeds.
    """

    case: Case
    metric: str
    ours: Value | None
    ours_gain: Value | None
    printed: float | None
    printed_gain: float | None
    quoted_gain: float | None = None
    spread: float | None = None

    @property
    def error(self) -> float:
        """Standard error, in points, of the difference of two such accuracies."""
        images = test_images(self.case.dataset)
        if self.ours is None or images is None:
            return math.inf
        return math.sqrt(2) * compare.standard_error(self.ours.mean, images)

    @cached_property
    def half(self) -> float:
        """Half of the 95 % interval of what is judged, a gain or a level, in points; infinite where nothing is known.

        Of several seeds that of their mean; of one the binomial one of the test images.
        """
        value = self.ours if self.printed_gain is None else self.ours_gain
        seeds = value.half() if value else None
        if seeds is not None:
            return seeds
        return compare.Z95 * (self.error / math.sqrt(2) if self.printed_gain is None else self.error)

    @property
    def is_of_seeds(self) -> bool:
        """Whether its interval holds the spread between seeds."""
        value = self.ours if self.printed_gain is None else self.ours_gain
        return value is not None and value.half() is not None

    @cached_property
    def verdict(self) -> ClaimVerdict:
        """On the gain where there is a baseline in print, else on the level.

        What is printed counts as one run more, which spreads as ours do.
        """
        if self.ours is None or self.printed is None:
            return ClaimVerdict.NOT_RUN
        if self.printed_gain is None:
            apart = self.ours.half(beside=1)
            return compare.judge_level(
                self.ours.mean, self.printed, error=self.error if apart is None else apart / compare.Z95
            )
        if self.ours_gain is None:
            return ClaimVerdict.NOT_RUN
        apart = self.ours_gain.half(beside=1)
        return compare.judge_gain(
            self.ours_gain.mean,
            self.printed_gain,
            error=self.half / compare.Z95,
            apart=None if apart is None else apart / compare.Z95,
        )


def test_images(dataset: str) -> int | None:
    """Test images of a data set, for the standard error of a printed accuracy, of which nothing else is known."""
    return constant(dataset, "TEST")


def constant(dataset: str, name: str) -> int | None:
    """A number that the loader of a data set states; None where it states none, or there is no loader."""
    try:
        value: int | None = leaves.find("datasets", dataset).constants.get(name)
    except UserError:
        return None
    return value


def selected(case: Case, metric: str) -> str:
    """What a printed accuracy is compared with: the last epoch's, or the best where the source reports that."""
    return "best_accuracy" if metric == "accuracy" and case.recipe.selection == "best" else metric


def columns(table: Table, cases: Iterable[Case]) -> list[tuple[str, str]]:
    """(data set, metric) of each column that runs fill: as printed, then data sets that a user added."""
    printed = dict.fromkeys((dataset, metric) for dataset, metric in table.columns if metric in OF_RUNS)
    added = sorted({case.column for case in cases} - {dataset for dataset, _ in table.columns})
    return [*printed, *((dataset, "accuracy") for dataset in added)]


def cells(table: Table, cases: Sequence[Case], results: Results, budget: str) -> list[Cell]:
    """Every number that a table has room for."""
    plain = {(case.model.name, case.column, case.recipe.name): case for case in cases if case.is_baseline}
    found = []
    for dataset, metric in columns(table, cases):
        for case in cases:
            # Rows of a table in two parts stand in one of the columns only.
            if case.column != dataset or (case.claims and case.claim(metric) is None):
                continue
            baseline = plain.get((case.model.name, dataset, case.recipe.plain.name))
            reference = baseline.claim(metric) if baseline and not case.is_baseline else None
            key = ("cell", id(case), metric, reference, budget)  # a cell keeps its case, and so the case its id
            found.append(results.once(key, partial(_cell, case, metric, reference, results, budget)))
    return found


def _cell(case: Case, metric: str, reference: Claim | None, results: Results, budget: str) -> Cell:
    claim = case.claim(metric)
    beside = {name: case.claim(name) for name in ("gain", "accuracy_std")} if metric == "accuracy" else {}
    quoted, spread = (one.value if one else None for one in (beside.get("gain"), beside.get("accuracy_std")))
    return Cell(
        case=case,
        metric=metric,
        ours=results.value(case, budget, selected(case, metric)),
        ours_gain=None if case.is_baseline else results.gain(case, budget, selected(case, metric)),
        printed=claim.value if claim else None,
        printed_gain=claim.value - reference.value if claim and reference else quoted,
        quoted_gain=quoted,
        spread=spread,
    )


def printed_table(table: Table, cases: Sequence[Case], results: Results, budget: str) -> Grid:
    """A table as printed: per column the printed number, ours, both gains over plain cross-entropy, the verdict.

    Args:
        cases: the table's own, in printed order, and further rows of a user's.
    """
    found = cells(table, cases, results, budget)
    place = {(_row(one.case), one.case.column, one.metric): one for one in found}
    best = best_of(found)
    headers = ["Model", "Loss"]
    for dataset, metric in columns(table, cases):
        name = dataset if metric == "accuracy" else f"{dataset} {metric}"
        gain = "gain" if METRICS[metric].better == "higher" else "change"  # +6 points of a drop are no gain
        headers += [f"{name}, printed", "ours", f"{gain}, printed", f"{gain}, ours", "verdict"]
    printed = {case.model.name: case.model.printed for case in cases}
    rows = []
    for key in dict.fromkeys(map(_row, cases)):
        row = [printed[key[0]], key[1]]
        for dataset, metric in columns(table, cases):
            row += _printed_columns(place.get((key, dataset, metric)), best)
        rows.append(row)
    return headers, rows


def _row(case: Case) -> tuple[str, str]:
    """What one row of a table is of."""
    return case.model.name, case.loss


def quick_table(cases: Sequence[Case], results: Results) -> Grid:
    """A table under the quick budget, on one data set: never compared with a printed number.

    Args:
        cases: of one table and one data set.
    """
    wanted = (*QUICK_METRICS, *(("convergence_epoch",) if any(case.curves for case in cases) else ()))
    metrics = [name for name in wanted if any(results.value(case, Budget.QUICK, name) for case in cases)]
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
            rows.append([case.model.printed, case.loss, *shown, gain.show("gain", signed=True) if gain else ""])
    return headers, rows


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


def best_of(found: Sequence[Cell]) -> set[Cell]:
    """Our best cell of each model and column, where there is more than one; ties all count."""
    groups: dict[tuple[str, str, str, str], list[tuple[float, Cell]]] = {}
    for cell in found:
        if cell.ours is not None:
            place = (cell.case.model.name, cell.case.column, cell.case.recipe.plain.name, cell.metric)
            groups.setdefault(place, []).append((cell.ours.mean, cell))
    best = set()
    for (*_, metric), group in groups.items():
        top = (min if METRICS[metric].better == "lower" else max)(value for value, _ in group)
        best |= {cell for value, cell in group if value == top and len(group) > 1}
    return best
