"""Sections of a TOML file that know where they stand, so that every mistake is told by file and line."""

import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from vitbench.errors import UserError, unknown

_KINDS: dict[type, str] = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "a table",
    list: "a list",
}
_MISSING: Any = object()
_KEY = re.compile(r"""(?:^|(?<=[\s{,.\[]))("[^"]*"|'[^']*'|[\w-]+)\s*[=.\]]""")
# A string, a comment, a bracket or a comma, or anything else without spaces.
_TOKEN = re.compile(r"""("(?:[^"\\]|\\.)*"|'[^']*'|#.*|[\[\]{},]|[^\s\[\]{},"'#]+)""")


@dataclass(frozen=True)
class Text:
    """The lines of a file, looked through once for where its keys stand.

    Attributes:
        headings: dotted names of sections, by index of the lines where they begin.
        keys: what each line sets or heads; nothing where it is a comment.
    """

    path: Path
    lines: Sequence[str]
    headings: Mapping[int, str]
    keys: Sequence[frozenset[str]]


@dataclass(frozen=True)
class Section:
    """One section: its content under its dotted name.

    Attributes:
        text: the file that it is from.
        name: "" for the whole file.
        start: index of the line where it begins.
    """

    text: Text
    name: str
    content: dict[str, Any]
    start: int = 0

    @property
    def path(self) -> Path:
        """The file that it is from."""
        return self.text.path

    def where(self, needle: str = "") -> str:
        """`file:line` of the section's line that sets this key, else that has this text, else of its first line."""
        return f"{self.path}:{self._line(needle) + 1}"

    def places(self, key: str) -> list[str]:
        """`file:line` of where each item of a list begins; nothing where there is no such list."""
        if key not in self.content:
            return []
        count = len(self.content[key])
        found = [*self._items(key), *[self._line(key)] * count]  # the list itself, where no item was found
        return [f"{self.path}:{number + 1}" for number in found[:count]]

    def _line(self, needle: str) -> int:
        if not needle:
            return self.start
        setting = (n for n in self._own if needle in self.text.keys[n])
        holding = (n for n in self._own if needle in self.text.lines[n] and not _is_comment(self.text.lines[n]))
        return next(chain(setting, holding), self.start)

    @cached_property
    def _own(self) -> range:
        """Indices of its lines, up to the next heading that is not below its own."""
        if not self.name:
            return range(self.start, len(self.text.lines))
        later = ((number, name) for number, name in self.text.headings.items() if number > self.start)
        others = (number for number, name in later if not name.startswith(f"{self.name}."))
        return range(self.start, next(others, len(self.text.lines)))

    def _items(self, key: str) -> list[int]:
        """Index of the line where each item of a list begins."""
        first = self._line(key)
        found: list[int] = []
        depth, is_between = 0, True
        for number in range(first, len(self.text.lines)):
            line = self.text.lines[number]
            begin = next((end for name, end in _keys(line) if name == key), 0) if number == first else 0
            for token in _TOKEN.findall(line, begin):
                if token[0] == "#":
                    break
                depth -= token in "]}"
                if depth == 0 and token == "]":
                    return found
                if depth == 1 and is_between and token != ",":
                    found.append(number)
                is_between = depth == 0 or (depth == 1 and token == ",")
                depth += token in "[{"
        return found

    @property
    def _bracketed(self) -> str:
        return f" [{self.name}]" if self.name else ""

    def keys(self, *known: str) -> None:
        """Refuse every key but these.

        Raises:
            UserError: naming the nearest known keys.
        """
        for key in self.content:
            if key not in known:
                raise unknown("key", key, known, where=f"{self.where(key)}{self._bracketed}")

    def get(self, key: str, kind: type, default: Any = _MISSING) -> Any:
        """The value of a key; a whole number does for a number.

        Raises:
            UserError: if it is missing and has no default, or is of another type.
        """
        if key not in self.content:
            if default is _MISSING:
                raise UserError(f"{self.where()}{self._bracketed}: the key {key!r} is missing; expected {_KINDS[kind]}")
            return default
        value = self.content[key]
        value = float(value) if kind is float and type(value) is int else value
        if type(value) is not kind or (isinstance(value, float) and not math.isfinite(value)):
            raise UserError(f"{self.where(key)}{self._bracketed} {key}: expected {_KINDS[kind]}, got {value!r}")
        return value

    def one_of(self, key: str, known: Sequence[str], default: Any = _MISSING) -> str:
        """The value of a key that has to be one of these.

        Raises:
            UserError: naming the nearest of them.
        """
        value: str = self.get(key, str, default)
        if value not in known:
            raise unknown(key, value, known, where=self.where(key))
        return value

    def section(self, key: str) -> "Section":
        """The section below a key, empty where there is none."""
        content, name = self.get(key, dict, {}), self._inner(key)
        start = (self._headed(name) or [self._line(key)])[0]
        return Section(self.text, name, content, start)

    def sections(self) -> Iterator[tuple[str, "Section"]]:
        """Every section below this one, by key."""
        return ((key, self.section(key)) for key in self.content)

    def list_of_sections(self, key: str) -> Iterator["Section"]:
        """Every entry of an array of tables, `[[key]]`; none where there is no such array.

        Raises:
            UserError: if an entry is no table.
        """
        entries, name = self.get(key, list, []), self._inner(key)
        starts = (self._headed(name) or self._items(key)) if entries else []
        for entry, start in zip_longest(entries, starts[: len(entries)], fillvalue=self.start):
            if not isinstance(entry, dict):
                raise UserError(f"{self.where(key)}{self._bracketed} {key}: expected a list of tables, got {entry!r}")
            yield Section(self.text, name, entry, start)

    def _inner(self, key: str) -> str:
        return f"{self.name}.{key}" if self.name else key

    def _headed(self, name: str) -> list[int]:
        """Indices of the lines that head sections of that dotted name."""
        return [number for number, heading in self.text.headings.items() if heading == name]


def read(path: Path) -> Section:
    """A file's whole content as a section.

    Raises:
        UserError: if it cannot be read, or is not TOML.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text)
        _refuse_wide(content)
        return Section(_looked_through(path, text.split("\n")), "", content)
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}:{line}: this is not UTF-8, the encoding of TOML; save the file as UTF-8") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        at = re.search(r"at line (\d+)", str(error))
        line = int(at[1]) if at else text.rstrip().count("\n") + 1
        raise UserError(f"{path}:{line}: cannot be read as TOML: {error}") from None
    except ValueError:
        raise UserError(
            f"{path}: it has a whole number of more than 64 bits, which TOML cannot hold; shorten it"
        ) from None
    except RecursionError:
        raise UserError(f"{path}: its brackets are nested too deep; take some out") from None


def _refuse_wide(value: Any) -> None:
    """ValueError for a whole number outside TOML's 64 bits."""
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            _refuse_wide(one)
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError(value)


def _looked_through(path: Path, lines: Sequence[str]) -> Text:
    headings = {number: name for number, line in enumerate(lines) if (name := _heading(line))}
    keys = [frozenset() if _is_comment(line) else frozenset(dict(_keys(line))) for line in lines]
    return Text(path, lines, headings, keys)


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")


def _keys(line: str) -> Iterator[tuple[str, int]]:
    """What a line sets, `key = …`, also within braces, or heads, and where its value begins."""
    return ((found[1].strip("\"'"), found.end()) for found in _KEY.finditer(line))


def _heading(line: str) -> str:
    """Dotted name of the section that begins in a line, or nothing."""
    found = re.match(r"\s*\[+([^\[\],]+)\]+\s*(#.*)?$", line)
    return re.sub(r"[\s\"']", "", found[1]) if found else ""
