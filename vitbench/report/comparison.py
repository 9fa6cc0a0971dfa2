"""The table of `vitbench compare`, in Markdown: a line for each metric of each case."""

from collections.abc import Iterable, Iterator

from vitbench.metrics import METRICS
from vitbench.pairs import EXACT, Paired, Row
from vitbench.report import markdown
from vitbench.report.markdown import Grid
from vitbench.statistics import CONFIDENCE

HEADERS = ("case", "metric", "A", "B", "B - A", f"{100 * CONFIDENCE:.0f} % interval", "n", "test", "p", "adjusted p")


def summary(paired: Paired) -> str:
    """Everything in one line."""
    rows = paired.rows
    tested = [row for row in rows if row.comparison.p is not None]
    exact = [row for row in rows if row.comparison.test == EXACT]
    parts = [
        f"{_counted(len({row.subject for row in rows}), 'case')} in both, {_counted(len(rows), 'comparison')}",
        f"{sum(row.differs for row in tested)} of {len(tested)} tested differ (adjusted p < {1 - CONFIDENCE:.2g})",
        f"{sum(row.differs for row in exact)} of {len(exact)} counted differ",
        f"{len(paired.only[0])} only in A, {len(paired.only[1])} only in B",
    ]
    return "; ".join(parts)


def lines(paired: Paired) -> Iterator[str]:
    """The summary, the table, and what does not stand in it."""
    yield summary(paired)
    if paired.rows:
        yield ""
        yield markdown.table(grid(paired.rows))
    said = [f"only in {side}: {one}" for side, found in zip("AB", paired.only, strict=True) for one in found]
    said += paired.notes
    if said:
        yield ""
        yield from (f"- {markdown.leading(one)}" for one in said)


def grid(rows: Iterable[Row]) -> Grid:
    """Headers and cells."""
    return list(HEADERS), [_cells(row) for row in rows]


def _cells(row: Row) -> list[str]:
    metric, found = METRICS[row.metric], row.comparison
    digits = metric.decimals
    effect = f"{found.effect:+.{digits}f}"
    if found.test == EXACT:
        effect = f"{found.effect:+.6g}" if found.effect else "0"
    ends = "" if found.low is None or found.high is None else f"{found.low:+.{digits}f} to {found.high:+.{digits}f}"
    return [
        row.subject,
        f"{metric.name} ({metric.unit})" if metric.unit else metric.name,
        *(f"{value:.{digits}f}" for value in row.values),
        effect,
        ends or found.note,
        " and ".join(map(str, found.n)),
        found.test if found.p is not None or found.test == EXACT else "none",
        *("" if p is None else _shown(p) for p in (found.p, row.adjusted)),
    ]


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _shown(p: float) -> str:
    return f"{p:.2g}" if p >= 0.0001 else "< 0.0001"
