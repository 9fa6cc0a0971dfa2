"""The constants of a leaf: read from its source as literals, each in the form that it must have."""

import ast
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

MISSING: Any = object()


@dataclass(frozen=True)
class Form:
    """What a constant must be wherever it is set: in words, and as a test."""

    expected: str
    holds: Callable[[Any], bool]


def literal(node: ast.expr | None) -> Any:
    """The value of a literal, or `MISSING` for anything else."""
    try:
        return MISSING if node is None else ast.literal_eval(node)
    except (ValueError, TypeError, ArithmeticError, RecursionError, MemoryError):
        return MISSING


def is_value(value: Any) -> bool:
    """Whether the notation of objectives can write it."""
    return isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value))


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 1


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _are_names(value: Iterable[Any]) -> bool:
    return all(isinstance(one, str) for one in value)


def _are_arguments(value: Any) -> bool:
    return isinstance(value, dict) and _are_names(value) and all(map(is_value, value.values()))


FORMS = {
    "CLASSES": Form("a whole number from 1 up", _is_count),
    "IMAGE_SIZE": Form("a whole number from 1 up", _is_count),
    "TRAIN": Form("a whole number from 1 up", _is_count),
    "DIGEST": Form("a string that is not empty", _is_text),
    "TINY": Form("a dict of arguments that are numbers, True, False or strings", _are_arguments),
    "VARIANTS": Form(
        "a dict or a list of strings", lambda value: isinstance(value, dict | list | tuple | set) and _are_names(value)
    ),
    "VERSIONS": Form("a whole number from 1 up", _is_count),
    "VERSIONED_BY": Form("the name of an installed package", _is_text),
}
