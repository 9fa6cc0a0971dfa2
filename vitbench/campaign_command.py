"""The command `vitbench campaign`: what a campaign will do, its progress, its end, and several of them side by side."""

import argparse
import math
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vitbench import summary
from vitbench.arguments import Parser, add_places, add_selection, add_training, require_gpu, session_of, shown_progress
from vitbench.campaign import Campaign, Planned, chosen, plan
from vitbench.errors import UserError
from vitbench.forecast import forecast, shown
from vitbench.session import Session

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
    command.add_argument("--seeds", type=int, default=1, metavar="N", help="train each case with N seeds (default: 1)")
    command.add_argument("--jobs", type=int, default=1, metavar="N", help="runs side by side (default: 1)")
    command.add_argument("--dry-run", action="store_true", help="say what would be done, in order, and do nothing")
    command.add_argument("--child", action="store_true", help=argparse.SUPPRESS)  # of --jobs: leaves the end to it
    command.set_defaults(command=_campaign, goes_on=True, fresh=False)


def _campaign(options: argparse.Namespace) -> int:
    if options.jobs < 1:
        raise UserError(f"--jobs is a number of processes, at least 1, got {options.jobs}")
    require_gpu(options)
    session = session_of(options)
    cases = chosen(session.options.selection.cases(session.papers.values()), options.what)
    print(forecast(session, [case for _, case in cases]), flush=True)
    if options.dry_run:
        for number, one in enumerate(plan(session, cases), start=1):
            took = "" if one.seconds is None else f", about {shown(one.seconds)}"
            print(f"{number:4}  {one.case.id}, seed {one.identity.seed}{took}")
        return 0
    if options.jobs > 1:
        codes = _side_by_side(options, session)
        _report(session, plan(session, cases))
        # Below 0 is a signal: whoever sent it, such as the system for want of memory, it was not us.
        return max(summary.Exit.INFRASTRUCTURE if code < 0 else code for code in codes)
    session.tell = shown_progress()
    campaign = Campaign(session, cases, say=lambda line: print(line, flush=True))
    missing = campaign.work()
    for problem in dict.fromkeys(session.store.problems):
        print(f"vitbench: {problem}", file=sys.stderr)
    counts = Counter(campaign.tried.values())
    told = [f"{counts['done']} done", f"{counts['left']} left with what was trained so far"]
    told += [f"{counts['busy']} done by another process", f"{counts['lost']} lost"]
    told += [f"{counts['too big']} too big for the memory"]
    waiting = sum(one.identity.dataset in campaign.absent for one in missing)
    told += [f"{waiting} waiting for the data of {', '.join(sorted(campaign.absent))}"]
    told = [one for one in told if not one.startswith("0 ")]
    print(f"campaign: {', '.join(told) or 'nothing was done'}")
    if not options.child:
        _report(session, missing)
    idle = missing and not campaign.tried  # there was no time for anything
    machines_fault = campaign.absent or counts["too big"] or idle
    return summary.Exit.INFRASTRUCTURE if machines_fault else int(counts["lost"] > 0)


def _report(session: Session, missing: Sequence[Planned]) -> None:
    known = [one.seconds for one in missing if one.seconds is not None]
    about = f", at least about {shown(sum(known))}" if known else ""
    print(f"{len(missing)} runs are missing{about}" if missing else "no run is missing")
    print(f"report: {summary.write_report(session, session.options.runs / 'report')}")


def _side_by_side(options: argparse.Namespace, session: Session) -> list[int]:
    """The same campaign in several processes, which take turns by the locks of the runs."""
    command = [sys.executable, "-m", "vitbench", *options.arguments, "--jobs", "1", "--child"]
    if session.options.deadline != math.inf:
        command += ["--time-limit", f"{session.options.deadline - time.monotonic():.0f}s"]
    devices = _devices(session)
    processes = []
    for number in range(options.jobs):
        seen = {"CUDA_VISIBLE_DEVICES": devices[number % len(devices)]} if devices else {}
        processes.append(subprocess.Popen(command, env=os.environ | seen))
    try:
        return [process.wait() for process in processes]
    finally:
        for process in processes:
            process.terminate()


def _devices(session: Session) -> list[str]:
    """The cards that the caller lets us see, for one process after the other; none on a CPU."""
    if session.options.device == "cpu":
        return []
    if os.environ.get("CUDA_VISIBLE_DEVICES"):
        return os.environ["CUDA_VISIBLE_DEVICES"].split(",")
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]
