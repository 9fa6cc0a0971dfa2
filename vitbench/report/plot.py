"""Plots as SVG, written without a library: lines, points with intervals, bands. A page of them takes milliseconds.

Text stays text, numbers are rounded to a tenth of a pixel, and nothing depends on the machine: the same plot is the
same bytes. Widths of text are estimated, so margins are a little wider than they must be.
"""

import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from html import escape

# Okabe and Ito (2008), told apart by the colour-blind; each with a stroke and a marker of its own, for print in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
STROKES = ("", "7 3", "1.5 1.5", "7 2 1.5 2", "3 3", "10 2 3 2")
LEVEL = "1.2 5"  # dots far apart, so that no stroke is taken for it
MARKERS = ("circle", "square", "diamond", "triangle", "star", "cross")
NEUTRAL = "#444444"
GRID, INK = "#dddddd", "#222222"
WIDTH = 720.0  # pixels of a plot
SIZE, SMALL = 12.0, 11.0  # pixels of text
LETTER = 0.56  # mean width of a letter, in its size
LINE = 16.0  # pixels from a line of a legend to the next
WRAP = 108  # letters in a line of a legend
SHAPES = {
    "square": "M-4 -4H4V4H-4Z",
    "diamond": "M0 -5.5L5.5 0L0 5.5L-5.5 0Z",
    "triangle": "M0 -5L5 4.5H-5Z",
    "star": "M0 -6L1.6 -1.6L6 0L1.6 1.6L0 6L-1.6 1.6L-6 0L-1.6 -1.6Z",
    "cross": "M-5 -2H-2V-5H2V-2H5V2H2V5H-2V2H-5Z",
}

Pair = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Series:
    """What one entry of a legend stands for.

    Attributes:
        label: empty: it has no entry.
        x, y: of its points.
        stroke: dashes of the line through them; None: there is no line.
        marker: of its points, one of `MARKERS`, or empty.
        is_filled: whether its markers are; those of printed numbers are not.
        band: lower and upper y at each x, as an area.
        bars, spans: lower and upper y, or x, of each point, as lines; None where there is none.
        names: text beside each point.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str = NEUTRAL
    stroke: str | None = ""
    marker: str = ""
    is_filled: bool = True
    band: Sequence[Pair] = ()
    bars: Sequence[Pair | None] = ()
    spans: Sequence[Pair | None] = ()
    names: Sequence[str] = ()

    @property
    def look(self) -> tuple[object, ...]:
        """What its entry of a legend looks like, whichever panel it is in."""
        return self.colour, self.stroke, self.stroke is None and self.marker, self.is_filled

    def reach(self, axis: str) -> Iterator[float]:
        """Every number that an axis, "x" or "y", must show."""
        yield from self.x if axis == "x" else self.y
        for low, high in filter(None, self.spans if axis == "x" else (*self.bars, *self.band)):
            yield from (low, high)


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One pair of axes.

    Attributes:
        levels: horizontal dotted lines: y and label and colour of each.
        x_ticks, y_ticks: places and names in place of numbers.
        zero: an x at which there is a vertical line, or None.
        is_log: whether y is logarithmic; x likewise by `is_log_x`.
    """

    title: str = ""
    x_label: str = ""
    y_label: str = ""
    series: Sequence[Series] = ()
    levels: Sequence[tuple[float, str, str]] = ()
    x_ticks: Sequence[tuple[float, str]] = ()
    y_ticks: Sequence[tuple[float, str]] = ()
    zero: float | None = None
    is_log: bool = False
    is_log_x: bool = False
    height: float = 170.0

    @cached_property
    def limits(self) -> dict[str, Pair]:
        """The least and the greatest number of each axis, "x" and "y", with some room."""
        return {axis: _limits(self, axis) for axis in ("x", "y")}

    def entries(self) -> Iterator[Series]:
        """What a legend says of it."""
        for one in self.series:
            if one.label:
                yield one
        for y, label, colour in self.levels:
            yield Series(label=label, x=(), y=(y,), colour=colour, stroke=LEVEL)


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Rows of panels, with a legend below each row; one below all where `is_shared`."""

    rows: Sequence[Sequence[Panel]]
    is_shared: bool = False

    @property
    def axes(self) -> list[Panel]:
        """All panels, row by row."""
        return [panel for row in self.rows for panel in row]

    def legends(self) -> list[list[Series]]:
        """The entries below each row."""
        if self.is_shared:
            return [*([] for _ in self.rows[:-1]), _entries(self.axes)]
        return [_entries(row) for row in self.rows]

    def content(self) -> bytes:
        """As a file."""
        out, y = _Page(), 4.0
        for row, entries in zip(self.rows, self.legends(), strict=True):
            y = _row(out, row, y)
            y = _legend(out, entries, y)
        return out.file(y + 4)


def _entries(panels: Sequence[Panel]) -> list[Series]:
    """One for each look; of what looks alike the first says what it is."""
    found: dict[tuple[object, ...], Series] = {}
    for one in (entry for panel in panels for entry in panel.entries()):
        found.setdefault((*one.look, one.label if one.stroke == LEVEL else ""), one)
    return list(found.values())


@dataclass
class _Page:
    """What is drawn, element by element."""

    parts: list[str] = field(default_factory=list)

    def line(self, start: Pair, end: Pair, colour: str, *, width: float = 1.0, dash: str = "") -> None:
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        places = f'x1="{_n(start[0])}" y1="{_n(start[1])}" x2="{_n(end[0])}" y2="{_n(end[1])}"'
        self.parts.append(f'<line {places} stroke="{colour}" stroke-width="{width:g}"{dashes}/>')

    def path(self, points: Sequence[Pair], colour: str, *, dash: str = "", fill: bool = False) -> None:
        places = "L".join([f"{_n(x)} {_n(y)}" for x, y in points])
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        look = f'fill="{colour}" fill-opacity="0.2"' if fill else f'fill="none" stroke="{colour}" stroke-width="1.6"'
        self.parts.append(f'<path d="M{places}{"Z" if fill else ""}" {look}{dashes}/>')

    def marker(self, x: float, y: float, series: Series) -> None:
        fill = series.colour if series.is_filled else "#ffffff"
        look = f'fill="{fill}" stroke="{series.colour}" stroke-width="1.4"'
        if series.marker == "circle":
            self.parts.append(f'<circle cx="{_n(x)}" cy="{_n(y)}" r="4" {look}/>')
        else:
            self.parts.append(f'<path transform="translate({_n(x)} {_n(y)})" d="{SHAPES[series.marker]}" {look}/>')

    def text(self, x: float, y: float, text: str, *, anchor: str = "start", size: float = SMALL, turn: int = 0) -> None:
        turned = f' transform="rotate({turn} {_n(x)} {_n(y)})"' if turn else ""
        place = f'x="{_n(x)}" y="{_n(y)}" font-size="{size:g}" text-anchor="{anchor}"{turned}'
        self.parts.append(f"<text {place}>{escape(plain(text), quote=False)}</text>")

    def file(self, height: float) -> bytes:
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:g} {_n(height)}" width="{WIDTH:g}" '
        head += f'height="{_n(height)}" font-family="Helvetica, Arial, sans-serif" fill="{INK}">'
        white = '<rect width="100%" height="100%" fill="#ffffff"/>'
        return "\n".join([head, white, *self.parts, "</svg>", ""]).encode()


def _row(out: _Page, panels: Sequence[Panel], top: float) -> float:
    """Draw panels beside each other; returns where they end."""
    wide = WIDTH / len(panels)
    body = top + (22.0 if any(panel.title for panel in panels) else 8.0)
    for number, panel in enumerate(panels):
        left = number * wide + 26.0 + max((LETTER * SMALL * len(name) for _, name in _ticks(panel, "y")), default=0.0)
        left += 4.0 if panel.y_label else -14.0
        _Axes(out, panel, (left, number * wide + wide - 14.0), (body, body + panel.height)).draw(number * wide)
    return body + max(panel.height for panel in panels) + 40.0


@dataclass(frozen=True)
class _Axes:
    """A panel at its place: pixels from left to right, and from top to bottom."""

    out: _Page
    panel: Panel
    across: Pair
    down: Pair

    def place(self, x: float, y: float) -> Pair:
        """Pixels of a point."""
        return self._x(x), self._y(y)

    @cached_property
    def _x(self) -> Callable[[float], float]:
        """Pixels from the left."""
        return _scale(self.panel.limits["x"], self.across, is_log=self.panel.is_log_x)

    @cached_property
    def _y(self) -> Callable[[float], float]:
        """Pixels from the top."""
        return _scale(self.panel.limits["y"], (self.down[1], self.down[0]), is_log=self.panel.is_log)

    def draw(self, edge: float) -> None:
        """Everything of it; the title begins at the edge."""
        panel, out = self.panel, self.out
        self._grid()
        for y, _, colour in panel.levels:
            out.line((self.across[0], self._y(y)), (self.across[1], self._y(y)), colour, width=1.2, dash=LEVEL)
        for one in panel.series:
            self._series(one)
        self._names([one for one in panel.series if one.names])
        out.text(max(edge + 2, self.across[0]), self.down[0] - 8, panel.title, size=SIZE)
        out.text(sum(self.across) / 2, self.down[1] + 32, panel.x_label, anchor="middle")
        if panel.y_label:
            out.text(edge + 14, sum(self.down) / 2, panel.y_label, anchor="middle", turn=-90)

    def _grid(self) -> None:
        panel, out, (left, right), (top, bottom) = self.panel, self.out, self.across, self.down
        for value, name in _ticks(panel, "y"):
            out.line((left, self._y(value)), (right, self._y(value)), GRID, width=0.7)
            out.text(left - 6, self._y(value) + 4, name, anchor="end")
        free = -math.inf  # where the next name may begin
        for value, name in _ticks(panel, "x"):
            x, half = self._x(value), LETTER * SMALL * len(name) / 2
            out.line((x, top), (x, bottom), GRID, width=0.7)
            if x - half > free:
                out.text(x, bottom + 15, name, anchor="middle")
                free = x + half + 4
        if panel.zero is not None:
            out.line((self._x(panel.zero), top), (self._x(panel.zero), bottom), INK)
        out.line((left, bottom), (right, bottom), INK)
        out.line((left, top), (left, bottom), INK)

    def _series(self, one: Series) -> None:
        across = [self._x(x) for x in one.x]
        points = [(x, self._y(y)) for x, y in zip(across, one.y, strict=True)]
        if one.band:
            edges = [[(x, self._y(pair[side])) for x, pair in zip(across, one.band, strict=True)] for side in (0, 1)]
            self.out.path([*edges[0], *reversed(edges[1])], one.colour, fill=True)
        if one.stroke is not None and len(points) > 1:
            self.out.path(points, one.colour, dash=one.stroke)
        for (x, _), bar in zip(points, one.bars, strict=False):
            if bar:
                self.out.line((x, self._y(bar[0])), (x, self._y(bar[1])), one.colour, width=1.4)
        for (_, y), span in zip(points, one.spans, strict=False):
            if span:
                self.out.line((self._x(span[0]), y), (self._x(span[1]), y), one.colour, width=1.8)
        for x, y in points if one.marker else ():
            self.out.marker(x, y, one)

    def _names(self, series: Sequence[Series]) -> None:
        """Names of points, each as near to its own as those that are there already let it."""
        markers = [self.place(x, y) for one in self.panel.series for x, y in zip(one.x, one.y, strict=True)]
        taken = [(x - 6, x + 6, y) for x, y in markers]  # from, to, y
        for one in series:
            for name, x, y in sorted(zip(one.names, one.x, one.y, strict=True), key=lambda point: -point[2]):
                place, wide = self.place(x, y), LETTER * SMALL * len(name)
                is_left = place[0] + 8 + wide > self.across[1]
                start = place[0] - 8 - wide if is_left else place[0] + 8
                shifts = sorted((4.0 * step for step in range(-20, 21)), key=abs)
                free = (s for s in shifts if not any(_meets(start, wide, place[1] + s, other) for other in taken))
                at = place[1] + next(free, 0.0)
                taken.append((start, start + wide, at))
                self.out.text(place[0] - 8 if is_left else start, at + 4, name, anchor="end" if is_left else "start")


def _meets(start: float, wide: float, y: float, other: tuple[float, float, float]) -> bool:
    return start < other[1] and other[0] < start + wide and abs(y - other[2]) < SMALL


def _legend(out: _Page, entries: Sequence[Series], top: float) -> float:
    y = top + 4.0
    for one in entries:
        if one.stroke is not None:
            out.line((8, y), (40, y), one.colour, width=1.6, dash=one.stroke)
        if one.marker:
            out.marker(24, y, one)
        for line in textwrap.wrap(plain(one.label), WRAP) or [""]:
            out.text(48, y + 4, line)
            y += LINE
    return y


def _limits(panel: Panel, axis: str) -> Pair:
    named = panel.x_ticks if axis == "x" else panel.y_ticks
    values = [value for one in panel.series for value in one.reach(axis)] + [place for place, _ in named]
    values += [level for level, *_ in panel.levels] if axis == "y" else []
    values += [panel.zero] if axis == "x" and panel.zero is not None else []
    low, high = min(values, default=0.0), max(values, default=1.0)
    if panel.is_log_x if axis == "x" else panel.is_log:
        room = (high / low) ** 0.06 if high > low else 2.0
        return low / room, high * room
    room = 0.5 if named else 0.06 * (high - low) or max(1.0, abs(high) * 0.1)
    return low - room, high + room


def _scale(limits: Pair, ends: Pair, *, is_log: bool) -> Callable[[float], float]:
    """From a value to where it stands between the ends of an axis."""
    (low, high), start, length = limits, ends[0], ends[1] - ends[0]
    if is_log:
        span = math.log(high / low)
        return lambda value: start + math.log(value / low) / span * length
    return lambda value: start + (value - low) / (high - low) * length


def _ticks(panel: Panel, axis: str) -> list[tuple[float, str]]:
    """Places of an axis, and what stands there."""
    named = panel.x_ticks if axis == "x" else panel.y_ticks
    if named:
        return list(named)
    low, high = panel.limits[axis]
    if panel.is_log_x if axis == "x" else panel.is_log:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        values = [factor * 10.0**decade for decade in decades for factor in (1, 2, 5)]
        shown = [value for value in values if low <= value <= high]
    else:
        shown = []
    if len(shown) < 3:  # linear, or too short for such steps
        step = _step(high - low)
        shown = [step * count for count in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return [(value, f"{value + 0.0:.6g}") for value in shown]


def _step(span: float) -> float:
    """1, 2 or 5 times a power of ten, of which some five fit into a span."""
    power = 10.0 ** math.floor(math.log10(span / 5))
    return float(next(factor * power for factor in (1, 2, 5, 10) if factor * power * 6 >= span))


def styled(number: int, series: Series) -> Series:
    """With the colour, stroke and marker of the so-manieth."""
    marker = MARKERS[number % len(MARKERS)] if series.marker else ""
    stroke = None if series.stroke is None else STROKES[number % len(STROKES)]
    return replace(series, colour=COLOURS[number % len(COLOURS)], stroke=stroke, marker=marker)


def plain(text: str) -> str:
    """A name on one line, of characters that can be drawn."""
    return "".join(one if one.isprintable() else " " for one in text)


def _n(value: float) -> str:
    """A tenth of a pixel."""
    return f"{value + 0.0:.1f}".removesuffix(".0")
