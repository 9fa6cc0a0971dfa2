"""What was trained, each experiment once: in however many tables it stands, and whether or not a table has it."""

from dataclasses import dataclass, replace

from vitbench.baselines import Measurement, cell_of
from vitbench.case import Budget, Case, Model
from vitbench.compare import Verdict
from vitbench.errors import UserError
from vitbench.objective import parse
from vitbench.report.material import Material
from vitbench.report.results import Results
from vitbench.report.tables import constant
from vitbench.selection import untabled

Cell = tuple[str, ...]  # as of `Measurement`, without the metric at its end


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One cell of measurements.

    Attributes:
        case: the first that it stands for.
        also: ids of the others.
    """

    budget: Budget
    case: Case
    also: tuple[str, ...] = ()


def experiments(material: Material) -> list[Experiment]:
    """Everything of which an accuracy was measured, in the order of the cases, then what no case of the report has."""
    measured = {cell[:-1] for cell in material.results.cells if cell[-1] in ("accuracy", "best_accuracy")}
    cases: dict[Cell, dict[str, Case]] = {}
    for budget, own in material.cases.items():
        # A plain baseline that was brought along comes after the cases, of which it may be one.
        for case in [*own, *(one.baseline for one in own)]:
            cell = cell_of(case, budget, "")[:-1]
            if cell in measured:
                cases.setdefault(cell, {}).setdefault(case.id, case)
    for cell in sorted(measured - cases.keys()):
        added = _outside(cell, material)
        if added:
            cases[cell] = {added.id: added}
    return [
        Experiment(budget=Budget(cell[5]), case=next(iter(found.values())), also=tuple(found)[1:])
        for cell, found in cases.items()
    ]


def _outside(cell: Cell, material: Material) -> Case | None:
    """The case of what was recorded beside the tables, such as a user's own objective; None where no paper has it."""
    name, model, objective, dataset, recipe, _ = cell
    paper = next((one for one in material.papers if one.name == name), None)
    known = [one for case in (paper.cases if paper else ()) for one in (case, case.baseline)]
    like = next((one for one in known if one.recipe.name == recipe), None)
    if paper is None or like is None:
        return None
    try:
        parsed = parse(objective)
    except UserError:  # a line that somebody wrote
        return None
    network = paper.models.get(model) or Model(name=model, full=model, tiny=model, printed=model)
    return replace(like, model=network, objective=parsed, dataset=dataset, claims=())


class Sizes:
    """Sizes of networks as they were counted: of as many classes and pixels, whatever the data set and the loss."""

    def __init__(self, results: Results) -> None:
        self.found: dict[tuple[object, ...], Measurement] = {}
        for (paper, model, objective, dataset, _, _, metric), runs in results.cells.items():
            if metric in ("params", "macs"):
                key = (paper, model, objective, constant(dataset, "CLASSES"), constant(dataset, "IMAGE_SIZE"), metric)
                self.found.setdefault(key, next(iter(runs.values())))

    def of(self, case: Case, budget: Budget, metric: str) -> Measurement | None:
        """What was counted of a case's network; None where it was not, as of the quick budget's networks."""
        if budget == Budget.QUICK:
            return None
        image = (constant(case.dataset, "CLASSES"), constant(case.dataset, "IMAGE_SIZE"))
        # What a term adds is no part of the network.
        for objective in (case.objective.without_arguments(case.defaults).unweighted(), "ce"):
            one = self.found.get((case.paper, case.model.name, str(objective), *image, metric))
            if one is not None:
                return one
        return None

    def value(self, case: Case, budget: Budget, metric: str) -> float | None:
        """The same in the metric's unit."""
        one = self.of(case, budget, metric)
        return one.value if one else None

    def id(self, case: Case, one: Measurement) -> str:
        """The case that a size of a case's network was counted as."""
        return replace(untabled(case, "size"), objective=parse(one.objective), dataset=one.dataset).id


def stale(material: Material) -> set[tuple[str, float | None]]:
    """Id and last accuracy of what was recorded by another version of what determines it."""
    return {
        (one.subject, one.reference)
        for one in material.findings
        if one.verdict == Verdict.STALE and one.metric == "accuracy"
    }
