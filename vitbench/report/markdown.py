"""Tables, links and plain text in Markdown as GitHub reads it, safe against whatever stands in names."""

import re
import unicodedata
from functools import lru_cache
from urllib.parse import quote

Grid = tuple[list[str], list[list[str]]]  # headers, rows

JOINERS = "\u200c\u200d"  # which emoji and some scripts are written with
# What begins a block where it stands first, and what ends a heading where it stands last.
_LEADS = re.compile(r"^(?:(?=[#+>=-])|(\d{1,9})(?=[.)]))|(?<=\s)(?=#+$)")
# An underscore within a word is itself.
_MARKS = re.compile(r"[\\`*\[|~]|(?<![^\W_])_|_(?![^\W_])")
_REFERENCES = (("&", "&amp;"), ("<", "&lt;"), ("://", "&#58;//"), ("www.", "www&#46;"))


class Markup(str):
    """A cell that is Markdown already; every other cell is plain text."""


def table(grid: Grid) -> str:
    """A grid as a table as GitHub shows it."""
    headers, rows = grid
    text = [[cell if isinstance(cell, Markup) else escaped(cell) for cell in row] for row in rows]
    head = [escaped(one) for one in headers]
    columns = zip(head, *text, strict=True)
    widths = [max(len(column[0]) + 2, *map(len, column)) for column in columns]
    ruler = f"|{'|'.join('-' * (width + 2) for width in widths)}|"
    lines = ([cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in [head, *text])
    first, *others = (f"| {' | '.join(line)} |" for line in lines)
    return "\n".join([first, ruler, *others])


def link(text: str, target: str) -> Markup:
    """A link that shows a text."""
    return Markup(f"[{_within(text)}]({_target(target)})")


def image(text: str, target: str) -> Markup:
    """A picture, and the text for whoever cannot see it."""
    return Markup(f"![{_within(text)}]({_target(target)})")


def code(text: str) -> Markup:
    """A name as code, between as many backticks as it takes."""
    shown = visible(text) or " "
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    space = " " if "`" in (shown[0], shown[-1]) else ""
    return Markup(f"{fence}{space}{shown}{space}{fence}")


def leading(text: str) -> str:
    """Plain text that a paragraph, a heading or an item of a list begins with: `# name` is no heading."""
    return _LEADS.sub(r"\1\\", escaped(text))


@lru_cache(maxsize=100_000)
def escaped(text: str) -> str:
    """Plain text, on one line, as Markdown has to write it to show it so: `0.1*drloc + 0.1*me` is not italic."""
    line = visible(text)
    for character, reference in _REFERENCES:
        line = line.replace(character, reference)
    line = _MARKS.sub(r"\\\g<0>", line)
    # What is written from right to left turns round no number that stands beside it.
    is_reversed = not line.isascii() and any(unicodedata.bidirectional(one) in ("R", "AL") for one in line)
    return f"\u2068{line}\u2069" if is_reversed else line


def visible(text: str) -> str:
    """A text on one line, in which controls that nobody sees, or that turn lines round, are written out."""
    if text.isascii() and text.isprintable() and "  " not in text:
        return text
    line = re.sub(r"\s+", " ", text)
    shown = []
    for before, one in zip(" " + line, line, strict=False):
        is_joining = one in JOINERS and before > "\x7f"
        is_hidden = unicodedata.category(one) in ("Cc", "Cf", "Cs") and not is_joining
        shown.append(one.encode("ascii", "backslashreplace").decode() if is_hidden and one > "\x7f" else one)
        shown[-1] = f"\\x{ord(one):02x}" if is_hidden and one <= "\x7f" else shown[-1]
    return "".join(shown)


def _within(text: str) -> str:
    """Plain text between brackets."""
    return escaped(text).replace("]", "\\]")


def _target(target: str) -> str:
    return quote(target, safe="/:%+.-_~")
