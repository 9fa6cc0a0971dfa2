"""Blocks of a table: cases that stand for the same printed numbers, each read by several recipes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vitbench.case import Case, Recipe
from vitbench.report.markdown import code
from vitbench.tables import Table


@dataclass(frozen=True, kw_only=True)
class Block:
    """What stands side by side in a report.

    Attributes:
        recipes: that its numbers are read by, in the order of the data file.
        cases: of each of these recipes, in printed order, then those that a user added.
    """

    recipes: tuple[Recipe, ...]
    cases: tuple[Case, ...]

    @property
    def is_rerun(self) -> bool:
        """Whether its numbers are from the authors' own second run."""
        sources = {claim.source for case in self.cases for claim in case.claims}
        return bool(sources) and sources <= {"rerun"}

    def of(self, recipe: Recipe) -> list[Case]:
        """The cases of one of its recipes, and those that it is held against."""
        return [case for case in self.cases if case.recipe.name in (recipe.name, recipe.plain.name)]

    @property
    def columns(self) -> dict[str, str]:
        """Per name of a recipe of its cases, that of the one of its recipes that it stands beside."""
        return shown_under([case.recipe for case in self.cases])


def shown_under(recipes: Iterable[Recipe]) -> dict[str, str]:
    """Per name of a recipe, that of the one it is shown under: of what another is held against, that other one."""
    found = {one.name: one for one in recipes}
    methods = {one.against.name: name for name, one in found.items() if one.against}
    return {name: methods.get(name, name) for name in found}


def blocks(table: Table, added: Iterable[Case] = ()) -> list[Block]:
    """The blocks of a table, in printed order; a table that one recipe runs is one block.

    Args:
        added: further cases, each put where its recipe is.
    """
    under = shown_under([case.recipe for case in table.cases])
    peers: dict[tuple[object, ...], dict[str, None]] = {}
    for case in table.cases:
        peers.setdefault(_cell(case), {})[under[case.recipe.name]] = None
    found: dict[tuple[str, ...], list[Case]] = {}  # by names of the recipes
    places: dict[str, list[Case]] = {}
    for case in table.cases:
        cases = found.setdefault(tuple(peers[_cell(case)]), [])
        cases.append(case)
        places.setdefault(case.recipe.name, cases)
    for case in added:
        if case.recipe.name in places:
            places[case.recipe.name].append(case)
    by_name = {case.recipe.name: case.recipe for case in table.cases}
    return [Block(recipes=tuple(by_name[one] for one in key), cases=tuple(cases)) for key, cases in found.items()]


def by_protocol(table: Table, protocol: str = "") -> list[list[Case]]:
    """The cases of a table that a protocol reads, each row once in each list; a table in two blocks has two lists.

    The authors' re-run is left out.

    Args:
        protocol: empty for any: the printed numbers are the same under all.
    """
    stacks: dict[tuple[str, str], list[list[Case]]] = {}  # by model and data set
    for block in blocks(table):
        recipe = next((one for one in block.recipes if protocol in ("", one.protocol)), None)
        if recipe and not block.is_rerun:
            rows: dict[tuple[str, str], list[Case]] = {}
            for case in block.of(recipe):
                rows.setdefault((case.model.name, case.column), []).append(case)
            for pair, cases in rows.items():
                stacks.setdefault(pair, []).append(cases)
    depth = max(map(len, stacks.values()), default=0)
    return [[case for stack in stacks.values() for case in stack[min(n, len(stack) - 1)]] for n in range(depth)]


def names(recipes: Sequence[Recipe]) -> str:
    """Such as `paper` and `code`, in Markdown."""
    shown = [f"{code(one.name)}" for one in recipes]
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))


def _cell(case: Case) -> tuple[object, ...]:
    return case.model.name, str(case.objective), case.column, case.claims
