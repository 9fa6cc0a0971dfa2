"""The table at the end of a run, for somebody who looks at a terminal."""

import pytest

from vitbench.metrics import METRICS
from vitbench.report import terminal

ROW = {
    "id": "mine/1/vit/ce+0.1me/digits",
    "values": {"accuracy": 97.2249, "gain": 1.5, "fgsm_drop": 7.0},
    "status": "measured in 2.0 s",
}


def cells(line):
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_one_line_a_case():
    heading, rule, *lines = terminal.table("run", [ROW, ROW]).splitlines()
    assert cells(heading) == ["case", "accuracy (%)", "gain (points)", "fgsm_drop (points)"]
    assert set(rule) == {"-", " "}
    assert [cells(line) for line in lines] == [
        ["mine/1/vit/ce+0.1me/digits", "97.22", "+1.50", "7.00", "measured in 2.0 s"]
    ] * 2


@pytest.mark.parametrize(("gain", "shown"), [(1.5, "+1.50"), (-1.5, "-1.50"), (0.0, "+0.00")])
def test_a_gain_has_its_sign(gain, shown):
    assert shown in cells(terminal.table("run", [ROW | {"values": {"gain": gain}}]).splitlines()[2])


def test_what_was_not_measured_is_left_empty():
    line = terminal.table("run", [ROW | {"values": {}}]).splitlines()[2]
    assert cells(line) == [ROW["id"], ROW["status"]]


def test_numbers_that_look_like_something_else_stay_as_they_are():
    row = ROW | {"id": "1e5", "status": "007"}
    assert cells(terminal.table("run", [row]).splitlines()[2])[::4] == ["1e5", "007"]


@pytest.mark.parametrize("kind", terminal.COLUMNS)
def test_every_column_is_a_metric_with_its_unit(kind):
    heading = terminal.table(kind, [{"id": "a", "values": {}, "status": ""}]).splitlines()[0]
    for metric in terminal.COLUMNS[kind]:
        assert f"{metric} ({METRICS[metric].unit})" in heading
