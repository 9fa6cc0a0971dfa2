"""What a network costs, as tables: parameters and MACs, in print and counted here, and throughput."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from vitbench import compare
from vitbench.case import Budget, Case
from vitbench.compare import ClaimVerdict
from vitbench.metrics import CONVENTIONS, METRICS
from vitbench.papers import Paper
from vitbench.printed import Printed
from vitbench.report.markdown import Grid
from vitbench.report.results import Results, Value
from vitbench.report.tables import NOTHING, constant
from vitbench.selection import sizes, sort_key, timings
from vitbench.tables import Table

# Printed sizes that are counted here, with the units of their columns.
SIZES = ("params", "macs")
PART = "without attention"  # a count of a part of the network, which comes out as printed and is not its size


def size_table(cases: Sequence[Case], results: Results) -> Grid:
    """Parameters and MACs of the paper's networks, the terms' cost apart.

    Args:
        cases: per model, set of terms and data set; those that differ in their recipe alone are one row.
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
            rows.append((case.model.printed, str(case.objective), case.dataset, *shown))
    return headers, [list(row) for row in dict.fromkeys(rows)]


@dataclass(frozen=True, kw_only=True)
class Size:
    """One printed size of a network, and what was counted here, with the classes of the data set.

    Attributes:
        ours: counted as it was printed, of MACs in the convention that the claim names; or None.
        whole: of MACs, each matrix product and convolution (`matmul+conv`); or None.
    """

    printed: Printed
    table: str
    model: str
    dataset: str
    ours: float | None
    whole: float | None

    @property
    def verdict(self) -> ClaimVerdict:
        """At the number of digits that is printed; a count that leaves out attention is judged by the whole."""
        is_part = self.printed.claim.convention == PART
        return compare.judge_size(self.whole if is_part else self.ours, self.printed.claim.value)


def printed_sizes(paper: Paper, results: Results) -> list[Size]:
    """Every printed size of a network, once; without a data set in print it is counted for the table's first."""
    return [
        _size(paper, table, one, results)
        for table in paper.tables
        for one in table.printed
        if one.claim.metric in SIZES and one.objective
    ]


def _size(paper: Paper, table: Table, one: Printed, results: Results) -> Size:
    dataset = one.dataset or (table.columns[0][0] if table.columns else "")
    alike = [case for case in table.cases if (case.model.name, case.objective) == (one.model, one.objective)]
    metric = CONVENTIONS.get(one.claim.convention, one.claim.metric)
    ours, whole = (
        counted(paper, replace(alike[0], dataset=dataset), name, results) if alike else None
        for name in (metric, one.claim.metric)
    )
    return Size(
        printed=one,
        table=table.id,
        model=paper.models[one.model].printed,
        dataset=dataset,
        ours=ours.mean if ours else None,
        whole=whole.mean if whole else None,
    )


def counted(paper: Paper, case: Case, metric: str, results: Results) -> Value | None:
    """What was counted of a case's network, as it is for as many classes as the case's data set has."""
    found = sized(paper, case, results)
    return results.value(found, Budget.PAPER, metric) if found else None


def sized(paper: Paper, case: Case, results: Results) -> Case | None:
    """The case under which the size of a case's network and terms is recorded; looked up once for all that share it."""
    objective = str(case.objective.unweighted())  # of which a size is
    classes = constant(case.dataset, "CLASSES")
    key = ("sized", paper.name, case.model.name, objective, classes, case.recipe.image_size)
    return results.once(key, lambda: _alike(paper, case, classes))


def _alike(paper: Paper, case: Case, classes: object) -> Case | None:
    return next((one for one in sizes([paper], [case]) if constant(one.dataset, "CLASSES") == classes), None)


def cost(paper: Paper, case: Case, results: Results, budget: str) -> str:
    """What a row costs, in short: parameters and MACs of the network, then a training step in plain `ce` steps.

    The step as it was timed under the budget, first place by name, else its MACs, with a word that says so.
    """
    counts = [(counted(paper, case, name, results), unit) for name, unit in (("params", "M"), ("macs", "G"))]
    shown = [f"{value.mean:.3g} {unit}" for value, unit in counts if value]
    if case.is_baseline:
        return ", ".join(shown)
    places = results.places(case.paper, budget)
    steps = [results.on(place).value(timings([case])[0], budget, "step_ratio") for place in places]
    step = next(filter(None, steps), None)
    macs = counted(paper, case, "training_macs_ratio", results)
    if step or macs:
        shown.append(f"x{step.mean:.2f} (step)" if step else f"x{macs.mean:.2f} (MACs)" if macs else "")
    return ", ".join(shown)


def printed_size_table(found: Iterable[Size]) -> Grid:
    """Printed sizes beside ours, judged at the digits that are printed; MACs in their convention and as a whole."""
    found = list(found)
    has_macs = any(one.printed.claim.convention for one in found)
    headers = ["Model", "Loss", "Table", "Size", "printed", "ours", "classes of", "verdict", "note"]
    if has_macs:
        headers[5:6] = ["counted as", "ours, counted so", "ours, matmul+conv"]
    rows = []
    for one in found:
        claim = one.printed.claim
        ours = [_shown(claim.metric, one.ours)]
        if has_macs:
            ours = [claim.convention, *ours, _shown(claim.metric, one.whole) if claim.convention else ""]
        size = f"{claim.metric} ({METRICS[claim.metric].unit})"
        judged = [*ours, one.dataset, str(one.verdict), claim.note]
        rows.append([one.model, str(one.printed.objective), one.table, size, f"{claim.value:g}", *judged])
    return headers, rows


def _shown(metric: str, value: float | None) -> str:
    return NOTHING if value is None else f"{value:.{METRICS[metric].decimals}f}"


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
    """Throughput and the cost of a step at one place; with their recipes, where several were timed.

    Args:
        cases: per model, set of terms and data set; of those whose steps are alike, the first that was timed is shown.
        results: those of the place, see `Results.on`.
    """
    shown = [name for name in SPEEDS if any(results.value(case, budget, name) for case in cases)]
    rows: dict[tuple[object, ...], tuple[Case, list[str]]] = {}
    for case in cases:
        inference = results.value(case.baseline, budget, "inference")
        values = {name: inference if name == "inference" else results.value(case, budget, name) for name in shown}
        measured = {name for name, value in values.items() if value}
        if measured - {"inference"} or (inference and case.is_baseline):
            cells = [value.show(name) if value else NOTHING for name, value in values.items()]
            rows.setdefault(step_of(case, budget), (case, cells))
    by_recipe = len({case.recipe.name for case, _ in rows.values()}) > 1
    headers = ["Model", "Terms", *(["Recipe"] if by_recipe else []), *(SPEEDS[name] for name in shown)]
    return headers, [
        [case.model.printed, str(case.objective), *([case.recipe.name] if by_recipe else []), *cells]
        for case, cells in rows.values()
    ]


def timed(cases: Iterable[Case]) -> list[Case]:
    """One case per model, set of terms, data set and recipe: whichever recipe's step was timed is found."""
    by_recipe: dict[str, list[Case]] = {}
    for case in cases:
        by_recipe.setdefault(case.recipe.name, []).append(case)
    return sorted((one for own in by_recipe.values() for one in timings(own)), key=sort_key)


def step_of(case: Case, budget: str) -> tuple[object, ...]:
    """What the time of a training step depends on: recipes that agree in it share what was timed.

    Args:
        case: as `selection.timings` has it.
    """
    phases = case.recipe.at(Budget(budget))[:1]
    steps = [(one.batch_size, one.augmentation, one.mixing, one.clip_grad) for one in phases]
    return case.model.name, str(case.objective), case.dataset, case.recipe.image_size, repr(steps)
