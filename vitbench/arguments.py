"""What several commands of the command line take: which cases, and where records, data and baselines are."""

import argparse
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from vitbench import papers
from vitbench.case import Budget
from vitbench.errors import UserError
from vitbench.machine import ENGINES, PRECISIONS
from vitbench.options import Options, duration, folder, seeds
from vitbench.progress import Progress
from vitbench.selection import Selection
from vitbench.session import Session

# What says which runs are read.
READING = (
    *("budget", "gpu", "all_rows", "dataset", "model", "objective"),
    *("precision", "seeds", "image_size", "micro_batch", "data", "weights"),
)


class Parser(argparse.ArgumentParser):
    """Refuses in one line, as everything here does."""

    def error(self, message: str) -> NoReturn:
        """Say what was wrong, and where the help is."""
        if message.endswith("expected one argument"):
            option = message.split()[1].rstrip(":")
            message += f" (one that begins with a minus is written {option}=-...)"
        self.exit(2, f"{self.prog}: {message}; see `{self.prog} --help`\n")


def add_selection(command: argparse.ArgumentParser) -> None:
    """Options that choose cases."""
    command.add_argument("--budget", choices=[one.value for one in Budget], help="default: quick, with --gpu paper")
    command.add_argument("--gpu", action="store_true", help="on the GPU")
    command.add_argument("--all-rows", action="store_true", help="quick budget: every row of the tables")
    command.add_argument("--dataset", action="append", default=[], metavar="NAME")
    command.add_argument("--model", action="append", default=[], metavar="NAME")
    command.add_argument(
        "--objective",
        action="append",
        default=[],
        metavar="EXPR",
        help="or --objective='-0.1*me+ce'",
    )


def add_runs(command: argparse.ArgumentParser) -> None:
    """The option that says where records are."""
    command.add_argument(
        "--runs", default=".vitbench", metavar="DIR", help="records and checkpoints (default: .vitbench)"
    )


def add_places(command: argparse.ArgumentParser) -> None:
    """Options that say where records and data are."""
    add_runs(command)
    command.add_argument("--data", default=os.environ.get("VITBENCH_DATA") or None, help="folder of data sets")
    command.add_argument("--download", action="store_true", help="fetch absent data sets into it")
    weights = os.environ.get("VITBENCH_WEIGHTS") or None
    command.add_argument("--weights", default=weights, metavar="DIR", help="folder of published weights")


def add_training(command: argparse.ArgumentParser) -> None:
    """Options that say how runs are trained, and for how long."""
    command.add_argument("--precision", choices=PRECISIONS, default="fp32", help="bf16: autocast over fp32 weights")
    command.add_argument("--engine", choices=ENGINES, help="default: eager; with --gpu graph, a captured step")
    command.add_argument("--image-size", type=int, metavar="N", help="quick budget: pixels of photographs")
    command.add_argument("--micro-batch", type=int, metavar="N", help="N images at once, the same batch")
    command.add_argument("--time-limit", metavar="TIME", help="such as 8m: what was trained is saved when it is over")


def add_reading(command: argparse.ArgumentParser) -> dict[str, object]:
    """Options that say which runs of a runs directory are read; returns their defaults, by name."""
    add_selection(command)
    command.add_argument("--precision", choices=PRECISIONS, default="fp32", help="of the runs (default: fp32)")
    text = "of the runs (default: 1); auto, or auto:CAP, for all that it may have added"
    command.add_argument("--seeds", default="1", metavar="N", help=text)
    command.add_argument("--image-size", type=int, metavar="N", help="quick budget: pixels of photographs")
    command.add_argument("--micro-batch", type=int, metavar="N", help="of the runs")
    command.add_argument("--data", default=os.environ.get("VITBENCH_DATA") or None, help="folder of data sets")
    weights = os.environ.get("VITBENCH_WEIGHTS") or None
    command.add_argument("--weights", default=weights, metavar="DIR", help="folder of published weights")
    return {name: command.get_default(name) for name in READING}


def session_of(options: argparse.Namespace) -> Session:
    """The session that a command's options ask for.

    Raises:
        UserError: naming the option and the way out.
    """
    selection = Selection(
        budget=Budget(options.budget or ("paper" if options.gpu else "quick")),
        all_rows=options.all_rows,
        datasets=tuple(options.dataset),
        models=tuple(options.model),
        objectives=tuple(options.objective),
    )
    places: dict[str, Any] = {**seeds(str(getattr(options, "seeds", 1)))}
    if hasattr(options, "runs"):
        places |= {"runs": folder(options.runs, "--runs"), "download": options.download}
        places |= {name: _given(options, name) for name in ("data", "weights")}
    limit = getattr(options, "time_limit", None)
    made = Options(
        selection=selection,
        device="cuda" if options.gpu else "cpu",
        precision=getattr(options, "precision", "fp32"),
        engine=getattr(options, "engine", None),
        micro_batch=getattr(options, "micro_batch", None),
        image_size=getattr(options, "image_size", None),
        deadline=math.inf if limit is None else time.monotonic() + duration(limit, "--time-limit"),
        first_seed=getattr(options, "seed", 0),
        fresh=getattr(options, "fresh", False),
        **places,
    )
    made.check()
    return Session(made)


def require_gpu(options: argparse.Namespace) -> None:
    """Refuse --gpu where there is none.

    Raises:
        UserError: if torch sees no GPU.
    """
    if options.gpu:
        import torch

        if not torch.cuda.is_available():
            raise UserError("--gpu: torch sees no GPU on this machine; leave --gpu out, or see `vitbench doctor`")


def shown_progress() -> Callable[[str, int, int, float], None]:
    """Progress on the standard error stream."""
    is_terminal = sys.stderr.isatty()
    start = "\r" if is_terminal else "\n"
    return Progress(lambda line: print(line, end=start, file=sys.stderr, flush=True), is_terminal=is_terminal)


def _given(options: argparse.Namespace, name: str) -> Path | None:
    text = getattr(options, name)
    return None if text is None else folder(text, f"--{name}")


def recorded_folder(options: argparse.Namespace) -> Path:
    """Where the recorded baselines are.

    Raises:
        UserError: if --recorded can be no folder.
    """
    return papers.data_folder() / "recorded" if options.recorded is None else folder(options.recorded, "--recorded")
