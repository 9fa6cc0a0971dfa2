"""The commands that carry records from machine to machine: `vitbench pack` and `vitbench merge`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vitbench import merge, pack
from vitbench.arguments import Parser, add_runs
from vitbench.options import folder

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[Parser]


def add(commands: "Commands") -> None:
    """Add both to the commands of the command line."""
    command = commands.add_parser("pack", help="write the records of a runs directory as a few zip files")
    command.add_argument("out", metavar="OUT", help="folder of the zip files")
    add_runs(command)
    command.add_argument("--checkpoints", action="store_true", help="those of unfinished runs too")
    command.add_argument("--weights", action="store_true", help="those of finished runs too")
    command.add_argument("--limit", type=float, default=16.0, metavar="MIB", help="size of a zip file (default: 16)")
    command.set_defaults(command=_pack)

    command = commands.add_parser("merge", help="take what `vitbench pack` wrote into a runs directory")
    command.add_argument("files", nargs="+", type=Path, metavar="FILE", help="zip files, or folders of them")
    add_runs(command)
    command.set_defaults(command=_merge)


def _pack(options: argparse.Namespace) -> int:
    chosen = {"checkpoints": options.checkpoints, "weights": options.weights}
    runs, out = folder(options.runs, "--runs"), folder(options.out, "OUT")
    packed = pack.pack(runs, out, **chosen, limit=options.limit * 2**20)
    for line in packed.lines + packed.notes:
        print(line)
    return _complain(packed.problems)


def _merge(options: argparse.Namespace) -> int:
    taking = merge.Merge(folder(options.runs, "--runs"))
    try:
        taking.take(options.files)
    finally:  # a full disk does not hide what was done before
        for line in taking.notes:
            print(line)
        print(", ".join(f"{taking.counts[outcome]} {outcome}" for outcome in merge.OUTCOMES))
    return _complain(taking.problems)


def _complain(problems: Sequence[str]) -> int:
    for problem in problems:
        print(f"vitbench: {problem}", file=sys.stderr)
    return 2 if problems else 0
