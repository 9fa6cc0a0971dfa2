"""What is only in print: every accuracy once, with where it is from, and never as one of ours."""

from dataclasses import replace

import pytest

from vitbench.case import Budget
from vitbench.report.literature import printed_rows
from vitbench.report.material import Material
from vitbench.report.results import Results


def material_of(paper, *measurements, budget=Budget.PAPER):
    return Material(papers=[paper], results=Results(measurements), cases={budget: list(paper.cases)})


def test_a_number_of_several_tables_is_one_row(paper):
    found = printed_rows(material_of(paper))
    (plain,) = [one for one in found if (one.model, one.objective, one.dataset) == ("ViT", "ce", "cifar10")]
    assert (plain.table, plain.accuracy, plain.source, plain.selection) == ("1, 2, 3", 60.0, "printed", "last")
    assert plain.case == "small2026/1/vit/ce/cifar10"
    # Nine of Table 1 and 0.2*me of Table 2; no drop is an accuracy.
    assert len(found) == 10
    assert {one.accuracy for one in found} == {60, 64, 66, 70, 69, 30, 29, 40, 42, 33}


def test_what_was_run_here_under_the_paper_s_own_budget_says_so(paper, measured):
    made = [measured("vit", "ce", "cifar10", 61.0), measured("cvt", "ce", "cifar10", 50.0, budget="short")]
    found = printed_rows(material_of(paper, *made))
    assert [(one.model, one.objective, one.dataset) for one in found if one.measured] == [("ViT", "ce", "cifar10")]


def test_a_report_without_the_paper_s_budget_shows_nothing_in_print(paper):
    assert printed_rows(material_of(paper, budget=Budget.QUICK)) == []


def test_a_re_run_is_called_one_and_each_reading_is_named(twofold):
    found = printed_rows(material_of(twofold))
    assert {one.source for one in found} == {"printed", "rerun"}
    (rerun,) = {one.recipe for one in found if one.source == "rerun"}
    assert rerun == "rerun"
    assert "paper, code" in {one.recipe for one in found}
    assert {one.selection for one in found} == {"best"}


def test_what_cannot_be_run_says_why(twofold):
    reasons = {(one.status, one.reason) for one in printed_rows(material_of(twofold))}
    assert ("needs-data", "fetch it by hand") in reasons


def test_the_printed_spread_and_our_count_stand_beside(paper, measured):
    table = paper.tables[0]
    first = table.printed[0]
    spread = replace(first, claim=replace(first.claim, metric="accuracy_std", value=0.4))
    changed = replace(paper, tables=(replace(table, printed=(*table.printed, spread)),))
    size = measured("vit", "ce", "cifar10", 5.5, "params", seed="", recipe="", machine="any", device="")
    plain = printed_rows(material_of(changed, size))[0]
    assert (plain.spread, plain.params, plain.macs) == (0.4, 5.5, None)


@pytest.mark.parametrize("metric", ["knn", "fgsm_drop", "params"])
def test_what_is_no_accuracy_is_no_row(paper, metric):
    table = paper.tables[0]
    changed = [replace(one, claim=replace(one.claim, metric=metric, value=1.0)) for one in table.printed]
    assert printed_rows(material_of(replace(paper, tables=(replace(table, printed=tuple(changed)),)))) == []
