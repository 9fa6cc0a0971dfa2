"""Find models, terms and data sets by name, without importing them.

The file name is the name: `vit` is `vitbench/models/vit.py`. A dotted name (`mypkg.losses.mine`) is other
people's code: a module with a function `build`, or a function or class in a module; an installed package may give it
a plain name by an entry point (`vitbench.entries`). `imagefolder:PATH` is the data set that a folder of pictures is.
A misspelt name or argument is an error at collection, before torch is imported.
"""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from vitbench import entries, modules
from vitbench.errors import UserError, unknown
from vitbench.leaf import SINGULAR, FolderLeaf, Kind, Leaf
from vitbench.objective import Objective

OF_FOLDERS = ("imagefolder",)  # data sets that are written `imagefolder:PATH`


def known(kind: Kind) -> list[str]:
    """Names of the leaves that come with the package, sorted."""
    folder = Path(__file__).parent / kind
    return sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")


def named(kind: Kind, name: str) -> list[entries.Entry]:
    """The entry points of that name."""
    return [one for one in entries.brought(kind) if one.name == name]


def names(kind: Kind) -> list[str]:
    """Every name that `find` may know but dotted ones, sorted: ours, and what other packages bring."""
    return sorted({*known(kind), *(one.name for one in entries.brought(kind))})


def brought(kind: Kind) -> tuple[list[entries.Entry], list[str]]:
    """What other packages bring and everybody can use; and what nobody can, a line each."""
    usable, problems = [], list(entries.unreadable())
    for entry in entries.brought(kind):
        try:
            check_single(kind, entry.name)
            find(kind, entry.name)
        except UserError as error:
            problems.append(str(error))
        else:
            usable.append(entry)
    return usable, list(dict.fromkeys(problems))


def find(kind: Kind, name: str, *, where: str = "") -> Leaf:
    """Find a leaf by its name.

    Args:
        kind: "models", "terms" or "datasets".
        name: file name of one of ours, or the dotted name or entry point of somebody else's.
        where: file and line, or the option that the name came from.

    Raises:
        UserError: if nothing has that name, or two packages bring it.
    """
    try:
        if kind == "datasets" and ":" in name:
            return _find_folder(name)
        if "." in name:
            return _find_foreign(kind, name)
        return _find_own(kind, name) or _find_brought(kind, name)
    except UserError as error:
        if not where:
            raise
        raise UserError(f"{where}: {error}") from None


@cache
def _find_own(kind: Kind, name: str) -> Leaf | None:
    if name not in known(kind):
        return None
    path = Path(__file__).parent / kind / f"{name}.py"
    return Leaf(kind, name, f"vitbench.{kind}.{name}", "build", path)


@cache
def _find_folder(name: str) -> Leaf:
    """`imagefolder:PATH`; a folder is looked through once a process."""
    own, _, folder = name.partition(":")
    leaf = find("datasets", own)
    if own not in OF_FOLDERS or not folder:
        raise UserError(f"data set {name!r}: {f'write {own}:PATH' if own in OF_FOLDERS else f'{own} takes no folder'}")
    found = FolderLeaf("datasets", name, leaf.module, leaf.attribute, leaf.path, Path(folder))
    found.constant("DIGEST")  # so that a folder that is none is told where its name is
    return found


def there(kind: Kind, names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Those of the names that `find` knows, sorted; and of each other a line, for what was recorded of it stays."""
    found, problems = [], []
    for name in sorted(names):
        try:
            find(kind, name)
        except UserError as error:
            problems.append(f"what was recorded of the {SINGULAR[kind]} {name!r} is left out: {error}")
        else:
            found.append(name)
    return found, problems


def check_model(reference: str, *, where: str = "") -> Leaf:
    """Refuse a model reference (`leaf/variant`) that nothing has.

    Raises:
        UserError: naming the nearest models or variants.
    """
    name, _, variant = reference.partition("/")
    leaf = find("models", name, where=where)
    variants = leaf.constant("VARIANTS", None)
    if variants is not None and variant not in variants:
        raise unknown(f"variant of {name}", variant, variants, where=where)
    if variant and leaf.parameters is not None and "variant" not in leaf.parameters:
        place = f"{where}: " if where else ""
        raise UserError(f"{place}the model {name!r} takes no `variant`, got {variant!r}; leave /{variant} out")
    return leaf


def check_objective(objective: Objective, *, where: str = "") -> None:
    """Refuse an objective with a term or an argument that nothing has.

    Raises:
        UserError: naming the nearest terms or arguments.
    """
    for summand in objective:
        leaf = find("terms", summand.name, where=where)
        leaf.check_arguments(set(summand.term.arguments), where=where)
        leaf.check_arguments(set(leaf.constant("TINY", {})), where=f"{leaf.path}: TINY")


def check_versions(objective: Objective, versions: int, *, where: str = "") -> None:
    """Refuse an objective with a term that compares more versions of an image than there are.

    Args:
        versions: V, that a batch has of each image.

    Raises:
        UserError: naming the term.
    """
    for name in objective.names:
        needed = find("terms", name).constant("VERSIONS", 1)
        if needed > versions:
            place = f"{where}: " if where else ""
            raise UserError(
                f"{place}{name} compares {needed} versions of each image, and the recipe makes {versions}: "
                "take one with `views`, or give it some"
            )


@cache
def _find_foreign(kind: Kind, name: str) -> Leaf:
    what = f"{SINGULAR[kind]} {name!r}"
    module, path = modules.file_of(name)
    if path is None:
        raise UserError(
            f"{what}: no module {module!r} with a Python file on Python's path; install it or set PYTHONPATH"
        )
    attribute = name.removeprefix(module).lstrip(".") or "build"
    return _defined(Leaf(kind, name, module, attribute, path), what)


def _find_brought(kind: Kind, name: str) -> Leaf:
    check_single(kind, name)
    for entry in named(kind, name):
        return _leaf_of(kind, entry)
    raise unknown(SINGULAR[kind], name, names(kind))


@cache
def _leaf_of(kind: Kind, entry: entries.Entry) -> Leaf:
    module, attribute = entry.target
    there, path = modules.file_of(module)
    if path is None or there != module:
        raise UserError(f"{entry.place}: no module {module!r} with a Python file; reinstall {entry.package}")
    return _defined(Leaf(kind, entry.name, module, attribute, path, package=entry.package), entry.place)


def _defined(leaf: Leaf, what: str) -> Leaf:
    """The leaf, if its file has what builds it."""
    if not leaf.is_defined:
        raise UserError(f"{what}: {leaf.path} defines no function or class {leaf.attribute!r}; define it there")
    return leaf


def check_single(kind: Kind, name: str, *, where: str = "") -> None:
    """Refuse a name that several bring, of whom a user may mean any; in our data files it is ours.

    Raises:
        UserError: naming all that bring it.
    """
    theirs = [f"{one} ({one.value})" for one in named(kind, name)]
    if len(found := [*(["vitbench"] if name in known(kind) else []), *theirs]) > 1:
        place = f"{where}: " if where else ""
        raise UserError(
            f"{place}the {SINGULAR[kind]} {name!r} is brought by {' and by '.join(found)}; uninstall one, or write the "
            "dotted name of the one that you mean"
        )
