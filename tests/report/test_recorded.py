"""What a report of recorded baselines shows: which budgets, and the quick tables of which data."""

from vitbench import identity, papers
from vitbench.case import Budget
from vitbench.kept import Kept
from vitbench.report import pages
from vitbench.report.recorded import material


def test_the_short_budget_is_shown_only_where_something_was_run(paper, measured):
    full = measured("vit", "ce", "cifar10", 61.0)
    short = measured("vit", "ce", "cifar10", 55.0, budget="short")
    assert list(material([paper], [full]).cases) == [Budget.PAPER, Budget.QUICK]
    path = paper.path.with_name("other2025.toml")
    path.write_text(paper.path.read_text(encoding="utf-8"), encoding="utf-8")
    both = material([paper, papers.load(path)], [full, short])
    assert list(both.cases) == [Budget.PAPER, Budget.SHORT, Budget.QUICK]
    assert {one.paper for one in both.cases[Budget.SHORT]} == {paper.name}
    headings = [line for line in pages.page(both.papers[1], both).splitlines() if line.startswith("## ")]
    assert "## The printed tables, `paper` budget" in headings
    assert not [one for one in headings if "short" in one]


def test_the_quick_tables_are_of_the_data_that_something_was_trained_on(paper, measured):
    made = [measured("vit", "ce", name, 90.0, budget="quick") for name in ("cifar10", "digits")]
    assert {case.dataset for case in material([paper], made).cases[Budget.QUICK]} == {"cifar10", "digits"}


def test_what_was_left_out_is_handed_on(paper):
    assert material([paper], [], ["x.csv:3: left out"]).problems == ["x.csv:3: left out"]


def test_curves_and_pictures_are_handed_on(paper):
    some = Kept(problems=["x.png: left out"])
    assert material([paper], [], kept=some).kept is some
    assert material([paper], []).kept == Kept()


def test_an_accuracy_that_another_version_recorded_is_stale(paper, measured):
    case = next(
        one for one in paper.cases if (one.model.name, one.dataset, one.is_baseline) == ("vit", "cifar10", True)
    )
    now = identity.of_run(case, budget=Budget.PAPER, seed=0).key[:12]
    made = [measured("vit", "ce", "cifar10", 61.0, key=now), measured("vit", "ce", "cifar10", 60.0, seed="1")]
    found = material([paper], made).findings
    assert {str(one.verdict) for one in found} == {"stale"}
    assert {one.reference for one in found} == {60.0}
    page = pages.page(paper, material([paper], made))
    assert "accuracy is stale" in page.partition("## Stale or invalid")[2]
    assert "## Stale or invalid" not in pages.page(paper, material([paper], made[:1]))
