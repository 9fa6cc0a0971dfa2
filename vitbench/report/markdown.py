"""Tables and links in Markdown, safe against whatever stands in names."""

import re
from urllib.parse import quote

from tabulate import tabulate

Grid = tuple[list[str], list[list[str]]]  # headers, rows


class Markup(str):
    """A cell that is Markdown already; every other cell is plain text."""


def table(grid: Grid) -> str:
    """A grid as a table as GitHub shows it."""
    headers, rows = grid
    text = [[cell if isinstance(cell, Markup) else escaped(cell) for cell in row] for row in rows]
    return tabulate(text, headers=[escaped(one) for one in headers], tablefmt="github", disable_numparse=True)


def link(text: str, target: str) -> Markup:
    """A link that shows a text."""
    return Markup(f"[{escaped(text)}]({quote(target, safe='/:%+.-_~')})")


def image(text: str, target: str) -> Markup:
    """A picture, and the text for whoever cannot see it."""
    shown = escaped(text).replace("]", "\\]")
    return Markup(f"![{shown}]({quote(target, safe='/:%+.-_~')})")


def escaped(text: str) -> str:
    """Plain text, on one line, as Markdown has to write it to show it so: `0.1*drloc + 0.1*me` is not italic."""
    line = re.sub(r"\s+", " ", text).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*\[|])", r"\\\1", line)
