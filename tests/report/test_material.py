"""What reports are made of has to be said, but for what there may be nothing of; and which of it is one paper's."""

import pytest

from vitbench.case import Budget
from vitbench.report.material import Material
from vitbench.report.results import Results
from vitbench.selection import Selection


def test_papers_results_and_cases_are_needed_and_the_rest_is_nothing(paper):
    material = Material(papers=[paper], results=Results([]), cases={})
    assert (dict(material.links), material.findings, material.problems) == ({}, (), ())
    assert not material.kept.curves
    with pytest.raises(TypeError, match="cases"):
        Material(papers=[paper], results=Results([]))


def test_the_cases_of_one_paper_stand_under_their_budgets(paper, twofold):
    cases = {one: Selection(budget=one).cases([paper, twofold]) for one in (Budget.PAPER, Budget.QUICK)}
    found = Material(papers=[paper, twofold], results=Results([]), cases=cases).of(paper)
    assert list(found) == [Budget.PAPER, Budget.QUICK]
    assert {one.paper for cases in found.values() for one in cases} == {"small2026"}
    assert [len(found[Budget.PAPER]), len(found[Budget.QUICK])] == [
        9 + 4 + 2,
        5 + 2 + 2,
    ]  # printed cells; the quick budget has no 0.2*me
