"""Tables against numbers made by hand."""

import math
from dataclasses import replace

import pytest

from vitbench.case import Budget
from vitbench.compare import standard_error
from vitbench.objective import parse
from vitbench.report import tables
from vitbench.report.results import Results
from vitbench.selection import Selection


def printed(table, results, cases=(), budget="paper"):
    headers, rows = tables.printed_table(table, [*table.cases, *cases], results, budget)
    assert {len(row) for row in rows} == {len(headers)}
    return headers, {(row[0], row[1]): row[2:] for row in rows}


def test_a_table_has_the_printed_number_ours_both_gains_and_a_verdict_per_column(tables_of, results):
    headers, rows = printed(tables_of["1"], results)
    assert headers == [
        *("Model", "Loss"),
        *("cifar10, printed", "ours", "gain, printed", "gain, ours", "verdict"),
        *("cifar100, printed", "ours", "gain, printed", "gain, ours", "verdict"),
    ]
    assert rows == {
        ("ViT", "ce"): ["60.00", "61.00", "", "", "reproduced", "30.00", "30.50", "", "", "reproduced"],
        ("ViT", "ce + 0.1*me"): [
            *("64.00", "**65.50**", "+4.00", "+4.50", "reproduced"),
            *("29.00", "**33.50**", "-1.00", "+3.00", "opposite sign"),
        ],
        ("ViT", "ce + 0.1*drloc + 0.1*me"): ["66.00", "62.00", "+6.00", "+1.00", "deviates", "", "", "", "", ""],
        ("CvT", "ce"): ["70.00", "71.00", "", "", "reproduced", "40.00", "-", "", "", "not run"],
        ("CvT", "ce + 0.1*me"): ["69.00", "-", "-1.00", "-", "not run", "42.00", "-", "+2.00", "-", "not run"],
    }


def test_rows_stand_in_printed_order(tables_of, results):
    _, rows = printed(tables_of["1"], results)
    assert list(rows) == [
        (case.model.printed, str(case.objective)) for case in tables_of["1"].cases if case.dataset == "cifar10"
    ]


def test_with_nothing_measured_only_print_is_shown(tables_of):
    _, rows = printed(tables_of["1"], Results([]))
    assert rows["ViT", "ce"] == ["60.00", "-", "", "", "not run", "30.00", "-", "", "", "not run"]
    assert not [cell for row in rows.values() for cell in row if "*" in cell]


def test_two_tables_side_by_side_leave_their_gaps(tables_of, results):
    _, rows = printed(tables_of["2"], results)
    assert rows["ViT", "ce + 0.1*me"] == ["64.00", "**65.50**", "+4.00", "+4.50", "reproduced", "", "", "", "", ""]
    assert rows["ViT", "ce + 0.2*me"] == ["", "", "", "", "", "33.00", "-", "+3.00", "-", "not run"]
    assert rows["ViT", "ce"][::5] == ["60.00", "30.00"]


def test_where_a_printed_row_has_no_number_its_columns_stay_empty(tables_of, results):
    plain, method = tables_of["3"].cases
    table = replace(tables_of["3"], cases=(plain, replace(method, claims=method.claims[:1])))
    _, rows = printed(table, results)
    assert rows["ViT", "ce + 0.1*me"] == ["64.00", "**65.50**", "+4.00", "+4.50", "reproduced", "", "", "", "", ""]


def test_of_a_drop_the_lowest_is_best(tables_of, results):
    headers, rows = printed(tables_of["3"], results)
    assert headers[7:] == ["cifar10 fgsm_drop, printed", "ours", "change, printed", "change, ours", "verdict"]
    assert rows["ViT", "ce"][5:] == ["28.00", "**20.00**", "", "", "deviates"]
    assert rows["ViT", "ce + 0.1*me"][5:] == ["25.00", "26.00", "-3.00", "+6.00", "opposite sign"]


def bold(rows, column=1):
    return {name for name, row in rows.items() if row[column].startswith("**")}


def test_the_best_of_each_model_is_bold(tables_of, results, measured):
    more = Results([*results, measured("cvt", "ce + 0.1*me", "cifar10", 60.0)])
    _, rows = printed(tables_of["1"], more)
    assert bold(rows) == {("ViT", "ce + 0.1*me"), ("CvT", "ce")}


def test_equals_are_both_bold(tables_of, measured):
    made = [measured("vit", "ce", "cifar10", 61.0), measured("vit", "ce + 0.1*me", "cifar10", 61.0)]
    _, rows = printed(tables_of["1"], Results(made))
    assert bold(rows) == {("ViT", "ce"), ("ViT", "ce + 0.1*me")}


def test_one_alone_is_not_the_best_of_anything(tables_of, measured):
    _, rows = printed(tables_of["1"], Results([measured("vit", "ce", "cifar10", 61.0)]))
    assert bold(rows) == set()


def test_several_seeds_show_mean_spread_and_number(tables_of, measured):
    made = [measured("vit", "ce", "cifar10", value, seed=str(n)) for n, value in enumerate((60.0, 62.0))]
    made += [measured("vit", "ce + 0.1*me", "cifar10", value, seed=str(n)) for n, value in enumerate((65.0, 66.0))]
    _, rows = printed(tables_of["1"], Results(made))
    assert rows["ViT", "ce"][1] == "61.00 ± 1.41 (n = 2)"
    assert rows["ViT", "ce + 0.1*me"][1] == "**65.50 ± 0.71 (n = 2)**"
    assert rows["ViT", "ce + 0.1*me"][3] == "+4.50"


def test_gains_are_those_at_the_same_seeds(tables_of, measured):
    made = [
        measured("vit", "ce", "cifar10", 60.0, seed="0"),
        measured("vit", "ce", "cifar10", 80.0, seed="1"),
        measured("vit", "ce + 0.1*me", "cifar10", 63.0, seed="0"),
    ]
    _, rows = printed(tables_of["1"], Results(made))
    assert rows["ViT", "ce + 0.1*me"][1:4] == ["63.00", "+4.00", "+3.00"]


def test_a_row_that_a_user_adds_stands_among_the_paper_s_in_every_column(paper, tables_of, results, measured):
    (added,) = (
        case
        for case in Selection(budget=Budget.PAPER, objectives=("ce + 0.3*drloc",)).cases([paper])
        if case.id == "small2026/3/vit/ce+0.3drloc/cifar10"
    )
    mine = [
        measured("vit", "ce + 0.3*drloc", "cifar10", 70.0),
        measured("vit", "ce + 0.3*drloc", "cifar10", 10.0, "fgsm_drop"),
    ]
    _, rows = printed(tables_of["3"], Results([*results, *mine]), [added])
    assert rows["ViT", "ce + 0.3*drloc"] == ["", "**70.00**", "", "+9.00", "", "", "**10.00**", "", "-10.00", ""]
    assert rows["ViT", "ce + 0.1*me"][1] == "65.50"


def test_a_data_set_that_a_user_adds_is_a_further_column_with_nothing_printed(paper, tables_of, results, measured):
    cases = Selection(budget=Budget.PAPER, datasets=("digits",)).cases([paper])
    added = [case for case in cases if case.table == "1" and case.dataset == "digits"]
    mine = [measured("vit", "ce", "digits", 95.0), measured("vit", "ce + 0.1*me", "digits", 96.0)]
    headers, rows = printed(tables_of["1"], Results([*results, *mine]), added)
    assert headers[12:] == ["digits, printed", "ours", "gain, printed", "gain, ours", "verdict"]
    assert rows["ViT", "ce"][10:] == ["", "95.00", "", "", ""]
    assert rows["ViT", "ce + 0.1*me"][10:] == ["", "**96.00**", "", "+1.00", ""]
    assert rows["CvT", "ce"][10:] == ["", "-", "", "", ""]


def test_budgets_do_not_mix(tables_of, results):
    _, rows = printed(tables_of["1"], results, budget="short")
    assert {row[1] for row in rows.values()} == {"-"}


def test_the_error_of_a_cell_is_that_of_a_difference_of_two_accuracies(tables_of, results):
    found = tables.cells(tables_of["1"], tables_of["1"].cases, results, "paper")
    (cell,) = (one for one in found if one.ours and one.ours.mean == 65.5)
    assert cell.error == pytest.approx(math.hypot(standard_error(65.5, 10_000), standard_error(65.5, 10_000)))


def test_where_the_number_of_test_images_is_unknown_nothing_is_decided(tables_of, results, monkeypatch):
    monkeypatch.setattr(tables, "test_images", lambda dataset: None)
    _, rows = printed(tables_of["1"], results)
    assert {row[4] for row in rows.values()} == {"undecided", "not run"}


def quick(paper, results, **options):
    cases = [case for case in Selection(**options).cases([paper]) if case.table == "1"]
    return tables.quick_table(cases, results)


def test_a_quick_table_has_a_row_per_measured_case_and_the_gain_over_ce(paper, measured):
    made = [
        measured("vit", "ce", "digits", 95.0, budget="quick"),
        measured("vit", "ce + 0.1*me", "digits", 96.5, budget="quick"),
        measured("vit", "ce", "digits", 20.0, "fgsm_drop", budget="quick"),
        measured("cvt", "ce", "digits", 90.0, budget="quick"),
    ]
    assert quick(paper, Results(made)) == (
        ["Model", "Loss", "accuracy (%)", "fgsm_drop (points)", "gain over ce (points)"],
        [
            ["CvT", "ce", "90.00", "-", ""],
            ["ViT", "ce", "95.00", "20.00", ""],
            ["ViT", "ce + 0.1*me", "96.50", "-", "+1.50"],
        ],
    )


def test_a_quick_table_of_curves_says_when_they_converged_and_of_an_older_record_nothing(paper, measured):
    made = [
        measured("vit", "ce", "digits", 95.0, budget="quick"),
        measured("vit", "ce + 0.1*me", "digits", 96.5, budget="quick"),
        measured("vit", "ce + 0.1*me", "digits", 7.0, "convergence_epoch", budget="quick"),
    ]
    cases = [replace(one, curves=True) for one in Selection().cases([paper]) if one.table == "1"]
    headers, rows = tables.quick_table(cases, Results(made))
    assert headers[2:4] == ["accuracy (%)", "convergence_epoch (epoch)"]
    assert [row[2:4] for row in rows] == [["95.00", "-"], ["96.50", "7"]]
    assert quick(paper, Results(made))[0][2:] == ["accuracy (%)", "gain over ce (points)"]


def test_a_quick_table_of_nothing_has_no_row(paper, results):
    assert quick(paper, results)[1] == []


def test_a_quick_table_never_has_a_column_of_the_paper_s(paper, results, measured):
    made = [*results, measured("vit", "ce", "digits", 95.0, budget="quick")]
    headers, rows = quick(paper, Results(made), all_rows=True)
    assert not [text for row in (headers, *rows) for text in row if "cifar" in text or "printed" in text]
    assert len(rows) == 1


def test_a_quick_table_has_the_rows_that_a_user_adds(paper, measured):
    made = [
        measured("resnet/tiny", "ce + 0.3*drloc", "digits", 97.0, budget="quick"),
        measured("resnet/tiny", "ce", "digits", 96.0, budget="quick"),
    ]
    _, rows = quick(paper, Results(made), models=("resnet/tiny",), objectives=("ce + 0.3*drloc",))
    assert rows == [["resnet/tiny", "ce", "96.00", ""], ["resnet/tiny", "ce + 0.3*drloc", "97.00", "+1.00"]]


def test_a_data_set_without_a_loader_states_nothing():
    assert tables.constant("cifar10", "TEST") == tables.test_images("cifar10") == 10_000
    assert tables.constant("jft_300m", "TEST") is None
    assert tables.constant("cifar10", "NONE") is None


def test_an_added_row_never_changes_what_print_says(paper, tables_of, results):
    case = replace(tables_of["1"].cases[0], objective=parse("ce + 0.3*me"), claims=())
    before = printed(tables_of["1"], results)[1]
    after = printed(tables_of["1"], results, [case])[1]
    assert {name: after[name] for name in before} == before


def of_masked(measured, model, recipe, value, **changes):
    return measured(model, "ce", "cifar10", value, paper="masked2024", recipe=recipe, **changes)


def test_a_network_that_is_pre_trained_and_the_same_from_scratch_are_two_rows(masked, measured):
    table = masked.tables[0]
    scratch = [case.baseline for case in table.cases if case.recipe.pretraining]
    values = {("cvt", "plain"): 94.1, ("vit", "masked"): 95.9, ("vit", "scratch"): 80.0}
    made = [of_masked(measured, *row, value) for row, value in values.items()]
    headers, rows = tables.printed_table(table, [*table.cases, *scratch], Results(made), "paper")
    assert headers[:4] == ["Model", "Loss", "cifar10, printed", "ours"]
    assert [row[:7] for row in rows] == [
        ["CvT-9", "ce", "94.00", "94.10", "", "", "reproduced"],
        ["Mae-ViT", "mae, then ce", "96.00", "95.90", "", "+15.90", "reproduced"],
        ["Mae-ViT", "ce", "", "80.00", "", "", ""],
    ]


def test_a_quick_table_says_what_pre_training_adds(masked, measured):
    quick = {"budget": "quick"}
    made = [of_masked(measured, "cvt", "plain", 90.0, **quick), of_masked(measured, "vit", "masked", 96.0, **quick)]
    made += [of_masked(measured, "vit", "scratch", 91.0, **quick)]
    made = [replace(one, dataset="digits") for one in made]
    cases = [replace(case, dataset="digits") for case in masked.cases if case.dataset == "cifar10"]
    cases += [case.baseline for case in cases if case.recipe.pretraining]
    assert tables.quick_table(cases, Results(made)) == (
        ["Model", "Loss", "accuracy (%)", "gain over ce (points)"],
        [["CvT-9", "ce", "90.00", ""], ["Mae-ViT", "mae, then ce", "96.00", "+5.00"], ["Mae-ViT", "ce", "91.00", ""]],
    )
