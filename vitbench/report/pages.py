"""A paper's report in Markdown: what was printed, what came out here, and what may be believed of it."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from vitbench import compare
from vitbench.case import Budget, Case
from vitbench.errors import UserError
from vitbench.papers import Paper
from vitbench.records import write_atomically, write_whole
from vitbench.report import (
    board_page,
    conclusions,
    costs,
    counts,
    gallery,
    leaderboard,
    markdown,
    pretrainings,
    printed,
    projection,
    protocols,
    runs,
    settings,
    tables,
)
from vitbench.report.gallery import Drawing
from vitbench.report.markdown import Grid, escaped
from vitbench.report.material import Material
from vitbench.report.results import Place, Results
from vitbench.selection import sizes, trained
from vitbench.tables import Table

FIGURES = "figures"  # folder beside the pages
MACS_NOTE = """\
MACs are of one image at inference, each column in its own convention: `matmul+conv` counts matrix products and
convolutions, those of attention included; `fvcore` adds the norms; `layers` counts convolutions, linear layers,
norms and activations and leaves attention's products out. The terms' parameters are not the model's: they are
dropped after training. Training MACs are 3 x the forward MACs of model and terms."""
VERDICT_NOTE = """\
A verdict compares gains over plain cross-entropy, and the level for plain cross-entropy itself. Its 95 % interval
holds the binomial error of the test images and not the spread between seeds, so with one seed it is too narrow."""
SIZES_NOTE = "What is printed beside what is counted here, which is judged at as many decimals as are printed."
CONVENTION_NOTE = """\
MACs are judged as they were counted, by the convention beside them. A number that comes out only without the modules of
attention is judged by `matmul+conv`: what is left of a network is not its size."""
SPEED_NOTE = """\
A step is timed in turn with a plain `ce` step of its model. The share of the peak is the step's matrix products and
convolutions over what a large matrix product reaches on the same device in the same precision."""
FLOOR_NOTE = "The floor is the same arithmetic at that peak."
RECIPES_NOTE = """\
A number is of one of these recipes, as its table says; where several read one number, their names head columns and end
the ids of cases. Protocol `paper` is how we read the text, `code` what its authors' code does; where these differ they
are different experiments. What the text leaves open, and where it is not followed word for word, is in
`docs/decisions/`."""
QUICK_NOTE = """\
Tiny networks on little data for seconds: they show that everything runs and learns. On 360 test images one standard
error is about a point, so differences of a point or two mean nothing here, and nothing in this section is comparable
with a printed number."""


def write(folder: Path, material: Material) -> list[Path]:
    """Write a page per paper, with its figures, the leaderboards and an index; returns the files, the index first.

    Args:
        folder: made when it is not there.

    Raises:
        UserError: if the folder has a README.md that is not ours.
    """
    check(folder)
    index = folder / "README.md"
    written = [index]
    for paper in material.papers:
        path = folder / f"{paper.name}.md"
        write_whole(path, page(paper, material))
        written.append(path)
        for drawing in _drawings(paper, material):
            path = folder / FIGURES / drawing.name
            with write_atomically(path) as temporary:
                temporary.write_bytes(drawing.content())
            written.append(path)
    boards = folder / board_page.NAME
    names = [paper.name for paper in material.papers]
    write_whole(boards, board_page.page(leaderboard.boards(material), links=material.links, papers=names))
    written.append(boards)
    write_whole(index, _index(material))
    return written


def check(folder: Path) -> None:
    """Refuse to overwrite what we did not write.

    Raises:
        UserError: if the folder has a README.md that is not ours.
    """
    index = folder / "README.md"
    if index.is_file() and not index.read_text(encoding="utf-8", errors="replace").startswith("# Reports\n"):
        raise UserError(f"{index} is not one of our reports and would be overwritten; name another folder")


def page(paper: Paper, material: Material) -> str:
    """One paper's report."""
    return "\n\n".join(_sections(paper, material)) + "\n"


def _index(material: Material) -> str:
    lines = ["# Reports", "One page per paper: its printed tables with our numbers beside them."]
    rows = []
    for paper in material.papers:
        measured, every = counts.measured(paper, material.results)
        count = f"{measured} of {every}" if every else "none can be run yet"
        rows.append([markdown.link(paper.name, f"{paper.name}.md"), paper.title, count])
    lines.append(markdown.table((["Paper", "Title", "printed cells measured"], rows)))
    lines.append(f"Over all papers: {markdown.link('leaderboards', board_page.NAME)}, a table per data set and budget.")
    return "\n\n".join([*lines, *_problems(material)]) + "\n"


def _sections(paper: Paper, material: Material) -> Iterator[str]:
    yield f"# {escaped(paper.title)}"
    yield f"{escaped(paper.authors)}, {paper.year}. {escaped(paper.venue)} (`{paper.name}`)."
    if Budget.PAPER in material.cases:
        yield from _summary(paper, material)
    yield from _recipes(paper, material)
    own = {budget: [one for one in cases if one.paper == paper.name] for budget, cases in material.cases.items()}
    # What is printed is shown beside the paper's own budget, whether or not a case was made of it.
    compared = [one for one in own if one == Budget.PAPER or (one != Budget.QUICK and own[one])]
    for budget in compared:
        cases = own[budget]
        is_brief = budget != Budget.PAPER and Budget.PAPER in compared  # which shows all that is printed
        found = list(printed.sections(paper, cases, material.results, budget, is_brief=is_brief))
        if found:  # of a paper that makes no case, a brief section has nothing
            yield f"## The printed tables, `{budget}` budget"
            yield VERDICT_NOTE
        yield from found
    if paper.conclusions and compared:
        yield "## Conclusions of the text"
        yield "Each is held against the paper's own printed numbers, and against ours where they were measured."
        yield markdown.table(conclusions.conclusion_table(paper, material.results, compared))
    if compared:
        yield from printed.data_sections(paper)
    yield from _quick(paper, material)
    yield from _pretrainings(paper, material)
    yield from _figures(paper, material)
    yield from _sizes(paper, material)
    yield from _speeds(paper, material)
    yield from _records(paper, material)
    yield from _remarks(paper, material)
    yield from _problems(material)


def _summary(paper: Paper, material: Material) -> Iterator[str]:
    found = counts.verdicts(paper, material.results)
    if len(found) == 1:
        (verdicts,) = found.values()
        shown = ", ".join(f"{verdicts[one]} {one}" for one in counts.ORDER if verdicts[one])
        yield f"Printed cells under the paper's own budget: {shown}."
    elif found:
        yield "Printed cells under the paper's own budget, by the recipe that they are read by:"
        yield markdown.table(counts.verdict_table(found))
    standings = list(counts.standings(paper))
    if standings:
        yield "What keeps printed cells from being run as this stands:"
        yield "\n".join(f"- {escaped(one)}." for one in standings)


def _recipes(paper: Paper, material: Material) -> Iterator[str]:
    budget = next(iter(material.cases), Budget.PAPER)
    cases = [one for one in _all(material) if one.paper == paper.name]
    grid = settings.recipe_table(paper, cases, budget)
    if grid[1]:
        yield "## Recipes"
        yield RECIPES_NOTE
        yield markdown.table(grid)
        yield f"The same in all: {escaped('; '.join(settings.shared(paper, cases, budget)))}."


def _sizes(paper: Paper, material: Material) -> Iterator[str]:
    cases = [one for budget, own in material.cases.items() for one in trained(own, budget) if one.paper == paper.name]
    counted = costs.size_table(sizes([paper], cases), material.results)
    compared = [] if set(material.cases) <= {Budget.QUICK} else costs.printed_sizes(paper, material.results)
    if counted[1] or compared:
        yield "## Sizes of the paper's networks"
    if compared:
        has_macs = any(one.printed.claim.convention for one in compared)
        yield f"{SIZES_NOTE} {CONVENTION_NOTE}" if has_macs else SIZES_NOTE
        yield markdown.table(costs.printed_size_table(compared))
    if counted[1]:
        yield from (MACS_NOTE, markdown.table(counted))


def _speeds(paper: Paper, material: Material) -> Iterator[str]:
    for budget, cases in material.cases.items():
        steps = list(trained((one for one in cases if one.paper == paper.name), budget))
        own = costs.timed(steps)
        heading = [f"## Speed, `{budget}` budget"]
        places = material.results.places(paper.name, budget)
        for place in places:
            grid = costs.speed_table(own, material.results.on(place), budget)
            if grid[1]:
                yield from heading
                heading = []
                where = place.device if len(places) == 1 else _where(place)
                yield f"Medians on {escaped(where)}. {SPEED_NOTE}"
                yield markdown.table(grid)
                yield from _projection(steps, budget, place, material)


def _projection(cases: Sequence[Case], budget: Budget, place: Place, material: Material) -> Iterator[str]:
    grid = projection.projection_table(cases, material.results.on(place), budget)
    if grid[1] and budget != Budget.QUICK:
        yield f"All runs of the `{budget}` budget, one seed, from these steps; without evaluation. {FLOOR_NOTE}"
        yield markdown.table(grid)


def _where(place: Place) -> str:
    device = f"{place.machine}: {place.device}" if place.machine else place.device
    return f"{device}, {place.precision}, {place.engine}"


def _quick(paper: Paper, material: Material) -> Iterator[str]:
    grids: dict[str, tuple[list[str], str, Grid]] = {}  # tables whose quick forms are the same are shown once
    for table in paper.tables:
        own = list(_of(table, paper, material.cases.get(Budget.QUICK, ())))
        for dataset in sorted({case.dataset for case in own}):
            grid = _quick_grid([case for case in own if case.dataset == dataset], paper, material.results)
            if grid[1]:
                grids.setdefault(repr((dataset, grid)), ([], dataset, grid))[0].append(table.id)
    if grids:
        yield from (f"## `{Budget.QUICK}` budget", QUICK_NOTE)
    for names, dataset, grid in grids.values():
        several = len(names) > 1
        yield f"### Table{'s' * several} {', '.join(names)} in {'their' if several else 'its'} quick form, `{dataset}`"
        yield markdown.table(grid)


def _quick_grid(cases: Sequence[Case], paper: Paper, results: Results) -> Grid:
    """Cases of one table on one data set; recipes stand side by side where one loss is trained by several."""
    if len({(case.model.name, case.loss) for case in cases}) < len(cases):
        return protocols.quick_table(cases, results, list(paper.recipes))
    return tables.quick_table(cases, results)


def _figures(paper: Paper, material: Material) -> Iterator[str]:
    drawings = _drawings(paper, material)
    if drawings:
        yield "## Figures"
    for drawing in drawings:
        yield f"{markdown.image(drawing.alt, f'{FIGURES}/{drawing.name}')}\n\n{escaped(drawing.caption)}"


def _drawings(paper: Paper, material: Material) -> list[Drawing]:
    return list(gallery.drawings(paper, material.cases, material.results, material.kept))


def _pretrainings(paper: Paper, material: Material) -> Iterator[str]:
    own = {budget: [one for one in cases if one.paper == paper.name] for budget, cases in material.cases.items()}
    grid = pretrainings.pretraining_table(own, material.results)
    if grid[1]:
        yield from ("## Pre-trainings", pretrainings.NOTE, markdown.table(grid))


def _records(paper: Paper, material: Material) -> Iterator[str]:
    grid = runs.run_table(paper, material.results, material.links)
    if grid[1]:
        note = f" {runs.MIXED_NOTE}" if runs.is_mixed(paper, material.results) else ""
        yield from ("## Runs", f"Every accuracy above comes from these.{note}", markdown.table(grid))


def _remarks(paper: Paper, material: Material) -> Iterator[str]:
    lines = compare.remarks(one for one in material.findings if one.subject.startswith(f"{paper.name}/"))
    if lines:
        yield "## Stale or invalid"
        yield "Stale: recorded by another version of what the value depends on. Invalid: it failed its own checks."
        yield "\n".join(f"- {escaped(line)}" for line in lines)


def _problems(material: Material) -> Iterator[str]:
    problems = [*material.problems, *material.kept.problems]
    if problems:
        yield "## Left out"
        yield "\n".join(f"- {escaped(problem)}" for problem in problems)


def _of(table: Table, paper: Paper, cases: Iterable[Case]) -> Iterator[Case]:
    return (case for case in cases if (case.paper, case.table) == (paper.name, table.id))


def _all(material: Material) -> list[Case]:
    return [case for cases in material.cases.values() for case in cases]
