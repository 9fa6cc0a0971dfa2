"""Leaderboards as text: a page in Markdown, and comma-separated values."""

import csv
import io
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vitbench.case import Budget
from vitbench.report.leaderboard import Board, Row
from vitbench.report.literature import PrintedRow
from vitbench.report.markdown import Grid, Markup, escaped, link, table
from vitbench.report.results import Value

if TYPE_CHECKING:
    from vitbench.report.groups import Interval

NAME = "leaderboard.md"
TITLE = "# Leaderboards"
NOTE = """\
Whatever was measured on a data set, over all papers and whatever was added to them. Only what has the same budget,
precision and epoch stands in one table; sizes and MACs (matrix products and convolutions) are of the network that was
trained, and left out where it was not counted."""
GROUPS_NOTE = """\
Rows of one group cannot be told apart from each other. A row of a later group is told apart from at least one row of
each group before it, and not from all: "better" and "worse" count the rows that are told apart from this one. Several
seeds are judged by Welch's t test over them. One seed is judged by the binomial error of the test images alone, as is
one seed against several: "(n = 1)" beside a group says that it is of this one network and not of its method, which
another seed may well place elsewhere. Of all pairs in a table that are told apart, 5 % may be alike (Benjamini and
Hochberg). Why, and what this cannot say: `docs/decisions/0028-leaderboards.md`."""
FILTERED_NOTE = "Shown are only {}. Groups and counts are those of the whole tables."
BEST_NOTE = """\
The best epoch is chosen by the test images, so these accuracies are too high by an unknown amount; every run stands in
the table of the last epoch too."""
QUICK_NOTE = """\
The quick budget trains tiny networks, not those that the rows are named after, on little data for seconds: it shows
that everything runs and learns, and ranks no method."""
SHARED_NOTE = "Names with a semicolon between them share their runs."
PRINTED_NOTE = """\
As the papers print them, highest first, with where the number is from. They were measured by others, with other code,
data splits and seeds; they are in no group, and nothing here says that one is above another."""
NOTHING = "-"
_CSV = (
    *("kind", "dataset", "budget", "precision", "selection", "group", "better", "worse", "paper", "table", "model"),
    *("network", "objective", "recipe", "protocol", "accuracy", "spread", "n", "low", "high", "interval", "gain"),
    *("fgsm_drop", "params", "macs", "reported", "machines", "date", "keys", "case", "also", "stale"),
    *("source", "status", "reason", "note", "measured"),
)


def page(boards: Sequence[Board], *, links: Mapping[str, str], papers: Collection[str] = (), only: str = "") -> str:
    """Every board, measured ones first, then what is in print.

    Args:
        only: what the rows were chosen by, in words.
        links: per run key, where its record is.
        papers: names of those that have a page beside this one.
    """
    filtered = [FILTERED_NOTE.format(escaped(only))] if only else []
    return "\n\n".join([TITLE, NOTE, *filtered, *_measured(boards, links, papers), *_printed(boards, papers)]) + "\n"


def _measured(boards: Sequence[Board], links: Mapping[str, str], papers: Collection[str]) -> Iterator[str]:
    shown = [board for board in boards if board.rows]
    yield "## Measured"
    if not shown:
        yield "Nothing was measured."
        return
    yield GROUPS_NOTE
    for board in shown:
        name = f"`{board.budget}` budget, {board.selection} epoch, {board.precision}"
        yield f"### {escaped(board.dataset)}, {name}"
        notes = [QUICK_NOTE] if board.budget == Budget.QUICK else []
        notes += [BEST_NOTE] if board.selection == "best" else []
        notes += [SHARED_NOTE] if any(";" in row.model + row.paper for row in board.rows) else []
        yield from notes
        yield table(board_table(board, links, papers))


def board_table(board: Board, links: Mapping[str, str], papers: Collection[str] = ()) -> Grid:
    """A row per experiment; columns of which nothing is known are left out."""
    columns = {
        "Group": [f"{row.group} (n = 1)" if row.n == 1 else str(row.group) for row in board.rows],
        "Paper": [_papers(row.paper, papers) for row in board.rows],
        "Model": [row.model for row in board.rows],
        "trained": [row.network if board.budget == Budget.QUICK else "" for row in board.rows],
        "Loss": [row.objective for row in board.rows],
        "Recipe": [row.recipe for row in board.rows],
        "accuracy (%)": [_spread(row.accuracy, row.spread) for row in board.rows],
        "n": [str(row.n) for row in board.rows],
        "95 % interval": [_interval(row.interval) for row in board.rows],
        "interval of": [row.interval.of if row.interval else "" for row in board.rows],
        "better": [str(row.better) for row in board.rows],
        "worse": [str(row.worse) for row in board.rows],
        "gain over plain": [_value(row.gain, "gain", signed=True) for row in board.rows],
        "FGSM drop": [_value(row.drop, "fgsm_drop") for row in board.rows],
        "params (M)": [_size(row.params, 2) for row in board.rows],
        "MACs (G)": [_size(row.macs, 3) for row in board.rows],
        "source reports": [f"{row.reported} epoch" for row in board.rows],
        "Machine": [", ".join(row.machines) for row in board.rows],
        "Date": [row.date for row in board.rows],
        "Case": [_case(row) for row in board.rows],
        "Records": [_records(row, links) for row in board.rows],
    }
    shown = {name: cells for name, cells in columns.items() if any(cells)}
    return list(shown), [list(cells) for cells in zip(*shown.values(), strict=True)]


def _papers(names: str, papers: Collection[str]) -> str:
    found = [link(name, f"{name}.md") if name in papers else escaped(name) for name in names.split("; ")]
    return Markup("; ".join(found))


def _spread(mean: float, spread: float | None) -> str:
    return f"{mean:.2f}" if spread is None else f"{mean:.2f} ± {spread:.2f}"


def _interval(one: "Interval | None") -> str:
    return f"{one.low:.2f} to {one.high:.2f}" if one else NOTHING


def _value(value: Value | None, metric: str, *, signed: bool = False) -> str:
    return value.show(metric, signed=signed) if value else ""


def _size(value: float | None, decimals: int) -> str:
    return "" if value is None else f"{value:.{decimals}f}"


def _case(row: Row) -> str:
    stale = ", stale: recorded by another version" if row.is_stale else ""
    more = f" and {len(row.also)} more" if row.also else ""
    return f"{row.case}{more}{stale}"


def _records(row: Row, links: Mapping[str, str]) -> str:
    return Markup(", ".join(link(key, links[key]) if key in links else escaped(key) for key in row.keys))


def _printed(boards: Sequence[Board], papers: Collection[str]) -> Iterator[str]:
    by_data: dict[str, list[PrintedRow]] = {}
    for board in boards:
        by_data.setdefault(board.dataset, []).extend(board.printed)
    by_data = {dataset: rows for dataset, rows in by_data.items() if rows}
    if by_data:
        yield "## In print"
        yield PRINTED_NOTE
    for dataset, rows in by_data.items():
        yield f"### {escaped(dataset)}, in print"
        yield table(printed_table(sorted(rows, key=lambda row: -row.accuracy), papers))


def printed_table(rows: Sequence[PrintedRow], papers: Collection[str] = ()) -> Grid:
    """A row per printed accuracy; columns of which nothing is known are left out."""
    columns = {
        "Paper": [_papers(row.paper, papers) for row in rows],
        "Table": [row.table for row in rows],
        "Model": [row.model for row in rows],
        "Loss": [row.objective for row in rows],
        "Recipe": [row.recipe for row in rows],
        "epoch": [row.selection for row in rows],
        "accuracy (%)": [_spread(row.accuracy, row.spread) for row in rows],
        "source": [row.source for row in rows],
        "params (M)": [_size(row.params, 2) for row in rows],
        "MACs (G)": [_size(row.macs, 3) for row in rows],
        "measured here": ["yes" if row.measured else "no" for row in rows],
        "status": [row.status for row in rows],
        "note": [row.note for row in rows],
    }
    shown = {name: cells for name, cells in columns.items() if any(cells)}
    return list(shown), [list(cells) for cells in zip(*shown.values(), strict=True)]


def comma_separated(boards: Iterable[Board]) -> str:
    """Every row of every board, a line each, with what it is: "measured" or "printed"."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _CSV, restval="", lineterminator="\n")
    writer.writeheader()
    for board in boards:
        writer.writerows(_line(board, row) for row in board.rows)
        writer.writerows(_printed_line(board, row) for row in board.printed)
    return text.getvalue()


def _line(board: Board, row: Row) -> dict[str, Any]:
    found = {name: getattr(row, name) for name in _CSV if hasattr(row, name)}
    between = row.interval
    found |= {"low": between.low, "high": between.high, "interval": between.of} if between else {"interval": ""}
    joined = {name: " ".join(getattr(row, name)) for name in ("keys", "also")}
    means = {"gain": row.gain.mean if row.gain else "", "fgsm_drop": row.drop.mean if row.drop else ""}
    others = {"machines": ", ".join(row.machines), "stale": row.is_stale, "budget": str(board.budget)}
    return found | joined | means | others | {"kind": "measured"}


def _printed_line(board: Board, row: PrintedRow) -> dict[str, Any]:
    found = {name: getattr(row, name) for name in _CSV if hasattr(row, name)}
    return found | {"kind": "printed", "budget": str(board.budget)}
