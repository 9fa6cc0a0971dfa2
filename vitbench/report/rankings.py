"""Leaderboards as the HTML page shows them: what was measured in its groups, and what is in print apart from it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from vitbench.baselines import Measurement
from vitbench.metrics import METRICS
from vitbench.report.leaderboard import METRIC, Board, Row
from vitbench.report.literature import PrintedRow
from vitbench.report.provenance import Numbers, options
from vitbench.report.results import Results, Value

Run = tuple[str, str, float]  # key, metric, value
NOTE = """\
Rows of one group cannot be told apart from each other: over seeds by Welch's t test, with one seed by the binomial
error of the test images, which knows nothing of seeds. The best epoch is chosen by the test images, so that its
accuracies are too high. What is in print was measured by others and is ranked with nothing."""
# Headings of columns, and whether they hold numbers.
MEASURED = (
    ("Group", True),
    ("Model", False),
    ("Objective", False),
    ("Recipe (protocol)", False),
    ("Accuracy", True),
    ("95 % interval", True),
    ("Gain over ce", True),
    ("FGSM drop", True),
    ("n", True),
    ("Params (M)", True),
    ("MACs (G)", True),
    ("Paper", False),
    ("Machine", False),
    ("Date", False),
)
PRINTED = (
    ("Model", False),
    ("Objective", False),
    ("Recipe", False),
    ("In print", True),
    ("Source", False),
    ("Run here", False),
    ("Params (M)", True),
    ("MACs (G)", True),
    ("Paper", False),
    ("Table", False),
)


SIZES = {"params": "Params (M)", "macs": "MACs (G)"}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A row: text of each cell, by place of a cell the number that it opens, and what it can be filtered by."""

    cells: Sequence[str]
    numbers: dict[int, int]
    params: str
    macs: str


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """One table of a leaderboard."""

    name: str
    columns: Sequence[tuple[str, bool]]
    rows: Sequence[Entry]


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """A leaderboard: what may be ranked together, under a title."""

    title: str
    sheets: Sequence[Sheet]


def rankings(boards: Iterable[Board], results: Results, numbers: Numbers) -> list[Ranking]:
    """Every leaderboard, those first in which something was measured.

    Args:
        numbers: takes the records of each number.
    """
    made = {(one.key, one.metric, one.value): one for one in results}
    found = sorted(boards, key=lambda board: not board.rows)
    return [_ranking(board, made, numbers) for board in found]


def _ranking(board: Board, made: Mapping[Run, Measurement], numbers: Numbers) -> Ranking:
    measured = [_measured(row, made, numbers) for row in board.rows]
    printed = [_printed(row) for row in board.printed]
    sheets = [
        Sheet(name="Measured here", columns=MEASURED, rows=measured),
        Sheet(name="In print", columns=PRINTED, rows=printed),
    ]
    epoch = f"{board.selection} epoch" if board.selection else "epoch not said"
    parts = (board.dataset, f"{board.budget} budget", board.precision, epoch)
    return Ranking(title=", ".join(filter(None, parts)), sheets=[sheet for sheet in sheets if sheet.rows])


def _measured(row: Row, made: Mapping[Run, Measurement], numbers: Numbers) -> Entry:
    metric = METRIC[row.selection]
    shown = Value(mean=row.accuracy, spread=row.spread, n=row.n)
    interval = f"{row.interval.low:.2f} to {row.interval.high:.2f} ({row.interval.of})" if row.interval else ""
    params, macs = _size(row.params, "params"), _size(row.macs, "macs")
    cells = (
        str(row.group),
        row.model,
        row.objective,
        f"{row.recipe} ({row.protocol})",
        shown.show(metric) + " (stale)" * row.is_stale,
        interval,
        row.gain.show("gain", signed=True) if row.gain else "",
        row.drop.show("fgsm_drop") if row.drop else "",
        str(row.n),
        params,
        macs,
        row.paper,
        ", ".join(row.machines),
        row.date,
    )
    runs = [made[key, metric, value] for key, value in zip(row.keys, row.values, strict=True)]
    by = options(row.budget, row.dataset)
    number = numbers.add(row.case, metric, runs, options=by, plain=row.plain, beside=row.beside)
    drop = numbers.add(row.case, "fgsm_drop", row.drops, options=by)
    opened = {"Accuracy": number, "Gain over ce": number if row.gain else None, "FGSM drop": drop}
    opened |= {SIZES[one.metric]: numbers.add(case, one.metric, [one]) for case, one in row.counted}
    places = {name: place for place, (name, _) in enumerate(MEASURED)}
    found = {places[name]: one for name, one in opened.items() if one is not None}
    return Entry(cells=cells, numbers=found, params=params, macs=macs)


def _printed(row: PrintedRow) -> Entry:
    params, macs = _size(row.params, "params"), _size(row.macs, "macs")
    spread = "" if row.spread is None else f" ± {row.spread:.2f}"
    run = "yes" if row.measured else row.status if row.reason else "not yet"
    cells = (row.model, row.objective, row.recipe, f"{row.accuracy:.2f}{spread}", row.source, run)
    return Entry(cells=(*cells, params, macs, row.paper, row.table), numbers={}, params=params, macs=macs)


def _size(value: float | None, metric: str) -> str:
    return "" if value is None else f"{value:.{METRICS[metric].decimals}f}"
