"""The command that renders reports, of what was recorded or of a runs directory: `vitbench report`."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vitbench import baselines, collector, kept, papers, summary
from vitbench.arguments import Parser, add_reading, recorded_folder, session_of
from vitbench.errors import UserError
from vitbench.options import folder

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[Parser]


def add(commands: "Commands") -> None:
    """Add it to the commands of the command line."""
    command = commands.add_parser("report", help="render the reports from what was recorded, or of a runs directory")
    text = "a runs directory, with the options of its runs (default: what was recorded)"
    command.add_argument("runs", nargs="?", metavar="RUNS", help=text)
    command.add_argument("--out", metavar="DIR", help="folder that is written (default: reports, or RUNS/report)")
    command.add_argument(
        "--recorded", metavar="DIR", help="folder of recorded baselines (default: those that come along)"
    )
    reading = add_reading(command)
    command.set_defaults(command=_report, download=False, reading=reading)


@collector.paused()
def _report(options: argparse.Namespace) -> int:
    written = _of_recorded(options) if options.runs is None else _of_runs(options)
    for path in written:
        print(path)
    collector.leave()
    return 0


def _of_recorded(options: argparse.Namespace) -> list[Path]:
    from vitbench.report import pages, recorded

    for name, default in options.reading.items():
        if getattr(options, name) != default:
            option = name.replace("_", "-")
            raise UserError(f"--{option} is of a runs directory, and what was recorded is shown whole; name RUNS, too")
    out, source = folder("reports" if options.out is None else options.out, "--out"), recorded_folder(options)
    measured, problems = baselines.load_all(source)
    drawn = kept.load(source)
    for problem in [*problems, *drawn.problems]:
        print(f"vitbench: {problem}", file=sys.stderr)
    if not measured and (problems or options.recorded):
        raise UserError(f"{source} holds no measurement that can be read; name a folder with <machine>/<paper>.csv")
    return pages.write(out, recorded.material(papers.load_all(), measured, problems, drawn))


def _of_runs(options: argparse.Namespace) -> list[Path]:
    from vitbench.report import pages

    if options.recorded is not None:
        raise UserError("--recorded is another source than RUNS; leave one of them out")
    runs = folder(options.runs, "RUNS")
    if not (runs / "runs").is_dir():
        raise UserError(f"{runs} holds no runs; name a runs directory, or recorded baselines by --recorded")
    out = folder(str(runs / "report") if options.out is None else options.out, "--out")
    pages.check(out)
    session = session_of(options)
    material = summary.material(session, out)
    shown, there = len(material.links), len(list(runs.glob("runs/*/record.json")))
    if not shown:
        raise UserError(
            f"{runs} holds no such record; give the options that its runs were made with, such as --budget short"
        )
    for problem in session.store.problems:
        print(f"vitbench: {problem}", file=sys.stderr)
    if shown < there:
        left = f"{there - shown} of {there} records are of other options, such as --seeds, and not shown"
        print(f"vitbench: {left}", file=sys.stderr)
    return pages.write(out, material)[:1]
