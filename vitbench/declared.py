"""What a Python file declares: its constants, imports, functions and classes; read with `ast`, never imported."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from vitbench.constants import MISSING, literal


@dataclass(frozen=True)
class Signature:
    """Arguments of a function, or of what makes an object of a class.

    Attributes:
        by_place: names of those that can be given by place.
        by_name: of those that can be given by name only.
        takes_any: whether it takes any name besides.
        defaults: those that are literals.
    """

    by_place: tuple[str, ...]
    by_name: tuple[str, ...]
    takes_any: bool
    defaults: Mapping[str, Any]


@dataclass(frozen=True)
class Declared:
    """What stands at the top level of a file.

    Attributes:
        constants: upper-case names that are set to literals.
        imports: dotted names, `a.b` and `a.b.c` of `from a.b import c`, wherever in the file.
        signatures: by the name of a function or class; None where the file does not show it.
        operations: functions that take a generator by name, which is what makes an augmentation of one.
    """

    constants: Mapping[str, Any]
    imports: frozenset[str]
    signatures: Mapping[str, Signature | None]
    operations: frozenset[str]


@cache  # a file of augmentations is read for its operations, for its imports and for its version
def read(source: bytes) -> Declared:
    """Read a file; the tree of its syntax is not kept: of a report's objects it was half.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: as Python does, if it is no Python.
    """
    tree = ast.parse(source)
    named = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
    functions = {node.name: _of(node.args) for node in named if isinstance(node, ast.FunctionDef)}
    return Declared(
        constants=_constants(tree),
        imports=_imports(tree),
        signatures={node.name: _signature(node) for node in named},  # of two of a name the last, as in Python
        operations=frozenset(name for name, one in functions.items() if "generator" in one.by_name),
    )


def _constants(tree: ast.Module) -> dict[str, Any]:
    found = {}
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(target, ast.Name) and target.id.isupper():
            found[target.id] = literal(node.value)
    return {name: value for name, value in found.items() if value is not MISSING}


def _imports(tree: ast.Module) -> frozenset[str]:
    found = set()
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(found)


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """All statements of a file, without the expressions in them, which are most of it."""
    left: list[ast.AST] = [tree]
    while left:
        yield (node := left.pop())
        for name in ("body", "orelse", "handlers", "finalbody", "cases"):
            left += getattr(node, name, ())


def _signature(node: ast.AST) -> Signature | None:
    if isinstance(node, ast.ClassDef):
        made_by = [one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"]
        return _of(made_by[-1].args) if made_by else None
    return _of(node.args) if isinstance(node, ast.FunctionDef) else None


def _of(arguments: ast.arguments) -> Signature:
    by_place = zip(reversed(arguments.args), reversed(arguments.defaults), strict=False)
    by_name = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    values = {one.arg: literal(node) for one, node in (*by_place, *by_name)}
    return Signature(
        by_place=tuple(one.arg for one in arguments.args),
        by_name=tuple(one.arg for one in arguments.kwonlyargs),
        takes_any=arguments.kwarg is not None,
        defaults={name: value for name, value in values.items() if value is not MISSING},
    )
