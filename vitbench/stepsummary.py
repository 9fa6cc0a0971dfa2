"""The step summary of GitHub Actions: the verdict first, then what it rests on, then the tables as far as they fit.

GitHub shows the file that GITHUB_STEP_SUMMARY names as Markdown, a file for each step, and nothing of it where it is
larger than 1024 KiB. What does not fit is left out from the end, and a line says so.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from vitbench import compare, summary
from vitbench.compare import Finding, Verdict
from vitbench.report import markdown, terminal
from vitbench.report.markdown import Grid, Markup
from vitbench.summary import Exit, Payload

VARIABLE = "GITHUB_STEP_SUMMARY"
LIMIT = 1024 * 1024  # bytes of a step's file
RESERVE = 400  # bytes of the line that says what was left out
LONGEST = 1000  # characters of a text or a command
LONGEST_CELL = 200  # every row of a table is as wide as its widest

WORDS = {
    Exit.REGRESSION: "regression",
    Exit.MISSING: "missing",
    Exit.INFRASTRUCTURE: "infrastructure",
    Exit.UNDECIDED: "undecided",
}
COUNTED = {
    Exit.REGRESSION: "worse",
    Exit.MISSING: "missing",
    Exit.UNDECIDED: "undecided",
    Exit.INFRASTRUCTURE: "not done",
}
KINDS = {"size": "Sizes", "run": "Trained", "inference": "Inference", "training": "Training steps"}
TOLD = (Verdict.UNDECIDED, Verdict.WORSE, Verdict.MISSING, Verdict.BETTER)  # besides what fails, in this order


def write(
    payloads: Sequence[Payload],
    *,
    code: int | None,
    failures: Sequence[str],
    scope: str,
    problems: Sequence[str],
    interrupted: bool,
) -> list[str]:
    """Append the summary to the step's file, where there is one; returns a line where that could not be.

    Args:
        code: of the session's end, None for pytest's own.
        failures: a line for each failed test that no outcome explains, such as of a loss that became NaN.
        scope: of the session, such as "quick budget".
        problems: what was set aside, and the like.
    """
    name = os.environ.get(VARIABLE)
    if not name:
        return []
    path = Path(name)
    head = verdict(payloads, code=code, failures=len(failures), scope=scope, interrupted=interrupted)
    try:
        page = _Page(LIMIT - (path.stat().st_size if path.exists() else 0))
        _fill(page, head, payloads, failures, problems)
        with path.open("ab") as file:
            file.write(page.content)
    except OSError as error:
        return [f"no step summary: {summary.of_os_error(error)}"]
    return [] if page.content else [f"no step summary: {path} is full with what this step wrote before"]


def verdict(payloads: Sequence[Payload], *, code: int | None, failures: int, scope: str, interrupted: bool) -> str:
    """The first line: the verdict and what was counted."""
    word = WORDS[code] if code else "failed" if failures else "pass"
    counts = Counter(one["exit"] for one in payloads)
    parts = [f"{counts[one]} {name}" for one, name in COUNTED.items() if counts[one]]
    parts += [f"{failures} failed otherwise"] if failures else []
    parts += [f"{counts[0]} without a failure"]
    cached = sum(bool(one["cached"]) for one in payloads)
    shown = f"{word} (exit code {code})" if code else word
    first = f"interrupted, so far {shown}" if interrupted else shown
    parts.insert(0, _counted(len(payloads), "case"))
    return f"## vitbench: {first}: {', '.join(parts)}; {cached} read from records; {scope}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


class _Page:
    """Text that is never larger than there is room for.

    Args:
        room: in bytes.
    """

    def __init__(self, room: int) -> None:
        self.room = room - RESERVE
        self.content = bytearray()

    def add(self, text: str) -> bool:
        """Add a text if it fits, and say whether it did."""
        added = text.encode("utf-8", "replace")  # a name may have half of a surrogate pair
        if len(added) > self.room:
            return False
        self.content += added
        self.room -= len(added)
        return True

    def close(self, left: Sequence[str]) -> None:
        """Say what was left out, in the room that was kept for it."""
        if left and self.content:
            said = f"left out, for GitHub shows {LIMIT // 1024} KiB of a step: {', '.join(left)}; the report has it all"
            self.content += f"\n**{said}**\n".encode()


def _fill(
    page: _Page, head: str, payloads: Sequence[Payload], failures: Sequence[str], problems: Sequence[str]
) -> None:
    if not page.add(f"{head}\n\n"):
        return
    failed = (f"- **fails** {_text(one)}" for one in failures)
    lines = [*failed, *_findings(payloads), *(f"- note: {_text(one)}" for one in problems)]
    for number, line in enumerate(lines):
        if not page.add(f"{line}\n"):
            page.close([f"{len(lines) - number} of {len(lines)} findings and notes", "all tables"])
            return
    left: list[str] = []
    for kind, heading in KINDS.items():
        rows = summary.rows(payloads, kind)
        fitting = 0 if left else _add_table(page, heading, _grid(kind, rows))  # from the end: after a cut, nothing
        if fitting < len(rows):
            left.append(f"{len(rows) - fitting} of {_counted(len(rows), 'row')} of {heading}")
    page.close(left)


def _findings(payloads: Sequence[Payload]) -> Iterator[str]:
    """A line each: what fails first, with the command that repeats it."""
    found = [Finding.of(one) for row in payloads for one in row["findings"]]
    order = {name: number for number, name in enumerate(TOLD)}
    told = [one for one in found if one.fails or one.verdict in order]
    for one in sorted(told, key=lambda one: (not one.fails, order.get(one.verdict, 0))):
        mark = "**fails** " if one.fails else ""
        repeat = f"; repeat: {_code(one.command)}" if one.command else ""
        yield f"- {mark}{_text(str(one))}{repeat}"
    yield from (f"- {_text(line)}" for line in compare.remarks(found))
    reasons = Counter(one["reason"] for one in payloads if one.get("reason"))
    yield from (f"- {_counted(count, 'case')} not done: {_text(reason)}" for reason, count in reasons.items())


def _grid(kind: str, rows: Sequence[Payload]) -> Grid:
    headers, body = terminal.grid(kind, rows)
    return headers, [[Markup(_text(cell, longest=LONGEST_CELL)) for cell in row] for row in body]


def _add_table(page: _Page, heading: str, grid: Grid) -> int:
    """Add a table that can be unfolded, or as many of its first rows as fit; returns their number."""
    headers, rows = grid
    kept = len(rows)
    while kept:
        shown = _counted(kept, "row") if kept == len(rows) else f"the first {kept} of {len(rows)} rows"
        table = markdown.table((headers, rows[:kept]))
        if page.add(f"\n<details><summary>{heading}: {shown}</summary>\n\n{table}\n\n</details>\n"):
            break
        kept //= 2
    return kept


def _text(text: str, *, longest: int = LONGEST) -> str:
    """Plain text as Markdown has to write it; mentions, formulas and emoji are text as well."""
    return re.sub(r"[$@:]", lambda found: f"&#{ord(found[0])};", markdown.escaped(_cut(text, longest)))


def _code(text: str) -> str:
    return markdown.code(_cut(text, LONGEST))


def _cut(text: str, longest: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[:longest]}…"
