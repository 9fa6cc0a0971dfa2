"""The checkpoint of a run under way: written whole, now and then, and read without executing what it holds."""

import reprlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vitbench.atomic import set_aside, write_atomically
from vitbench.total import Total

CHECKPOINT_SECONDS = 5.0  # a kill loses at most this and one epoch, or
SAVING_SHARE = 0.02  # as much as keeps the writing below this share of the time, where a checkpoint is large
CONTENT: dict[str, type] = {"phase": int, "epoch": int, "curves": list, "trained": dict, "optimizer": dict}


class Checkpoints:
    """The checkpoint of one run.

    Args:
        folder: of the run.
        key: of the run; a checkpoint of another one is not used.
        problems: gets a line for each file that was set aside.
    """

    def __init__(self, folder: Path, key: str, *, problems: list[str]) -> None:
        self.folder = folder
        self.key = key
        self.problems = problems
        self.path = folder / "checkpoint.pt"
        self.saved_at = time.monotonic()
        self.every = CHECKPOINT_SECONDS

    def save(self, make: Callable[[], dict[str, Any]], now: bool = False) -> None:
        """Write what `make` gives, unless the last checkpoint is fresh and it need not be `now`."""
        started = time.monotonic()
        if not now and started - self.saved_at < self.every:
            return
        _write(self.path, make() | {"key": self.key})
        self.saved_at = time.monotonic()
        self.every = max(CHECKPOINT_SECONDS, (self.saved_at - started) / SAVING_SHARE)

    def load(self) -> dict[str, Any] | None:
        """The checkpoint, or None; nothing that it may hold is executed, and a torn or foreign one is set aside.

        Where a merge laid another machine's beside it, the one that is further.
        """
        found = [content for path in sorted(self.folder.glob("checkpoint*.pt")) if (content := self._load(path))]
        return max(found, key=lambda content: (content["phase"], content["epoch"]), default=None)

    def _load(self, path: Path) -> dict[str, Any] | None:
        try:
            content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception:  # torch raises whatever a damaged archive leads to
            content = {}
        if not isinstance(content, dict) or content.get("key") != self.key:
            self.set_aside("it is torn, or of another run", path)
            return None
        wrong = _wrong(content)
        if wrong:
            self.set_aside(f"it is damaged: {wrong}", path)
            return None
        return content

    def set_aside(self, reason: str, path: Path | None = None) -> None:
        """Rename it, for a training that goes on without it; without a path, all that there are."""
        for one in self.folder.glob("checkpoint*.pt") if path is None else [path]:
            aside = set_aside(one)
            self.problems.append(f"{one}: {reason}; set aside as {aside.name}, the training starts anew")

    def keep_failed(self, model: nn.Module, total: Total) -> Path:
        """Write the weights of a lost training, to be looked at."""
        path = self.folder / "failed.pt"
        _write(path, {"model": model.state_dict(), "terms": total.state_dict()})
        return path

    def clear(self) -> None:
        """Remove it once the run is done, and what a merge laid beside it."""
        for path in self.folder.glob("checkpoint*.pt"):
            path.unlink(missing_ok=True)


def _write(path: Path, content: dict[str, Any]) -> None:
    # Into a file of Python's, which keeps the error of a full disk; of a path, torch only says "unexpected pos".
    with write_atomically(path) as temporary, temporary.open("wb") as file:
        torch.save(content, file)


def _wrong(content: dict[str, Any]) -> str:
    """What in a checkpoint cannot be gone on from, or nothing."""
    for name, kind in CONTENT.items():
        value = content.get(name)
        if not isinstance(value, kind) or isinstance(value, bool) or (isinstance(value, int) and value < 0):
            return f"{name} is {reprlib.repr(value)}"
    strange = [curve for curve in content["curves"] if not isinstance(curve, dict)]
    return f"a curve is {reprlib.repr(strange[0])}" if strange else ""
