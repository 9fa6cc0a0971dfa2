"""The command `vitbench campaign`: what a campaign will do, its progress, its end, and several of them side by side."""

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vitbench import summary
from vitbench.arguments import Parser, add_places, add_selection, add_training, require_gpu, session_of, shown_progress
from vitbench.campaign import Campaign, Planned, chosen, plan
from vitbench.case import Case
from vitbench.errors import DataAbsent, UserError
from vitbench.forecast import forecast, shown
from vitbench.session import Session
from vitbench.shard import parse

# Set for a process that --jobs starts: the seconds that it has. Beginning and end are told by the one that started it.
CHILD = "VITBENCH_CAMPAIGN"

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[Parser]


def add(commands: "Commands") -> None:
    """Add it to the commands of the command line."""
    command = commands.add_parser("campaign", help="do the missing runs of many cases in order of worth")
    command.add_argument(
        "what", nargs="+", metavar="PAPER", help="or a part: floros2024/4.1/vit, 'floros2024/*/cifar10'"
    )
    add_selection(command)
    add_places(command)
    add_training(command)
    text = "train each case with N seeds (default: 1); auto, or auto:CAP, until the sign of its gain is known"
    command.add_argument("--seeds", default="1", metavar="N", help=text)
    command.add_argument("--jobs", type=int, default=1, metavar="N", help="runs side by side (default: 1)")
    command.add_argument("--shard", metavar="I/N", help="the part I of N of these, for machines that share")
    command.add_argument("--dry-run", action="store_true", help="say what would be done, in order, and do nothing")
    command.set_defaults(command=_campaign, goes_on=True, fresh=False)


def _campaign(options: argparse.Namespace) -> int:
    if options.jobs < 1:
        raise UserError(f"--jobs is a number of processes, at least 1, got {options.jobs}")
    shard = None if options.shard is None else parse(options.shard)
    require_gpu(options)
    session = session_of(options)
    cases = chosen(session.options.selection.cases(session.papers.values()), options.what)
    if shard is not None:
        mine = shard.trained([case for _, case in cases], session.options.budget)
        cases = [(place, case) for place, case in cases if case.id in mine]
    if CHILD in os.environ:
        _end_with_parent()
        session.options = replace(session.options, deadline=time.monotonic() + float(os.environ[CHILD]))
        return _work(session, cases)
    _check_report(session)
    if session.options.download and not options.dry_run:
        for _, case in cases:
            with suppress(DataAbsent):  # its run says so
                session.fetch(case)
    print(forecast(session, [case for _, case in cases]), flush=True)
    if options.dry_run:
        _show(plan(session, cases), session)
        return 0
    jobs = min(options.jobs, len(plan(session, cases)))
    code = _side_by_side(options.arguments, session, jobs) if jobs > 1 else _work(session, cases)
    missing = plan(session, cases)
    known = [one.seconds for one in missing if one.seconds is not None]
    about = f"; they take at least about {shown(sum(known))}" if known else ""
    print(f"runs that are missing: {len(missing)}{about}")
    print(f"report: {summary.write_report(session, _report_folder(session))}")
    return code


def _report_folder(session: Session) -> Path:
    return session.options.runs / "report"


def _check_report(session: Session) -> None:
    """Refuse what would only come up after hours of training."""
    if _report_folder(session).exists():
        from vitbench.report import pages

        pages.check(_report_folder(session))


def _show(planned: Sequence[Planned], session: Session) -> None:
    for number, one in enumerate(planned, start=1):
        took = "" if one.seconds is None else f", about {shown(one.seconds)}"
        print(f"{number:4}  {one.case.id}, seed {one.identity.seed}{took}")
    _tell_problems(session)


def _work(session: Session, cases: Sequence[tuple[int, Case]]) -> int:
    """Do the campaign in this process; returns the exit code."""
    session.tell = shown_progress()
    campaign = Campaign(session, cases, say=lambda line: print(line, flush=True))
    missing = campaign.work()
    _tell_problems(session)
    counts = Counter(campaign.tried.values())
    waiting = sum(one.identity.dataset in campaign.absent for one in missing)
    told = {
        "done": counts["done"],
        "left with what was trained so far": counts["left"],
        "under way in another process": counts["busy"],
        "lost": counts["lost"],
        "too big for the memory": counts["too big"],
        f"waiting for the data of {', '.join(sorted(campaign.absent))}": waiting,
    }
    print("campaign: " + (", ".join(f"{count} {what}" for what, count in told.items() if count) or "nothing was done"))
    idle = missing and not campaign.tried  # there was no time for anything
    machines_fault = campaign.absent or counts["too big"] or idle
    return summary.Exit.INFRASTRUCTURE if machines_fault else int(counts["lost"] > 0)


def _tell_problems(session: Session) -> None:
    for problem in dict.fromkeys(session.store.problems):
        print(f"vitbench: {problem}", file=sys.stderr)


def _side_by_side(arguments: Sequence[str], session: Session, jobs: int) -> int:
    """The same campaign in several processes, which take turns by the locks of the runs."""
    command = [sys.executable, "-m", "vitbench", *arguments]
    devices = _devices(session)
    processes: list[subprocess.Popen[bytes]] = []
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        for number in range(jobs):
            seen = {"CUDA_VISIBLE_DEVICES": devices[number % len(devices)]} if devices else {}
            seen[CHILD] = str(session.options.deadline - time.monotonic())
            processes.append(subprocess.Popen(command, env=os.environ | seen, stdin=subprocess.PIPE))
        codes = [process.wait() for process in processes]
    finally:
        signal.signal(signal.SIGTERM, before)
        for process in processes:
            process.terminate()
    for code in codes:
        if code < 0:
            reason = f"one of {jobs} processes was ended by signal {-code}, perhaps for want of memory"
            print(f"vitbench: {reason}; the same command goes on", file=sys.stderr)
    return max(summary.Exit.INFRASTRUCTURE if code < 0 else code for code in codes)


def _end_with_parent() -> None:
    """Stop when the campaign that started this process is gone; what was saved last is gone on with."""

    def wait() -> None:
        os.read(0, 1)  # returns when the other end is closed
        os.kill(os.getpid(), signal.SIGTERM)  # SIGINT is ignored in what a shell runs in the background

    threading.Thread(target=wait, daemon=True).start()


def _devices(session: Session) -> list[str]:
    """The cards that the caller lets us see, for one process after the other; none on a CPU."""
    if session.options.device == "cpu":
        return []
    if os.environ.get("CUDA_VISIBLE_DEVICES"):
        return os.environ["CUDA_VISIBLE_DEVICES"].split(",")
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]
