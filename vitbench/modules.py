"""Where the code of a dotted name (`mypkg.losses.mine`) is; nothing is imported to find out."""

from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path


def file_of(name: str) -> tuple[str, Path | None]:
    """Longest prefix of a dotted name that is a module, and its file, None where it has none in Python."""
    parts = name.split(".")
    spec = _top_level(parts[0])
    module = parts[0]
    for part in parts[1:]:
        if spec is None or spec.submodule_search_locations is None:
            break
        # By the last name alone: by the full one, a folder without __init__.py asks for its parent to be imported.
        inner = PathFinder.find_spec(part, list(spec.submodule_search_locations))
        if inner is None:
            break
        spec, module = inner, f"{module}.{part}"
    origin = Path(spec.origin) if spec and spec.origin else None
    return module, origin if origin and origin.suffix == ".py" else None


def _top_level(name: str) -> ModuleSpec | None:
    try:
        return find_spec(name) or PathFinder.find_spec(name, [str(Path.cwd())])
    except (ImportError, ValueError):
        return None
