"""The printed notation of a loss is the notation: `ce + 0.1*drloc + 0.1*me(ratio=0.85)`.

Parsed with `ast`, never evaluated. A weight is a number, a term a name or a dotted name
(`mypkg.losses.mine`), an argument a literal number, truth value or string.
"""

import ast
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

from vitbench.errors import UserError

Value = bool | int | float | str

EXAMPLE = "write it like 'ce + 0.1*drloc + 0.1*me(ratio=0.85)'"
LONGEST = 1000  # characters; far more than any sum of losses that was ever printed


@dataclass(frozen=True, kw_only=True)
class Call:
    """A name with arguments, such as `me(ratio=0.85)` or `crop(padding=4)`."""

    name: str
    arguments: Mapping[str, Value] = field(default_factory=dict)

    def __str__(self) -> str:
        inside = ", ".join(f"{key}={value!r}" for key, value in self.arguments.items())
        return f"{self.name}({inside})" if inside else self.name


@dataclass(frozen=True, kw_only=True)
class WeightedTerm:
    """One summand of an objective: weight x term."""

    weight: float
    term: Call

    @property
    def name(self) -> str:
        """Name of the term."""
        return self.term.name

    def __str__(self) -> str:
        return str(self.term) if self.weight == 1 else f"{_number(self.weight)}*{self.term}"

    @property
    def slug(self) -> str:
        """The same without characters that pytest's `-k` cannot parse: `0.1me_ratio0.85`."""
        weight = "" if self.weight == 1 else _number(self.weight)
        arguments = "".join(f"_{key}{str(value).lower()}" for key, value in self.term.arguments.items())
        return re.sub(r"[^\w.+-]", "-", f"{weight}{self.name}{arguments}")


@dataclass(frozen=True, kw_only=True)
class Objective:
    """A sum of weighted terms, cross-entropy first, then by name."""

    summands: tuple[WeightedTerm, ...]

    def __str__(self) -> str:
        return self._text

    @cached_property
    def _text(self) -> str:
        return " + ".join(map(str, self.summands))

    def __iter__(self) -> Iterator[WeightedTerm]:
        return iter(self.summands)

    @cached_property
    def slug(self) -> str:
        """The notation as it stands in ids: `ce+0.1drloc`."""
        return "+".join(summand.slug for summand in self)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the terms, in order."""
        return tuple(summand.name for summand in self)

    def unweighted(self) -> "Objective":
        """The same terms, each with weight 1."""
        return self._unweighted

    @cached_property
    def _unweighted(self) -> "Objective":
        return Objective(summands=tuple(replace(summand, weight=1.0) for summand in self))

    def without_arguments(self, arguments: Mapping[str, Mapping[str, Value]]) -> "Objective":
        """The same sum without the arguments that only repeat these defaults: the form that cells are matched by.

        Args:
            arguments: per term name, values of its arguments.
        """
        if not any(summand.term.arguments for summand in self):
            return self
        return Objective(
            summands=tuple(
                replace(
                    summand,
                    term=Call(
                        name=summand.name,
                        arguments={
                            key: value
                            for key, value in summand.term.arguments.items()
                            if arguments.get(summand.name, {}).get(key) != value
                        },
                    ),
                )
                for summand in self
            )
        )

    def with_arguments(self, arguments: Mapping[str, Mapping[str, Value]]) -> "Objective":
        """The same sum with these arguments filled in where the notation does not set them.

        Args:
            arguments: per term name, values of its arguments.
        """
        if not any(arguments.get(summand.name) or summand.term.arguments for summand in self):
            return self
        return Objective(
            summands=tuple(
                replace(
                    summand,
                    term=Call(
                        name=summand.name,
                        arguments=dict(sorted({**arguments.get(summand.name, {}), **summand.term.arguments}.items())),
                    ),
                )
                for summand in self
            )
        )


def parse(text: str, *, where: str = "") -> Objective:
    """Read an objective from its notation.

    Args:
        text: such as `ce + 0.1*drloc`.
        where: file and line, or the option that it came from; named in errors.

    Raises:
        UserError: if it is not a sum of weighted terms, or names a term twice.
    """
    try:
        return _parsed(text)
    except UserError as error:
        raise UserError(f"{where}: {error}" if where else str(error)) from None


@lru_cache(maxsize=10_000)
def _parsed(text: str) -> Objective:
    """The same; a paper's tables write each of theirs many times."""
    try:
        summands = [_summand(node) for node in _addends(_expression(text))]
    except (ValueError, RecursionError) as error:
        raise UserError(f"cannot read the objective {_short(text)}: {error}; {EXAMPLE}") from None
    names = [summand.name for summand in summands]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"the objective {_short(text)} names {name!r} twice; add the weights up, {EXAMPLE}")
    return Objective(summands=tuple(sorted(summands, key=lambda one: (one.name != "ce", one.name))))


def parse_call(text: str, *, where: str = "") -> Call:
    """Read one name with arguments, such as `crop(padding=4)`.

    Raises:
        UserError: if it is anything else.
    """
    try:
        return _call(_expression(text))
    except (ValueError, RecursionError) as error:
        place = f"{where}: " if where else ""
        raise UserError(f"{place}cannot read {_short(text)}: {error}; write it like 'crop(padding=4)'") from None


def _number(weight: float) -> str:
    """A weight without a needless `.0`, and with every digit that tells it from another."""
    short = f"{weight:g}"
    return short if float(short) == weight else repr(weight)


def _short(text: str) -> str:
    return repr(text if len(text) <= 100 else f"{text[:100]}…")


def _source(node: ast.expr) -> str:
    return _short(ast.unparse(node))


def _expression(text: str) -> ast.expr:
    if len(text) > LONGEST:
        raise ValueError(f"it has {len(text)} characters, more than {LONGEST}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's own remarks on a text that is refused right here
            return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError):
        raise ValueError("it is not a sum of terms") from None


def _addends(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [*_addends(node.left), *_addends(node.right)]
    return [node]


def _summand(node: ast.expr) -> WeightedTerm:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return WeightedTerm(weight=_weight(node.left), term=_call(node.right))
    return WeightedTerm(weight=1.0, term=_call(node))


def _weight(node: ast.expr) -> float:
    try:
        value = _literal(node)
    except ValueError:
        value = ""
    if isinstance(value, bool | str):
        raise ValueError(f"a weight is a finite number before the '*', not {_source(node)}")
    return float(value)


def _call(node: ast.expr) -> Call:
    if not isinstance(node, ast.Call):
        return Call(name=_name(node))
    if node.args:
        raise ValueError(f"arguments are named, as in 'me(ratio=0.85)', not {_source(node)}")
    arguments: dict[str, Value] = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            raise ValueError(f"arguments are named one by one, not {_source(node)}")
        if keyword.arg in arguments:
            raise ValueError(f"it sets {keyword.arg!r} twice")
        arguments[keyword.arg] = _literal(keyword.value)
    return Call(name=_name(node.func), arguments=dict(sorted(arguments.items())))


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    raise ValueError(f"expected a term's name, got {_source(node)}")


def _literal(node: ast.expr) -> Value:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _literal(node.operand)
        if isinstance(value, bool | str):
            raise ValueError(f"expected a number after the minus, got {_source(node.operand)}")
        return -value
    if not isinstance(node, ast.Constant) or not isinstance(node.value, bool | int | float | str):
        raise ValueError(f"expected a number, True, False or a string, got {_source(node)}")
    if isinstance(node.value, int | float) and not abs(node.value) <= sys.float_info.max:
        raise ValueError("a number in it is not finite, or too large")
    return node.value
