"""The command that ranks what was recorded: `vitbench leaderboard`."""

import argparse
import sys
from typing import TYPE_CHECKING

from vitbench import baselines, papers
from vitbench.arguments import Parser, recorded_folder
from vitbench.atomic import write_whole
from vitbench.case import Budget
from vitbench.errors import UserError, unknown
from vitbench.options import file

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[Parser]


def add(commands: "Commands") -> None:
    """Add it to the commands of the command line."""
    command = commands.add_parser(
        "leaderboard", help="what was recorded on a data set, in groups that can be told apart"
    )
    command.add_argument("--dataset", metavar="NAME", help="only this one")
    command.add_argument("--budget", choices=[one.value for one in Budget], help="only this one")
    command.add_argument("--max-params", type=float, metavar="M", help="only networks with so many million parameters")
    command.add_argument("--max-macs", type=float, metavar="G", help="only networks with so many G MACs an image")
    command.add_argument("--csv", action="store_true", help="as comma-separated values, in place of Markdown")
    command.add_argument("--out", metavar="FILE", help="file that is written; CSV if its name ends in .csv")
    command.add_argument("--recorded", help="folder of recorded baselines (default: those that come along)")
    command.set_defaults(command=_leaderboard)


def _leaderboard(options: argparse.Namespace) -> int:
    from vitbench.report import board_page, leaderboard, recorded

    for name in ("max_params", "max_macs"):
        most = getattr(options, name)
        if most is not None and not most > 0:
            raise UserError(f"--{name.replace('_', '-')}: expected a number above 0, got {most:g}")
    out = None if options.out is None else file(options.out, "--out")
    source = recorded_folder(options)
    measured, problems = baselines.load_all(source)
    for problem in problems:
        print(f"vitbench: {problem}", file=sys.stderr)
    if not measured and (problems or options.recorded):
        raise UserError(f"{source} holds no measurement that can be read; name a folder with <machine>/<paper>.csv")
    found = leaderboard.boards(recorded.material(papers.load_all(), measured, problems))
    datasets = sorted({board.dataset for board in found})
    if options.dataset is not None and options.dataset not in datasets:
        raise unknown("data set with a number", options.dataset, datasets, where="--dataset")
    chosen = leaderboard.chosen(
        found,
        dataset=options.dataset,
        budget=options.budget,
        max_params=options.max_params,
        max_macs=options.max_macs,
    )
    is_csv = options.csv or (out is not None and out.suffix == ".csv")
    text = board_page.comma_separated(chosen) if is_csv else board_page.page(chosen, links={}, only=_only(options))
    if out is None:
        print(text, end="")
    else:
        write_whole(out, text)
        print(out)
    return 0


def _only(options: argparse.Namespace) -> str:
    """What was asked for, in words."""
    words = {
        "dataset": f"the data set {options.dataset}",
        "budget": f"the {options.budget} budget",
        "max_params": f"networks of at most {options.max_params} M parameters",
        "max_macs": f"networks of at most {options.max_macs} G MACs",
    }
    return ", ".join(text for name, text in words.items() if getattr(options, name) is not None)
