"""What a paper leaves open, or is not followed in word for word, as a table."""

from collections.abc import Iterable

from vitbench.choices import Choice
from vitbench.report.markdown import Grid, link

NOTE = """\
What the text leaves open, or where it is not followed word for word: each line was decided here and could change a
number."""
ALL = "all"


def choice_table(choices: Iterable[Choice], *, folder: str) -> Grid:
    """A row per choice; with its recipes, where choices are told apart by them.

    Args:
        folder: of the notes, as the page links to it; empty where the page has none.
    """
    found = list(choices)
    by_recipe = any(one.recipes for one in found)
    rows = []
    for one in found:
        first = [", ".join(one.recipes) or ALL] if by_recipe else []
        rows.append([*first, one.what, one.ours, one.why, _note(one.see, folder)])
    return [*(["Recipe"] if by_recipe else []), "What", "Ours", "Why", "Decision"], rows


def _note(see: str, folder: str) -> str:
    """Such as 0003, which is how the notes are called."""
    number, _, _ = see.partition("-")
    return link(number, f"{folder}/{see}.md") if see and folder else number
