"""What is kept of trainings beside their measurements, because reports draw it: curves and pictures.

Only of tables that print curves, and of pre-trainings and what follows them; each with the baseline that it is compared
with. See `docs/decisions/0017-figures.md`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vitbench import baselines, curves, pictures
from vitbench.baselines import ANY, Measurement, cell_of
from vitbench.case import Budget, Case
from vitbench.curves import Curve, Run
from vitbench.pictures import Pictures
from vitbench.records import Record


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What is known of how trainings went.

    Attributes:
        pictures: per run, by epoch.
        problems: one line for each file that could not be used.
    """

    curves: dict[Run, Curve] = field(default_factory=dict)
    pictures: dict[Run, dict[int, Pictures]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def take(self, record: Record, folder: Path, *, machine: str) -> None:
        """Take what a run left.

        Args:
            folder: of the run.
            machine: name of the machine, as in the measurements of the record.
        """
        run = (machine, record.key[:12])
        found, problems = pictures.of_run(folder)
        try:
            curve = curves.of_record(record)
        except ValueError as error:
            problems.append(f"{folder / 'record.json'}: its curve is left out, {error}")
            curve = None
        self.curves.update({run: curve} if curve else {})
        self.pictures.update({run: found} if found else {})
        self.problems.extend(one for one in problems if one not in self.problems)  # several cases share a run


def pretrained(cases: Iterable[Case]) -> Iterator[Case]:
    """The cases whose recipes begin with a pre-training."""
    return (case for case in cases if case.recipe.pretraining is not None)


def drawn(cases: Iterable[Case]) -> Iterator[Case]:
    """The cases whose trainings a report draws: of tables that print curves, and of pre-trained networks."""
    return (case for case in cases if case.curves or case.recipe.pretraining is not None)


def cells(cases: Iterable[Case], budget: Budget) -> set[tuple[str, ...]]:
    """Cells of whose trainings curves and pictures are kept, without the metric at their end."""
    return {cell_of(one, budget, "loss")[:-1] for case in drawn(cases) for one in case.needed(budget)}


def load(folder: Path) -> Kept:
    """What is kept beside the baselines in `folder`."""
    known, problems = curves.load_all(folder)
    seen, more = pictures.load_all(folder)
    return Kept(curves=known, pictures=seen, problems=problems + more)


def save(folder: Path, new: Kept, measured: Sequence[Measurement]) -> list[Path]:
    """Keep what belongs to measurements that were just saved in `folder`; returns the files that were written.

    Pictures are kept of the first seed of a cell, which is the one that a report shows.

    Args:
        new: what the runs left, by the names of the machines of `measured`.

    Raises:
        UserError: if an existing file cannot be read, which saving would lose.
    """
    with baselines.writing(folder):
        return _saved(folder, new, measured)


def _saved(folder: Path, new: Kept, measured: Sequence[Measurement]) -> list[Path]:
    there, _ = baselines.load_all(folder)
    written: list[Path] = []
    made = {(one.key, one.date) for one in measured}
    for machine, paper in sorted({(one.machine, one.paper) for one in measured if one.machine != ANY}):
        own = [one for one in there if (one.machine, one.paper) == (machine, paper)]
        saved = {one.key for one in own if (one.key, one.date) in made}  # and not outdone by a later record
        having = [one for one in own if (machine, one.key) in new.pictures]
        first = {one.cell[:-1]: one.key for one in sorted(having, key=_last_seed_first)}
        known = {key: new.curves[machine, key] for key in saved if (machine, key) in new.curves}
        seen = {key: new.pictures[machine, key] for key in saved & {*first.values()}}
        path = curves.save(folder, machine, paper, known, of=[one.key for one in own])
        written += [path] if path else []
        written += pictures.save(folder, machine, paper, seen, of=[one.key for one in own])
    return written


def _last_seed_first(one: Measurement) -> int:
    return -int(one.seed) if one.seed.isdecimal() else 0
