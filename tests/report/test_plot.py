"""Plots: where their points are, worked out by hand, what stands beside them, and the same bytes each time."""

import math
import subprocess
import sys
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from vitbench.report.plot import MARKERS, SMALL, Panel, Plot, Series, styled

SVG = "{http://www.w3.org/2000/svg}"


def read(*panels, **options):
    return ElementTree.fromstring(Plot(rows=[panels], **options).content())


def texts(root):
    return ["".join(one.itertext()) for one in root.iter(f"{SVG}text")]


def places(root):
    """(x, y) of each circle."""
    return [(float(one.get("cx")), float(one.get("cy"))) for one in root.iter(f"{SVG}circle")]


def dots(x, y, **options):
    return Series(label="A", x=x, y=y, stroke=None, marker="circle", **options)


def test_equal_steps_are_equally_far_on_a_linear_axis_and_equal_factors_on_a_logarithmic_one():
    for is_log, y in ((False, (10.0, 20.0, 30.0)), (True, (0.1, 1.0, 10.0))):
        (x1, y1), (x2, y2), (x3, y3), *_ = places(read(Panel(series=[dots((1, 2, 3), y)], is_log=is_log)))
        assert y1 - y2 == pytest.approx(y2 - y3, abs=0.11)  # larger is higher, which in SVG is less
        assert y1 > y2 > y3
        assert x2 - x1 == pytest.approx(x3 - x2, abs=0.11)


def test_a_point_lies_between_the_lines_of_its_neighbouring_numbers():
    root = read(Panel(series=[dots((0.0, 10.0), (40.0, 50.0))]))
    named = {one.text: float(one.get("y")) - 4 for one in root.iter(f"{SVG}text") if one.get("text-anchor") == "end"}
    assert sorted(named) == ["40", "42", "44", "46", "48", "50"]
    assert [y for _, y in places(root)[:2]] == pytest.approx([named["40"], named["50"]], abs=0.11)


def test_intervals_are_lines_through_their_points():
    root = read(Panel(series=[dots((1.0, 2.0), (50.0, 60.0), bars=[(45.0, 55.0), None])]))
    (x, y), *_ = places(root)
    thick = [one for one in root.iter(f"{SVG}line") if one.get("stroke-width") == "1.4"]
    (bar,) = [[float(one.get(name)) for name in ("x1", "x2", "y1", "y2")] for one in thick]
    assert bar[:2] == [x, x]
    assert sum(bar[2:]) / 2 == pytest.approx(y, abs=0.11)


def test_what_is_printed_has_hollow_markers():
    root = read(Panel(series=[dots((1.0,), (5.0,), is_filled=False)]))
    assert {one.get("fill") for one in root.iter(f"{SVG}circle")} == {"#ffffff"}


def test_an_axis_has_its_own_names_and_drops_those_that_would_run_into_each_other():
    ticks = [(float(n), f"{n}00000000") for n in range(60)]
    shown = texts(read(Panel(series=[dots((0.0, 59.0), (1.0, 2.0))], x_ticks=ticks)))
    assert 5 < len({name for _, name in ticks} & set(shown)) < 20
    few = texts(read(Panel(series=[dots((0.0, 1.0), (1.0, 2.0))], x_ticks=[(0.0, "none"), (1.0, "all")])))
    assert {"none", "all"} <= set(few)


def test_names_of_points_that_lie_together_do_not_overlap():
    names = [f"network {n}" for n in range(8)]
    root = read(Panel(series=[dots([1.0] * 8, [50.0 + n / 100 for n in range(8)], names=names)]))
    heights = sorted(float(one.get("y")) for one in root.iter(f"{SVG}text") if one.text in names)
    assert len(heights) == 8
    assert min(high - low for low, high in pairwise(heights)) >= SMALL


def test_a_legend_says_once_what_looks_alike_and_one_may_be_shared():
    line = Series(label="first", x=(0, 1), y=(1, 2))
    panels = [Panel(series=[line]), Panel(series=[line])]
    assert texts(read(*panels)).count("first") == 1
    plot = Plot(rows=[panels[:1], panels[1:]])
    assert [[one.label for one in row] for row in plot.legends()] == [["first"], ["first"]]
    shared = Plot(rows=[panels[:1], panels[1:]], is_shared=True)
    assert [[one.label for one in row] for row in shared.legends()] == [[], ["first"]]


def test_series_differ_in_colour_and_in_stroke_and_in_marker():
    looks = [styled(n, Series(label="", x=(), y=(), marker="circle")) for n in range(6)]
    for name in ("colour", "stroke", "marker"):
        assert len({getattr(one, name) for one in looks}) == 6
    assert {one.marker for one in looks} == set(MARKERS)


@pytest.mark.parametrize("values", [(5.0,), (0.0, 0.0), (-3.0, 7.0), (1e-7, 2e-7), (0.0, 1e9)])
def test_whatever_the_numbers_every_place_is_finite_and_inside(values):
    root = read(Panel(series=[dots(range(len(values)), values)]))
    _, _, wide, high = map(float, root.get("viewBox").split())
    for x, y in places(root):
        assert math.isfinite(x)
        assert 0 <= x <= wide
        assert 0 <= y <= high


def test_names_are_text_that_can_be_read_whatever_is_in_them():
    name = "$a_b$ <b> & \x0b\u2028\x07 ]]> _x"
    shown = texts(read(Panel(title=name, x_label=name, series=[dots((1.0,), (2.0,), names=[name])])))
    assert shown.count("$a_b$ <b> &     ]]> _x") == 3


def test_another_process_draws_the_same_bytes():
    script = (
        "import sys; from vitbench.report.plot import *;"
        "plot = Plot(rows=[[Panel(series=[Series(label='A', x=(1, 2), y=(0.1, 0.3), marker='star')])]]);"
        "sys.stdout.buffer.write(plot.content()); assert not {'torch', 'matplotlib', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    series = Series(label="A", x=(1, 2), y=(0.1, 0.3), marker="star")
    assert done.stdout == Plot(rows=[[Panel(series=[series])]]).content()
