"""Which figures a paper's report has: how its pre-trainings went, and what they were good for."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from vitbench.case import Budget, Case
from vitbench.curves import Run
from vitbench.kept import Kept, pretrained
from vitbench.papers import Paper
from vitbench.pictures import Pictures
from vitbench.report import figures
from vitbench.report.figures import Line
from vitbench.report.results import Results

Key = TypeVar("Key")
Runs = tuple[tuple[str, Run], ...]  # by their seeds


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A figure that is drawn when it is written.

    Attributes:
        name: of its file.
        alt: what it shows, for whoever cannot see it.
        caption: one line below it.
    """

    name: str
    alt: str
    caption: str
    make: Callable[[], figures.Drawn]

    def content(self) -> bytes:
        """Of its file."""
        return figures.encoded(self.make(), self.name.rpartition(".")[2])


def drawings(paper: Paper, cases: Mapping[Budget, Sequence[Case]], results: Results, kept: Kept) -> Iterator[Drawing]:
    """The figures of a paper, as far as there is something to draw."""
    if not kept.curves and not kept.pictures:
        return
    for budget, of_budget in cases.items():
        own = [case for case in pretrained(of_budget) if case.paper == paper.name]
        view = _View(f"{paper.name}-{budget}", budget, results, kept)
        yield from view.pretrainings(own)
        yield from view.trainings(own)


@dataclass(frozen=True)
class _View:
    """The figures of one paper under one budget."""

    prefix: str
    budget: Budget
    results: Results
    kept: Kept

    def pretrainings(self, cases: Iterable[Case]) -> Iterator[Drawing]:
        """Their losses, then the pictures of each."""
        found: dict[Runs, list[Case]] = {}
        for case in cases:
            before = case.before(self.budget)
            if before and (runs := self._runs(before)):
                found.setdefault(runs, []).append(before)
        titled = _titled(found)
        lines = [line for title, (runs, _) in titled.items() if (line := self._line(title, runs))]
        if lines:
            ends = "; ".join(f"{line.label} ends at {line.end('losses'):.4g}" for line in lines)
            yield Drawing(
                name=f"{self.prefix}-pretraining.svg",
                alt=f"Training loss of the pre-training over its epochs: {ends}.",
                caption=f"Loss of the pre-training, {self.budget} budget: of each epoch the mean over its steps.",
                make=lambda: figures.losses(lines),
            )
        for title, (runs, one) in titled.items():
            seen = [(seed, self.kept.pictures[run]) for seed, run in runs if run in self.kept.pictures]
            if seen:
                yield from self._pictures(title, one, *seen[0])

    def _pictures(self, title: str, case: Case, seed: str, by_epoch: Mapping[int, Pictures]) -> Iterator[Drawing]:
        last = max(by_epoch)
        shown = by_epoch[last].few()
        name = re.sub(r"[^\w.+-]", ".", f"{self.prefix}-{case.recipe.name}-{case.model.name}-{case.dataset}")
        what = f"pre-training of {title}, {self.budget} budget, seed {seed}"
        yield Drawing(
            name=f"{name}-restored.png",
            alt=f"{len(shown.original)} test images, each as it is, masked, and restored after epoch {last}.",
            caption=f"Test images, masked and restored after epoch {last}: {what}.",
            make=lambda: figures.triplets(shown),
        )
        if len(by_epoch) > 1:
            yield Drawing(
                name=f"{name}-evolution.png",
                alt=f"Test images, masked, and restored after epochs {min(by_epoch)} to {last}, a row each.",
                caption=f"The same images over the epochs: {what}.",
                make=lambda: figures.evolution(by_epoch),
            )

    def trainings(self, cases: Iterable[Case]) -> Iterator[Drawing]:
        """Accuracy and loss of the fine-tunings, each beside the same network from scratch."""
        found: dict[tuple[Runs, Runs], list[Case]] = {}
        for case in cases:
            found.setdefault((self._runs(case), self._runs(case.baseline)), []).append(case)
        rows: dict[str, list[Line]] = {}
        for title, ((after, plain), case) in _titled(found).items():
            pair = (self._line("pre-trained", after, case), self._line("from scratch", plain, case.baseline))
            if lines := [line for line in pair if line and all(curve.accuracies for curve in line.curves)]:
                rows[title] = lines
        if rows:
            ends = "; ".join(
                f"{title}, {line.label}, ends at {line.end('accuracies'):.2f} %"
                for title, lines in rows.items()
                for line in lines
            )
            yield Drawing(
                name=f"{self.prefix}-training.svg",
                alt=f"Test accuracy and training loss over the epochs: {ends}.",
                caption=f"Fine-tuned after the pre-training, and trained from scratch, {self.budget} budget.",
                make=lambda: figures.trainings(rows),
            )

    def _runs(self, case: Case) -> Runs:
        """The runs that a case's numbers are of, by seed."""
        found = self.results.of(case, self.budget, "loss")
        return tuple((seed, (one.machine, one.key)) for seed, one in sorted(found.items()))

    def _line(self, label: str, runs: Runs, case: Case | None = None) -> Line | None:
        """Those of the runs that have a curve, and what is printed for the case, under the paper's own budget."""
        known = [self.kept.curves[run] for _, run in runs if run in self.kept.curves]
        claim = case.claim("accuracy") if case is not None and self.budget == Budget.PAPER else None
        line = Line(label=label, curves=known, printed=claim.value if claim else None)
        return line if known and line.mean("losses")[0] else None


def _titled(found: Mapping[Key, Sequence[Case]]) -> dict[str, tuple[Key, Case]]:
    """By a title of its own, each group of cases that share their runs, with the first of them.

    A title is the networks, the data, and what else tells a group from those before it.
    """
    titled: dict[str, tuple[Key, Case]] = {}
    for key, cases in found.items():
        first = cases[0]
        title = f"{' and '.join(dict.fromkeys(case.model.printed for case in cases))}, {first.dataset}"
        for more in (str(first.objective), first.recipe.name, first.table):
            title += f", {more}" if title in titled else ""
        titled[title] = (key, first)
    return titled
