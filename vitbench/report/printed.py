"""The printed tables of a paper as text: heading, recipe, what was printed with ours beside, notes."""

from collections.abc import Iterable, Iterator

from vitbench.case import Budget, Case
from vitbench.metrics import METRICS
from vitbench.papers import Paper
from vitbench.report import datasets, protocols, settings, tables
from vitbench.report.blocks import Block, blocks, names
from vitbench.report.costs import SIZES
from vitbench.report.markdown import code, escaped, leading, table
from vitbench.report.results import Results
from vitbench.tables import Table

MOST_LISTED = 4  # cells that a note on several of them names one by one


def sections(
    paper: Paper, cases: Iterable[Case], results: Results, budget: Budget, *, is_brief: bool = False
) -> Iterator[str]:
    """Every table that has cases.

    Args:
        cases: that were selected under the budget, with those that a user added.
        is_brief: whether long tables leave out their notes, and models and data sets of which nothing was measured.
    """
    cases = list(cases)
    for one in paper.tables:
        if not one.cases:
            if not is_brief and not datasets.is_of_datasets(one):
                yield from _unrun(paper, one)
            continue
        own = {case.id for case in one.cases}
        added = [case for case in cases if case.table == one.id and case.id not in own]
        found = blocks(one, added)
        is_cut = is_brief and protocols.is_long(one)
        if is_cut:
            found = [protocols.measured(one, block, results, budget) for block in found]
        yield f"### Table {one.id} ({escaped(one.where)})"
        if not any(block.cases for block in found):
            yield "Nothing of it was run under this budget."
            continue
        if protocols.is_long(one):
            yield from _long(paper, one, found, results, budget)
        else:
            yield from _short(one, added, results, budget)
        if not is_cut:
            yield from _notes(paper, one)


def data_sections(paper: Paper) -> Iterator[str]:
    """Tables of data sets, beside what the loaders here state."""
    heading = ["## Data sets"]
    for one in paper.tables:
        if datasets.is_of_datasets(one):
            yield from heading
            heading = []
            yield f"### Table {one.id} ({escaped(one.where)})"
            yield f"{leading(one.title)}. Ours are what the loaders state; a difference is in bold."
            yield table(datasets.dataset_table(one))
            yield from _notes(paper, one)


def _unrun(paper: Paper, one: Table) -> Iterator[str]:
    """A table that no case stands in: what it prints, a column per metric, and why nothing is run for it."""
    metrics = list(dict.fromkeys(printed.claim.metric for printed in one.printed))
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    has_labels = any(printed.label for printed in one.printed)
    yield f"### {one.id.replace('-', ' ').capitalize()} ({escaped(one.where)})"
    for printed in one.printed:
        name, *cell = printed.cell
        key = (paper.models[name].printed, *cell, *([printed.label] if has_labels else []))
        rows.setdefault(key, {})[printed.claim.metric] = f"{printed.claim.value:.10g}"
    reasons = dict.fromkeys(printed.claim.reason for printed in one.printed)
    yield f"{leading(one.title)}. In print only: {escaped('; '.join(reasons))}."
    names = [f"{one} ({METRICS[one].unit})" if METRICS[one].unit not in ("", one) else one for one in metrics]
    body = [[*cell, *(row.get(metric, "") for metric in metrics)] for cell, row in rows.items()]
    yield table((["Model", "Loss", "Data", *(["Recipe"] if has_labels else []), *names], body))
    yield from _notes(paper, one)


def _short(one: Table, added: list[Case], results: Results, budget: Budget) -> Iterator[str]:
    models: dict[str, dict[str, None]] = {}  # by recipe
    for case in one.cases:
        models.setdefault(case.recipe.name, {})[case.model.printed] = None
    how = f"Recipe {code(one.cases[0].recipe.name)}, protocol {code(one.cases[0].recipe.protocol)}"
    if len(models) > 1:
        of = [f"{code(name)} of {escaped(', '.join(found))}" for name, found in models.items()]
        how = f"Recipe {'; '.join(of)}"
    yield f"{leading(one.title)}. {how}, accuracies in percent."
    yield table(tables.printed_table(one, [*one.cases, *added], results, budget))


def _long(paper: Paper, one: Table, found: list[Block], results: Results, budget: Budget) -> Iterator[str]:
    found = [block for block in found if block.cases]
    held = {recipe.name: recipe.against.name for block in found for recipe in block.recipes if recipe.against}
    same = "of the same recipe"
    if any(recipe.pretraining for block in found for recipe in block.recipes):
        same += ", without its pre-training"
    over = ", ".join(f"of {code(other)} for {code(name)}" for name, other in held.items()) or same
    yield f"{leading(one.title)}. Accuracies in percent, gains in points over plain `ce` {over}."
    for block in found:
        if block.is_rerun:
            yield from _rerun(paper, one, block, results, budget)
            continue
        recipes = settings.lengths(block.recipes, budget)
        yield f"#### {recipes}" if sum(not block.is_rerun for block in found) > 1 else f"Read by {recipes}."
        yield table(protocols.long_table(one, block, results, budget))


def _rerun(paper: Paper, one: Table, block: Block, results: Results, budget: Budget) -> Iterator[str]:
    recipe = block.recipes[0]
    yield f"#### The authors' own re-run, {settings.lengths(block.recipes, budget)}, protocol {code(recipe.protocol)}"
    others = [other for found in blocks(one) if not found.is_rerun for other in found.recipes]
    twin = next((other for other in others if other.protocol == recipe.protocol), None)
    if twin:
        differences = "; ".join(map(escaped, settings.unlike(paper, recipe, twin, budget)))
        yield f"Unlike {names([twin])}, in brackets: {differences or 'nothing'}."
    yield table(protocols.rerun_table(one, block, results, budget))


def _notes(paper: Paper, one: Table) -> Iterator[str]:
    cells: dict[str, dict[str, None]] = {}  # by text
    for printed in one.printed:
        note = printed.claim.note
        if note and printed.claim.metric not in SIZES:  # which stand with the sizes of the networks
            name = paper.models[printed.model].printed if printed.model else ""
            cell = ", ".join(filter(None, (name, str(printed.objective or ""), printed.dataset)))
            cells.setdefault(note, {})[cell] = None
    notes = [f"{_listed(list(found))}: {note}" for note, found in cells.items()] + list(protocols.misprints(one))
    if notes:
        yield "\n".join(f"- {leading(note)}." for note in notes)


def _listed(cells: list[str]) -> str:
    return "; ".join(cells) if len(cells) <= MOST_LISTED else f"{cells[0]} and {len(cells) - 1} more"
