"""Every cell as one table: each once, in an order that puts what was measured first."""

from collections import Counter
from dataclasses import replace

import pytest

from vitbench import baselines, papers
from vitbench.case import Budget
from vitbench.report import counts, explorer, recorded
from vitbench.report.explorer import ANY, COLUMNS, rows
from vitbench.report.material import Material
from vitbench.report.provenance import Numbers
from vitbench.report.results import Results
from vitbench.selection import Selection

QUICK = {"budget": "quick", "key": "aaaaaaaaaaaa"}
SIZE = {"seed": "", "recipe": "", "machine": "any", "device": ""}


@pytest.fixture
def material(paper, results, measured):
    made = [
        *results,
        measured("vit", "ce", "cifar10", 5.4321, "params", key="eeeeeeeeeeee", **SIZE),
        measured("vit", "ce", "cifar10", 0.9876, "macs", key="eeeeeeeeeeee", **SIZE),
        measured("vit", "ce", "digits", 95.0, **QUICK),
        measured("vit", "ce + 0.1*me", "digits", 96.5, **QUICK),
    ]
    cases = {budget: Selection(budget=budget).cases([paper]) for budget in (Budget.PAPER, Budget.QUICK)}
    return Material(papers=[paper], results=Results(made), cases=cases)


def found_in(rows, **wanted):
    return [row for row in rows if all(row.cells[name] == text for name, text in wanted.items())]


def test_a_row_holds_what_is_printed_and_ours_with_gains_interval_and_sizes(material):
    numbers = Numbers({})
    found = rows(material, numbers)
    (row,) = found_in(found, table="1", model="ViT", objective="ce + 0.1*me", dataset="cifar10")
    (plain,) = found_in(found, table="1", model="ViT", objective="ce", dataset="cifar10")
    assert row.cells["printed"] == "64.00"
    assert row.cells["printed_gain"] == "+4.00"
    assert row.cells["recipe"] == "scratch (paper)"
    assert (row.cells["params"], row.cells["macs"]) == ("5.43", "0.988")
    assert plain.cells["gain"] == plain.cells["interval"] == ""
    assert set(row.cells) <= set(COLUMNS)
    ours, gain = float(row.cells["ours"]), float(row.cells["gain"])
    assert gain == pytest.approx(ours - float(plain.cells["ours"]), abs=0.011)
    # Of a difference of two shares of 10,000 images, each of the same share.
    half = 1.96 * 100 * (2 * ours / 100 * (1 - ours / 100) / 10_000) ** 0.5
    low, high = map(float, row.cells["interval"].split(" to "))
    assert (low, high) == pytest.approx((gain - half, gain + half), abs=0.011)
    content = numbers.content()
    assert content["keys"][content["numbers"][row.numbers["params"]][3][0]] == "eeeeeeeeeeee"
    assert row.numbers["ours"] == row.numbers["gain"] != plain.numbers["ours"]


def test_the_interval_of_several_seeds_is_over_them(paper, measured):
    accuracies = {"ce": (60.0, 61.0), "ce + 0.1*me": (63.0, 66.0)}
    made = [
        measured("vit", loss, "cifar10", value, seed=str(seed))
        for loss, values in accuracies.items()
        for seed, value in enumerate(values)
    ]
    cases = {Budget.PAPER: Selection(budget=Budget.PAPER).cases([paper])}
    found = rows(Material(papers=[paper], results=Results(made), cases=cases), Numbers({}))
    # Gains of 3 and 5, whose mean has an error of 1, times Student's t of one degree of freedom, 12.706.
    assert {
        row.cells["interval"] for row in found_in(found, objective="ce + 0.1*me", metric="accuracy") if row.is_run
    } == {"-8.71 to +16.71"}


def test_what_was_measured_stands_first_and_beside_print_before_the_rest(material):
    kinds = [(row.is_run, bool(row.cells["printed"])) for row in rows(material, Numbers({}))]
    order = [(True, True), (True, False), (False, True)]
    assert list(dict.fromkeys(kinds)) == order
    assert kinds == sorted(kinds, key=order.index)


def test_the_quick_budget_shows_what_was_measured_once_for_all_tables_and_judges_nothing(material):
    found = found_in(rows(material, Numbers({})), budget="quick")
    assert [(row.cells["objective"], row.cells["ours"], row.cells["gain"]) for row in found] == [
        ("ce", "95.00", ""),
        ("ce + 0.1*me", "96.50", "+1.50"),
    ]
    assert {row.verdict for row in found} == {explorer.NOT_JUDGED}
    assert {row.cells["table"] for row in found} == {"1, 2, 3"}
    assert not any("params" in row.cells for row in found)  # the tiny network is not the paper's


def test_another_budget_shows_what_was_measured_and_alone_all_that_is_printed(paper, measured):
    made = Results([measured("vit", "ce", "cifar10", 50.0, budget="short")])
    both = {one: Selection(budget=one).cases([paper]) for one in (Budget.PAPER, Budget.SHORT)}
    found = rows(Material(papers=[paper], results=made, cases=both), Numbers({}))
    assert Counter(row.cells["budget"] for row in found) == {"paper": 17, "short": 3}  # of tables 1, 2 and 3
    alone = {Budget.SHORT: both[Budget.SHORT]}
    found = rows(Material(papers=[paper], results=made, cases=alone), Numbers({}))
    assert Counter(row.cells["budget"] for row in found) == {"short": 17}


def test_sizes_are_rows_and_a_number_that_nothing_runs_is_in_print_only(masked, measured):
    made = [
        measured("cvt", "ce", "cifar10", 3.719, "params", **SIZE | {"paper": masked.name}),
        measured("cvt", "ce", "cifar10", 0.2601, "macs_layers", key="ffffffffffff", **SIZE | {"paper": masked.name}),
    ]
    cases = {Budget.PAPER: Selection(budget=Budget.PAPER).cases([masked])}
    numbers = Numbers({})
    found = rows(Material(papers=[masked], results=Results(made), cases=cases), numbers)
    (macs,) = found_in(found, metric="macs_layers")
    assert (macs.cells["printed"], macs.cells["ours"], macs.verdict) == ("0.26", "0.260", "reproduced")
    assert macs.cells["budget"] == ANY
    content = numbers.content()
    number = content["numbers"][macs.numbers["ours"]]
    assert content["keys"][number[3][0]] == "ffffffffffff"
    only = found_in(found, verdict=explorer.PRINT_ONLY)
    assert [(row.cells["metric"], row.cells["printed"], row.cells["budget"]) for row in only] == [
        ("loss", "0.019711", ""),
        ("epochs", "3703", ""),
        ("epochs", "3700", ""),
    ]


def test_a_number_that_is_not_the_page_s_says_where_it_is_from(twofold, twofold_results):
    cases = {Budget.PAPER: Selection(budget=Budget.PAPER).cases([twofold])}
    found = rows(Material(papers=[twofold], results=twofold_results, cases=cases), Numbers({}))
    assert {row.cells["printed"] for row in found_in(found, recipe="rerun (code)")} == {
        "86.00 (rerun)",
        "88.00 (rerun)",
    }


def test_a_model_that_a_user_added_is_named_in_the_command(material, paper, measured):
    added = Selection(budget=Budget.PAPER, models=("vit/tiny",)).cases([paper])
    made = Results([measured("vit/tiny", "ce", "cifar10", 50.0)])
    numbers = Numbers({})
    found = found_in(rows(replace(material, results=made, cases={Budget.PAPER: added}), numbers), model="vit/tiny")
    content = numbers.content()
    flags = {content["strings"][content["numbers"][row.numbers["ours"]][2]] for row in found if row.is_run}
    assert flags == {"--budget paper --model vit/tiny"}


def test_rows_of_the_real_papers_add_up_to_the_verdicts_of_their_pages():
    found, problems = baselines.load_all(papers.data_folder() / "recorded")
    material = recorded.material(papers.load_all(), found, problems)
    shown = rows(material, Numbers({}))
    for paper in material.papers:
        own = Counter(
            row.verdict
            for row in shown
            if row.cells["paper"] == paper.name and row.cells["printed"] and row.cells["budget"] in ("paper", ANY)
        )
        assert own == sum(counts.verdicts(paper, material.results).values(), Counter())
