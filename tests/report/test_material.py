"""What a report is made of: the cases of one paper among those of several."""

from vitbench.case import Budget
from vitbench.report.material import Material
from vitbench.report.results import Results
from vitbench.selection import Selection


def test_the_cases_of_one_paper_stand_under_their_budgets(paper, twofold):
    cases = {one: Selection(budget=one).cases([paper, twofold]) for one in (Budget.PAPER, Budget.QUICK)}
    found = Material(papers=[paper, twofold], results=Results([]), cases=cases).of(paper)
    assert list(found) == [Budget.PAPER, Budget.QUICK]
    assert {one.paper for cases in found.values() for one in cases} == {"small2026"}
    assert [len(found[Budget.PAPER]), len(found[Budget.QUICK])] == [
        9 + 4 + 2,
        5 + 2 + 2,
    ]  # printed cells; the quick budget has no 0.2*me
