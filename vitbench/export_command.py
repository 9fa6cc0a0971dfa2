"""The command that writes results for other tools: `vitbench export RUNS`."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vitbench import export
from vitbench.arguments import Parser, add_reading, session_of
from vitbench.atomic import write_whole
from vitbench.errors import UserError, unknown
from vitbench.export import Series
from vitbench.metrics import METRICS
from vitbench.options import file

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[Parser]

ACTION, CSV = "github-action-benchmark", "csv"


def add(commands: "Commands") -> None:
    """Add it to the commands of the command line."""
    command = commands.add_parser("export", help="results for other tools, such as the charts of a CI service")
    text = "a runs directory (with the options of its runs), or recorded/<machine>, or a .csv of it"
    command.add_argument("runs", metavar="RUNS", help=text)
    command.add_argument("--format", choices=[ACTION, CSV], default=ACTION, help=f"default: {ACTION}")
    text = f"only what is better the higher or the lower it is; {ACTION} reads one of them from a file"
    command.add_argument("--direction", choices=["higher", "lower"], help=text)
    command.add_argument("--metric", action="append", default=[], metavar="NAME", help="only this metric; repeatable")
    command.add_argument("--out", metavar="FILE", help="file that is written (default: standard output)")
    add_reading(command)
    command.set_defaults(command=_export, download=False)


def _export(options: argparse.Namespace) -> int:
    for name in options.metric:
        if name not in METRICS:
            raise unknown("metric", name, METRICS, where="--metric")
    if options.format == ACTION and options.direction is None:
        raise UserError(f"{ACTION} reads values of one direction from a file; add --direction higher, or lower")
    out = None if options.out is None else file(options.out, "--out")
    found = list(export.chosen(_series(options), direction=options.direction, metrics=options.metric))
    if not found:
        raise UserError(
            f"{options.runs} holds no such value; give the options that its runs were made with, such as --budget short"
        )
    export.check_names(found)
    text = export.as_json(found) if options.format == ACTION else export.as_csv(found)
    if out is None:
        sys.stdout.write(text)
    else:
        write_whole(out, text)
    return 0


def _series(options: argparse.Namespace) -> list[Series]:
    path = Path(options.runs)
    if not path.exists():
        raise UserError(f"{path} is not there; name a runs directory, or a folder or file of recorded baselines")
    if path.is_file() or (any(path.glob("*.csv")) and not (path / "runs").is_dir()):
        found, problems = export.of_recorded(path)
    else:
        session = session_of(options)
        found = export.of_runs(session, list(session.options.selection.cases(session.papers.values())))
        problems = session.store.problems
    for problem in problems:
        print(f"vitbench: {problem}", file=sys.stderr)
    return found
