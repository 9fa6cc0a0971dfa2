"""Plots of trainings over their epochs: accuracy, loss, and what nearest neighbours make of the embeddings."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from vitbench.curves import Curve, convergence_epoch
from vitbench.report.plot import COLOURS, NEUTRAL, Panel, Plot, Series, styled

Mean = tuple[list[int], list[float], list[float], list[float]]

NAMES = {"accuracies": "test accuracy (%)", "knn": "k-NN accuracy (%)", "losses": "training loss"}


@dataclass(frozen=True, kw_only=True)
class Line:
    """What one line shows: a training, over its seeds.

    Attributes:
        curves: one a seed; their mean is drawn, over a band from the least to the greatest.
        printed: the accuracy in print, or None.
        untrained: the k-NN accuracy of the network before its first step, or None.
    """

    label: str
    curves: Sequence[Curve]
    printed: float | None = None
    untrained: float | None = None

    def mean(self, quantity: str) -> "Mean":
        """Epochs that all seeds know, and of "losses", "accuracies" or "knn" the mean, the least and the greatest."""
        if quantity not in self._means:
            self._means[quantity] = self._mean(quantity)
        return self._means[quantity]

    @cached_property
    def _means(self) -> "dict[str, Mean]":
        return {}

    def _mean(self, quantity: str) -> "Mean":
        pairs = (zip(one.epochs, getattr(one, quantity), strict=False) for one in self.curves)
        first, *others = ({epoch: value for epoch, value in one if value is not None} for one in pairs)
        shared = set(first).intersection(*others)
        epochs = [epoch for epoch in first if epoch in shared]
        values = [[first[epoch], *(one[epoch] for one in others)] for epoch in epochs]
        return epochs, list(map(statistics.fmean, values)), list(map(min, values)), list(map(max, values))

    def end(self, quantity: str) -> float:
        """The mean after the last epoch that all seeds know."""
        return self.mean(quantity)[1][-1]

    def best(self) -> float:
        """The best accuracy of the line as it is drawn."""
        return max(self.mean("accuracies")[1])

    def converged(self) -> tuple[int, float]:
        """The first of its epochs that has 95 % of that, with its accuracy."""
        epochs, mean, _, _ = self.mean("accuracies")
        place = convergence_epoch(mean) - 1
        return epochs[place], mean[place]


def losses(lines: Sequence[Line]) -> Plot:
    """The loss of one or several pre-trainings over their epochs, on a logarithmic scale."""
    return Plot(rows=[[_panel("", lines, "losses")]])


def trainings(rows: Mapping[str, Sequence[Line]]) -> Plot:
    """Accuracy and loss of trainings over their epochs, with a dot where a line has 95 % of its best accuracy.

    Args:
        rows: by their titles, what each pair of panels shows.
    """
    return Plot(
        rows=[[_panel(title, lines, "accuracies"), _panel("", lines, "losses")] for title, lines in rows.items()]
    )


def neighbours(rows: Mapping[str, Sequence[Line]]) -> Plot:
    """k-NN accuracy over the epochs of pre-trainings, and of the network before, dotted.

    Args:
        rows: by their titles, what each panel shows.
    """
    return Plot(rows=[[_panel(title, lines, "knn")] for title, lines in rows.items()])


def _panel(title: str, lines: Sequence[Line], quantity: str) -> Panel:
    series = [one for number, line in enumerate(lines) for one in _series(number, line, quantity)]
    levels = []
    for number, line in enumerate(lines):
        if quantity == "accuracies" and line.printed is not None:
            levels.append((line.printed, f"{line.label}, printed: {line.printed:.2f} %", _colour(number)))
    values = [value for one in series for value in one.y]
    return Panel(
        title=title,
        x_label="epoch",
        y_label=NAMES[quantity],
        series=series,
        levels=[*levels, *(_untrained(lines) if quantity == "knn" else ())],
        # With plain numbers on it, where the values are above zero and of several magnitudes.
        is_log=quantity == "losses" and max(values) > 5 * min(values) > 0,
    )


def _series(number: int, line: Line, quantity: str) -> Iterator[Series]:
    """Its mean over its band, then its dot."""
    epochs, mean, least, greatest = line.mean(quantity)
    band = list(zip(least, greatest, strict=True)) if len(line.curves) > 1 else []
    marker = "circle" if quantity == "knn" else ""
    yield styled(number, Series(label=_label(line, quantity), x=epochs, y=mean, band=band, marker=marker))
    if quantity == "accuracies":
        x, y = line.converged()
        yield Series(label="", x=[x], y=[y], colour=_colour(number), stroke=None, marker="circle")


def _label(line: Line, quantity: str) -> str:
    seeds = len(line.curves)
    label = line.label if seeds == 1 else f"{line.label} (mean of {seeds} seeds)"
    if quantity == "accuracies":
        return f"{label}: best {line.best():.2f} %, 95 % of it at epoch {line.converged()[0]}"
    return f"{label}: {line.end(quantity):.2f} % at the end" if quantity == "knn" else label


def _untrained(lines: Sequence[Line]) -> Iterator[tuple[float, str, str]]:
    """Where the network began: once where all began alike."""
    known = {line.untrained for line in lines} - {None}
    for number, line in enumerate(lines):
        if line.untrained is not None and len(known) > 1:
            yield line.untrained, f"{line.label}, untrained: {line.untrained:.2f} %", _colour(number)
    if len(known) == 1:
        (value,) = known
        yield float(value or 0.0), f"untrained: {value:.2f} %", NEUTRAL


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]
