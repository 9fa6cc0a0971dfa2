"""What other installed packages bring: entry points that name a model, a term or a data set.

In the `pyproject.toml` of such a package, `[project.entry-points."vitbench.terms"]` has lines such as
`spread = "mypkg.losses"`: a name, and the module whose `build` it is; `mypkg.losses:Spread` is a function or class in
a module. Nothing is imported to find out, and a package that cannot be read is no hindrance to the others.
"""

import importlib.metadata
import keyword
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from vitbench.errors import UserError

GROUPS = {"models": "vitbench.models", "terms": "vitbench.terms", "datasets": "vitbench.datasets"}
TARGET = re.compile(r"(?P<module>[\w.]+)\s*(?::\s*(?P<attribute>\w+)\s*)?")


@dataclass(frozen=True)
class Entry:
    """One line of a package's entry points.

    Attributes:
        kind: "models", "terms" or "datasets".
        value: what the line says, such as `mypkg.losses` or `mypkg.losses:Spread`.
        package: name of the distribution, as `pip list` has it.
        release: its version.
    """

    kind: str
    name: str
    value: str
    package: str
    release: str

    def __str__(self) -> str:
        return f"{self.package} {self.release}"

    @property
    def target(self) -> tuple[str, str]:
        """The module, and the function or class in it.

        Raises:
            UserError: if the line has no such form, or a name that the notation cannot write.
        """
        if not (self.name.isascii() and self.name.isidentifier()) or keyword.iskeyword(self.name):
            raise UserError(f"{self.place}: the name has to be one of Python's, such as my_{self.kind[:-1]}; rename it")
        found = TARGET.fullmatch(self.value.strip())
        if not found:
            raise UserError(f"{self.place}: expected `module` or `module:function`, got {self.value!r}; mend it there")
        return found["module"], found["attribute"] or "build"

    @property
    def place(self) -> str:
        """Package, group and name, as they stand in front of an error."""
        return f"entry point {self.name!r} of {GROUPS[self.kind]} in {self}"


def brought(kind: str) -> list[Entry]:
    """Every entry point of a kind, by name and then by package."""
    return sorted((one for one in _read(tuple(sys.path))[0] if one.kind == kind), key=lambda e: (e.name, e.package))


def unreadable() -> tuple[str, ...]:
    """A line for each package whose entry points cannot be read."""
    return _read(tuple(sys.path))[1]


@cache
def _read(path: tuple[str, ...]) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    """Entry points and problems of what is installed on this path, which the answer is kept for."""
    found: dict[tuple[str, str, str], Entry] = {}
    problems = []
    for package in importlib.metadata.distributions(path=list(path)):
        try:
            if "[vitbench." in (text := package.read_text("entry_points.txt") or "") and _is_first(package, text):
                found |= {(one.kind, one.name, one.package): one for one in _entries(package)}
        except Exception as error:  # whatever somebody's metadata makes of Python's reader
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            where = getattr(package, "_path", "a package")
            problems.append(f"{where}: its entry points cannot be read: {reason}; reinstall it, or uninstall it")
    return tuple(found.values()), tuple(problems)


def _is_first(package: importlib.metadata.Distribution, text: str) -> bool:
    """Whether no other release of it stands in front of it on the path."""
    return importlib.metadata.distribution(package.name).read_text("entry_points.txt") == text


def _entries(package: importlib.metadata.Distribution) -> Iterator[Entry]:
    for kind, group in GROUPS.items():
        for one in package.entry_points.select(group=group):
            yield Entry(kind, one.name, one.value, package.name, package.version)
