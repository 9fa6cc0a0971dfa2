"""The checkpoint of a run under way: written whole, now and then, and read without executing what it holds."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vitbench.records import write_atomically
from vitbench.total import Total

CHECKPOINT_SECONDS = 5.0  # a kill loses at most this and one epoch


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

    def save(self, make: Callable[[], dict[str, Any]], now: bool = False) -> None:
        """Write what `make` gives, unless the last checkpoint is fresh and it need not be `now`."""
        if not now and time.monotonic() - self.saved_at < CHECKPOINT_SECONDS:
            return
        with write_atomically(self.path) as temporary:
            torch.save(make() | {"key": self.key}, temporary)
        self.saved_at = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The checkpoint, or None; nothing that it may hold is executed, and a torn or foreign one is set aside."""
        if not self.path.exists():
            return None
        try:
            content: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception:  # torch raises whatever a damaged archive leads to
            content = {}
        if not isinstance(content, dict) or content.get("key") != self.key:
            self._set_aside()
            return None
        return content

    def _set_aside(self) -> None:
        aside = self.path.rename(self.path.with_name(f"{self.path.name}.set-aside-{time.time_ns()}"))
        reason = "it is torn, or of another run"
        self.problems.append(f"{self.path}: {reason}; set aside as {aside.name}, the training starts anew")

    def keep_failed(self, model: nn.Module, total: Total) -> Path:
        """Write the weights of a lost training, to be looked at."""
        path = self.folder / "failed.pt"
        with write_atomically(path) as temporary:
            torch.save({"model": model.state_dict(), "terms": total.state_dict()}, temporary)
        return path

    def clear(self) -> None:
        """Remove it once the run is done."""
        self.path.unlink(missing_ok=True)
