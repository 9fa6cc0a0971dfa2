"""What a user asks of a session: which cases, on what, where to; refused in one line before anything is trained."""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path

from vitbench import leaves
from vitbench.case import Budget
from vitbench.errors import UserError, unknown
from vitbench.selection import Selection

EPOCH_MARGIN = 1.2  # the next epoch may be slower than others were
MOST_ADDED = 10  # seeds, by `--seeds auto`
LONGEST = 9  # digits of a cap; Python itself refuses some thousands
MOST_SEEDS = 1000  # beyond what anybody trains; a forecast has to look at each


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a user said.

    Attributes:
        runs: directory of the records.
        data: folder of data sets, or None.
        weights: folder of published weights, or None.
        image_size: H and W in pixels of photographs in the quick budget; None is what the tiny networks are made for.
        seeds: how many seeds each case is trained with.
        most_seeds: the cap, where seeds are added until the sign of a gain is known; None adds none.
        first_seed: the first of them; the others follow.
        fresh: train again although there is a record.
        engine: how steps are taken, see `vitbench.engine`; None is the device's own.
        micro_batch: images that go through a network at once, where a whole batch does not fit.
        deadline: in the seconds of `time.monotonic`, when everything has to be saved.
        update: which baselines the session records at its end, see `vitbench.recording.WHICH`; empty for none.
        machine: name of this machine, by which its timings were recorded; empty for none.
        recorded: folder of the recorded baselines, None for those that come along.
        shard: which part of what is selected is done, such as "2/4", see `vitbench.shard`; empty for all of it.
    """

    selection: Selection = field(default_factory=Selection)
    runs: Path = Path(".vitbench")
    data: Path | None = None
    weights: Path | None = None
    image_size: int | None = None
    download: bool = False
    device: str = "cpu"
    precision: str = "fp32"
    engine: str | None = None
    micro_batch: int | None = None
    deadline: float = math.inf
    seeds: int = 1
    most_seeds: int | None = None
    first_seed: int = 0
    fresh: bool = False
    fail_on_missing: bool = False
    update: str = ""
    machine: str = ""
    recorded: Path | None = None
    shard: str = ""

    @property
    def scope(self) -> str:
        """What a session is of, in words."""
        return f"{self.budget} budget" + (f", shard {self.shard}" if self.shard else "")

    @property
    def sure_seeds(self) -> range:
        """Every seed that each case is trained with at least."""
        return range(self.first_seed, self.first_seed + self.seeds)

    @property
    def all_seeds(self) -> range:
        """Every seed that a case may be trained with."""
        return range(self.first_seed, self.first_seed + (self.most_seeds or self.seeds))

    @property
    def budget(self) -> Budget:
        """How much of a recipe is run."""
        return self.selection.budget

    @property
    def engine_name(self) -> str:
        """The engine that was asked for, or the device's own."""
        return self.engine or ("eager" if self.device == "cpu" else "graph")

    def arguments(self) -> list[str]:
        """The options of pytest that ask for the same, but for places and limits."""
        chosen, auto = self.selection, self.most_seeds
        given = {
            "--budget": chosen.budget
            if chosen.budget != (Budget.QUICK if self.device == "cpu" else Budget.PAPER)
            else "",
            "--image-size": self.image_size,
            "--seeds": f"auto:{auto}" if auto else self.seeds if self.seeds > 1 else None,
            "--precision": self.precision if self.precision != "fp32" else "",
            "--engine": self.engine,
            "--micro-batch": self.micro_batch,
            "--machine": self.machine,
        }
        lists = {"--dataset": chosen.datasets, "--model": chosen.models, "--objective": chosen.objectives}
        return [
            *(["--gpu"] if self.device != "cpu" else []),
            *(["--all-rows"] if chosen.all_rows else []),
            *(f"{option}={value}" for option, value in given.items() if value),
            *(f"{option}={value}" for option, values in lists.items() for value in values),
        ]

    def check(self) -> None:
        """Refuse names that nothing has, and numbers that mean nothing.

        Raises:
            UserError: naming the option and the way out.
        """
        if not 1 <= self.seeds <= MOST_SEEDS:
            raise UserError(f"--seeds is a number of trainings, at least 1 and at most {MOST_SEEDS}, got {self.seeds}")
        if not 0 <= self.first_seed < 2**63:
            raise UserError(f"--seed is a number from 0 to 2**63 - 1, got {self.first_seed}")
        if self.micro_batch is not None and self.micro_batch < 1:
            raise UserError(f"--micro-batch is a number of images, at least 1, got {self.micro_batch}")
        self._check_image_size()
        self.selection.check()
        for name in self.selection.models:
            leaf, _, variant = name.partition("/")
            if leaf == "timm":
                if not variant:
                    raise UserError(f"--model: {name} names no model of timm; name one, such as timm/resnet18")
                import timm  # takes seconds, so only where somebody asks for one of its models

                if not timm.is_model(variant):
                    raise unknown("timm model", variant, timm.list_models(), where="--model")

    def _check_image_size(self) -> None:
        size = self.image_size
        if size is None:
            return
        if size < 8:
            raise UserError(f"--image-size is a number of pixels, at least 8, got {size}")
        if self.budget != Budget.QUICK:
            raise UserError(f"--image-size is of the quick budget; {self.budget} takes the recipe's: leave it out")
        names = self.selection.datasets or ("the digits",)
        fixed = [
            one
            for one in names
            if one == "the digits" or not leaves.find("datasets", one).constant("PHOTOGRAPHS", False)
        ]
        if fixed:
            raise UserError(
                f"--image-size is for photographs, which are stored in any size; {fixed[0]} has its own: "
                "name a --dataset such as imagefolder:DIR"
            )


def seeds(text: str) -> dict[str, int]:
    """What `--seeds` says: a number, `auto`, or `auto:CAP`; as the options `seeds` and `most_seeds`.

    Raises:
        UserError: if it is none of them, or a cap that no rule is known for.
    """
    word, colon, cap = text.strip().partition(":")
    if word == "auto":
        from vitbench import gate  # imports scipy

        if colon and not (cap.isdecimal() and len(cap) <= LONGEST):
            raise UserError(f"--seeds auto:CAP takes a number of seeds as its cap, got {text!r:.40}")
        most = int(cap) if colon else MOST_ADDED
        gate.boundary(gate.FIRST_LOOK, cap=most)  # refuses the cap
        return {"seeds": gate.FIRST_LOOK, "most_seeds": most}
    try:
        return {"seeds": int(text)}
    except ValueError:
        raise UserError(f"--seeds is a number of trainings, auto, or auto:CAP, got {text!r:.40}") from None


def duration(text: str, option: str) -> float:
    """Seconds of a time that an option gives, such as `90s`, `8m` or `1h30m`; a bare number is in seconds.

    Raises:
        UserError: if it is none, or is nothing.
    """
    number = r"(\d+(?:\.\d+)?)"
    found = re.fullmatch(rf"(?:{number}h)?(?:{number}m)?(?:{number}s?)?", text.strip())
    parts = [float(part or 0) for part in found.groups()] if found else [0.0]
    seconds = sum(part * unit for part, unit in zip(parts, (3600, 60, 1), strict=False))
    if seconds <= 0:
        raise UserError(f"{option} is a time such as 90s, 8m or 1h30m, got {text!r}")
    return seconds


def folder(text: str, option: str) -> Path:
    """A folder that an option names, whether it is there or will be made.

    Raises:
        UserError: if the name is empty, is that of a file, or can be no folder's on this machine.
    """
    if not text.strip():
        raise UserError(f"{option} is empty; name a folder")
    path = Path(text)
    if _exists(path, option, "folder") and not path.is_dir():
        raise UserError(f"{option}: {_shown(text)} is a file; name a folder")
    return path


def file(text: str, option: str) -> Path:
    """A file that an option names, to be written.

    Raises:
        UserError: if the name is empty, is that of a folder, or can be no file's on this machine.
    """
    if not text.strip():
        raise UserError(f"{option} is empty; name a file")
    path = Path(text)
    if _exists(path, option, "file") and path.is_dir():
        raise UserError(f"{option}: {_shown(text)} is a folder; name a file")
    return path


def _exists(path: Path, option: str, what: str) -> bool:
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except (OSError, ValueError) as error:  # ValueError: a null byte
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{option}: {_shown(str(path))} cannot be used ({reason}); name another {what}") from None
    return True


def _shown(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:60]}…"
