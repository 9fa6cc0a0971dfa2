"""What a user asks of a session: which cases, on what, where to; refused in one line before anything is trained."""

from dataclasses import dataclass, field
from pathlib import Path

from vitbench.case import Budget
from vitbench.errors import UserError, unknown
from vitbench.selection import Selection

MOST_SEEDS = 1000  # beyond what anybody trains; a forecast has to look at each


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a user said.

    Attributes:
        runs: directory of the records.
        data: folder of data sets, or None.
        seeds: how many seeds each case is trained with.
        first_seed: the first of them; the others follow.
        fresh: train again although there is a record.
    """

    selection: Selection = field(default_factory=Selection)
    runs: Path = Path(".vitbench")
    data: Path | None = None
    download: bool = False
    device: str = "cpu"
    precision: str = "fp32"
    seeds: int = 1
    first_seed: int = 0
    fresh: bool = False
    fail_on_missing: bool = False

    @property
    def all_seeds(self) -> range:
        """Every seed that each case is trained with."""
        return range(self.first_seed, self.first_seed + self.seeds)

    @property
    def budget(self) -> Budget:
        """How much of a recipe is run."""
        return self.selection.budget

    def check(self) -> None:
        """Refuse names that nothing has, and numbers that mean nothing.

        Raises:
            UserError: naming the option and the way out.
        """
        if not 1 <= self.seeds <= MOST_SEEDS:
            raise UserError(f"--seeds is a number of trainings, at least 1 and at most {MOST_SEEDS}, got {self.seeds}")
        if not 0 <= self.first_seed < 2**63:
            raise UserError(f"--seed is a number from 0 to 2**63 - 1, got {self.first_seed}")
        self.selection.check()
        for name in self.selection.models:
            leaf, _, variant = name.partition("/")
            if leaf == "timm":
                if not variant:
                    raise UserError(f"--model: {name} names no model of timm; name one, such as timm/resnet18")
                import timm  # takes seconds, so only where somebody asks for one of its models

                if not timm.is_model(variant):
                    raise unknown("timm model", variant, timm.list_models(), where="--model")


def folder(text: str, option: str) -> Path:
    """A folder that an option names, whether it is there or will be made.

    Raises:
        UserError: if the name is empty, is that of a file, or can be no folder's on this machine.
    """
    if not text.strip():
        raise UserError(f"{option} is empty; name a folder")
    path, shown = Path(text), text if len(text) <= 200 else f"{text[:60]}…"
    try:
        path.stat()
    except FileNotFoundError:
        return path
    except (OSError, ValueError) as error:  # ValueError: a null byte
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{option}: {shown} cannot be used ({reason}); name another folder") from None
    if not path.is_dir():
        raise UserError(f"{option}: {shown} is a file; name a folder")
    return path
