"""A paper's report in Markdown: what was printed, what came out here, and what may be believed of it."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from tabulate import tabulate

from vitbench import compare
from vitbench.case import Budget, Case
from vitbench.compare import Finding
from vitbench.errors import UserError
from vitbench.papers import Paper, Table
from vitbench.records import write_whole
from vitbench.report import projection, tables
from vitbench.report.results import Place, Results
from vitbench.selection import sizes, timings

MACS_NOTE = """\
MACs are of one image at inference, each column in its own convention: `matmul+conv` counts matrix products and
convolutions, those of attention included; `fvcore` adds the norms; `layers` counts convolutions, linear layers,
norms and activations and leaves attention's products out. The terms' parameters are not the model's: they are
dropped after training. Training MACs are 3 x the forward MACs of model and terms."""
VERDICT_NOTE = """\
A verdict compares gains over plain cross-entropy, and the level for plain cross-entropy itself. Its 95 % interval
holds the binomial error of the test images and not the spread between seeds, so with one seed it is too narrow."""
SPEED_NOTE = """\
A step is timed in turn with a plain `ce` step of its model. The share of the peak is the step's matrix products and
convolutions over what a large matrix product reaches on the same device in the same precision."""
FLOOR_NOTE = "The floor is the same arithmetic at that peak."
QUICK_NOTE = """\
Tiny networks on little data for seconds: they show that everything runs and learns. On 360 test images one standard
error is about a point, so differences of a point or two mean nothing here, and nothing in this section is comparable
with a printed number."""


@dataclass(frozen=True, kw_only=True)
class Material:
    """What a report is made of.

    Attributes:
        cases: per budget, the cases whose rows are shown.
        links: per run key, where its record is.
        findings: stale and invalid values, which no table shows as numbers.
        problems: one line for each file that could not be used.
    """

    papers: Sequence[Paper]
    results: Results
    cases: Mapping[Budget, Sequence[Case]]
    links: Mapping[str, str] = field(default_factory=dict)
    findings: Sequence[Finding] = ()
    problems: Sequence[str] = ()


def write(folder: Path, material: Material) -> list[Path]:
    """Write a page per paper and an index; returns the files, the index first.

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
        counts = _counts(paper, material)
        measured = sum(count for verdict, count in counts.items() if verdict != "not run")
        rows.append([_link(paper.name, f"{paper.name}.md"), paper.title, f"{measured} of {sum(counts.values())}"])
    lines.append(_markdown((["Paper", "Title", "printed cells measured"], rows)))
    return "\n\n".join([*lines, *_problems(material)]) + "\n"


def _sections(paper: Paper, material: Material) -> Iterator[str]:
    yield f"# {_escaped(paper.title)}"
    yield f"{_escaped(paper.authors)}, {paper.year}. {_escaped(paper.venue)} (`{paper.name}`)."
    if Budget.PAPER in material.cases:
        yield _summary(paper, material)
    compared = [budget for budget in material.cases if budget != Budget.QUICK]
    for budget in compared:
        yield from _printed(paper, material, budget)
    if paper.conclusions and compared:
        yield "## Conclusions of the text"
        yield "Each is held against the paper's own printed numbers, and against ours where they were measured."
        yield _markdown(tables.conclusion_table(paper, material.results, compared))
    yield from _sizes(paper, material)
    yield from _speeds(paper, material)
    yield from _quick(paper, material)
    yield from _records(paper, material)
    yield from _remarks(paper, material)
    yield from _problems(material)


def _summary(paper: Paper, material: Material) -> str:
    counts = _counts(paper, material)
    shown = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    return f"Printed cells under the paper's own budget: {shown}."


def _counts(paper: Paper, material: Material) -> dict[str, int]:
    verdicts = Counter(
        str(cell.verdict)
        for table in paper.tables
        for cell in tables.cells(table, table.cases, material.results, Budget.PAPER)
    )
    order = ("reproduced", "deviates", "opposite sign", "undecided", "not run")
    return {verdict: verdicts[verdict] for verdict in order}


def _printed(paper: Paper, material: Material, budget: Budget) -> Iterator[str]:
    yield f"## The printed tables, `{budget}` budget"
    yield VERDICT_NOTE
    for table in paper.tables:
        own = {case.id for case in table.cases}
        added = [case for case in _of(table, paper, material.cases.get(budget, ())) if case.id not in own]
        yield f"### Table {table.id} ({_escaped(table.where)})"
        recipe = table.cases[0].recipe
        yield f"{_escaped(table.title)}. Recipe `{recipe.name}`, protocol `{recipe.protocol}`, accuracies in percent."
        yield _markdown(tables.printed_table(table, [*table.cases, *added], material.results, budget))
        yield from _notes(table)


def _notes(table: Table) -> Iterator[str]:
    notes = [
        f"- {_escaped(f'{c.model.printed}, {c.objective}, {c.dataset}: {claim.note}')}."
        for c in table.cases
        for claim in c.claims
        if claim.note
    ]
    if notes:
        yield "\n".join(notes)


def _sizes(paper: Paper, material: Material) -> Iterator[str]:
    cases = [one for one in _all(material) if one.paper == paper.name]
    grid = tables.size_table(sizes([paper], cases), material.results)
    if grid[1]:
        yield from ("## Sizes of the paper's networks", MACS_NOTE, _markdown(grid))


def _speeds(paper: Paper, material: Material) -> Iterator[str]:
    for budget, cases in material.cases.items():
        own = timings(one for one in cases if one.paper == paper.name)
        heading = [f"## Speed, `{budget}` budget"]
        places = material.results.places(paper.name, budget)
        for place in places:
            grid = tables.speed_table(own, material.results.on(place), budget)
            if grid[1]:
                yield from heading
                heading = []
                where = place.device if len(places) == 1 else _where(place)
                yield f"Medians on {_escaped(where)}. {SPEED_NOTE}"
                yield _markdown(grid)
                yield from _projection([one for one in cases if one.paper == paper.name], budget, place, material)


def _projection(cases: Sequence[Case], budget: Budget, place: Place, material: Material) -> Iterator[str]:
    grid = projection.projection_table(cases, material.results.on(place), budget)
    if grid[1] and budget != Budget.QUICK:
        yield f"All runs of the `{budget}` budget, one seed, from these steps; without evaluation. {FLOOR_NOTE}"
        yield _markdown(grid)


def _where(place: Place) -> str:
    device = f"{place.machine}: {place.device}" if place.machine else place.device
    return f"{device}, {place.precision}, {place.engine}"


def _quick(paper: Paper, material: Material) -> Iterator[str]:
    heading = [f"## `{Budget.QUICK}` budget", QUICK_NOTE]
    for table in paper.tables:
        own = list(_of(table, paper, material.cases.get(Budget.QUICK, ())))
        for dataset in sorted({case.dataset for case in own}):
            grid = tables.quick_table([case for case in own if case.dataset == dataset], material.results)
            if grid[1]:
                yield from heading
                heading = []
                yield f"### Table {table.id} in its quick form, `{dataset}`"
                yield _markdown(grid)


def _records(paper: Paper, material: Material) -> Iterator[str]:
    rows = []
    for one in material.results:
        if one.paper == paper.name and one.metric == "accuracy":
            name = _link(one.key, material.links[one.key]) if one.key in material.links else one.key
            where = f"{one.machine}: {one.device}" if one.machine else one.device
            made = [
                one.budget,
                one.seed,
                where,
                f"{one.precision}, {one.engine}",
                one.torch,
                one.commit,
                one.date,
            ]
            rows.append([one.model, one.objective, one.dataset, *made, name])
    if rows:
        headers = [
            "Model",
            "Loss",
            "Data",
            "Budget",
            "Seed",
            "Machine",
            "Precision, engine",
            "torch",
            "Commit",
            "Date",
            "Record",
        ]
        mixed = len({row[6].partition(",")[0] for row in rows}) > 1
        note = " A cell that was run under several precisions shows its fp32 runs alone." if mixed else ""
        yield from ("## Runs", f"Every accuracy above comes from these.{note}", _markdown((headers, rows)))


def _remarks(paper: Paper, material: Material) -> Iterator[str]:
    lines = compare.remarks(one for one in material.findings if one.subject.startswith(f"{paper.name}/"))
    if lines:
        yield "## Stale or invalid"
        yield "Stale: recorded by another version of what the value depends on. Invalid: it failed its own checks."
        yield "\n".join(f"- {_escaped(line)}" for line in lines)


def _problems(material: Material) -> Iterator[str]:
    if material.problems:
        yield "## Left out"
        yield "\n".join(f"- {_escaped(problem)}" for problem in material.problems)


def _of(table: Table, paper: Paper, cases: Iterable[Case]) -> Iterator[Case]:
    return (case for case in cases if (case.paper, case.table) == (paper.name, table.id))


def _all(material: Material) -> list[Case]:
    return [case for cases in material.cases.values() for case in cases]


def _markdown(grid: tables.Grid) -> str:
    headers, rows = grid
    text = [[cell if isinstance(cell, tables.Markup) else _escaped(cell) for cell in row] for row in rows]
    return tabulate(text, headers=[_escaped(one) for one in headers], tablefmt="github", disable_numparse=True)


def _link(text: str, target: str) -> tables.Markup:
    return tables.Markup(f"[{_escaped(text)}]({quote(target, safe='/:%+.-_~')})")


def _escaped(text: str) -> str:
    """Plain text, on one line, as Markdown has to write it to show it so: `0.1*drloc + 0.1*me` is not italic."""
    line = re.sub(r"\s+", " ", text).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*\[|])", r"\\\1", line)
