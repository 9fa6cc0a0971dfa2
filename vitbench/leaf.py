"""One model, term or data set: what its source says, and its code once it is needed."""

import hashlib
import importlib
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from vitbench import declared, folders
from vitbench.constants import FORMS, MISSING, is_value
from vitbench.errors import UserError, unknown
from vitbench.objective import Value

Kind = Literal["models", "terms", "datasets"]
# Arguments that a run gives, and no notation.
HANDED_IN = {"self", "shape", "classes", "image_size", "variant", "root", "download", "images", "labels", "generator"}
SINGULAR: dict[Kind, str] = {"models": "model", "terms": "term", "datasets": "data set"}
CONTRACTS = {
    "models": "a model is `build(*, classes, image_size)` and returns a torch.nn.Module (docs/adding-a-model.md)",
    "terms": "a term is `build(shape, *, …)` and returns a torch.nn.Module (docs/adding-a-term.md)",
    "datasets": "a data set is `build(root, *, image_size, download)` and returns a vitbench.contracts.Split",
}


@dataclass(frozen=True)
class Leaf:
    """One model, term or data set: where its code is, and what can be read from it.

    Attributes:
        kind: the folder that such things live in.
        name: as written by the user.
        module: dotted name of the module.
        attribute: the function or class that builds it.
        path: the source file.
        package: the installed one whose entry point has that name; empty for others.
    """

    kind: Kind
    name: str
    module: str
    attribute: str
    path: Path
    package: str = field(default="", kw_only=True)

    @cached_property
    def _declared(self) -> declared.Declared:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Python's remarks on somebody's code come when it is imported
                return declared.read(self.path.read_bytes())
        except SyntaxError as error:
            raise UserError(f"{self.path}:{error.lineno or 1}: cannot be read as Python: {error.msg}") from None
        except (OSError, ValueError, RecursionError, MemoryError) as error:
            reason = str(error) or "it is nested too deep"
            raise UserError(f"{self.path}: cannot be read as Python: {reason}") from None

    @property
    def is_defined(self) -> bool:
        """Whether the file has a function or class of that name."""
        return self.attribute in self._declared.signatures

    @property
    def what(self) -> str:
        """File and name, as they stand in front of an error."""
        return f"{self.path}: the {SINGULAR[self.kind]} {self.name!r}"

    @cached_property
    def constants(self) -> Mapping[str, Any]:
        """Upper-case module constants that are literals."""
        return self._declared.constants

    @property
    def _signature(self) -> declared.Signature | None:
        """Of `build`, where the file shows it."""
        return self._declared.signatures.get(self.attribute)

    @cached_property
    def parameters(self) -> frozenset[str] | None:
        """Names that can be given to `build`, or None where it takes any."""
        signature = self._signature
        if signature is None or signature.takes_any:
            return None
        return frozenset((*signature.by_place, *signature.by_name))

    @cached_property
    def defaults(self) -> dict[str, Value]:
        """What `build` takes where the notation sets nothing: the arguments whose defaults can be written in it."""
        found = self._signature.defaults if self._signature else {}
        return {name: value for name, value in sorted(found.items()) if name not in HANDED_IN and is_value(value)}

    @property
    def is_foreign(self) -> bool:
        """Whether it is other people's code."""
        return bool(self.package) or "." in self.name

    @cached_property
    def version(self) -> str:
        """`VERSION` of the file, and the package of a plain name that another package could bring as well.

        Where somebody else's file has none, a digest of its text.
        """
        if "VERSION" in self.constants:
            return f"{self.constants['VERSION']} of {self.package}" if self.package else str(self.constants["VERSION"])
        return "sha256:" + hashlib.sha256(self.path.read_bytes()).hexdigest()[:16]

    def constant(self, name: str, default: Any = MISSING) -> Any:
        """A constant in the form that it must have; without a default, things of this kind cannot do without it.

        Raises:
            UserError: if the file does not set it to a literal of that form.
        """
        value = self.constants.get(name, default)
        if value is MISSING:
            raise UserError(f"{self.what} needs a line `{name} = …` with a literal value; add it")
        if name in self.constants and name in FORMS and not FORMS[name].holds(value):
            raise UserError(f"{self.what} sets {name} to {value!r}; it must be {FORMS[name].expected}")
        return value

    def check_arguments(self, arguments: set[str], *, where: str = "") -> None:
        """Refuse an argument that `build` does not take.

        Raises:
            UserError: naming the nearest arguments that it takes.
        """
        known = self.parameters
        if known is None:
            return
        known -= HANDED_IN
        for argument in sorted(arguments - known):
            raise unknown(f"argument of {self.name}", argument, known, where=where)

    def load(self) -> Callable[..., Any]:
        """Import the module and return what builds it.

        Raises:
            UserError: if the module cannot be imported.
        """
        if str(Path.cwd()) not in sys.path and "." in self.name:
            sys.path.append(str(Path.cwd()))
        with self.answering("when imported"):
            build: Callable[..., Any] = getattr(importlib.import_module(self.module), self.attribute)
        return build

    @contextmanager
    def answering(self, when: str) -> Iterator[None]:
        """Make one line of whatever its code raises; a `UserError` is one already.

        Args:
            when: what was asked of it.

        Raises:
            UserError: naming file, line and error, and what things of this kind must be.
        """
        try:
            yield
        except UserError:
            raise
        except (Exception, SystemExit) as error:
            frames = traceback.extract_tb(error.__traceback__)
            line = next((f"line {one.lineno}, " for one in reversed(frames) if one.filename == str(self.path)), "")
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise UserError(f"{self.what} fails {when}: {line}{reason}; {CONTRACTS[self.kind]}") from error


@dataclass(frozen=True)
class FolderLeaf(Leaf):
    """A data set that is whatever folder its name says: `imagefolder:PATH`.

    Attributes:
        folder: PATH; relative to the current folder, as everywhere on a command line.
    """

    folder: Path

    @cached_property
    def constants(self) -> Mapping[str, Any]:
        """Those of the file, and what the folder holds."""
        found = folders.scan(self.folder)
        counts = {"CLASSES": len(found.classes), "TRAIN": len(found.train), "TEST": len(found.test)}
        return {**super().constants, **counts, "DIGEST": found.digest}

    def load(self) -> Callable[..., Any]:
        """Likewise, for this folder, wherever the other data sets are."""
        build = super().load()
        return lambda root, **options: build(self.folder, **options)
