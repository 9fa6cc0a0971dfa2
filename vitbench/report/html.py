"""One HTML page of everything, which needs nothing but itself: scores, every cell, conclusions, figures.

What stands on it comes from the same functions as the pages in Markdown; `templates/` has its layout, its style and its
script, which sorts and searches. See docs/decisions/0029-html.md.
"""

import base64
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from vitbench import compare
from vitbench.atomic import write_whole
from vitbench.case import Budget
from vitbench.machine import installed
from vitbench.papers import Paper
from vitbench.report import choices, conclusions, counts, gallery, rankings
from vitbench.report.explorer import ANY, COLUMNS, PRINT_ONLY, Row, rows
from vitbench.report.leaderboard import Board
from vitbench.report.material import Material
from vitbench.report.provenance import Numbers

NAME = "index.html"
MOST = 1_900_000  # bytes of a page; figures that do not fit below it are linked
FILTERS = ("paper", "dataset", "budget", "verdict")
SHOWN = 100  # rows at once, so that the page opens, sorts and searches quickly
PLACE = Markup("<!-- figures -->")  # which nothing else can write, for a name is escaped
TYPES = {".svg": "image/svg+xml", ".png": "image/png"}


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of the reproduction score.

    Attributes:
        what: which of the paper's numbers: those under a budget, or the sizes of its networks.
        page: where the paper's own page is.
        counts: per verdict, how many, and the view of the explorer that shows them.
    """

    paper: str
    year: int
    page: str
    what: str
    counts: Sequence[tuple[int, str]]

    @property
    def total(self) -> int:
        """How many numbers are in print."""
        return sum(count for count, _ in self.counts)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure: `source` is the file itself as an address, or empty where it is too large for the page."""

    paper: str
    alt: str
    caption: str
    link: str
    source: str = ""


def write(folder: Path, material: Material, boards: Sequence[Board], drawn: Mapping[str, Path]) -> Path:
    """Write the page beside the others; returns its file.

    Args:
        boards: the leaderboards of the material.
        drawn: per name of a drawing, the file in `folder` that it was written to.
    """
    path = folder / NAME
    write_whole(path, page(material, boards, {name: (file.relative_to(folder), file) for name, file in drawn.items()}))
    return path


def page(
    material: Material,
    boards: Sequence[Board] = (),
    drawn: Mapping[str, tuple[Path, Path]] | None = None,
) -> str:
    """The whole page.

    Args:
        drawn: per name of a drawing, how the page links to its file, and the file.
    """
    environment = _environment()
    content = _content(material, boards)
    template = environment.get_template("index.html.jinja")
    found = list(_figures(material, drawn or {}))
    has_figures = "; pictures: Pillow " + installed("pillow") if found else ""
    content |= {name: _source(environment, file) for name, file in (("style", "style.css"), ("script", "script.js"))}
    content |= {"generator": f"vitbench{has_figures}"}
    bare = template.render(content, figures=PLACE if found else "")
    shown = list(_fitting(found, MOST - len(bare.encode())))
    return bare.replace(PLACE, environment.get_template("figures.html.jinja").render(figures=shown)) + "\n"


@cache
def _environment() -> Environment:
    """Whose templates are compiled once."""
    return Environment(autoescape=True, loader=PackageLoader("vitbench.report", "templates"))


def _source(environment: Environment, name: str) -> Markup:
    text, *_ = environment.loader.get_source(environment, name) if environment.loader else ("",)
    return Markup(text)  # ours, and not for anybody to fill in


def _content(material: Material, boards: Sequence[Board]) -> dict[str, Any]:
    numbers = Numbers(material.links)
    found = rows(material, numbers)
    compared = [budget for budget in material.cases if budget != Budget.QUICK]
    shown = [(paper.name, conclusions.conclusion_table(paper, material.results, compared)) for paper in material.papers]
    run = sum(row.is_run for row in found)  # which stand first
    first = min(run, SHOWN)
    content: dict[str, Any] = {
        "rows": found,
        "first": found[:first],
        "rest": found[first:],
        "hidden": len(found) - run,
        "most": SHOWN,
        "columns": COLUMNS,
        "filters": {name: values(found, name) for name in FILTERS},
        "score": list(score(material.papers, found)) if compared else [],
        "verdicts": [str(one) for one in counts.ORDER],
        "headline": list(headline(found)),
        "caveats": list(caveats(found, material)),
        "standings": [(paper.name, one) for paper in material.papers for one in counts.standings(paper)],
        "conclusions": [(name, grid) for name, grid in shown if compared and grid[1]],
        "choices": [paper for paper in material.papers if compared and paper.choices],
        "choices_note": choices.NOTE,
        "decisions": material.decisions,
        "remarks": compare.remarks(material.findings),
        "problems": [*material.problems, *material.kept.problems],
        "boards": rankings.rankings(boards, material.results, numbers),
        "boards_note": rankings.NOTE,
    }
    content["sections"] = list(_sections(content, has_figures=bool(material.kept.curves or material.kept.pictures)))
    return content | {"records": embedded(numbers.content())}


def _sections(content: Mapping[str, Any], *, has_figures: bool) -> Iterator[tuple[str, str]]:
    """Anchors and titles of the sections that there are."""
    there = {
        "score": ("Reproduction score", content["score"]),
        "explorer": ("All cells", True),
        "leaderboards": ("Leaderboards", content["boards"]),
        "conclusions": ("Conclusions", content["conclusions"]),
        "figures": ("Figures", has_figures),
        "left-out": ("Left out", content["remarks"] or content["problems"]),
    }
    return ((anchor, title) for anchor, (title, is_there) in there.items() if is_there)


def embedded(content: Any) -> Markup:
    """Data inside of a script element, which nothing in it can end."""
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def values(found: Iterable[Row], name: str) -> list[str]:
    """What a column holds, each once."""
    return sorted({row.cells.get(name, "") for row in found} - {""})


def score(papers: Sequence[Paper], found: Iterable[Row]) -> Iterator[Line]:
    """Verdicts on what is in print, by paper and budget, and on sizes of networks."""
    counted: dict[tuple[str, str], Counter[str]] = {}
    for row in found:
        if is_judged(row):
            counted.setdefault((row.cells["paper"], row.cells["budget"]), Counter())[row.verdict] += 1
    for paper in papers:
        for budget in (Budget.PAPER, Budget.SHORT, ANY):
            if (paper.name, budget) in counted:
                yield _line(paper, budget, counted[paper.name, budget])


def _line(paper: Paper, budget: str, counted: Counter[str]) -> Line:
    view = {"paper": paper.name, "budget": budget}
    links = [(counted[verdict], f"#explorer?{urlencode(view | {'verdict': verdict})}") for verdict in counts.ORDER]
    return Line(paper=paper.name, year=paper.year, page=quote(f"{paper.name}.md"), what=_what(budget), counts=links)


def headline(found: Sequence[Row]) -> Iterator[str]:
    """The whole in a few sentences."""
    for budget in (Budget.PAPER, Budget.SHORT, ANY):
        own = [row for row in found if is_judged(row) and row.cells["budget"] == budget]
        run = Counter(row.verdict for row in own if row.is_run)
        told = [f"{run[one]} {one}" for one in map(str, counts.ORDER) if run[one]]
        if own:
            done = f"{run.total()} of {len(own)} printed numbers {'counted' if budget == ANY else 'measured'} here"
            yield f"{_what(budget).capitalize()}: {done}{': ' if told else ''}{', '.join(told)}."
    beside = sum(row.is_run and not is_judged(row) for row in found)
    if beside:
        yield f"{beside} cells were measured with nothing in print beside them."


def is_judged(row: Row) -> bool:
    """Whether there is something in print that can be held against ours."""
    return bool(row.cells["printed"]) and row.verdict != PRINT_ONLY


def _what(budget: str) -> str:
    return "sizes of networks" if budget == ANY else f"{budget} budget"


def caveats(found: Sequence[Row], material: Material) -> Iterator[str]:
    """What to know before a number is believed."""
    yield (
        "A verdict compares gains over plain cross-entropy, and the level for plain cross-entropy itself. Its 95 % "
        "interval is that over seeds where there are several; with one it holds the binomial error of the test images "
        "and not the spread between seeds, so it is too narrow."
    )
    run = [row for row in found if row.is_run and row.cells["budget"] != ANY]
    single = sum("(n = " not in row.cells["ours"] for row in run)
    if run:
        yield f"{single} of {len(run)} measured cells are of one seed."
    if any(row.cells["budget"] == Budget.QUICK for row in run):
        yield (
            "The quick budget trains tiny networks on little data for seconds: it shows that everything runs, and is "
            "comparable with no printed number."
        )
    if any(row.cells["budget"] == Budget.SHORT for row in run):
        yield "The short budget trains for a tenth of the paper's epochs; its levels are not the paper's."
    if material.findings:
        yield f"{len(material.findings)} values are stale or invalid, and are named at the end."


def _figures(material: Material, drawn: Mapping[str, tuple[Path, Path]]) -> Iterator[tuple[Figure, Path]]:
    for paper in material.papers:
        for one in gallery.of(paper, material):
            if one.name in drawn:
                link, file = drawn[one.name]
                yield Figure(paper=paper.name, alt=one.alt, caption=one.caption, link=quote(link.as_posix())), file


def _fitting(found: Iterable[tuple[Figure, Path]], room: int) -> Iterator[Figure]:
    """Figures with their files inside, as long as there is room."""
    for figure, file in found:
        source = f"data:{TYPES[file.suffix]};base64,{base64.b64encode(file.read_bytes()).decode()}"
        room -= len(source) + len(figure.alt) + len(figure.caption) + 200
        yield Figure(**{**vars(figure), "source": source if room >= 0 else ""})
