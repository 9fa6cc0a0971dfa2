"""Accuracy against MACs: what a network costs and what it reaches, plain and with the best method, as a plot."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vitbench.papers import Paper
from vitbench.report import costs, tables
from vitbench.report.blocks import blocks
from vitbench.report.plot import COLOURS, Panel, Plot, Series
from vitbench.report.results import Results
from vitbench.report.tables import Cell

LEAST, MOST = 3, 4  # networks of a panel, and panels
CROWDED = 9  # points that need a panel as wide as the page


@dataclass(frozen=True, kw_only=True)
class Point:
    """A network on a data set.

    Attributes:
        macs: of one image, in G, as `matmul+conv` counts.
        printed, ours: the accuracy, or None.
        half: half of the interval of ours.
        kind: "plain ce" or "best method".
    """

    model: str
    macs: float
    kind: str
    printed: float | None
    ours: float | None
    half: float


def points(paper: Paper, results: Results, budget: str) -> dict[str, list[Point]]:
    """Per data set, of each network plain cross-entropy and the best of the other rows; those with most networks."""
    return results.once(("trades", paper.name, budget), lambda: _points(paper, results, budget))


def _points(paper: Paper, results: Results, budget: str) -> dict[str, list[Point]]:
    groups: dict[tuple[str, str, str], list[Cell]] = {}
    for table in paper.tables:
        for block in blocks(table):
            if not block.is_rerun:
                for cell in tables.cells(table, block.of(block.recipes[0]), results, budget):
                    if cell.metric == "accuracy" and cell.printed is not None:
                        kind = "plain ce" if cell.case.is_baseline else "best method"
                        begun = ", from published weights" if cell.case.recipe.start == "published" else ""
                        key = (f"{cell.case.column}{begun}", cell.case.model.printed, kind)
                        groups.setdefault(key, []).append(cell)
    found: dict[str, list[Point]] = {}
    for (dataset, model, kind), cells in groups.items():
        # Of a row with arguments of its own, as many pairs, nothing may have been counted; the network is the same.
        counted = (costs.counted(paper, one.case, "macs", results) for one in cells)
        macs = next(filter(None, counted), None)
        if macs:
            found.setdefault(dataset, []).append(_point(model, kind, macs.mean, cells))
    enough = {name: own for name, own in found.items() if len({one.model for one in own}) >= LEAST}
    first = sorted(enough, key=lambda name: not any(one.ours is not None for one in enough[name]))[:MOST]
    return {name: own for name, own in enough.items() if name in first}


def _point(model: str, kind: str, macs: float, cells: Sequence[Cell]) -> Point:
    best = max(cells, key=lambda cell: (cell.ours.mean if cell.ours else -math.inf, cell.printed or 0.0))
    printed = max(cell.printed or 0.0 for cell in cells)
    half = best.ours.half() if best.ours else None
    ours = best.ours.mean if best.ours else None
    return Point(model=model, macs=macs, kind=kind, printed=printed, ours=ours, half=half or 0.0)


def plot(found: dict[str, list[Point]]) -> Plot:
    """A panel for each data set; networks are named beside their highest point."""
    panels = [
        Panel(
            title=dataset,
            x_label="MACs of an image (G)",
            y_label="accuracy (%)",
            series=list(_series(own)),
            is_log_x=True,
            height=260.0,
        )
        for dataset, own in found.items()
    ]
    wide = 1 if any(len(own) > CROWDED for own in found.values()) else 2
    return Plot(rows=[panels[place : place + wide] for place in range(0, len(panels), wide)], is_shared=True)


def _series(own: Sequence[Point]) -> Iterator[Series]:
    tops: dict[str, tuple[float, float]] = {}
    for one in own:
        for value in filter(None, (one.printed, one.ours)):
            tops[one.model] = max(tops.get(one.model, (0.0, 0.0)), (value, one.macs))
    for number, (kind, marker) in enumerate((("plain ce", "circle"), ("best method", "diamond"))):
        of_kind = [one for one in own if one.kind == kind]
        for source in ("printed", "ours"):
            known = [(one.macs, value, one) for one in of_kind if (value := getattr(one, source)) is not None]
            if known:
                yield Series(
                    label=f"{kind}, {source}",
                    x=[macs for macs, _, _ in known],
                    y=[value for _, value, _ in known],
                    bars=[
                        (value - one.half, value + one.half) if source == "ours" else None for _, value, one in known
                    ],
                    colour=COLOURS[number],
                    stroke=None,
                    marker=marker,
                    is_filled=source == "ours",
                )
    x, y = [macs for _, macs in tops.values()], [value for value, _ in tops.values()]
    yield Series(label="", x=x, y=y, stroke=None, names=list(tops))
