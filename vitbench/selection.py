"""Which cases there are under a budget: the rows of the tables, fewer in the quick one, and rows that a user adds."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

from vitbench import leaves
from vitbench.case import Budget, Case, Model
from vitbench.errors import UserError
from vitbench.objective import Objective, parse
from vitbench.papers import Paper
from vitbench.tables import Table

QUICK_DATASET = "digits"


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What a user chose.

    Attributes:
        all_rows: in the quick budget, every row of a table and not only the weights that a paper settled on.
        datasets: in the quick budget, trained on in place of the digits; else further columns.
        models: further models, each a row under every objective of a table, from scratch.
        objectives: further objectives, each a row for every model of a table.
    """

    budget: Budget = Budget.QUICK
    all_rows: bool = False
    datasets: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    objectives: tuple[str, ...] = ()

    def check(self) -> None:
        """Refuse names that nothing has, or that no record can hold.

        Raises:
            UserError: naming the option and the nearest known names.
        """
        for name in self.datasets:
            if name in leaves.OF_FOLDERS:
                raise UserError(f"--dataset: {name} is whatever folder you name; write {name}:PATH")
            if any("\ud800" <= one <= "\udfff" for one in name):  # how Python holds a byte that is not UTF-8
                raise UserError(f"--dataset: expected a name in UTF-8, as records are, got {name!r}; rename the folder")
            leaves.check_single("datasets", name, where="--dataset")
            leaf = leaves.find("datasets", name, where="--dataset")
            for constant in ("DIGEST", "CLASSES", "IMAGE_SIZE"):
                leaf.constant(constant)
            leaf.constant("TRAIN", 0)
        for name in self.models:
            leaves.check_single("models", name.partition("/")[0], where="--model")
            leaves.check_model(name, where="--model")
        for text in self.objectives:
            for term in (objective := parse(text, where="--objective")).names:
                leaves.check_single("terms", term, where="--objective")
            leaves.check_objective(objective, where="--objective")

    def cases(self, papers: Iterable[Paper]) -> list[Case]:
        """Every case, once, sorted.

        Raises:
            UserError: if two different experiments have one id, or no recipe can train a further objective.
        """
        found = _once(case for paper in papers for table in paper.tables for case in self._of(paper, table))
        for text in self.objectives:
            objective = parse(text)
            if found and not any(_fits(case, objective) for case in found):
                raise _unfitting(text, objective)
        return found

    def left_out(self, cases: Iterable[Case]) -> list[str]:
        """What was added by an option and is in none of the cases that are left, a line each."""
        found = list(cases)
        added = {"--objective": (self.objectives, {str(case.objective) for case in found})}
        added["--model"] = (self.models, {case.model.name for case in found})
        return [
            f"vitbench: {option} {name} is in none of the selected cases: -k leaves its rows out, or no recipe fits it"
            for option, (names, there) in added.items()
            for name in names
            if (str(parse(name)) if option == "--objective" else name) not in there
        ]

    def _of(self, paper: Paper, table: Table) -> Iterator[Case]:
        quick = self.budget == Budget.QUICK
        # A recipe such as fine-tuning from published weights has no quick form.
        runnable = [case for case in table.cases if case.recipe.has_quick or not quick]
        printed = [case for case in runnable if not quick or self.all_rows or is_settled(paper, case)]
        # What is pre-trained in print has a row from scratch here, which it is compared with.
        scratch = [case.baseline for case in printed if case.recipe.pretraining]
        rows = [*printed, *scratch, *self._added(printed)]
        for case in rows:
            if not quick:
                yield case
            targets: Sequence[str] = self.datasets or ((QUICK_DATASET,) if quick else ())
            yield from (replace(case, dataset=dataset, claims=()) for dataset in targets)

    def _added(self, printed: Sequence[Case]) -> Iterator[Case]:
        objectives = [parse(text) for text in self.objectives]
        models = [Model(name=name, full=name, tiny=name, printed=name) for name in self.models]
        for case in printed:
            fitting = [one for one in objectives if _fits(case, one)]
            yield from (replace(case, objective=objective, claims=()) for objective in fitting)
            # Few networks can be pre-trained as a paper's own; any can be trained as the others of its table.
            for model in models if case.recipe.pretraining is None else ():
                yield replace(case, model=model, claims=())
                yield from (replace(case, model=model, objective=one, claims=()) for one in fitting)


def _fits(case: Case, objective: Objective) -> bool:
    """Whether a recipe can train an objective: it takes steps, of as many versions of an image as a term compares."""
    needed, recipe = _versions(objective), case.recipe
    return bool(recipe.phases) and all(phase.versions >= needed for phase in (*recipe.phases, *recipe.quick))


def _versions(objective: Objective) -> int:
    """How many versions of an image its terms compare."""
    needed: list[int] = [leaves.find("terms", name).constant("VERSIONS", 1) for name in objective.names]
    return max(needed)


def _unfitting(text: str, objective: Objective) -> UserError:
    needed = _versions(objective)
    phases = f"phases that make {needed} versions of each image" if needed > 1 else "phases"
    return UserError(
        f"--objective: no selected recipe can train {text!r}: expected one with {phases}, got none; add one to a data "
        "file, or leave the objective out"
    )


def is_settled(paper: Paper, case: Case) -> bool:
    """Whether a row has the weights that the paper settled on for its model and its default arguments.

    What is printed with one choice of weights alone is settled.
    """
    if case.objective.names in paper.unweighed:
        return True
    weights = {"ce": 1.0} | {term: by_model.get(case.model.name) for term, by_model in paper.weights.items()}
    objective = case.objective.without_arguments(case.defaults)
    return all(not one.term.arguments and one.weight == weights.get(one.name) for one in objective)


def sizes(papers: Iterable[Paper], cases: Iterable[Case]) -> list[Case]:
    """One case per model, set of terms, and number of classes and pixels: sizes depend on nothing else.

    The data sets are those that the model is printed with, whatever the budget, for so are the sizes, and those of the
    whole paper for a model that a user adds; of several with as many classes and pixels, the first by name.
    """
    printed = {paper.name: paper.datasets_of for paper in papers}
    networks: dict[tuple[str, ...], Case] = {}
    for case in cases:
        networks.setdefault((case.paper, case.model.name, case.plain_notation), case)
    return _once(
        replace(one, dataset=dataset)
        for one in (untabled(case, "size") for case in networks.values())
        for dataset in _unlike(
            tuple(printed[one.paper].get(one.model.name) or printed[one.paper][""]), one.recipe.image_size
        )
    )


@cache
def _unlike(datasets: tuple[str, ...], image_size: int | None) -> list[str]:
    """The first of the data sets of each number of classes and pixels.

    Args:
        image_size: of a recipe, in place of the data sets' own.
    """
    found: dict[tuple[int, int], str] = {}
    for name in datasets:
        data = leaves.find("datasets", name)
        found.setdefault((data.constant("CLASSES"), image_size or data.constant("IMAGE_SIZE")), name)
    return list(found.values())


def trained(cases: Iterable[Case], budget: Budget) -> Iterator[Case]:
    """Cases, each after the pre-training that it starts from: whatever takes steps of its own."""
    for case in cases:
        yield from (one for one in (case.before(budget), case) if one is not None and one.recipe.at(budget))


def timings(cases: Iterable[Case]) -> list[Case]:
    """One case per model, set of terms and data set, at the budget's own size."""
    return _once(untabled(case, "speed") for case in cases)


def _once(cases: Iterable[Case]) -> list[Case]:
    """The first case of each id, which is the printed one, with its claims, before one that a user adds; sorted."""
    found: dict[str, Case] = {}
    for case in cases:
        first = found.setdefault(case.id, case)
        if first is case:
            continue
        ours, theirs = (f"{one.model.full}, {one.objective}, {one.dataset}" for one in (case, first))
        if ours != theirs:
            raise UserError(f"two experiments have the id {case.id}: {theirs!r} and {ours!r}; leave one of them out")
    return sorted(found.values(), key=sort_key)


def untabled(case: Case, table: str) -> Case:
    """What is counted or timed for a case whatever the weights and the recipe, as a row of a table of ours."""
    return replace(case, table=table, objective=_unweighted(case.plain_notation), claims=(), reading="")


@cache
def _unweighted(notation: str) -> Objective:
    """The terms of an objective, which all cases of it share."""
    return parse(notation).unweighted()


def sort_key(case: Case) -> tuple[str, ...]:
    """By paper, table, model, then plain cross-entropy before the methods that are compared with it."""
    objective = "" if case.is_baseline else str(case.objective)
    return (case.paper, case.table, case.model.name, objective, case.dataset, case.reading)
