"""Leaderboards on the HTML page: their rows, and what a row opens and is filtered by."""

import pytest

from tests import a_material
from vitbench.report.leaderboard import boards
from vitbench.report.provenance import Numbers
from vitbench.report.rankings import MEASURED, PRINTED, rankings


@pytest.fixture
def material(paper, results, measured):
    return a_material.of_everything(paper, results, measured)


def test_every_row_of_every_board_is_there_under_as_many_headings(material):
    shown = rankings(boards(material), material.results, Numbers({}))
    made = sorted(boards(material), key=lambda board: not board.rows)
    counts = [[len(sheet.rows) for sheet in one.sheets] for one in shown]
    assert counts == [[n for n in (len(board.rows), len(board.printed)) if n] for board in made]
    for one in shown:
        for sheet in one.sheets:
            assert {len(row.cells) for row in sheet.rows} == {len(sheet.columns)}
            assert sheet.columns == (MEASURED if sheet.name == "Measured here" else PRINTED)


def test_a_row_opens_its_runs_and_is_filtered_by_its_size(material):
    numbers = Numbers({})
    (board,) = [
        one
        for one in rankings(boards(material), material.results, numbers)
        if one.title == "cifar10, paper budget, fp32, last epoch"
    ]
    (row,) = [one for one in board.sheets[0].rows if one.cells[1:3] == ("ViT", "ce")]
    assert row.cells[4].endswith("(n = 2)")
    assert (row.params, row.macs) == (row.cells[9], row.cells[10]) == ("5.43", "0.988")
    content = numbers.content()
    case, metric, _, values, *_ = content["numbers"][row.numbers[4]]
    assert content["strings"][metric] == "accuracy"
    assert "/".join(content["strings"][part] for part in case) == "small2026/1/vit/ce/cifar10"
    mean = sum(values[1::2]) / 2
    assert row.cells[4].startswith(f"{mean:.2f} ± ")


def test_gains_drops_and_sizes_open_what_they_are_of(material):
    numbers, columns = Numbers({}), [name for name, _ in MEASURED]
    shown = rankings(boards(material), material.results, numbers)
    content = numbers.content()
    entries = {(one.title, row.cells[1:3]): row for one in shown for row in one.sheets[0].rows if len(row.cells) == 14}
    for row in entries.values():
        for name in ("Accuracy", "Gain over ce", "FGSM drop", "Params (M)", "MACs (G)"):
            place = columns.index(name)
            assert (place in row.numbers) == bool(row.cells[place])

    def opened(row, name):
        case, metric, _, values, plain, beside = content["numbers"][row.numbers[columns.index(name)]]
        case, plain = ("/".join(content["strings"][part] for part in parts) for parts in (case, plain))
        return content["strings"][metric], case, plain, values[1::2], beside[1::2]

    row = entries["cifar10, paper budget, fp32, last epoch", ("ViT", "ce + 0.1*me")]
    metric, case, plain, ours, theirs = opened(row, "Gain over ce")
    assert (metric, case, plain) == ("accuracy", "small2026/1/vit/ce+0.1me/cifar10", "small2026/1/vit/ce/cifar10")
    assert (len(ours), len(theirs)) == (1, 2)  # and the gain is over the baseline of the same seed, the first
    assert float(row.cells[6]) == pytest.approx(ours[0] - theirs[0], abs=0.005)
    metric, case, _, (size,), _ = opened(row, "Params (M)")
    assert (metric, case) == ("params", "small2026/size/vit/ce/cifar10")
    assert f"{size:.2f}" == row.cells[9]


def test_what_is_in_print_opens_nothing(material):
    printed = [
        sheet
        for one in rankings(boards(material), material.results, Numbers({}))
        for sheet in one.sheets
        if sheet.name == "In print"
    ]
    assert printed
    assert not any(row.numbers for sheet in printed for row in sheet.rows)
