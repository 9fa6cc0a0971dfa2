"""A paper's report in Markdown: what was printed, what came out here, and what may be believed of it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from vitbench import compare
from vitbench.atomic import clear_leftovers, write_atomically, write_whole
from vitbench.case import Budget, Case
from vitbench.errors import UserError
from vitbench.papers import Paper
from vitbench.report import (
    board_page,
    choices,
    conclusions,
    costs,
    counts,
    differences,
    gallery,
    html,
    leaderboard,
    markdown,
    overview,
    pretrainings,
    printed,
    projection,
    protocols,
    runs,
    settings,
    tables,
)
from vitbench.report.gallery import Drawing
from vitbench.report.markdown import Grid, code, escaped, leading
from vitbench.report.material import Material
from vitbench.report.results import Place, Results
from vitbench.selection import sizes, trained
from vitbench.tables import Table

ABANDONED = 3600.0  # seconds; another session may be writing the same report
FIGURES = "figures"  # folder beside the pages
MACS_NOTE = """\
MACs are of one image at inference, each column in its own convention: `matmul+conv` counts matrix products and
convolutions, those of attention included; `fvcore` adds the norms; `layers` counts convolutions, linear layers,
norms and activations and leaves attention's products out. The terms' parameters are not the model's: they are
dropped after training. Training MACs are 3 x the forward MACs of model and terms."""
VERDICT_NOTE = """\
A verdict compares gains over plain cross-entropy, and the level for plain cross-entropy itself. Its 95 % interval is
that over seeds where there are several; with one it holds the binomial error of the test images and not the spread
between seeds, so it is too narrow."""
SCORE_NOTE = """\
The reproduction score counts printed cells under each paper's own budget by their verdict, once for each protocol that
reads them; sizes of networks stand apart."""
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
are different experiments."""
QUICK_NOTE = """\
Tiny networks on little data for seconds: they show that everything runs and learns. On 360 test images one standard
error is about a point, so differences of a point or two mean nothing here, and nothing in this section is comparable
with a printed number."""


def write(folder: Path, material: Material) -> list[Path]:
    """Write a page per paper, with its figures, the leaderboards, an index, and all of it on one HTML page.

    Returns the files, the index first.

    Args:
        folder: made when it is not there.

    Raises:
        UserError: if the folder has a README.md that is not ours.
    """
    check(folder)
    clear_leftovers(folder, older=ABANDONED)
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
    drawn = {path.name: path for path in written if path.parent != folder}
    boards = leaderboard.boards(material)
    names = [paper.name for paper in material.papers]
    write_whole(folder / board_page.NAME, board_page.page(boards, links=material.links, papers=names))
    written.append(folder / board_page.NAME)
    write_whole(index, _index(material))
    written.append(html.write(folder, material, boards, drawn))
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
    lines.append(f"{markdown.link('Everything on one page', html.NAME)}, to be sorted and searched in a browser.")
    if Budget.PAPER in material.cases:
        lines += [SCORE_NOTE, markdown.table(_scores(material))]
    else:
        lines.append(markdown.table(_trained(material)))
    lines.append("\n".join(f"- {code(paper.name)}: {escaped(paper.title)}." for paper in material.papers))
    lines.append(f"Over all papers: {markdown.link('leaderboards', board_page.NAME)}, a table per data set and budget.")
    return "\n\n".join([*lines, *_problems(material)]) + "\n"


def _scores(material: Material) -> Grid:
    """Printed cells by verdict."""
    rows = []
    for paper in material.papers:
        name = markdown.link(paper.name, f"{paper.name}.md")
        measured, every = counts.measured(paper, material.results)
        count = f"{measured} of {every}" if every else "none can be run yet"
        for number, (protocol, shown) in enumerate(counts.scores(paper, material.results).items()):
            rows.append([name, protocol, *shown, count] if number == 0 else ["", protocol, *shown, ""])
    return ["Paper", "Protocol", *map(str, counts.ORDER), "printed cells measured"], rows


def _trained(material: Material) -> Grid:
    """How many cases of each paper were trained, where a budget is shown that is compared with no print."""
    rows = []
    for paper in material.papers:
        for budget, cases in material.cases.items():
            own = [case for case in cases if case.paper == paper.name]
            done = sum(material.results.value(case, budget, "accuracy") is not None for case in own)
            rows.append([markdown.link(paper.name, f"{paper.name}.md"), str(budget), f"{done} of {len(own)}"])
    return ["Paper", "Budget", "cases with an accuracy"], rows


def _sections(paper: Paper, material: Material) -> Iterator[str]:
    yield f"# {leading(paper.title)}"
    yield f"{leading(paper.authors)}, {paper.year}. {escaped(paper.venue)} ({code(paper.name)})."
    own = {budget: [one for one in cases if one.paper == paper.name] for budget, cases in material.cases.items()}
    # What is printed is shown beside the paper's own budget, whether or not a case was made of it.
    compared = [one for one in own if one == Budget.PAPER or (one != Budget.QUICK and own[one])]
    if Budget.PAPER in material.cases:
        yield from _score(paper, material)
    if compared:
        yield from _differences(paper, material, compared)
    if paper.conclusions and compared:
        yield "## Conclusions of the text"
        yield "Each is held against the paper's own printed numbers, and against ours where they were measured."
        yield markdown.table(conclusions.conclusion_table(paper, material.results, compared))
    yield from _shown("## Figures", overview.of(paper, material))
    if Budget.PAPER in material.cases:
        yield from _standings(paper)
    yield from _recipes(paper, material)
    if compared and paper.choices:
        yield from ("## Choices", choices.NOTE)
        yield markdown.table(choices.choice_table(paper.choices, folder=material.decisions))
    for budget in compared:
        cases = own[budget]
        is_brief = budget != Budget.PAPER and Budget.PAPER in compared  # which shows all that is printed
        found = list(printed.sections(paper, cases, material.results, budget, is_brief=is_brief))
        if found:  # of a paper that makes no case, a brief section has nothing
            yield f"## The printed tables, `{budget}` budget"
            yield VERDICT_NOTE
        yield from found
    if compared:
        yield from printed.data_sections(paper)
    yield from _quick(paper, material)
    yield from _pretrainings(paper, material)
    yield from _shown("## Curves and pictures", gallery.of(paper, material))
    yield from _sizes(paper, material)
    yield from _speeds(paper, material)
    yield from _records(paper, material)
    yield from _remarks(paper, material)
    yield from _problems(material)


def _score(paper: Paper, material: Material) -> Iterator[str]:
    """How many printed numbers came out here, before anything else."""
    found = counts.verdicts(paper, material.results)
    if len(found) == 1:
        (verdicts,) = found.values()
        yield f"**Reproduction score**, printed cells under the paper's own budget: {counts.told(verdicts)}."
    elif found:
        yield "**Reproduction score**, printed cells under the paper's own budget, by the recipe that they are read by:"
        yield markdown.table(counts.verdict_table(found))
    if Budget.SHORT in material.cases:
        run = sum(counts.verdicts(paper, material.results, Budget.SHORT).values(), Counter())
        if shown := counts.told(run, run=True):
            told = "Run for a tenth of the epochs, the `short` budget, whose levels are not the paper's"
            yield f"{told}: {shown}."


def _standings(paper: Paper) -> Iterator[str]:
    standings = list(counts.standings(paper))
    if standings:
        yield "## Not run"
        yield "What keeps printed cells from being run as this stands:"
        yield "\n".join(f"- {leading(one)}." for one in standings)


def _differences(paper: Paper, material: Material, budgets: Sequence[Budget]) -> Iterator[str]:
    found = differences.differences(paper, material.results, budgets)
    if found:
        yield "## Differences"
        yield differences.NOTE
        yield markdown.table(differences.difference_table(found))
        yield from _shown("", overview.gains_of(paper, material))


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
        of = "Tables {} in their" if len(names) > 1 else "Table {} in its"
        yield f"### {of.format(', '.join(names))} quick form, {code(dataset)}"
        yield markdown.table(grid)


def _quick_grid(cases: Sequence[Case], paper: Paper, results: Results) -> Grid:
    """Cases of one table on one data set; recipes stand side by side where one loss is trained by several."""
    if len({(case.model.name, case.loss) for case in cases}) < len(cases):
        return protocols.quick_table(cases, results, list(paper.recipes))
    return tables.quick_table(cases, results)


def _shown(heading: str, drawings: Iterable[Drawing]) -> Iterator[str]:
    """Figures with their captions, below a heading where there are some."""
    shown = [f"{markdown.image(one.alt, f'{FIGURES}/{one.name}')}\n\n{leading(one.caption)}" for one in drawings]
    if shown and heading:
        yield heading
    yield from shown


def _drawings(paper: Paper, material: Material) -> list[Drawing]:
    """Every figure of a page, from its head to its end."""
    return [*overview.gains_of(paper, material), *overview.of(paper, material), *gallery.of(paper, material)]


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
        yield "\n".join(f"- {leading(line)}" for line in lines)


def _problems(material: Material) -> Iterator[str]:
    problems = [*material.problems, *material.kept.problems]
    if problems:
        yield "## Left out"
        yield "\n".join(f"- {leading(problem)}" for problem in problems)


def _of(table: Table, paper: Paper, cases: Iterable[Case]) -> Iterator[Case]:
    return (case for case in cases if (case.paper, case.table) == (paper.name, table.id))


def _all(material: Material) -> list[Case]:
    return [case for cases in material.cases.values() for case in cases]
