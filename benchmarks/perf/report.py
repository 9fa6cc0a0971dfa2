"""Seconds that `vitbench report` takes: of recorded baselines, and of a runs directory.

Records are made up: real runs of the papers' own budget over seeds, with curves and correctness bits as long as real
ones. Everything is timed as a whole process, from its start to its end, the least and the median of some rounds after
one in which Python compiles its files; making the records takes longer than that. Before each round a fixed loop is
timed: its median over its least says how far other people's work on the machine slows everything down.

To be reached, else it exits with 1: 1,000 records in at most 3 s and 10,000 in at most 15 s, the least of the rounds,
without importing torch.

    python benchmarks/perf/report.py                  seven minutes on one core
    python benchmarks/perf/report.py --profile 1000   where the time goes
"""

import argparse
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

from vitbench import baselines, papers
from vitbench.case import Budget, Case
from vitbench.identity import Identity, of_run
from vitbench.records import Record, text_of
from vitbench.selection import Selection

GOALS = {1_000: 3.0, 10_000: 15.0}
ROUNDS = {1_000: 20, 10_000: 3}
EPOCHS = 100
IMAGES = 10_000
PROVENANCE = {
    "seconds": 3600.0,
    "threads": 1,
    "precision": "fp32",
    "engine": "graph",
    "commit": "0123456789ab",
    "command": "pytest benchmarks --budget paper",
    "versions": {"torch": "2.14.1"},
    "date": "2026-11-27T00:00:00+00:00",
    "device": "a card",
}
RECORDED = "from vitbench.cli import main; main(['report', '--recorded', {source!r}, '--out', {out!r}])"
RUNS = (
    "from vitbench.cli import main; "
    "main(['report', {source!r}, '--budget', 'paper', '--seeds', '{seeds}', '--out', {out!r}])"
)
CHECK = "\nimport sys\nassert 'torch' not in sys.modules, 'torch was imported'\n"
PROFILED = "import cProfile, pstats\nprofile = cProfile.Profile()\nprofile.enable()\n{}\nprofile.disable()\n"
SHOWN = "pstats.Stats(profile).sort_stats('cumulative').print_stats(45)\n"


def made(number: int) -> Iterator[tuple[Case, Identity, Record]]:
    """So many records, each of another run, all cases of a seed before the next one."""
    cases: dict[str, tuple[Case, Identity]] = {}
    for case in Selection(budget=Budget.PAPER).cases(papers.load_all()):
        for one in case.needed(Budget.PAPER):
            first = of_run(one, budget=Budget.PAPER)
            cases.setdefault(first.key, (one, first))
    draw = random.Random(0)
    all_seeds = ((case, first.under(seed)) for seed in count() for case, first in cases.values())
    for case, identity in islice(all_seeds, number):
        yield case, identity, _record(identity, draw)


def _record(identity: Identity, draw: random.Random) -> Record:
    accuracy = draw.uniform(40.0, 90.0)
    drop = draw.uniform(10.0, 30.0)
    curves = [{"epoch": one, "loss": 2.3 / one, "accuracy": accuracy * one / EPOCHS} for one in range(1, EPOCHS + 1)]
    bits = f"{IMAGES}:{'A' * (4 * IMAGES // 24)}=="
    measurements = {"accuracy": accuracy, "best_accuracy": accuracy, "epoch_of_best": 100.0, "loss": 0.5}
    measurements |= {"adversarial_accuracy": accuracy - drop, "fgsm_drop": drop, "train_seconds": 3600.0}
    if identity.kind == "pretraining":
        measurements, curves = {"loss": 0.5, "train_seconds": 3600.0}, [{"loss": 2.3 / one["epoch"]} for one in curves]
    return Record(
        kind=identity.kind,
        key=identity.key,
        identity=identity.content(),
        measurements=measurements,
        details={"test_images": IMAGES, "curves": curves, "correct": {"clean": bits, "attacked": bits}},
        provenance=PROVENANCE,
    )


def fill(number: int, folder: Path) -> int:
    """Write so many records as baselines and as a runs directory; returns how many seeds they are of."""
    rows: dict[str, list[baselines.Measurement]] = {}
    seeds = 0
    for case, identity, record in made(number):
        rows.setdefault(case.paper, []).extend(baselines.measurements(case, record, machine="card"))
        path = folder / "runs" / "runs" / identity.name / "record.json"
        path.parent.mkdir(parents=True)
        path.write_text(text_of(record), encoding="utf-8")
        seeds = max(seeds, identity.seed + 1)
    for measured in rows.values():
        baselines.save(folder / "recorded", measured)
    return seeds


def seconds(code: str, compiled: Path) -> tuple[float, float]:
    """Wall-clock and processor seconds of a process that runs the code, and imports no torch.

    Args:
        compiled: folder where Python keeps what it compiles, for a shell may tell it to keep none.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(compiled)
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code + CHECK], check=True, stdout=subprocess.DEVNULL, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - started, spent


def yardstick() -> float:
    """Seconds of a fixed loop."""
    started = time.perf_counter()
    sum(number % 7 for number in range(300_000))
    return time.perf_counter() - started


def main() -> None:
    """Print seconds beside the goals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", type=int, metavar="N", help="show where the time of N records goes, and stop")
    options = parser.parse_args()
    missed = False
    for number, goal in {options.profile: 0.0}.items() if options.profile else GOALS.items():
        with tempfile.TemporaryDirectory() as folder:
            seeds = fill(number, Path(folder))
            sides = {
                "recorded baselines": RECORDED.format(source=f"{folder}/recorded", out=f"{folder}/one"),
                "a runs directory": RUNS.format(source=f"{folder}/runs", out=f"{folder}/two", seeds=seeds),
            }
            for name, code in sides.items():
                if options.profile:
                    subprocess.run([sys.executable, "-c", PROFILED.format(code) + SHOWN], check=True)
                    continue
                seconds(code, Path(folder) / "compiled")
                found = [(yardstick(), *seconds(code, Path(folder) / "compiled")) for _ in range(ROUNDS[number])]
                loops, rounds, processor = map(list, zip(*found, strict=True))
                missed |= min(rounds) > goal
                shown = f"{min(rounds):6.2f} s ({statistics.median(rounds):.2f}), at most {goal:g}"
                shown += f"; {min(processor):.2f} on the processor; a fixed loop took "
                shown += f"{statistics.median(loops) / min(loops):.2f} of its least; load {os.getloadavg()[0]:.1f}"
                print(f"{number:6} records, {name:18}  {shown}", flush=True)
    sys.exit(int(missed))


if __name__ == "__main__":
    main()
