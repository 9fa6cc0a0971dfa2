"""What a report of recorded baselines shows: which budgets, and the quick tables of which data."""

from vitbench.case import Budget
from vitbench.report.recorded import material


def test_the_short_budget_is_shown_only_where_something_was_run(paper, measured):
    full = measured("vit", "ce", "cifar10", 61.0)
    short = measured("vit", "ce", "cifar10", 55.0, budget="short")
    assert list(material([paper], [full]).cases) == [Budget.PAPER, Budget.QUICK]
    assert list(material([paper], [full, short]).cases) == [Budget.PAPER, Budget.SHORT, Budget.QUICK]


def test_the_quick_tables_are_of_the_data_that_something_was_trained_on(paper, measured):
    made = [measured("vit", "ce", name, 90.0, budget="quick") for name in ("cifar10", "digits")]
    assert {case.dataset for case in material([paper], made).cases[Budget.QUICK]} == {"cifar10", "digits"}


def test_what_was_left_out_is_handed_on(paper):
    assert material([paper], [], ["x.csv:3: left out"]).problems == ["x.csv:3: left out"]
