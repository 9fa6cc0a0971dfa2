"""Which figures stand at the head of a page."""

from vitbench import baselines, papers
from vitbench.case import Budget
from vitbench.report import overview
from vitbench.report.results import Results
from vitbench.selection import Selection

CASES = {Budget.PAPER: Selection(budget=Budget.PAPER).cases(papers.load_all())}


def test_printed_sweeps_are_drawn_though_nothing_was_measured_and_say_so():
    floros = next(one for one in papers.load_all() if one.name == "floros2024")
    found = list(overview.drawings(floros, CASES, Results([])))
    assert [one.name for one in found] == [
        "floros2024-4.1-scratch-weight.of.drloc.svg",
        "floros2024-4.2-scratch-weight.of.me.svg",
        "floros2024-4.5-scratch-ratio.of.me.svg",
    ]
    assert all("printed, none measured yet" in one.alt for one in found)
    assert all(one.content().startswith(b"<svg") for one in found)
    assert list(overview.forests(floros, CASES, Results([]))) == []


def test_no_two_figures_of_a_page_have_one_name_and_a_quick_report_has_none():
    recorded, _ = baselines.load_all(papers.data_folder() / "recorded")
    names = [one.name for paper in papers.load_all() for one in overview.drawings(paper, CASES, Results(recorded))]
    assert len(names) == len(set(names)) > 5
    quick = {Budget.QUICK: CASES[Budget.PAPER]}
    assert not any(list(overview.drawings(paper, quick, Results(recorded))) for paper in papers.load_all())
