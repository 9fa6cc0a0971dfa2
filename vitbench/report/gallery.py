"""Which figures a paper's report has: how its pre-trainings went, what they were good for, and curves like its own.

Trainings are drawn where a curve says what a number cannot: of tables that print curves, which their data file says by
`curves = true`, and of networks that were pre-trained. A table of a hundred accuracies gets no hundred curves. There
is one figure for a table, a row of panels for each network and data set, in which every method stands beside its own
baseline; tables whose runs are the same, as those of the quick budget may be, share one.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from vitbench.case import Budget, Case
from vitbench.curves import Run
from vitbench.kept import Kept, drawn, pretrained
from vitbench.papers import Paper
from vitbench.pictures import Pictures
from vitbench.report import epochs, figures
from vitbench.report.epochs import Line
from vitbench.report.material import Material
from vitbench.report.plot import Plot
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
    make: Callable[[], Plot | figures.Picture]

    def content(self) -> bytes:
        """Of its file."""
        return self.make().content()


def of(paper: Paper, material: Material) -> list[Drawing]:
    """The figures of a paper's trainings."""
    made = (material.cases, material.results, material.kept)
    return material.once(("trainings", paper.name), lambda: list(drawings(paper, *made)))


def drawings(paper: Paper, cases: Mapping[Budget, Sequence[Case]], results: Results, kept: Kept) -> Iterator[Drawing]:
    """The figures of a paper, as far as there is something to draw."""
    if not kept.curves and not kept.pictures:
        return
    for budget, of_budget in cases.items():
        own = [case for case in drawn(of_budget) if case.paper == paper.name]
        view = _View(f"{paper.name}-{budget}", budget, results, kept)
        yield from view.pretrainings(pretrained(own))
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
                make=lambda: epochs.losses(lines),
            )
        yield from self._neighbours(found)
        for title, (runs, one) in titled.items():
            seen = [(seed, self.kept.pictures[run]) for seed, run in runs if run in self.kept.pictures]
            if seen:
                yield from self._pictures(title, one, *seen[0])

    def _neighbours(self, found: Mapping[Runs, Sequence[Case]]) -> Iterator[Drawing]:
        """What k-NN made of their embeddings: a panel for each network and data set, a line for each pre-training."""
        groups: dict[str, dict[Runs, Case]] = {}
        for runs, cases in found.items():
            groups.setdefault(_networks(cases), {})[runs] = cases[0]
        rows: dict[str, list[Line]] = {}
        for title, group in groups.items():
            names = _names({runs: (str(case.objective), case.recipe.name) for runs, case in group.items()})
            for runs, case in group.items():
                line = self._line(names[runs], runs)
                if line and line.mean("knn")[0]:
                    before = self.results.value(case, self.budget, "knn_untrained")
                    rows.setdefault(title, []).append(replace(line, untrained=before.mean if before else None))
        if rows:
            ends = "; ".join(f"{title}, {line.label}, ends at {line.end('knn'):.2f} %" for title, line in _each(rows))
            yield Drawing(
                name=f"{self.prefix}-knn.svg",
                alt=f"k-NN accuracy over the epochs of the pre-training: {ends}.",
                caption=f"k-NN on the embeddings of pre-trained networks, {self.budget} budget; dotted: untrained.",
                make=lambda: epochs.neighbours(rows),
            )

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
        """Accuracy and loss over the epochs, a figure for each table, each method beside its own baseline."""
        groups: dict[tuple[str, str, str], list[Case]] = {}  # by table, model, data set
        for case in cases:
            groups.setdefault((case.table, case.model.name, case.dataset), []).append(case)
        panels: dict[tuple[Runs, ...], list[Case]] = {}  # those of the same runs are one
        lines: dict[tuple[Runs, ...], list[Line]] = {}
        for group in groups.values():
            known = self._beside(group)
            if known:
                panels.setdefault(tuple(known), []).append(group[0])
                lines.setdefault(tuple(known), list(known.values()))
        by_table: dict[str, list[tuple[Runs, ...]]] = {}
        for runs, (first, *_) in panels.items():
            by_table.setdefault(first.table, []).append(runs)
        for own in by_table.values():
            names = _names({runs: (_networks(panels[runs]), panels[runs][0].model.name) for runs in own})
            shown = dict.fromkeys(case.table for runs in own for case in panels[runs])
            yield self._training(list(shown), {names[runs]: lines[runs] for runs in own})

    def _training(self, tables: Sequence[str], rows: Mapping[str, Sequence[Line]]) -> Drawing:
        ends = "; ".join(
            f"{title}, {line.label}, ends at {line.end('accuracies'):.2f} %, is best at {line.best():.2f} % "
            f"and has 95 % of that after epoch {line.converged()[0]}"
            for title, line in _each(rows)
        )
        of = f"Table {tables[0]}" if len(tables) == 1 else f"Tables {', '.join(tables)}"
        return Drawing(
            name=re.sub(r"[^\w.+-]", ".", f"{self.prefix}-{tables[0]}-training") + ".svg",
            alt=f"Test accuracy and training loss over the epochs: {ends}.",
            caption=f"{of}, {self.budget} budget: each method beside its own baseline; the dots are where a line first "
            "has 95 % of its best accuracy.",
            make=lambda: epochs.trainings(rows),
        )

    def _beside(self, cases: Iterable[Case]) -> dict[Runs, Line]:
        """The lines of a panel by their runs: methods and their baselines, each once, as far as curves are kept."""
        found: dict[Runs, Case] = {}
        methods_first = sorted(cases, key=lambda case: case.is_baseline)
        for case in (one for own in methods_first for one in (own, own.baseline)):
            runs = self._runs(case)
            line = self._line("", runs)
            if line and all(curve.accuracies for curve in line.curves):
                found.setdefault(runs, case)
        names = _names({runs: (case.loss, case.recipe.name) for runs, case in found.items()})
        return {runs: line for runs, case in found.items() if (line := self._line(names[runs], runs, case))}

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


def _each(rows: Mapping[str, Sequence[Line]]) -> Iterator[tuple[str, Line]]:
    return ((title, line) for title, lines in rows.items() for line in lines)


def _networks(cases: Sequence[Case]) -> str:
    """Of cases that share their runs, the networks and the data."""
    return f"{' and '.join(dict.fromkeys(case.model.printed for case in cases))}, {cases[0].dataset}"


def _titled(found: Mapping[Key, Sequence[Case]]) -> dict[str, tuple[Key, Case]]:
    """By a title of its own, each group of cases that share their runs, with the first of them."""
    first = {key: cases[0] for key, cases in found.items()}
    told = {
        key: (_networks(cases), str(first[key].objective), first[key].recipe.name, first[key].table)
        for key, cases in found.items()
    }
    return {name: (key, first[key]) for key, name in _names(told).items()}


def _names(told: Mapping[Key, Sequence[str]]) -> dict[Key, str]:
    """A name for each: the first of what can be told of it, and as much of the rest as tells it from all others."""
    names: dict[Key, str] = {}
    for length in range(1, 1 + max(map(len, told.values()), default=0)):
        shortened = {key: ", ".join(parts[:length]) for key, parts in told.items()}
        count = Counter(shortened.values())
        names |= {key: name for key, name in shortened.items() if key not in names and count[name] == 1}
    return {key: names.get(key, ", ".join(parts)) for key, parts in told.items()}
