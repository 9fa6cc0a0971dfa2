"""Kills at random moments: of quick runs, and of everything that writes records, checkpoints, baselines and reports.

A process that has torch loaded forks a child for each attempt and kills it (SIGKILL). Runs of three epochs with a
checkpoint after each are killed and gone on with until they are finished, and compared with uninterrupted ones to the
bit; writers write as fast as they can. All draws are of one seed; where a kill lands depends on the machine.

To be reached, else it exits with 1: at least 200 kills, some of them within a write; after none of them is anything
missing that was written before (lost), does anything hold half of something (halved), or does a temporary file stay
once somebody else writes there (left behind); every finished run equals the uninterrupted one (unequal).

    python benchmarks/perf/kills.py > out.md      some minutes on one core
"""

import argparse
import mmap
import os
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vitbench import baselines, checkpoints, identity, papers, run
from vitbench.atomic import LEFTOVERS
from vitbench.baselines import Measurement
from vitbench.case import Budget
from vitbench.checkpoints import Checkpoints
from vitbench.identity import Identity
from vitbench.metrics import METRICS
from vitbench.records import Record, Store
from vitbench.report import pages
from vitbench.report.results import Results
from vitbench.selection import Selection

EPOCHS = 3
GOAL = 200  # kills
BEFORE, BETWEEN, WITHIN, AFTER = "before the first write", "between two writes", "within a write", "after the last one"
PLACES = (BEFORE, BETWEEN, WITHIN, AFTER)
WRONGS = ("lost", "halved", "unequal", "left behind")


@dataclass
class Tally:
    """What the kills of one kind did."""

    name: str
    places: Counter[str] = field(default_factory=Counter)
    finished: int = 0
    wrongs: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in WRONGS})

    @property
    def kills(self) -> int:
        return self.places.total()

    def row(self) -> list[str]:
        places = [str(self.places[name]) for name in PLACES]
        return [self.name, str(self.kills), *places, *(str(len(self.wrongs[name])) for name in WRONGS)]


def killed(work: Callable[[], object], seconds: float) -> bool:
    """Do it in a child that is killed after so long; whether it was, or else had come to its end."""
    child = os.fork()
    if not child:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    until = time.monotonic() + seconds
    while time.monotonic() < until and not os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)  # of one that has ended it does nothing
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status not in (0, -signal.SIGKILL):
        raise RuntimeError(f"a child ended with exit code {status}")
    return status != 0


def leftovers(folder: Path) -> list[Path]:
    """Temporary files."""
    return [path for pattern in LEFTOVERS for path in folder.rglob(pattern)]


# Runs


def runs_of(seeds: int) -> Iterator[Identity]:
    """The suite's plain and its fullest ViT on the digits, shortened."""
    chosen = [one for one in Selection().cases(papers.load_all()) if (one.table, one.model.name) == ("4.6", "vit")]
    plain, *_, full = sorted(chosen, key=lambda one: len(one.objective.names))
    for seed in range(seeds):
        one = identity.of_run((plain, full)[seed % 2], budget=Budget.QUICK, seed=seed)
        yield replace(one, phases=(replace(one.phases[0], epochs=EPOCHS),))


def execute(one: Identity, root: Path) -> None:
    """Do a run, or go on with it, with a checkpoint after each epoch."""
    checkpoints.CHECKPOINT_SECONDS, checkpoints.SAVING_SHARE = 0.0, float("inf")
    run.execute(one, run.Setting(store=Store(root)))


def result(one: Identity, root: Path) -> dict[str, Any]:
    """All that a finished run left, but its times."""
    store = Store(root)
    record = store.read(one)
    if record is None:
        raise ValueError(f"{one.name} has no record: {store.problems}")
    curves = [{**curve, "seconds": 0} for curve in record.details["curves"]]
    return {
        "measurements": {name: value for name, value in record.measurements.items() if METRICS[name].portable},
        "correct": record.details["correct"],
        "curves": curves,
        "weights": (store.folder(one) / run.WEIGHTS).read_bytes(),
    }


def epoch_of(one: Identity, root: Path) -> tuple[int, list[str]]:
    """How far a run is: epochs that are saved, one more with a record; and what was said of files set aside."""
    store = Store(root)
    if store.read(one) is not None:
        return EPOCHS + 1, store.problems
    content = Checkpoints(store.folder(one), one.key, problems=store.problems).load()
    return (content["epoch"] if content else 0), store.problems


def kill_runs(folder: Path, count: int, draw: np.random.Generator, *, seeds: int = 2) -> Tally:
    """Kill runs until there were so many kills and the last run is finished."""
    tally, chosen = Tally(f"runs of {EPOCHS} epochs"), list(runs_of(seeds))
    wanted, seconds = {}, {}
    for one in chosen:
        started = time.monotonic()
        if killed(lambda one=one: execute(one, folder / "whole"), 600):
            raise RuntimeError("an uninterrupted run took ten minutes")
        wanted[one.key], seconds[one.key] = result(one, folder / "whole"), time.monotonic() - started
    while tally.kills < count:
        one = chosen[tally.finished % seeds]
        root = folder / f"killed-{tally.finished // seeds}"  # the finished runs of a round lie beside this one
        kill_run(one, root, draw, seconds[one.key], tally)
        tally.finished += 1
        found = result(one, root)
        tally.wrongs["unequal"] += [f"{one.name}: {name}" for name in found if found[name] != wanted[one.key][name]]
    return tally


def kill_run(one: Identity, root: Path, draw: np.random.Generator, seconds: float, tally: Tally) -> None:
    """Kill a run again and again, and go on with it, until an attempt comes to its end."""
    before, others = 0, {path: path.read_bytes() for path in root.glob("runs/*/record.json")}
    while killed(lambda: execute(one, root), draw.uniform(0, seconds)):
        torn = leftovers(root)
        now, problems = epoch_of(one, root)
        place = (BEFORE if now == 0 else AFTER if now > EPOCHS else BETWEEN) if not torn else WITHIN
        tally.places[place] += 1
        tally.wrongs["halved"] += problems
        tally.wrongs["lost"] += [f"{one.name}: was at {before}, is at {now}"] if now < before else []
        lost = [str(path) for path, content in others.items() if not path.exists() or path.read_bytes() != content]
        tally.wrongs["lost"] += lost
        with Store(root).lock(one, wait=False):
            tally.wrongs["left behind"] += map(str, leftovers(root))
        before = now


# Writers


class Writer:
    """Writes one item after the other, in generations that count up; some are written before it is killed first.

    Attributes:
        items: how many there are; a generation is of the item that is its rest.
    """

    name = ""
    items = 1

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, generation: int) -> None:
        """Replace an item."""

    def found(self) -> tuple[dict[int, int], list[str]]:
        """Generation of each item that is there, and what is only half there."""
        return {}, []

    def tidy(self) -> None:
        """What another writer does first, after which nothing unfinished lies there."""

    def allowed(self, item: int, last: int) -> set[int]:
        """Generations that an item may be of after the last one that was written whole."""
        latest = last - (last - item) % self.items
        return {latest} | ({last + 1} if (last + 1) % self.items == item else set())


class Recorder(Writer):
    """`Store.write`, records of 200 epochs."""

    name, items = "Store.write", 8

    @cached_property
    def runs(self) -> list[Identity]:
        one = next(runs_of(1))
        return [replace(one, seed=seed) for seed in range(self.items)]

    def write(self, generation: int) -> None:
        one = self.runs[generation % self.items]
        curves = [{"epoch": generation, "loss": epoch / 7} for epoch in range(200)]
        provenance = dict.fromkeys(("date", "device", "precision", "engine", "commit"), "")
        made = Record(
            kind="run",
            key=one.key,
            identity=one.content(),
            measurements={"loss": float(generation)},
            details={"test_images": 360, "curves": curves},
            provenance=provenance | {"seconds": 1, "versions": {"torch": ""}},
        )
        with Store(self.folder).lock(one, wait=False):
            Store(self.folder).write(one, made)

    def found(self) -> tuple[dict[int, int], list[str]]:
        store = Store(self.folder)
        read = {item: store.read(one) for item, one in enumerate(self.runs)}
        whole = {item: int(one.measurements["loss"]) for item, one in read.items() if one is not None}
        return whole, store.problems

    def tidy(self) -> None:
        for one in self.runs:
            with Store(self.folder).lock(one, wait=False):
                pass


class Saver(Writer):
    """`Checkpoints.save`, checkpoints of some 2 MB."""

    name = "Checkpoints.save"

    @cached_property
    def run(self) -> Identity:
        return next(runs_of(1))

    def _checkpoints(self, problems: list[str]) -> Checkpoints:
        return Checkpoints(Store(self.folder).folder(self.run), self.run.key, problems=problems)

    def write(self, generation: int) -> None:
        weights = {"weights": torch.full((500_000,), float(generation))}
        content = {"phase": 0, "epoch": generation, "curves": [], "trained": weights, "optimizer": {}}
        with Store(self.folder).lock(self.run, wait=False):
            self._checkpoints([]).save(lambda: content, now=True)

    def found(self) -> tuple[dict[int, int], list[str]]:
        problems: list[str] = []
        content = self._checkpoints(problems).load()
        if content is None:
            return {}, problems
        if not (content["trained"]["weights"] == content["epoch"]).all():
            problems.append(f"the weights are not those of {content['epoch']}")
        return {0: content["epoch"]}, problems

    def tidy(self) -> None:
        with Store(self.folder).lock(self.run, wait=False):
            pass


class Baseliner(Writer):
    """`baselines.save`, one line into a file of 500."""

    name, items = "baselines.save", 8

    def write(self, generation: int) -> None:
        blank = dict.fromkeys(("key", "device", "precision", "engine", "torch", "commit"), "")
        cell = {"paper": "mine", "model": "vit", "objective": "ce", "dataset": "digits", "recipe": "r"}
        many = range(500) if generation < self.items else [generation % self.items]
        new = [
            Measurement(
                **blank,
                **cell,
                budget="paper",
                metric="loss",
                seed=str(seed),
                value=float(generation if seed < self.items else seed),
                machine="here",
                date="2026-11-02",
            )
            for seed in many
            if seed >= self.items or seed == generation % self.items
        ]
        baselines.save(self.folder, new)

    def found(self) -> tuple[dict[int, int], list[str]]:
        read, problems = baselines.load_all(self.folder)
        whole = {int(one.seed): int(one.value) for one in read}
        kept = [seed for seed in range(self.items, 500) if whole.get(seed) != seed]
        return {seed: one for seed, one in whole.items() if seed < self.items}, problems + [
            f"no {seed}" for seed in kept
        ]

    def tidy(self) -> None:
        with baselines.writing(self.folder):
            pass


class Reporter(Writer):
    """`pages.write`, the report of a paper."""

    name = "report.pages.write"

    def write(self, generation: int) -> None:
        pages.write(self.folder, self._material(generation % 2))

    @cached_property
    def papers(self) -> list[papers.Paper]:
        return [paper for paper in papers.load_all() if paper.name == "detkov2022"]

    def _material(self, generation: int) -> pages.Material:
        return pages.Material(papers=self.papers, results=Results([]), cases={}, problems=[f"generation {generation}"])

    @cached_property
    def _whole(self) -> list[dict[str, bytes]]:
        both = []
        for generation in range(2):
            with tempfile.TemporaryDirectory() as folder:
                files = pages.write(Path(folder), self._material(generation))
                both.append({str(path.relative_to(folder)): path.read_bytes() for path in files})
        return both

    def found(self) -> tuple[dict[int, int], list[str]]:
        read = {name: self.folder / name for name in self._whole[0]}
        absent = [name for name, path in read.items() if not path.exists()]
        here = {name: path.read_bytes() for name, path in read.items() if name not in absent}
        torn = [name for name, content in here.items() if content not in [one[name] for one in self._whole]]
        return ({} if absent else {0: 0}), torn

    def allowed(self, item: int, last: int) -> set[int]:
        return {0}  # a page may be of the last one or of the one that was being written

    def tidy(self) -> None:
        past = time.time() - pages.ABANDONED
        for path in leftovers(self.folder):
            os.utime(path, (past, past))
        pages.write(self.folder, self._material(0))


def kill_writer(writer: Writer, count: int, draw: np.random.Generator) -> Tally:
    """Kill it so many times, while it writes as fast as it can."""
    tally, last = Tally(writer.name), mmap.mmap(-1, 8)  # shared with the children: the last one written whole

    def work() -> None:
        while True:
            generation = 1 + int(struct.unpack("q", last[:])[0])
            writer.write(generation)
            last[:] = struct.pack("q", generation)

    for generation in range(writer.items):
        writer.write(generation)
        last[:] = struct.pack("q", generation)
    while tally.kills < count and not any(tally.wrongs.values()):  # after a mistake each kill would find it again
        killed(work, draw.uniform(0.0, 0.2))
        tally.places[WITHIN if leftovers(writer.folder) else BETWEEN] += 1
        found, tally.wrongs["halved"] = writer.found()
        for item in range(writer.items):
            allowed = writer.allowed(item, *struct.unpack("q", last[:]))
            if found.get(item) not in allowed:
                tally.wrongs["lost"].append(f"{writer.name}: item {item} is {found.get(item)}, not of {allowed}")
        writer.tidy()
        tally.wrongs["left behind"] += map(str, leftovers(writer.folder))
    return tally


WRITERS: tuple[type[Writer], ...] = (Recorder, Saver, Baseliner, Reporter)


def page(tallies: Sequence[Tally], least: int) -> tuple[str, bool]:
    """The table, what went wrong, and whether every goal holds."""
    columns = ["killed", "kills", *PLACES, *WRONGS]
    lines = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    lines += [f"| {' | '.join(one.row())} |" for one in tallies]
    kills, within = (
        sum(numbers) for numbers in zip(*((one.kills, one.places[WITHIN]) for one in tallies), strict=True)
    )
    finished = sum(one.finished for one in tallies)
    goals = {f"{kills} kills, at least {least}": kills >= least, f"{within} of them within a write": within > 0}
    for name in WRONGS:
        wrong = [line for one in tallies for line in one.wrongs[name]]
        goals[f"{name}: {len(wrong)}" + (f" of {finished} finished runs" if name == "unequal" else "")] = not wrong
        lines += [f"    {name}: {line}" for line in wrong[:10]]
    lines += ["", *(f"- {'holds' if holds else 'MISSED'}: {goal}" for goal, holds in goals.items())]
    return "\n".join(lines), all(goals.values())


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill, print; 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=60, metavar="N", help="kills of runs (default: 60)")
    parser.add_argument("--writers", type=int, default=50, metavar="N", help="kills of each writer (default: 50)")
    parser.add_argument("--least", type=int, default=GOAL, metavar="N", help=f"kills to be reached (default: {GOAL})")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    draw, started = np.random.default_rng(options.seed), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        tallies = [kill_runs(Path(folder) / "runs", options.runs, draw)] if options.runs else []
        for kind in WRITERS:
            tallies.append(kill_writer(kind(Path(folder) / kind.name), options.writers, draw))
    text, holds = page(tallies, options.least)
    print(text)
    print(f"\n{time.monotonic() - started:.0f} s")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
