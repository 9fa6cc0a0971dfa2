"""The command line: look at the data, run one case, render reports. Imports torch only to run something."""

import argparse
import csv
import io
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vitbench import (
    baselines,
    campaign_command,
    compare_command,
    doctor,
    export_command,
    inventory,
    kept,
    leaderboard_command,
    leaves,
    papers,
    recording,
    report_command,
    samples,
    summary,
    transport,
)
from vitbench.arguments import (
    Parser,
    add_places,
    add_selection,
    add_training,
    recorded_folder,
    require_gpu,
    session_of,
    shown_progress,
)
from vitbench.case import Case
from vitbench.compare import Verdict
from vitbench.errors import DataAbsent, DataBroken, NonFinite, OutOfMemory, TimeUp, UserError, unknown
from vitbench.leaf import SINGULAR
from vitbench.machine import PRECISIONS
from vitbench.options import folder
from vitbench.session import Session

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[Parser]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; a user's mistake is one line on stderr and exit code 2."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # not None: closed by the caller
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal of plain ASCII shows ± as \xb1
    options = _parser().parse_args(arguments)
    options.arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        code: int = options.command(options)
        _flush()
    except BrokenPipeError:  # `vitbench list | head`
        _drop_output()
        return 0
    except (UserError, NonFinite, OutOfMemory, TimeUp, OSError, KeyboardInterrupt) as error:
        code, line = _failure(error, options)
        if line:
            print(f"vitbench: {line}", file=sys.stderr)
    return code


def _failure(error: BaseException, options: argparse.Namespace) -> tuple[int, str]:
    """Exit code and line of what went wrong."""
    if isinstance(error, KeyboardInterrupt):
        if campaign_command.CHILD in os.environ:
            return 128 + signal.SIGINT, ""  # whoever started this process says so
        goes_on = getattr(options, "goes_on", False)
        return 128 + signal.SIGINT, summary.interrupted(fresh=options.fresh) if goes_on else "interrupted"
    if isinstance(error, TimeUp):
        return summary.Exit.INFRASTRUCTURE, f"time limit: {error}"
    if isinstance(error, OSError):
        try:
            _flush()
        except OSError:  # `vitbench list > /dev/full`
            _drop_output()
        folders = [Path(getattr(options, name)) for name in ("runs", "out", "recorded") if getattr(options, name, None)]
        return summary.Exit.INFRASTRUCTURE, summary.of_os_error(error, *folders)
    machines_fault = isinstance(error, DataAbsent | DataBroken | OutOfMemory)
    return summary.Exit.INFRASTRUCTURE if machines_fault else 2, str(error)


def _flush() -> None:
    if sys.stdout is not None:  # closed by the caller: `vitbench list >&-`
        sys.stdout.flush()


def _drop_output() -> None:
    """Let the interpreter's own flush at exit go nowhere, for it would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="vitbench", description="Paper tables as benchmarks. Training many cases: pytest benchmarks")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("list", help="ids of the cases, or names of models, terms and data sets")
    command.add_argument("what", nargs="?", default="cases", choices=["cases", "papers", *SINGULAR])
    add_selection(command)
    command.set_defaults(command=_list)

    command = commands.add_parser("claims", help="every printed number")
    command.add_argument("--csv", action="store_true", help="as comma-separated values, one number a line")
    command.set_defaults(command=_claims)

    command = commands.add_parser(
        "check", help="read all data files strictly; the first mistake is named by file and line"
    )
    command.add_argument("folder", nargs="?", help="folder of paper files (default: those that come along)")
    command.set_defaults(command=_check)

    _add_running(commands)
    campaign_command.add(commands)
    compare_command.add(commands)
    export_command.add(commands)
    leaderboard_command.add(commands)
    report_command.add(commands)
    transport.add(commands)

    command = commands.add_parser("doctor", help="what this machine has: versions, device, data sets found and missing")
    add_places(command)
    command.set_defaults(command=_doctor)
    return parser


def _add_running(commands: "Commands") -> None:
    command = commands.add_parser("run", help="run one case by its id, as `vitbench list` shows it")
    command.add_argument("id")
    add_selection(command)
    add_places(command)
    add_training(command)
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--fresh", action="store_true", help="begin anew: train again although there is a record")
    command.set_defaults(command=_run, goes_on=True)

    command = commands.add_parser("record", help="add the records of a runs directory to the baselines")
    add_selection(command)
    add_places(command)
    command.add_argument("--precision", choices=PRECISIONS, default="fp32", help="of the runs (default: fp32)")
    command.add_argument("--machine", required=True, help="name of the machine, chosen by you, such as h200 or cpu")
    command.add_argument("--device", metavar="NAME", help="where the records are of several, whose to take")
    command.add_argument("--reason", required=True, help="why; for the commit that takes them in")
    command.add_argument("--seeds", default="1", metavar="N", help="or auto, for all that it may have added")
    command.add_argument("--only", choices=recording.WHICH, default="all", help="what has another value, or none yet")
    command.add_argument("--recorded", help="folder that is written (default: baselines/recorded)")
    command.set_defaults(command=_record)


def _cases(session: Session) -> dict[str, Case]:
    return {case.id: case for case in session.options.selection.cases(session.papers.values())}


def _list(options: argparse.Namespace) -> int:
    if options.what == "papers":
        lines = [f"{paper.name}  {paper.authors}, {paper.year}: {paper.title}" for paper in papers.load_all()]
    elif options.what == "cases":
        lines = list(_cases(session_of(options)))
    else:
        brought, problems = leaves.brought(options.what)
        lines = leaves.known(options.what) + [f"{one.name}  {one} ({one.value})" for one in brought]
        for problem in problems:
            print(f"note: {problem}", file=sys.stderr)
    print("\n".join(lines))
    return 0


def _claims(options: argparse.Namespace) -> int:
    rows = list(papers.claims(papers.load_all()))
    if options.csv:
        writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        from tabulate import tabulate

        print(tabulate(rows, headers="keys", disable_numparse=True))
    return 0


def _check(options: argparse.Namespace) -> int:
    found = papers.load_all(None if options.folder is None else folder(options.folder, "the folder"))
    if not found:
        raise UserError(f"{options.folder} holds no paper file (*.toml); name a folder that does")
    recorded, problems = baselines.load_all(papers.data_folder() / "recorded")
    problems += [
        *kept.load(papers.data_folder() / "recorded").problems,
        *samples.load_all(papers.data_folder() / "recorded")[1],
    ]
    for problem in problems:
        print(problem)
    for paper in found:
        cases = list(paper.cases)
        printed = sum(len(table.printed) for table in paper.tables)
        counts = f"{len(paper.tables)} tables, {len(cases)} cases, {printed} printed numbers"
        print(f"{paper.path.name}: {counts}, {len(paper.conclusions)} conclusions")
    print(f"recorded: {len(recorded)} measurements")
    if options.folder is None:
        for line in inventory.of(found, recorded).lines():
            print(line)
    return 2 if problems else 0


def _run(options: argparse.Namespace) -> int:
    session = session_of(options)
    cases = _cases(session) | _cases(_all_rows(session))
    if options.id not in cases:
        raise unknown("case", options.id, cases)
    case = cases[options.id]
    require_gpu(options)
    session.tell = shown_progress()
    outcome = session.accuracy(case)
    for line in summary.lines([summary.payload(outcome, "run")]):
        print(line)
    for finding in outcome.findings:
        if finding.verdict not in (Verdict.STALE, Verdict.INVALID):  # which the lines above tell
            print(finding.line if finding.fails else finding)
    for problem in session.store.problems:
        print(f"note: {problem}", file=sys.stderr)
    return summary.exit_of(outcome.findings)


def _all_rows(session: Session) -> Session:
    selection = replace(session.options.selection, all_rows=True)
    return Session(replace(session.options, selection=selection))


def _record(options: argparse.Namespace) -> int:
    recording.check(options.machine, options.reason)
    session = session_of(options)
    lines = recording.record(
        session,
        list(_cases(session).values()),
        name=options.machine,
        reason=options.reason,
        out=recorded_folder(options),
        device=options.device,
        which=options.only,
    )
    for line in lines:
        print(line, file=sys.stderr if line.startswith("vitbench: ") else sys.stdout)
    return 0


def _doctor(options: argparse.Namespace) -> int:
    if options.data is not None and not options.data.strip():
        raise UserError("--data is empty; name a folder")
    data = Path(options.data) if options.data else None
    for line in doctor.lines(data, download=options.download):
        print(line)
    return 0
