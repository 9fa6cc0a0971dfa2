"""The command that compares two record sets: `vitbench compare A B`."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vitbench import pairs, recordsets
from vitbench.arguments import Parser
from vitbench.errors import unknown
from vitbench.metrics import METRICS

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[Parser]


def add(commands: "Commands") -> None:
    """Add it to the commands of the command line."""
    command = commands.add_parser("compare", help="compare two runs directories, or two sets of recorded baselines")
    for name, which in (("a", "before"), ("b", "after")):
        text = f"{which}: a runs directory, or recorded/<machine>, or a .csv of it"
        command.add_argument(name, type=Path, metavar=name.upper(), help=text)
    command.add_argument("--metric", action="append", default=[], metavar="NAME", help="only this metric; repeatable")
    command.set_defaults(command=_compare)


def _compare(options: argparse.Namespace) -> int:
    from vitbench.report import comparison

    for name in options.metric:
        if name not in METRICS:
            raise unknown("metric", name, METRICS, where="--metric")
    first, second = (recordsets.read(path) for path in (options.a, options.b))
    for problem in first.problems + second.problems:
        print(f"vitbench: {problem}", file=sys.stderr)
    for line in comparison.lines(pairs.pair(first, second, metrics=options.metric)):
        print(line)
    return 0
