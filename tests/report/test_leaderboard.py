"""Boards: what is ranked together and what never, groups worked out by hand, and rows of a user's own."""

from dataclasses import replace

import pytest

from vitbench.case import Budget
from vitbench.compare import Finding, Verdict
from vitbench.report import leaderboard
from vitbench.report.material import Material
from vitbench.report.results import Results
from vitbench.selection import Selection

METHOD = "ce + 0.1*me"


@pytest.fixture
def made(paper):
    """Makes the boards of measurements of the small paper."""

    def make(*measurements, budgets=(Budget.PAPER,), **selection):
        cases = {budget: Selection(budget=budget, **selection).cases([paper]) for budget in budgets}
        return leaderboard.boards(Material(papers=[paper], results=Results(measurements), cases=cases))

    return make


@pytest.fixture
def seeds(measured):
    """Makes a measurement per seed, each of a run of its own."""

    def make(model, objective, *values, dataset="cifar10", **changes):
        key = f"{model}{objective}{sorted(changes.items())}"
        return [
            measured(model, objective, dataset, value, seed=str(seed), key=f"{key}{seed}", **changes)
            for seed, value in enumerate(values)
        ]

    return make


def ranks(board):
    return [(row.model, row.objective, row.group, row.better, row.worse) for row in board.rows]


def with_rows(boards):
    return [one for one in boards if one.rows]


def test_groups_are_those_that_welch_and_benjamini_hochberg_tell_apart(made, seeds):
    # p: 0.0000016 and 0.0000013 against the last, 0.55 between the first two (scipy's ttest_ind, equal_var=False).
    board, *_ = with_rows(
        made(
            *seeds("vit", "ce", 80.0, 80.5, 81.0, 80.25),
            *seeds("vit", METHOD, 80.5, 80.25, 80.75, 81.0),
            *seeds("cvt", "ce", 70.0, 70.5, 71.0, 70.25),
        )
    )
    assert ranks(board) == [("ViT", METHOD, 1, 0, 1), ("ViT", "ce", 1, 0, 1), ("CvT", "ce", 2, 2, 0)]
    first = board.rows[0]
    assert (first.accuracy, first.n, first.interval.of) == (80.625, 4, "seeds")
    assert first.spread == pytest.approx(0.3227486)
    # Student's t of 3 degrees of freedom, 3.182446 at 97.5 %, times spread / 2.
    assert first.interval.low == pytest.approx(80.625 - 3.182446 * 0.3227486 / 2)
    assert (first.gain.mean, first.gain.n) == (pytest.approx(0.1875), 4)
    assert board.rows[1].gain is None


def test_one_seed_is_judged_by_the_test_images_and_says_so(made, seeds):
    # 10,000 images: two points are 3.5 standard errors of the difference, half a point 0.9.
    (board,) = with_rows(
        made(*seeds("vit", "ce", 80.0), *seeds("vit", METHOD, 80.5), *seeds("cvt", "ce", 78.0)),
    )
    assert [row[2:] for row in ranks(board)] == [(1, 0, 1), (1, 0, 1), (2, 2, 0)]
    assert {(row.n, row.spread, row.interval.of) for row in board.rows} == {(1, None, "test images")}


def test_budgets_precisions_and_epochs_are_never_ranked_together(made, seeds):
    boards = made(
        *seeds("vit", "ce", 80.0),
        *seeds("vit", METHOD, 99.0, budget="short"),
        *seeds("cvt", "ce", 99.5, precision="bf16"),
        *seeds("vit", METHOD, 98.0, metric="best_accuracy"),
        *seeds("vit", "ce", 97.0, dataset="cifar100"),
        *seeds("vit", "ce", 96.0, dataset="digits", budget="quick"),
        budgets=Budget,
    )
    found = [(one.dataset, str(one.budget), one.precision, one.selection, len(one.rows)) for one in with_rows(boards)]
    assert found == [
        ("cifar10", "paper", "fp32", "last", 1),
        ("cifar10", "paper", "bf16", "last", 1),
        ("cifar10", "short", "fp32", "last", 1),
        ("cifar100", "paper", "fp32", "last", 1),
        ("digits", "quick", "fp32", "last", 1),
    ]
    for board in boards:
        for row in board.rows:
            own = (row.dataset, row.budget, row.precision, row.selection)
            assert own == (board.dataset, board.budget, board.precision, board.selection)


def test_the_best_epoch_is_a_board_of_its_own_where_a_source_reports_it(twofold, twofold_results):
    cases = {Budget.PAPER: list(twofold.cases)}
    boards = leaderboard.boards(Material(papers=[twofold], results=twofold_results, cases=cases))
    cifar10 = {one.selection: one for one in boards if (one.dataset, one.budget) == ("cifar10", Budget.PAPER)}
    last, best = ({(row.recipe, row.objective): row.accuracy for row in cifar10[one].rows} for one in ("last", "best"))
    assert best["code", "ce"] == pytest.approx(85.5)
    assert last["code", "ce"] == pytest.approx(84.5)
    assert {row.reported for row in cifar10["last"].rows} == {"best"}
    assert not any(row.drop for row in cifar10["best"].rows)


def test_what_stands_in_several_tables_is_one_row_with_the_ids_of_all(made, seeds):
    (board,) = with_rows(made(*seeds("vit", "ce", 61.0)))
    (row,) = board.rows
    assert row.case == "small2026/1/vit/ce/cifar10"
    assert row.also == ("small2026/2/vit/ce/cifar10", "small2026/3/vit/ce/cifar10")


def test_networks_that_share_their_runs_are_one_row(made, measured, paper):
    tiny = {name: replace(one, tiny="vit/tiny") for name, one in paper.models.items()}
    table = paper.tables[0]
    shared = replace(table, cases=tuple(replace(one, model=tiny[one.model.name]) for one in table.cases))
    changed = replace(paper, models=tiny, tables=(shared,))
    runs = [measured(name, "ce", "digits", 95.0, budget="quick", key="aaa") for name in ("vit", "cvt")]
    other = measured("vit", METHOD, "digits", 95.0, budget="quick", key="bbb")
    cases = {Budget.QUICK: Selection().cases([changed])}
    (board,) = leaderboard.boards(Material(papers=[changed], results=Results([*runs, other]), cases=cases))
    assert [(row.model, row.objective, row.network) for row in board.rows] == [
        ("CvT; ViT", "ce", "vit/tiny"),
        ("ViT", METHOD, "vit/tiny"),
    ]
    assert board.rows[0].also == ("small2026/1/vit/ce/digits",)


def test_runs_without_a_key_are_never_the_same(made, measured):
    runs = [measured("vit", one, "cifar10", 60.0, key="") for one in ("ce", METHOD)]
    (board,) = with_rows(made(*runs))
    assert {row.objective for row in board.rows} == {"ce", METHOD}


def test_an_objective_and_a_model_of_a_user_s_own_have_their_rows(made, seeds):
    own = "ce + 0.5*tests.terms.a_module.term"
    (board,) = with_rows(made(*seeds("vit", own, 70.0), *seeds("vit", "ce", 60.0)))
    assert ranks(board)[0] == ("ViT", own, 1, 0, 1)
    assert board.rows[0].gain.mean == 10
    (board,) = with_rows(made(*seeds("vit/tiny", "ce", 61.0), *seeds("vit/tiny", METHOD, 60.5), models=("vit/tiny",)))
    assert [row.network for row in board.rows] == ["vit/tiny", "vit/tiny"]
    assert board.rows[1].gain.mean == -0.5


def test_a_row_has_its_size_its_drop_its_machine_and_its_records(made, seeds, measured):
    size = {"seed": "", "recipe": "", "machine": "any", "device": "", "precision": ""}
    board, *_ = with_rows(
        made(
            *seeds("vit", "ce", 60.0, 61.0, date="2026-11-02"),
            measured("vit", "ce", "cifar10", 62.0, seed="2", machine="", key="last", date="2026-11-03"),
            measured("vit", "ce", "cifar10", 20.0, "fgsm_drop"),
            measured("vit", "ce", "cifar10", 5.5, "params", **size),
            measured("vit", "ce", "cifar10", 0.25, "macs", **size),
        )
    )
    (row,) = board.rows
    assert (row.params, row.macs, row.drop.mean) == (5.5, 0.25, 20.0)
    assert row.machines == ("h200", "NVIDIA H200")
    assert (row.date, row.keys[2], row.values) == ("2026-11-03", "last", (60.0, 61.0, 62.0))


def test_a_stale_row_is_marked(paper, seeds):
    finding = Finding(
        subject="small2026/1/vit/ce/cifar10",
        metric="accuracy",
        verdict=Verdict.STALE,
        value=None,
        reference=61.0,
        against="recorded by another version",
    )
    results = Results([*seeds("vit", "ce", 61.0), *seeds("cvt", "ce", 61.0)])
    cases = {Budget.PAPER: list(paper.cases)}
    material = Material(papers=[paper], results=results, cases=cases, findings=[finding])
    (board,) = with_rows(leaderboard.boards(material))
    assert {row.model: row.is_stale for row in board.rows} == {"ViT": True, "CvT": False}


def test_printed_numbers_stand_apart_and_only_beside_the_paper_s_own_budget(made, seeds):
    boards = made(*seeds("vit", "ce", 50.0), *seeds("cvt", "ce", 90.0, budget="short"), budgets=Budget)
    paper, short, *others = (one for one in boards if one.dataset == "cifar10")
    assert (paper.budget, short.budget, others) == (Budget.PAPER, Budget.SHORT, [])
    assert [row.accuracy for row in paper.rows] == [50.0]
    assert [row.accuracy for row in paper.printed] == [70.0, 69.0, 66.0, 64.0, 60.0]
    assert short.printed == ()
    (only,) = (one for one in boards if one.dataset == "cifar100")
    assert (only.precision, only.selection, only.rows, len(only.printed)) == ("", "last", (), 5)


def test_of_two_precisions_the_first_has_what_is_in_print(made, seeds):
    boards = made(*seeds("vit", "ce", 50.0), *seeds("vit", "ce", 51.0, precision="bf16"))
    assert [(one.precision, len(one.printed)) for one in boards if one.dataset == "cifar10"] == [
        ("fp32", 5),
        ("bf16", 0),
    ]


def test_filters_hide_rows_and_leave_the_groups(made, seeds, measured):
    size = {"seed": "", "recipe": "", "machine": "any", "device": "", "precision": ""}
    boards = made(
        *seeds("vit", "ce", 80.0),
        *seeds("cvt", "ce", 70.0),
        *seeds("cvt", "ce", 70.0, dataset="svhn"),
        measured("vit", "ce", "cifar10", 20.0, "params", **size),
        measured("cvt", "ce", "cifar10", 5.0, "params", **size),
        measured("cvt", "ce", "cifar10", 2.0, "macs", **size),
    )
    small, other = with_rows(leaderboard.chosen(boards, max_params=5.0))
    assert [(row.model, row.group) for row in small.rows] == [("CvT", 2)]
    assert other.dataset == "svhn"
    assert {row.model for row in small.printed} == {"CvT"}
    assert leaderboard.chosen(boards, max_params=4.9) == []
    assert [len(one.rows) for one in leaderboard.chosen(boards, max_macs=2.0)] == [1, 1]
    assert {one.dataset for one in leaderboard.chosen(boards, dataset="cifar100")} == {"cifar100"}
    assert leaderboard.chosen(boards, budget="quick") == []
    assert leaderboard.chosen(boards) == boards


def test_the_same_measurements_in_another_order_are_the_same_boards(made, seeds):
    made_of = [*seeds("vit", "ce", 80.0), *seeds("cvt", "ce", 80.0), *seeds("vit", METHOD, 80.0, 81.0)]
    assert made(*made_of) == made(*made_of[::-1])
