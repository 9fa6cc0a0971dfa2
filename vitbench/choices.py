"""What a paper leaves open, or is not followed in word for word, and what stands in its place here."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import vitbench
from vitbench.errors import UserError, unknown
from vitbench.sections import Section

_NOTE = re.compile(r"\d{4}-[a-z0-9-]+")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One choice that is ours and not the paper's.

    Attributes:
        what: it is about; named as in the table of recipes where it is a setting.
        ours: what it is here.
        why: what the source says or leaves out, and what speaks for ours.
        see: name of the note in docs/decisions that says more, without `.md`; empty where there is nothing to add.
        recipes: names of those that it is of; none where it is of all.
    """

    what: str
    ours: str
    why: str
    see: str = ""
    recipes: tuple[str, ...] = ()

    @classmethod
    def read(cls, section: Section, *, recipes: Collection[str]) -> "Choice":
        """Read one entry of `choices`.

        Args:
            recipes: names of the paper's.

        Raises:
            UserError: for an unknown, missing or empty value, a recipe that there is not, or a note that there is not.
        """
        section.keys("what", "ours", "why", "see", "recipes")
        what, ours, why = (_text(section, key) for key in ("what", "ours", "why"))
        return cls(what=what, ours=ours, why=why, see=_see(section), recipes=_recipes(section, recipes))


def decisions() -> Path:
    """Folder of the notes; a wheel has none."""
    return Path(vitbench.__path__[0]).parent / "docs" / "decisions"


def _text(section: Section, key: str) -> str:
    text: str = section.get(key, str)
    if not text.strip():
        raise UserError(
            f"{section.where(key)} [{section.name}] {key}: expected a text, got none; write it or drop the choice"
        )
    return text


def _see(section: Section) -> str:
    """The name of a note, which has to be there where notes are."""
    if "see" not in section.content:
        return ""
    see: str = section.get("see", str)
    if not _NOTE.fullmatch(see):
        where = f"{section.where('see')} [{section.name}]"
        raise UserError(f"{where} see: expected the name of a note in docs/decisions without .md, got {see!r}")
    if not (decisions() / f"{see}.md").is_file() and (known := [path.stem for path in decisions().glob("*.md")]):
        raise unknown("decision", see, known, where=section.where("see"))
    return see


def _recipes(section: Section, known: Collection[str]) -> tuple[str, ...]:
    names: list[str] = section.get("recipes", list, [])
    for name in names:
        if name not in known:
            raise unknown("recipe", str(name), known, where=section.where("recipes"))
    if "recipes" in section.content and not names:
        where = f"{section.where('recipes')} [{section.name}]"
        raise UserError(f"{where} recipes: expected at least one recipe, got none; drop the key for all of them")
    if len(set(names)) < len(names):
        raise UserError(f"{section.where('recipes')} [{section.name}] recipes: {', '.join(names)}: one is named twice")
    return tuple(names)
