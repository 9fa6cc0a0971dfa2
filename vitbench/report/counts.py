"""How many printed numbers of a paper came out here, and what keeps the others from being run."""

from collections import Counter
from collections.abc import Iterator

from vitbench.case import Budget, Status
from vitbench.compare import ClaimVerdict
from vitbench.papers import Paper
from vitbench.report import costs, tables
from vitbench.report.blocks import blocks
from vitbench.report.markdown import Grid
from vitbench.report.results import Results

ORDER = (
    ClaimVerdict.REPRODUCED,
    ClaimVerdict.DEVIATES,
    ClaimVerdict.OPPOSITE,
    ClaimVerdict.UNDECIDED,
    ClaimVerdict.NOT_RUN,
)
SIZES = "sizes"


def verdicts(paper: Paper, results: Results, budget: Budget = Budget.PAPER) -> dict[str, Counter[str]]:
    """Verdicts under a budget by name of the recipe, then, of the paper's own, those on sizes of networks."""
    return results.once(("verdicts", paper.name, budget), lambda: _verdicts(paper, results, budget))


def _verdicts(paper: Paper, results: Results, budget: Budget) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for table in paper.tables:
        for block in blocks(table):
            for recipe in block.recipes:
                cells = tables.cells(table, block.of(recipe), results, budget)
                printed = [cell for cell in cells if cell.printed is not None]
                if printed:
                    found.setdefault(recipe.name, Counter()).update(str(cell.verdict) for cell in printed)
    sized = costs.printed_sizes(paper, results) if budget == Budget.PAPER else []
    counted = Counter(str(one.verdict) for one in sized)
    found |= {SIZES: counted} if counted else {}
    return found


def told(counted: Counter[str], *, run: bool = False) -> str:
    """Such as: 27 deviates, 1 undecided; of what was `run` alone, without what was not."""
    shown = [one for one in ORDER if counted[one] and not (run and one == ClaimVerdict.NOT_RUN)]
    return ", ".join(f"{counted[one]} {one}" for one in shown)


def scores(paper: Paper, results: Results) -> dict[str, list[str]]:
    """By protocol, how many printed cells have each verdict, in the order of `ORDER`; sizes of networks last."""
    found: dict[str, Counter[str]] = {}
    for name, verdicts_of in verdicts(paper, results).items():
        protocol = paper.recipes[name].protocol if name in paper.recipes else name
        found.setdefault(protocol, Counter()).update(verdicts_of)
    return {name: [str(one[verdict]) for verdict in ORDER] for name, one in found.items()}


def verdict_table(found: dict[str, Counter[str]]) -> Grid:
    """A row per recipe, a column per verdict."""
    rows = [[name, *(str(counts[verdict]) for verdict in ORDER)] for name, counts in found.items()]
    return ["Recipe", *map(str, ORDER)], rows


def measured(paper: Paper, results: Results) -> tuple[int, int]:
    """How many printed numbers were measured here, by any recipe, and how many there are; gains are not counted."""
    found: dict[tuple[object, ...], bool] = {}
    for table in paper.tables:
        for place, block in enumerate(blocks(table)):
            for cell in tables.cells(table, block.cases, results, Budget.PAPER):
                if cell.printed is None:  # run all the same
                    continue
                case = cell.case
                key = (table.id, place, case.model.name, str(case.objective), case.dataset, cell.metric)
                found[key] = found.get(key, False) or cell.verdict != ClaimVerdict.NOT_RUN
    sizes = [one.verdict != ClaimVerdict.NOT_RUN for one in costs.printed_sizes(paper, results)]
    return sum(found.values()) + sum(sizes), len(found) + len(sizes)


def standings(paper: Paper) -> Iterator[str]:
    """What keeps printed results from being run, a line for each reason, with what it concerns."""
    groups: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for table in paper.tables:
        for one in table.printed:
            if one.claim.metric in tables.OF_RUNS and one.claim.status != Status.RUNNABLE:
                groups.setdefault((one.claim.status, one.claim.reason), []).append((table.id, one.dataset))
    for (status, reason), cells in groups.items():
        where, data = (", ".join(dict.fromkeys(filter(None, names))) for names in zip(*cells, strict=True))
        of = f"Table{'s' if ',' in where else ''} {where}" + (f": {data}" if data else "")
        yield f"{status}, {len(cells)} cells ({of})" + (f": {reason}" if reason else "")
