"""Find the operations that recipes name, of `vitbench.augment` and `vitbench.augmentations`, without importing them."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from vitbench import declared
from vitbench.errors import unknown
from vitbench.leaf import Leaf

AUGMENTATIONS = "vitbench.augmentations."


def find(name: str, *, where: str = "") -> Leaf:
    """Find an operation of `vitbench.augment` or of `vitbench.augmentations`, as a recipe names it.

    Raises:
        UserError: if there is none of that name.
    """
    operations = _operations()
    if name not in operations:
        raise unknown("augmentation", name, operations, where=where)
    return operations[name]


def drawless() -> list[str]:
    """Names of the operations that draw nothing, as their file says by `DRAWS = False`, sorted."""
    return sorted(name for name, one in _operations().items() if not one.constants.get("DRAWS", True))


@cache
def _operations() -> dict[str, Leaf]:
    here = Path(__file__).parent
    files = {"vitbench.augment": here / "augment.py"}
    files |= {f"{AUGMENTATIONS}{one.stem}": one for one in sorted((here / "augmentations").glob("*.py"))}
    inside = {module: declared.read(path.read_bytes()).operations for module, path in files.items()}
    return {name: Leaf("models", name, one, name, files[one]) for one, names in inside.items() for name in names}


@cache
def modules_of(name: str) -> frozenset[str]:
    """Names, within the package, of the files that an operation stands on, besides `augment` itself.

    Raises:
        UserError: if there is no operation of that name.
    """
    here = Path(__file__).parent
    found: set[str] = set()
    new = {find(name).module} - {"vitbench.augment"}
    while new:
        found |= new
        files = [here / "augmentations" / f"{one.removeprefix(AUGMENTATIONS)}.py" for one in new]
        imports = {inner for path in files for inner in declared.read(path.read_bytes()).imports}
        new = {one for one in imports if one.startswith(AUGMENTATIONS) and find_spec(one)} - found
    return frozenset(f"augmentations/{one.removeprefix(AUGMENTATIONS)}" for one in found)
