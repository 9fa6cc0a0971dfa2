"""Figures of a report, drawn by matplotlib: curves as SVG, pictures as PNG whose pixels are those of the images.

The one module that draws. It keeps no state of pyplot, reads no settings of the user's, and makes the same bytes of the
same content, so that a file changes only where what it shows does.
"""

import io
import statistics
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar

from vitbench.curves import Curve, convergence_epoch
from vitbench.pictures import KINDS, Pictures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from vitbench.pictures import Array

Drawn: TypeAlias = "Figure"
P = ParamSpec("P")
T = TypeVar("T")

# Okabe and Ito (2008), told apart by the colour-blind; each with a stroke of its own, for print without colour.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
NEUTRAL = "#444444"
STROKES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)))
STYLE = {
    "svg.hashsalt": "vitbench",  # names within a file are derived from it; without it they are random
    "text.parse_math": False,  # a dollar sign in a name is one
    "svg.fonttype": "none",  # text stays text, which is small and can be searched
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.4,
}
DPI = 100
NAMES = {"accuracies": "test accuracy (%)", "knn": "k-NN accuracy (%)", "losses": "training loss"}
WIDTH = 100  # letters in a line of a legend
MOST_ROWS = 5  # epochs of an evolution
SIDE, GAP = 96, 4  # pixels: about what an image is enlarged to, and between images


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

    def mean(self, quantity: str) -> tuple[list[int], list[float], list[float], list[float]]:
        """Epochs that all seeds know, and of "losses", "accuracies" or "knn" the mean, the least and the greatest."""
        by_epoch = [dict(zip(one.epochs, getattr(one, quantity), strict=False)) for one in self.curves]
        epochs = [epoch for epoch in by_epoch[0] if all(one.get(epoch) is not None for one in by_epoch)]
        values = [[one[epoch] for one in by_epoch] for epoch in epochs]
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


def styled(draw: Callable[P, T]) -> Callable[P, T]:
    """Draw in our style, whatever the user's is."""

    @wraps(draw)
    def within(*arguments: P.args, **options: P.kwargs) -> T:
        from matplotlib import style

        with style.context(["default", STYLE]):
            return draw(*arguments, **options)

    return within


@styled
def encoded(figure: "Figure", suffix: str) -> bytes:
    """A figure as the content of a file.

    Args:
        suffix: "svg" or "png".
    """
    file = io.BytesIO()
    if suffix == "svg":
        figure.savefig(file, format="svg", metadata={"Date": None})
        # matplotlib ends some lines with a blank, which reviewers' tools mark.
        return b"\n".join(line.rstrip() for line in file.getvalue().splitlines()) + b"\n"
    figure.savefig(file, format="png", dpi=DPI, pil_kwargs={"optimize": True})
    return file.getvalue()


@styled
def losses(lines: Sequence[Line]) -> "Figure":
    """The loss of one or several pre-trainings over their epochs, on a logarithmic scale."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 2.8), layout="constrained")
    axes = figure.subplots()
    _panel(axes, lines, "losses")
    axes.legend(loc="upper right")
    return figure


@styled
def trainings(rows: Mapping[str, Sequence[Line]]) -> "Figure":
    """Accuracy and loss of trainings over their epochs, with a dot where a line has 95 % of its best accuracy.

    Args:
        rows: by their titles, what each pair of panels shows.
    """
    return _rows(rows, ("accuracies", "losses"))


@styled
def neighbours(rows: Mapping[str, Sequence[Line]]) -> "Figure":
    """k-NN accuracy over the epochs of pre-trainings, and of the network before, dotted.

    Args:
        rows: by their titles, what each panel shows.
    """
    return _rows(rows, ("knn",))


def _rows(rows: Mapping[str, Sequence[Line]], quantities: Sequence[str]) -> "Figure":
    """A row of panels for each title, a panel for each quantity, one legend below them."""
    from matplotlib.figure import Figure

    heights = [2.2 + 0.18 * _entries(lines, quantities[0]) for lines in rows.values()]
    figure = Figure(figsize=(7.2, sum(heights)), layout="constrained")
    parts = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=heights).flat
    for part, (title, lines) in zip(parts, rows.items(), strict=True):
        panels = part.subplots(1, len(quantities), squeeze=False)[0]
        for axes, quantity in zip(panels, quantities, strict=True):
            _panel(axes, lines, quantity)
        panels[0].set_title(_plain(title))
        _legend(part, panels[0])
    return figure


def _entries(lines: Sequence[Line], quantity: str) -> int:
    """Lines of text in their legend, or one more."""
    texts = (len(textwrap.wrap(_label(line, quantity), WIDTH)) * (1 if line.printed is None else 2) for line in lines)
    return sum(texts) + len({line.untrained for line in lines})


def _legend(part: "SubFigure", axes: "Axes") -> None:
    """What the lines of all panels of a row are, below them, where it hides none."""
    handles, labels = axes.get_legend_handles_labels()
    part.legend(handles, [textwrap.fill(one, WIDTH) for one in labels], loc="outside lower left")


def _panel(axes: "Axes", lines: Sequence[Line], quantity: str) -> None:
    for number, line in enumerate(lines):
        look: dict[str, Any] = {"color": COLOURS[number % len(COLOURS)]}
        epochs, mean, least, greatest = line.mean(quantity)
        stroke, marker = STROKES[number % len(STROKES)], "." if quantity == "knn" else ""
        axes.plot(epochs, mean, label=_label(line, quantity), linestyle=stroke, marker=marker, **look)
        if len(line.curves) > 1:
            axes.fill_between(epochs, least, greatest, alpha=0.2, linewidth=0, **look)
        if quantity == "accuracies":
            axes.plot(*line.converged(), marker="o", markersize=5, linestyle="", **look)
            if line.printed is not None:
                label = f"{_plain(line.label)}, printed: {line.printed:.2f} %"
                _level(axes, line.printed, label, look["color"])
    if quantity == "knn":
        _untrained(axes, lines)
    if quantity == "losses":
        _logarithmic(axes)
    axes.set_xlabel("epoch")
    axes.set_ylabel(NAMES[quantity])
    axes.margins(x=0.02)


def _label(line: Line, quantity: str) -> str:
    name, seeds = _plain(line.label), len(line.curves)
    label = name if seeds == 1 else f"{name} (mean of {seeds} seeds)"
    if quantity == "accuracies":
        return f"{label}: best {line.best():.2f} %, 95 % of it at epoch {line.converged()[0]}"
    return f"{label}: {line.end(quantity):.2f} % at the end" if quantity == "knn" else label


def _level(axes: "Axes", value: float, label: str, colour: str) -> None:
    axes.axhline(value, linewidth=0.8, linestyle=":", color=colour, label=label)


def _untrained(axes: "Axes", lines: Sequence[Line]) -> None:
    """Where the network began: once where all began alike."""
    known = {line.untrained for line in lines} - {None}
    for number, line in enumerate(lines):
        if line.untrained is not None and len(known) > 1:
            label = f"{_plain(line.label)}, untrained: {line.untrained:.2f} %"
            _level(axes, line.untrained, label, COLOURS[number % len(COLOURS)])
    if len(known) == 1:
        (value,) = known
        _level(axes, float(value or 0.0), f"untrained: {value:.2f} %", NEUTRAL)


def _plain(text: str) -> str:
    """A name on one line, of characters that can be drawn."""
    return "".join(one if one.isprintable() else " " for one in text)


def _logarithmic(axes: "Axes") -> None:
    """A logarithmic scale with plain numbers on it, where the values are above zero and of several magnitudes."""
    import numpy as np
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    values = [float(value) for line in axes.get_lines() for value in np.asarray(line.get_ydata())]
    if max(values) > 5 * min(values) > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())


@styled
def triplets(pictures: Pictures) -> "Figure":
    """Each image as it was, as the network saw it and as it was restored; two triplets a row.

    An image's pixels become squares of whole pixels, so what is seen is what there was.
    """
    canvas = _Canvas(pictures, left=GAP, top=22)
    wide = 3 * canvas.step + 3 * GAP
    columns = min(2, len(pictures.original))
    for number in range(len(pictures.original)):
        row, column = divmod(number, columns)
        for place, kind in enumerate(KINDS):
            x = column * wide + place * canvas.step
            canvas.put(getattr(pictures, kind)[number], x, row * canvas.step)
            if row == 0:
                canvas.write(kind, x + canvas.side / 2, -6, ha="center", va="bottom")
    return canvas.figure()


@styled
def evolution(by_epoch: Mapping[int, Pictures]) -> "Figure":
    """How the same images were restored after some of the epochs: a row each, below the originals.

    What the network saw stands above them, once if it was the same at all epochs, else above each.
    """
    epochs = _spread(sorted(by_epoch))
    last = by_epoch[epochs[-1]].few(6)
    canvas = _Canvas(last, left=74, top=GAP)
    rows: list[tuple[str, Array]] = [("original", last.original)]
    for epoch in epochs:
        now = by_epoch[epoch].few(6)
        if epoch == epochs[0] or (now.masked != by_epoch[epochs[0]].few(6).masked).any():
            rows.append(("masked", now.masked))
        rows.append((f"epoch {epoch}", now.restored))
    for row, (label, images) in enumerate(rows):
        for column, image in enumerate(images):
            canvas.put(image, column * canvas.step, row * canvas.step)
        canvas.write(label, -6, row * canvas.step + canvas.side / 2, ha="right", va="center")
    return canvas.figure()


def _spread(epochs: Sequence[int]) -> list[int]:
    """At most `MOST_ROWS` of them, evenly spread, the first and the last among them."""
    most = min(len(epochs), MOST_ROWS)
    return [epochs[round(number * (len(epochs) - 1) / max(1, most - 1))] for number in range(most)]


class _Canvas:
    """A figure that images are put on, pixel by pixel.

    Args:
        pictures: of the images' size.
        left, top: margins in pixels.

    Attributes:
        side: of an enlarged image, in pixels; a whole multiple of its own.
        step: from an image to the next.
    """

    def __init__(self, pictures: Pictures, *, left: int, top: int) -> None:
        own = pictures.original.shape[-1]
        self.scale = max(1, SIDE // own)
        self.side = self.scale * own
        self.step = self.side + GAP
        self.left, self.top = left, top
        self.images: list[tuple[Array, int, int]] = []
        self.texts: list[tuple[str, float, float, dict[str, Any]]] = []

    def put(self, image: "Array", x: int, y: int) -> None:
        """Place (3, H, W) with its upper left corner there, in pixels from the margins."""
        large = image.repeat(self.scale, axis=1).repeat(self.scale, axis=2)
        self.images.append((large.transpose(1, 2, 0), self.left + x, self.top + y))

    def write(self, text: str, x: float, y: float, **options: Any) -> None:
        """Place a text, likewise."""
        self.texts.append((text, self.left + x, self.top + y, options))

    def figure(self) -> "Figure":
        """As large as what was placed."""
        from matplotlib.figure import Figure

        width = max(x for _, x, _ in self.images) + self.side + GAP
        height = max(y for _, _, y in self.images) + self.side + GAP
        figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
        for image, x, y in self.images:
            figure.figimage(image, x, height - y - self.side, origin="upper")
        for text, across, down, options in self.texts:
            figure.text(across / width, 1 - down / height, text, **options)
        return figure
